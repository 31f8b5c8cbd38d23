"""Many rows at once, as the driver takes them.

SQLAlchemy prepares each row of an insert by its columns' types, which costs several times what the
database takes for it. What goes through here is text and numbers already: JSON as its text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa


def insert(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, by: str = ""
) -> None:
    """Insert rows, which have every column of `table`. by: the column of its key, by which a row
    replaces the one that is there; "" replaces none."""
    if rows:
        names = [column.name for column in table.columns]
        told = [tuple([row[name] for name in names]) for row in rows]
        connection.exec_driver_sql(_statement(table, connection.dialect.paramstyle, by), told)


@cache
def _statement(table: sa.Table, paramstyle: str, by: str) -> str:
    names = [column.name for column in table.columns]
    mark = "?" if paramstyle == "qmark" else "%s"
    marks = ", ".join([mark] * len(names))
    text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 (ours)
    if by:
        changed = ", ".join(f"{name} = excluded.{name}" for name in names if name != by)
        text += f" ON CONFLICT ({by}) DO UPDATE SET {changed}"
    return text
