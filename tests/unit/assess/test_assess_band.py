"""The band of a chart."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.band import expected_band


def test_a_spike_leaves_the_band_and_does_not_move_it() -> None:
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(7, 0.1, 500))
    values[400:420] *= 5
    band = expected_band(values, span=120, scale="log")
    assert (values[400:420] > band.upper[400:420]).all()
    assert band.expected[440] == pytest.approx(np.exp(7), rel=0.1)
    calm = np.r_[120:400]
    inside = (values[calm] >= band.lower[calm]) & (values[calm] <= band.upper[calm])
    assert inside.mean() > 0.98


def test_a_new_level_is_expected_after_half_a_span() -> None:
    values = np.r_[np.full(200, 10.0), np.full(100, 20.0)]
    band = expected_band(values, span=60)
    assert band.expected[225] == 10
    assert band.expected[240] == 20


def test_the_band_knows_only_the_past() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(10, 1, 100)
    changed = values.copy()
    changed[60:] = 99
    one, other = expected_band(values, span=30), expected_band(changed, span=30)
    assert np.array_equal(one.expected[:61], other.expected[:61], equal_nan=True)


def test_where_nothing_was_measured_there_is_no_band() -> None:
    values = np.full(100, np.nan)
    values[50:] = 3.0
    band = expected_band(values, span=20, min_points=5)
    assert np.isnan(band.expected[:55]).all()
    assert (band.expected[55:] == 3.0).all()
    assert expected_band([]).expected.size == 0


def test_a_share_of_few_calls_has_a_wide_band_within_0_and_1() -> None:
    shares = np.zeros(60)
    band = expected_band(shares, counts=np.r_[np.full(59, 500.0), 4.0], span=30)
    assert band.upper[58] == pytest.approx(1 / 500)
    assert band.upper[59] == pytest.approx(1 / 4)
    assert np.nanmin(band.lower) == 0.0
    wide = expected_band(np.full(60, 0.9), counts=np.full(60, 2.0), span=30)
    assert np.nanmax(wide.upper) <= 1.0


@pytest.mark.parametrize("settings", [{"span": 0}, {"min_points": 0}])
def test_a_span_of_nothing_is_refused(settings) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        expected_band([1.0], **settings)
