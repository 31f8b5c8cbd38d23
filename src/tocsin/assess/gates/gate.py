"""A gate: may the candidate take over, by what both arms did in the same minutes?

Every metric is judged on its own, on evidence that may be looked at any number of times
(`tocsin.assess.gates.evidence`):

- fail: it is proven that the candidate is worse: of a critical metric worse at all, of any other
  worse by more than its margin. The error probability alpha is shared among the metrics by weight.
- pass: it is proven to be worse by less than the margin (non-inferiority). A gate passes when all
  of its metrics do, which needs no correction.
- otherwise it goes on, until `max_minutes` leave it inconclusive: a person decides.

The baseline has to run at the same time. Against history a provider's bad hour looks like a bad
candidate: half of all gates over equal arms would alarm, whatever the statistics. Such a comparison
is described and never decided.

`Running` is everything that is remembered between looks, and the largest evidence with it: a
restart neither forgets an alarm nor gives the test a second chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from scipy.special import chdtrc

from tocsin.assess.gates.evidence import (
    NOTHING,
    Sums,
    difference,
    exact_step,
    half_width,
    mean_of,
    mixture,
)

Outcome = Literal["pass", "fail", "inconclusive", "insufficient", "invalid"]
Standing = Literal["pass", "fail", "continue", "waiting"]
_LEAST_EVENTS = 5
_LEAST_UNITS = 30  # of a mean, before its estimated variance is believed
_SPLIT_ALPHA = 0.001
_BESIDE_MINUTES = 30


@dataclass(frozen=True, slots=True)
class Metric:
    """What is compared. margin: how much worse is still acceptable, in the metric's unit, of a log
    scale as a share (0.1: ten per cent). is_rate: values are 0 and 1. bad: "higher" or "lower".
    critical: any proven worsening fails the gate. weight: its share of alpha."""

    name: str
    margin: float
    is_rate: bool = True
    log: bool = False
    bad: Literal["higher", "lower"] = "higher"
    critical: bool = False
    weight: float = 1.0

    @property
    def allowance(self) -> float:
        """The margin on the scale on which means are compared."""
        return math.log1p(self.margin) if self.log else self.margin


@dataclass(frozen=True, slots=True)
class Gate:
    """The rules of one comparison.

    alpha: of passing what is worse by the margin. fail_alpha: of failing what is equal, over all
    metrics together. split: the candidate's share of the traffic as it is meant to
    be, None when nobody says."""

    metrics: tuple[Metric, ...]
    alpha: float = 0.05
    fail_alpha: float = 0.01
    least_units: int = 200
    least_minutes: int = 20
    max_minutes: int = 24 * 60
    split: float | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What both arms did in one minute: by metric (candidate, baseline)."""

    minute: int
    arms: Mapping[str, tuple[Sums, Sums]]


@dataclass(frozen=True, slots=True)
class Track:
    """One metric so far. new_candidate, new_baseline: what of it the exact e-value has not taken
    in yet, because the other arm has nothing new. log_exact: of that e-value; log_most: the largest
    evidence ever."""

    candidate: Sums = NOTHING
    baseline: Sums = NOTHING
    new_candidate: Sums = NOTHING
    new_baseline: Sums = NOTHING
    log_exact: float = 0.0
    log_most: float = 0.0


@dataclass(frozen=True, slots=True)
class Running:
    """Everything a gate remembers. beside: the last minute with units of the baseline. alone: units
    of the candidate that came when the baseline had had none for half an hour."""

    started: int | None = None
    minute: int | None = None
    paired_minutes: int = 0
    beside: int | None = None
    alone: int = 0
    units: tuple[int, int] = (0, 0)
    tracks: Mapping[str, Track] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric as it stands.

    candidate, baseline: means (of a log scale geometric). difference, low, high: candidate minus
    baseline with its confidence sequence, of a log scale as a share, always in the metric's own
    direction. p: always-valid p-value that both are equal.
    """

    name: str
    standing: Standing
    candidate: float | None
    baseline: float | None
    units: tuple[int, int]
    difference: float | None
    low: float | None
    high: float | None
    margin: float
    p: float
    reason: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate says. reason: in words, what it rests on."""

    verdict: Outcome
    is_final: bool
    reason: str
    metrics: tuple[MetricResult, ...]
    minutes: int
    paired_minutes: int
    units: tuple[int, int]


def advance(gate: Gate, running: Running, batch: Batch) -> Running:
    """What is remembered after one more minute. ValueError for a minute out of order."""
    if running.minute is not None and batch.minute <= running.minute:
        raise ValueError(f"minute {batch.minute} comes after {running.minute}")
    tracks = dict(running.tracks)
    for metric in gate.metrics:
        new = batch.arms.get(metric.name)
        if new is not None:
            tracks[metric.name] = _told(metric, tracks.get(metric.name, Track()), *new)
    seen = [(c.n, b.n) for c, b in batch.arms.values()]
    most = (max((c for c, _ in seen), default=0), max((b for _, b in seen), default=0))
    is_paired = most[0] > 0 and most[1] > 0
    beside = batch.minute if most[1] else running.beside
    is_alone = beside is None or batch.minute - beside > _BESIDE_MINUTES
    return Running(
        started=batch.minute if running.started is None else running.started,
        minute=batch.minute,
        paired_minutes=running.paired_minutes + is_paired,
        beside=beside,
        alone=running.alone + (most[0] if is_alone else 0),
        units=(running.units[0] + most[0], running.units[1] + most[1]),
        tracks=tracks,
    )


def judge(gate: Gate, running: Running) -> GateResult:
    """Where a gate stands."""
    results = tuple(
        _metric_result(gate, metric, running.tracks.get(metric.name, Track()))
        for metric in gate.metrics
    )
    minutes = 0 if running.started is None else (running.minute or 0) - running.started + 1
    verdict, is_final, reason = _verdict(gate, running, results, minutes)
    return GateResult(verdict, is_final, reason, results, minutes, running.paired_minutes,
                      running.units)  # fmt: skip


def run(gate: Gate, batches: Iterable[Batch]) -> tuple[GateResult, Running]:
    """A gate over minutes in order, until it decides or they end."""
    running = Running()
    result = judge(gate, running)
    for batch in batches:
        running = advance(gate, running, batch)
        result = judge(gate, running)
        if result.is_final:
            break
    return result, running


def _told(metric: Metric, track: Track, candidate: Sums, baseline: Sums) -> Track:
    if metric.bad == "lower":
        candidate, baseline = _turned(metric, candidate), _turned(metric, baseline)
    after = replace(
        track,
        candidate=track.candidate + candidate,
        baseline=track.baseline + baseline,
        new_candidate=track.new_candidate + candidate,
        new_baseline=track.new_baseline + baseline,
    )
    if metric.is_rate and after.new_candidate.n and after.new_baseline.n:
        before = after.candidate - after.new_candidate, after.baseline - after.new_baseline
        step = exact_step(*before, after.new_candidate, after.new_baseline)
        after = replace(
            after, log_exact=after.log_exact + step, new_candidate=NOTHING, new_baseline=NOTHING
        )
    found = difference(after.candidate, after.baseline, is_rate=metric.is_rate)
    if found.d <= 0 or not _is_ready(metric, after):
        return after
    return replace(after, log_most=max(track.log_most, _log_evidence(metric, after)))


def _turned(metric: Metric, sums: Sums) -> Sums:
    """The same with higher meaning worse."""
    if metric.is_rate:
        bad = sums.n - sums.total
        return Sums(sums.n, bad, bad)
    return Sums(sums.n, -sums.total, sums.squares)


def _log_evidence(metric: Metric, track: Track) -> float:
    found = difference(track.candidate, track.baseline, is_rate=metric.is_rate)
    mixed = mixture(found, metric.allowance)
    return mean_of((track.log_exact, mixed)) if metric.is_rate else mixed


def _is_ready(metric: Metric, track: Track) -> bool:
    """Whether approximations may be believed: events of a rate, units of a mean."""
    if metric.is_rate:
        return track.candidate.total + track.baseline.total >= _LEAST_EVENTS
    return min(track.candidate.n, track.baseline.n) >= _LEAST_UNITS


def _metric_result(gate: Gate, metric: Metric, track: Track) -> MetricResult:
    found = difference(track.candidate, track.baseline, is_rate=metric.is_rate)
    share = metric.weight / sum(one.weight for one in gate.metrics)
    bar = -math.log(gate.fail_alpha * share)
    enough = min(track.candidate.n, track.baseline.n) >= gate.least_units
    known = track.candidate.n > 0 and track.baseline.n > 0
    width = half_width(found.v, metric.allowance, gate.alpha)
    strict = half_width(found.v, metric.allowance, gate.fail_alpha * share)
    if not known or not enough:
        n = min(track.candidate.n, track.baseline.n)
        standing: Standing = "waiting"
        reason = f"{n} of {gate.least_units} units in the smaller arm"
    elif metric.critical and track.log_most >= bar:
        standing, reason = "fail", "worse than the baseline, beyond doubt"
    elif _is_ready(metric, track) and found.d - strict > metric.allowance:
        standing, reason = "fail", "worse than the baseline by more than the margin"
    elif found.d + width < metric.allowance:
        standing, reason = "pass", "worse by less than the margin, if at all"
    else:
        standing, reason = "continue", "not proven either way"
    return MetricResult(
        name=metric.name,
        standing=standing,
        candidate=_shown(metric, track.candidate) if known else None,
        baseline=_shown(metric, track.baseline) if known else None,
        units=(track.candidate.n, track.baseline.n),
        **_shown_difference(metric, found.d, width, known=known),
        margin=metric.margin,
        p=min(1.0, math.exp(-track.log_most)),
        reason=reason,
    )


def _shown(metric: Metric, sums: Sums) -> float:
    """The mean of an arm as people know it."""
    mean = sums.mean
    if metric.bad == "lower":
        mean = 1 - mean if metric.is_rate else -mean
    return math.exp(mean) if metric.log else mean


def _shown_difference(
    metric: Metric, d: float, width: float, *, known: bool
) -> dict[str, float | None]:
    if not known or not math.isfinite(width):
        shown = None if not known else _as_share(metric, d)
        return {"difference": shown, "low": None, "high": None}
    low, high = _as_share(metric, d - width), _as_share(metric, d + width)
    return {"difference": _as_share(metric, d), "low": min(low, high), "high": max(low, high)}


def _as_share(metric: Metric, d: float) -> float:
    """A difference in the metric's own direction, of a log scale as a share."""
    own = -d if metric.bad == "lower" else d
    return math.expm1(own) if metric.log else own


def _verdict(
    gate: Gate, running: Running, results: tuple[MetricResult, ...], minutes: int
) -> tuple[Outcome, bool, str]:
    invalid = _invalid(gate, running)
    if invalid:
        return "invalid", True, invalid
    failed = [one for one in results if one.standing == "fail"]
    is_long_enough = running.paired_minutes >= gate.least_minutes
    if failed and is_long_enough:
        return "fail", True, "; ".join(f"{one.name}: {one.reason}" for one in failed)
    if is_long_enough and all(one.standing == "pass" for one in results):
        return "pass", True, "every metric is proven to be within its margin"
    is_over = minutes >= gate.max_minutes
    waiting = [one for one in results if one.standing == "waiting"]
    if waiting or not is_long_enough:
        missing = [f"{one.name}: {one.reason}" for one in waiting]
        if not is_long_enough:
            missing.append(
                f"{running.paired_minutes} of {gate.least_minutes} minutes in which both arms ran"
            )
        return "insufficient", is_over, "; ".join(missing)
    open_ones = [one.name for one in results if one.standing != "pass"]
    return "inconclusive", is_over, f"not proven either way: {', '.join(open_ones)}"


def _invalid(gate: Gate, running: Running) -> str:
    candidate, baseline = running.units
    is_said = candidate >= _LEAST_UNITS and running.paired_minutes >= 1
    if is_said and running.alone > candidate / 2:
        return (
            f"{running.alone} of {candidate} units of the candidate came more than"
            f" {_BESIDE_MINUTES} minutes after the last of the baseline: a comparison with history"
            " is described, not decided"
        )
    total = candidate + baseline
    if gate.split is None or total < gate.least_units:
        return ""
    expected = total * gate.split
    chi2 = (candidate - expected) ** 2 / expected
    chi2 += (baseline - (total - expected)) ** 2 / (total - expected)
    if float(chdtrc(1, chi2)) < _SPLIT_ALPHA:
        return (
            f"the candidate got {candidate / total:.1%} of the traffic and not {gate.split:.1%}:"
            " the split is broken, and with it the comparison (sample ratio mismatch)"
        )
    return ""
