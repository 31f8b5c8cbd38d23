"""Live, demo and backtest decide the same on the same data, line for line.

The same calls are judged three times: by a server that starts late, warms up from its store and
reads one to four minutes at a tick; by the demo's way of reading six hours at once; and by a
backtest over a file, Parquet and JSON Lines, without any database.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet
import pytest
from world import CONFIG, FOREVER, HISTORY, LATENESS, T0, ZERO, Phase, rows, table, traffic, usual

from tocsin.delivery.worker import Courier
from tocsin.domain.clock import ManualClock, from_minute, iso
from tocsin.domain.ports import MinuteSource
from tocsin.engine.backtest import Recorder, backtest
from tocsin.engine.decisions import AlertLine, DecisionLine, Line, lines
from tocsin.engine.feed import ReadAhead
from tocsin.engine.files import open_source
from tocsin.engine.house import House
from tocsin.engine.rules import Rules, compile_desired
from tocsin.spec.desired import Desired, load
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.reads import cursor_after
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

START, STOP = ZERO - HISTORY, ZERO + 110
LIVE_FROM = ZERO - 5


def phases() -> list[Phase]:
    """An outage, a slow model, cut answers, failures in staging, and what looks like an outage."""
    normal = usual("chat", "drafts", "claims", "trial", until=110)
    return [
        *normal,
        Phase("chat", 8, 28, failing=0.6, error="overloaded"),
        Phase("drafts", 11, 26, failing=0.6, error="overloaded"),
        Phase("claims", 40, 65, per_minute=25, slow=4.0),
        Phase("drafts", 70, 90, cut=0.5),
        Phase("trial", 20, 40, failing=0.7, error="timeout"),
        Phase("claims", 5, 30, failing=0.9, error="bad_request", per_minute=6),
        Phase("chat", 80, 100, cost=0.01),
    ]


def exact() -> dict[str, np.ndarray]:
    """The calls; some lie exactly on thresholds, in the corners where counting could differ."""
    calls = traffic(phases())
    rng = np.random.default_rng(11)
    n = len(calls["ts"])
    good = (calls["error_class"] == "") & (calls["truncated"] == 0)
    corner = rng.random(n) < 0.02
    calls["duration_us"][good & corner] = rng.choice(
        [30_000_000, 29_999_999, 30_000_001, 1, 0, 1_040_000], n
    )[good & corner]
    calls["cost_usd"][good & corner] = 0.002
    calls["ttft_us"][corner] = 0
    return calls


def told(decided: Any) -> list[Line]:
    return list(lines(decided))


def desired() -> Desired:
    return load([CONFIG])


@dataclass
class Played:
    """A House without a network: its courier delivers to recorders."""

    telemetry: Telemetry
    path: Path
    start: int | None
    first_minute: int
    wrap: Any = None
    out: list[Line] = field(default_factory=list)

    def run(self) -> list[Line]:
        clock = ManualClock(from_minute(self.first_minute) + LATENESS)
        state = StateStore.open(self.path)
        house = House(
            self.telemetry, state, clock, desired(), lateness=LATENESS, start=self.start,
            source=self.wrap or (lambda inner: inner),
        )  # fmt: skip
        policy = house.rules.policy
        with asyncio.Runner() as runner:
            courier = Courier(
                state,
                {name: Recorder() for name in policy.receivers if not policy.is_silent(name)},
                httpx.AsyncClient(),
                clock,
                rng=Random(5),
                fallbacks=policy.defaults.unmatched.receivers,
            )
            for minute in range(self.first_minute, STOP):
                now = from_minute(minute + 1) + LATENESS
                clock.set(now)
                self.out += told(house.tick(now))
                runner.run(courier.drain(now))
        state.close()
        return self.out


@pytest.fixture(scope="module")
def calls() -> dict[str, np.ndarray]:
    return exact()


@pytest.fixture(scope="module")
def telemetry(
    tmp_path_factory: pytest.TempPathFactory, calls: dict[str, np.ndarray]
) -> Iterator[Telemetry]:
    with Telemetry.open(
        tmp_path_factory.mktemp("clocks"), ManualClock(T0), kinds=KINDS, tables=TABLES,
        retention=FOREVER,
    ) as made:  # fmt: skip
        made.add_calls(table(calls))
        made.flush()
        yield made


def replayed(rules: Rules, source: MinuteSource) -> list[Line]:
    found: list[Line] = []
    for decided in backtest(rules, source, (START, STOP), lateness=LATENESS):
        found += told(decided)
    return found


@pytest.fixture(scope="module")
def of_backtest(
    tmp_path_factory: pytest.TempPathFactory, calls: dict[str, np.ndarray]
) -> list[Line]:
    path = tmp_path_factory.mktemp("file") / "calls.parquet"
    pyarrow.parquet.write_table(rows(calls), path)
    source = open_source(path)
    assert source.span[0] == START
    assert source.span[1] >= STOP, "the last calls end after the story does"
    return replayed(compile_desired(desired()), source)


def decisions(found: list[Line]) -> list[tuple[str, str, str, int, tuple[str, ...]]]:
    return [
        (x.service, x.event, x.kind, x.tier, x.receivers)
        for x in found
        if isinstance(x, DecisionLine)
    ]


def test_the_story_is_worth_comparing(of_backtest: list[Line]) -> None:
    began = {(x.service, x.object) for x in of_backtest if isinstance(x, AlertLine)}
    assert began >= {
        ("chat", "detector/failures/chat"),
        ("chat", "slo/chat-availability"),
        ("chat", "detector/cost"),
        ("claims", "detector/pace/claims"),
        ("drafts", "detector/truncation"),
        ("trial", "detector/failures/trial"),
        ("openai", "dependency/openai/prod"),
    }, began
    told_of = decisions(of_backtest)
    assert ("chat", "opened", "page", 1, ("audit", "pagerduty", "slack")) in told_of
    assert ("claims", "opened", "page", 1, ("audit", "pagerduty", "slack")) in told_of
    assert ("drafts", "opened", "page", 1, ("audit", "pagerduty", "slack")) in told_of
    assert ("openai", "opened", "page", 1, ("audit", "pagerduty", "slack")) in told_of
    assert ("drafts", "opened", "suppressed", 2, ()) in told_of
    assert ("trial", "opened", "digest", 3, ("noon",)) in told_of
    assert {"suppressed", "resolve", "notify"} <= {kind for _, _, kind, _, _ in told_of}
    assert not any(x.at < iso(T0) for x in of_backtest), "nothing happened before the clock"


def test_the_demo_decides_what_a_backtest_decides(
    telemetry: Telemetry, tmp_path: Path, of_backtest: list[Line]
) -> None:
    def ahead(inner: MinuteSource) -> MinuteSource:
        made = ReadAhead(inner)
        made.extend(STOP)
        return made

    demo = Played(telemetry, tmp_path / "demo.db", START, START, ahead)
    assert demo.run() == of_backtest


def test_a_server_that_started_late_decides_what_a_backtest_decides(
    telemetry: Telemetry, tmp_path: Path, of_backtest: list[Line]
) -> None:
    live = Played(telemetry, tmp_path / "live.db", None, LIVE_FROM)
    assert live.run() == of_backtest


def test_a_file_written_from_the_api_decides_the_same(
    telemetry: Telemetry, tmp_path: Path, of_backtest: list[Line]
) -> None:
    """JSON Lines as `GET /api/v1/calls` gives them: newest first, null where unknown."""
    path = tmp_path / "calls.jsonl"
    cursor = ""
    with path.open("w") as file:
        while True:
            _, page = telemetry.reads.calls(10_000, before=cursor)
            for call in page:
                record = {
                    name: getattr(call, name) or None
                    for name in ("service", "kind", "error_class")
                } | {
                    name: getattr(call, name)
                    for name in (
                        "duration_ms", "ttft_ms", "cost_usd", "input_tokens", "output_tokens",
                        "truncated", "usage_known", "trace_id",
                    )
                }  # fmt: skip
                file.write(json.dumps({"ts": iso(call.ts), **record}) + "\n")
            if len(page) < 10_000:
                break
            cursor = cursor_after(page[-1])
    assert replayed(compile_desired(desired()), open_source(path)) == of_backtest
