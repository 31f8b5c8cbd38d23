"""`tocsin detect`: what would have rung over a file of values, judged as time went by.

Every value is judged by what lay before it. With a budget the evidence to ask for is found anew
each day from what was seen until then, over all series of the file together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

from tocsin.assess.detectors import DETECTORS
from tocsin.assess.detectors.committee import DEFAULT_EVIDENCE, CommitteeConfig
from tocsin.assess.gauges.budget import WEEK_S, threshold
from tocsin.assess.gauges.committee import Judged
from tocsin.assess.gauges.episodes import episodes, quiet_steps
from tocsin.assess.gauges.grid import DAY_S, Grid
from tocsin.assess.gauges.kind import GaugeConfig, Scorer, lasting
from tocsin.domain.errors import TocsinError
from tocsin.engine.value_files import ValueSeries

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Gaps after which a series begins anew: four weeks, at least so many steps.
_FORGOTTEN_S, _FORGOTTEN_STEPS = 28 * DAY_S, 60
# Settings about how values are made of calls; the values of a file are there.
_OF_CALLS = ("measure", "over", "min_calls")
# Values to find out with how many are needed.
_TRIED_LEAST, _TRIED = 400, 200_000
_CELLS = 30_000_000  # values that are judged together
_BASELINES = ("the week", "the time of day", "the last hour", "the last three hours")


class BadSetting(TocsinError):
    """A kind or setting that a file of values cannot be judged by."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert: when it rang, its last moment above the threshold, and why."""

    series: str
    start: str
    start_epoch: int
    end: str
    score: float
    p: float | None
    reason: str


@dataclass(slots=True)
class Scored:
    """A series on its grid, a row for every value: the value as it was judged (the mean of those
    in its step), evidence and what was expected; and the limit of the detector's settings."""

    series: ValueSeries
    grid: Grid
    limit: float
    steps: Ints
    values: Floats
    evidence: Floats
    expected: Floats
    by: npt.NDArray[np.int8]

    @property
    def judged(self) -> int:
        """Values that something could be said about."""
        return int(np.isfinite(self.evidence).sum())

    @property
    def crowded(self) -> int:
        """Values that share their step with an earlier one."""
        return int((np.diff(self.steps) == 0).sum())


def detect(
    series: Sequence[ValueSeries], *, budget: float | None = None, evidence: float | None = None
) -> Iterator[Alert]:
    """Alerts of every series, one series after the other.

    budget: false alerts a week that are tolerated over all series together. evidence: -log10 p to
    ask for instead. ValueError for a budget that is not above 0. See `detect_by` for other kinds
    than the committee.
    """
    if budget is not None and budget <= 0:
        raise ValueError(f"a budget is above 0 alerts a week, not {budget:g}")
    yield from alerts_of(score(series), budget=budget, evidence=evidence)


def alerts_of(
    scored: Sequence[Scored], *, budget: float | None = None, evidence: float | None = None
) -> Iterator[Alert]:
    """As `detect`, of series that the committee has judged."""
    limits = None if budget is None else _Limits(scored, budget)
    for one in scored:
        asked = DEFAULT_EVIDENCE if evidence is None else evidence
        limit = np.full(len(one.steps), asked) if limits is None else limits.of(one)
        yield from _alerts(one, limit)


def config_of(kind: str, settings: Mapping[str, str] = MappingProxyType({})) -> GaugeConfig:
    """A kind of gauge detector, both sides of the expected where it has sides and nobody says.

    settings: name -> text of its value, in place of the defaults. UnknownKind for a kind that is
    not registered, BadSetting for one that judges calls, not values, for a setting that it has not
    or refuses, and for a limit or budget that nobody stated.
    """
    config = DETECTORS[kind].config
    if not issubclass(config, GaugeConfig):
        kinds = [name for name in DETECTORS if issubclass(DETECTORS[name].config, GaugeConfig)]
        raise BadSetting(f"{kind} judges calls, not values; use {', '.join(sorted(kinds))}")
    known = {each.name: each for each in fields(config) if each.name not in _OF_CALLS}
    words = get_type_hints(config)
    stated = next((name for name in ("limit", "budget") if name in known), "")
    if stated and stated not in settings:
        raise BadSetting(f"{kind} needs a {stated}: --with {stated}=NUMBER, in the file's unit")
    given: dict[str, Any] = {"side": "both"} if "side" in known and not stated else {}
    for name, text in settings.items():
        if name not in known:
            raise BadSetting(f"{kind} has no setting {name!r}; there are {', '.join(known)}")
        given[name] = _setting(name, known[name].default, get_args(words[name]), text)
    if kind == "static_threshold":  # a limit of a value, below 0 or above 1, not of a share
        given["measure"] = "mean"
    try:
        return config(**given)
    except (ValueError, TypeError) as error:
        raise BadSetting(f"{kind}: {error}") from None


def _setting(name: str, default: object, words: Sequence[object], text: str) -> object:
    """The text of a setting as what the setting is. words: what it may be, where there are some."""
    if words and text not in words:
        raise BadSetting(f"{name} is one of {', '.join(map(str, words))}, not {text!r}")
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise BadSetting(f"{name} is true or false, not {text!r}")
        return text.lower() == "true"
    if not isinstance(default, int | float):
        return text
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError:
        number = "a whole number" if isinstance(default, int) else "a number"
        raise BadSetting(f"{name} is {number}, not {text!r}") from None


def detect_by(series: Sequence[ValueSeries], config: GaugeConfig) -> Iterator[Alert]:
    """Alerts of every series by any kind of gauge detector, at the limit that `config` gives it.

    One value per step is what it judges, whatever `config` would measure of calls.
    """
    yield from alerts_by(score(series, config), config)


def alerts_by(scored: Sequence[Scored], config: GaugeConfig) -> Iterator[Alert]:
    """As `detect_by`, of series that were judged by `config`."""
    for one in scored:
        lasted = lasting(one.evidence[:, None], config.for_minutes)[:, 0]
        yield from _alerts(
            replace(one, evidence=lasted), np.full(len(one.steps), one.limit), config
        )


def score(series: Sequence[ValueSeries], config: GaugeConfig | None = None) -> list[Scored]:
    """Evidence for every series, in their order; by the committee without `config`."""
    return _judged(series, config or CommitteeConfig())


def needed(config: GaugeConfig, step_s: int) -> int | None:
    """From how many values on, without a gap and `step_s` seconds apart, something is said about a
    series; None when neither a month nor 400 of them are enough. Found by trying."""
    points = min(max(31 * DAY_S // step_s, _TRIED_LEAST), _TRIED)
    values = 100.0 + np.random.default_rng(0).standard_normal(points)
    (tried,) = _judged([ValueSeries("", step_s * np.arange(points), values)], config)
    judged = np.flatnonzero(np.isfinite(tried.evidence))
    return int(judged[0]) + 1 if len(judged) else None


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows [first, stop) of a series, between which nothing is forgotten."""

    series: ValueSeries
    first: int
    stop: int

    @property
    def seconds(self) -> Ints:
        return self.series.seconds[self.first : self.stop]


def _judged(series: Sequence[ValueSeries], config: GaugeConfig) -> list[Scored]:
    found: dict[str, list[Scored]] = {one.name: [] for one in series}
    for pieces in _together(series):
        grid = Grid(pieces[0].series.step_s)
        scorer = type(config).scorer([config] * len(pieces), grid)
        for scored in _run(pieces, grid, scorer):
            found[scored.series.name].append(scored)
    return [_joined(parts) for parts in found.values()]


def _joined(parts: Sequence[Scored]) -> Scored:
    steps, values, evidence, expected, by = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("steps", "values", "evidence", "expected", "by")
    )
    return replace(
        parts[0], steps=steps, values=values, evidence=evidence, expected=expected, by=by
    )


def _pieces(series: ValueSeries) -> Iterator[_Piece]:
    """What comes after a gap of four weeks begins anew: a week's history is gone by then, and one
    wrong time among a million is no reason to step through the decades."""
    gap = max(_FORGOTTEN_S, _FORGOTTEN_STEPS * series.step_s)
    breaks = np.flatnonzero(np.diff(series.seconds) > gap) + 1
    edges = [0, *breaks.tolist(), len(series.seconds)]
    for first, stop in pairwise(edges):
        yield _Piece(series, first, stop)


def _together(series: Sequence[ValueSeries]) -> Iterator[list[_Piece]]:
    """Pieces of one step, as long as each begins before those before it have ended, and as many as
    memory is there for."""
    pieces = [piece for one in series for piece in _pieces(one)]
    pieces.sort(key=lambda piece: (piece.series.step_s, int(piece.seconds[0])))
    members: list[_Piece] = []
    begin = end = 0
    for one in pieces:
        step_s = one.series.step_s
        first, last = int(one.seconds[0]), int(one.seconds[-1])
        if members:
            cells = (max(end, last) - begin) // step_s * (len(members) + 1)
            if step_s != members[0].series.step_s or first > end or cells > _CELLS:
                yield members
                members = []
        if not members:
            begin, end = first, last
        members.append(one)
        end = max(end, last)
    if members:
        yield members


def _run(members: list[_Piece], grid: Grid, scorer: Scorer) -> list[Scored]:
    """Judge pieces together, block by block, each block before it is learned."""
    places = [one.seconds // grid.step_s for one in members]
    begin = min(int(steps[0]) for steps in places)
    begin -= begin % grid.block
    length = max(int(steps[-1]) for steps in places) + 1 - begin
    values = np.full((grid.lead + length, len(members)), np.nan)
    for row, (one, steps) in enumerate(zip(members, places, strict=True)):
        _fill(values[grid.lead :, row], steps - begin, one.series.values[one.first : one.stop])
    evidence = np.full((length, len(members)), np.nan)
    expected = np.full((length, len(members)), np.nan)
    by = np.zeros((length, len(members)), np.int8)
    for start in range(0, length, grid.block):
        stop = min(start + grid.block, length)
        recent = values[start : stop + grid.lead]
        judged = scorer.judge(recent, begin + start)
        evidence[start:stop], expected[start:stop] = judged.evidence, judged.expected
        if isinstance(judged.detail, Judged):
            by[start:stop] = np.nan_to_num(judged.detail.each, nan=-1.0).argmax(axis=0)
        scorer.learn((begin + start) // grid.block, recent[grid.lead :], judged)
    return [
        Scored(
            one.series, grid, float(scorer.limit[row]), steps, values[grid.lead + at, row],
            evidence[at, row], expected[at, row], by[at, row],
        )
        for row, (one, steps) in enumerate(zip(members, places, strict=True))
        for at in [steps - begin]
    ]  # fmt: skip


def _fill(cells: Floats, at: Ints, values: Floats) -> None:
    """Put values into the cells of their steps, the mean of those that share one."""
    known = np.isfinite(values)
    first, last = at[0], at[-1] + 1
    sums, counts = (
        np.bincount(at[known] - first, weights, last - first) for weights in (values[known], None)
    )
    with np.errstate(invalid="ignore"):
        cells[first:last] = np.where(counts > 0, sums / counts, np.nan)


class _Limits:
    """The evidence to ask for, per day, from all series together."""

    def __init__(self, scored: Sequence[Scored], budget: float) -> None:
        self._budget = budget
        blocks = [_block_maxima(one) for one in scored]
        self._seconds = np.concatenate([seconds for seconds, _ in blocks])
        self._maxima = np.concatenate([maxima for _, maxima in blocks])
        order = np.argsort(self._seconds, kind="stable")
        self._seconds, self._maxima = self._seconds[order], self._maxima[order]
        steps = [WEEK_S / one.grid.step_s for one in scored]
        self._per_week = sum(s / one.grid.block for s, one in zip(steps, scored, strict=True))
        self._steps_per_week = sum(steps)
        self._days: dict[int, float] = {}

    def of(self, one: Scored) -> Floats:
        days = one.steps * one.grid.step_s // DAY_S
        each, place = np.unique(days, return_inverse=True)
        return np.array([self._on(int(day)) for day in each])[place]

    def _on(self, day: int) -> float:
        if day not in self._days:
            seen = int(np.searchsorted(self._seconds, day * DAY_S))
            self._days[day] = threshold(
                self._maxima[:seen], self._budget, self._per_week, self._steps_per_week
            )
        return self._days[day]


def _block_maxima(one: Scored) -> tuple[Ints, Floats]:
    """The end of every block that could be judged, in seconds, and its highest evidence."""
    known = np.isfinite(one.evidence)
    blocks = one.steps[known] // one.grid.block
    if not len(blocks):
        return np.zeros(0, np.int64), np.zeros(0)
    each, begin = np.unique(blocks, return_index=True)
    maxima = np.maximum.reduceat(one.evidence[known], begin)
    return (each + 1) * one.grid.block * one.grid.step_s, maxima


def _alerts(one: Scored, limit: Floats, config: GaugeConfig | None = None) -> Iterator[Alert]:
    # Quiet is counted in steps of the grid, which may have gaps.
    quiet = quiet_steps(one.grid.step_s)
    breaks = np.flatnonzero(np.diff(one.steps) > quiet) + 1
    for first, stop in pairwise([0, *breaks.tolist(), len(one.steps)]):
        yield from _alerts_within(one, limit, quiet, slice(first, stop), config)


def _alerts_within(
    one: Scored, limit: Floats, quiet: int, rows: slice, config: GaugeConfig | None
) -> Iterator[Alert]:
    at = one.steps[rows] - one.steps[rows.start]
    evidence = np.full(int(at[-1]) + 1, np.nan)
    limits = np.full(len(evidence), math.inf)
    evidence[at], limits[at] = one.evidence[rows], limit[rows]
    row_of = np.zeros(len(evidence), np.intp)
    row_of[at] = np.arange(rows.start, rows.stop)
    for episode in episodes(evidence, limits, quiet):
        start, stop, peak = (int(row_of[i]) for i in (episode.start, episode.stop, episode.peak))
        strongest = float(one.evidence[peak])
        yield Alert(
            series=one.series.name,
            start=_iso(one.series.seconds[start]),
            start_epoch=int(one.series.seconds[start]),
            end=_iso(one.series.seconds[stop]),
            score=round(strongest, 2),
            p=_p(strongest) if config is None or config.is_p else None,
            reason=_reason(one, start, config),
        )


def _p(evidence: float) -> float:
    return float(f"{10.0 ** -min(evidence, 300.0):.3g}")


def _reason(one: Scored, row: int, config: GaugeConfig | None) -> str:
    value, expected = float(one.values[row]), float(one.expected[row])
    side = "above" if value > expected else "below"
    against = f", {side} the expected {expected:.4g}" if math.isfinite(expected) else ""
    if config is not None:
        return f"{value:.4g}{against}: {config.tell(float(one.evidence[row]))}"
    return f"{value:.4g}{against}; furthest from {_BASELINES[int(one.by[row])]}"


def _iso(seconds: np.int64) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
