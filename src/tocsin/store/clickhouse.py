"""The door to ClickHouse: embedded (`chdb:///path`) or a server (`http(s)://…`), same SQL on both.

A client of clickhouse-connect serialises its calls, so every thread gets its own. The embedded
engine belongs to one process per path; a second one is refused with a clear error.
"""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.domain.errors import StoreError
from tocsin.store.kinds import SegmentKind

DATABASE = "tocsin"

# Codes of ClickHouse that tell of the machine or the moment, not of the data that was read.
_TRANSIENT = frozenset({
    74, 75, 76, 107,  # a file cannot be read, written, opened; is not there
    159, 160, 209, 210, 279,  # too slow, network
    173, 241, 243,  # no memory, no disk
    202, 236, 242, 252, 290, 319,  # too many queries or parts, cancelled, read-only, uncertain
    394, 439, 425, 999, 1000,
})  # fmt: skip

# A segment is read in pieces of a few thousand rows, which halves the memory that two loaders take
# (0.8 instead of 1.5 GB) and costs no time; pieces are joined again before they are written.
_PIECES = {"max_block_size": 8192, "input_format_max_block_size_bytes": 16 << 20}


class EngineError(StoreError):
    """ClickHouse refused a statement. `code` is its error code, 0 when it gave none."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)

    @property
    def blames_data(self) -> bool:
        """Whether trying the same again cannot help: what was read does not fit its schema."""
        return self.code not in _TRANSIENT and self.code > 0


def literal(text: str) -> str:
    """`text` as an SQL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


class ClickHouse:
    """One ClickHouse, embedded or remote. Threads may share it. Close it to release the path."""

    def __init__(self, dsn: str, options: Mapping[str, str] | None = None) -> None:
        """dsn: `chdb:///absolute/path` or a URL. options: server keys of the embedded engine."""
        self.dsn = dsn
        self.is_embedded = dsn.startswith("chdb:")
        self._options = dict(options or {})
        self._local = threading.local()
        self._clients: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False
        self._connect = _connector()
        self.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE} ENGINE = Atomic")

    @classmethod
    def embedded(cls, path: Path, *, memory_bytes: int, background_threads: int = 3) -> ClickHouse:
        """The engine inside this process, with its files under `path`."""
        path.mkdir(parents=True, exist_ok=True)
        options = {
            "max_server_memory_usage": str(memory_bytes),
            "background_pool_size": str(background_threads),
            "backups.allowed_path": str(path.resolve().parent / "backups"),
        }
        return cls(f"chdb://{path.resolve()}", options)

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns nothing. EngineError when the engine refuses it."""
        self._guard(lambda client: client.command(sql, parameters), sql)

    def rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        """The rows of a query as Python values."""
        found = self._guard(lambda client: client.query(sql, parameters), sql)
        rows: Sequence[Sequence[Any]] = found.result_rows
        return rows

    def records(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a query as dictionaries by column name."""
        found = self._guard(lambda client: client.query(sql, parameters), sql)
        return list(found.named_results())

    def arrays(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[npt.NDArray[Any]]:
        """The columns of a query of numbers, without a Python object per value."""
        found = self._guard(lambda client: client.query_arrow(sql, parameters), sql)
        return [np.asarray(column.to_numpy()) for column in found.columns]

    def read_segment(self, sql: str, kind: SegmentKind, path: Path) -> Sequence[Sequence[Any]]:
        """A query with `{source}` over a segment file."""
        return self.rows(self._over_file(sql, kind, path))

    def write_segment(self, sql: str, kind: SegmentKind, path: Path) -> None:
        """An INSERT ... SELECT with `{source}` over a segment file.

        Embedded, the engine reads the file; a server gets its bytes as the body of the request.
        """
        if self.is_embedded:
            self.execute(self._over_file(sql, kind, path))
            return
        text = sql.replace("{source}", f"input({literal(kind.structure)})")

        def post(client: Any) -> None:
            with path.open("rb") as body:
                client.raw_insert(
                    insert_block=body,
                    settings={**_PIECES, **kind.settings, "query": f"{text} FORMAT {kind.format}"},
                )

        self._guard(post, sql)

    def close(self) -> None:
        """Close every thread's client; the path is free afterwards."""
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    def _over_file(self, sql: str, kind: SegmentKind, path: Path) -> str:
        source = f"file({literal(str(path))}, {literal(kind.format)}, {literal(kind.structure)})"
        given = {**_PIECES, **self._schema_in_a_file(kind.settings)}
        settings = ", ".join(f"{name} = {literal(str(v))}" for name, v in given.items())
        return f"{sql.replace('{source}', source)} SETTINGS {settings}"

    def _schema_in_a_file(self, settings: Mapping[str, str | int]) -> Mapping[str, str | int]:
        """`settings` with a schema given as text put into a file beside the engine's.

        The embedded engine writes such a text into a folder of its own under the current one.
        """
        if settings.get("format_schema_source") != "string":
            return settings
        text = str(settings["format_schema"])
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        folder = Path(self.dsn.removeprefix("chdb://")).parent / "schemas"
        file = folder / f"{name}.proto"
        if not file.exists():
            folder.mkdir(exist_ok=True)
            fresh = folder / f"{name}.{threading.get_ident()}"
            fresh.write_text(text)
            fresh.replace(file)
        message = settings["format_schema_message_name"]
        kept = {k: v for k, v in settings.items() if not k.startswith("format_schema")}
        return {**kept, "format_schema": f"{file}:{message}"}

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None or self._closed:
            client = self._open()
            self._local.client = client
        return client

    def _open(self) -> Any:
        if self._closed:
            raise StoreError("the telemetry store is closed")
        extra: dict[str, Any] = (
            {"chdb_options": self._options}
            if self.is_embedded
            else {"autogenerate_session_id": False}
        )
        try:
            client = self._connect(dsn=self.dsn, **extra)
        except Exception as error:
            raise StoreError(
                f"cannot open ClickHouse at {self.dsn}: {error}. If another Tocsin process uses"
                " this data directory, stop it or choose another --data-dir."
            ) from error
        with self._lock:
            self._clients.append(client)
        return client

    def _guard(self, action: Any, sql: str) -> Any:
        client = self._client()
        try:
            return action(client)
        except Exception as error:
            if not _is_engine_failure(error):
                raise
            text = str(error)
            code = getattr(error, "code", None) or 0
            start = " ".join(sql.split())[:120]
            raise EngineError(f"ClickHouse refused `{start}`: {text[:600]}", int(code)) from error


def _is_engine_failure(error: Exception) -> bool:
    module = importlib.import_module("clickhouse_connect.driver.exceptions")
    return isinstance(error, (module.Error, RuntimeError, OSError))


def _connector() -> Any:
    """`clickhouse_connect.get_client`, loaded when first needed: the engine is half a gigabyte."""
    return importlib.import_module("clickhouse_connect").get_client
