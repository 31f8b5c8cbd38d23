"""What came late counts where it belongs: calls, scores and corrections of scores, by the hour.

Memory holds months by the hour, and slices of time only as long as the minutes around them. An hour
that it cannot take in and that still counts somewhere is owed: history is read anew for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import numpy as np

from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.window import Window
from tocsin.domain.clock import from_minute, iso
from tocsin.domain.findings import LedgerEvent
from tocsin.domain.ports import MinuteSource
from tocsin.domain.series import Ratio, SeriesId

# Counts that people may have reported are audited when they change; those of the last day still
# fill up, with every rating that somebody takes a while to give.
AUDITED_AFTER = timedelta(days=1)
MOST_NAMED = 100
# Reading history anew takes as long as a start, and no minute is judged meanwhile: so much of the
# time may go into it. A young server takes in at once what is sent to it after its start, before an
# objective is judged by half of its calls; labels of months ago, which come in batches, wait longer
# on a large one, but for no more than an hour.
READING_SHARE = 0.01
OWED_FOR = timedelta(hours=1)
# History that is imported beside a running server: as many hours of it, more than a day old, and it
# is read when no more has come for a while.
IMPORTED_HOURS = 24
SETTLED_FOR = timedelta(minutes=10)

Moved = Mapping[tuple[int, SeriesId], tuple[float, float]]


def restate(
    window: Window,
    source: MinuteSource,
    series: Mapping[SeriesId, Ratio],
    hours: Iterable[int],
    position: int,
) -> tuple[Moved, frozenset[int]]:
    """Take epoch hours in again; by how much (bad, total) of objectives' series changed in each,
    and those that could not be taken in as a whole.

    position: the first epoch minute that was not judged yet.
    """
    missed = set()
    moved: dict[tuple[int, SeriesId], tuple[float, float]] = {}
    names = list(window.ledger.series)
    for hour in hours:
        before = window.burn.totals
        stop = min(60 * (hour + 1), position)
        if not window.restate(source.minutes(series, (), 60 * hour, stop)):
            missed.add(hour)
        change = window.burn.totals - before
        for row in np.flatnonzero(change.any(axis=0)):
            amount = window.ratios[names[row]].amount
            moved[hour, names[row]] = (amount(int(change[0, row])), amount(int(change[1, row])))
    return moved, frozenset(missed)


class Owed:
    """Hours that memory does not hold as they are now stored: those that could not be restated and
    still count in the period of an objective, and a history that was imported meanwhile.

    reading_s: how long it took to read history.
    """

    def __init__(self, reading_s: float = math.inf) -> None:
        self._patience_s = min(OWED_FOR.total_seconds(), reading_s / READING_SHARE)
        self._hours: set[int] = set()
        self._since: datetime | None = None
        self._imported: set[int] = set()
        self._grew: datetime | None = None

    def add(
        self, hours: Iterable[int], series: Mapping[SeriesId, Ratio], monitors: Iterable[Monitor],
        position: int, now: datetime,
    ) -> None:  # fmt: skip
        """Note `hours` of `series` that lie in the present period of one of their objectives."""
        counted = [
            monitor.method.period_at(position)[0]
            for monitor in monitors
            if isinstance(monitor.method, Objective)
            and any(one in series for one, _ in monitor.counted)
        ]
        oldest = min(counted, default=position)
        self._hours |= {hour for hour in hours if 60 * (hour + 1) > oldest}
        if self._hours and self._since is None:
            self._since = now

    def arrived(self, hours: Iterable[int], position: int, now: datetime) -> None:
        """Note hours in which calls arrived late. Detectors learn from single ones that are more
        than a day old at the next start; a day's worth of them is an import."""
        new = {hour for hour in hours if hour < position // 60 - IMPORTED_HOURS} - self._imported
        if new:
            self._imported |= new
            self._grew = now

    def is_due(self, now: datetime) -> bool:
        """Whether some have waited long enough for history to be read anew."""
        is_whole = self._grew is not None and now - self._grew >= SETTLED_FOR
        if is_whole and len(self._imported) >= IMPORTED_HOURS:
            return True
        return self._since is not None and (now - self._since).total_seconds() >= self._patience_s


def restated_event(moved: Moved, now: datetime) -> LedgerEvent | None:
    """The ledger line about counts of days that were over; None when there are none."""
    latest = now - AUDITED_AFTER
    old = {key: by for key, by in moved.items() if from_minute(60 * (key[0] + 1)) <= latest}
    if not old:
        return None
    hours = sorted({hour for hour, _ in old})
    return LedgerEvent(
        at=now,
        kind="counts.restated",
        actor="engine",
        subject="objectives",
        reason=f"what came late changed counts of {len(hours)} h that were over for a day",
        data={
            "hours": [iso(from_minute(60 * hour)) for hour in hours[:MOST_NAMED]],
            "changes": [
                {
                    "hour": iso(from_minute(60 * hour)),
                    "service": series.service,
                    "indicator": series.indicator,
                    "bad": by[0],
                    "total": by[1],
                }
                for (hour, series), by in list(old.items())[:MOST_NAMED]
            ],
        },
    )
