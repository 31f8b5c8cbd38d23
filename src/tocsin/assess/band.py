"""The band a chart draws around a timeline: what a value was expected to be at each point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_NORMAL = 1.4826  # median absolute deviation -> standard deviation of a normal
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Band:
    """Lower edge, middle and upper edge, each as long as the timeline; NaN where unknown."""

    lower: Floats
    expected: Floats
    upper: Floats


def expected_band(
    values: npt.ArrayLike,
    *,
    span: int = 180,
    width: float = 3.0,
    scale: Literal["linear", "log"] = "linear",
    counts: npt.ArrayLike | None = None,
    min_points: int = 10,
) -> Band:
    """Where each of `values` was expected, by the median and MAD of the `span` points before it.

    Robust and not seasonal: an incident shorter than half the span does not move the band, a new
    level becomes expected after half a span. values: NaN where nothing was measured. width: half
    the band in robust standard deviations. scale: "log" for what is positive and multiplicative,
    such as latency. counts: for a share, the calls behind each value; the band then also covers
    the chance of a share of so few calls, and stays within 0 to 1. Points with fewer than
    `min_points` measured before them have no band. O(len(values) x span). For the eye only: alerts
    come from counts.
    """
    x = np.asarray(values, np.float64)
    if span < 1 or min_points < 1:
        raise ValueError(f"span and min_points are at least 1, not {span} and {min_points}")
    y = np.log(np.maximum(x, _TINY)) if scale == "log" else x
    padded = np.concatenate([np.full(span, np.nan), y[:-1]]) if len(y) else np.zeros(0)
    if not len(y):
        return Band(padded, padded.copy(), padded.copy())
    before = np.lib.stride_tricks.sliding_window_view(padded, span)
    known = np.isfinite(before).sum(axis=1) >= min_points
    middle, spread = np.full(len(y), np.nan), np.full(len(y), np.nan)
    if known.any():
        held = before[known]
        middle[known] = np.nanmedian(held, axis=1)
        away = np.abs(held - middle[known][:, None])
        spread[known] = _NORMAL * np.nanmedian(away, axis=1)
    if counts is not None:
        return _share_band(middle, spread, np.asarray(counts, np.float64), width)
    lower, upper = middle - width * spread, middle + width * spread
    if scale == "log":
        return Band(np.exp(lower), np.exp(middle), np.exp(upper))
    return Band(lower, middle, upper)


def _share_band(middle: Floats, spread: Floats, counts: Floats, width: float) -> Band:
    chance = np.clip(middle, 0.0, 1.0) * (1.0 - np.clip(middle, 0.0, 1.0)) / np.maximum(counts, 1.0)
    half = width * np.sqrt(spread * spread + chance)
    # A median of 0 says less than "never": one bad call among so few stays inside the band.
    least = 1.0 / np.maximum(counts, 1.0)
    upper = np.where(counts > 0, np.maximum(middle + half, least), middle + half)
    upper = np.where(np.isfinite(middle), upper, np.nan)
    return Band(np.clip(middle - half, 0.0, 1.0), middle, np.clip(upper, 0.0, 1.0))
