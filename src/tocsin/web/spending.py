"""What calls cost today, and what they usually cost by this time of the day."""

from __future__ import annotations

from datetime import datetime

from tocsin.domain.clock import to_minute
from tocsin.store.reads import Reads


def today(reads: Reads, now: datetime) -> tuple[float | None, int]:
    """Dollars since midnight UTC, None when nothing is priced; and how many calls are not."""
    start = to_minute(now.replace(hour=0, minute=0, second=0, microsecond=0))
    rows = reads.fleet(start, to_minute(now) + 1)
    priced = [row.cost_usd for row in rows if row.cost_usd is not None]
    unpriced = sum(round(row.calls * (1 - row.priced)) for row in rows)
    return (sum(priced) if priced else None), unpriced


def usual(reads: Reads, now: datetime) -> float | None:
    """The median of what was spent by this time of the day over the seven days before."""
    midnight = to_minute(now.replace(hour=0, minute=0, second=0, microsecond=0))
    elapsed = to_minute(now) + 1 - midnight
    spent = []
    for days in range(1, 8):
        start = midnight - days * 24 * 60
        rows = reads.fleet(start, start + elapsed)
        spent += [sum(r.cost_usd for r in rows if r.cost_usd is not None)] if rows else []
    return sorted(spent)[len(spent) // 2] if len(spent) >= 3 else None
