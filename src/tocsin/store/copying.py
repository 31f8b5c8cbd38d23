"""Copies a store into another, hour by hour; what is there already and equal is not sent again.

An hour of a table is compared by the number of its rows and a hash over every column, so that an
interrupted copy goes on where it was and a finished one can be repeated: it finds nothing to do.
Rows get a writer number of their own in the target, by which they are told from what others put
there, and replaced when they differ. Rollups are compared by their sums and taken from the source,
which knows hours whose calls have expired.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are numbers)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tocsin.domain.clock import Clock
from tocsin.domain.errors import StoreError
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.facts import Facts
from tocsin.store.schema import ROLLUPS, Table
from tocsin.store.scores import note_repeats
from tocsin.store.writers import SHIFT, Writers

HOUR_S = 3600
_MOST_ROWS = 200_000  # of one piece that is held in memory
_OWN = (1 << SHIFT) - 1  # the part of a segment's number that is not its writer
_MAPS = ("classes", "h", "p")
_EXACT = ("n", "errors", "failed", "truncated", "duration_us", "input_tokens", "output_tokens",
          "usage_known", "cost_known")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a copy is: hours of this table that were looked at, rows sent, of how many."""

    table: str
    hours: int
    hours_total: int
    rows_sent: int
    rows_total: int


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of a table: hours looked at and sent; rows and their hash, equal on both sides.

    sums: of calls, what a person may want to compare.
    """

    table: str
    hours: int
    hours_sent: int
    rows: int
    checksum: int
    sums: Mapping[str, float]


class Copier:
    """Copies the tables of one store into another that has the same tables."""

    def __init__(
        self, source: ClickHouse, target: ClickHouse, clock: Clock, tables: Sequence[Table]
    ) -> None:
        self._source = source
        self._target = target
        self._tables = [table for table in tables if "seg" in table.names]
        self._writer = _writer(source, target, clock)

    def run(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> list[Copied]:
        """Copy whole hours of [since, until); everything by default.

        StoreError when an hour still differs after it was sent.
        """
        window = (
            int(since.timestamp()) // HOUR_S * HOUR_S if since else 0,
            int(until.timestamp()) // HOUR_S * HOUR_S if until else 1 << 32,
        )
        done = [self._table(table, window, report) for table in self._tables]
        note_repeats(self._target, f"bitShiftRight(seg, {SHIFT}) = {self._writer}", {})
        return [*done, *(self._rollup(table, window, report) for table, _ in ROLLUPS)]

    def _table(
        self, table: Table, window: tuple[int, int], report: Callable[[Progress], None]
    ) -> Copied:
        hashed = ", ".join(_hashed(name) for name in table.names)
        facts = f"count(), sum(cityHash64({hashed}))"
        mine = f"bitShiftRight(seg, {SHIFT}) = {self._writer}"

        def send(start: int, stop: int, rows: int) -> None:
            step = -(-(stop - start) // max(1, -(-rows // _MOST_ROWS)))
            for low in range(start, stop, step):
                self._send(table, low, min(low + step, stop))

        return self._hours(table, facts, mine, window, send, report)

    def _rollup(
        self, table: Table, window: tuple[int, int], report: Callable[[Progress], None]
    ) -> Copied:
        counts = [f"sum({name})" for name in _EXACT]
        counts += [f"sum(arraySum(mapValues({name})))" for name in _MAPS]
        facts = f"sum(n), cityHash64({', '.join(counts)})"
        mine = f"writer = {self._writer}"

        def send(start: int, stop: int, _: int) -> None:
            sums = [f"sum({name}) AS {name}" for name in (*_EXACT, "cost_usd")]
            sums += [f"sumMap({name}) AS {name}" for name in _MAPS]
            columns = [*_KEYS, *_EXACT, "cost_usd", *_MAPS]
            self._target.load(
                table.name,
                ["t", *columns, "writer"],
                self._source.export(
                    f"SELECT t, {', '.join(_KEYS)}, {', '.join(sums)},"
                    f" toUInt16({self._writer}) AS writer FROM {DATABASE}.{table.name}"
                    f" WHERE {_between(table, start, stop)} GROUP BY t, {', '.join(_KEYS)}"
                ),
            )

        return self._hours(table, facts, mine, window, send, report)

    def _hours(
        self, table: Table, facts: str, mine: str, window: tuple[int, int],
        send: Callable[[int, int, int], None], report: Callable[[Progress], None],
    ) -> Copied:  # fmt: skip
        here = self._facts(self._source, table, facts, "1", window)
        total, sent, hours_sent = sum(rows for rows, _ in here.values()), 0, 0
        for number, (start, (rows, checksum)) in enumerate(sorted(here.items()), start=1):
            bounds = (start, start + HOUR_S)
            there = self._facts(self._target, table, facts, mine, bounds).get(start)
            if there != (rows, checksum):
                if there:
                    self._target.delete(table.name, f"{mine} AND {_between(table, *bounds)}")
                send(*bounds, rows)
                sent, hours_sent = sent + rows, hours_sent + 1
                self._verify(table, facts, mine, start, (rows, checksum))
            report(Progress(table.name, number, len(here), sent, total))
        checksum = sum(value for _, value in here.values()) % (1 << 64)
        return Copied(table.name, len(here), hours_sent, total, checksum, self._sums(table, window))

    def _facts(
        self, engine: ClickHouse, table: Table, facts: str, where: str, window: tuple[int, int]
    ) -> dict[int, tuple[int, int]]:
        """Rows and hash of every hour that has rows, by its first second."""
        rows = engine.rows(
            f"SELECT toInt64(intDiv(toUnixTimestamp({table.time}), {HOUR_S})) * {HOUR_S} AS hour,"
            f" {facts} FROM {DATABASE}.{table.name}"
            f" WHERE {where} AND {_between(table, *window)} GROUP BY hour"
        )
        return {int(hour): (int(count), int(checksum)) for hour, count, checksum in rows}

    def _verify(
        self, table: Table, facts: str, mine: str, start: int, wanted: tuple[int, int]
    ) -> None:
        self._target.catch_up(table.name)
        found = self._facts(self._target, table, facts, mine, (start, start + HOUR_S)).get(start)
        if found != wanted:
            hour = datetime.fromtimestamp(start, UTC)
            raise StoreError(
                f"{table.name} of {hour:%Y-%m-%d %H:%M} differs after it was copied: {wanted[0]}"
                f" rows at {self._source.address}, {found[0] if found else 0} at"
                f" {self._target.address}. If either side keeps rows for a shorter time, make"
                " retention equal; then run the copy again."
            )

    def _send(self, table: Table, start: int, stop: int) -> None:
        columns = table.names
        owned = f"bitOr(bitAnd(seg, {_OWN}), bitShiftLeft(toUInt64({self._writer}), {SHIFT}))"
        picked = ", ".join(f"{owned} AS seg" if name == "seg" else name for name in columns)
        block = self._source.export(
            f"SELECT {picked} FROM {DATABASE}.{table.name} WHERE {_between(table, start, stop)}"
        )
        if block:
            self._target.load(table.name, columns, block)

    def _sums(self, table: Table, window: tuple[int, int]) -> dict[str, float]:
        if table.name != "calls":
            return {}
        names = ("input_tokens", "output_tokens", "cost_usd")
        sums = ", ".join(f"toFloat64(sum({name}))" for name in names)
        row = self._source.rows(
            f"SELECT {sums} FROM {DATABASE}.calls WHERE {_between(table, *window)}"
        )[0]
        return dict(zip(names, map(float, row), strict=True))


_KEYS = ("project", "service", "kind", "model", "sk", "sv")


def _hashed(name: str) -> str:
    return f"bitAnd(seg, {_OWN})" if name == "seg" else name


def _between(table: Table, start: int, stop: int) -> str:
    """SQL: seconds since the epoch [start, stop)."""
    if table.time == "t":
        return f"t >= toDateTime({start}, 'UTC') AND t < toDateTime({min(stop, _LAST)}, 'UTC')"
    make = "fromUnixTimestamp64Micro"
    low, high = start * 1_000_000, stop * 1_000_000
    return (
        f"{table.time} >= {make}(toInt64({low}), 'UTC')"
        f" AND {table.time} < {make}(toInt64({high}), 'UTC')"
    )


_LAST = (1 << 32) - 1


def _writer(source: ClickHouse, target: ClickHouse, clock: Clock) -> int:
    """The writer number under which this source is copied into this target, at every try."""
    facts = Facts(target, clock)
    name = f"copy/{Writers(source, clock).identity()}"
    known: list[Any] = facts.values(name)
    if known:
        return int(known[0])
    number = Writers(target, clock).claim(f"copy of {source.address}")
    facts.put(name, str(number))
    facts.settle()
    return number
