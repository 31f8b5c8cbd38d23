"""Counts of series by their ids, for those who look back further than the window of detectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tocsin.assess.ring import MINUTES_PER_HOUR, Counts, PeriodCounts, Rows
from tocsin.domain.series import MinuteBlock, SeriesId


class SeriesCounts:
    """(bad, total) of some series; calls, scores and labels that come late restate their hours.

    reach: the longest time in minutes that is asked for to the minute. hours: how many are held.
    Weights and squares are held in thousandths and millionths, which outgrow 32 bits.
    """

    def __init__(self, series: Iterable[SeriesId], reach: int, hours: int) -> None:
        self._row = {one: row for row, one in enumerate(dict.fromkeys(series))}
        self._held = (
            PeriodCounts(len(self._row), reach, hours, dtype=np.uint64)
            if self._row
            else PeriodCounts(0, MINUTES_PER_HOUR, 1)
        )

    @property
    def start(self) -> int:
        """The first minute that is held to the minute."""
        return self._held.ring.start

    def begin(self, minute: int) -> None:
        """Forget everything; the next minute to arrive is `minute`."""
        self._held.begin(minute)

    def put(self, start: int, block: MinuteBlock | None, here: slice) -> None:
        """Take in the minutes `here` of a block, or silence, from epoch minute `start` on."""
        counts = np.zeros((here.stop - here.start, 2, len(self._row)), np.int64)
        if block is not None:
            rows, given = self._rows_of(block.series)
            both = np.stack([block.bad[given, here], block.total[given, here]])
            counts[:, :, rows] = both.transpose(2, 0, 1)
        self._held.put(start, counts)

    def restate(self, block: MinuteBlock) -> bool:
        """As `Window.restate`."""
        rows, given = self._rows_of(block.series)
        if not len(rows):
            return False
        counts = np.stack([block.bad[given], block.total[given]]).transpose(2, 0, 1)
        return self._held.restate(block.start // MINUTES_PER_HOUR, rows, counts)

    def sums(self, series: Sequence[SeriesId], end: int, width: int) -> Counts:
        """Counts [2, series] of minutes [end - width, end). KeyError for a series not held."""
        return self._held.sums(end, width, np.array([self._row[one] for one in series], np.intp))

    def _rows_of(self, series: Sequence[SeriesId]) -> tuple[Rows, Rows]:
        held = [(self._row[s], at) for at, s in enumerate(series) if s in self._row]
        rows, given = np.array(held, np.intp).reshape(-1, 2).T
        return rows, given
