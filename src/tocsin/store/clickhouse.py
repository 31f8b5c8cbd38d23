"""The door to ClickHouse: embedded (`chdb:///path`) or a server (`http(s)://…`), same SQL on both.

A client of clickhouse-connect serialises its calls, so every thread gets its own. The embedded
engine belongs to one process per path; a second one is refused with a clear error.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.domain.errors import StoreError
from tocsin.store import failures
from tocsin.store.address import Address
from tocsin.store.failures import EngineError
from tocsin.store.gate import Gate
from tocsin.store.kinds import SegmentKind
from tocsin.store.layout import DATABASE, ONE_NODE, Layout

__all__ = ["DATABASE", "ClickHouse", "EngineError", "literal"]

_KEEP_FREE = "storage_configuration.disks.default.keep_free_space_bytes"

# A segment is read in pieces of a few thousand rows, which halves the memory that two loaders take
# (0.8 instead of 1.5 GB) and costs no time; pieces are joined again before they are written.
# It may hold calls of more days than the engine likes to see in one insert, which is 100.
_READ_SETTINGS = {
    "max_block_size": 8192,
    "input_format_max_block_size_bytes": 16 << 20,
    "max_partitions_per_insert_block": 0,
}

_EXTERNAL = "segment"  # what a segment is called when it is sent along as a table
_HANGS_UP_S = 2  # after a read should have ended
_LONGEST_FIELD = 120_000  # characters of a form's field that ClickHouse takes (128 KiB)

# An insert returns when its rows are on their shards, DDL and deletions when every node has done
# them; a node that is away does not hold up DDL, and does hold up what would otherwise be wrong.
_ON_A_CLUSTER: dict[str, str | int] = {
    "distributed_foreground_insert": 1,
    "insert_deduplicate": 0,
    "distributed_ddl_output_mode": "throw_only_active",
    "distributed_ddl_task_timeout": 120,
    "lightweight_deletes_sync": 2,
    "mutations_sync": 2,
    "alter_sync": 2,
    "skip_unavailable_shards": 0,
    "distributed_product_mode": "global",
}  # fmt: skip


def literal(text: str) -> str:
    """`text` as an SQL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


class ClickHouse:
    """One ClickHouse, embedded or remote. Threads may share it. Close it to release the path."""

    def __init__(
        self,
        dsn: str,
        options: Mapping[str, str] | None = None,
        *,
        layout: Layout = ONE_NODE,
        password: str = "",
    ) -> None:
        """dsn: `chdb:///absolute/path` or a URL. options: server keys of the embedded engine.

        layout: how tables lie. password: counts when a URL has none.
        """
        self.address = Address.parse(dsn, password)
        self.is_embedded = self.address.is_embedded
        self.layout = layout
        self._options = dict(options or {})
        self._local = threading.local()
        self._clients: list[Any] = []
        self._lock = threading.Lock()
        self._readers = Gate()
        self._closed = threading.Event()
        self._seen: dict[str, Any] | None = None  # settings of reads
        self._within_s: int | None = None
        self._connect = _connector()
        self._client()

    @classmethod
    def embedded(
        cls,
        path: Path,
        *,
        memory_bytes: int,
        background_threads: int = 3,
        layout: Layout = ONE_NODE,
        options: Mapping[str, str] | None = None,
        keep_free_bytes: int = 0,
    ) -> ClickHouse:
        """The engine inside this process, with its files under `path`, and the database made.

        keep_free_bytes: what inserts and merges leave free on the disk, for others to write to.
        """
        path.mkdir(parents=True, exist_ok=True)
        known = {
            "max_server_memory_usage": str(memory_bytes),
            "background_pool_size": str(background_threads),
            "backups.allowed_path": str(path.resolve().parent / "backups"),
            **_one_shard(layout),
            **(options or {}),
        }
        if keep_free_bytes:
            known[_KEEP_FREE] = str(keep_free_bytes)
        engine = cls(f"chdb://{path.resolve()}", known, layout=layout)
        engine.make_database()
        return engine

    def make_database(self) -> None:
        """Make the database where it is missing: on every node."""
        self.execute(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE}{self.layout.everywhere} ENGINE = Atomic"
        )

    def execute(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, str | int] | None = None,
    ) -> None:
        """Run a statement that returns nothing. EngineError when the engine refuses it."""
        given = dict(settings or {})
        self._guard(lambda client: client.command(sql, parameters, settings=given), sql)

    def rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        """The rows of a query as Python values."""
        found = self._read(lambda client: client.query(sql, parameters, settings=self._seen), sql)
        rows: Sequence[Sequence[Any]] = found.result_rows
        return rows

    def records(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a query as dictionaries by column name."""
        found = self._read(lambda client: client.query(sql, parameters, settings=self._seen), sql)
        return list(found.named_results())

    def arrays(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[npt.NDArray[Any]]:
        """The columns of a query of numbers, without a Python object per value."""
        found = self._read(
            lambda client: client.query_arrow(sql, parameters, settings=self._seen), sql
        )
        return [np.asarray(column.to_numpy()) for column in found.columns]

    def export(self, sql: str) -> bytes:
        """The rows of a query in ClickHouse's Native format."""
        found = self._read(lambda client: client.raw_query(sql, fmt="Native"), sql)
        return bytes(found)

    def load(self, table: str, columns: Sequence[str], block: bytes) -> None:
        """Insert rows that `export` gave, of these columns in this order."""
        name = f"{DATABASE}.{table}"
        if self.is_embedded:
            self._guard(
                lambda client: client.raw_insert(name, list(columns), block, fmt="Native"), name
            )
            return
        body = f"INSERT INTO {name} ({', '.join(columns)}) FORMAT Native\n".encode() + block
        self._post(body, {})

    def table(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The answer of a query as one Arrow table, texts as texts."""
        return self._read(
            lambda client: client.query_arrow(
                sql, parameters, settings=self._seen, use_strings=True
            ),
            sql,
        )

    def seeing(self, conditions: Mapping[str, str]) -> ClickHouse:
        """The same engine, whose reads see of each of these tables only rows that meet a condition
        (SQL without quotes)."""
        # By both names: on a cluster a table is asked through one that knows the nodes.
        pairs = ", ".join(
            f"'{name}': '{condition}'"
            for table, condition in conditions.items()
            for name in dict.fromkeys((f"{DATABASE}.{table}", self.layout.piece(table)))
        )
        seeing = copy(self)
        seeing._seen = {**(self._seen or {}), "additional_table_filters": f"{{{pairs}}}"}
        return seeing

    def within(self, seconds: int) -> ClickHouse:
        """The same engine, whose reads fail (EngineError) when they take longer than that."""
        limited = copy(self)
        limited._seen = {**(self._seen or {}), "max_execution_time": seconds}
        limited._within_s = seconds
        # A server that does not even say so: clients of its own, which hang up a little later.
        limited._local = threading.local()
        return limited

    def delete(self, table: str, where: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Delete the rows of `tocsin.<table>` that meet `where`, on every node, and wait for it."""
        pieces = self.layout.pieces(table)
        self.execute(f"DELETE FROM {pieces} WHERE {where}", parameters)  # noqa: S608

    def catch_up(self, table: str) -> None:
        """Wait until every replica that can be reached has what was inserted into a table."""
        if self.layout.everywhere:
            where = self.layout.everywhere.strip()
            self.execute(f"SYSTEM SYNC REPLICA {where} {self.layout.piece(table)} LIGHTWEIGHT")

    def read_segment(self, sql: str, kind: SegmentKind, path: Path) -> Sequence[Sequence[Any]]:
        """A query with `{source}` over a segment file."""
        if self.is_embedded:
            return self.rows(self._over_file(sql, kind, path))
        text = f"{sql} FORMAT JSONCompact"
        with self._readers.shared():
            found = self._send_along(text, kind, path, _settings_of(kind))
        rows: Sequence[Sequence[Any]] = json.loads(found)["data"]
        return rows

    def end(self, path: Path) -> None:
        """See to it that no `write_segment` of a file is running any more, anywhere.

        A server goes on with what it was sent when the sender times out or dies. The embedded
        engine dies with its process.
        """
        if not self.is_embedded:
            name = literal(_name(path))
            self.execute(
                f"KILL QUERY{self.layout.everywhere}"
                f" WHERE query_id = {name} OR initial_query_id = {name} SYNC"
            )

    def write_segment(self, sql: str, kind: SegmentKind, path: Path) -> None:
        """An INSERT ... SELECT with `{source}` over a segment file.

        Embedded, the engine reads the file. A server gets its bytes as the body of the request,
        or, when the statement reads them more than once, as an external table. `end` knows the
        statement by the file.
        """
        if self.is_embedded:
            self.execute(self._over_file(sql, kind, path))
            return
        settings = {**_settings_of(kind), "query_id": _name(path)}
        if sql.count("{source}") > 1 or "WITH (" in sql:
            self._send_along(sql, kind, path, settings)
            return
        source = f"input({literal(kind.structure)})"
        text = f"{sql.replace('{source}', source)} FORMAT {kind.format}\n"
        self._post(text.encode() + path.read_bytes(), settings)

    def _post(self, body: bytes, settings: Mapping[str, str | int]) -> None:
        """Send a statement and, behind it, its rows: a URL is too short for our statements.

        As a file, because the library sends bytes a second time when the connection breaks.
        """
        start = body[:120].decode(errors="replace")
        self._guard(
            lambda client: client.raw_insert(
                insert_block=io.BytesIO(body), settings=dict(settings)
            ),
            start,
        )

    def _send_along(
        self, sql: str, kind: SegmentKind, path: Path, settings: Mapping[str, str | int]
    ) -> bytes:
        """Run a statement with `{source}` over a segment that goes with it as a table."""
        text = sql.replace("{source}", _EXTERNAL)

        def send(client: Any) -> bytes:
            client.form_encode_query_params = len(text) < _LONGEST_FIELD
            try:
                return bytes(
                    client.raw_query(
                        text, settings=dict(settings), external_data=_external(kind, path)
                    )
                )
            finally:
                client.form_encode_query_params = False

        return bytes(self._guard(send, sql))

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Nobody else reads meanwhile: for statements between which a table is not true."""
        with self._readers.alone():
            yield

    def close(self) -> None:
        """Close every thread's client; the path is free afterwards."""
        with self._lock:
            self._closed.set()
            clients = list(self._clients)
            self._clients.clear()
        for client in clients:
            client.close()

    def _over_file(self, sql: str, kind: SegmentKind, path: Path) -> str:
        source = f"file({literal(str(path))}, {literal(kind.format)}, {literal(kind.structure)})"
        given = {**_READ_SETTINGS, **self._schema_in_a_file(kind.settings)}
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
        folder = Path(self.address.path).parent / "schemas"
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
        if client is None or self._closed.is_set():
            client = self._open()
            self._local.client = client
        return client

    def _open(self) -> Any:
        if self._closed.is_set():
            raise StoreError("the telemetry store is closed")
        arguments = self.address.arguments()
        if self.is_embedded:
            arguments["chdb_options"] = self._options
        else:
            arguments["settings"] = self._session()
            if self._within_s is not None:
                arguments["send_receive_timeout"] = self._within_s + _HANGS_UP_S
        try:
            client = self._connect(**arguments)
            if self.is_embedded and self.layout.is_distributed:
                client.command("SET distributed_foreground_insert = 1")
        except Exception as error:  # noqa: BLE001 (libraries raise what they like)
            raise failures.cannot_open(self.address, error) from None
        with self._lock:
            self._clients.append(client)
        return client

    def _read(self, action: Any, sql: str) -> Any:
        with self._readers.shared():
            return self._guard(action, sql)

    def _session(self) -> dict[str, str | int]:
        """Settings of every request to a server."""
        return dict(_ON_A_CLUSTER) if self.layout.is_distributed else {}

    def _guard(self, action: Any, sql: str) -> Any:
        client = self._client()
        try:
            return action(client)
        except Exception as error:
            if not failures.is_engine_failure(error):
                raise
            raise failures.refused(sql, error, self.address) from None


def _one_shard(layout: Layout) -> dict[str, str]:
    """Server keys that make this node a cluster of one shard."""
    if not layout.is_distributed:
        return {}
    shard = f"remote_servers.{layout.cluster}.shard.replica"
    return {f"{shard}.host": "127.0.0.1", f"{shard}.port": "9000", "tcp_port": "9000"}


def _name(path: Path) -> str:
    """What a server calls the statement that carries a segment; the same after a restart."""
    return f"tocsin-{path.stem}"


def _settings_of(kind: SegmentKind) -> dict[str, str | int]:
    return {**_READ_SETTINGS, **kind.settings}


def _external(kind: SegmentKind, path: Path) -> Any:
    """A segment as a table that is sent along with a request."""
    module = importlib.import_module("clickhouse_connect.driver.external")
    return module.ExternalData(
        file_name=_EXTERNAL, data=path.read_bytes(), fmt=kind.format, structure=kind.structure
    )


def _connector() -> Any:
    """`clickhouse_connect.get_client`, loaded when first needed: the engine is half a gigabyte."""
    return importlib.import_module("clickhouse_connect").get_client
