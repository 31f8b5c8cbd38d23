"""The committee and what it stands on: calibrated, causal, indifferent to scale and to chunks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tocsin.assess.gauges.budget import threshold
from tocsin.assess.gauges.committee import Committee, sustained
from tocsin.assess.gauges.episodes import Episode, episodes
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.peaks import Peaks

WEEK = 7 * 288  # steps of five minutes


def evidence(values: np.ndarray, step_s: int = 300, first: int = 0) -> np.ndarray:
    """Evidence of values [step, row], judged hour by hour."""
    grid = Grid(step_s)
    committee = Committee(values.shape[1], grid)
    padded = np.concatenate([np.full((grid.lead, values.shape[1]), np.nan), values])
    found = np.full(values.shape, np.nan)
    for start in range(0, len(values), grid.block):
        stop = min(start + grid.block, len(values))
        judged = committee.judge(padded[start : stop + grid.lead], first + start)
        found[start:stop] = judged.evidence
        committee.learn((first + start) // grid.block, values[start:stop], judged)
    return found


def seasonal(rows: int, weeks: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    step = np.arange(weeks * WEEK)
    day = 1.0 + 0.5 * np.sin(2 * np.pi * step / 288)
    return 100.0 * day[:, None] * np.exp(0.1 * rng.standard_normal((len(step), rows)))


@pytest.mark.parametrize("xi", [0.0, 0.3])
def test_tail_probabilities_are_those_of_the_distribution(xi: float) -> None:
    rng = np.random.default_rng(1)
    drawn = stats.genpareto.rvs(xi, size=20_000, random_state=rng)[None, :, None]
    peaks = Peaks(1, 1, quiet=1)
    for part in np.split(drawn, 20, axis=1):
        peaks.learn(part, np.zeros_like(part), 0.01)
    asked = stats.genpareto.isf([1e-1, 1e-2, 1e-3, 1e-4], xi)
    found = peaks.evidence(asked[None, :, None])[0, :, 0]
    assert found == pytest.approx([1.0, 2.0, 3.0, 4.0], abs=0.3)


def test_a_tail_is_never_bounded() -> None:
    uniform = np.random.default_rng(2).random((1, 5000, 1))
    peaks = Peaks(1, 1, quiet=1)
    peaks.learn(uniform, np.zeros_like(uniform), 1.0)
    beyond = peaks.evidence(np.array([1.5, 3.0, 30.0])[None, :, None])[0, :, 0]
    assert np.all(np.diff(beyond) > 0.5)


def test_evidence_is_rare_where_nothing_happens() -> None:
    found = evidence(seasonal(20, 4, seed=3))[2 * WEEK :]
    assert np.isfinite(found).all()
    # The median of four dependent probabilities: near its level, not exact.
    for level in (1.0, 2.0, 3.0):
        rate = (found >= level).mean()
        assert 0.1 * 10**-level < rate < 3.0 * 10**-level


def test_it_finds_a_step_and_a_drop_and_a_spike() -> None:
    values = seasonal(3, 3, seed=4)
    at = 2 * WEEK + 100
    values[at : at + 6, 0] *= 3.0
    values[at : at + 6, 1] = 0.0
    values[at, 2] *= 8.0
    found = evidence(values)
    assert np.all(found[at] > 3.5)


def test_it_does_not_look_ahead() -> None:
    values = seasonal(2, 3, seed=5)
    cut = 2 * WEEK + 77
    longer, shorter = evidence(values), evidence(values[:cut])
    np.testing.assert_array_equal(longer[:cut], shorter)
    changed = values.copy()
    changed[cut:] = 0.0
    np.testing.assert_array_equal(evidence(changed)[:cut], shorter)


def test_rows_do_not_know_of_each_other() -> None:
    values = seasonal(3, 2, seed=6)
    together = evidence(values)
    alone = np.concatenate([evidence(values[:, [row]]) for row in range(3)], axis=1)
    np.testing.assert_allclose(together, alone, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-6, 1e9])
def test_the_unit_does_not_matter(factor: float) -> None:
    values = seasonal(1, 2, seed=7)
    np.testing.assert_allclose(evidence(values * factor), evidence(values), rtol=1e-3, atol=1e-3)


def test_gaps_and_constants_are_no_alarm() -> None:
    values = seasonal(3, 3, seed=8)
    values[np.random.default_rng(8).random(len(values)) < 0.3, 0] = np.nan
    values[2 * WEEK : 2 * WEEK + 288, 1] = np.nan
    values[:, 2] = 5.0
    found = evidence(values)
    assert np.isnan(found[np.isnan(values[:, 0]), 0]).all()
    assert np.nanmax(found[:, 2]) < 1.0
    assert (np.nan_to_num(sustained(found)) >= 4.5).sum() == 0


@pytest.mark.filterwarnings("error")
def test_a_jump_within_the_first_hours_is_judged_without_a_word() -> None:
    values = np.zeros((288, 1))
    values[8:] = 3.0
    assert np.nanmax(np.nan_to_num(evidence(values))) < 3.5


def test_a_constant_that_moves_is_one() -> None:
    values = np.full((2 * WEEK, 1), 5.0)
    values[WEEK + 200 :, 0] = 6.0
    assert evidence(values)[WEEK + 200, 0] > 2.5


def test_a_new_level_is_usual_after_a_week() -> None:
    values = seasonal(1, 5, seed=9)
    values[2 * WEEK :] *= 2.0
    found = np.nan_to_num(evidence(values))
    assert found[2 * WEEK, 0] > 3.0
    assert (found[4 * WEEK :] > 3.5).sum() <= 1


def test_what_keeps_happening_is_no_news() -> None:
    rng = np.random.default_rng(12)
    values = 20.0 + rng.standard_normal((3 * WEEK, 1))
    bursts = np.cumsum(rng.integers(20, 70, 120))
    values[bursts[bursts < len(values)], 0] += 100.0
    found = evidence(values)
    late = bursts[(bursts > 2 * WEEK) & (bursts < len(values))]
    assert found[bursts[0], 0] > 3.5 or np.isnan(found[bursts[0], 0])
    assert (found[late, 0] >= 3.5).mean() < 0.1
    values[-3:, 0] += 400.0
    assert evidence(values)[-1, 0] > 3.5


def test_one_incident_hides_not_the_next() -> None:
    values = seasonal(1, 3, seed=13)
    first, second = 2 * WEEK + 60, 2 * WEEK + 900
    for at in (first, second):
        values[at : at + 12, 0] *= 4.0
    found = evidence(values)
    assert min(found[first, 0], found[second, 0]) > 4.5


def test_what_happens_every_day_at_this_time_is_usual() -> None:
    values = 20.0 + np.random.default_rng(14).standard_normal((2 * WEEK, 2))
    step = np.arange(len(values))
    values[(step % 288 == 24) | (step % 288 == 287)] += 100.0
    at = WEEK + 150
    values[at, 1] += 400.0
    rings = np.nan_to_num(evidence(values)) >= 3.5
    assert [(step, row) for step, row in np.argwhere(rings) if step >= 3 * 288] == [(at, 1)]


def test_a_constant_that_starts_to_live_rings_no_longer_than_a_day() -> None:
    values = np.zeros((2 * WEEK, 1))
    values[WEEK:] = 500.0 + 50.0 * np.random.default_rng(15).standard_normal((WEEK, 1))
    found = np.nan_to_num(evidence(values))
    assert found[WEEK + 2, 0] > 3.5
    assert found[WEEK + 288 :, 0].max() < 3.5


def test_a_run_is_one_though_it_crosses_an_hour() -> None:
    values = seasonal(2, 3, seed=16)
    at = 2 * WEEK + 23  # the last step of an hour
    values[at : at + 3, 0] *= 1.6
    values[at + 5 : at + 8, 1] *= 1.6
    found = evidence(values)
    assert found[at + 2, 0] == pytest.approx(found[at + 7, 1], abs=1.5)
    assert found[at + 2, 0] > found[at, 0]


def test_a_run_counts_more_than_its_weakest_point() -> None:
    points = np.array([0.0, 2.0, 2.0, 2.0, 0.0, 5.0, np.nan])[:, None]
    assert sustained(points)[:, 0] == pytest.approx(
        [0.0, 2.0, 2.0, 3.5, 0.0, 5.0, np.nan], nan_ok=True
    )


def test_an_alert_lasts_until_it_has_been_quiet() -> None:
    points = np.array([0, 4, 0, 5, 0, 0, 0, 0, 4, np.nan], float)
    assert episodes(points, 4.0, quiet=3) == [Episode(1, 3, 3), Episode(8, 8, 8)]
    assert episodes(points, np.full(10, 9.0), quiet=3) == []


@pytest.mark.parametrize("reviewed", [False, True])
def test_a_budget_is_held_over_simulated_weeks(reviewed: bool) -> None:
    """Ten monitors whose evidence is what it says, four looks an hour."""
    rng = np.random.default_rng(10)
    held = []
    for _ in range(40):
        past, future = (
            (-np.log10(rng.random((10 * 168 * weeks, 4)))).max(axis=1) for weeks in (8, 4)
        )
        limit = threshold(past, 5.0, 10 * 168, 10 * 168 * 4, reviewed=reviewed)
        held.append((future >= limit).sum() / 4.0)
    assert 2.0 < np.mean(held) < 4.0  # aimed at 0.6 x 5
    assert np.mean(np.array(held) <= 5.0) >= 0.9


def test_a_budget_is_not_moved_by_many_incidents() -> None:
    rng = np.random.default_rng(11)
    calm = (-np.log10(rng.random((20_000, 4)))).max(axis=1)
    sick = calm.copy()
    sick[:600] = rng.uniform(3.0, 15.0, 600)
    assert threshold(sick, 5.0, 4872, 4872 * 60) - threshold(calm, 5.0, 4872, 4872 * 60) < 0.15


def test_a_short_history_asks_for_bonferroni() -> None:
    assert threshold([], 5.0, 1680, 100_800) == pytest.approx(np.log10(100_800 / 5.0))
    with pytest.raises(ValueError, match="above 0"):
        threshold([], 0.0, 1680, 100_800)


def test_a_step_has_sensible_bounds() -> None:
    with pytest.raises(ValueError, match="1 s to 7 d"):
        Grid(0)
    assert (Grid(60).block, Grid(60).week, Grid(3600).short, Grid(86_400).has_days) == (
        60,
        168,
        6,
        False,
    )
