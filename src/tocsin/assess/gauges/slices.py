"""Gauges by segment: every value of a dimension is a gauge of its own, judged against its own past.

Which values there are is known only when their calls come. So each dimension of a monitor has a
number of places on a board like that of all other gauges (`board.Board`), and a value takes one
when it is first seen, the busiest first; from then on, and not before, its minutes are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from tocsin.assess.gauges.board import Board
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.histograms import HistogramHistory
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.ring import LATE_MINUTES, MINUTES_PER_HOUR, Counts
from tocsin.domain.buckets import LATENCY
from tocsin.domain.series import EACH, MinuteBlock, Ratio, SeriesId

MOST_VALUES = 30  # of a dimension of one monitor
_PLACE = "\x00place"


@dataclass(frozen=True, slots=True)
class SlicesConfig(DetectorConfig):
    """How the segments of a gauge are judged: by what dimensions, and by which detector."""

    kind: ClassVar[str] = "slices"
    needs: ClassVar[Literal["counts", "pace", "gauge", "samples", "budget"]] = "gauge"

    by: tuple[str, ...] = ()
    inner: GaugeConfig = field(default_factory=GaugeConfig)

    def beside(self, series: SeriesId, ratio: Ratio) -> Mapping[SeriesId, Ratio]:
        """The same of every value."""
        return {replace(series, segment=(name, EACH)): ratio for name in self.by}


class Slices:
    """The gauges of all segments: a board of places, and which value has which place.

    left_out: dimension of a monitor -> values that found no place.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        # A place that two monitors share has the same values in it, for they come from one series.
        self._families: dict[SeriesId, dict[str, int]] = {}
        placed: list[Monitor] = []
        self.rows: dict[str, tuple[int, ...]] = {}
        for monitor in monitors:
            assert isinstance(monitor.method, SlicesConfig) and monitor.series is not None  # noqa: S101, PT018
            mine: list[int] = []
            for name in monitor.method.by:
                self._families.setdefault(replace(monitor.series, segment=(name, EACH)), {})
                for place in range(MOST_VALUES):
                    mine.append(len(placed))
                    series = replace(monitor.series, segment=(name, f"{_PLACE}{place}"))
                    placed.append(replace(monitor, series=series, method=monitor.method.inner))
            self.rows[monitor.name] = tuple(mine)
        self.monitors = tuple(placed)
        self.gauges = Board(placed, {})
        self.left_out: dict[SeriesId, set[str]] = {}
        self._nothing = HistogramHistory(0, LATENCY)
        self._end = 0

    def advance(self, block: MinuteBlock) -> None:
        """Take in the minutes of `block`; those that are held already are replaced."""
        if not self.monitors or not block.width:
            return
        if not self._end:
            self.gauges.begin(block.start)
            self.gauges.born[:] = np.iinfo(np.int64).max
            self._end = block.start
        counts = self._counts(block)
        first = max(block.start, self._end - LATE_MINUTES)
        stop = block.start + block.width
        self._put(self._end, block.start, None)
        self._put(first, stop, counts[first - block.start :])
        self._end = max(self._end, stop)

    def value(self, row: int) -> str:
        """Which value of its dimension the gauge of a row is; "" for a place that is free."""
        series = self.monitors[row].series
        assert series is not None  # noqa: S101 (all have one)
        place = int(series.segment[1].removeprefix(_PLACE))
        held = self._families[replace(series, segment=(series.segment[0], EACH))]
        return next((value for value, at in held.items() if at == place), "")

    def _counts(self, block: MinuteBlock) -> Counts:
        """Counts [minute, (bad, total), series of the board]; values that are new get places."""
        counts = np.zeros((block.width, 2, len(self.gauges.series)), np.int64)
        busiest = np.argsort(-block.total.sum(axis=1), kind="stable")
        for at in busiest.tolist():
            sid = block.series[at]
            family = replace(sid, segment=(sid.segment[0], EACH))
            held = self._families.get(family)
            if held is None or sid.segment[1] in ("", EACH):
                continue
            place = held.get(sid.segment[1])
            if place is None and len(held) < MOST_VALUES:
                known = np.flatnonzero(block.total[at])
                if not known.size:
                    continue
                place = held[sid.segment[1]] = len(held)
                self._bear(family, place, block.start + int(known[0]))
            if place is None:
                self.left_out.setdefault(family, set()).add(sid.segment[1])
                continue
            row = self.gauges.series[replace(family, segment=(sid.segment[0], f"{_PLACE}{place}"))]
            counts[:, 0, row], counts[:, 1, row] = block.bad[at], block.total[at]
        return counts

    def _bear(self, family: SeriesId, place: int, minute: int) -> None:
        series = replace(family, segment=(family.segment[0], f"{_PLACE}{place}"))
        mine = [row for row, monitor in enumerate(self.monitors) if monitor.series == series]
        self.gauges.born[mine] = minute

    def _put(self, start: int, stop: int, counts: Counts | None) -> None:
        """Write minutes hour by hour, if there are any; None for silence."""
        if stop <= start:
            return
        latency = np.zeros((0, 0, LATENCY.count), np.int64)
        for begin in range(start - start % MINUTES_PER_HOUR, stop, MINUTES_PER_HOUR):
            first, last = max(begin, start), min(begin + MINUTES_PER_HOUR, stop)
            present = counts is not None
            given = (
                counts[first - start : last - start]
                if counts is not None
                else np.zeros((last - first, 2, len(self.gauges.series)), np.int64)
            )
            self.gauges.put(first, given, latency, self._nothing, present=present)
