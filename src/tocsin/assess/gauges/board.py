"""The gauges of all monitors, minute by minute: values of the last hours, scorers that learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats
from tocsin.assess.gauges.kind import MAX_FOR, MAX_OVER, QUANTILES, GaugeConfig, Measure, Scored
from tocsin.assess.histograms import Histograms
from tocsin.assess.monitor import Monitor
from tocsin.assess.ring import LATE_MINUTES, MINUTES_PER_HOUR, Counts, MinuteRing
from tocsin.domain.series import SeriesId

MINUTE = Grid(60)
LEARN_AFTER = LATE_MINUTES  # minutes after an hour's end before it is learned
_CONTEXT = 2  # a run of three ends at the judged minute
_AT_ONCE = 64  # histograms that are laid out at a time
_HELD = MINUTE.lead + MINUTES_PER_HOUR + LEARN_AFTER + MAX_FOR + MAX_OVER


@dataclass(frozen=True, slots=True)
class Looked:
    """Values [minute, row] of one kind's monitors, what its scorer says of them, and the limits."""

    values: Floats
    scored: Scored
    limit: Floats


class Board:
    """Every gauge that monitors ask for: one column of values each, and one scorer per kind.

    A function of the minutes given to it, like the window that it belongs to. An hour is learned
    fifteen minutes after its end, when late calls no longer change it. Memory per gauge: three
    kilobytes of values beside what its scorer keeps. born: the minute before which a gauge, by its
    row, did not exist. series: whose counts are wanted; histograms: whose latencies, of those that
    have a series of their own. services: where those of whole services are found.
    """

    def __init__(self, monitors: Sequence[Monitor], services: Mapping[str, int]) -> None:
        gauges = [(m, m.method) for m in monitors if isinstance(m.method, GaugeConfig)]
        self._configs = [config for _, config in gauges]
        self.series: dict[SeriesId, int] = {}
        self.histograms: dict[SeriesId, int] = {}
        sources = [self._source(monitor, config, services) for monitor, config in gauges]
        alike: dict[tuple[Measure, int], list[int]] = {}
        for row, config in enumerate(self._configs):
            alike.setdefault((config.measure, config.over), []).append(row)
        self._groups = [
            _Group(
                measure,
                over,
                np.array(rows, np.intp),
                np.array([sources[row] for row in rows], np.intp),
                np.array([self._configs[row].min_calls for row in rows]),
                np.array([_unit(gauges[row][0]) for row in rows]),
                np.array([_scale(gauges[row][0]) for row in rows]),
            )
            for (measure, over), rows in alike.items()
        ]
        self._rows = {
            kind: np.array([i for i, c in enumerate(self._configs) if c.kind == kind], np.intp)
            for kind in dict.fromkeys(config.kind for config in self._configs)
        }
        # Values are summed up in millionths, which 32 bits of a busy minute do not hold.
        has_values = any(m.ratio is not None and m.ratio.has_values for m, _ in gauges)
        fine = np.uint64 if has_values else np.uint32
        self._counts = MinuteRing(len(self.series), MAX_OVER + 1, fine)
        self._values = np.full((_HELD, len(gauges)), np.nan)
        self._end = self._start = 0
        # What a gauge had before is not known; for most that is nothing.
        self.born = np.zeros(len(gauges), np.int64)
        self._learned = 0
        self._reset()

    def begin(self, minute: int) -> None:
        """Forget everything; the next minute to arrive is `minute`."""
        self._start = self._end = minute
        self._learned = -(-minute // MINUTES_PER_HOUR)
        self._values[:] = np.nan
        self._counts.begin(minute)
        self._reset()

    def put(self, start: int, counts: Counts, latency: Histograms, *, present: bool) -> None:
        """Write minutes from `start` on, all in one hour: counts [minute, 2, series] in the order
        of `series`.

        latency: of these minutes and of those around them.
        """
        if not self._configs:
            return
        stop = start + len(counts)
        self._counts.put(start, counts, present=present)
        longest = max(config.over for config in self._configs)
        end = max(stop, min(self._end, stop + longest - 1))
        slots = np.arange(start, end) % _HELD
        if present:
            self._values[slots] = self._measured(start, end, latency)
        else:
            self._values[slots] = np.nan
        self._end = max(self._end, stop)
        while (self._learned + 1) * MINUTES_PER_HOUR + LEARN_AFTER <= self._end:
            self._learn(self._learned)
            self._learned += 1

    def look(self, kind: str, minute: int, minutes: int) -> Looked:
        """The monitors of a kind at the last `minutes` up to and including `minute`."""
        rows = self._rows[kind]
        count = minutes + _CONTEXT
        recent = self._recent(minute + 1 - count, minute + 1, rows)
        scored = self._scorers[kind].judge(recent, minute + 1 - count)
        return Looked(recent[MINUTE.lead :], scored, self._scorers[kind].limit)

    def columns(self, kind: str, rows: Sequence[int]) -> npt.NDArray[np.intp]:
        """Where gauges of a kind, by their rows, stand in what `look` tells of that kind."""
        return np.searchsorted(self._rows[kind], np.asarray(rows, np.intp))

    def _reset(self) -> None:
        self._scorers = {
            kind: type(self._configs[rows[0]]).scorer([self._configs[i] for i in rows], MINUTE)
            for kind, rows in self._rows.items()
        }

    def _learn(self, hour: int) -> None:
        begin = hour * MINUTES_PER_HOUR
        for kind, rows in self._rows.items():
            recent = self._recent(begin, begin + MINUTES_PER_HOUR, rows)
            scorer = self._scorers[kind]
            scorer.learn(hour, recent[MINUTE.lead :], scorer.judge(recent, begin))

    def _recent(self, start: int, stop: int, rows: npt.NDArray[np.intp]) -> Floats:
        """Values [lead + minute, row]; NaN before the first minute and after the last."""
        minutes = np.arange(start - MINUTE.lead, stop)
        values = self._values[np.ix_(minutes % _HELD, rows)]
        values[(minutes < self._start) | (minutes >= self._end)] = np.nan
        values[minutes[:, None] < self.born[rows]] = np.nan
        return values

    def _measured(self, start: int, end: int, latency: Histograms) -> Floats:
        """Values [minute, row] of minutes [start, end)."""
        values = np.full((end - start, len(self._configs)), np.nan)
        for group in self._groups:
            if group.measure in QUANTILES:
                value, calls = _quantiles(start, end, group, latency)
            else:
                bad, total = self._totals(start, end, group).transpose(1, 0, 2)
                calls = total / group.units
                value = group.scales * bad / np.maximum(total, 1)
            if group.measure == "volume":
                values[:, group.rows] = calls
            elif group.measure == "sum":
                values[:, group.rows] = value * calls
            else:
                values[:, group.rows] = np.where(calls >= group.min_calls, value, np.nan)
        return values

    def _totals(self, start: int, end: int, group: _Group) -> Counts:
        """Counts [minute, 2, series] of the group's `over` minutes up to each minute."""
        first = max(start - group.over + 1, self._start)
        running = self._counts.cumulative(first, end)
        until = np.arange(start, end) + 1 - first
        since = np.maximum(until - group.over, 0)
        return np.asarray((running[until] - running[since])[:, :, group.sources], np.int64)

    def _source(self, monitor: Monitor, config: GaugeConfig, services: Mapping[str, int]) -> int:
        if config.measure in QUANTILES:
            if monitor.series is None:
                return services[monitor.service]
            return self.histograms.setdefault(monitor.series, len(self.histograms))
        if monitor.series is None:
            raise ValueError(f"{monitor.name} measures {config.measure} and needs a series")
        return self.series.setdefault(monitor.series, len(self.series))


@dataclass(frozen=True, slots=True)
class _Group:
    """Gauges that are measured alike: their rows, where in the input each comes from, what one
    call counts as there, and the value that is charged one share."""

    measure: Measure
    over: int
    rows: npt.NDArray[np.intp]
    sources: npt.NDArray[np.intp]
    min_calls: npt.NDArray[np.int64]
    units: npt.NDArray[np.int64]
    scales: Floats


def _unit(monitor: Monitor) -> int:
    return 1 if monitor.ratio is None else monitor.ratio.unit


def _scale(monitor: Monitor) -> float:
    charge = monitor.ratio.charge if monitor.ratio is not None else None
    return 1.0 if charge is None else charge.limit


def _quantiles(
    start: int, end: int, group: _Group, latency: Histograms
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """(percentile in ms, calls) [minute, row of the group] of minutes [start, end)."""
    value = np.full((end - start, len(group.rows)), np.nan)
    calls = np.zeros(value.shape, np.int64)
    known = np.flatnonzero(latency.known(start - group.over + 1, end, group.sources))
    for first in range(0, len(known), _AT_ONCE):
        mine = known[first : first + _AT_ONCE]
        summed = _summed(start, end, group.over, group.sources[mine], latency)
        value[:, mine] = latency.scale.quantile(summed, QUANTILES[group.measure]).T / 1000.0
        calls[:, mine] = summed.sum(axis=-1).T
    return value, calls


def _summed(
    start: int, end: int, over: int, sources: npt.NDArray[np.intp], latency: Histograms
) -> Counts:
    """Histograms [source, minute, bucket] of the `over` minutes up to each minute."""
    each = latency.minutes(start - over + 1, end, sources)
    if over == 1:
        return each
    running = np.concatenate([np.zeros_like(each[:, :1]), each.cumsum(axis=1)], axis=1)
    return np.asarray(running[:, over:] - running[:, :-over], np.int64)
