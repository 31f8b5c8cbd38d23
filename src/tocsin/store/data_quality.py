"""What telemetry itself is like: what is left out, what is new, what was set aside.

A window is read whole and compared with a day before it, of which one minute in ten is read: enough
to know a share, and a tenth of the price. Nothing reaches further back, so that the cost follows
the traffic and not the age of the store.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.expressions import Condition
from tocsin.indicators.completeness import Missing
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.expressions import Compiler
from tocsin.store.schema import ENDED

BEFORE = timedelta(hours=24)
LONGEST = timedelta(hours=6)
_ONE_IN = 10
_CALLING = "('llm', 'embedding', 'reranker')"
_MOST = 1000
_IDS = 2_000_000  # of spans of a service that are remembered while repeats are counted
_AHEAD, _AHEAD_MOST = "INTERVAL 5 SECOND", "INTERVAL 10 MINUTE"  # more is set aside by intake
_LATE = "INTERVAL 10 MINUTE"

Key = tuple[str, str]  # project, service


@dataclass(frozen=True, slots=True)
class Spelling:
    """A name that telemetry uses: of an attribute, or of a scope with its version. now, before: how
    many calls have it, the latter of a sample."""

    name: str
    now: int
    before: int


@dataclass(slots=True)
class Telling:
    """What is known of the telemetry of one service.

    missing: by indicator, (in the window, before). ahead: calls that began after they were
    received. late: received more than ten minutes after they ended. repeated: calls of a span that
    another of them is already; counted on one id in `one_id_in` and multiplied by that. scores:
    received in the window; unplaced: those of them whose call was not found.
    """

    calls: int = 0
    sampled: int = 0
    missing: dict[str, tuple[Missing, Missing]] = field(default_factory=dict)
    ahead: int = 0
    late: int = 0
    repeated: int = 0
    one_id_in: int = 1
    attributes: list[Spelling] = field(default_factory=list)
    scopes: list[Spelling] = field(default_factory=list)
    scores: int = 0
    unplaced: int = 0


@dataclass(frozen=True, slots=True)
class SetAside:
    """Rows of the quarantine that were received in the window, by what they are and why. Numbers
    within a reason are written `#`."""

    project: str
    source: str
    reason: str
    rows: int


class DataQuality:
    """Reads one ClickHouse."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def services(
        self, conditions: Mapping[str, Condition], start: datetime, stop: datetime
    ) -> dict[Key, Telling]:
        """What is known of every service with calls or scores in [start, stop), most calls first.

        conditions: by indicator, what a bad call leaves out. ValueError beyond `LONGEST`.
        """
        if not timedelta(0) < stop - start <= LONGEST:
            raise ValueError(f"a window of {stop - start}: at most {LONGEST}")
        window = {"start": start, "stop": stop, "before": start - BEFORE}
        found = self._shares(conditions, window)
        for key, name, now, before in self._spellings(_ATTRIBUTES, window):
            if key in found:
                found[key].attributes.append(Spelling(name, now, before))
        for key, name, now, before in self._spellings(_SCOPES, window):
            if key in found:
                found[key].scopes.append(Spelling(name, now, before))
        one_in = 1 + max((telling.calls for telling in found.values()), default=0) // _IDS
        for key, repeated in self._repeats(one_in, window):
            if key in found:
                found[key].repeated, found[key].one_id_in = one_in * repeated, one_in
        for key, scores, unplaced in self._scores(window):
            telling = found.setdefault(key, Telling())
            telling.scores, telling.unplaced = scores, unplaced
        return found

    def set_aside(self, start: datetime, stop: datetime) -> list[SetAside]:
        """What was set aside in [start, stop), most first; at most 1000 kinds."""
        rows = self._engine.rows(
            "SELECT project, source, replaceRegexpAll(reason, '[0-9]+', '#') AS why, count() AS n"
            f" FROM {DATABASE}.quarantine WHERE recv >= {{start:DateTime64(6, 'UTC')}}"
            " AND recv < {stop:DateTime64(6, 'UTC')}"
            f" GROUP BY project, source, why ORDER BY n DESC, why LIMIT {_MOST}",
            {"start": start, "stop": stop},
        )
        return [SetAside(row[0], row[1], row[2], int(row[3])) for row in rows]

    # --- private

    def _shares(
        self, conditions: Mapping[str, Condition], window: Mapping[str, Any]
    ) -> dict[Key, Telling]:
        compiler = Compiler()
        columns = []
        for condition in conditions.values():
            bad = compiler.sql(condition.bad)
            total = "1" if condition.total is None else compiler.sql(condition.total)
            for when in (_NOW, f"NOT {_NOW}"):
                counts = f"{when} AND ifNull({total}, 0) AND isNotNull({bad})"
                columns += [f"countIf({counts} AND ifNull({bad}, 0))", f"countIf({counts})"]
        columns += [
            f"countIf({_NOW} AND calls.ts > calls.recv + {_AHEAD})",
            f"countIf({_NOW} AND calls.recv > {ENDED} + {_LATE})",
        ]
        rows = self._engine.rows(
            f"SELECT project, service, countIf({_NOW}) AS n, countIf(NOT {_NOW}),"
            f" {', '.join(columns)} FROM {DATABASE}.calls AS calls"
            f" PREWHERE {_SAMPLED} WHERE kind IN {_CALLING}"
            f" GROUP BY project, service HAVING n > 0 ORDER BY n DESC LIMIT {_MOST}",
            {**window, **compiler.parameters},
        )
        found = {}
        for project, service, now, before, *told in rows:
            pairs = [Missing(*told[at : at + 2]) for at in range(0, len(told), 2)]
            missing = {each: (pairs[2 * n], pairs[2 * n + 1]) for n, each in enumerate(conditions)}
            found[project, service] = Telling(now, before, missing, *told[-2:])
        return found

    def _spellings(self, name: str, window: Mapping[str, Any]) -> list[tuple[Key, str, int, int]]:
        rows = self._engine.rows(
            f"SELECT project, service, {name} AS name, countIf({_NOW}) AS now,"
            f" countIf(NOT {_NOW}) AS before FROM {DATABASE}.calls AS calls"
            f" PREWHERE {_SAMPLED} WHERE kind IN {_CALLING} GROUP BY project, service, name"
            f" ORDER BY now + before DESC, name LIMIT {_MOST} BY project, service"
            f" LIMIT {20 * _MOST}",
            window,
        )
        return [((row[0], row[1]), row[2], int(row[3]), int(row[4])) for row in rows]

    def _repeats(self, one_in: int, window: Mapping[str, Any]) -> list[tuple[Key, int]]:
        """Services with calls of one span, and how many beyond the first of each, of one id in
        `one_in`: repeats of an id are all in the sample, or none."""
        spans = "(trace_id, span_id)"
        rows = self._engine.rows(
            f"SELECT project, service, count() - uniqExact(sipHash128{spans}) AS repeated"
            f" FROM {DATABASE}.calls AS calls"
            " PREWHERE calls.ts >= {start:DateTime64(6, 'UTC')}"
            f" AND calls.ts < {{stop:DateTime64(6, 'UTC')}} + {_AHEAD_MOST}"
            f" WHERE kind IN {_CALLING} AND span_id != '' AND cityHash64{spans} % {one_in} = 0"
            f" GROUP BY project, service HAVING repeated > 0 ORDER BY repeated DESC LIMIT {_MOST}",
            {"start": window["start"], "stop": window["stop"]},
        )
        return [((row[0], row[1]), int(row[2])) for row in rows]

    def _scores(self, window: Mapping[str, Any]) -> Sequence[tuple[Key, int, int]]:
        rows = self._engine.rows(
            "SELECT last.1 AS project, last.2 AS service, count(), countIf(last.3 = 0) FROM ("
            "SELECT key, argMax((project, service, placed), placed) AS last"
            f" FROM {DATABASE}.scores WHERE recv >= {{start:DateTime64(6, 'UTC')}}"
            " AND recv < {stop:DateTime64(6, 'UTC')} GROUP BY key)"
            f" GROUP BY project, service ORDER BY count() DESC LIMIT {_MOST}",
            {"start": window["start"], "stop": window["stop"]},
        )
        return [((row[0], row[1]), int(row[2]), int(row[3])) for row in rows]


_NOW = "(calls.ts >= {start:DateTime64(6, 'UTC')})"
_SAMPLED = (
    "calls.ts >= {before:DateTime64(6, 'UTC')} AND calls.ts < {stop:DateTime64(6, 'UTC')}"
    f" + {_AHEAD_MOST} AND ({_NOW} OR toUnixTimestamp(calls.ts) % {60 * _ONE_IN} < 60)"
)
# Places in flattened names differ from call to call.
_ATTRIBUTES = (
    "arrayJoin(arrayDistinct(arrayMap(k -> replaceRegexpAll(k, '[.][0-9]+', '.#'),"
    " mapKeys(calls.attrs))))"
)
_SCOPES = "concat(toString(calls.scope), ' ', toString(calls.res['otel.scope.version']))"
