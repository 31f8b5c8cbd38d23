"""A health score of every segment, and which of them the whole hides.

The calls of the last while are sampled, one of each conversation, and scored segment by segment by
the formula of the whole. What cannot be told apart by segment (a budget, a detector) counts as for
the whole. A segment is *masked* when the whole is well and the segment surely is not: the upper end
of its interval lies below the warning, at a false discovery rate over all segments, in several of
the last looks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import log_ndtr

from tocsin.assess.health import Component, Health, HealthConfig, Reading, State, health
from tocsin.assess.health_monitor import Measured
from tocsin.assess.health_reading import mean_reading, quantile_reading, share_reading
from tocsin.assess.monitor import DetectorConfig
from tocsin.assess.segments import discoveries
from tocsin.domain.buckets import LATENCY
from tocsin.domain.calls import SYSTEM_FAILURES
from tocsin.domain.expressions import Field
from tocsin.domain.samples import Look, Sample, Wish

MOST = 5_000  # calls in a look
# What a floor adds to the components: the score of the worst segment that was told apart.
WORST = Component("worst segment", 0.0, ((0.0, 0.0), (100.0, 100.0)))
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class HealthSegmentsConfig(DetectorConfig):
    """How a health score is told apart. score: the monitor of the whole. by: dimensions.
    min_events: segments with fewer calls are not judged. fdr: share of false findings among all, of
    each look. confirm, of: in so many of the last so many looks. alerts: whether anybody is told.
    """

    kind: ClassVar[str] = "health_segments"
    needs: ClassVar[Literal["counts", "pace", "gauge", "samples", "budget", "others"]] = "others"
    signal: ClassVar[str] = "health_score"

    score: str
    health: HealthConfig
    measured: tuple[Measured, ...]
    by: tuple[str, ...]
    min_events: int = 30
    fdr: float = 0.10
    confirm: int = 3
    of: int = 5
    window_minutes: int = 60
    every_minutes: int = 10
    alerts: bool = False

    def wish(self, service: str) -> Wish | None:
        """The calls of the window, with all that components are measured from."""
        features = ["duration_ms", "error_class", "cost_usd"]
        features += [f"dimension:{name}" for name in self.by]
        features += [f"score:{name}" for one in self.measured for name in _scores(one)]
        return Wish(
            service=service, features=tuple(dict.fromkeys(features)), kind="llm",
            window_minutes=self.window_minutes, reference_minutes=1, every=self.every_minutes,
            most=MOST,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SegmentScore:
    """The health score of one segment. calls: sampled ones. evidence: -log10 p that it lies below
    the warning; is_judged: enough calls and a score. is_found: at the false discovery rate."""

    dimension: str
    value: str
    calls: int
    score: float | None
    low: float | None
    high: float | None
    state: State
    reason: str
    evidence: float
    is_judged: bool
    is_found: bool = False

    @property
    def name(self) -> str:
        """As it is written down."""
        return f"{self.dimension}={self.value}"


def segment_scores(
    config: HealthSegmentsConfig, look: Look, whole: Mapping[str, Reading]
) -> list[SegmentScore]:
    """Every segment of a look, the lowest score first. whole: what was read of the service."""
    found = [
        _scored(config, look.window, name, value, rows, whole)
        for name in config.by
        for value, rows in _values(look.window, name)
    ]
    judged = [one for one in found if one.is_judged]
    told = discoveries(np.array([one.evidence for one in judged]), config.fdr)
    names = {one.name for one, is_found in zip(judged, told, strict=True) if is_found}
    # Found is not enough: the whole interval lies below, which a rate over many does not promise.
    limit = config.health.warning
    marked = [
        replace(one, is_found=one.name in names and (one.high or 0.0) < limit) for one in found
    ]
    return sorted(marked, key=lambda one: (one.score is None, one.score or 0.0, one.name))


def as_whole(config: HealthSegmentsConfig) -> tuple[str, ...]:
    """Metrics that single calls do not tell, so that every segment has those of the whole."""
    return tuple(one.metric for one in config.measured if not _is_apart(one))


def consistency(scores: Sequence[SegmentScore], name: str) -> float | None:
    """100 less what lies between the best and the worst segment of a dimension, each drawn towards
    their mean by how little is known of it; None with fewer than two that are judged.

    Efron and Morris, "Stein's estimation rule and its competitors", JASA 68 (1973).
    """
    mine = [one for one in scores if one.dimension == name and one.is_judged]
    if len(mine) < 2:
        return None
    values = np.array([one.score for one in mine], np.float64)
    noise = np.array([_spread(one) ** 2 for one in mine])
    between = max(float(values.var(ddof=1) - noise.mean()), 0.0)
    kept = between / np.maximum(between + noise, 1e-9)
    drawn = values.mean() + kept * (values - values.mean())
    return float(100.0 - (drawn.max() - drawn.min()))


# --------------------------------------------------------------------------------------------


def _values(sample: Sample, name: str) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    column = np.array([v or "" for v in sample.columns.get(f"dimension:{name}", ())], object)
    for value in sorted(set(column) - {""}):
        yield str(value), np.flatnonzero(column == value)


def _scored(
    config: HealthSegmentsConfig, sample: Sample, name: str, value: str,
    rows: np.ndarray[Any, Any], whole: Mapping[str, Reading],
) -> SegmentScore:  # fmt: skip
    read = {
        one.metric: reading
        for one in config.measured
        if (reading := _reading(one, sample, rows) or whole.get(one.metric)) is not None
    }
    found = health(config.health, read)
    reason = _reason(found, as_whole(config))
    is_judged = found.score is not None and len(rows) >= config.min_events
    low, high = (found.score, found.score) if found.low is None else (found.low, found.high)
    one = SegmentScore(
        name, value, len(rows), found.score, low, high, found.state, reason, 0.0, is_judged
    )
    if found.score is None:
        return one
    z = (config.health.warning - found.score) / max(_spread(one), 1e-6)
    return replace(one, evidence=max(-float(log_ndtr(-z)) / math.log(10.0), 0.0))


def _reason(found: Health, shared: Collection[str]) -> str:
    """What costs a segment most of what is its own: the rest says nothing of it."""
    own = [part for part in found.parts if part.metric not in shared]
    worst = max(own, key=lambda part: part.lost, default=None)
    if found.score is None or worst is None or worst.lost < 0.05:
        return found.reason
    if found.capped_by and found.capped_by not in shared:
        return found.reason
    return f"{worst.metric} costs {worst.lost:.1f} of {100 - found.score:.1f} points lost"


def _spread(one: SegmentScore) -> float:
    """The standard error on the side that matters: upwards."""
    if one.score is None or one.high is None:
        return math.inf
    return (one.high - one.score) / _Z


def _reading(one: Measured, sample: Sample, rows: np.ndarray[Any, Any]) -> Reading | None:
    """What was read of a segment's calls; None for what cannot be told apart."""
    calls = len(rows)
    if one.kind == "latency":
        known = _numbers(sample, "duration_ms", rows)
        histogram = np.bincount(LATENCY.bucket(known * 1000.0), minlength=LATENCY.count)
        return quantile_reading(histogram.astype(np.int64), one.quantile, one.unit_ms, calls)
    if one.kind in ("bad", "good") and _counts_failures(one):
        classes = sample.columns.get("error_class", ())
        failed = sum(str(classes[row] or "") in SYSTEM_FAILURES for row in rows)
        return share_reading(failed, calls, calls, is_good=one.kind == "good")
    if one.kind == "mean":
        for feature in ("cost_usd",) if _is_cost(one) else map("score:{}".format, _scores(one)):
            known = _numbers(sample, feature, rows)
            if len(known):
                return mean_reading(len(known), float(known.mean()), float((known**2).mean()))
        if _is_cost(one) or _scores(one):
            return Reading(None, events=calls, reason="no value of it in this segment")
    return None


def _is_apart(one: Measured) -> bool:
    """Whether `_reading` can tell it of a segment."""
    if one.kind in ("bad", "good"):
        return _counts_failures(one)
    return one.kind == "latency" or (one.kind == "mean" and (_is_cost(one) or bool(_scores(one))))


def _numbers(sample: Sample, feature: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    column = sample.columns.get(feature) or ()
    values = np.array([np.nan if v is None else v for v in column] or [np.nan], np.float64)
    chosen = values[rows] if len(column) else values[:0]
    return chosen[np.isfinite(chosen)]


def _counts_failures(one: Measured) -> bool:
    return all(ratio.column == "failed" and ratio.kind == "llm" for _, ratio in one.series)


def _is_cost(one: Measured) -> bool:
    return any(
        ratio.charge is not None and ratio.charge.value == Field("cost_usd", "number")
        for _, ratio in one.series
    )


def _scores(one: Measured) -> tuple[str, ...]:
    """Names of the scores that it is the mean of, those of LLM calls, the first one first."""
    names = [
        ratio.charge.value.key
        for _, ratio in one.series
        if ratio.charge is not None
        and isinstance(ratio.charge.value, Field)
        and ratio.charge.value.name == "score"
        and ratio.kind == "llm"
    ]
    return tuple(dict.fromkeys(names))
