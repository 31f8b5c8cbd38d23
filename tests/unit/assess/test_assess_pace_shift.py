"""The pace shift: slow models ring, long answers and trivial drifts do not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from counting import DAY, START, latencies, paced_block, pacer

from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement


def drive(monitors, services, latency, pace, warm: int):
    window, compiled = Window(monitors), compile_monitors(monitors)
    window.advance(paced_block(services, latency, pace, START, START + warm))
    found = {}
    for minute in range(START + warm, START + latency.shape[1]):
        window.advance(paced_block(services, latency, pace, minute, minute + 1))
        found[minute - START] = judge(compiled, window, minute)
    return found


def run(seed: int, services: int, per_minute: float, warm: int, judged: int, **shape):
    names = tuple(f"s{i}" for i in range(services))
    rng = np.random.default_rng(seed)
    latency, pace = latencies(rng, services, warm + judged, per_minute, **shape)
    return drive([pacer(name) for name in names], names, latency, pace, warm)


def breaches(found) -> list:
    return [v for verdicts in found.values() for v in verdicts if v.judgement is Judgement.BREACH]


def correlated(seed: int, minutes: int, sigma: float, tau: float):
    """A common speed factor per minute that wanders: what a busy provider does to all calls."""
    rng = np.random.default_rng(seed)
    keep = np.exp(-1 / tau)
    path, level = np.empty(minutes), 0.0
    for minute in range(minutes):
        level = keep * level + sigma * np.sqrt(1 - keep * keep) * rng.normal()
        path[minute] = level
    return np.exp(path)


@pytest.mark.parametrize("per_minute", [2, 20, 200])
@pytest.mark.parametrize(("sigma", "tau"), [(0.0, 1.0), (0.2, 30.0)])
def test_healthy_services_do_not_ring(per_minute, sigma, tau) -> None:
    warm, judged, services = 2 * DAY, DAY // 2, 6
    shape = correlated(int(per_minute), warm + judged, sigma, tau)
    found = run(3, services, per_minute, warm, judged, slower=shape)
    assert breaches(found) == []


@pytest.mark.parametrize(
    ("per_minute", "factor", "within"), [(5, 4.0, 20), (20, 3.0, 10), (200, 2.5, 3)]
)
def test_a_slow_model_rings_in_time(per_minute, factor, within) -> None:
    warm = DAY
    slower = np.ones(warm + within)
    slower[warm:] = factor
    found = run(4, 8, per_minute, warm, within, slower=slower)
    assert len({v.service for v in breaches(found)}) >= 7


def test_the_reason_shows_latency_as_people_know_it() -> None:
    warm = DAY
    slower = np.ones(warm + 5)
    slower[warm:] = 4.0
    verdict = breaches(run(5, 1, 40, warm, 5, slower=slower))[-1]
    assert verdict.unit == "ms"
    assert verdict.value > 2 * verdict.expected
    assert verdict.reason.startswith("p95 latency ")
    assert "calls were slower for their length than 95 % usually are" in verdict.reason
    assert verdict.evidence["pace_growth_median"] == pytest.approx(4.0, rel=0.4)
    json.dumps(dict(verdict.evidence))


def test_longer_answers_are_not_a_slower_model() -> None:
    warm, judged = DAY, 120
    longer = np.ones(warm + judged)
    longer[warm:] = 8.0
    assert breaches(run(6, 4, 40, warm, judged, longer=longer)) == []


def test_a_certain_but_trivial_drift_does_not_ring() -> None:
    warm, judged = DAY, 60
    slower = np.ones(warm + judged)
    slower[warm:] = 1.2
    assert breaches(run(7, 2, 400, warm, judged, slower=slower)) == []


def test_too_few_calls_are_unknown() -> None:
    found = run(8, 1, 0.5, 8 * 60, 1)
    ((verdict,),) = found.values()
    assert verdict.judgement is Judgement.UNKNOWN
    assert verdict.reason.startswith("too little history: ")
    assert "500 calls over 6 h are needed" in verdict.reason


def test_a_slow_incident_does_not_become_usual() -> None:
    minutes = DAY + 5 * 60
    slower = np.ones(minutes)
    slower[DAY:] = 5.0
    found = run(9, 1, 60, DAY, 5 * 60, slower=slower)
    assert {at for at, v in found.items() if v} >= set(range(DAY + 10, minutes))
    last = found[minutes - 1][0]
    assert last.expected == pytest.approx(found[DAY + 10][0].expected, rel=0.1)


def test_a_service_without_calls_is_unknown_after_it_was_known() -> None:
    names = ("a",)
    latency, pace = latencies(np.random.default_rng(10), 1, DAY + 20, 20)
    latency[:, DAY:], pace[:, DAY:] = 0, 0
    found = drive([pacer("a")], names, latency, pace, DAY)
    (verdict,) = found[DAY + 15]
    assert verdict.reason == "no calls in the last 12 min"
