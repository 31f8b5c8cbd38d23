"""Page budgets beside the tick: what is kept, what is found each day, the same on every clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tocsin.assess.page_budget import Member, PageBudget
from tocsin.domain.clock import ManualClock, from_minute
from tocsin.domain.evidence import EvidenceDay
from tocsin.domain.findings import Incident, IncidentState, Judgement, Verdict
from tocsin.domain.samples import Sample, Wish
from tocsin.domain.series import Change, MinuteBlock, Ratio, SeriesId
from tocsin.engine import planning
from tocsin.engine.backtest import backtest
from tocsin.engine.budgets import DAY, Budgets
from tocsin.engine.rules import compile_desired
from tocsin.engine.settings import STATE_FILE, Settings
from tocsin.spec.desired import load_text
from tocsin.store.state import StateStore

DAY0 = 20_000
NAMES = [f"detector/{i}" for i in range(10)]


def stated(pages: float = 2.0) -> PageBudget:
    return PageBudget("team", pages, 20.0, {name: Member(f"s-{name[-1]}") for name in NAMES})


def budgets(pages: float = 2.0) -> Budgets:
    return Budgets([stated(pages)], dict.fromkeys(NAMES, 6.0))


def found(name: str, score: float) -> Verdict:
    return Verdict(name, f"s-{name[-1]}", "error_rate", Judgement.BREACH, 0, "page", score=score)


def unknown(name: str) -> Verdict:
    return replace(found(name, 0.0), judgement=Judgement.UNKNOWN, score=None)


@pytest.fixture
def state() -> StateStore:
    return StateStore.open(":memory:")


def play(held: Budgets, state: StateStore, day: int, peaks: dict[int, Verdict]) -> list[Verdict]:
    """A day of ten detectors that find what `peaks` says at half past an hour."""
    told = []
    for hour in range(24):
        at = (24 * day + hour) * 60
        told += held.told([peaks[hour]] if hour in peaks else [], at + 30, state)
        held.told([], at + 59, state)
    return told


def test_an_hour_keeps_its_highest_evidence_and_who_could_judge(state: StateStore) -> None:
    held = budgets()
    at = DAY0 * DAY + 7 * 60
    for minute, score in ((3, 3.1), (4, 5.2), (5, 4.0), (6, 2.9)):
        held.told([found(NAMES[0], score), unknown(NAMES[1])], at + minute, state)
    held.told([unknown(NAMES[0]), unknown(NAMES[1])], at + 59, state)
    kept = {day.monitor: day for day in state.evidence(DAY0, DAY0 + 1)}
    assert kept[NAMES[0]] == EvidenceDay(NAMES[0], DAY0, 1 << 7, {7: 5.2})
    assert NAMES[1] not in kept
    assert kept[NAMES[2]] == EvidenceDay(NAMES[2], DAY0, 1 << 7, {})
    # The same minutes again, after a crash, change nothing.
    budgets().told([found(NAMES[0], 5.2)], at + 4, state)
    assert state.evidence(DAY0, DAY0 + 1)[0].peaks == {7: 5.2}


def test_limits_hold_for_a_day_and_survive_a_restart(state: StateStore) -> None:
    held = budgets()
    play(held, state, DAY0, {h: found(NAMES[h % 10], 3.5) for h in range(24)})
    first = held.calibrations["team"]
    assert first.method == "bonferroni"
    assert first.page == pytest.approx(np.log10(10 * 10_080 / 2.0), abs=0.01)
    held.told([], (DAY0 + 1) * DAY, state)
    second = held.calibrations["team"]
    assert (second.method, second.blocks, second.peaks) == ("measured", 240, 24)
    again = budgets()
    with state.transaction() as tx:  # what comes to light during the day is for tomorrow
        tx.note_evidence([EvidenceDay(NAMES[0], DAY0, 0, {1: 40.0})])
    again.told([], (DAY0 + 1) * DAY + 700, state)
    assert again.calibrations == held.calibrations
    other = budgets(pages=1.0)  # what is stated anew holds at once
    other.told([], (DAY0 + 1) * DAY + 701, state)
    assert other.calibrations["team"].page > second.page
    events = [e for e in state.ledger_entries() if e.kind == "budget.calibrated"]
    assert [e.subject for e in events] == ["PageBudget/team"] * 3
    assert "measured, 24 of 240 hours reached 3" in events[1].reason


def test_verdicts_are_fed_back(state: StateStore) -> None:
    """Of the same history: false pages stay in it and the limit rises, real ones leave it."""
    held = budgets()
    for day in range(DAY0, DAY0 + 7):
        play(held, state, day, {h: found(NAMES[h % 10], 3.0 + h / 8) for h in range(24)})
    opened = from_minute(DAY0 * DAY + 22 * 60 + 30)
    ids = []
    with state.transaction() as tx:
        for day in range(7):
            for hour in (20, 21, 22, 23):
                at = opened + timedelta(days=day, hours=hour - 22)
                name = NAMES[hour % 10]
                ids.append(f"{day}-{hour}")
                incident = Incident(
                    ids[-1], ids[-1], 1, IncidentState.RESOLVED, "t",
                    {"service": f"s-{name[-1]}", "team": "cx"}, 1, at, at,
                    resolved=at + timedelta(minutes=10), evidence={"monitor": name},
                )  # fmt: skip
                tx.put_incident(incident, expect_version=None)
    after = (DAY0 + 7) * DAY

    def limit() -> float:
        anew = budgets()
        state.set_meta("page_budgets", None)
        anew.told([], after, state)
        return anew.calibrations["team"].page

    for incident_id in ids:
        state.mark(incident_id, "false", "ana", from_minute(after - 5))
    high = limit()
    for incident_id in ids:
        state.mark(incident_id, "real", "ana", from_minute(after - 3))
    assert limit() < high - 0.3
    state.mark(ids[0], "false", "ana", from_minute(after + 1))
    assert limit() < high - 0.3, "what was said later is not known yet"
    last = state.reviews(opened, from_minute(after))[0]
    assert (last.monitor, last.team, last.verdict) == (NAMES[2], "cx", "real")


class Failing:
    """One service of 30 calls a minute: 1 % fail, more in outages (start, stop, share)."""

    def __init__(self, start: int, stop: int, *outages: tuple[int, int, float]) -> None:
        rng = np.random.default_rng(5)
        self.start = start
        share = np.full(stop - start, 0.01)
        for begin, end, failing in outages:
            share[begin:end] = failing
        self.total = rng.poisson(30.0, stop - start)
        self.bad = rng.binomial(self.total, share)

    def minutes(
        self, monitored: dict[SeriesId, Ratio], services: list[str], start: int, stop: int
    ) -> MinuteBlock:
        a, b = start - self.start, stop - self.start
        return MinuteBlock(start, tuple(monitored), self.bad[None, a:b], self.total[None, a:b])

    def changes(self, start: int, stop: int) -> list[Change]:
        return []

    def sample(self, wish: Wish, start: int, stop: int) -> Sample | None:
        return None


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
kind: PageBudget
metadata: {name: cx}
spec: {team: cx, pagesPerWeek: 0.001, ticketsPerWeek: 20}
"""


def test_a_backtest_pages_by_the_budget() -> None:
    """A weak surge is a ticket that says why, a strong one pages, by the same detector."""
    start = DAY0 * DAY
    source = Failing(start, start + 1200, (900, 906, 0.06), (1100, 1110, 0.6))
    rules = compile_desired(load_text(CONFIG))
    told = [
        (decided.now, change.alert.severity, change.alert.reason)
        for decided in backtest(rules, source, (start, start + 1200))
        for change in decided.alert_changes
        if change.alert.state.value == "firing"
    ]
    weak, strong = (
        [entry for entry in told if from_minute(start + a) <= entry[0] <= from_minute(start + b)]
        for a, b in ((900, 910), (1100, 1110))
    )
    assert [severity for _, severity, _ in weak] == ["ticket"]
    assert "by PageBudget cx" in weak[0][2]
    assert [severity for _, severity, _ in strong] == ["page"]
    assert len(told) == 2


def test_a_plan_tells_what_a_budget_would_do_before_it_is_applied(tmp_path: Path) -> None:
    """By the evidence that the server has kept, and by a file of history."""
    config, data = tmp_path / "config", tmp_path / "data"
    config.mkdir()
    (config / "all.yaml").write_text(CONFIG)
    settings = Settings(data, config_dir=config)
    now = ManualClock(from_minute((DAY0 + 40) * DAY))
    assert planning.plan(settings, None, None, now).outlooks == ()
    data.mkdir()
    kept = StateStore.open(data / STATE_FILE)
    with kept.transaction() as tx:
        tx.note_evidence([
            EvidenceDay("detector/failures", DAY0 + d, (1 << 24) - 1, {d % 24: 3.0 + d / 10})
            for d in range(40)
        ])  # fmt: skip
    kept.close()
    plan = planning.plan(settings, None, None, now)
    assert "Page budget cx, by 960 judged hours (no guarantee):" in str(plan)
    assert "0.001 a week: pages from evidence" in str(plan)
    assert len(plan.to_json()["page_budgets"][0]["prospects"]) == 4
    counts = Failing(DAY0 * DAY, DAY0 * DAY + 900, (700, 706, 0.3))
    history = tmp_path / "counts.csv"
    history.write_text(
        "minute,service,total,bad\n"
        + "\n".join(
            f"{counts.start + at},chat,{total},{bad}"
            for at, (total, bad) in enumerate(zip(counts.total, counts.bad, strict=True))
        )
    )
    replayed = planning.plan(settings, history, None, now).pages
    assert replayed is not None
    assert len(replayed.notes) == 4
    assert replayed.notes[0].startswith("PageBudget cx over this history: 0.0005 a week")
