"""A house without telemetry whose inbox is told things."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.domain.clock import ManualClock
from tocsin.domain.findings import Incident
from tocsin.engine.house import House
from tocsin.engine.outside import Outside
from tocsin.spec.desired import load_text
from tocsin.store.otlp_kinds import TABLES
from tocsin.store.row_kinds import segment_kinds
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx, exposure: customer, regulated: false}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: pager}
spec: {type: none}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: board}
spec: {type: none}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults:
    unmatched: {tier: 3, receivers: [board]}
    on_rule_error: {tier: 3, receivers: [board]}
  classify:
    - {if: {severity: page}, set: {tier: 1}}
    - {if: {}, set: {tier: 3}, when_unset: true}
  routes:
    - {name: loud, if: {tier: 1, team: cx}, receivers: [pager]}
    - {name: all, receivers: [board]}
"""


class Bench:
    """A house without calls, and its inbox. telemetry: an empty store, which may be shared."""

    def __init__(self, path: Path, telemetry: Telemetry, more: str = "", **secrets: str) -> None:
        self.clock = ManualClock(NOW)
        self.state = StateStore.open(path / "state.db")
        desired = load_text(CONFIG + more, secrets=secrets.get)
        self.house = House(telemetry, self.state, self.clock, desired, lateness=timedelta(0))
        self.outside = Outside(self.house)
        self.woken = 0
        self.outside.then(self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def tell(self, source: str, body: Any) -> int:
        self.outside.accept(source, json.dumps(body).encode())
        return self.outside.work()

    def incidents(self) -> list[Incident]:
        return sorted(self.state.incidents(live_only=False).values(), key=lambda one: one.title)

    def later(self, **by: int) -> None:
        self.clock.advance(timedelta(**by))

    def close(self) -> None:
        self.state.close()


def empty(path: Path) -> Telemetry:
    """A store with nothing in it."""
    return Telemetry.open(
        path, ManualClock(NOW), kinds=segment_kinds(), tables=TABLES, memory_bytes=1_000_000_000
    )
