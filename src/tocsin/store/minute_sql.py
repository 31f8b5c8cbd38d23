"""How queries about minutes say which minute a row counts in, and whose it is.

Keys travel as parameters: a row is looked up among them by hash, so that thousands of services and
segments are one statement, and nothing a user wrote becomes SQL text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.store.clickhouse import literal
from tocsin.store.schema import ENDED

SPLIT = "\x1f"


def between(column: str) -> str:
    """SQL: `column` lies in the epoch minutes, or hours, [start, stop)."""
    precise = column in {"ts", "at"}
    cast, scale = ("toDateTime64", " 6,") if precise else ("toDateTime", "")
    start, stop = (
        f"{cast}({{{end}:Int64}} * {{grain:Int64}},{scale} 'UTC')" for end in ("start", "stop")
    )
    return f"{column} >= {start} AND {column} < {stop}"


def ended_between() -> str:
    """SQL: a call ended in [start, stop). Partitions are chosen by where it began: none that takes
    longer than a day is counted."""
    start, stop = (
        f"toDateTime64({{{end}:Int64}} * {{grain:Int64}}, 6, 'UTC')" for end in ("start", "stop")
    )
    return (
        f"{ENDED} >= {start} AND {ENDED} < {stop}"
        f" AND calls.ts >= {start} - INTERVAL 1 DAY AND calls.ts < {stop}"
    )


def step_of(column: str) -> str:
    """SQL: minutes, or hours, since the start of the window."""
    return f"toInt64(intDiv(toUnixTimestamp({column}), {{grain:Int64}})) - {{start:Int64}}"


def lookup(*columns: str) -> str:
    """SQL: 1-based place of a row's key among the keys of the query, 0 when it is not there."""
    text = f", {literal(SPLIT)}, ".join(columns)
    key = f"concat({text})" if len(columns) > 1 else f"toString({text})"
    return f"toInt64(transform({key}, {{keys:Array(String)}}, {{places:Array(UInt32)}}, 0))"


def places_of(places: Mapping[str, int]) -> dict[str, Any]:
    """The parameters of `lookup`: every key with its place."""
    return {"keys": list(places), "places": [place + 1 for place in places.values()]}
