"""Every detector of gauges on one panel of series, as matrices: no window, no counts."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tocsin.assess.detectors import DETECTORS
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.kind import GaugeConfig, lasting

GRID = Grid(300)
DAY, DAYS = 288, 6
LAST = DAY * (DAYS - 1)  # the panel's event is on the last day
EVENT = LAST + 140
KINDS = sorted(k for k in DETECTORS if issubclass(DETECTORS[k].config, GaugeConfig))
MISSES_CALLS = {"no_data", "volume_drop"}
# Limits that somebody chose; the others find theirs in the series.
SETTINGS = {
    "static_threshold": {"limit": 250.0}, "forecast": {"budget": 2e6}, "capacity": {"limit": 250.0}
}  # fmt: skip
KNOWS_ITS_LIMIT = {"static_threshold", "forecast", "capacity"}
NO_SPIKES = {"change_point"}  # a new level is what it waits for
# What is told ahead has events of its own: test_forecast.py, test_capacity.py.
LOOKS_AHEAD = {"forecast", "capacity"}
# Charts for series without a clock and without memory; they say so.
FLAT_ONLY = {"ewma", "cusum", "western_electric"}
PANELS = ("flat", "seasonal", "step", "spike", "trend", "gaps", "constant", "counts", "missing")


def panel(name: str) -> np.ndarray:
    rng = np.random.default_rng(60)
    step = np.arange(DAY * DAYS)
    values = 100.0 + 10.0 * rng.standard_normal(len(step))
    if name == "seasonal":
        values *= 1.0 + 0.3 * np.sin(2 * np.pi * step / DAY)
    if name == "step":
        values[EVENT:] += 200.0
    if name == "spike":
        values[EVENT : EVENT + 4] += 900.0
    if name == "outage":
        values[EVENT:] = 0.0
    if name == "trend":
        values += 0.01 * step
    if name == "gaps":
        values[rng.random(len(step)) < 0.3] = np.nan
        values[EVENT : EVENT + 30] = np.nan
    if name == "constant":
        values[:] = 100.0
    if name == "counts":
        values = rng.poisson(3.0, len(step)).astype(float)
    if name == "missing":
        values[:] = np.nan
    return values


@cache
def judged(kind: str, name: str, factor: float = 1.0, until: int = DAY * DAYS):
    """(evidence [step], limit) of one series."""
    evidence, limit = scored(kind, panel(name)[:until, None] * factor)
    return evidence[:, 0], float(limit[0])


def scored(kind: str, values: np.ndarray, grid: Grid = GRID):
    config = DETECTORS[kind].config(**SETTINGS.get(kind, {}))
    scorer = DETECTORS[kind].config.scorer([config] * values.shape[1], grid)
    padded = np.concatenate([np.full((grid.lead, values.shape[1]), np.nan), values])
    found = np.full(values.shape, np.nan)
    for start in range(0, len(values), grid.block):
        stop = min(start + grid.block, len(values))
        recent = padded[start : stop + grid.lead]
        one = scorer.judge(recent, start)
        assert one.evidence.shape == one.expected.shape == (stop - start, values.shape[1])
        found[start:stop] = one.evidence
        scorer.learn(start // grid.block, recent[grid.lead :], one)
    return found, scorer.limit


def rings(kind: str, name: str) -> np.ndarray:
    evidence, limit = judged(kind, name)
    steps = DETECTORS[kind].config(**SETTINGS.get(kind, {})).for_minutes
    with np.errstate(invalid="ignore"):
        return np.flatnonzero(lasting(evidence[:, None], steps)[:, 0] >= limit)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PANELS)
def test_it_says_something_or_nothing_and_never_breaks(kind: str, name: str) -> None:
    with np.errstate(all="raise", under="ignore"):
        evidence, limit = scored(kind, panel(name)[:, None])
    assert np.isfinite(limit).all()
    assert not np.isinf(evidence).any()
    assert np.isnan(evidence[np.isnan(panel(name)), 0]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step_s", [60, 700, 3600, 86_400])
def test_it_works_at_every_step(kind: str, step_s: int) -> None:
    evidence, _ = scored(kind, panel("spike")[:, None], Grid(step_s))
    known = np.flatnonzero(np.isfinite(evidence[:, 0]))
    # Of 29 hours, those that need a day of history first know the last five, others nothing.
    enough = len(evidence) / 10 if kind == "no_data" and step_s == 60 else len(evidence) / 2
    needs_days = step_s == 60 and kind in ("seasonal", "forecast")
    assert len(known) > enough or needs_days or (kind == "seasonal" and step_s == 86_400)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["flat", "trend", "gaps", "constant"])
def test_it_seldom_rings_where_nothing_happens(kind: str, name: str) -> None:
    if name == "trend" and kind in FLAT_ONLY:
        pytest.skip("adds up what a trend adds up to, and says so")
    found = rings(kind, name)
    allowed = 0.02 if kind in FLAT_ONLY else 0.004
    assert (found >= LAST).sum() <= allowed * DAY
    if name == "constant":
        assert len(found) == 0


@pytest.mark.parametrize("kind", sorted(set(KINDS) - MISSES_CALLS - LOOKS_AHEAD))
@pytest.mark.parametrize("name", ["step", "spike"])
def test_it_finds_what_happens_within_half_an_hour(kind: str, name: str) -> None:
    if name == "spike" and DETECTORS[kind].config().for_minutes > 4:
        pytest.skip("asks for more points than a spike has")
    if name == "spike" and kind in NO_SPIKES:
        assert len(rings(kind, name)) == 0
        return
    found = rings(kind, name)
    found = found[found >= LAST]
    assert len(found)
    assert EVENT <= found[0] <= EVENT + (9 if kind in NO_SPIKES else 6)


@pytest.mark.parametrize("kind", sorted(MISSES_CALLS))
def test_it_finds_an_outage_at_once(kind: str) -> None:
    # Of twelve steps an hour that were never silent, no more is known of one that is.
    patience = {"no_data": 6}.get(kind, 0)
    assert EVENT <= rings(kind, "outage")[0] <= EVENT + patience


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [LAST + 7, EVENT + 5])
def test_it_does_not_look_ahead(kind: str, cut: int) -> None:
    whole, _ = judged(kind, "step")
    part, _ = judged(kind, "step", until=cut)
    np.testing.assert_allclose(part, whole[:cut], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_series_do_not_know_of_each_other(kind: str) -> None:
    both, _ = scored(kind, np.stack([panel("step"), panel("gaps")], axis=1))
    for row, name in enumerate(("step", "gaps")):
        np.testing.assert_allclose(both[:, row], judged(kind, name)[0], rtol=1e-6)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - KNOWS_ITS_LIMIT - MISSES_CALLS))
@pytest.mark.parametrize("factor", [1e-3, 1e6])
def test_the_unit_does_not_matter(kind: str, factor: float) -> None:
    here, _ = judged(kind, "step")
    there, _ = judged(kind, "step", factor)
    np.testing.assert_allclose(there, here, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_its_evidence_is_put_into_words(kind: str) -> None:
    text = DETECTORS[kind].config().tell(5.0)
    assert text
    assert text[0] != " "
    assert "\n" not in text
