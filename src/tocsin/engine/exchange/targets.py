"""Where imported rows go: a running server over HTTP, or the data directory itself.

Either way they pass the same intake, are on disk before a batch counts as taken, and a batch that
was taken before is recognised by its name.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from tocsin.domain.batches import HEADER
from tocsin.domain.clock import Clock
from tocsin.domain.errors import IntakeError, StoreError
from tocsin.intake import rest
from tocsin.intake.intake import Intake
from tocsin.intake.records import SpanRecord, to_request
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.telemetry import Telemetry

T = TypeVar("T")

_PATIENCE_S = 600  # for a server that is full or away
_PAUSE_S = 2
_TIMEOUT_S = 120

Rows = Sequence[Mapping[str, Any]]


class Target(Protocol):
    """Takes batches. IntakeError or StoreError when one cannot be taken."""

    def knows(self, name: bytes) -> bool:
        """Whether this batch was taken before."""
        ...

    def spans(self, spans: Sequence[SpanRecord], name: bytes) -> None:
        """Take calls; durable on return."""
        ...

    def rows(self, door: str, rows: Rows, name: bytes) -> None:
        """Take rows as `POST /api/v1/<door>` has them; durable on return."""
        ...

    def close(self) -> None:
        """Load what is pending and let go."""
        ...


class ServerTarget:
    """A running server."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url
        self._client = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S)

    def knows(self, name: bytes) -> bool:
        return self._ask("GET", f"/api/v1/batches/{name.hex()}").status_code == 200

    def spans(self, spans: Sequence[SpanRecord], name: bytes) -> None:
        self._send("/v1/traces", to_request(spans), "application/x-protobuf", name)

    def rows(self, door: str, rows: Rows, name: bytes) -> None:
        self._send(f"/api/v1/{door}", _lines(rows), "application/x-ndjson", name)

    def close(self) -> None:
        self._client.close()

    def _send(self, path: str, body: bytes, kind: str, name: bytes) -> None:
        headers = {"Content-Type": kind, HEADER: name.hex()}
        answer = self._ask("POST", path, content=body, headers=headers)
        if answer.status_code != 200:
            raise StoreError(
                f"{self._url} refused a batch with {answer.status_code}: {answer.text[:300]}"
            )

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer, waiting for a server that is full, starting, or away for a moment."""

        def once() -> httpx.Response:
            try:
                answer = self._client.request(method, path, **request)
            except httpx.TransportError as error:
                raise IntakeError(
                    503, f"{self._url} does not answer: {error}", retry_after_s=_PAUSE_S
                ) from None
            if answer.status_code in {429, 502, 503, 504}:
                after = answer.headers.get("retry-after", "")
                wait = int(after) if after.isdigit() else _PAUSE_S
                raise IntakeError(answer.status_code, answer.text[:300], retry_after_s=wait)
            if answer.status_code in {401, 403}:
                raise StoreError(
                    f"{self._url} wants an access token ({answer.status_code}): set TOCSIN_TOKEN"
                )
            return answer

        return _patiently(once)


def opened(
    data_dir: Path, clock: Clock, memory_bytes: int, retention: Retention | None = None
) -> Telemetry:
    """The store of a data directory, opened by a command. StoreError when another process has it.

    retention: None leaves that of its tables as it is.
    """
    try:
        return Telemetry.open(
            data_dir, clock, kinds=KINDS, tables=TABLES, memory_bytes=memory_bytes,
            retention=retention,
        )  # fmt: skip
    except StoreError as error:
        raise StoreError(
            f"{error}. To go through a running server, give its address with --url"
        ) from None


class LocalTarget:
    """A data directory that no other process has open."""

    def __init__(
        self, data_dir: Path, clock: Clock, memory_bytes: int, retention: Retention | None = None
    ) -> None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.telemetry = opened(data_dir, clock, memory_bytes, retention)
        self._intake = Intake(self.telemetry.writer, clock)
        self._runner = asyncio.Runner()
        self._now_ns = int(clock.now().timestamp() * 1e6) * 1000

    def knows(self, name: bytes) -> bool:
        return self._intake.has_batch(name)

    def spans(self, spans: Sequence[SpanRecord], name: bytes) -> None:
        body = to_request(spans)
        _patiently(lambda: self._runner.run(self._intake.otlp("traces", body, batch=name)))

    def rows(self, door: str, rows: Rows, name: bytes) -> None:
        body = _lines(rows)
        if door.startswith("restore/"):
            kind = door.removeprefix("restore/")
            _patiently(lambda: self._runner.run(self._intake.restore(kind, rows, body, batch=name)))
            return
        make = rest.MAKERS[door]
        taken = rest.take(
            rest.read_rows(body, lines=True), lambda where, row: make(where, row, self._now_ns)
        )
        _patiently(
            lambda: self._runner.run(
                self._intake.rows(door, taken.made, body, rejected=taken.rejected, batch=name)
            )
        )

    def close(self) -> None:
        self._runner.close()
        self.telemetry.close()


def _lines(rows: Rows) -> bytes:
    texts = (json.dumps(row, ensure_ascii=False, default=str) for row in rows)
    return b"".join(text.encode("utf-8", "replace") + b"\n" for text in texts)


def _patiently(ask: Callable[[], T]) -> T:
    """What `ask` returns, asking again while the other side says that it will have room."""
    waited = 0
    while True:
        try:
            return ask()
        except IntakeError as error:
            if error.retry_after_s is None or waited >= _PATIENCE_S:
                raise
            pause = min(error.retry_after_s, _PATIENCE_S)
        threading.Event().wait(pause)
        waited += max(pause, 1)
