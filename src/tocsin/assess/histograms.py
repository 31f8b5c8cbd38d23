"""Latency histograms per service: the last minutes as they are, a week of days as sums."""

from __future__ import annotations

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
