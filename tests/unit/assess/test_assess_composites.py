"""Composites: what several objectives are together, against arithmetic by hand and simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from counting import DAY, START, block, objective, series

from tocsin.assess.accounts import Correction, Slices
from tocsin.assess.budget import objective_status
from tocsin.assess.components import components
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Composite, Monitor, Part
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement
from tocsin.domain.series import Ratio


def composite(names, method: str, *, weights=(1.0, 1.0), budgets=(0.01, 0.05), target=0.95,
              slices=None, absent="ignore", corrections=()) -> Monitor:  # fmt: skip
    parts = tuple(
        Part(name.service, name, Ratio("failed"), weight, budget, slices)
        for name, weight, budget in zip(names, weights, budgets, strict=True)
    )
    monitor = objective(names[0], target, DAY)
    method_ = replace(
        monitor.method, composite=Composite(method, parts, absent), slices=slices,
        corrections=corrections,
    )  # fmt: skip
    return replace(monitor, name="slo/both", series=None, ratio=None, method=method_)


def counts(seed=1, rates=(0.02, 0.03), per_minute=(4, 40)):
    rng = np.random.default_rng(seed)
    total = np.stack([rng.poisson(n, DAY) for n in per_minute])
    return rng.binomial(total, np.array(rates)[:, None]), total


def status_of(monitor, bad, total):
    window = Window([monitor])
    window.advance(block(series(2), bad, total))
    return objective_status(window, monitor, START + DAY - 1)


def test_a_weighted_composite_is_the_mean_of_shares_not_of_calls() -> None:
    bad, total = counts()
    found = status_of(composite(series(2), "weighted", weights=(3, 1)), bad, total)
    share = bad.sum(axis=1) / total.sum(axis=1)
    assert 1 - found.sli == pytest.approx((3 * share[0] + share[1]) / 4)
    assert found.counts_in == "weighted calls"


def test_openslo_adds_up_burn_rates_each_by_its_own_budget() -> None:
    bad, total = counts()
    monitor = composite(series(2), "burn", weights=(1, 2))
    found = status_of(monitor, bad, total)
    share = bad.sum(axis=1) / total.sum(axis=1)
    assert 1 - found.remaining == pytest.approx(share[0] / 0.01 + 2 * share[1] / 0.05)


def test_a_slice_is_bad_when_it_is_for_any_part() -> None:
    bad, total = counts(rates=(0.02, 0.05))
    found = status_of(composite(series(2), "any", slices=Slices(5, 0.9)), bad, total)
    k, n = bad.reshape(2, -1, 5).sum(axis=2), total.reshape(2, -1, 5).sum(axis=2)
    missed = ((n - k) < 0.9 * n).any(axis=0)
    assert (found.bad, found.total) == (missed.sum(), 288)


def test_missing_parts_of_slices_add_up_to_all_of_them() -> None:
    bad, total = counts(rates=(0.3, 0.6))
    monitor = composite(series(2), "missing", weights=(1, 2), slices=Slices(15))
    found = status_of(monitor, bad, total)
    k, n = bad.reshape(2, -1, 15).sum(axis=2), total.reshape(2, -1, 15).sum(axis=2)
    missing = np.minimum((k / n * [[1], [2]]).sum(axis=0), 1.0)
    assert 1 - found.sli == pytest.approx(missing.mean(), abs=1e-6)
    # OpenSLO's own example: two averages of 95 % are 90 % together.
    half = np.full((2, DAY), 20)
    alike = status_of(composite(series(2), "missing", slices=Slices(15)), half // 20, half)
    assert alike.sli == pytest.approx(0.9)


@pytest.mark.parametrize(("absent", "expected"), [("ignore", 0.1), ("good", 0.05), ("bad", 0.55)])
def test_a_part_without_calls_is_what_was_said_of_it(absent, expected) -> None:
    total = np.zeros((2, DAY), np.int64)
    total[0] = 10
    found = status_of(composite(series(2), "weighted", absent=absent), total // 10, total)
    assert 1 - found.sli == pytest.approx(expected)
    nothing = status_of(composite(series(2), "weighted", absent=absent), total * 0, total * 0)
    assert nothing.sli is None
    assert nothing.standing == "no_data"


def test_a_correction_of_a_composite_corrects_its_parts() -> None:
    bad, total = counts()
    bad[:, 300:360] = total[:, 300:360]
    outage = Correction("outage", START + 300, START + 360)
    for method, slices in (("weighted", None), ("any", Slices(15, 0.5))):
        monitor = composite(series(2), method, slices=slices, corrections=(outage,))
        found = status_of(monitor, bad, total)
        plain = status_of(composite(series(2), method, slices=slices), bad, total)
        assert found.correction.sli == pytest.approx(plain.sli)
        assert found.sli > plain.sli


def test_a_composite_that_burns_pages() -> None:
    bad, total = counts(rates=(0.01, 0.01))
    bad[:, -60:] = total[:, -60:] // 2
    monitor = composite(series(2), "burn", budgets=(0.02, 0.05), target=0.95)
    window = Window([monitor])
    window.advance(block(series(2), bad, total))
    (verdict,) = judge(compile_monitors([monitor]), window, START + DAY - 1)
    assert (verdict.judgement, verdict.severity) == (Judgement.BREACH, "page")
    assert "weighted calls were bad" in verdict.reason


def test_bounds_of_a_weighted_share_cover_the_true_one() -> None:
    """By simulation: the effective number of calls is neither too bold nor useless."""
    from tocsin.domain.shares import clopper_pearson_lower, clopper_pearson_upper

    rng = np.random.default_rng(7)
    rates, sizes, weights = np.array([0.02, 0.08]), np.array([200, 900]), np.array([0.5, 0.5])
    monitor = composite(series(2), "weighted")
    mix = Window([monitor]).ledger._mixes[0]
    true = float((weights * rates).sum())
    hits = 0
    for _ in range(1000):
        k, n = mix.sums(np.stack([rng.binomial(sizes, rates), sizes]).astype(float))
        hits += clopper_pearson_lower(k, n) <= true <= clopper_pearson_upper(k, n)
    assert 0.87 <= hits / 1000 <= 0.98  # two one-sided bounds of 95 %


@pytest.mark.parametrize(
    ("method", "slices", "expected"),
    [
        ("weighted", None, (3 * 0.02, 1 * 0.06)),
        ("burn", None, (3 * 0.02 / 0.01, 0.06 / 0.05)),
        ("missing", Slices(15), (3 * 0.02, 1 * 0.06)),
    ],
)
def test_the_parts_of_a_breach_are_named_by_what_each_added(method, slices, expected) -> None:
    """Rates are exact here: every minute has 100 calls, of which 2 and 6 are bad."""
    total = np.full((2, DAY), 100)
    bad = np.array([[2], [6]]) * np.ones((2, DAY), np.int64)
    monitor = composite(series(2), method, slices=slices, weights=(3, 1))
    window = Window([monitor])
    window.advance(block(series(2), bad, total))
    found = {one.name: one for one in components(window, monitor, START + DAY, 60)}
    whole = sum(expected)
    parts = monitor.method.composite.parts
    assert [found[p.name].contribution for p in parts] == pytest.approx(
        [each / whole for each in expected]
    )
    assert [found[p.name].share for p in parts] == pytest.approx([0.02, 0.06])


def test_a_breach_of_a_composite_says_who_did_it() -> None:
    total = np.full((2, DAY), 100)
    bad = np.zeros_like(total)
    bad[:, -60:] = [[0], [70]]
    monitor = composite(series(2), "weighted")
    window = Window([monitor])
    window.advance(block(series(2), bad, total))
    (verdict,) = judge(compile_monitors([monitor]), window, START + DAY - 1)
    guilty = monitor.method.composite.parts[1].name
    assert f", mostly by {guilty} (100 %):" in verdict.reason
    assert verdict.evidence["components"][0]["name"] == guilty
