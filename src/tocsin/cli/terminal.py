"""What every command shares: the two consoles, the options, how errors and logs are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.markup import escape

from tocsin.domain.clock import parse_iso
from tocsin.domain.errors import SpecError, TocsinError

out = Console()
err = Console(stderr=True)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="where Tocsin keeps its data [TOCSIN_DATA]")
]
ConfigDir = Annotated[
    Path | None, typer.Option("--config", help="directory of YAML documents [TOCSIN_CONFIG]")
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="a running server; without it the data directory is opened"
                 " [TOCSIN_URL]"),
]  # fmt: skip
Host = Annotated[str | None, typer.Option(help="address to listen on [TOCSIN_HOST]")]
Port = Annotated[int | None, typer.Option(help="port to listen on [TOCSIN_PORT]")]


class Output(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


@contextmanager
def told() -> Iterator[None]:
    """Errors that Tocsin raises on purpose are told in words, without a traceback."""
    try:
        yield
    except SpecError as error:
        for problem in error.problems:
            fail(str(problem))
        raise typer.Exit(1) from None
    except TocsinError as error:
        fail(str(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        sys.exit(130)


def fail(text: str) -> None:
    """Say on standard error what went wrong."""
    err.print(f"[red]error[/] {escape(text)}", highlight=False, soft_wrap=True)


def logs(level: int) -> None:
    """Logs to standard error, one line an event; tracebacks never print what variables held."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class BadOption(TocsinError):
    """An option whose value cannot be used."""


def instant(text: str, option: str) -> datetime | None:
    """The time that an option names, None for ""; BadOption when it is none."""
    if not text:
        return None
    try:
        return parse_iso(text)
    except ValueError:
        raise BadOption(f"{option} {text!r} is not a time; write it like 2026-11-21") from None
