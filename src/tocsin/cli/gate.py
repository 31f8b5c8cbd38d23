"""`tocsin gate`: may a candidate take over? For pipelines, with exit codes and JUnit."""

from __future__ import annotations

import json
import logging
import sys
import threading
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.etree import ElementTree

import typer
from rich.markup import escape
from rich.table import Table

from tocsin.cli.terminal import (
    BadOption,
    ConfigDir,
    DataDir,
    Output,
    Url,
    err,
    fail,
    logs,
    out,
    told,
)

if TYPE_CHECKING:
    from tocsin.assess.gates.gate import MetricResult
    from tocsin.engine.gates import Checked

gate = typer.Typer(help="May it go out: a candidate against its baseline, and deploy freezes.")

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 2, "insufficient": 3, "invalid": 3}
DEPLOY_CODES = {"open": 0, "frozen": 1, "approval": 2, "unknown": 3}
_UNREADABLE = 4
_ASK_EVERY_S = 10.0
_COLOURS = {"pass": "green", "fail": "red", "invalid": "red"}


@gate.command("check")
def check(
    name: Annotated[str, typer.Argument(help="the Gate, where there are several")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="file or directory with the Gate, for --from")
    ] = None,
    history: Annotated[
        Path | None, typer.Option("--from", help="calls of both arms: Parquet, CSV or JSONL")
    ] = None,
    url: Url = None,
    candidate: Annotated[str, typer.Option(help="the arm that wants to take over")] = "",
    baseline: Annotated[str, typer.Option(help="the arm that runs now")] = "",
    wait: Annotated[
        str, typer.Option(help="how long a server may take to a verdict: 30m, 2h")
    ] = "0s",
    junit: Annotated[Path | None, typer.Option(help="also write a JUnit report here")] = None,
    output: Output = Output.TEXT,
) -> None:
    """Judge a candidate by the calls of both arms in the same minutes, minute by minute.

    Over a file of calls (--config and --from), or as a running server judges it (NAME and --url).

    Exit code: 0 pass, 1 fail, 2 inconclusive, 3 too little or invalid data, 4 something cannot be
    read.
    """
    from tocsin.domain.errors import SpecError, TocsinError

    with told():
        try:
            if history is None:
                title, found = _served(url, name, candidate, baseline, wait)
            else:
                title, found = _checked(config, name, history, candidate, baseline)
        except SpecError as error:
            for problem in error.problems:
                fail(str(problem))
            raise typer.Exit(_UNREADABLE) from None
        except TocsinError as error:
            fail(str(error))
            raise typer.Exit(_UNREADABLE) from None
        if junit is not None:
            junit.write_bytes(_junit(title, found))
        if output is Output.TEXT:
            _show(title, found)
        else:
            sys.stdout.write(json.dumps(_record(title, found), allow_nan=False) + "\n")
        raise typer.Exit(EXIT_CODES[found.result.verdict])


@gate.command("deploys")
def deploys(
    service: Annotated[str, typer.Argument(help="the service that is to be deployed")],
    change: Annotated[str, typer.Option(help="kind of change, such as hotfix or rollback")] = "",
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Ask whether error-budget policies hold back deploys of a service.

    Exit code: 0 open, 1 frozen, 2 a person has to approve, 3 unknown, 4 there is no answer.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.domain.errors import TocsinError
    from tocsin.engine.settings import from_environment
    from tocsin.web.reading import deploy_gate

    logs(logging.ERROR)
    try:
        settings = from_environment(url=url, data_dir=data_dir, config_dir=config)
        found = deploy_gate(settings, SystemClock(), service, change)
    except TocsinError as error:
        fail(str(error))
        raise typer.Exit(_UNREADABLE) from None
    if output is Output.TEXT:
        _show_deploys(found)
    else:
        sys.stdout.write(json.dumps(found, allow_nan=False) + "\n")
    raise typer.Exit(DEPLOY_CODES[found["state"]])


def _show_deploys(found: dict[str, Any]) -> None:
    colour = {"open": "green", "frozen": "red"}.get(found["state"], "yellow")
    out.print(f"[bold]{escape(found['service'])}[/]  deploys: [{colour} bold]{found['state']}[/]")
    out.print(f"  {escape(found['reason'])}", highlight=False, soft_wrap=True)
    for freeze in found["freezes"]:
        exempt = f"; except {', '.join(freeze['exempt'])}" if freeze["exempt"] else ""
        about = (
            f"  {freeze['hold']} since {freeze['since']} by {freeze['policy']} ({freeze['slo']})"
        )
        out.print(escape(about + exempt), highlight=False, soft_wrap=True)


def _checked(
    config: Path | None, name: str, history: Path, candidate: str, baseline: str
) -> tuple[str, Checked]:
    from tocsin.domain.errors import Problem, SpecError
    from tocsin.engine.gates import check_file
    from tocsin.spec.single import only

    if config is None:
        fix = "name the file or directory with the Gate: --config"
        raise SpecError([Problem(str(history), 0, "", "no gate is said", fix)])
    document = only(config, "Gate", name)
    return document.name, check_file(document.spec, history, candidate, baseline)


def _served(
    url: str | None, name: str, candidate: str, baseline: str, wait: str
) -> tuple[str, Checked]:
    """The verdict of a running server; asked again until it is final or `wait` is over."""
    from tocsin.assess.gates.memory import result_of
    from tocsin.domain.clock import monotonic_s
    from tocsin.engine.gates import Checked
    from tocsin.engine.settings import from_environment
    from tocsin.spec.shape import read_duration
    from tocsin.web.reading import verdict

    logs(logging.ERROR)
    if not name:
        raise BadOption("which gate is not said: tocsin gate check NAME --url ADDRESS")
    try:
        patience = read_duration(wait).total_seconds()
    except ValueError as error:
        raise BadOption(f"--wait {error}") from None
    settings = from_environment(url=url)
    until = monotonic_s() + patience
    with err.status(f"{name} is being judged") if patience else nullcontext():
        while True:
            answer = verdict(settings, name, candidate, baseline)
            left = until - monotonic_s()
            if answer["is_final"] or left <= 0:
                break
            threading.Event().wait(min(_ASK_EVERY_S, left))
    result = result_of(answer)
    return name, Checked(answer["candidate"], answer["baseline"], result)


def _record(title: str, found: Checked) -> dict[str, Any]:
    return {"gate": title, "candidate": found.candidate, "baseline": found.baseline,
            **asdict(found.result)}  # fmt: skip


def _junit(title: str, found: Checked) -> bytes:
    """One test case per metric, and one for the gate: JUnit's schema as CI servers read it."""
    result = found.result
    suite = ElementTree.Element(
        "testsuite", name=f"gate {title}", tests=str(len(result.metrics) + 1)
    )
    failures = skipped = 0
    rows = [(one.name, one.standing, one.reason) for one in result.metrics]
    for name, standing, reason in [*rows, ("verdict", result.verdict, result.reason)]:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"tocsin.gate.{title}", name=name
        )
        if standing in ("fail", "invalid"):
            failures += 1
            ElementTree.SubElement(case, "failure", message=reason)
        elif standing != "pass":
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=reason)
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _show(title: str, found: Checked) -> None:
    result = found.result
    colour = _COLOURS.get(result.verdict, "yellow")
    out.print(f"[bold]{escape(title)}[/]  [{colour} bold]{result.verdict}[/]")
    about = (
        f"  {found.candidate} ({result.units[0]:,}) against {found.baseline}"
        f" ({result.units[1]:,}), {result.paired_minutes} minutes side by side"
    )
    out.print(escape(about), highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("", "metric", "candidate", "baseline", "difference", "margin"):
        table.add_column(heading)
    for one in result.metrics:
        mark = {"pass": "[green]pass[/]", "fail": "[red]FAIL[/]"}.get(one.standing, "[yellow]?[/]")
        table.add_row(
            mark, escape(one.name), _number(one.candidate), _number(one.baseline), _span(one),
            f"{one.margin:g}",
        )  # fmt: skip
    out.print(table)
    out.print(escape(result.reason), highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _span(one: MetricResult) -> str:
    if one.difference is None or one.low is None or one.high is None:
        return _number(one.difference)
    return f"{one.difference:+.3g} ({one.low:+.3g} to {one.high:+.3g})"
