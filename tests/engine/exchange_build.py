"""An import into a real store, for tests of what files become."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tocsin.domain.clock import ManualClock
from tocsin.engine.exchange.contents import Wishes
from tocsin.engine.exchange.importing import Imported, import_file
from tocsin.engine.exchange.targets import LocalTarget
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
