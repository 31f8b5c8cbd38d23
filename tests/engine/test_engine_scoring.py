"""Health scores on the clock: states that are entered and left, alerts, and what moved them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.assess.window import Window
from tocsin.domain.clock import ManualClock, from_minute, to_minute
from tocsin.domain.findings import Verdict
from tocsin.domain.samples import Look
from tocsin.engine import planning
from tocsin.engine.backtest import backtest
from tocsin.engine.budgets import Budgets
from tocsin.engine.feed import Feed
from tocsin.engine.files import open_source
from tocsin.engine.rules import compile_desired
from tocsin.engine.scoring import CHANGED, Scoring, readings_of
from tocsin.engine.settings import STATE_FILE, Settings
from tocsin.engine.tick import Decided, tick
from tocsin.spec.desired import load_text
from tocsin.store.state import StateStore

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
START = to_minute(NOON)
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx, mode: page}
---
apiVersion: tocsin/v1
kind: HealthScore
metadata: {name: chat-health, displayName: Chat}
spec:
  service: chat
  mode: alerting
  window: 5m
  components:
    - {metric: error_rate, weight: 0.4, critical: true, curve: [[0, 100], [0.5, 0]]}
    - {metric: p95_latency_seconds, weight: 0.4, curve: [[1, 100], [5, 0]]}
    - {metric: helpful, weight: 0.2, curve: [[0, 0], [1, 100]]}
  thresholds: {warning: 80, critical: 50, hysteresis: 5, for: 3m, clearFor: 4m}
"""


@pytest.fixture
def state() -> Iterator[StateStore]:
    store = StateStore.open(":memory:")
    yield store
    store.close()


def calls(path: Path, minutes: list[dict[str, Any]], per: int = 100) -> Path:
    """A file with so many calls a minute: failed, seconds and helpful of each minute."""
    rows: dict[str, list[Any]] = {n: [] for n in (
        "ts", "service", "duration_ms", "error_class", "score.helpful", "region")}  # fmt: skip
    for minute, one in enumerate(minutes):
        for number in range(one.get("calls", per)):
            rows["ts"].append(NOON + timedelta(minutes=minute, milliseconds=number * 100))
            rows["service"].append("chat")
            # Four calls of a hundred are of a region of its own.
            region = "br" if number % 25 == 24 else "eu" if number % 2 else "us"
            seconds = one.get(region, one.get("seconds", 1.0))
            rows["region"].append(region)
            rows["duration_ms"].append(1000.0 * seconds)
            failed = number < one.get("failed", 0)
            rows["error_class"].append("timeout" if failed else "")
            rows["score.helpful"].append(one.get("helpful", 0.9))
    rows["ts"] = pa.array(rows["ts"], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(rows), path)
    return path


def run(config: str, path: Path, state: StateStore, minutes: int) -> list[Decided]:
    source = open_source(path)
    rules = compile_desired(load_text(config))
    return list(backtest(rules, source, (START, START + minutes), state=state))


def changes(state: StateStore) -> list[tuple[int, str]]:
    found = [e for e in state.ledger_entries() if e.kind == CHANGED]
    return [(round((e.at_us / 1e6 - NOON.timestamp()) / 60), e.data["state"]) for e in found]


WELL, SLOW, OUT = {}, {"seconds": 4.0}, {"seconds": 4.0, "failed": 60}  # type: ignore[var-annotated]


def test_each_change_of_state_is_told_once_with_what_moved_it(
    tmp_path: Path, state: StateStore
) -> None:
    plan = [WELL] * 20 + [SLOW] * 20 + [OUT] * 20 + [WELL] * 20
    decided = run(CONFIG, calls(tmp_path / "c.parquet", plan), state, len(plan))
    # 5 minutes of p95 are slow from the first slow minute on, and the third one tells. It takes
    # two minutes of an outage to be below 50, and a window of 5 minutes to be rid of it.
    assert changes(state) == [(3, "ok"), (23, "warning"), (44, "critical"), (68, "ok")]
    told = [(d.now, c.event, c.after.tier) for d in decided for c in d.incident_changes if c.tell]
    assert [round((at - NOON).total_seconds() / 60) for at, _, _ in told] == [23, 44]
    assert not state.alerts()
    (alert,) = [c.alert for d in decided for c in d.alert_changes if c.alert.state == "firing"]
    moved = alert.evidence["health"]["moved"]
    assert moved["from"] == pytest.approx(98, abs=1)
    assert sum(moved["terms"].values()) == pytest.approx(moved["total"])
    assert "p95_latency_seconds -29.8" in alert.reason
    assert alert.severity == "ticket"


def test_in_shadow_the_state_is_followed_and_nobody_is_told(
    tmp_path: Path, state: StateStore
) -> None:
    plan = [WELL] * 10 + [OUT] * 10
    shadow = CONFIG.replace("alerting", "shadow")
    decided = run(shadow, calls(tmp_path / "c.parquet", plan), state, len(plan))
    assert [one for _, one in changes(state)] == ["ok", "critical"]
    assert all(d.is_empty for d in decided)
    kept = state.health_samples("chat-health", START, START + len(plan))
    assert kept[-1].score is not None
    assert kept[-1].score < 50
    # Of few calls p95 has no upper bound; that is kept as well, and is not certainty.
    few = StateStore.open(":memory:")
    run(shadow, calls(tmp_path / "f.parquet", [WELL] * 10, per=5), few, 10)
    (newest,) = few.newest_health().values()
    assert readings_of(newest)["p95_latency_seconds"].high > 1e6  # type: ignore[operator]
    few.close()
    assert state.health_formulas([kept[-1].formula])


def test_a_restart_goes_on_where_the_last_process_stopped(
    tmp_path: Path, state: StateStore
) -> None:
    """One process after another over the same state: a minute of `for` had passed before."""
    plan = [WELL] * 10 + [OUT] * 5
    path = calls(tmp_path / "c.parquet", plan)
    run(CONFIG, path, state, 12)
    assert [one for _, one in changes(state)] == ["ok"]
    source = open_source(path)
    rules = compile_desired(load_text(CONFIG))
    again = list(backtest(rules, source, (START + 12, START + 14), state=state))
    assert changes(state)[-1] == (14, "critical")
    assert any(c.alert.state == "firing" for d in again for c in d.alert_changes)


class Beat:
    """Minutes of a file, judged one by one; which process does it is the caller's to say."""

    def __init__(self, path: Path, config: str = CONFIG, start: int = 0) -> None:
        self.rules = compile_desired(load_text(config))
        monitors, watched = self.rules.monitors.monitors, self.rules.watched
        self.window = Window(monitors, watched.services)
        self.feed = Feed(open_source(path), watched, start=START + start, reread=3)

    def process(self) -> Scoring:
        return Scoring(self.rules.monitors.monitors)

    def tick(self, scoring: Scoring, state: Any, minute: int) -> Decided:
        budgets = Budgets(self.rules.desired.budgets, self.rules.least)
        now = NOON + timedelta(minutes=minute + 1)
        return tick(self.rules, self.window, self.feed, budgets, scoring, state, now)


def test_a_process_that_conducts_again_goes_on_where_the_other_stopped(
    tmp_path: Path, state: StateStore
) -> None:
    beat = Beat(calls(tmp_path / "c.parquet", [WELL] * 10 + [OUT] * 30))
    one, other = beat.process(), beat.process()
    for minute in range(40):
        beat.tick(other if 12 <= minute < 26 else one, state, minute)
    assert changes(state) == [(3, "ok"), (14, "critical")]
    (alert,) = state.alerts().values()
    assert (alert.state, "quiet_since" in alert.evidence) == ("firing", False)


def test_a_state_from_before_a_long_pause_pages_nobody(tmp_path: Path, state: StateStore) -> None:
    plan = [WELL] * 10 + [OUT] * 10 + [WELL] * 100
    path = calls(tmp_path / "c.parquet", plan)
    run(CONFIG, path, state, 20)
    assert changes(state) == [(3, "ok"), (14, "critical")]
    source = open_source(path)
    rules = compile_desired(load_text(CONFIG))
    after = list(backtest(rules, source, (START + 100, START + 120), state=state))
    assert changes(state)[2:] == [(101, "unknown"), (103, "ok")]
    assert [v.judgement for d in after for v in d.verdicts] == ["unknown"] * 2
    assert not state.alerts()


class Full:
    """A state that takes nothing more."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def transaction(self) -> Any:
        raise OSError("no space left")


def test_a_change_that_could_not_be_kept_is_told_when_it_can(
    tmp_path: Path, state: StateStore
) -> None:
    beat = Beat(calls(tmp_path / "c.parquet", [WELL] * 10 + [OUT] * 10))
    scoring = beat.process()
    with pytest.raises(OSError, match="no space"):
        beat.tick(scoring, Full(state), 0)
    assert not state.newest_health()
    for minute in range(20):
        if minute == 13:  # the one that tells
            with pytest.raises(OSError, match="no space"):
                beat.tick(scoring, Full(state), minute)
        beat.tick(scoring, state, minute)
    assert changes(state) == [(3, "ok"), (14, "critical")]
    kept = state.health_samples("chat-health", START, START + 20)
    assert state.health_formulas([kept[-1].formula])


def test_calls_that_stop_are_idle_and_end_no_alert(tmp_path: Path, state: StateStore) -> None:
    plan = [WELL] * 10 + [OUT] * 8 + [{"calls": 0}] * 10
    run(CONFIG, calls(tmp_path / "c.parquet", plan), state, len(plan))
    assert [one for _, one in changes(state)] == ["ok", "critical", "idle"]
    (alert,) = state.alerts().values()
    assert alert.labels["monitor"] == "health/chat-health"


def test_a_changed_formula_is_a_term_of_its_own(tmp_path: Path, state: StateStore) -> None:
    path = calls(tmp_path / "c.parquet", [WELL] * 40)
    run(CONFIG, path, state, 20)
    harsh = CONFIG.replace("[[0, 0], [1, 100]]", "[[0.9, 0], [1, 100]]").replace("0.2,", "0.9,")
    source = open_source(path)
    rules = compile_desired(load_text(harsh))
    list(backtest(rules, source, (START + 20, START + 40), state=state))
    entry = [e for e in state.ledger_entries() if e.kind == CHANGED][-1]
    moved = entry.data["moved"]
    assert entry.data["state"] in ("warning", "critical")
    assert moved["config"] == pytest.approx(moved["total"], abs=1e-6)
    assert "the formula -" in entry.reason
    assert from_minute(moved["since"]) < NOON + timedelta(minutes=21)


SEGMENTED = CONFIG + "  segments: {by: region, window: 20m, every: 5m, confirm: 2of3}\n"


def of_segments(decided: Decided) -> Verdict | None:
    found = [v for v in decided.verdicts if v.monitor == "health/chat-health/segments"]
    return found[0] if found else None


def test_what_was_not_looked_at_often_enough_ends_no_ticket(
    tmp_path: Path, state: StateStore
) -> None:
    plan = [WELL] * 20 + [{"br": 9.0}] * 41 + [{"calls": 0}] * 6
    path = calls(tmp_path / "c.parquet", plan)
    run(SEGMENTED, path, state, 40)
    (alert,) = state.alerts().values()
    again = Beat(path, SEGMENTED, start=40)
    scoring = again.process()
    said = [of_segments(again.tick(scoring, state, minute)) for minute in range(40, 67)]
    judgements = [v.judgement if v else "ok" for v in said]
    # The first look is had after the first minute, and the second one tells.
    assert judgements[:5] == ["unknown"] * 5
    assert judgements[5:21] == ["breach"] * 16
    assert [v.reason for v in said[:2] if v] == [
        "not looked at yet", "not looked at often enough yet: 1 of 3 looks"]  # fmt: skip
    # Silence says nothing of a segment either.
    assert said[-1] is not None
    assert said[-1].reason == "the whole is unknown: no calls: nothing to judge"
    assert [one.fingerprint for one in state.alerts().values()] == [alert.fingerprint]


def test_segments_are_unknown_while_a_look_or_the_whole_is(
    tmp_path: Path, state: StateStore
) -> None:
    beat = Beat(calls(tmp_path / "c.parquet", [WELL] * 30), SEGMENTED)
    scoring = beat.process()
    for minute in range(20):
        decided = beat.tick(scoring, state, minute)
    assert of_segments(decided) is None
    ((wish, look),) = beat.window.looks.items()
    beat.window.looks[wish] = Look(look.boundary + 5, problem="calls could not be read: gone")
    unread = of_segments(beat.tick(scoring, state, 20))
    assert unread is not None
    assert (unread.judgement, unread.reason) == ("unknown", "calls could not be read: gone")
    first = Beat(tmp_path / "c.parquet", SEGMENTED)
    first.window.looks[wish] = look
    early = of_segments(first.tick(first.process(), StateStore.open(":memory:"), 0))
    assert early is not None
    assert early.reason.startswith("the whole is unknown: ")


def test_a_segment_that_the_whole_hides_is_a_ticket(tmp_path: Path, state: StateStore) -> None:
    segmented = SEGMENTED
    plan = [WELL] * 20 + [{"br": 9.0}] * 40
    run(segmented, calls(tmp_path / "c.parquet", plan), state, len(plan))
    assert [one for _, one in changes(state)] == ["ok"]
    (alert,) = state.alerts().values()
    assert (alert.labels["monitor"], alert.severity) == ("health/chat-health/segments", "ticket")
    assert alert.reason.startswith("region br is at 58")
    assert "the whole looks well at 97" in alert.reason
    quiet = segmented.replace("mode: alerting", "mode: shadow")
    with_nobody = StateStore.open(":memory:")
    run(quiet, tmp_path / "c.parquet", with_nobody, len(plan))
    assert not with_nobody.alerts()
    with_nobody.close()


def test_a_floor_holds_the_whole_near_its_worst_segment(tmp_path: Path, state: StateStore) -> None:
    floored = SEGMENTED.replace("2of3}", "2of3, floor: 15}")
    plan = [WELL] * 20 + [{"br": 9.0}] * 40
    decided = run(floored, calls(tmp_path / "c.parquet", plan), state, len(plan))
    assert [one for _, one in changes(state)] == ["ok", "warning"]
    (alert,) = state.alerts().values()
    assert alert.labels["monitor"] == "health/chat-health", "it is hidden no longer"
    assert alert.value == pytest.approx(58 + 15, abs=0.5)
    health = alert.evidence["health"]
    assert health["capped_by"] == "worst segment"
    assert health["moved"]["terms"]["worst segment"] == pytest.approx(73 - 98, abs=1)
    assert sum(health["moved"]["terms"].values()) == pytest.approx(health["moved"]["total"])
    # A restart has not looked often enough yet, and goes by what was known.
    again = Beat(tmp_path / "c.parquet", floored, start=45)
    scoring, other = again.process(), StateStore.open(":memory:")
    run(floored, tmp_path / "c.parquet", other, 45)
    after = [again.tick(scoring, other, minute) for minute in range(45, 60)]
    assert all(v.value == pytest.approx(73, abs=0.5) for d in after for v in d.verdicts if v.value)
    assert len(decided) == 60
    other.close()


def test_a_plan_says_what_a_changed_formula_would_have_done(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "all.yaml").write_text(CONFIG)
    settings, clock = Settings(tmp_path, config_dir=config), ManualClock(NOON)
    planning.apply(settings, "ann", (), "first", clock)
    path = calls(tmp_path / "c.parquet", [WELL] * 20 + [SLOW] * 40)
    kept = StateStore.open(tmp_path / STATE_FILE)
    run(CONFIG, path, kept, 60)
    kept.close()
    # Four seconds are no longer slow: nothing would have been told.
    (config / "all.yaml").write_text(CONFIG.replace("[[1, 100], [5, 0]]", "[[5, 100], [9, 0]]"))
    clock.set(NOON + timedelta(hours=1))
    plan = planning.plan(settings, path, None, clock)
    (effect,) = plan.health
    assert effect.before.minutes["warning"] == pytest.approx(37, abs=4)
    assert "warning" not in effect.after.minutes
    assert [state for _, state in effect.before.changes] == ["ok", "warning"]
    assert "warning 3" in str(plan)
    assert plan.pages is not None
    (note,) = plan.pages.notes
    assert note.startswith("HealthScore chat-health, 1 h scored both ways: ok")
    assert plan.to_json()["health"][0]["name"] == "chat-health"
