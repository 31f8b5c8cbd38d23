"""Means: what calls are charged, when their budget burns, and how sure a mean is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from counting import DAY, START, block, objective, series, verdicts_by_minute

from tocsin.assess.accounts import Correction, Slices
from tocsin.assess.budget import objective_status
from tocsin.assess.budget_rules import forecast, whole_budgets
from tocsin.assess.means import BATCHES, SURE, charge_bounds
from tocsin.assess.monitor import Guards, Mean, Monitor
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import SHARE, Charge, Ratio
from tocsin.indicators.language.parser import parse

WEEK = 7 * DAY
COST = Mean(limit=0.03, expected=0.02, unit="usd")
NAMES = series(1)


def held(mean: Mean = COST, period: int = WEEK, **more) -> Monitor:
    monitor = objective(NAMES[0], 0.99, period, guards=Guards(min_bad=0))
    charge = Charge(parse("cost_usd", None), mean.expected, mean.limit)
    method = replace(monitor.method, mean=mean, metric="cost", **more)
    return replace(monitor, ratio=Ratio("charge", charge=charge), method=method)


def charged(values, calls, mean: Mean = COST):
    """(bad, total) [1, minute] of minutes with `calls` calls of the mean `values` each."""
    calls = np.asarray(calls, np.int64)
    charges = np.rint(SHARE * (np.asarray(values) - mean.expected) / mean.width).astype(np.int64)
    return (charges * calls)[None], (SHARE * calls)[None]


def status_of(monitor: Monitor, bad, total):
    window = Window([monitor])
    window.advance(block(NAMES, bad, total))
    return objective_status(window, monitor, START + bad.shape[1] - 1)


@pytest.mark.parametrize(("cost", "burn"), [(0.02, 0.0), (0.03, 1.0), (0.035, 1.5), (0.015, -0.5)])
def test_a_mean_burns_by_how_far_it_is_from_expected_to_limit(cost: float, burn: float) -> None:
    found = status_of(held(), *charged(np.full(DAY, cost), np.full(DAY, 7)))
    assert found.remaining == pytest.approx(1 - burn)
    assert all(step.long_burn == pytest.approx(burn) for step in found.burns)
    assert (found.sli, found.bad, found.total, found.counts_in) == (None, 0, 7 * DAY, "calls")
    assert found.mean is not None
    assert found.mean.value == pytest.approx(cost)
    assert found.mean.left == pytest.approx(7 * DAY * (0.03 - cost))


def test_a_mean_that_must_not_fall_burns_when_it_falls() -> None:
    score = Mean(limit=0.8, expected=0.9)
    low = status_of(held(score), *charged(np.full(DAY, 0.75), np.full(DAY, 7), score))
    assert low.remaining == pytest.approx(-0.5)
    assert low.standing == "breached"
    high = status_of(held(score), *charged(np.full(DAY, 0.95), np.full(DAY, 7), score))
    assert (high.remaining, high.standing) == (pytest.approx(1.5), "met")


def noisy(rng, minutes: int, mean: float, calls: int = 20):
    """Costs per minute of `calls` heavy-tailed calls."""
    return mean * np.exp(rng.normal(-0.5, 1.0, (minutes, calls))).mean(axis=1)


def of(found: dict[int, list[Verdict]], judgement: Judgement) -> list[int]:
    return [minute for minute, all_ in found.items() for v in all_ if v.judgement is judgement]


def test_a_model_at_nine_times_the_price_pages_within_the_hour() -> None:
    rng, minutes, start = np.random.default_rng(1), 6 * 60, 5 * 60
    costs = noisy(rng, minutes, 0.02)
    costs[start:] *= 20
    found = verdicts_by_minute(
        [held()], NAMES, *charged(costs, np.full(minutes, 20)), warm=start - 1
    )
    breaches = of(found, Judgement.BREACH)
    # 13.44 times the budget is a mean of 15.4 cents: 22 minutes at 40 and the rest at 2.
    assert start + 18 <= breaches[0] <= start + 24
    (first,) = found[breaches[0]]
    assert first.severity == "page"
    assert first.value is not None
    assert first.value > 13
    assert "the mean of 1,200 calls in 1 h is $" in first.reason
    assert "the objective allows $0.03 and expects $0.02" in first.reason
    assert (first.evidence["limit"], first.evidence["mean_unit"]) == (0.03, "usd")


def test_one_call_of_a_thousand_dollars_proves_nothing_about_the_others() -> None:
    minutes = 120
    costs = noisy(np.random.default_rng(2), minutes, 0.02)
    costs[100] = 50.0
    bad, total = charged(costs, np.full(minutes, 20))
    found = verdicts_by_minute([held()], NAMES, bad, total, warm=90)
    assert not of(found, Judgement.BREACH)
    trusting = held(guards=Guards(min_bad=0, evidence=0.0))
    assert of(verdicts_by_minute([trusting], NAMES, bad, total, warm=90), Judgement.BREACH)


def test_corrected_time_spends_nothing_and_gives_no_credit() -> None:
    costs = np.full(DAY, 0.02)
    costs[600:660] = 0.5
    bad, total = charged(costs, np.full(DAY, 7))
    excused = Correction("tests", START + 600, START + 660)
    found = status_of(held(corrections=(excused,)), bad, total)
    assert found.remaining == pytest.approx(1.0)
    assert found.total == 7 * (DAY - 60)
    assert found.correction is not None
    assert found.correction.remaining == pytest.approx(1 - 48 * 60 / DAY)


def test_credit_survives_late_minutes_and_restatement() -> None:
    window, monitor = Window([held()]), held()
    bad, total = charged(np.full(5 * DAY, 0.01), np.full(5 * DAY, 3))
    window.advance(block(NAMES, bad, total))
    late_bad, late_total = charged(np.full(5 * DAY, 0.005), np.full(5 * DAY, 3))
    window.advance(block(NAMES, late_bad, late_total, START + 5 * DAY - 10))
    assert window.restate(block(NAMES, late_bad, late_total, START + 60, START + 120))
    found = objective_status(window, monitor, START + 5 * DAY - 1)
    assert found.mean is not None
    assert found.mean.value == pytest.approx(0.01 - 0.005 * 70 / (5 * DAY))


def test_a_slice_is_good_up_to_the_limit_and_few_calls_make_none() -> None:
    slices = Slices(60, 0.0, min_events=30)
    of_limit = Mean(limit=0.03, expected=0.0)
    monitor = held(of_limit, DAY)
    monitor = replace(monitor, method=replace(monitor.method, mean=None, slices=slices))
    costs, calls = np.full(DAY, 0.03), np.full(DAY, 1)
    costs[60:120] = 0.031
    calls[120:180] = 0
    calls[180:240:3] = 0
    calls[181:240:3] = 0  # 20 calls
    found = status_of(monitor, *charged(costs, calls, of_limit))
    assert (found.bad, found.total, found.mean) == (1, 22, None)


def test_a_mean_of_few_of_the_calls_is_never_called_met() -> None:
    every = series(2)[1]
    mean = replace(COST, every=(every, Ratio("error")))
    bad, total = charged(np.full(DAY, 0.02), np.full(DAY, 7))
    window, monitor = Window([held(mean)]), held(mean)
    for others, known, standing in ((8, 7 / 8, "met"), (14, 0.5, "inconclusive")):
        window = Window([monitor])
        both = np.concatenate([bad, 0 * bad]), np.concatenate([total, np.full((1, DAY), others)])
        window.advance(block(series(2), *both))
        found = objective_status(window, monitor, START + DAY - 1)
        assert found.mean is not None
        assert (found.mean.known, found.standing) == (pytest.approx(known), standing)


def sessions(rng, minutes: int, per_minute: float):
    """(minute, cost) of calls in sessions of three on average, some of which last many minutes."""
    number = rng.poisson(per_minute * (minutes + 30))
    begin = rng.uniform(-30, minutes, number)
    calls = rng.geometric(1 / 3, number)
    level = np.exp(rng.normal(-0.32, 0.8, number))
    of_session = np.repeat(np.arange(number), calls)
    later = rng.exponential(4.0, len(of_session)) * (rng.random(len(of_session)) < 0.5)
    at = begin[of_session] + later
    cost = 0.02 * level[of_session] * np.exp(rng.normal(-0.245, 0.7, len(of_session)))
    inside = (at >= 0) & (at < minutes)
    return at[inside].astype(np.int64), cost[inside]


def batches(minute, cost, minutes: int):
    held_ = np.zeros((minutes, 2))
    np.add.at(held_, minute, np.stack([(cost - 0.02) / 0.01, np.ones(len(cost))], axis=1))
    length = -(-minutes // BATCHES)
    return np.add.reduceat(held_, np.arange(0, minutes, length), axis=0)


@pytest.mark.parametrize(
    ("minutes", "per_minute", "surely"), [(60, 2.0, 0.93), (60, 20.0, 0.95), (DAY, 0.3, 0.96)]
)
def test_bounds_cover_the_mean_of_calls_that_come_in_sessions(
    minutes: int, per_minute: float, surely: float
) -> None:
    """The true mean costs 0.02, a charge of 0. The lower bound claims 95 %, the upper one that
    `met` rests on claims more than heavy tails hold."""
    rng, rounds = np.random.default_rng(38), 1000
    lower = upper = naive = 0
    for _ in range(rounds):
        minute, cost = sessions(rng, minutes, per_minute)
        found = batches(minute, cost, minutes)
        lower += charge_bounds(found, COST)[0] <= 0
        upper += charge_bounds(found, COST, SURE)[1] >= 0
        naive += cost.mean() - 1.645 * cost.std() / np.sqrt(len(cost)) <= 0.02
    assert 0.935 <= lower / rounds <= 0.985, "what a page rests on"
    assert surely <= upper / rounds
    assert naive < lower, "calls of a session are not independent"


def test_two_batches_or_nothing() -> None:
    assert charge_bounds(np.array([[3.0, 9.0], [0.0, 0.0]]), COST) == (-np.inf, np.inf)
    bad, total = charged(np.full(1, 0.5), np.full(1, 7))
    found = status_of(held(), bad, total)
    assert found.standing == "inconclusive"
    assert found.mean is not None
    assert (found.mean.low, found.mean.high) == (None, None)


def test_a_policy_about_a_mean_speaks_of_money_and_of_what_it_proves() -> None:
    bad, total = charged(np.full(7 * DAY, 0.032), np.full(7 * DAY, 10))
    window, monitor = Window([held()]), held()
    window.advance(block(NAMES, bad, total))
    (whole,) = whole_budgets(window, [monitor], START + 7 * DAY - 1)
    assert whole is not None
    assert whole.left == pytest.approx(-0.2)
    assert whole.of_allowed(whole.bad) == (
        "$1,210 beyond the expected of $1,008 that all of it allows"
    )
    told = forecast(window, whole, 360)
    assert told is not None
    assert told[1] == pytest.approx(1.2), "the least that the mean is proven to spend"


def test_batches_of_a_long_period_leave_nothing_out() -> None:
    rng = np.random.default_rng(7)
    minutes = 6 * DAY + 1234
    calls = rng.poisson(3.0, minutes)
    bad, total = charged(rng.lognormal(np.log(0.02), 0.5, minutes), calls)
    window, monitor = Window([held()]), held()
    begin = START + 17
    window.advance(block(NAMES, bad, total, start=begin, origin=begin))
    row = window.ledger.rows([monitor])
    for end, width in ((begin + minutes, WEEK), (begin + minutes, 5 * DAY), (begin + minutes, 600)):
        found = window.ledger.batches(end, width, int(row[0]), BATCHES)
        assert found.sum(axis=0) == pytest.approx(window.ledger.sums(end, width, row)[:, 0])
        assert len(found) <= BATCHES
