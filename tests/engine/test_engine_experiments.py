"""Gates of a running server: the same counts as from a file, verdicts that last, what follows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tocsin.assess.gates.gate import run
from tocsin.domain.clock import ManualClock, to_minute
from tocsin.domain.findings import AlertState
from tocsin.domain.health import HealthSample
from tocsin.engine.experiments import Experiments, NoSuchGate
from tocsin.engine.files import CallsFile
from tocsin.engine.gates import arm_counts, batches, comparison
from tocsin.engine.house import House
from tocsin.spec.desired import load_text
from tocsin.spec.gates import GateShape
from tocsin.store.otlp_kinds import TABLES
from tocsin.store.row_kinds import segment_kinds
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry
from tocsin.web.api import answer_errors
from tocsin.web.experiments import ExperimentPages
from tocsin.web.gates import routes

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOURS = 3
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx, match: {service.name: chat-api}}
---
apiVersion: tocsin/v1
kind: Gate
metadata: {name: promotion, displayName: Prompt}
spec:
  service: chat
  arms: {by: prompt_version, baseline: v7}
  burnIn: {requests: 100, minutes: 20}
  metrics:
    - {name: errors, rate: failed, margin: 0.02, critical: true}
    - {name: slow, rate: "elapsed >= 2s", margin: 0.05}
    - {name: cost, mean: cost_usd, scale: log, margin: 20%}
    - {name: tone, mean: "number(attributes['tone'])", direction: higher_is_better, margin: 0.1}
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = ManualClock(NOW)
    telemetry = Telemetry.open(
        tmp_path, clock, kinds=segment_kinds(), tables=TABLES, retention=Retention(0, 0, 0)
    )
    state = StateStore.open(tmp_path / "state.db")
    yield House(telemetry, state, clock, load_text(CONFIG), lateness=timedelta(seconds=2))
    telemetry.close()
    state.close()


def table(
    errors: float = 0.02, count: int = 6000, seed: int = 1, until: datetime = NOW
) -> pa.Table:
    """Calls of two prompts side by side in the hours before `until`."""
    rng = np.random.default_rng(seed)
    is_new = rng.random(count) < 0.5
    failed = rng.random(count) < np.where(is_new, errors, 0.02)
    seconds = np.sort(rng.uniform(0, HOURS * 3600, count))
    begun = NOW - timedelta(hours=HOURS)
    session = rng.integers(0, count // 6, count)
    return pa.table({
        "project": ["p"] * count,
        "service": ["chat-api"] * count,
        "kind": np.where(rng.random(count) < 0.9, "llm", "tool"),
        "prompt_version": np.where(is_new, "v8", "v7"),
        "ts": pa.array([begun + timedelta(seconds=s) for s in seconds], pa.timestamp("us", "UTC")),
        "duration_us": pa.array(rng.lognormal(13.5, 0.6, count).astype(np.uint64)),
        "error_class": np.where(failed, "timeout", ""),
        "cost_usd": rng.lognormal(-4, 0.5, count),
        "cost_known": pa.array((rng.random(count) < 0.8).astype(np.uint8)),
        "session_id": [f"s{n}" if n % 7 else "" for n in session],
        "attrs": pa.array(
            [[("tone", f"{t:.3f}")] if t > 0.2 else [] for t in rng.random(count)],
            pa.map_(pa.string(), pa.string()),
        ),
        "trace_id": [f"{n:032x}" for n in range(count)],
        "span_id": [f"{n:016x}" for n in range(count)],
    })  # fmt: skip


def add(house: House, calls: pa.Table) -> None:
    house.telemetry.add_calls(calls)
    house.telemetry.flush()


def as_file(calls: pa.Table) -> CallsFile:
    """The same calls as a file of them has it."""
    columns: dict[str, Any] = {
        name: calls[name]
        for name in ("ts", "service", "kind", "prompt_version", "error_class", "session_id")
    }
    known = np.asarray(calls["cost_known"]) == 1
    columns["cost_usd"] = np.where(known, np.asarray(calls["cost_usd"]), np.nan)
    columns["duration_ms"] = np.asarray(calls["duration_us"]) / 1000
    columns["tone"] = [
        float(pairs[0][1]) if pairs else None for pairs in calls["attrs"].to_pylist()
    ]
    return CallsFile.of(pa.table(columns), Path("calls.parquet"))


def shape(house: House, **changed: object) -> GateShape:
    [document] = [d for d in house.desired.documents if isinstance(d.spec, GateShape)]
    found: GateShape = document.spec.model_copy(update=changed)
    return found


@pytest.mark.parametrize("unit", ["", "session_id"])
def test_the_store_counts_what_a_file_of_the_same_calls_counts(house: House, unit: str) -> None:
    calls = table()
    add(house, calls)
    wanted = comparison(shape(house, unit=unit), "chat-api", "v8", "v7")
    source = as_file(calls)
    arm = np.asarray(calls["prompt_version"], dtype=object)[
        np.argsort(_minutes(calls), kind="stable")
    ]
    expected = arm_counts(source, arm, wanted)
    first, stop = source.span
    whole = house.telemetry.arms.counts(wanted, first, stop)
    middle = (first + stop) // 2
    parts = house.telemetry.arms.counts(wanted, first, middle)
    parts += house.telemetry.arms.counts(wanted, middle, stop)
    for found in (whole, parts):
        assert len(found) == len(expected) > 300
        told = {(c.minute, c.name, c.is_candidate): c for c in found}
        for count in expected:
            same = told[count.minute, count.name, count.is_candidate]
            assert same.units == count.units
            assert same.total == pytest.approx(count.total, abs=1e-9)
            assert same.squares == pytest.approx(count.squares, abs=1e-9)


def _minutes(calls: pa.Table) -> np.ndarray[Any, Any]:
    began = np.asarray(calls["ts"]).astype("datetime64[us]").astype(np.int64)
    return (began + np.asarray(calls["duration_us"]).astype(np.int64)) // 60_000_000


def test_looks_minute_by_minute_end_where_one_look_over_everything_ends(house: House) -> None:
    calls = table(errors=0.12)
    add(house, calls)
    clock = ManualClock(NOW - timedelta(hours=HOURS) + timedelta(minutes=10))
    house.clock = clock
    found = []
    while clock.now() < NOW:
        found = Experiments(house).look()  # a new one each time: what it remembers is stored
        clock.advance(timedelta(minutes=7))
    [trial] = found
    wanted = comparison(shape(house), "chat-api", "v8", "v7")
    at_once, _ = run(
        shape(house).build(),
        batches(house.telemetry.arms.counts(wanted, to_minute(NOW) - 60 * HOURS, to_minute(NOW))),
    )
    assert (trial.candidate, trial.baseline) == ("v8", "v7")
    assert trial.result == at_once
    assert (trial.result.verdict, trial.result.is_final) == ("fail", True)
    assert trial.decided is not None
    assert trial.decided < NOW - timedelta(hours=1)
    decided = [e for e in house.state.ledger_entries() if e.kind == "gate.decided"]
    assert len(decided) == 1
    assert "v8 against v7: fail" in decided[0].reason


def test_a_candidate_that_failed_is_an_alert_until_it_is_taken_back(house: House) -> None:
    add(house, table(errors=0.12))
    experiments = Experiments(house)
    experiments.look()
    [alert] = house.state.alerts().values()
    assert (alert.labels["service"], alert.labels["monitor"]) == ("chat", "gate/promotion")
    assert "errors: worse than the baseline" in alert.reason
    assert alert.incident_id
    house.tick(house.clock.now())  # ends what no monitor says, of its own alerts only
    assert [a.state for a in house.state.alerts().values()] == [AlertState.FIRING]
    assert isinstance(house.clock, ManualClock)
    house.clock.advance(timedelta(minutes=31))
    experiments.look()
    assert house.state.alerts(), "nobody calls: whether it was taken back is not known"
    calls = table(count=600)
    later = pc.add(calls["ts"], pa.scalar(timedelta(minutes=31)))
    alone = calls.set_column(calls.column_names.index("ts"), "ts", later)
    add(house, alone.filter(pc.equal(alone["prompt_version"], "v7")))
    experiments.look()
    assert not house.state.alerts()


def test_a_gate_that_changes_begins_anew(house: House) -> None:
    add(house, table(errors=0.12))
    assert Experiments(house).look()[0].result.verdict == "fail"
    house.adopt(load_text(CONFIG.replace("margin: 0.02, critical: true", "margin: 0.2")))
    assert Experiments(house).trials() == []
    assert Experiments(house).look()[0].result.verdict == "pass"


def test_time_runs_out_also_while_nobody_calls(house: House) -> None:
    add(house, table(count=300))
    assert isinstance(house.clock, ManualClock)
    assert not Experiments(house).look()[0].result.is_final
    house.clock.advance(timedelta(hours=24))
    trial = Experiments(house).trial("promotion", "v8")
    assert (trial.result.verdict, trial.result.is_final) == ("insufficient", True)


def test_the_api_answers_pipelines(house: House) -> None:
    add(house, table())
    app = FastAPI()
    app.include_router(routes(Experiments(house)))
    answer_errors(app)
    with TestClient(app) as client:
        told = client.get("/gates/promotion/verdict", params={"candidate": "v8"}).json()
        assert (told["verdict"], told["is_final"]) == ("pass", True)
        assert [m["name"] for m in told["metrics"]] == ["errors", "slow", "cost", "tone"]
        listed = client.get("/gates").json()
        assert listed["items"][0]["trials"][0]["verdict"] == "pass"
        unsaid = client.get("/gates/promotion/verdict")
        assert unsaid.status_code == 404
        assert "add ?candidate=VALUE" in unsaid.json()["detail"]
        assert "known: promotion" in client.get("/gates/nope/verdict?candidate=v8").text
        both = client.get("/gates/promotion/verdict", params={"candidate": "v7"})
        assert "is both arms" in both.text


def test_an_arm_without_calls_is_not_a_verdict(house: House) -> None:
    add(house, table())
    trial = Experiments(house).trial("promotion", "v9")
    assert (trial.result.verdict, trial.result.is_final) == ("insufficient", False)
    with pytest.raises(NoSuchGate, match="is both arms"):
        Experiments(house).trial("promotion", "v7")


def test_the_page_shows_every_metric_with_its_limit(house: House) -> None:
    add(house, table())
    experiments = Experiments(house)
    experiments.look()
    [gate] = ExperimentPages(experiments).views()
    [trial] = gate.trials
    assert (gate.title, trial.word, trial.candidate) == ("Prompt", "pass", "v8")
    limits = {m.result.name: m.limit for m in trial.metrics}
    assert limits == {"errors": 0.02, "slow": 0.05, "cost": 0.2, "tone": -0.1}


def test_a_candidate_passes_when_a_health_score_was_held_as_well(house: House) -> None:
    """The candidate is as good as the baseline; the score of the service is low until noon."""
    minute, held = to_minute(NOW), {"for": "30m", "min": 0.85, "score": "chat-health"}
    score = """
---
apiVersion: tocsin/v1
kind: HealthScore
metadata: {name: chat-health}
spec: {service: chat, components: [{metric: error_rate, weight: 1}]}
"""
    house.adopt(load_text(f"{CONFIG}  health: {held}{score}"))
    add(house, table(errors=0.02, count=16000))
    experiments = Experiments(house)

    def kept(start: int, stop: int, score: float, low: float, dip: float = 0.0) -> None:
        def body(at: int) -> dict[str, object]:
            least = {"since": at - 4, "score": score - dip, "low": low - dip, "coverage": 1.0}
            return {"low": low, "coverage": 1.0, "least": least}

        samples = [
            HealthSample("chat-health", at, "chat", "f", "ok", score, body(at))
            for at in range(start, stop, 5)
        ]
        with house.state.transaction() as tx:
            tx.put_health(samples)

    found = experiments.trial("promotion", "v8")
    assert found.result.verdict == "inconclusive"
    assert "so long is not known of it" in found.result.reason
    assert found.decided is None
    kept(minute - 60, minute, 88.0, 80.0)
    house.clock.set(NOW + timedelta(minutes=1))  # type: ignore[attr-defined]
    found = experiments.trial("promotion", "v8")
    assert "it was 88.0, its lower bound 80.0" in found.result.reason
    kept(minute, minute + 40, 95.0, 91.0, dip=20.0)
    house.clock.set(NOW + timedelta(minutes=19))  # type: ignore[attr-defined]
    found = experiments.trial("promotion", "v8")
    assert "it was 75.0, its lower bound 71.0" in found.result.reason, "between two samples"
    kept(minute, minute + 40, 95.0, 91.0)
    house.clock.set(NOW + timedelta(minutes=20))  # type: ignore[attr-defined]
    assert experiments.trial("promotion", "v8").decided is None
    house.clock.set(NOW + timedelta(minutes=36))  # type: ignore[attr-defined]
    found = experiments.trial("promotion", "v8")
    assert (found.result.verdict, found.result.is_final) == ("pass", True)
