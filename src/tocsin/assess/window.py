"""What is held of the past: counts per minute, budgets, baselines and latencies of all monitors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tocsin.assess.baseline import AFTER, BEFORE, LEARN_AFTER, Baseline, Usual
from tocsin.assess.gauges.board import Board
from tocsin.assess.gauges.slices import Slices, sliced
from tocsin.assess.health_counts import HealthCounts
from tocsin.assess.histograms import Arriving, HistogramHistory
from tocsin.assess.ledger import Ledger
from tocsin.assess.monitor import DetectorConfig, Monitor, Objective, ratios
from tocsin.assess.quality import QualityCounts
from tocsin.assess.ring import (
    LATE_MINUTES,
    MINUTES_PER_HOUR,
    Counts,
    MinuteRing,
    PeriodCounts,
    Rows,
)
from tocsin.assess.scan import WIDTHS, Floats
from tocsin.assess.segments import SegmentCounts, SegmentsConfig
from tocsin.domain.buckets import LATENCY, PACE
from tocsin.domain.samples import Look, Wish
from tocsin.domain.series import HourBlock, MinuteBlock, Ratio, SeriesId

MAX_PERSISTENCE = 60  # longest `for_minutes` of a detector
MIN_PACE_CALLS = 500
_SCAN_REACH = max(WIDTHS) + MAX_PERSISTENCE + 2 * MINUTES_PER_HOUR
# Where the share of slow calls starts from: it weighs as much as this many calls.
_PACE_PRIOR_CALLS = 200.0
_PACE_PRIOR_FLOOR = 0.005
_TAIL = 0.95


class _Minutes(NamedTuple):
    """Minutes in a window's order: counts [minute, 2, series], histograms [service, minute, b]."""

    burn: Counts
    scan: Counts
    gauges: Counts
    pace: Counts
    latency: Counts


class Window:
    """Everything `judge` looks at, kept up to date minute by minute.

    A function of the minutes given to it and of nothing else: given at once, one by one, or with
    overlaps of up to LATE_MINUTES, the same minutes make the same window. A minute that no block
    covers is silence, which is not the same as a minute without calls.

    monitors: whose series to hold. services: whose latency histograms to hold, besides those that
    monitors name.
    """

    def __init__(self, monitors: Iterable[Monitor], services: Sequence[str] = ()) -> None:
        held = tuple(monitors)
        self.ratios: Mapping[SeriesId, Ratio] = ratios(held)
        objectives = [m for m in held if isinstance(m.method, Objective)]
        detectors = [m for m in held if isinstance(m.method, DetectorConfig)]
        pace = [m.service for m in detectors if m.has_pace]
        self.services = tuple(dict.fromkeys([*services, *pace]))
        back = max(
            (m.method.budget_minutes for m in detectors if isinstance(m.method, DetectorConfig)),
            default=0,
        )
        self.ledger = Ledger(objectives, back)
        self._burn_row = self.ledger.series
        self._scan_row = _numbered(m.series for m in detectors if _is_counted(m))
        self._service_row = {name: row for row, name in enumerate(self.services)}
        rows = len(self._scan_row) + len(self.services)
        self.scan = MinuteRing(rows, _SCAN_REACH)
        self.baseline = Baseline(rows)
        self.pace = HistogramHistory(len(self.services), PACE)
        self.latency = HistogramHistory(len(self.services), LATENCY)
        self.gauges = Board(detectors, self._service_row)
        # The whole of a service is counted beside its segments, for as long as they are.
        parts = [(m, m.method) for m in held if isinstance(m.method, SegmentsConfig)]
        self.segments = SegmentCounts(
            series
            for m, config in parts
            if m.series
            for series in (m.series, *config.families(m.series))
        )
        self.slices = Slices(sliced(held))
        self.looks: dict[Wish, Look] = {}  # the newest look of every wish
        self.quality = QualityCounts(held)
        self.health = HealthCounts(held)
        self.has_durations = False
        self.start: int | None = None
        self.end = 0
        self._learned = 0  # the next hour to learn
        self._slow: dict[int, npt.NDArray[np.int64]] = {}
        self._sources: dict[int, tuple[tuple[SeriesId, ...], tuple[Rows, ...]]] = {}
        self._usual: tuple[int, Usual] | None = None

    def recall(self, hours: HourBlock, minutes: MinuteBlock | None = None) -> None:
        """Take in hours of budgets that reach further back than anything else, in order and before
        the first minute. Only objectives remember them.

        minutes: the same stretch of time of series whose budgets are not charged by the hour.
        """
        start, count = hours.start * MINUTES_PER_HOUR, hours.bad.shape[1]
        counts = np.zeros((count, MINUTES_PER_HOUR, 2, len(self._burn_row)), np.int64)
        # Which minute of its hour a call belongs to no longer matters: exact windows are younger.
        rows, given = self._burn_rows_of(hours.series)
        counts[:, 0, :, rows] = np.stack([hours.bad[given], hours.total[given]], axis=2)
        if minutes is not None:
            rows, given = self._burn_rows_of(minutes.series)
            fine = np.stack([minutes.bad[given], minutes.total[given]], axis=2)
            counts[:, :, :, rows] = fine.reshape(len(rows), count, MINUTES_PER_HOUR, 2).transpose(
                1, 2, 3, 0
            )
        if not self.burn.ring.end:
            self.ledger.begin(start)
        for hour in range(count):
            self.ledger.put(start + hour * MINUTES_PER_HOUR, counts[hour])

    def advance(self, block: MinuteBlock) -> int:
        """Take in the minutes of `block`; says how many were too old to be taken.

        Minutes up to LATE_MINUTES before `end` replace what is held. A block that begins after
        `end` leaves silence between. Series of the window that the block lacks count nothing.
        """
        if block.width == 0:
            return 0
        if self.start is None:
            self._begin(block.start)
        self.segments.advance(block)
        self.slices.advance(block)
        stop = block.start + block.width
        first = max(block.start, self.end - LATE_MINUTES, self.start or 0)
        for start, end in _hours(self.end, block.start):
            self.quality.put(start, None, slice(0, end - start))
            self.health.put(start, None, slice(0, end - start))
            self._put(start, self._nothing(end - start), present=False)
        for start, end in _hours(first, stop):
            here = slice(start - block.start, end - block.start)
            self.quality.put(start, block, here)
            names = self.health.services
            latency = _in_order(names, block.services, block.latency, here, LATENCY.count)
            self.health.put(start, block, here, latency)
            self._put(start, self._rows_of(block, here), present=True)
        return min(first, stop) - block.start

    def restate(self, block: MinuteBlock) -> bool:
        """Take in an hour of the past again, of the series that `block` has: what came late counts
        in the objectives it belongs to, however old it is.

        Detectors keep what they have judged. The block begins at a full hour and has at most one.
        False when nothing is held of that hour.
        """
        if self.start is None:
            return False
        took = self.quality.restate(block) | self.health.restate(block)
        burn, given = self._burn_rows_of(block.series)
        if not len(burn):
            return took
        counts = np.stack([block.bad[given], block.total[given]]).transpose(2, 0, 1)
        return self.ledger.restate(block.start // MINUTES_PER_HOUR, burn, counts)

    def usual(self) -> Usual:
        """What is usual for every scanned row, before any monitor's own prior; see `pace_rows`."""
        if self._usual is None or self._usual[0] != self.baseline.version:
            rate = np.full(self.scan.rows, 0.5)
            calls = np.ones(self.scan.rows)
            pace = slice(len(self._scan_row), None)
            rate[pace], calls[pace] = self._slow_share(), _PACE_PRIOR_CALLS
            self._usual = (self.baseline.version, self.baseline.usual(rate, calls))
        return self._usual[1]

    def is_silent(self, end: int, width: int) -> bool:
        """Whether no block covered any of the minutes [end - width, end)."""
        return self.scan.is_silent(end, width)

    @property
    def burn(self) -> PeriodCounts:
        """Raw counts of the objectives' series."""
        return self.ledger.raw

    def burn_rows(self, series: Iterable[SeriesId | None]) -> Rows:
        """Rows of objectives' series in `burn`. KeyError for a series that is not held."""
        return np.array([self._burn_row[name] for name in series if name], np.intp)

    def scan_rows(self, series: Iterable[SeriesId | None]) -> Rows:
        """Rows of detectors' series in `scan` and `baseline`."""
        return np.array([self._scan_row[name] for name in series if name], np.intp)

    def service_rows(self, services: Iterable[str]) -> Rows:
        """Rows of services in `pace` and `latency`."""
        return np.array([self._service_row[name] for name in services], np.intp)

    def pace_rows(self, services: Iterable[str]) -> Rows:
        """Rows in `scan` and `baseline` of services' (slow calls, all calls).

        A call is slow when its pace lies above the service's usual 95th percentile.
        """
        return self.service_rows(services) + len(self._scan_row)

    def _burn_rows_of(self, series: Sequence[SeriesId]) -> tuple[Rows, Rows]:
        """Which rows of `burn` a block's series are, and where in the block they stand."""
        held = [(self._burn_row[s], at) for at, s in enumerate(series) if s in self._burn_row]
        rows, given = np.array(held, np.intp).reshape(-1, 2).T
        return rows, given

    def _begin(self, minute: int) -> None:
        self.start = self.end = minute
        self.quality.begin(minute)
        self.health.begin(minute)
        self._learned = minute // MINUTES_PER_HOUR
        for held in (self.scan, self.baseline, self.pace, self.latency, self.gauges):
            held.begin(minute)
        if self.burn.ring.end != minute:  # nothing was recalled
            self.ledger.begin(minute)

    def _nothing(self, width: int) -> _Minutes:
        services = len(self.services)
        burn, scan, gauges = (
            np.zeros((width, 2, len(rows)), np.int64)
            for rows in (self._burn_row, self._scan_row, self.gauges.series)
        )
        return _Minutes(
            burn,
            scan,
            gauges,
            np.zeros((services, width, PACE.count), np.int64),
            np.zeros((services, width, LATENCY.count), np.int64),
        )

    def _rows_of(self, block: MinuteBlock, here: slice) -> _Minutes:
        """The minutes `here` of a block in this window's order."""
        counts = np.stack([block.bad[:, here], block.total[:, here]]).transpose(2, 0, 1)
        padded = np.concatenate([counts, np.zeros((*counts.shape[:2], 1), np.int64)], axis=2)
        pace, latency = (
            _in_order(self.services, block.services, histogram, here, scale.count)
            for histogram, scale in ((block.pace, PACE), (block.latency, LATENCY))
        )
        self.has_durations = self.has_durations or block.pace.shape[-1] > 0
        burn, scan, gauges = (padded[:, :, at] for at in self._source_rows(block.series))
        return _Minutes(burn, scan, gauges, pace, latency)

    def _source_rows(self, series: tuple[SeriesId, ...]) -> tuple[Rows, ...]:
        """Where in a block each burn, scan and gauge row comes from; one past its end: nowhere."""
        known = self._sources.get(id(series))
        if known is None or known[0] is not series:
            at = {name: row for row, name in enumerate(series)}
            found = tuple(
                np.array([at.get(name, len(series)) for name in rows], np.intp)
                for rows in (self._burn_row, self._scan_row, self.gauges.series)
            )
            self._sources = {id(series): (series, found)}
            return found
        return known[1]

    def _put(self, start: int, given: _Minutes, *, present: bool) -> None:
        """Write minutes that lie in one hour, then learn the hours that are ready."""
        self.ledger.put(start, given.burn, present=present)
        slow = self._slow_calls(start // MINUTES_PER_HOUR, given.pace)
        scan = np.concatenate([given.scan, slow], 2)
        self.scan.put(start, scan, present=present)
        latency = Arriving(self.latency, start, given.latency)
        self.gauges.put(start, given.gauges, latency, present=present)
        self.pace.put(start, given.pace, self.end)
        self.latency.put(start, given.latency, self.end)
        self.end = max(self.end, start + len(given.burn))
        while (self._learned + 1) * MINUTES_PER_HOUR + LEARN_AFTER <= self.end:
            self._learn(self._learned)
            self._learned += 1

    def _learn(self, hour: int) -> None:
        begin = hour * MINUTES_PER_HOUR
        held = self.scan.cumulative(begin - BEFORE, begin + MINUTES_PER_HOUR + AFTER)
        normal, anew = self.baseline.learn(hour, held, self.usual())
        pace = slice(len(self._scan_row), None)
        self.pace.learn(hour, normal[pace], anew[pace])
        self.latency.learn(hour, normal[pace], anew[pace])

    def _slow_calls(self, hour: int, pace: Counts) -> Counts:
        """(slow, all) calls [minute, 2, service] against the reference of this hour."""
        if hour not in self._slow:
            self._slow = {h: first for h, first in self._slow.items() if h >= hour - 1}
            self._slow[hour] = self._first_slow_bucket()
        first = self._slow[hour]
        mask = np.arange(PACE.count) >= first[:, None]
        slow = np.einsum("vmb,vb->mv", pace, mask.astype(np.int64))
        calls = pace.sum(axis=2).T * (first < PACE.count)
        return np.stack([slow, calls], axis=1)

    def _first_slow_bucket(self) -> npt.NDArray[np.int64]:
        """The first bucket above the usual 95th percentile; past the end where it is unknown."""
        reached = self.pace.usual.cumsum(axis=1)
        calls = reached[:, -1]
        tail = (reached < np.ceil(_TAIL * calls)[:, None]).sum(axis=1)
        first: npt.NDArray[np.int64] = np.where(calls >= MIN_PACE_CALLS, tail + 1, PACE.count)
        return first

    def _slow_share(self) -> Floats:
        """The share of usual calls above the usual 95th percentile, where the scan starts from."""
        first = self._first_slow_bucket()
        usual = self.pace.usual
        slow = (usual * (np.arange(PACE.count) >= first[:, None])).sum(axis=1)
        share: Floats = np.maximum(slow / np.maximum(usual.sum(axis=1), 1), _PACE_PRIOR_FLOOR)
        return share


def _is_counted(monitor: Monitor) -> bool:
    return isinstance(monitor.method, DetectorConfig) and monitor.method.needs == "counts"


def _numbered(series: Iterable[SeriesId | None]) -> dict[SeriesId, int]:
    return {s: row for row, s in enumerate(dict.fromkeys(s for s in series if s is not None))}


def _hours(start: int, stop: int) -> list[tuple[int, int]]:
    """[start, stop) cut at every full hour."""
    cuts = range((start // MINUTES_PER_HOUR + 1) * MINUTES_PER_HOUR, stop, MINUTES_PER_HOUR)
    edges = [start, *cuts, stop] if start < stop else []
    return list(pairwise(edges))


def _in_order(
    wanted: tuple[str, ...], given: tuple[str, ...], counts: Counts, here: slice, buckets: int
) -> Counts:
    """Histograms [wanted service, minute, bucket]; zeros for services the block does not have."""
    width = here.stop - here.start
    if counts.shape[-1] != buckets:
        return np.zeros((len(wanted), width, buckets), np.int64)
    if wanted == given:
        return counts[:, here]
    at = {name: row for row, name in enumerate(given)}
    ordered = np.zeros((len(wanted), width, buckets), np.int64)
    for row, name in enumerate(wanted):
        if name in at:
            ordered[row] = counts[at[name], here]
    return ordered
