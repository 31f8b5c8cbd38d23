"""What `tocsin store` does with whole stores, without a word about terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tocsin.domain.clock import Clock
from tocsin.domain.errors import StoreError
from tocsin.engine.settings import Settings
from tocsin.store import otlp_kinds, schema
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.copying import Copied, Copier, Progress
from tocsin.store.layout import Layout
from tocsin.store.otlp_kinds import KINDS
from tocsin.store.owner import Owner
from tocsin.store.telemetry import Telemetry, prepared

EVERY_TABLE = (*schema.TABLES, *otlp_kinds.TABLES)


@contextmanager
def opened(settings: Settings) -> Iterator[ClickHouse]:
    """The store of these settings, its tables left as they are. StoreError when there is none."""
    if settings.clickhouse:
        with closing(
            ClickHouse(
                settings.clickhouse,
                layout=Layout(settings.clickhouse_cluster),
                password=settings.clickhouse_password,
            )
        ) as engine:
            yield engine
        return
    path = settings.data_dir / "clickhouse"
    if not path.is_dir():
        raise StoreError(f"{settings.data_dir} holds no store; give --data-dir")
    try:
        owner = Owner(settings.data_dir)
    except StoreError as error:
        raise StoreError(
            f"{error}. If it serves its store (TOCSIN_STORE_PORT), give the address in"
            " TOCSIN_CLICKHOUSE"
        ) from None
    with (
        closing(owner),
        closing(ClickHouse.embedded(path, memory_bytes=settings.memory_bytes)) as engine,
    ):
        yield engine


def copy_store(
    settings: Settings,
    source: str,
    target: ClickHouse,
    window: tuple[datetime | None, datetime | None],
    clock: Clock,
    report: Callable[[Progress], None],
) -> list[Copied]:
    """Copy `source` (a data directory or an address) into `target`, whose tables are made first.

    What waits in a directory to be loaded is loaded before.
    """
    prepared(target, clock, EVERY_TABLE, None)
    since, until = (None if at is None else at.replace(tzinfo=UTC) for at in window)
    with _source(settings, source, clock) as engine:
        copier = Copier(engine, target, clock, EVERY_TABLE)
        return copier.run(since=since, until=until, report=report)


@contextmanager
def _source(settings: Settings, source: str, clock: Clock) -> Iterator[ClickHouse]:
    if source.startswith(("http://", "https://")):
        engine = ClickHouse(source, layout=Layout(settings.clickhouse_cluster))
        try:
            yield engine
        finally:
            engine.close()
        return
    path = Path(source)
    if not (path / "clickhouse").is_dir():
        raise StoreError(f"{path} holds no store to copy; give --from DIR or an address")
    with Telemetry.open(
        path, clock, kinds=KINDS, tables=otlp_kinds.TABLES, memory_bytes=settings.memory_bytes
    ) as store:
        yield store.engine
