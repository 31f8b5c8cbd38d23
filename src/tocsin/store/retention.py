"""How long rows are kept: applies it to tables that are there, and remembers what it cost.

Raw calls go before their rollups do, which is the point of having both; so an hour may only be
computed anew from raw calls while all of them are there. `complete_since` says from when on they
are, and it does not go back when retention is made longer: what expired stays gone.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import structlog

from tocsin.domain.clock import Clock
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.ddl import expiry
from tocsin.store.facts import Facts
from tocsin.store.schema import CALLS, CALLS_1H, CONTENT, Column, Retention, Table

_log = structlog.get_logger(__name__)
DAY_S = 86_400
# By table: the fact that says from when on all of its rows are there.
_FACTS = {CALLS.name: "raw_complete_since", CALLS_1H.name: "hours_complete_since"}
_TABLE_TTL = re.compile(r" TTL [^`]*?\+ toIntervalDay\((\d+)\)(?: SETTINGS .*)?$", re.S)
_COLUMN_TTL = r"`{}` (?:(?! ENGINE = )[^`])*? TTL [^`]*?\+ toIntervalDay\((\d+)\)"


class Keeping:
    """The retention of one store."""

    def __init__(self, engine: ClickHouse, clock: Clock, tables: Sequence[Table]) -> None:
        self._engine = engine
        self._clock = clock
        self._tables = tables
        self._facts = Facts(engine, clock)
        self._since = {name: self._facts.number(fact) for name, fact in _FACTS.items()}
        self._days = self._kept()

    @property
    def raw_days(self) -> int:
        """For how many days calls are kept; 0 is for ever."""
        return self._days[CALLS.name]

    def days(self, table: Table) -> int:
        """For how many days a table keeps its rows, as ClickHouse has it; 0 is for ever."""
        found = _TABLE_TTL.search(self._definition(table))
        return int(found[1]) if found else 0

    def content_days(self, table: Table, column: Column) -> int:
        """For how many days a column keeps what is in it; 0 is as long as its row."""
        return _column_days(self._definition(table), column)

    def complete_since(self, table: Table = CALLS) -> float:
        """The second since the epoch from which on every row is there that was ever stored: of
        calls, or of their hours."""
        since, days = self._since[table.name], self._days[table.name]
        oldest = self._clock.now().timestamp() - days * DAY_S
        return max(since, oldest) if days else since

    def apply(self, retention: Retention) -> list[str]:
        """Keep rows for so long from now on; returns the tables that were changed.

        A table that has that retention already is left alone. ClickHouse drops what has become too
        old in the background.
        """
        for table in (CALLS, CALLS_1H):
            if self._days[table.name] and retention.days(table) != self._days[table.name]:
                self._since[table.name] = self.complete_since(table)
                self._facts.put(_FACTS[table.name], repr(self._since[table.name]))
        changed = []
        for table in self._tables:
            if not table.time:
                continue
            where = self._engine.layout.pieces(table.name)
            commands = list(self._commands(table, retention))
            for command in commands:  # one by one: several in one ALTER are refused or misread
                self._engine.execute(f"ALTER TABLE {where} {command}", settings=_LATER)
            if commands:
                changed.append(table.name)
        self._days = self._kept()
        if changed:
            _log.info("retention_changed", tables=changed)
        return changed

    def _kept(self) -> dict[str, int]:
        return {table.name: self.days(table) for table in (CALLS, CALLS_1H)}

    def _commands(self, table: Table, retention: Retention) -> Iterator[str]:
        definition = self._definition(table)
        found = _TABLE_TTL.search(definition)
        days, now = retention.days(table), int(found[1]) if found else 0
        if days != now:
            yield f"MODIFY TTL {expiry(table, days)}" if days else "REMOVE TTL"
        wanted = retention.content(table)
        for column in table.columns:
            if column.name not in CONTENT.get(table.name, ()):
                continue
            if (had := _column_days(definition, column)) == wanted:
                continue
            if had and not wanted:
                yield f"MODIFY COLUMN {column.name} REMOVE TTL"
            else:
                yield f"MODIFY COLUMN {column.ddl} TTL {expiry(table, wanted)}"

    def _definition(self, table: Table) -> str:
        piece = self._engine.layout.piece(table.name).removeprefix(f"{DATABASE}.")
        rows = self._engine.rows(
            f"SELECT create_table_query FROM system.tables WHERE database = '{DATABASE}'"
            " AND name = {name:String}",
            {"name": piece},
        )
        return str(rows[0][0]) if rows else ""


# Dropping what is too old may take long and is nothing to wait for.
_LATER = {"alter_sync": 0, "mutations_sync": 0}


def _column_days(definition: str, column: Column) -> int:
    found = re.search(_COLUMN_TTL.format(re.escape(column.name)), definition, re.S)
    return int(found[1]) if found else 0
