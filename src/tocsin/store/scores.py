"""Which version of a score holds, where it counts, and which call it is about.

A correction is a row with the key of what it corrects (`schema.SCORE_KEY`), hours or weeks later.
Nothing is updated: every version stays, and a read takes the one that holds, whatever the order in
which they came. `score_versions` has them by key, and `score_repeats` the keys that have several: a
window of minutes looks up those of its keys, and reads nothing else of the past.

A score counts in the minute of `ts` that its sender told last, else in the minute in which its
first version came: a correction restates that minute and never makes news of an old judgement.

A score by id alone takes project, service and dimensions from its call: when it is loaded, or, when
the call comes later, from `Placer`, which adds the row once more with what was found.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.clock import Clock
from tocsin.store import schema
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.kinds import SegmentKind
from tocsin.store.schema import SCORE_KEY, SCORE_VERSION, SCORE_VERSIONS, SCORES

FEEDBACK = "feedback"  # the name of scores that monitors count
LOOK_BACK_DAYS = 35
WAIT = timedelta(days=7)
MOST_WAITING = 100_000
_PAUSE = timedelta(seconds=15)
_SLACK = timedelta(minutes=2)  # from a call's stamp to the time when it can be queried

_MADE = ("seg", "key")
_SENT = tuple(column for column in SCORES.columns if column.name not in _MADE)
_NAMES = tuple(column.name for column in _SENT)
_PLACED = ("project", "service", "dims", "placed")
_FOUND = "any(calls.project) AS project, any(calls.service) AS service, any(calls.dims) AS dims"


def _calls_by(column: str, ids: str, since: str) -> str:
    """SQL: rows for every id of the set `ids` that a stored call has in `column`.

    `asked` is the project that a score must name to get the row, one with '' is for those that name
    none: span and trace ids are unique, ids of responses and predictions only within a project.
    """
    asked = "['', toString(calls.project)]" if column == "response_id" else "['']"
    return (
        f"SELECT calls.{column} AS id, arrayJoin({asked}) AS asked, {_FOUND}"
        f" FROM {DATABASE}.calls AS calls"
        f" WHERE calls.{column} IN ({ids}) AND calls.{column} != '' AND {since} GROUP BY id, asked"
    )


def _placing(rows: str, ids: str, since: str) -> str:
    """SQL: `rows` (a table expression with the columns that are sent), placed by their calls.

    ids: the same rows as a FROM clause. The span is asked first, then the response, then the trace.
    """
    spans, responses, traces = (
        _calls_by(column, f"SELECT {told} FROM {ids}", since)
        for column, told in (
            ("span_id", "span_id"),
            ("response_id", "call_id"),
            ("trace_id", "lower(trace_id)"),
        )
    )
    found = "multiIf(a.id != '', a.{0}, b.id != '', b.{0}, c.{0})"
    known = "(a.id != '' OR b.id != '' OR c.id != '')"
    take = f"s.placed = 0 AND {known}"
    columns = {
        **{name: f"s.{name}" for name in _NAMES},
        "project": f"if({take}, {found.format('project')}, s.project)",
        "service": f"if({take}, {found.format('service')}, s.service)",
        "dims": f"if({take} AND empty(s.dims), {found.format('dims')}, s.dims)",
        "placed": f"toUInt8(s.placed OR {known})",
        "key": "s.key",
    }
    return (
        f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in columns.items())} FROM {rows} AS s"
        f" LEFT ANY JOIN ({spans}) AS a ON s.span_id = a.id"
        f" LEFT ANY JOIN ({responses}) AS b"
        " ON s.call_id = b.id AND toString(s.project) = b.asked"
        f" LEFT ANY JOIN ({traces}) AS c ON lower(s.trace_id) = c.id"
    )


def _rows_kind() -> SegmentKind:
    """Scores as JSON lines. Its careful SELECT reads the segment once and looks into `calls`."""
    plain = schema.rows_kind(SCORES, "scores", "JSONEachRow")
    sent = ", ".join(_NAMES)
    parts = ", ".join(f"row.{place} AS {name}" for place, name in enumerate(_NAMES, start=1))
    given = "(SELECT " + parts + " FROM (SELECT arrayJoin(given) AS row))"
    first = f"(SELECT min(recv) FROM {given})"
    rows = f"(SELECT *, {SCORE_KEY} AS key FROM {given})"
    since = f"calls.ts >= {first} - INTERVAL {LOOK_BACK_DAYS} DAY"
    seg = {"seg": "toUInt64({seg}) AS seg"}
    made = ", ".join({**seg, "key": f"{SCORE_KEY} AS key"}.get(name, name) for name in SCORES.names)
    placed = ", ".join(seg.get(name, name) for name in SCORES.names)
    return replace(
        plain,
        structure=", ".join(f"{column.name} {column.type}" for column in _SENT),
        select=f"SELECT {made} FROM {{source}}",
        careful_select=f"WITH (SELECT groupArray(({sent})) FROM {{source}}) AS given\n"
        f"SELECT {placed} FROM ({_placing(rows, given, since)})",
    )


SCORE_ROWS = _rows_kind()


def current(where: str) -> str:
    """SQL: scores as they hold, one row each, of those of which some version fulfils `where`.

    Columns: key, project, service, name, value, label, dims, and `at`, where it counts.
    """
    names = ("project", "service", "name", "value", "label", "dims")
    repeated = repeats_of(where)
    version = "(v.version, v.recv, v.line, v.placed)"
    columns = ", ".join(f"held.{n} AS {name}" for n, name in enumerate(names, start=1))
    return (
        f"SELECT key, {', '.join(names)}, ts AS at FROM {DATABASE}.scores"
        f" WHERE {where} AND key GLOBAL NOT IN ({repeated})"
        f" UNION ALL SELECT key, {columns}, at FROM (SELECT v.key AS key,"
        f" argMax(({', '.join(f'v.{name}' for name in names)}), {version}) AS held,"
        f" if(max(v.told) = 1, argMax(v.ts, (v.told, {version})), min(v.ts)) AS at"
        f" FROM {DATABASE}.score_versions AS v WHERE v.key GLOBAL IN ({repeated}) GROUP BY v.key)"
    )


def holds(where: str) -> str:
    """SQL condition on rows of `scores` among those of `where`: each is the version that holds."""
    repeated = repeats_of(where)
    latest = (
        f"SELECT key, max({SCORE_VERSION}) FROM {DATABASE}.score_versions"
        f" WHERE key GLOBAL IN ({repeated}) GROUP BY key"
    )
    return f"(key GLOBAL NOT IN ({repeated}) OR (key, {SCORE_VERSION}) GLOBAL IN ({latest}))"


def repeats_of(where: str) -> str:
    """SQL: the keys with several versions among those of `where`."""
    keys = f"SELECT key FROM {DATABASE}.scores WHERE {where}"
    return f"SELECT key FROM {DATABASE}.score_repeats WHERE key GLOBAL IN ({keys})"


def note_repeats(engine: ClickHouse, where: str, values: Mapping[str, int]) -> None:
    """Record which keys of rows of `scores` have several versions. After those rows are there.

    Of two rows with one key, whichever comes second is looked at when both can be seen.
    """
    engine.execute(
        f"INSERT INTO {DATABASE}.score_repeats (key, recv) SELECT key, max(recv)"
        f" FROM {DATABASE}.score_versions"
        f" WHERE key GLOBAL IN (SELECT key FROM {DATABASE}.scores WHERE {where})"
        f" GROUP BY key HAVING min({SCORE_VERSION}) != max({SCORE_VERSION})",
        values,
    )


def about(engine: ClickHouse, call: str) -> list[dict[str, Any]]:
    """The scores of a call as they hold, by any of its ids, oldest first.

    versions: how many rows say something of the score, corrections included.
    """
    where = "(call_id = {id:String} OR span_id = lower({id:String}) OR trace_id = {id:String})"
    return engine.records(
        "SELECT s.ts AS ts, project, service, name, if(isNaN(value), NULL, value) AS value, label,"
        " source, annotator, comment, call_id, trace_id, recv AS received, greatest(v.n, 1) AS"
        f" versions FROM {DATABASE}.scores AS s LEFT JOIN (SELECT key AS k,"
        f" uniqExact(version, recv, line) AS n FROM {DATABASE}.score_versions"
        f" WHERE key GLOBAL IN ({repeats_of(where)}) GROUP BY k) AS v"
        f" ON s.key = v.k WHERE {where} AND {holds(where)} ORDER BY ts, name",
        {"id": call},
    )


def restated(engine: ClickHouse, since: datetime, before: int) -> list[int]:
    """Epoch hours with minutes before `before` whose counts of feedback changed by what was
    received from `since` on: late scores, and corrections of earlier ones."""
    came = f"recv >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') AND name = '{FEEDBACK}'"
    old = "toUnixTimestamp(ts) < {before:Int64} * 60"
    rows = engine.rows(
        f"SELECT DISTINCT intDiv(toUnixTimestamp(ts), 3600) AS h FROM (SELECT ts"
        f" FROM {DATABASE}.scores WHERE {came} AND {old} UNION ALL"
        f" SELECT ts FROM {DATABASE}.score_versions"
        f" WHERE key GLOBAL IN ({repeats_of(came)}) AND {old}) ORDER BY h"
        # A handful of rows that every day's part is asked for: threads cost more than they read.
        " SETTINGS max_threads = 1",
        {"since": micros(since), "before": before},
    )
    return [int(row[0]) for row in rows]


def judged(engine: ClickHouse, since: datetime, before: int, names: Sequence[str]) -> list[int]:
    """Epoch hours with minutes before `before` in which calls ended that scores of these names,
    received from `since` on, are about."""
    told = (
        f"FROM {DATABASE}.scores WHERE recv >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC')"
        " AND name IN {names:Array(String)}"
    )
    about = " OR ".join(
        f"(calls.{column} != '' AND calls.{column} IN (SELECT {told_by} {told}))"
        for column, told_by in (
            ("span_id", "span_id"), ("response_id", "call_id"), ("trace_id", "lower(trace_id)"),
        )
    )  # fmt: skip
    rows = engine.rows(
        f"SELECT DISTINCT intDiv(toUnixTimestamp({schema.ENDED}), 3600) AS h"
        f" FROM {DATABASE}.calls AS calls WHERE ({about})"
        " AND calls.ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        f" - INTERVAL {LOOK_BACK_DAYS} DAY"
        f" AND toUnixTimestamp({schema.ENDED}) < {{before:Int64}} * 60 ORDER BY h",
        {"since": micros(since), "before": before, "names": list(names)},
    )
    return [int(row[0]) for row in rows]


def feed_versions(engine: ClickHouse, where: str, values: Mapping[str, int]) -> None:
    """Add the versions of rows of `scores` once more: safe, since equal ones are one."""
    names = ", ".join(SCORE_VERSIONS.names)
    engine.execute(
        f"INSERT INTO {DATABASE}.score_versions ({names})"
        f" {schema.SCORE_VERSIONS_SELECT} WHERE {where}",
        values,
    )
    note_repeats(engine, where, values)


def fill_versions(engine: ClickHouse) -> None:
    """Give a store of an older Tocsin, which had no versions, those of the scores it holds."""
    counts = engine.rows(
        f"SELECT (SELECT count() FROM {DATABASE}.scores),"
        f" (SELECT count() FROM {DATABASE}.score_versions)"
    )[0]
    if counts[0] and not counts[1]:
        feed_versions(engine, "1", {})


class Placer:
    """Looks after scores that were loaded: notes which correct others, and finds the calls of those
    that came before their call. Threads may share it.
    """

    def __init__(self, engine: ClickHouse, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._may_wait = True
        self._last: datetime | None = None
        self._next: datetime | None = None

    def loaded(self, seg: int) -> None:
        """A segment of scores is in its table."""
        note_repeats(self._engine, "seg = {seg:UInt64}", {"seg": seg})
        self._may_wait = True

    def run(self, *, now: datetime | None = None, at_once: bool = False) -> int:
        """Place what can be placed, every few seconds at most; returns how many scores were.

        Only calls received since the last run are looked at, so that waiting costs the same however
        much is stored. Scores wait for a week.
        """
        now = now or self._clock.now()
        with self._lock:
            if not self._may_wait or (not at_once and self._next and now < self._next):
                return 0
            self._next = now + _PAUSE
            waiting = self._waiting(now)
            if not waiting:
                self._may_wait, self._last = False, now
                return 0
            placed = self._place(waiting, self._last or now - WAIT)
            self._last = now
            return placed

    def _waiting(self, now: datetime) -> list[int]:
        """Keys of scores without a place, the newest first."""
        rows = self._engine.rows(
            f"SELECT key FROM {DATABASE}.score_versions WHERE key IN (SELECT key"
            f" FROM {DATABASE}.scores WHERE placed = 0 AND {_BY_ID} AND {_SINCE})"
            f" GROUP BY key HAVING argMax(placed, {SCORE_VERSION}) = 0"
            f" ORDER BY max(recv) DESC LIMIT {MOST_WAITING}",
            {"since": micros(now - WAIT)},
        )
        return [int(row[0]) for row in rows]

    def _place(self, keys: list[int], since: datetime) -> int:
        rows = (
            f"(SELECT {', '.join(_NAMES)}, key FROM {DATABASE}.scores"
            f" WHERE placed = 0 AND {_SINCE} AND key IN {{keys:Array(UInt128)}})"
        )
        fresh = "calls.recv >= fromUnixTimestamp64Micro({fresh:Int64}, 'UTC')"
        values = {
            "keys": keys,
            "since": micros(since - WAIT),
            "fresh": micros(since - _SLACK),
        }
        found = f"SELECT * FROM ({_placing(rows, rows, fresh)}) WHERE placed = 1"
        count = int(self._engine.rows(f"SELECT count() FROM ({found})", values)[0][0])
        if count:
            names = ", ".join((*_NAMES, "key"))
            self._engine.execute(
                f"INSERT INTO {DATABASE}.score_repeats (key, recv) SELECT key, recv FROM ({found})",
                values,
            )
            self._engine.execute(
                f"INSERT INTO {DATABASE}.scores ({names}, seg) SELECT {names}, 0 FROM ({found})",
                values,
            )
        return count


_BY_ID = "(call_id != '' OR trace_id != '')"
_SINCE = "recv >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"


def micros(instant: datetime) -> int:
    """Microseconds since the epoch, exact."""
    return (instant - datetime.fromtimestamp(0, instant.tzinfo)) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of the scores of one name: how many, and the standard error of the mean."""

    n: int
    value: float
    standard_error: float


def means(engine: ClickHouse, service: str, start: int, stop: int) -> dict[str, Mean]:
    """Means of a service's scores in epoch minutes [start, stop), corrections counted once."""
    where = (
        "service = {service:String} AND ts >= toDateTime64({start:Int64}, 6, 'UTC')"
        " AND ts < toDateTime64({stop:Int64}, 6, 'UTC')"
    )
    rows = engine.rows(
        f"SELECT name, count(), avg(value), stddevSamp(value) FROM {DATABASE}.scores"
        f" WHERE {where} AND {holds(where)} GROUP BY name",
        {"service": service, "start": start * 60, "stop": stop * 60},
    )
    return {
        str(name): Mean(int(n), float(mean), float(spread) / n**0.5 if n > 1 else 0.0)
        for name, n, mean, spread in rows
    }
