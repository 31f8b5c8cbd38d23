"""A page budget that is new to a server finds what it would have found, had it been there."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from world import FOREVER, LATENESS, T0, ZERO, Phase, table, traffic

from tocsin.domain.clock import ManualClock, from_minute
from tocsin.engine.backtest import backtest
from tocsin.engine.decisions import Line, lines
from tocsin.engine.feed import ReadAhead
from tocsin.engine.house import House
from tocsin.engine.rules import compile_desired
from tocsin.spec.desired import load_text
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: failures}
spec: {service: chat, use: count_scan, indicator: {use: availability}, severity: page}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: slow}
spec: {service: chat, use: committee, severity: page, with: {measure: p95, over: 5}}
---
apiVersion: tocsin/v1
kind: PageBudget
metadata: {name: cx}
spec: {team: cx, pagesPerWeek: 2}
"""
START, STOP = ZERO - 17 * 60, ZERO + 20  # from the afternoon before


def played(telemetry: Telemetry, start: int | None, first: int) -> tuple[House, list[Line]]:
    """A House that begins at minute `first` and ticks to STOP."""
    clock = ManualClock(from_minute(first) + LATENESS)
    house = House(
        telemetry, StateStore.open(":memory:"), clock, load_text(CONFIG), lateness=LATENESS,
        start=start, source=ReadAhead,
    )  # fmt: skip
    told: list[Line] = []
    for minute in range(first, STOP):
        now = from_minute(minute + 1) + LATENESS
        clock.set(now)
        told += [line for line in lines(house.tick(now)) if minute >= ZERO]
    return house, told


def test_running_on_and_looking_back_and_backtest_agree(tmp_path: Path) -> None:
    calls = traffic(
        [
            Phase("chat", -17 * 60, 20),
            Phase("chat", -600, -595, failing=0.4, per_minute=4),  # some evidence before midnight
            Phase("chat", -300, -290, slow=6.0, per_minute=12),
            Phase("chat", 5, 15, failing=0.7),
        ]
    )
    with Telemetry.open(
        tmp_path, ManualClock(T0), kinds=KINDS, tables=TABLES, retention=FOREVER
    ) as telemetry:
        telemetry.add_calls(table(calls))
        telemetry.flush()
        running, told = played(telemetry, START, START)
        late, told_late = played(telemetry, None, ZERO)
        day = START // 1440
        kept = running.state.evidence(day, day + 3)
        assert any(one.peaks for one in kept)
        assert [d for d in late.state.evidence(day, day + 3) if d.hours] == list(kept)
        found, known = (h.budgets.calibrations["cx"] for h in (late, running))
        assert found == replace(known, unanswered=0), "only who ran on has paged"
        assert found.blocks
        assert told_late == told
        assert any(getattr(line, "severity", "") == "page" for line in told)
        rules = compile_desired(load_text(CONFIG))
        replayed = [
            line
            for decided in backtest(rules, telemetry, (START, STOP), lateness=LATENESS)
            for line in lines(decided)
            if decided.now >= from_minute(ZERO + 1)
        ]
        assert replayed == told
        for house in (running, late):
            house.state.close()


def test_history_that_is_imported_beside_a_new_server_is_learned_from_on_that_day(
    tmp_path: Path,
) -> None:
    calls = table(
        traffic(
            [Phase("chat", -90 * 60, -9 * 60, per_minute=6), Phase("chat", -600, -595, failing=0.4)]
        )
    )
    clock = ManualClock(from_minute(ZERO) + LATENESS)
    with (
        Telemetry.open(tmp_path, clock, kinds=KINDS, tables=TABLES, retention=FOREVER) as telemetry,
        closing(StateStore.open(":memory:")) as state,
    ):
        house = House(telemetry, state, clock, load_text(CONFIG), lateness=LATENESS)
        house.catch_up(clock.now())
        clock.set(from_minute(ZERO + 1) + LATENESS)
        house.catch_up(clock.now())
        assert house.budgets.calibrations["cx"].method == "bonferroni"
        received = pa.array([clock.now()] * calls.num_rows, pa.timestamp("us", tz="UTC"))
        telemetry.add_calls(calls.append_column("recv", received))
        telemetry.flush()
        for minute in range(2, 15):
            clock.set(from_minute(ZERO + minute) + LATENESS)
            house.catch_up(clock.now())
        found = house.budgets.calibrations["cx"]
        assert (found.day, found.method) == (ZERO // 1440, "assumed")
        assert found.blocks > 50
        limits = [e for e in state.ledger_entries() if e.kind == "budget.calibrated"]
        assert len(limits) == 2, "found twice: of nothing, and of the import"
        again = House(telemetry, state, clock, load_text(CONFIG), lateness=LATENESS)
        again.catch_up(clock.now() + timedelta(minutes=1))
        assert again.budgets.calibrations["cx"] == found
        assert len([e for e in state.ledger_entries() if e.kind == "budget.calibrated"]) == 2
