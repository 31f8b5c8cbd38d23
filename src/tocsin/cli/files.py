"""Commands about files: import what happened before, or elsewhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from tocsin.cli.terminal import DataDir, Output, err, fail, logs, out, told
from tocsin.domain.clock import monotonic_s, parse_iso
from tocsin.domain.errors import TocsinError

if TYPE_CHECKING:
    from tocsin.domain.clock import Clock
    from tocsin.engine.exchange.importing import Imported, Watch
    from tocsin.engine.exchange.targets import Target
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
