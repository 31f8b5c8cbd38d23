"""What an operator asks of a store: what is in it, a backup of it, and putting one back."""

# ruff: noqa: S608 (SQL text is put together from names of this package and escaped literals)

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tocsin.domain.clock import Clock
from tocsin.domain.errors import StoreError
from tocsin.store.clickhouse import DATABASE, ClickHouse, EngineError, literal
from tocsin.store.layout import COPIED
from tocsin.store.owner import Owner
from tocsin.store.retention import Keeping
from tocsin.store.schema import Table

TELEMETRY, STATE = "telemetry", "state.db"  # what a backup holds


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table: rows, bytes on disk, parts; its oldest and newest row; days it keeps them.

    keeps_days: 0 is for ever. content_days: 0 is as long as the rows.
    """

    table: str
    rows: int
    bytes: int
    parts: int
    oldest: datetime | None
    newest: datetime | None
    keeps_days: int
    content_days: int


def table_statuses(engine: ClickHouse, tables: Sequence[Table], clock: Clock) -> list[TableStatus]:
    """Every table that is there, in the order of `tables`."""
    sizes = _sizes(engine)
    keeping = Keeping(engine, clock, tables)
    found = []
    for table in tables:
        if table.name not in sizes:
            continue
        rows, size, parts = sizes[table.name]
        oldest = newest = None
        if table.time and rows:
            span = engine.rows(
                f"SELECT toUnixTimestamp(min({table.time})), toUnixTimestamp(max({table.time}))"
                f" FROM {DATABASE}.{table.name}"
            )[0]
            oldest, newest = (datetime.fromtimestamp(int(second), UTC) for second in span)
        content = max((keeping.content_days(table, column) for column in table.columns), default=0)
        found.append(
            TableStatus(table.name, rows, size, parts, oldest, newest, keeping.days(table), content)
        )
    return found


def backlog_of(data_dir: Path) -> tuple[int, int]:
    """Segments that wait in a write-ahead directory, and their bytes."""
    waiting = [*(data_dir / "wal").glob("*.ready"), *(data_dir / "wal").glob("*.open")]
    return len(waiting), sum(path.stat().st_size for path in waiting)


def back_up(data_dir: Path, target: Path, *, memory_bytes: int) -> list[Path]:
    """Back up a data directory that no process uses into `target`, which must not exist.

    Telemetry by ClickHouse's own BACKUP, the state by SQLite's, what waits to be loaded as files.
    StoreError when another process has the directory open.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; give the name of a new directory")
    if not (data_dir / "clickhouse").is_dir():
        raise StoreError(f"{data_dir} holds no embedded store; a server has backups of its own")
    with closing(Owner(data_dir)):  # before anything is made, so that it can be tried again
        target.mkdir(parents=True, mode=0o700)
        made = [_back_up_telemetry(data_dir, target, memory_bytes)]
        if (data_dir / STATE).exists():
            made.append(_copy_state(data_dir / STATE, target / STATE))
        for name in ("wal", "quarantine"):
            if (data_dir / name).is_dir():
                shutil.copytree(data_dir / name, target / name)
                made.append(target / name)
    return made


def restore(source: Path, data_dir: Path, *, memory_bytes: int) -> None:
    """Make a data directory from a backup. StoreError when there is something in it already."""
    if not (source / TELEMETRY).is_dir():
        raise StoreError(f"{source} is no backup: it holds no directory `{TELEMETRY}`")
    if data_dir.exists() and any(data_dir.iterdir()):
        raise StoreError(f"{data_dir} is not empty; restore into a new --data-dir")
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = ClickHouse.embedded(
        data_dir / "clickhouse",
        memory_bytes=memory_bytes,
        options={"backups.allowed_path": str(source.resolve())},
    )
    try:
        engine.execute(f"DROP DATABASE {DATABASE} SYNC")
        place = source.resolve() / TELEMETRY
        engine.execute(f"RESTORE DATABASE {DATABASE} FROM File({literal(str(place))})")
    except EngineError as error:
        raise StoreError(f"the backup in {source} cannot be restored: {error}") from None
    finally:
        engine.close()
    if (source / STATE).exists():
        _copy_state(source / STATE, data_dir / STATE)
    for name in ("wal", "quarantine"):
        if (source / name).is_dir():
            shutil.copytree(source / name, data_dir / name)


def _back_up_telemetry(data_dir: Path, target: Path, memory_bytes: int) -> Path:
    engine = ClickHouse.embedded(
        data_dir / "clickhouse",
        memory_bytes=memory_bytes,
        options={"backups.allowed_path": str(target.resolve())},
    )
    place = target.resolve() / TELEMETRY
    with closing(engine):
        engine.execute(f"BACKUP DATABASE {DATABASE} TO File({literal(str(place))})")
    return target / TELEMETRY


def _copy_state(source: Path, target: Path) -> Path:
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as write:
        read.backup(write)
    target.chmod(0o600)
    return target


def _sizes(engine: ClickHouse) -> dict[str, tuple[int, int, int]]:
    layout = engine.layout
    parts = (
        f"cluster({literal(layout.cluster)}, system.parts)"
        if layout.is_distributed
        else "system.parts"
    )
    rows = engine.rows(
        f"SELECT replaceRegexpOne(table, '_local$', '') AS name, sum(rows), sum(bytes_on_disk),"
        f" count() FROM {parts} WHERE database = {literal(DATABASE)} AND active GROUP BY name"
    )
    found = {str(name): (int(n), int(size), int(count)) for name, n, size, count in rows}
    listed = engine.rows(f"SELECT name FROM system.tables WHERE database = {literal(DATABASE)}")
    names = {str(row[0]).removesuffix("_local") for row in listed} | COPIED
    return dict.fromkeys(names, (0, 0, 0)) | found
