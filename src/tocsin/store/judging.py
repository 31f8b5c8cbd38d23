"""What evaluators of Tocsin's own still have to judge: a queue that survives a crash.

A chosen call is a row until its scores are durable. What a request may cost is set aside in the
transaction that begins it, so that a crash in the middle never makes a day cheaper than it was. A
verdict is kept with its row before it becomes a score, so that a crash in between asks nobody
again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tocsin.store import tables
from tocsin.store.evaluations import Chosen
from tocsin.store.ledger import clean
from tocsin.store.rows import from_us, to_us
from tocsin.store.transaction import Transaction

_DAY = timedelta(days=1)
_KEPT_DAYS = 400
_AT_ONCE = 200  # keys in one statement


@dataclass(frozen=True, slots=True)
class Task:
    """A chosen call that is not finished. attempts: how often it was asked about. outcome: the
    verdict that is not stored yet, None without one."""

    series: str
    trace_id: str
    span_id: str
    at: datetime
    chosen: datetime
    attempts: int
    propensity: float
    outcome: Mapping[str, Any] | None
    reason: str

    @property
    def call(self) -> tuple[str, str]:
        """Trace and span id."""
        return self.trace_id, self.span_id


@dataclass(frozen=True, slots=True)
class DayOfJudging:
    """What an evaluator did on a day; see `tables.evaluator_day`."""

    candidates: int = 0
    chosen: int = 0
    judged: int = 0
    failed: int = 0
    asked: int = 0
    unpriced: int = 0
    usd: float = 0.0


def day_of(at: datetime) -> int:
    """The day (UTC) since 1970."""
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)) // _DAY)


def add(
    tx: Transaction, evaluator: str, series: str, calls: Iterable[Chosen], now: datetime
) -> int:
    """Queue calls; those that are there already stay as they are. Returns how many are new."""
    table = tables.evaluation
    unlike = {(one.trace_id, one.span_id): one for one in calls}
    spans, known = [span for _, span in unlike], set()
    for start in range(0, len(spans), _AT_ONCE):
        here = table.c.span_id.in_(spans[start : start + _AT_ONCE])
        query = sa.select(table.c.trace_id, table.c.span_id).where(table.c.series == series, here)
        known |= {(row.trace_id, row.span_id) for row in tx.connection.execute(query)}
    rows = [
        {
            "series": series, "trace_id": trace, "span_id": span, "evaluator": evaluator,
            "at": to_us(one.at), "chosen": to_us(now), "due": to_us(now), "attempts": 0,
            "propensity": one.propensity, "reserved_usd": 0.0, "outcome": None, "reason": "",
        }
        for (trace, span), one in unlike.items()
        if (trace, span) not in known
    ]  # fmt: skip
    if rows:
        tx.connection.execute(sa.insert(table), rows)
    return len(rows)


def due(tx: Transaction, evaluator: str, now: datetime, limit: int) -> Sequence[Task]:
    """What is to be done now, the longest due first; what has a verdict before all."""
    table = tables.evaluation
    query = (
        sa.select(table)
        .where(table.c.evaluator == evaluator, table.c.due <= to_us(now))
        .order_by(table.c.due, table.c.span_id)
        .limit(limit)
    )
    return [_task(row) for row in tx.connection.execute(query).mappings()]


def begin(tx: Transaction, evaluator: str, task: Task, now: datetime, until: datetime,
          reserved_usd: float) -> None:  # fmt: skip
    """It is asked about now: nobody else does until `until`, and the money is set aside."""
    _change(tx, task, attempts=task.attempts + 1, due=to_us(until), reserved_usd=reserved_usd)
    count(tx, evaluator, day_of(now), asked=1, usd=reserved_usd)


def again(tx: Transaction, task: Task, at: datetime, reason: str, *, attempts: int) -> None:
    """Try it again at `at`."""
    _change(tx, task, due=to_us(at), reserved_usd=0.0, reason=clean(reason), attempts=attempts)


def decided(tx: Transaction, task: Task, outcome: Mapping[str, Any], now: datetime) -> None:
    """Keep what became of it until its scores are durable."""
    _change(tx, task, outcome=dict(outcome), reserved_usd=0.0, due=to_us(now))


def forget(tx: Transaction, series: str, calls: Collection[tuple[str, str]]) -> None:
    """These are finished."""
    table, named = tables.evaluation, list(calls)
    call = sa.tuple_(table.c.trace_id, table.c.span_id)
    for start in range(0, len(named), _AT_ONCE):
        some = named[start : start + _AT_ONCE]
        tx.connection.execute(sa.delete(table).where(table.c.series == series, call.in_(some)))


def abandon(tx: Transaction, evaluator: str, but: str) -> int:
    """Forget what other versions than the series `but` have not finished; returns how many."""
    table = tables.evaluation
    done = tx.connection.execute(
        sa.delete(table).where(table.c.evaluator == evaluator, table.c.series != but)
    )
    return int(done.rowcount)


def waiting(tx: Transaction, evaluator: str) -> tuple[int, datetime | None]:
    """How many calls wait to be judged, and when the first of them was chosen."""
    table = tables.evaluation
    query = sa.select(sa.func.count(), sa.func.min(table.c.chosen)).where(
        table.c.evaluator == evaluator
    )
    number, first = tx.connection.execute(query).one()
    return int(number), None if first is None else from_us(first)


def count(tx: Transaction, evaluator: str, day: int, **more: float) -> None:
    """Add to what an evaluator did on a day."""
    table = tables.evaluator_day
    key = (table.c.evaluator == evaluator, table.c.day == day)
    changed = tx.connection.execute(
        sa.update(table).where(*key).values({name: table.c[name] + n for name, n in more.items()})
    )
    if not changed.rowcount:
        names = [column.name for column in table.columns if column.name not in ("evaluator", "day")]
        values = {name: more.get(name, 0) for name in names}
        tx.connection.execute(sa.insert(table).values(evaluator=evaluator, day=day, **values))
        tx.connection.execute(sa.delete(table).where(table.c.day < day - _KEPT_DAYS))


def days(tx: Transaction, evaluator: str, since: int) -> Mapping[int, DayOfJudging]:
    """What an evaluator did on the days from `since` on."""
    table = tables.evaluator_day
    query = sa.select(table).where(table.c.evaluator == evaluator, table.c.day >= since)
    return {
        row["day"]: DayOfJudging(**{k: v for k, v in row.items() if k not in ("evaluator", "day")})
        for row in tx.connection.execute(query).mappings()
    }


# --- private -----------------------------------------------------------------------------------


def _change(tx: Transaction, task: Task, **values: Any) -> None:
    table = tables.evaluation
    tx.connection.execute(
        sa.update(table)
        .where(table.c.series == task.series, table.c.trace_id == task.trace_id,
               table.c.span_id == task.span_id)
        .values(**values)
    )  # fmt: skip


def _task(row: sa.RowMapping) -> Task:
    return Task(
        row["series"], row["trace_id"], row["span_id"], from_us(row["at"]), from_us(row["chosen"]),
        row["attempts"], row["propensity"], row["outcome"], row["reason"],
    )  # fmt: skip
