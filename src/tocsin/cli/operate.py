"""Commands that run Tocsin or look at the machine it runs on: demo, serve, doctor."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tocsin.cli.terminal import ConfigDir, DataDir, Host, Output, Port, logs, out, told


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

    logs(logging.ERROR)  # one screen: only what is broken may interrupt it
    with told():
        settings = from_environment(
            data_dir=data_dir or Path(".tocsin-demo"),
            config_dir=config,
            port=0 if once and port is None else port,
        )
        run_demo(settings, DemoOptions(once=once, trace=trace, mapping=mapping), out)


def serve(
    data_dir: DataDir = None, config: ConfigDir = None, host: Host = None, port: Port = None
) -> None:
    """Take telemetry in, judge it, tell people, serve the pages."""
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.settings import from_environment
    from tocsin.web.server import serve as run

    logs(logging.INFO)
    with told():
        settings = from_environment(data_dir=data_dir, config_dir=config, host=host, port=port)
        out.print(f"Tocsin on {settings.base_url}/  (data in {settings.data_dir})")
        # A storm is kept in millions of objects without a cycle among them. Looking for cycles as
        # often as usual took a quarter of its time, half a second at once.
        gc.set_threshold(50_000, 20, 20)
        asyncio.run(run(settings, SystemClock(), Random()))


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

    with told():
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
