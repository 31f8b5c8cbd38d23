"""Commands about the telemetry store: status, serve, copy, backup, restore."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from tocsin.cli.terminal import DataDir, Output, logs, out, told

if TYPE_CHECKING:
    from tocsin.engine.settings import Settings

store = typer.Typer(
    help="The telemetry store: what is in it, serving it, copying it, backing it up.",
    no_args_is_help=True,
)

Since = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="UTC, whole hours")
]


@store.command()
def status(data_dir: DataDir = None, output: Output = Output.TEXT) -> None:
    """Rows, bytes, parts, oldest and newest row and retention of every table, and the backlog.

    Asks the server of TOCSIN_CLICKHOUSE, or opens the data directory, which no other process may
    use meanwhile; a running one that serves its store is asked by its address.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.storing import EVERY_TABLE, opened
    from tocsin.store.upkeep import backlog_of, table_statuses

    with told():
        settings = _settings(data_dir)
        with opened(settings) as engine:
            found = table_statuses(engine, EVERY_TABLE, SystemClock())
        segments, size = backlog_of(settings.data_dir)
        if output is not Output.TEXT:
            rows = [
                {**{name: getattr(one, name) for name in one.__slots__},
                 "oldest": _iso(one.oldest), "newest": _iso(one.newest)}
                for one in found
            ]  # fmt: skip
            print(  # noqa: T201
                json.dumps({
                    "store": str(engine.address), "tables": rows,
                    "backlog": {"segments": segments, "bytes": size},
                })
            )  # fmt: skip
            return
        shown = Table(box=None, pad_edge=False, title=f"{engine.address}", title_justify="left")
        for name in ("table", "rows", "MB", "parts", "oldest", "newest", "kept"):
            shown.add_column(name, justify="right" if name in {"rows", "MB", "parts"} else "left")
        for one in found:
            kept = f"{one.keeps_days} d" if one.keeps_days else "for ever"
            kept += f", content {one.content_days} d" if one.content_days else ""
            shown.add_row(
                one.table, f"{one.rows:,}", f"{one.bytes / 1e6:,.1f}", str(one.parts),
                _iso(one.oldest), _iso(one.newest), kept,
            )  # fmt: skip
        out.print(shown)
        out.print(f"waiting to be loaded: {segments} segments, {size / 1e6:.1f} MB")


@store.command()
def serve(
    data_dir: DataDir = None,
    host: Annotated[
        str | None, typer.Option(help="address to listen on [TOCSIN_STORE_HOST]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on [TOCSIN_STORE_PORT]")] = None,
) -> None:
    """Own the embedded store and serve it to other processes; take nothing in and judge nothing.

    Tokens: TOCSIN_STORE_TOKEN and TOCSIN_STORE_READ_TOKEN; needed on any address but loopback.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.web.store_server import USUAL_PORT, serve_store

    logs(logging.INFO)
    with told():
        settings = _settings(data_dir)
        settings = replace(
            settings,
            store_host=host or settings.store_host,
            store_port=settings.store_port or USUAL_PORT if port is None else port,
        )

        async def run() -> None:
            stop = asyncio.Event()
            for name in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(name, stop.set)
            await serve_store(settings, SystemClock(), stop)

        asyncio.run(run())


@store.command()
def copy(
    to: Annotated[str, typer.Option(help="the other store, http(s)://user:password@host:port")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="data directory or address to copy from [TOCSIN_DATA]"),
    ] = None,
    cluster: Annotated[str, typer.Option(help="the cluster its tables are to lie on")] = "",
    since: Since = None,
    until: Since = None,
    output: Output = Output.TEXT,
) -> None:
    """Copy a store into another, verify it hour by hour, and go on where it was cut off.

    Rows, sums and a hash over every column must be equal on both sides, or it says which hour is
    not. Run again, it copies what is new or differs. Retention should be equal on both sides.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.storing import copy_store
    from tocsin.store.clickhouse import ClickHouse
    from tocsin.store.copying import Progress as Step
    from tocsin.store.layout import Layout

    with told():
        settings = _settings(None)
        given = source or settings.clickhouse or str(settings.data_dir)
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[rows]}"), TimeRemainingColumn(),
            console=out, disable=output is not Output.TEXT,
        )  # fmt: skip
        rows_of: dict[str, TaskID] = {}

        def report(step: Step) -> None:
            if step.table not in rows_of:
                rows_of[step.table] = bar.add_task(step.table, total=step.hours_total, rows="")
            text = f"{step.rows_sent:,} of {step.rows_total:,} rows"
            bar.update(rows_of[step.table], completed=step.hours, rows=text)

        target = ClickHouse(to, layout=Layout(cluster), password=settings.clickhouse_password)
        with bar, closing(target):
            done = copy_store(settings, given, target, (since, until), SystemClock(), report)
        if output is not Output.TEXT:
            rows = [
                {"table": one.table, "hours": one.hours, "hours_sent": one.hours_sent,
                 "rows": one.rows, "checksum": f"{one.checksum:016x}", **one.sums}
                for one in done
            ]  # fmt: skip
            print(json.dumps(rows))  # noqa: T201
            return
        for one in done:
            sums = ", ".join(f"{name} {value:,.6g}" for name, value in one.sums.items())
            out.print(
                f"{one.table}: {one.rows:,} rows in {one.hours} hours equal"
                f" (hash {one.checksum:016x}), {one.hours_sent} sent{'; ' if sums else ''}{sums}",
                highlight=False,
            )


@store.command()
def backup(
    target: Annotated[Path, typer.Argument(help="a directory that does not exist yet")],
    data_dir: DataDir = None,
) -> None:
    """Back up telemetry, state and what waits to be loaded; no process may use them meanwhile."""
    from tocsin.store.upkeep import back_up

    with told():
        settings = _settings(data_dir)
        made = back_up(settings.data_dir, target, memory_bytes=settings.memory_bytes)
        out.print(f"Backed up to {target}: {', '.join(path.name for path in made)}.")


@store.command()
def restore(
    source: Annotated[Path, typer.Argument(help="a directory that `store backup` made")],
    data_dir: DataDir = None,
) -> None:
    """Make a data directory from a backup."""
    from tocsin.store.upkeep import restore as put_back

    with told():
        settings = _settings(data_dir)
        put_back(source, settings.data_dir, memory_bytes=settings.memory_bytes)
        out.print(f"Restored {source} into {settings.data_dir}.")


def _settings(data_dir: Path | None) -> Settings:
    from tocsin.engine.settings import from_environment, secrets, with_secrets

    settings = from_environment(data_dir=data_dir)
    return with_secrets(settings, secrets(settings), is_served=True)


def _iso(instant: datetime | None) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if instant else ""
