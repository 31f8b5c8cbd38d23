"""`tocsin score`: a health score from two files, and why it moved. No server, no store."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tocsin.cli.terminal import Output, err, out, told

if TYPE_CHECKING:
    from tocsin.assess.health import Health
    from tocsin.assess.health_change import Attribution
    from tocsin.spec.scorecard import Scorecard

_COLOURS = {"ok": "green", "warning": "yellow", "critical": "red"}


def score(
    config: Annotated[
        Path,
        typer.Option("--config", help="a HealthScore document, or a health_score_config (JSON)"),
    ],
    values: Annotated[
        Path,
        typer.Option("--values", help="JSON or YAML: {metric: number, null or {value, low, high}}"),
    ],
    before: Annotated[
        Path | None, typer.Option("--before", help="values of before: why has the score moved?")
    ] = None,
    before_config: Annotated[
        Path | None, typer.Option("--before-config", help="the formula of before, if it changed")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="which score, where the file has several")
    ] = "",
    output: Output = Output.TEXT,
) -> None:
    """Compute a health score from plain files, component by component.

    Metrics without a curve, and what was not measured, are missing, never 0 and never 100. Exit
    code: 0 computed (whatever the state), 1 something could not be read.
    """
    from tocsin.assess.health import health
    from tocsin.assess.health_change import attribution
    from tocsin.spec.scorecard import read_readings, read_scorecard, unread

    with told():
        card = read_scorecard(config, name)
        old_card = read_scorecard(before_config, name) if before_config else card
        readings = read_readings(values)
        old = read_readings(before) if before else {}
        now = health(card.config, readings, old)
        then = health(old_card.config, old) if before else None
        moved = attribution(old_card.config, card.config, old, readings) if before else None
        remarks = [*card.remarks]
        remarks += [f"{m} is no component of {card.name}" for m in unread(card.config, readings)]
        if output is Output.TEXT:
            _show(card, now, then, moved, remarks)
        else:
            record = _record(card, now, then, moved, remarks)
            sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")


def _record(
    card: Scorecard,
    now: Health,
    then: Health | None,
    moved: Attribution | None,
    remarks: list[str],
) -> dict[str, Any]:
    found = asdict(now)
    record = {
        "name": card.name,
        "title": card.title,
        "score": found["score"],
        "state": found["state"],
        "coverage": found["coverage"],
        "low": found["low"],
        "high": found["high"],
        "capped_by": found["capped_by"],
        "reason": found["reason"],
        "thresholds": {"warning": card.config.warning, "critical": card.config.critical},
        "components": list(found["parts"]),
        "warnings": remarks,
    }
    if then is not None and moved is not None:
        record["before"] = {"score": then.score, "state": then.state, "coverage": then.coverage}
        record["change"] = {
            "total": moved.change,
            "components": dict(moved.terms),
            "config": moved.config,
            "reason": moved.reason,
        }
    return record


def _show(
    card: Scorecard,
    now: Health,
    then: Health | None,
    moved: Attribution | None,
    remarks: list[str],
) -> None:
    number = "-" if now.score is None else f"{now.score:.1f}"
    spread = "" if now.low is None else f" ({now.low:.1f} to {now.high:.1f})"
    colour = _COLOURS.get(now.state, "dim")
    state = f"[{colour} bold]{number}[/]{spread} [{colour}]{now.state}[/]"
    out.print(f"[bold]{escape(card.title)}[/]  {state}")
    covered = "" if now.score is None else f"; {now.coverage:.0%} of the weight is there"
    out.print(f"  {escape(now.reason)}{covered}", highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    headings = ["component", "value", "score", "weight", "points"]
    for heading in [*headings, *(["change"] if moved and moved.terms else [])]:
        table.add_column(heading, justify="left" if heading == "component" else "right")
    for part in now.parts:
        row = [
            part.metric + ("*" if part.critical else ""),
            "-" if part.value is None else f"{part.value:g}",
            "-" if part.score is None else f"{part.score:.1f}",
            f"{part.weight:.1%}",
            f"{part.contribution:.1f}",
        ]
        if moved and moved.terms:
            row.append(f"{moved.terms.get(part.metric, 0.0):+.1f}")
        table.add_row(*map(escape, row))
    out.print(table)
    for part in now.parts:
        if part.reason:
            out.print(f"[dim]{escape(part.metric)}: {escape(part.reason)}[/]", soft_wrap=True)
    if any(part.critical for part in now.parts):
        out.print("[dim]* critical: the whole lies at most so many points above it[/]")
    if then is not None and moved is not None:
        if moved.change is None:
            out.print(f"no change to explain: {escape(moved.reason)}", highlight=False)
        else:
            formula = f", the formula {moved.config:+.1f}" if abs(moved.config) > 1e-9 else ""
            out.print(f"moved {moved.change:+.1f} from {then.score or 0:.1f}{formula}")
    for remark in remarks:
        err.print(f"[yellow]note[/] {escape(remark)}", highlight=False, soft_wrap=True)
