"""An import into a real store, for tests of what files become."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.domain.clock import ManualClock
from tocsin.engine.exchange.contents import Wishes
from tocsin.engine.exchange.exporting import encoded
from tocsin.engine.exchange.importing import Imported, import_file
from tocsin.engine.exchange.targets import LocalTarget
from tocsin.engine.exchange.wishes import ExportWish
from tocsin.store.schema import Retention

NOW = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
FOREVER = Retention(0, 0, 0)
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


class Desk:
    """A data directory and what imports made of it."""

    def __init__(self, path: Path, now: datetime = NOW) -> None:
        self.clock = ManualClock(now)
        self.target = LocalTarget(path, self.clock, 2 << 30, FOREVER)

    def take(self, path: Path, **wishes: Any) -> Imported:
        return import_file(path, self.target, Wishes(self.clock.now(), **wishes))

    def ask(self, sql: str) -> list[dict[str, Any]]:
        self.target.telemetry.flush()
        return self.target.telemetry._engine.records(sql)

    def calls(self, order: str = "ts, span_id") -> list[dict[str, Any]]:
        return self.ask(f"SELECT * FROM tocsin.calls ORDER BY {order}")

    def count(self, table: str = "calls") -> int:
        return int(self.ask(f"SELECT count() AS n FROM tocsin.{table}")[0]["n"])


@contextmanager
def desk(path: Path, now: datetime = NOW) -> Iterator[Desk]:
    made = Desk(path, now)
    try:
        yield made
    finally:
        made.target.close()


def rejected(path: Path) -> list[dict[str, Any]]:
    """What was set aside beside a file."""
    beside = path.with_name(f"{path.name}.rejected.jsonl")
    return [json.loads(line) for line in beside.read_text().splitlines()]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


LINES = [
    {"ts": "2026-11-21T04:00:00.123456Z", "service": "shop", "model": "gpt-4o-mini",
     "provider": "openai", "input_tokens": 412, "output_tokens": 120, "cached_tokens": 12,
     "duration_ms": 1480.25, "ttft_ms": 90, "finish_reason": "stop", "dims": {"tier": "pro"},
     "input": 'quotes " and\nlines, ü', "output": "=1+1", "session_id": "s", "env": "production",
     "release": "1.2", "response_id": "r-1", "trace_id": "ab" * 16, "span_id": "01" * 8,
     "attributes": {"deep": {"a": [1, None]}}},
    {"ts": "2026-11-21T04:00:01Z", "service": "shop", "model": "gpt-4o-mini", "kind": "llm",
     "error_class": "rate_limit", "status_message": "too many"},
    {"ts": "2026-11-21T04:31:02Z", "service": "desk", "kind": "retriever", "duration_ms": 5},
    {"ts": "2026-11-21T03:00:00Z", "service": "desk", "model": "nobody's", "streamed": True,
     "duration_ms": 60000, "dims": {"tier": "free", "region": "eu"}},
]  # fmt: skip
SCORES = [
    {"name": "feedback", "call_id": "01" * 8, "value": 0, "comment": "no",
     "ts": "2026-11-21T04:01:00Z"},
    {"name": "tone", "label": "formal", "call_id": "p1", "service": "shop", "dims": {"tier": "pro"},
     "ts": "2026-11-21T04:02:00Z", "annotator": "ann"},
    {"name": "feedback", "value": 1, "service": "desk", "ts": "2026-11-21T04:03:00Z"},
]  # fmt: skip
CHANGES = [
    {"service": "shop", "kind": "deploy", "title": "v7", "ts": "2026-11-21T04:00:30Z",
     "labels": {"sha": "abc"}}
]  # fmt: skip


@contextmanager
def filled(path: Path) -> Iterator[Desk]:
    with desk(path / "data") as made:
        for kind, rows in (("calls", LINES), ("scores", SCORES), ("changes", CHANGES)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            done = made.take(write(path / f"{kind}.jsonl", text), kind=kind)
            assert done.accepted == len(rows)
            made.target.telemetry.flush()
        made.clock.advance(timedelta(seconds=1))  # past the stamps of what came in
        yield made


def bytes_of(house: Desk, what: str, form: str = "jsonl", packed: str = "", **wish: Any) -> bytes:
    wish.setdefault("start", NOW - timedelta(days=30))
    wanted = ExportWish(what, form, packed, **wish).wanted(house.clock.now())
    house.target.telemetry.flush()
    source = house.target.telemetry.exports
    return b"".join(encoded(source.pages(wanted), source.schema(wanted), form, packed))


def rows_of(house: Desk, what: str, **wish: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in bytes_of(house, what, **wish).splitlines()]
