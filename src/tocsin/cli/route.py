"""`tocsin route`: the routing rules asked on the spot, without a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tocsin.cli.terminal import Output, fail, out, told

if TYPE_CHECKING:
    from tocsin.domain.findings import Decision
    from tocsin.routing.simulate import TestResult, Timetable

route = typer.Typer(help="Ask the routing rules: run their tests, or try an alert.")

Config = Annotated[Path, typer.Argument(help="directory of YAML documents, or one file")]


@route.command("test")
def run(config: Config, output: Output = Output.TEXT) -> None:
    """Run the tests that stand beside the rules. One that cannot be read fails, with the reason.

    Exit code: 0 all pass, 2 some fail, 1 the rest of the configuration cannot be read or there are
    no tests.
    """
    from tocsin.routing.simulate import run_tests
    from tocsin.routing.tree import compile_policy
    from tocsin.spec.routing_tests import load_with_tests

    with told():
        desired, malformed = load_with_tests(config)
        results = (*run_tests(compile_policy(desired.routing)), *malformed)
        if not results:
            fail(
                f"{config} has no routing tests: write them under spec.tests of a Routing document"
            )
            raise typer.Exit(1)
        failed = sum(not result.passed for result in results)
        if output is Output.TEXT:
            _show_tests(results, failed)
        else:
            rows = [_row(result) for result in results]
            totals = {"passed": len(results) - failed, "failed": failed}
            records = rows if output is Output.JSONL else [{**totals, "tests": rows}]
            sys.stdout.write("".join(json.dumps(record) + "\n" for record in records))
        raise typer.Exit(2 if failed else 0)


@route.command("try")
def attempt(
    config: Config,
    alert: Annotated[
        list[str], typer.Argument(help="the alert: env=prod signal=latency_p95 value=6 for=5m")
    ],
    output: Output = Output.TEXT,
) -> None:
    """Say what would become of an alert, and by which rules.

    `value`, `change`, `zscore`, `for` and the other facts are numbers, percentages or times;
    everything else is a label.
    """
    from tocsin.domain.errors import TocsinError
    from tocsin.routing.match import MatchError
    from tocsin.routing.simulate import escalation_of, split_alert
    from tocsin.routing.tree import compile_policy, decide
    from tocsin.spec.desired import load

    with told():
        pairs = [pair.partition("=") for pair in alert]
        for name, sign, _ in pairs:
            if not name or not sign:
                raise TocsinError(f"{name!r} is no label: write NAME=VALUE, such as env=prod")
        try:
            labels, facts = split_alert({name: value for name, _, value in pairs})
        except MatchError as error:
            raise TocsinError(str(error)) from None
        router = compile_policy(load([config]).routing)
        decision = decide(router, labels, facts)
        found = _decision(decision, escalation_of(router, decision))
        if output is Output.TEXT:
            _show_decision(found)
        else:
            sys.stdout.write(json.dumps(found) + "\n")


def _row(result: TestResult) -> dict[str, Any]:
    found = _decision(result.decision, result.escalation) if result.decision else None
    return {"name": result.name, "passed": result.passed, "reason": result.reason,
            "where": result.where, "decision": found}  # fmt: skip


def _decision(decision: Decision, escalation: Timetable) -> dict[str, Any]:
    from tocsin.routing.simulate import span

    return {
        "tier": decision.tier,
        "route": decision.route,
        "policy": decision.policy or None,
        "escalation": {span(after): list(names) for after, names in escalation.items()},
        "receivers": list(decision.receivers),
        "digest": decision.digest or None,
        "run": list(decision.run),
        "labels": dict(decision.labels),
        "auto_resolve": decision.auto_resolve,
        "suppressed_by": decision.suppressed_by or None,
        "reason": decision.reason,
        "trail": list(decision.trail),
    }


def _show_tests(results: tuple[TestResult, ...], failed: int) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for result in results:
        mark = "[green]pass[/]" if result.passed else "[red]FAIL[/]"
        where = "" if result.passed else f" ({result.where})"
        table.add_row(mark, escape(result.name), f"[dim]{escape(result.reason + where)}[/]")
    out.print(table)
    out.print(f"{len(results) - failed} of {len(results)} pass", highlight=False)


def _show_decision(found: Mapping[str, Any]) -> None:
    for name in ("tier", "route", "policy", "receivers", "digest", "run", "suppressed_by"):
        value = found[name]
        text = ", ".join(value) if isinstance(value, list) else str(value or "-")
        out.print(f"{name:14}{escape(text or '-')}", highlight=False)
    for after, names in found["escalation"].items():
        text = f"after {after}: {', '.join(names)}"
        out.print(f"{'escalation':14}{escape(text)}", highlight=False)
    out.print(f"{'because':14}{escape(found['reason'])}", highlight=False)
    for step in found["trail"]:
        out.print(f"{'':14}[dim]{escape(step)}[/]", highlight=False)
