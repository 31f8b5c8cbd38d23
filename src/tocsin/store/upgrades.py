"""Numbered changes of the telemetry tables that adding a column cannot express.

`meta` says which of them a store has had. Each says what it does to the pieces and what to the
Distributed tables over them, is safe to repeat, and runs before anything is inserted by this
process. Columns that are merely new need no number: `tocsin.store.ddl` adds them.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from tocsin.domain.clock import Clock
from tocsin.domain.errors import StoreError
from tocsin.store import ddl
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.facts import Facts
from tocsin.store.schema import CALLS, ROLLUPS

_log = structlog.get_logger(__name__)
_NAME = "tables"


def writers_apart(engine: ClickHouse) -> None:
    """2: rollup rows say who wrote the calls behind them, and are kept apart by it.

    Rows from before belong to writer 0, the store's own process, which was the only one.
    """
    for table, _ in ROLLUPS:
        writer = table.columns[-1]
        if writer.name not in ddl.columns_of(engine, table.name):
            order = ", ".join(table.order)
            ddl.add_column(engine, table, writer, then=f", MODIFY ORDER BY ({order})")


UPGRADES: dict[int, Callable[[ClickHouse], None]] = {2: writers_apart}
LATEST = max(UPGRADES)


def has_tables(engine: ClickHouse) -> bool:
    """Whether there is a store already. Asked before tables are made."""
    return bool(ddl.columns_of(engine, CALLS.name))


def upgrade(engine: ClickHouse, clock: Clock, *, existed: bool) -> int:
    """Bring the tables up to this version; returns the version they had.

    existed: whether they were there before this process made what is missing. StoreError when a
    newer Tocsin made them.
    """
    facts = Facts(engine, clock)
    told = int(facts.number(_NAME))
    found = told or (1 if existed else LATEST)
    if found > LATEST:
        raise StoreError(
            f"the telemetry tables are of version {found}, made by a newer Tocsin; this one knows"
            f" {LATEST}. Start the newer one, or restore a backup from before the upgrade."
        )
    for number in range(found + 1, LATEST + 1):
        UPGRADES[number](engine)
        _log.info("tables_upgraded", version=number)
    if told != LATEST:
        facts.put(_NAME, str(LATEST))
    return found
