"""Latency histograms: of services, the last minutes and a week of days as sums; of segments, the
last minutes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tocsin.assess.ring import LATE_MINUTES, MINUTES_PER_HOUR
from tocsin.domain.buckets import Scale

Counts = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HOURS_PER_DAY = 24
BASELINE_DAYS = 7
_RECENT = 15  # widest window of `recent`
_HELD = LATE_MINUTES + 1 + _RECENT
_OPEN_HOURS = 4  # hours that may still be written or wait to be learned


class Histograms(Protocol):
    """Histograms of some rows, minute by minute."""

    @property
    def scale(self) -> Scale:
        """The buckets."""
        ...

    def minutes(self, start: int, stop: int, rows: npt.NDArray[np.intp]) -> Counts:
        """Histograms [len(rows), minute, bucket] of epoch minutes [start, stop)."""
        ...

    def known(self, start: int, stop: int, rows: npt.NDArray[np.intp]) -> Bools:
        """[len(rows)]: False where nothing but zeros is held of [start, stop)."""
        ...


class HistogramHistory:
    """Histograms [service, bucket] on one scale.

    A minute is first held by itself, so that late data can replace it, and counted into its hour.
    An hour is learned into its day once nothing can change it any more, unless the caller says
    that it was not normal. `usual` is the sum of the last seven whole days and the running one.
    """

    def __init__(self, services: int, scale: Scale) -> None:
        self.scale = scale
        shape = (services, scale.count)
        self._minutes = np.zeros((_HELD, *shape), np.int32)
        self._hours = np.zeros((_OPEN_HOURS, *shape), np.int64)
        self._days = np.zeros((BASELINE_DAYS + 1, *shape), np.int32)
        self._day = 0
        self.usual: Counts = np.zeros(shape, np.int64)

    def begin(self, minute: int) -> None:
        """Forget everything; the first minute to arrive is `minute`."""
        for held in (self._minutes, self._hours, self._days, self.usual):
            held[:] = 0
        self._day = minute // (MINUTES_PER_HOUR * HOURS_PER_DAY)

    def put(self, start: int, counts: Counts, end: int) -> None:
        """Write minutes [start, start + counts.shape[1]) of `counts[service, minute, bucket]`.

        All in one hour. `end`: first minute not held so far; minutes before it are replaced.
        """
        width = counts.shape[1]
        hour = self._hours[start // MINUTES_PER_HOUR % _OPEN_HOURS]
        hour += counts.sum(axis=1)
        replaced = np.arange(start, min(end, start + width)) % _HELD
        if replaced.size:
            hour -= self._minutes[replaced].sum(axis=0)
        kept = max(width - _HELD, 0)
        slots = np.arange(start + kept, start + width) % _HELD
        self._minutes[slots] = counts[:, kept:].transpose(1, 0, 2)

    def learn(self, hour: int, normal: Bools, forget: Bools) -> None:
        """Count `hour` into its day for services where `normal`, after emptying those to `forget`.

        Hours are learned in order, each once.
        """
        self._turn_to(hour // HOURS_PER_DAY)
        if forget.any():
            self._days[:, forget] = 0
            self.usual[forget] = 0
        sums = self._hours[hour % _OPEN_HOURS]
        learned = sums * normal[:, None]
        self._days[self._day % len(self._days)] += learned.astype(np.int32)
        self.usual += learned
        sums[:] = 0

    def _turn_to(self, day: int) -> None:
        while self._day < day:
            self._day += 1
            oldest = self._days[self._day % len(self._days)]
            self.usual -= oldest
            oldest[:] = 0

    def minutes(self, start: int, stop: int, services: npt.NDArray[np.intp]) -> Counts:
        """Histograms [len(services), minute, bucket] of single minutes, of the last 31 or so."""
        slots = np.arange(start, stop) % _HELD
        each: Counts = self._minutes[np.ix_(slots, services)].transpose(1, 0, 2).astype(np.int64)
        return each

    def recent(self, end: int, width: int, services: npt.NDArray[np.intp]) -> Counts:
        """Histograms [len(services), bucket] of minutes [end - width, end), width up to 15."""
        slots = np.arange(end - width, end) % _HELD
        recent: Counts = self._minutes[np.ix_(slots, services)].sum(axis=0, dtype=np.int64)
        return recent


@dataclass(frozen=True, slots=True)
class Arriving:
    """Minutes [service, minute, bucket] from `start` on over those that are held: what they are
    before `held` has taken them in."""

    held: HistogramHistory
    start: int
    new: Counts

    @property
    def scale(self) -> Scale:
        """As `Histograms.scale`."""
        return self.held.scale

    def minutes(self, start: int, stop: int, rows: npt.NDArray[np.intp]) -> Counts:
        """As `Histograms.minutes`; the new ones are all among those asked for."""
        before = self.held.minutes(start, self.start, rows)
        after = self.held.minutes(self.start + self.new.shape[1], stop, rows)
        return np.concatenate([before, self.new[rows], after], axis=1)

    def known(self, start: int, stop: int, rows: npt.NDArray[np.intp]) -> Bools:
        """As `Histograms.known`."""
        return np.ones(len(rows), np.bool_)


class SparseHistograms:
    """Histograms of many rows of which few have calls, for a value that is rare or a place that is
    free costs nothing: the cells [4, cell] that are not zero, each its minute, row, bucket, calls,
    in order of minutes.

    Memory: 32 bytes a cell of the last three quarters of an hour, with no more cells than calls.
    """

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._cells = np.zeros((4, 0), np.int64)
        self._end = 0

    def put(self, start: int, stop: int, cells: Counts) -> None:
        """Write the minutes [start, stop), which `cells` lie in; what was held of them is replaced,
        and what is older than anything that may still be asked for is forgotten."""
        before, after = self._within(start - _HELD, start), self._within(stop, self._end)
        self._cells = np.concatenate([before, cells, after], axis=1)
        self._end = max(self._end, stop)

    def minutes(self, start: int, stop: int, rows: npt.NDArray[np.intp]) -> Counts:
        """As `Histograms.minutes`."""
        wanted, place = np.unique(rows, return_inverse=True)
        minute, row, bucket, calls = self._within(start, stop)
        is_wanted = np.isin(row, wanted)
        at = np.searchsorted(wanted, row[is_wanted])
        dense = np.zeros((len(wanted), stop - start, self.scale.count), np.int64)
        dense[at, minute[is_wanted] - start, bucket[is_wanted]] = calls[is_wanted]
        return np.asarray(dense[place], np.int64)

    def known(self, start: int, stop: int, rows: npt.NDArray[np.intp]) -> Bools:
        """As `Histograms.known`."""
        return np.isin(rows, self._within(start, stop)[1])

    def _within(self, start: int, stop: int) -> Counts:
        first, last = np.searchsorted(self._cells[0], (start, stop))
        return self._cells[:, first:last]
