"""The command line: what people and pipelines run."""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tocsin.domain.errors import SpecError, TocsinError

app = typer.Typer(
    name="tocsin",
    help="An alarm bell for production LLM services, rung only for a real fire.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console()
err = Console(stderr=True)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="where Tocsin keeps its data [TOCSIN_DATA]")
]
ConfigDir = Annotated[
    Path | None, typer.Option("--config", help="directory of YAML documents [TOCSIN_CONFIG]")
]
Host = Annotated[str | None, typer.Option(help="address to listen on [TOCSIN_HOST]")]
Port = Annotated[int | None, typer.Option(help="port to listen on [TOCSIN_PORT]")]


class Output(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="write demo-summary.json and end")] = False,
    trace: Annotated[Path | None, typer.Option(help="replay this trace instead")] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="how the columns of --trace are to be read")
    ] = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
    port: Port = None,
) -> None:
    """Replay two weeks of LLM traffic through the real path, and show what was caught."""
    from tocsin.demo.run import DemoOptions, run_demo
    from tocsin.engine.settings import from_environment

    _logs(logging.ERROR)  # one screen: only what is broken may interrupt it
    with _told():
        settings = from_environment(
            data_dir=data_dir or Path(".tocsin-demo"),
            config_dir=config,
            port=0 if once and port is None else port,
        )
        run_demo(settings, DemoOptions(once=once, trace=trace, mapping=mapping), out)


@app.command()
def serve(
    data_dir: DataDir = None, config: ConfigDir = None, host: Host = None, port: Port = None
) -> None:
    """Take telemetry in, judge it, tell people, serve the pages."""
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.settings import from_environment
    from tocsin.web.server import serve as run

    _logs(logging.INFO)
    with _told():
        settings = from_environment(data_dir=data_dir, config_dir=config, host=host, port=port)
        out.print(f"Tocsin on {settings.base_url}/  (data in {settings.data_dir})")
        asyncio.run(run(settings, SystemClock(), Random()))


@app.command()
def plan(
    config: ConfigDir = None,
    data_dir: DataDir = None,
    history: Annotated[
        Path | None, typer.Option("--from", help="calls or counts to replay both over")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="pages the change may add")] = None,
    output: Output = Output.TEXT,
) -> None:
    """What would change, do the routing tests pass, which pages come and go.

    Exit code: 0 no change, 2 changes within budget, 3 over budget, 1 error.
    """
    from tocsin.engine import planning
    from tocsin.engine.settings import from_environment

    with _told():
        settings = from_environment(data_dir=data_dir, config_dir=config)
        found = planning.plan(settings, history, budget)
        if output is Output.TEXT:
            out.print(str(found), markup=False, highlight=False, soft_wrap=True)
        else:
            print(json.dumps(found.to_json(), default=str))  # noqa: T201
        raise typer.Exit(found.exit_code)


@app.command()
def apply(
    config: ConfigDir = None,
    data_dir: DataDir = None,
    reason: Annotated[str, typer.Option(help="why, for the audit trail")] = "",
    approved_by: Annotated[list[str] | None, typer.Option(help="who else agreed")] = None,
    actor: Annotated[str | None, typer.Option(help="who applies it")] = None,
) -> None:
    """Record the configuration as the one in force; a running server adopts it within a minute."""
    from tocsin.domain.clock import SystemClock
    from tocsin.engine import planning
    from tocsin.engine.settings import from_environment

    with _told():
        settings = from_environment(data_dir=data_dir, config_dir=config)
        who = actor or getpass.getuser()
        version = planning.apply(settings, who, tuple(approved_by or ()), reason, SystemClock())
        if version is None:
            out.print("Nothing to apply: this configuration is in force already.")
        else:
            out.print(f"Applied {version.digest[:16]} as {who}.")


@app.command()
def backtest(
    history: Annotated[Path, typer.Option("--from", help="Parquet, CSV or JSONL of calls/counts")],
    config: ConfigDir = None,
    output: Output = Output.JSONL,
) -> None:
    """Run the very same decisions over a file, and print each with its time and its reason."""
    from tocsin.engine import planning
    from tocsin.engine.settings import from_environment

    with _told():
        settings = from_environment(config_dir=config)
        for line in planning.backtest_lines(settings, history):
            record = line.record()
            if output is Output.TEXT:
                text = "  ".join(str(record[key]) for key in ("at", "kind", "object", "reason"))
                out.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(json.dumps(record))  # noqa: T201


@app.command()
def doctor(
    data_dir: DataDir = None,
    config: ConfigDir = None,
    host: Host = None,
    port: Port = None,
    output: Output = Output.TEXT,
) -> None:
    """Check this machine: disk, ports, versions, write access, optional libraries, clock."""
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.doctor import Grade, examine
    from tocsin.engine.settings import from_environment

    with _told():
        settings = from_environment(data_dir=data_dir, config_dir=config, host=host, port=port)
        findings = examine(settings, SystemClock())
        if output is Output.TEXT:
            table = Table(box=None, pad_edge=False)
            for column in ("check", "", "found", "what to do"):
                table.add_column(column)
            colours = {"ok": "green", "note": "blue", "warn": "yellow", "fail": "red"}
            for f in findings:
                fix = f.fix if f.grade is not Grade.OK else ""
                grade = f"[{colours[f.grade]}]{f.grade}[/]"
                table.add_row(f.check, grade, escape(f.found), escape(fix))
            out.print(table)
        else:
            rows = [
                {"check": f.check, "grade": f.grade, "found": f.found, "fix": f.fix}
                for f in findings
            ]
            print(json.dumps(rows))  # noqa: T201
        raise typer.Exit(1 if any(f.grade is Grade.FAIL for f in findings) else 0)


def main() -> None:
    """Entry point of the `tocsin` command."""
    app()


@contextmanager
def _told() -> Iterator[None]:
    """Errors that Tocsin raises on purpose are told in words, without a traceback."""
    try:
        yield
    except SpecError as error:
        for problem in error.problems:
            _fail(str(problem))
        raise typer.Exit(1) from None
    except TocsinError as error:
        _fail(str(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(text: str) -> None:
    err.print(f"[red]error[/] {escape(text)}", highlight=False, soft_wrap=True)


def _logs(level: int) -> None:
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
