"""Commands about files: import what happened before, or elsewhere; export what is there."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from tocsin.cli.terminal import DataDir, Output, err, fail, logs, out, told
from tocsin.domain.clock import monotonic_s, parse_iso
from tocsin.domain.errors import TocsinError

if TYPE_CHECKING:
    from tocsin.domain.clock import Clock
    from tocsin.engine.exchange.importing import Imported, Watch
    from tocsin.engine.exchange.origins import Stream
    from tocsin.engine.exchange.targets import Target
    from tocsin.engine.exchange.wishes import ExportWish
    from tocsin.engine.settings import Settings

Url = Annotated[
    str | None,
    typer.Option("--url", help="a running server; without it the data directory is opened"
                 " [TOCSIN_URL]"),
]  # fmt: skip


class BadOption(TocsinError):
    """An option whose value cannot be used."""


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
            _instant(start, "--start"), undated,
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


def export(
    what: Annotated[str, typer.Argument(help="calls, scores, changes or minutes")],
    file: Annotated[
        Path | None, typer.Option("--file", help="where to write; standard output without it")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="parquet, csv or jsonl; by the file's name if absent")
    ] = "",
    compression: Annotated[
        str, typer.Option(help="gzip or zstd, of CSV and JSONL; by the file's name if absent")
    ] = "",
    start: Annotated[str, typer.Option("--from", help="RFC 3339; a day before --to")] = "",
    stop: Annotated[str, typer.Option("--to", help="RFC 3339; now")] = "",
    as_of: Annotated[str, typer.Option(help="as it was known then, RFC 3339; now")] = "",
    service: Annotated[str, typer.Option(help="only this service")] = "",
    model: Annotated[str, typer.Option(help="only this model")] = "",
    kind: Annotated[str, typer.Option(help="only this kind of call or change, name of score")] = "",
    env: Annotated[str, typer.Option(help="only this environment")] = "",
    dims: Annotated[
        list[str] | None, typer.Option("--dim", help="only where name=value; may be repeated")
    ] = None,
    content: Annotated[
        bool, typer.Option("--content", help="prompts, answers, attributes and comments too")
    ] = False,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Write calls, scores, changes or minute counts to a file, a bounded piece at a time."""
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.exchange.wishes import ExportWish
    from tocsin.engine.settings import from_environment

    logs(logging.WARNING)
    with told():
        settings = from_environment(data_dir=data_dir, url=url)
        named = _named(file)
        wish = ExportWish(
            what, form or named[0], compression or named[1], _instant(start, "--from"),
            _instant(stop, "--to"), _instant(as_of, "--as-of"), service, model, kind, env,
            dims or (), content,
        )  # fmt: skip
        clock = SystemClock()
        wish.wanted(clock.now())
        with _origin(settings, clock, wish) as (rows, pieces):
            written = _write(file, pieces)
        err.print(f"{rows:,} rows, {written:,} bytes", highlight=False)


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
    for column in ("day", "provider", "model"):
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
    instant = _instant(text, option)
    return None if instant is None else instant.date()


def _named(file: Path | None) -> tuple[str, str]:
    """Format and compression that a file's name asks for."""
    suffixes = [] if file is None else [suffix.lower() for suffix in file.suffixes]
    packed = {".gz": "gzip", ".zst": "zstd"}.get(suffixes[-1] if suffixes else "", "")
    last = suffixes[-2:-1] if packed else suffixes[-1:]
    forms = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    return forms.get(last[0] if last else "", "parquet"), packed


@contextmanager
def _origin(settings: Settings, clock: Clock, wish: ExportWish) -> Iterator[Stream]:
    from tocsin.engine.exchange.origins import from_directory, from_server

    with (
        from_server(settings.url, settings.token, wish)
        if settings.url
        else from_directory(settings.data_dir, clock, settings.memory_bytes, wish)
    ) as stream:
        yield stream


def _write(file: Path | None, pieces: Iterator[bytes]) -> int:
    """Bytes written. A file appears when it is whole."""
    written = 0
    if file is None:
        for piece in pieces:
            written += sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return written
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as target, _bytes_shown(file) as advance:
            for piece in pieces:
                written += target.write(piece)
                advance(written)
        part.replace(file)
    except OSError as error:
        raise BadOption(f"cannot write {file}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return written


@contextmanager
def _bytes_shown(file: Path) -> Iterator[Callable[[int], None]]:
    """Bytes written so far, on standard error, where a person is watching."""
    bar = Progress(
        TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(),
        TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task(file.name, total=None)
        yield lambda written: bar.update(task, completed=written)


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


def _instant(text: str, option: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_iso(text)
    except ValueError:
        raise BadOption(f"{option} {text!r} is not a time; write it like 2026-11-21") from None
