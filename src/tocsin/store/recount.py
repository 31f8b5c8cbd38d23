"""Counts from raw rows alone, as they are known now or as they were known at some time.

The ledger of calls and bad calls per minute is derived: every count can be had again from `calls`
and `scores`. Both keep when each row was received, and a correction of a score is a row of its own,
so that leaving out what came later gives the counts as somebody saw them then.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from datetime import datetime

from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.minute_sql import ended_between
from tocsin.store.minutes import HOUR, MinuteReader
from tocsin.store.schema import ENDED, rollup_select
from tocsin.store.scores import micros

_RECEIVED = ("calls", "scores", "score_versions")


class Recount(MinuteReader):
    """As `MinuteReader`, from raw rows. known_by: only rows received by then; None is every one.

    How far back it reaches is how long calls are kept.
    """

    def __init__(self, engine: ClickHouse, known_by: datetime | None = None) -> None:
        if known_by is not None:
            came = f"recv <= fromUnixTimestamp64Micro({micros(known_by)})"
            engine = engine.seeing(dict.fromkeys(_RECEIVED, came))
        super().__init__(engine)

    def _rollup(self, grain: int) -> str:
        step = "toStartOfHour" if grain == HOUR else "toStartOfMinute"
        return f"({rollup_select(step, f'WHERE {ended_between()}')})"


def late_hours(engine: ClickHouse, since: datetime, before: int, late_s: float) -> list[int]:
    """Epoch hours with minutes before `before` in which calls ended that were received from `since`
    on, more than `late_s` seconds after they ended."""
    came = "calls.recv >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
    rows = engine.rows(
        f"SELECT DISTINCT intDiv(toUnixTimestamp({ENDED}), 3600) AS h"
        f" FROM {DATABASE}.calls AS calls WHERE {came}"
        f" AND calls.recv > {ENDED} + toIntervalSecond({{late:Int64}})"
        f" AND toUnixTimestamp({ENDED}) < {{before:Int64}} * 60 ORDER BY h"
        " SETTINGS max_threads = 1",
        {"since": micros(since), "before": before, "late": round(late_s)},
    )
    return [int(row[0]) for row in rows]
