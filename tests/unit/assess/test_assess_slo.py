"""Burn alerts against a brute-force oracle, the guards, and where a budget stands."""

from __future__ import annotations

import json

import numpy as np
import pytest
from counting import DAY, MONTH, START, block, objective, series, verdicts_by_minute
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tocsin.assess.budget import objective_status, objective_statuses, standing
from tocsin.assess.burn import presets
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import BurnStep, Guards, Objective
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement

NO_GUARDS = Guards(min_bad=1, evidence=0.0, min_events=0)
SMALL_STEPS = (
    BurnStep("page", 30, 3, 6.0),
    BurnStep("page", 90, 10, 3.0),
    BurnStep("ticket", 240, 30, 1.0),
)


def oracle(bad, total, method: Objective, at: int) -> str | None:
    """Severity of the most urgent step that fires after minute `at`, straight from the text."""
    guards, found = method.guards, []
    for step in method.steps:
        sums = []
        for width in (step.long_minutes, step.short_minutes):
            here = slice(max(at + 1 - width, 0), at + 1)
            sums.append((int(bad[here].sum()), int(total[here].sum())))
        if any(n == 0 or k / n <= step.factor * method.budget + 1e-12 for k, n in sums):
            continue
        (k, n), _ = sums
        if k < guards.min_bad:
            continue
        if guards.evidence and stats.beta.ppf(1 - guards.evidence, k, n - k + 1) <= method.budget:
            continue
        found.append("ticket" if n < guards.min_events else step.severity)
    return min(found) if found else None


def random_counts(rng, minutes: int, per_minute: float):
    total = rng.poisson(per_minute, minutes)
    rate = np.full(minutes, 0.005)
    for _ in range(6):
        start = rng.integers(0, minutes)
        rate[start : start + rng.integers(5, 120)] = rng.choice([0.03, 0.1, 0.4])
    total[rng.integers(0, minutes) :][: rng.integers(20, 200)] = 0
    return rng.binomial(total, rate), total


@pytest.mark.parametrize("per_minute", [0.3, 2, 20, 300, 20_000])
@pytest.mark.parametrize("guards", [NO_GUARDS, Guards()], ids=["bare", "guarded"])
def test_every_minute_agrees_with_the_brute_force_oracle(per_minute, guards) -> None:
    rng = np.random.default_rng(int(per_minute) + guards.min_bad)
    names = series(3)
    pairs = [random_counts(rng, 700, per_minute) for _ in names]
    bad, total = np.stack([k for k, _ in pairs]), np.stack([n for _, n in pairs])
    monitors = [
        objective(name, target, MONTH, steps=SMALL_STEPS, guards=guards)
        for name, target in zip(names, (0.99, 0.97, 0.999), strict=True)
    ]
    fired = 0
    for at, verdicts in verdicts_by_minute(monitors, names, bad, total).items():
        got = {v.monitor: v.severity for v in verdicts if v.judgement is Judgement.BREACH}
        for row, monitor in enumerate(monitors):
            expected = oracle(bad[row], total[row], monitor.method, at)
            assert got.get(monitor.name) == expected, (at, monitor.name)
            fired += expected is not None
    assert fired > 50


def one_window(bad: int, total: int, **settings):
    """Verdicts on one service with `bad` of `total` calls in its last minute."""
    names = series()
    monitors = [objective(names[0], **settings)]
    window = Window(monitors)
    zeros = np.zeros((1, 400), np.int64)
    window.advance(block(names, zeros, zeros))
    window.advance(block(names, [[bad]], [[total]], START + 400, origin=START + 400))
    return judge(compile_monitors(monitors), window, START + 400)


def test_two_failures_at_night_page_nobody() -> None:
    assert one_window(2, 8) == []


def test_three_failures_of_eight_are_a_ticket_because_they_are_few() -> None:
    (verdict,) = one_window(3, 8)
    assert verdict.severity == "ticket"
    assert verdict.evidence["lowered"] == "fewer than 30 calls: a ticket, no page"


def test_forty_calls_are_enough_to_page() -> None:
    (verdict,) = one_window(8, 40)
    assert verdict.severity == "page"
    assert verdict.reason.startswith(
        "8 of 40 calls failed in 1 h (20 %), the objective allows 1 %: "
        "the 30 d error budget burns 20 times too fast"
    )
    assert verdict.value == pytest.approx(20)
    assert verdict.expected == pytest.approx(14.4)
    assert verdict.window == (START + 341, START + 401)
    assert verdict.labels == {"team": "ai"}
    json.dumps(dict(verdict.evidence))


def test_a_share_that_may_be_chance_is_not_proven() -> None:
    steps = (BurnStep("page", 60, 5, 2.0),)
    assert one_window(4, 20, target=0.95, steps=steps) != []
    assert one_window(3, 20, target=0.95, steps=steps) == []
    assert one_window(3, 20, target=0.95, steps=steps, guards=Guards(evidence=0.0)) != []


def test_traffic_that_stops_while_the_budget_burns_is_unknown_not_healthy() -> None:
    names = series()
    total = np.array([[50] * 60 + [0] * 30])
    bad = np.array([[0] * 40 + [25] * 20 + [0] * 30])
    steps = (BurnStep("page", 60, 5, 14.4),)
    by_minute = verdicts_by_minute([objective(names[0], steps=steps)], names, bad, total)
    assert by_minute[59][0].judgement is Judgement.BREACH
    (last,) = by_minute[66]
    assert last.judgement is Judgement.UNKNOWN
    assert last.reason == (
        "the budget was burning, and no calls have come since to say whether it still is"
    )


def test_a_service_that_was_never_called_is_unknown() -> None:
    names = series(2)
    total = np.array([[5] * 10, [0] * 10])
    found = verdicts_by_minute([objective(n) for n in names], names, total * 0, total)
    assert [(v.service, v.judgement, v.reason) for v in found[9]] == [
        ("service-1", Judgement.UNKNOWN, "no calls to judge in 3 d")
    ]


def test_status_gives_every_number_of_an_objective() -> None:
    names = series(2)
    minutes = 2 * DAY
    total = np.full((2, minutes), 10)
    bad = np.zeros_like(total)
    bad[0, -60:] = 1
    monitors = [objective(names[0], 0.99), objective(names[1], 0.99)]
    window = Window(monitors)
    window.advance(block(names, bad, total))
    burning, calm = objective_statuses(window, monitors, START + minutes - 1)
    assert (burning.bad, burning.total, burning.covered_minutes) == (60, 28_800, 2 * DAY)
    assert burning.sli == pytest.approx(1 - 60 / 28_800)
    assert burning.remaining == pytest.approx(1 - 60 / 288)
    assert burning.burns[0].long_burn == pytest.approx(10)
    assert [now.is_over for now in burning.burns] == [False, False, False, False]
    assert burning.minutes_to_exhaustion == pytest.approx(burning.remaining * MONTH / 10)
    assert (burning.standing, calm.standing) == ("met", "met")
    assert (calm.remaining, calm.minutes_to_exhaustion) == (1.0, None)


def test_an_overspent_budget_goes_below_zero_and_an_empty_one_is_unknown() -> None:
    names = series(2)
    monitors = [objective(n, 0.99) for n in names]
    window = Window(monitors)
    window.advance(block(names, [[30], [0]], [[600], [0]]))
    spent, empty = objective_statuses(window, monitors, START)
    assert spent.remaining == pytest.approx(-4)
    assert spent.minutes_to_exhaustion == 0.0
    assert (empty.sli, empty.remaining, empty.standing) == (None, None, "no_data")
    assert empty.burns[0].long_burn is None


@pytest.mark.parametrize(
    ("bad", "total", "expected"),
    [
        (0, 10, "inconclusive"),
        (0, 400, "met"),
        (1, 50, "inconclusive"),
        (12, 400, "breached"),
        (0, 0, "no_data"),
    ],
)
def test_standing_says_only_what_the_counts_prove(bad, total, expected) -> None:
    assert standing(bad, total, 0.01) == expected


def test_a_detector_has_no_budget_to_ask_for() -> None:
    from counting import scanner

    name = series()[0]
    with pytest.raises(TypeError, match="has no budget"):
        objective_status(Window([scanner(name)]), scanner(name), START)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), at=st.integers(0, 99))
def test_more_bad_calls_never_silence_an_objective(seed: int, at: int) -> None:
    rng = np.random.default_rng(seed)
    names = series()
    total = rng.poisson(20, (1, 100))
    bad = rng.binomial(total, 0.15)
    more = bad.copy()
    more[0, at] = total[0, at]
    urgency = {"page": 2, "ticket": 1}
    heard = []
    for counted in (bad, more):
        monitors = [objective(names[0], 0.97, steps=SMALL_STEPS)]
        window = Window(monitors)
        window.advance(block(names, counted, total))
        verdicts = judge(compile_monitors(monitors), window, START + 99)
        heard.append(max((urgency[v.severity] for v in verdicts), default=0))
    assert heard[1] >= heard[0]


@pytest.mark.parametrize(("period", "minutes"), [(DAY, 3 * DAY), (60, 500)])
def test_short_periods_are_exact_to_the_minute(period: int, minutes: int) -> None:
    rng = np.random.default_rng(9)
    names = series()
    total = rng.poisson(5, (1, minutes))
    bad = rng.binomial(total, 0.1)
    monitor = objective(names[0], 0.95, period, steps=presets(period))
    window = Window([monitor])
    window.advance(block(names, bad, total))
    status = objective_status(window, monitor, START + minutes - 1)
    assert (status.bad, status.total) == (bad[0, -period:].sum(), total[0, -period:].sum())


def test_a_step_that_asks_for_minutes_fires_when_all_of_them_burnt() -> None:
    """As Prometheus' `for`: four minutes after the first of them, all of which burnt."""
    names = series(1)
    steps = (BurnStep("page", 10, 10, 10.0, 4),)
    monitor = objective(names[0], 0.99, MONTH, steps=steps, guards=Guards(0, 0.0, 0))
    total = np.full((1, 60), 10)
    bad = np.zeros_like(total)
    bad[0, 20] = 10  # over the factor of 10 % while it is in the window: 0.1 is not above 0.1
    bad[0, 40:45] = 10
    found = verdicts_by_minute([monitor], names, bad, total)
    burning = [m for m in found if bad[0, max(m - 9, 0) : m + 1].sum() > 10]
    firing = [m for m, all_ in found.items() if all_ and all_[0].judgement is Judgement.BREACH]
    assert burning[0] == 41
    assert firing == burning[4:]
