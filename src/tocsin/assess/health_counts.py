"""What health scores are made from: counts and latencies of the last minutes, to the minute."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tocsin.assess.health_monitor import HealthScoreConfig, config_of
from tocsin.assess.monitor import Monitor
from tocsin.assess.ring import LATE_MINUTES, MINUTES_PER_HOUR, Counts
from tocsin.assess.series_counts import SeriesCounts
from tocsin.domain.buckets import LATENCY
from tocsin.domain.series import MinuteBlock, SeriesId

MAX_WINDOW = 24 * MINUTES_PER_HOUR


class HealthCounts:
    """Counts of every series of every health score, and latency histograms of their services.

    Scores of calls come late: hours are restated as long as a window reaches back to them.
    """

    def __init__(self, monitors: Iterable[Monitor]) -> None:
        held = [(m, m.method) for m in monitors if isinstance(m.method, HealthScoreConfig)]
        wanted = [series for _, config in held for series, _ in config.own]
        self.services = tuple(
            dict.fromkeys(
                m.service for m, c in held if any(one.kind == "latency" for one in c.measured)
            )
        )
        self._service_row = {name: row for row, name in enumerate(self.services)}
        reach = max((config.window_minutes for _, config in held), default=0) + MINUTES_PER_HOUR
        self._counts = SeriesCounts(wanted, reach, reach // MINUTES_PER_HOUR + 2)
        size = reach + LATE_MINUTES if self.services else 1
        self._latency = np.zeros((size, len(self.services), LATENCY.count), np.int32)

    def begin(self, minute: int) -> None:
        """Forget everything; the next minute to arrive is `minute`."""
        self._counts.begin(minute)
        self._latency[:] = 0

    def put(
        self, start: int, block: MinuteBlock | None, here: slice, latency: Counts | None = None
    ) -> None:
        """Take in the minutes `here` of a block, or silence, from epoch minute `start` on.

        latency: histograms [service, minute, bucket] of `services`, None for silence.
        """
        self._counts.put(start, block, here)
        if self.services:
            slots = np.arange(start, start + here.stop - here.start) % len(self._latency)
            self._latency[slots] = 0 if latency is None else latency.transpose(1, 0, 2)

    def restate(self, block: MinuteBlock) -> bool:
        """As `Window.restate`."""
        return self._counts.restate(block)

    def sums(self, series: SeriesId, end: int, width: int) -> tuple[int, int]:
        """(bad, total) of minutes [end - width, end)."""
        bad, total = self._counts.sums([series], end, width)[:, 0]
        return int(bad), int(total)

    def calls(self, monitor: Monitor, end: int, width: int) -> int | None:
        """Calls of the service of a health score in minutes [end - width, end); None when they are
        not all held."""
        if end - width < self._counts.start:
            return None
        return self.sums(config_of(monitor).calls[0], end, width)[1]

    def latency(self, service: str, end: int, width: int) -> npt.NDArray[np.int64]:
        """Histogram [bucket] of a service's calls in minutes [end - width, end)."""
        first = max(end - width, self._counts.start)
        slots = np.arange(first, end) % len(self._latency)
        found: Counts = self._latency[slots, self._service_row[service]].sum(0, dtype=np.int64)
        return found
