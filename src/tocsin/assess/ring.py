"""Counts of the last minutes, kept so that the sum over any window is one subtraction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]
Boundaries = Callable[[int, int], Iterable[int]]

LATE_MINUTES = 15  # how far back a block may still correct minutes that are already held
MINUTES_PER_HOUR = 60


class MinuteRing:
    """Running totals [minute, (bad, total), row] of the last `reach` minutes.

    Totals are kept modulo 2^32: their differences are exact as long as one window holds fewer than
    4.29 billion calls (600,000 a minute for almost five days), at half the memory of 64 bits. What
    counts in smaller units, or below 0, asks for 64.
    """

    def __init__(
        self, rows: int, reach: int, dtype: type[np.uint32] | type[np.uint64] = np.uint32
    ) -> None:
        self.rows = rows
        self._dtype = dtype
        self.capacity = reach + LATE_MINUTES + MINUTES_PER_HOUR + 2
        self.start = 0
        self.end = 0
        self._sums: npt.NDArray[Any] = np.zeros((self.capacity, 2, rows), dtype)
        self._present = np.zeros(self.capacity, np.bool_)

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows; new ones have counted nothing so far."""
        if rows > self.rows:
            more = ((0, 0), (0, 0), (0, rows - self.rows))
            self._sums = np.pad(self._sums, more)
            self.rows = rows

    def begin(self, minute: int) -> None:
        """Forget everything; the next minute to arrive is `minute`."""
        self.start = self.end = minute
        self._sums[:] = 0
        self._present[:] = False

    def put(self, start: int, counts: Counts, *, present: bool = True) -> None:
        """Write minutes [start, start + len(counts)) of `counts[minute, 2, row]`.

        `start` lies at `end` or up to LATE_MINUTES before it; minutes already held are replaced.
        At most an hour at once.
        """
        stop = start + len(counts)
        slots = np.arange(start, stop) % self.capacity
        fresh = counts.astype(self._dtype).cumsum(axis=0, dtype=self._dtype)
        fresh += self._sums[(start - 1) % self.capacity]
        if stop < self.end:
            later = np.arange(stop, self.end) % self.capacity
            self._sums[later] += fresh[-1] - self._sums[slots[-1]]
        self._sums[slots] = fresh
        self._present[slots] = present
        self.end = max(self.end, stop)

    def sums(self, end: int, width: int, rows: Rows | None = None) -> Counts:
        """Counts [(bad, total), row] of minutes [end - width, end), of all rows or of some.

        Minutes before the first one held count nothing. ValueError when the window reaches past
        what the ring holds.
        """
        first = max(end - width, self.start)
        if end > self.end or (first <= self.end - self.capacity):
            raise ValueError(
                f"minutes [{first}, {end}) are not held: the ring has "
                f"({self.end - self.capacity}, {self.end})"
            )
        if end <= first:
            return np.zeros((2, self.rows if rows is None else len(rows)), np.int64)
        some = slice(None) if rows is None else rows
        last = self._sums[(end - 1) % self.capacity, :, some]
        # With row numbers numpy puts their axis first.
        difference = last - self._sums[(first - 1) % self.capacity, :, some]
        counts: Counts = (difference if rows is None else difference.T).astype(np.int64)
        return counts

    def cumulative(self, start: int, stop: int) -> Counts:
        """Running totals after each minute of [start - 1, stop), counted from minute `start`.

        Shape [stop - start + 1, 2, row]; entry i minus entry j is the sum of the minutes between.
        """
        slots = np.arange(start - 1, stop) % self.capacity
        held = self._sums[slots]
        totals: Counts = (held - held[0]).astype(np.int64)
        return totals

    def minutes(self, start: int, stop: int) -> Counts:
        """Counts [minute, (bad, total), row] of [start, stop), zeros before the first one held."""
        first = max(start, self.start)
        held = np.diff(self.cumulative(first, stop), axis=0)
        return np.concatenate([np.zeros((first - start, *held.shape[1:]), np.int64), held])

    def minutes_of(self, row: int, start: int, stop: int) -> Counts:
        """Counts [minute, (bad, total)] of one row in [start, stop), which is held."""
        held = self._sums[np.arange(start - 1, stop) % self.capacity, :, row]
        # Running totals are modulo a power of two: differences first, then signs.
        counts: Counts = np.diff(held, axis=0).astype(np.int64)
        return counts

    def is_silent(self, end: int, width: int) -> bool:
        """Whether no telemetry at all was read for minutes [end - width, end)."""
        first = max(end - width, self.start)
        if end <= first:
            return True
        return not self._present[np.arange(first, end) % self.capacity].any()


class PeriodCounts:
    """Sums over windows of minutes, exact to the minute, and over periods of months, to the hour.

    reach: minutes for which any window is exact. hours: how far back longer periods go. boundaries:
    the minutes of [start, stop) from which on sums are exact however long ago they were, because a
    budget begins anew there.
    """

    def __init__(
        self,
        rows: int,
        reach: int,
        hours: int,
        boundaries: Boundaries = lambda _start, _stop: (),
        dtype: type[np.uint32] | type[np.uint64] = np.uint32,
    ) -> None:
        self.reach = reach
        self.ring = MinuteRing(rows, reach, dtype)
        self._boundaries = boundaries
        self._at_boundary: dict[int, Counts] = {}
        self._totals = np.zeros((2, rows), np.int64)
        self._at_hour = np.zeros((hours + 3, 2, rows), np.int64)
        self._first_hour = 0

    @property
    def totals(self) -> Counts:
        """Counts [(bad, total), row] of every minute since the first, corrections included."""
        return self._totals

    def begin(self, minute: int) -> None:
        """Forget everything; the next minute to arrive is `minute`."""
        self.ring.begin(minute)
        self._totals = np.zeros_like(self._totals)
        self._at_hour[:] = 0
        self._at_boundary.clear()
        self._first_hour = -(-minute // MINUTES_PER_HOUR)

    def put(self, start: int, counts: Counts, *, present: bool = True) -> None:
        """As `MinuteRing.put`; hours that the write corrects are recorded anew."""
        ring = self.ring
        replaced = ring.sums(ring.end, ring.end - start)
        ring.put(start, counts, present=present)
        self._totals = self._totals + ring.sums(ring.end, ring.end - start) - replaced
        for hour in range(start // MINUTES_PER_HOUR + 1, ring.end // MINUTES_PER_HOUR + 1):
            since = ring.sums(ring.end, ring.end - hour * MINUTES_PER_HOUR)
            self._at_hour[hour % len(self._at_hour)] = self._totals - since
        for minute in self._boundaries(start + 1, ring.end + 1):
            since = ring.sums(ring.end, ring.end - minute)
            self._at_boundary[minute] = self._totals - since

    def restate(self, hour: int, rows: Rows, counts: Counts) -> bool:
        """Replace what is held of some rows in an epoch hour by `counts[minute, 2, row]`.

        However long ago: windows of months add the difference. Minutes after the last one held are
        left out. False when so little is held of that hour that there is nothing to replace.
        """
        ring, start = self.ring, hour * MINUTES_PER_HOUR
        first, stop = max(start, ring.start), min(start + len(counts), ring.end)
        if first > ring.end - ring.capacity + 1:
            if first >= stop:
                return False
            held = np.diff(ring.cumulative(first, stop), axis=0)
            held[:, :, rows] = counts[first - start : stop - start]
            self.put(first, held)
            return True
        last = ring.end // MINUTES_PER_HOUR
        size = len(self._at_hour)
        if hour < self._first_hour or hour <= last - size or stop - start < MINUTES_PER_HOUR:
            return False
        held = self._at_hour[(hour + 1) % size] - self._at_hour[hour % size]
        change = np.zeros_like(self._totals)
        change[:, rows] = counts.sum(axis=0) - held[:, rows]
        self._totals = self._totals + change
        for later in range(hour + 1, last + 1):
            self._at_hour[later % size] += change
        for minute, totals in self._at_boundary.items():
            if minute >= stop:
                totals += change
            elif minute > start:
                before = self._at_hour[hour % size][:, rows]
                totals[:, rows] = before + counts[: minute - start].sum(axis=0)
        return True

    def sums(self, end: int, width: int, rows: Rows | None = None) -> Counts:
        """Counts [(bad, total), row] of minutes [end - width, end), of all rows or of some.

        A width beyond `reach` starts at `first_counted`.
        """
        if width <= self.reach:
            return self.ring.sums(end, width, rows)
        some = slice(None) if rows is None else rows
        since = self.ring.sums(self.ring.end, self.ring.end - end, rows)
        until_end: Counts = self._totals[:, some] - since
        first = end - width
        hour = -(-first // MINUTES_PER_HOUR)
        if first <= self.ring.start:
            return until_end
        known = self._at_boundary.get(first)
        if known is None:
            known = self._at_hour[hour % len(self._at_hour)]
        counts: Counts = until_end - known[:, some]
        return counts

    def first_counted(self, end: int, width: int) -> int:
        """The first minute of [end - width, end) that `sums` counts: of a width beyond `reach` the
        first whole hour inside of it, unless it starts at one of the boundaries."""
        first = end - width
        if width <= self.reach or first in self._at_boundary:
            return first
        return -(-first // MINUTES_PER_HOUR) * MINUTES_PER_HOUR

    def hourly(self, end: int, width: int, row: int) -> Counts:
        """Counts [hour, (bad, total)] of one row in every whole hour of [end - width, end)."""
        size = len(self._at_hour)
        last = min(end, self.ring.end) // MINUTES_PER_HOUR
        first = max(-(-(end - width) // MINUTES_PER_HOUR), self._first_hour, last - size + 2)
        if first >= last:
            return np.zeros((0, 2), np.int64)
        held: Counts = self._at_hour[np.arange(first, last + 1) % size, :, row].copy()
        if first == self._first_hour and self.ring.start == first * MINUTES_PER_HOUR:
            held[0] = 0  # what lies before the beginning is nothing, and was never written down
        return np.diff(held, axis=0)

    def finely(self, end: int, width: int, row: int) -> Counts:
        """Counts [time, (bad, total)] of one row in [end - width, end), of each minute or, beyond
        `reach`, of each hour, what lies before the first and after the last whole one included:
        they add up to `sums`."""
        if width > self.reach:
            hours = self.hourly(end, width, row)
            these = np.array([row], np.intp)
            tail = self.ring.sums(end, end % MINUTES_PER_HOUR, these)[:, 0]
            head = self.sums(end, width, these)[:, 0] - tail - hours.sum(axis=0)
            return np.concatenate([head[None], hours, tail[None]])
        first = max(end - width, self.ring.start)
        return self.ring.minutes_of(row, first, end)

    def covered(self, end: int, width: int) -> int:
        """How many of the minutes [end - width, end) lie after the first one ever held."""
        return max(min(width, end - self.ring.start), 0)
