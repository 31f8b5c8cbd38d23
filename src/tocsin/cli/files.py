"""Commands about files: import what happened before, or elsewhere; bills beside the book."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from tocsin.cli.terminal import BadOption, DataDir, Output, Url, err, fail, instant, logs, out, told
from tocsin.domain.clock import monotonic_s
from tocsin.domain.errors import TocsinError

if TYPE_CHECKING:
    from tocsin.domain.clock import Clock
    from tocsin.engine.exchange.importing import Imported, Watch
    from tocsin.engine.exchange.targets import Target
    from tocsin.engine.settings import Settings


def import_(
    files: Annotated[list[Path], typer.Argument(help="CSV, TSV, JSONL (also .gz), Parquet")],
    kind: Annotated[
        str, typer.Option(help="calls, scores, changes or billing; found by the columns if absent")
    ] = "",
    mapping: Annotated[Path | None, typer.Option(help="how the columns are to be read")] = None,
    service: Annotated[str, typer.Option(help="of rows that name none")] = "",
    project: Annotated[str, typer.Option(help="of rows that name none")] = "",
    start: Annotated[
        str, typer.Option(help="when a file without a clock of its own began, RFC 3339")
    ] = "",
    undated: Annotated[
        bool, typer.Option("--undated", help="scores and changes without a time count now")
    ] = False,
    encoding: Annotated[str, typer.Option(help="of CSV files")] = "utf-8",
    rejected: Annotated[
        Path | None, typer.Option(help="file for rows that cannot be used [FILE.rejected.jsonl]")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Take in files of calls, scores, changes or bills; run again, it goes on where it stopped.

    Exit code: 0 everything is in, 2 rows were set aside, 1 a file could not be read or taken.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.exchange.contents import KINDS, Wishes
    from tocsin.engine.exchange.importing import import_file
    from tocsin.engine.settings import from_environment

    logs(logging.WARNING)
    with told():
        if kind and kind not in KINDS:
            raise BadOption(f"--kind {kind} is not known; use {', '.join(KINDS)}")
        settings = from_environment(data_dir=data_dir, url=url)
        clock = SystemClock()
        wishes = Wishes(
            clock.now(), kind, mapping,
            {name: text for name, text in (("service", service), ("project", project)) if text},
            instant(start, "--start"), undated,
        )  # fmt: skip
        done: list[Imported] = []
        failed = False
        with _target(settings, clock) as target:
            for path in files:
                try:
                    with _shown(path, output) as watch:
                        done.append(
                            import_file(path, target, wishes, encoding=encoding,
                                        rejects=rejected, watch=watch)
                        )  # fmt: skip
                except TocsinError as error:
                    failed = True
                    fail(str(error))
                else:
                    _tell(done[-1], output)
        raise typer.Exit(1 if failed else 2 if any(each.rejected for each in done) else 0)


def costs(
    start: Annotated[str, typer.Option("--from", help="first day; 30 days before --to")] = "",
    stop: Annotated[str, typer.Option("--to", help="day after the last; tomorrow")] = "",
    url: Url = None,
    data_dir: DataDir = None,
    output: Output = Output.TEXT,
) -> None:
    """What imported bills say beside what the price book says, per day, provider and model."""
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.exchange.origins import costs_of_directory, costs_of_server
    from tocsin.engine.settings import from_environment

    logs(logging.WARNING)
    with told():
        settings = from_environment(data_dir=data_dir, url=url)
        first, last = _day(start, "--from"), _day(stop, "--to")
        found = (
            costs_of_server(settings.url, settings.token, first, last)
            if settings.url
            else costs_of_directory(
                settings.data_dir, SystemClock(), settings.memory_bytes, first, last
            )
        )
        if output is Output.JSON:
            print(json.dumps(found))  # noqa: T201
        elif output is Output.JSONL:
            for line in found:
                print(json.dumps(line))  # noqa: T201
        else:
            _show_costs(found)


def _show_costs(lines: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("day", min_width=len("2026-11-29"))
    for column in ("provider", "model"):
        table.add_column(column)
    for column in ("calls", "book", "billed", "effective", "difference"):
        table.add_column(column, justify="right")
    table.add_column("")
    for line in lines:
        money = [line[n] for n in ("book_usd", "billed", "effective", "difference_usd")]
        table.add_row(
            line["day"], escape(line["provider"]), escape(line["model"] or "?"),
            "?" if line["calls"] is None else f"{line['calls']:,}",
            *("?" if amount is None else f"{amount:,.2f}" for amount in money),
            escape(line["note"]),
        )  # fmt: skip
    out.print(table if lines else "No bills and no priced calls in these days.")


def _day(text: str, option: str) -> date | None:
    found = instant(text, option)
    return None if found is None else found.date()


@contextmanager
def _target(settings: Settings, clock: Clock) -> Iterator[Target]:
    from tocsin.engine.exchange.targets import LocalTarget, ServerTarget

    target: Target = (
        ServerTarget(settings.url, settings.token)
        if settings.url
        else LocalTarget(settings.data_dir, clock, settings.memory_bytes)
    )
    try:
        yield target
    finally:
        target.close()


@contextmanager
def _shown(path: Path, output: Output) -> Iterator[Watch]:
    """A bar with rows a second on standard error, where a person is watching."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[told]}"), TimeElapsedColumn(),
        console=err, transient=True, disable=output is not Output.TEXT or not err.is_terminal,
    )  # fmt: skip
    began = monotonic_s()
    with bar:
        task = bar.add_task(path.name, total=None, told="")

        def watch(so_far: Imported, done: int, total: int) -> None:
            speed = so_far.rows / max(monotonic_s() - began, 1e-3)
            text = f"{so_far.rows:,} rows, {speed:,.0f} a second"
            bar.update(task, completed=done, total=total, told=text)

        yield watch


def _tell(done: Imported, output: Output) -> None:
    if output is not Output.TEXT:
        print(json.dumps(asdict(done)))  # noqa: T201
        return
    text = f"{done.file}: {done.rows:,} rows of {done.kind}, {done.accepted:,} taken in"
    if done.known:
        text += f", {done.known:,} were here already"
    if done.rejected:
        text += f", {done.rejected:,} set aside in {done.rejected_file}"
    out.print(text, markup=False, highlight=False, soft_wrap=True)
    for reason, count in sorted(done.reasons.items(), key=lambda item: -item[1])[:5]:
        out.print(f"  {count:,} x {reason}", markup=False, highlight=False, soft_wrap=True)
    if done.faded:
        out.print(
            f"  {done.faded:,} calls are older than single calls are kept: they count in hourly"
            " totals only",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
