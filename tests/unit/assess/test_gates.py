"""Gates: how often they are wrong when one looks all the time, and what they refuse to decide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.assess.gates.evidence import (
    Difference,
    Sums,
    exact_step,
    half_width,
    mixture,
)
from tocsin.assess.gates.gate import Batch, Gate, Metric, Running, advance, judge, run

ERRORS = Gate((Metric("errors", 0.01, critical=True),), max_minutes=800)


def rate(rng: np.random.Generator, p: float, n: int = 25) -> Sums:
    k = int(rng.binomial(n, p))
    return Sums(n, k, k)


def values(rng: np.random.Generator, mean: float, spread: float, n: int = 25) -> Sums:
    drawn = rng.normal(mean, spread, n)
    return Sums(n, float(drawn.sum()), float((drawn**2).sum()))


def minutes(seed: int, baseline: float, candidate: float, count: int = 800) -> Iterator[Batch]:
    rng = np.random.default_rng(seed)
    for minute in range(count):
        yield Batch(minute, {"errors": (rate(rng, candidate), rate(rng, baseline))})


def verdicts(baseline: float, candidate: float, seeds: int = 300) -> Counter[str]:
    return Counter(run(ERRORS, minutes(s, baseline, candidate))[0].verdict for s in range(seeds))


# The bounds below are those of 300 runs at three standard deviations around what 2,000 gave.


def test_equal_arms_pass_although_one_looks_after_every_batch() -> None:
    found = verdicts(0.02, 0.02)
    assert found["fail"] <= 4  # 0.35 % of 2,000; a z-test at every look fails 38 %
    assert found["pass"] >= 294


def test_what_is_worse_by_the_margin_does_not_pass() -> None:
    assert verdicts(0.02, 0.03)["pass"] <= 9  # 1.2 % of 2,000, alpha is 5 %


def test_what_is_clearly_worse_fails_soon() -> None:
    results = [run(ERRORS, minutes(seed, 0.02, 0.05))[0] for seed in range(100)]
    assert {one.verdict for one in results} == {"fail"}
    assert np.mean([one.units[0] for one in results]) < 1400


def test_latency_on_a_log_scale_and_quality_where_higher_is_better() -> None:
    gate = Gate(
        (Metric("latency", 0.1, is_rate=False, log=True),
         Metric("relevance", 0.05, is_rate=False, bad="lower")),
        max_minutes=400,
    )  # fmt: skip

    def arms(seed: int, slower: float, worse: float) -> Iterator[Batch]:
        rng = np.random.default_rng(seed)
        for minute in range(400):
            yield Batch(minute, {
                "latency": (values(rng, slower, 0.6), values(rng, 0.0, 0.6)),
                "relevance": (values(rng, 0.8 - worse, 0.2), values(rng, 0.8, 0.2)),
            })  # fmt: skip

    for seed in range(30):
        assert run(gate, arms(seed, 0.0, 0.0))[0].verdict == "pass"
    result = run(gate, arms(1, math.log(1.3), 0.0))[0]
    assert result.verdict == "fail"
    assert result.metrics[0].difference == pytest.approx(0.3, abs=0.15)
    assert result.metrics[0].low is not None
    assert result.metrics[0].low > 0.1
    result = run(gate, arms(1, 0.0, 0.1))[0]
    assert result.verdict == "fail"
    assert result.reason.startswith("relevance: ")
    assert result.metrics[1].difference == pytest.approx(-0.1, abs=0.05)


def test_the_exact_evidence_is_a_bet_of_expectation_one() -> None:
    """E[e] <= 1 under equal rates, whatever was guessed before: by enumeration of every outcome."""
    before_c, before_b, p, n = Sums(40, 9, 9), Sums(40, 2, 2), 0.1, 6
    expected = sum(
        math.comb(n, c) * math.comb(n, b) * p ** (c + b) * (1 - p) ** (2 * n - c - b)
        * math.exp(exact_step(before_c, before_b, Sums(n, c, c), Sums(n, b, b)))
        for c in range(n + 1)
        for b in range(n + 1)
    )  # fmt: skip
    assert expected <= 1 + 1e-12
    shares = [(0.0, 0.3), (0.5, 0.4), (1.0, 0.3)]  # sessions with a mean of 1/2, as shares
    told = sum(
        q_c * q_b * math.exp(exact_step(before_c, before_b, Sums(1, c, c), Sums(1, b, b)))
        for c, q_c in shares
        for b, q_b in shares
    )
    assert told <= 1 + 1e-12


def test_the_mixture_is_the_mean_of_normal_bets() -> None:
    # Closed form of one scale against the integral of the likelihood ratio over N(0, tau^2).
    v, d, tau = 0.3, 0.9, 0.5
    grid = np.linspace(-8, 8, 40_001)
    prior = np.exp(-(grid**2) / (2 * tau**2)) / math.sqrt(2 * math.pi * tau**2)
    ratio = np.exp((grid * d - grid**2 / 2) / v)
    integral = float(np.trapezoid(prior * ratio, grid))
    closed = math.exp(0.5 * math.log(v / (v + tau**2)) + tau**2 * d**2 / (2 * v * (v + tau**2)))
    assert closed == pytest.approx(integral, rel=1e-6)
    assert mixture(Difference(d, v), tau) > 0


def test_a_confidence_sequence_holds_at_all_looks_together() -> None:
    rng = np.random.default_rng(5)
    runs, looks = 2000, 400
    steps = rng.normal(0, 1, (runs, looks)).cumsum(axis=1)
    n = np.arange(1, looks + 1)
    width = np.array([half_width(1 / k, 0.2, 0.05) for k in n])
    missed = (np.abs(steps / n) > width).any(axis=1).mean()
    assert missed <= 0.05
    assert missed > 0.005  # nor is it so wide that it says nothing


def test_a_restart_neither_forgets_nor_gives_a_second_chance() -> None:
    batches = list(minutes(3, 0.02, 0.05))
    whole, _ = run(ERRORS, batches)
    running = Running()
    for batch in batches[: whole.minutes]:
        running = advance(ERRORS, running, batch)
    assert judge(ERRORS, running) == whole
    calm = [Batch(b.minute, {"errors": (Sums(25, 0, 0), Sums(25, 1, 1))}) for b in batches]
    for batch in calm[whole.minutes :]:
        running = advance(ERRORS, running, batch)
    assert judge(ERRORS, running).verdict == "fail"
    with pytest.raises(ValueError, match="comes after"):
        advance(ERRORS, running, batches[0])


def test_a_baseline_of_the_past_is_not_decided() -> None:
    rng = np.random.default_rng(1)
    old = [Batch(m, {"errors": (Sums(), rate(rng, 0.02))}) for m in range(100)]
    mixed = [Batch(100, {"errors": (rate(rng, 0.02), rate(rng, 0.02))})]
    new = [Batch(m, {"errors": (rate(rng, 0.3), Sums())}) for m in range(101, 200)]
    result, _ = run(ERRORS, [*old, *mixed, *new])
    assert result.verdict == "invalid"
    assert "after the last of the baseline" in result.reason
    apart, _ = run(ERRORS, [*old, *new])
    assert apart.verdict in ("insufficient", "invalid")


def sparse(seed: int, candidate: float, count: int = 3000) -> Iterator[Batch]:
    """A call every other minute, of either arm."""
    rng = np.random.default_rng(seed)
    for minute in range(count):
        c, b = (rate(rng, p, int(rng.random() < 0.25)) for p in (candidate, 0.02))
        yield Batch(minute, {"errors": (c, b)})


def test_arms_that_seldom_meet_in_a_minute_are_still_beside_each_other() -> None:
    gate = Gate(ERRORS.metrics, max_minutes=3000)
    equal = Counter(run(gate, sparse(seed, 0.02))[0].verdict for seed in range(40))
    assert equal["invalid"] == equal["fail"] == 0
    worse = [run(gate, sparse(seed, 0.2))[0] for seed in range(40)]
    assert {one.verdict for one in worse} == {"fail"}


def test_a_broken_split_is_told() -> None:
    rng = np.random.default_rng(2)
    gate = Gate(ERRORS.metrics, split=0.5)
    batches = [Batch(m, {"errors": (rate(rng, 0.02, 20), rate(rng, 0.02, 30))}) for m in range(60)]
    result, _ = run(gate, batches)
    assert result.verdict == "invalid"
    assert "sample ratio mismatch" in result.reason


def test_too_little_is_said_to_be_too_little() -> None:
    result, _ = run(ERRORS, [])
    assert (result.verdict, result.is_final) == ("insufficient", False)
    result, _ = run(ERRORS, list(minutes(1, 0.02, 0.9))[:5])
    assert result.verdict == "insufficient"
    assert "125 of 200 units" in result.reason
    over = Gate(ERRORS.metrics, max_minutes=60)
    result, _ = run(over, minutes(1, 0.02, 0.027))
    assert (result.verdict, result.is_final) == ("inconclusive", True)


@given(st.integers(0, 50), st.integers(1, 50), st.floats(0.001, 0.2), st.floats(1e-6, 1))
@settings(max_examples=200, deadline=None)
def test_nothing_overflows(k: int, more: int, margin: float, v: float) -> None:
    sums = Sums(k + more, k, k)
    gate = Gate((Metric("m", margin),), least_units=1, least_minutes=1)
    result = judge(gate, advance(gate, Running(), Batch(0, {"m": (sums, Sums(more, 0, 0))})))
    assert 0 <= result.metrics[0].p <= 1
    assert half_width(v, margin, 0.05) > 0
