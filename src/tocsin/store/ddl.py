"""Makes the tables of `tocsin.store.schema` and keeps them as this version wants them.

Printed once per layout: plain engines on one node; on a cluster replicated pieces
`<table>_local` on every shard, a Distributed table `<table>` over them, and views from piece to
piece. A view is made when it is missing and otherwise given its SELECT by MODIFY QUERY, which
ClickHouse does between two inserts: dropping it, even for a moment, would lose what another process
inserts meanwhile.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tocsin.store.clickhouse import ClickHouse, literal
from tocsin.store.layout import COPIED, DATABASE, ONE_NODE, Layout
from tocsin.store.schema import CONTENT, TABLES, VIEWS, Column, Retention, Table, View

# Identical rows may come twice on purpose (a segment that was deleted and is replayed, an hour that
# is computed anew), so a replicated table must not take the second for a repetition.
_REPLICATED_SETTINGS = ", replicated_deduplication_window = 0"


def ddl(
    tables: Sequence[Table] = TABLES,
    views: Sequence[View] = VIEWS,
    *,
    retention: Retention | None = None,
    layout: Layout = ONE_NODE,
) -> Iterator[str]:
    """CREATE statements in order: every table, then every view."""
    for table in tables:
        yield from table_ddl(table, retention or Retention(), layout)
    for view in views:
        yield view_ddl(view, layout)


def table_ddl(table: Table, retention: Retention, layout: Layout) -> Iterator[str]:
    """CREATE statements of one table: its pieces, then what is over them."""
    name, where = layout.piece(table.name), layout.everywhere
    columns = (_column(column, table, retention) for column in table.columns)
    body = ",\n  ".join([*columns, *table.indexes])
    ttl = expiry(table, retention.days(table))
    partition = "" if table.partition == "tuple()" else f"\nPARTITION BY {table.partition}"
    yield (
        f"CREATE TABLE IF NOT EXISTS {name}{where} (\n  {body}\n)"
        f"\nENGINE = {engine_of(table.name, table.engine, layout)}{partition}"
        f"\nORDER BY ({', '.join(table.order)}){f'{chr(10)}TTL {ttl}' if ttl else ''}"
        f"\nSETTINGS {table.settings}{_REPLICATED_SETTINGS if where else ''}"
    )
    if layout.is_distributed and table.name not in COPIED:
        yield (
            f"CREATE TABLE IF NOT EXISTS {DATABASE}.{table.name}{where} AS {name}"
            f" ENGINE = Distributed({layout.quoted}, {DATABASE}, {table.name}_local,"
            f" {table.sharding})"
        )


def view_ddl(view: View, layout: Layout) -> str:
    """CREATE MATERIALIZED VIEW from piece to piece."""
    return (
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {DATABASE}.{view.name}{layout.everywhere}"
        f" TO {layout.piece(view.target)} AS\n{view_select(view, layout)}"
    )


def view_select(view: View, layout: Layout) -> str:
    """The SELECT of a view over the pieces of its source."""
    source = f"FROM {DATABASE}.{view.source} "
    return view.select.replace(source, f"FROM {layout.piece(view.source)} ")


def engine_of(table: str, engine: str, layout: Layout) -> str:
    """The engine of a table's pieces.

    A copied table is one set of replicas over all nodes; any other is a set per shard.
    """
    if not layout.everywhere:
        return engine
    shard, replica = ("all", "{shard}-{replica}") if table in COPIED else ("{shard}", "{replica}")
    path = f"/clickhouse/tables/{shard}/{DATABASE}/{table}"
    return f"Replicated{engine}('{path}', '{replica}')"


def expiry(table: Table, days: int) -> str:
    """SQL: when a row of `table` expires that is kept for `days`; "" for never."""
    if not days:
        return ""
    time = table.time if table.time == "t" else f"toDateTime({table.time})"
    return f"{time} + INTERVAL {days} DAY"


def install(
    engine: ClickHouse, tables: Sequence[Table] = TABLES, *, retention: Retention | None = None
) -> None:
    """Make what is missing and let views follow this version. Any number of processes may do it.

    retention: of tables that are made; those that are there keep theirs.
    """
    layout = engine.layout
    for statement in ddl(tables, (), retention=retention, layout=layout):
        engine.execute(statement)
    for table in tables:
        _add_missing(engine, table)


def refresh_views(engine: ClickHouse, views: Sequence[View] = VIEWS) -> None:
    """Make views that are missing, and give those that differ the SELECT of this version."""
    for view in views:
        select = view_select(view, engine.layout)
        found = engine.rows(
            f"SELECT formatQuerySingleLine(as_select) = formatQuerySingleLine({literal(select)})"
            f" FROM system.tables WHERE database = '{DATABASE}' AND name = '{view.name}'"
        )
        if not found:
            engine.execute(view_ddl(view, engine.layout))
        elif not found[0][0]:
            where = engine.layout.everywhere
            engine.execute(f"ALTER TABLE {DATABASE}.{view.name}{where} MODIFY QUERY {select}")


def columns_of(engine: ClickHouse, table: str) -> frozenset[str]:
    """The columns that `tocsin.<table>` has on the node that answers."""
    rows = engine.rows(
        "SELECT name FROM system.columns WHERE database = {d:String} AND table = {t:String}",
        {"d": DATABASE, "t": table},
    )
    return frozenset(row[0] for row in rows)


def add_column(engine: ClickHouse, table: Table, column: Column, then: str = "") -> None:
    """Add a column to the pieces, then to what is over them. then: more of the piece's ALTER."""
    layout = engine.layout
    add = f"ADD COLUMN IF NOT EXISTS {column.ddl}"
    engine.execute(f"ALTER TABLE {layout.pieces(table.name)} {add}{then}")
    if layout.piece(table.name) != f"{DATABASE}.{table.name}":
        engine.execute(f"ALTER TABLE {DATABASE}.{table.name}{layout.everywhere} {add}")


def _add_missing(engine: ClickHouse, table: Table) -> None:
    piece = engine.layout.piece(table.name).removeprefix(f"{DATABASE}.")
    present = columns_of(engine, table.name) & columns_of(engine, piece)
    for column in table.columns:
        if column.name not in present and column.name not in table.order:
            add_column(engine, table, column)
    indexed = {
        row[0]
        for row in engine.rows(
            "SELECT name FROM system.data_skipping_indices"
            " WHERE database = {d:String} AND table = {t:String}",
            {"d": DATABASE, "t": piece},
        )
    }
    for index in table.indexes:
        if index.split(" ")[1] not in indexed:
            engine.execute(f"ALTER TABLE {engine.layout.pieces(table.name)} ADD {index}")


def _column(column: Column, table: Table, retention: Retention) -> str:
    days = retention.content(table) if column.name in CONTENT.get(table.name, ()) else 0
    return f"{column.ddl} TTL {expiry(table, days)}" if days else column.ddl
