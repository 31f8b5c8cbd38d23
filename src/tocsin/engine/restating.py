"""What came late counts where it belongs: calls, scores and corrections of scores, by the hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import numpy as np

from tocsin.assess.window import Window
from tocsin.domain.clock import from_minute, iso
from tocsin.domain.findings import LedgerEvent
from tocsin.domain.ports import MinuteSource
from tocsin.domain.series import Ratio, SeriesId

# Counts that people may have reported are audited when they change; those of the last day still
# fill up, with every rating that somebody takes a while to give.
AUDITED_AFTER = timedelta(days=1)
MOST_NAMED = 100

Moved = Mapping[tuple[int, SeriesId], tuple[float, float]]


def restate(
    window: Window,
    source: MinuteSource,
    series: Mapping[SeriesId, Ratio],
    hours: Iterable[int],
    position: int,
) -> Moved:
    """Take epoch hours in again; by how much (bad, total) of objectives' series changed in each.

    position: the first epoch minute that was not judged yet.
    """
    moved: dict[tuple[int, SeriesId], tuple[float, float]] = {}
    names = list(window.ledger.series)
    for hour in hours:
        before = window.burn.totals
        stop = min(60 * (hour + 1), position)
        window.restate(source.minutes(series, (), 60 * hour, stop))
        change = window.burn.totals - before
        for row in np.flatnonzero(change.any(axis=0)):
            amount = window.ratios[names[row]].amount
            moved[hour, names[row]] = (amount(int(change[0, row])), amount(int(change[1, row])))
    return moved


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
