"""Gauges by segment: every value of a dimension is a gauge of its own, judged against its own past.

Which values there are is known only when their calls come. So each dimension of a monitor has a
number of places on a board like that of all other gauges (`board.Board`), and a value takes one
when it is first seen, the busiest first; from then on, and not before, its minutes are known. A
place does not change hands, for what was learned in it is of its value: when others have outgrown
those that have places, a new board is to be filled from history (`is_outgrown`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from tocsin.assess.gauges.board import Board
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.histograms import SparseHistograms
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.ring import LATE_MINUTES, MINUTES_PER_HOUR, Counts
from tocsin.domain.buckets import LATENCY
from tocsin.domain.series import EACH, MinuteBlock, Ratio, SeriesId

MOST_VALUES = 30  # of a dimension of one monitor
_DAY = 24 * MINUTES_PER_HOUR
_OUTGROWN, _MATTERS = 2, 0.01  # times the calls of one with a place; share of all calls of the day
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


@dataclass(frozen=True, slots=True)
class Crowded:
    """A dimension with more values than places. judged: how many have one; left_out: the others,
    the busiest first; share: of the calls of the last whole day (of today, on the first) that they
    had."""

    service: str
    indicator: str
    dimension: str
    judged: int
    left_out: tuple[str, ...]
    share: float


def sliced(monitors: Iterable[Monitor]) -> list[Monitor]:
    """The monitors that have gauges by segment: those that judge them, and those that only want to
    know of a gauge whose segments moved it."""
    found = []
    for monitor in monitors:
        method = monitor.method
        if isinstance(method, SlicesConfig):
            found.append(monitor)
        elif isinstance(method, GaugeConfig) and method.apart:
            found.append(replace(monitor, method=SlicesConfig(by=method.apart, inner=method)))
    return found


class Slices:
    """The gauges of all segments: a board of places, and which value has which place.

    left_out: dimension of a monitor -> values that found no place. is_outgrown: whether one of
    these had twice the calls of one that has a place, and a hundredth of all, on a whole day.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        # A place that two monitors share has the same values in it, for they come from one series.
        self._families: dict[SeriesId, dict[str, int]] = {}
        placed: list[Monitor] = []
        self.rows: dict[str, tuple[int, ...]] = {}
        self._rows_of: dict[SeriesId, list[int]] = {}
        for monitor in monitors:
            assert isinstance(monitor.method, SlicesConfig) and monitor.series is not None  # noqa: S101, PT018
            mine: list[int] = []
            for name in monitor.method.by:
                self._families.setdefault(replace(monitor.series, segment=(name, EACH)), {})
                for place in range(MOST_VALUES):
                    series = replace(monitor.series, segment=(name, f"{_PLACE}{place}"))
                    self._rows_of.setdefault(series, []).append(len(placed))
                    mine.append(len(placed))
                    placed.append(replace(monitor, series=series, method=monitor.method.inner))
            self.rows[monitor.name] = tuple(mine)
        self.monitors = tuple(placed)
        self.gauges = Board(placed, {})
        self.left_out: dict[SeriesId, set[str]] = {}
        self.is_outgrown = False
        self._unborn: set[SeriesId] = set()  # values that have a place, and no call yet
        self._seated = 0  # minute from which on the places are what they are
        self._day = -1
        self._today: dict[SeriesId, Counter[str]] = {}
        self._yesterday: dict[SeriesId, Counter[str]] = {}
        self._latency = SparseHistograms(LATENCY)
        self._end = 0

    def seat(self, block: MinuteBlock, first: Collection[tuple[str, str]] = ()) -> None:
        """Give places before minutes come: to the (dimension, value) pairs `first`, about which
        somebody was told, then to the busiest of a block.

        Whether others have outgrown them is asked of the days after that block: those before it
        had busiest ones of their own.
        """
        self._seated = block.start + block.width
        busiest = sorted(range(len(block.series)), key=lambda at: -int(block.total[at].sum()))
        told = [at for at in busiest if block.series[at].segment in first]
        for at in dict.fromkeys((*told, *busiest)):
            sid = block.series[at]
            held = self._families.get(replace(sid, segment=(sid.segment[0], EACH)))
            if held is None or sid.segment[1] in ("", EACH, *held) or not block.total[at].any():
                continue
            if len(held) < MOST_VALUES:
                held[sid.segment[1]] = len(held)
                self._unborn.add(sid)

    def crowded(self) -> list[Crowded]:
        """The dimensions with values that are not judged, of every series that has some."""
        found = []
        for family, left in self.left_out.items():
            calls = self._yesterday.get(family) or self._today.get(family, Counter())
            known = sorted(left, key=lambda value: (-calls[value], value))
            share = sum(calls[value] for value in left) / max(calls.total(), 1)
            held = len(self._families[family])
            found.append(
                Crowded(
                    family.service, family.indicator, family.segment[0], held, tuple(known), share
                )
            )
        return found

    def advance(self, block: MinuteBlock) -> None:
        """Take in the minutes of `block`; those that are held already are replaced."""
        if not self.monitors or not block.width:
            return
        if not self._end:
            self.gauges.begin(block.start)
            self.gauges.born[:] = np.iinfo(np.int64).max
            self._end = block.start
            self._seated = max(self._seated, block.start)
        self._note(block)
        placed = self._placed(block)
        counts, cells = self._counts(block, placed), self._cells(block, placed)
        first = max(block.start, self._end - LATE_MINUTES)
        stop = block.start + block.width
        self._put(self._end, block.start, None, cells)
        self._put(first, stop, counts[first - block.start :], cells)
        self._end = max(self._end, stop)

    def value(self, row: int) -> str:
        """Which value of its dimension the gauge of a row is; "" for a place that is free."""
        series = self.monitors[row].series
        assert series is not None  # noqa: S101 (all have one)
        place = int(series.segment[1].removeprefix(_PLACE))
        held = self._families[replace(series, segment=(series.segment[0], EACH))]
        return next((value for value, at in held.items() if at == place), "")

    def _placed(self, block: MinuteBlock) -> dict[int, SeriesId]:
        """Row of the block -> the series of its place; values that are new get places."""
        placed: dict[int, SeriesId] = {}
        busiest = np.argsort(-block.total.sum(axis=1), kind="stable")
        for at in busiest.tolist():
            sid = block.series[at]
            family = replace(sid, segment=(sid.segment[0], EACH))
            held = self._families.get(family)
            if held is None or sid.segment[1] in ("", EACH):
                continue
            known = np.flatnonzero(block.total[at])
            place = held.get(sid.segment[1])
            if place is None and known.size and len(held) < MOST_VALUES:
                place = held[sid.segment[1]] = len(held)
                self._unborn.add(sid)
            if place is not None and known.size and sid in self._unborn:
                self._unborn.remove(sid)
                self._bear(family, place, block.start + int(known[0]))
            if place is None and known.size:
                self.left_out.setdefault(family, set()).add(sid.segment[1])
            if place is None:
                continue
            placed[at] = replace(family, segment=(sid.segment[0], f"{_PLACE}{place}"))
        return placed

    def _counts(self, block: MinuteBlock, placed: Mapping[int, SeriesId]) -> Counts:
        """Counts [minute, (bad, total), series of the board]."""
        counts = np.zeros((block.width, 2, len(self.gauges.series)), np.int64)
        for at, series in placed.items():
            row = self.gauges.series.get(series)
            if row is not None:
                counts[:, 0, row], counts[:, 1, row] = block.bad[at], block.total[at]
        return counts

    def _cells(self, block: MinuteBlock, placed: Mapping[int, SeriesId]) -> Counts:
        """The cells of the block that have a place, by its row among the board's histograms."""
        row_of = np.full(len(block.series), -1)
        for at, series in placed.items():
            row_of[at] = self.gauges.histograms.get(series, -1)
        minute, row, bucket, calls = block.cells
        cells = np.stack([minute, row_of[row], bucket, calls])
        return np.asarray(cells[:, cells[1] >= 0], np.int64)

    def _note(self, block: MinuteBlock) -> None:
        """Count the new minutes of every value towards their days."""
        stop = block.start + block.width
        for day in range(max(self._end, block.start) // _DAY, (stop - 1) // _DAY + 1):
            if day != self._day:
                self._turn(day)
            here = slice(max(day * _DAY, self._end, block.start) - block.start,
                         min((day + 1) * _DAY, stop) - block.start)  # fmt: skip
            for sid, calls in zip(block.series, block.total[:, here].sum(axis=1), strict=True):
                family = replace(sid, segment=(sid.segment[0], EACH))
                if family in self._families and sid.segment[1] != EACH:
                    self._today.setdefault(family, Counter())[sid.segment[1]] += int(calls)

    def _turn(self, day: int) -> None:
        """A day is over: had somebody without a place many more calls than one who has one?"""
        is_whole = self._day * _DAY >= self._seated
        self._yesterday, self._today, self._day = self._today, {}, day
        for family, left in self.left_out.items() if is_whole else ():
            calls = self._yesterday.get(family, Counter())
            least = min(calls[value] for value in self._families[family])
            most = max(calls[value] for value in left)
            self.is_outgrown |= most > max(_OUTGROWN * least, _MATTERS * calls.total())

    def _bear(self, family: SeriesId, place: int, minute: int) -> None:
        series = replace(family, segment=(family.segment[0], f"{_PLACE}{place}"))
        self.gauges.born[self._rows_of[series]] = minute

    def _put(self, start: int, stop: int, counts: Counts | None, cells: Counts) -> None:
        """Write minutes hour by hour, if there are any; None for silence."""
        if stop <= start:
            return
        for begin in range(start - start % MINUTES_PER_HOUR, stop, MINUTES_PER_HOUR):
            first, last = max(begin, start), min(begin + MINUTES_PER_HOUR, stop)
            present = counts is not None
            given = (
                counts[first - start : last - start]
                if counts is not None
                else np.zeros((last - first, 2, len(self.gauges.series)), np.int64)
            )
            here = slice(*np.searchsorted(cells[0], (first, last)))
            self._latency.put(first, last, cells[:, here])
            self.gauges.put(first, given, self._latency, present=present)
