"""`tocsin evaluators`: the judges that Tocsin runs, and what is known of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from tocsin.cli.terminal import ConfigDir, DataDir, Output, Url, logs, out, told


def evaluators(
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Show every evaluator: what it judged and spent today, why it does not, how far people agree.

    Exit code: 1 when one of them is failing.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.settings import from_environment
    from tocsin.web.reading import evaluators as read

    logs(logging.ERROR)
    with told():
        settings = from_environment(url=url, data_dir=data_dir, config_dir=config)
        found = read(settings, SystemClock())
    if output is Output.JSON:
        print(json.dumps(found, indent=1))  # noqa: T201
    elif output is Output.JSONL:
        for one in found:
            print(json.dumps(one))  # noqa: T201
    elif not found:
        out.print("No evaluator runs here: add an Evaluator document with `run`.")
    else:
        show(found)
    if any(one["state"] == "failing" for one in found):
        raise typer.Exit(1)


def show(found: Sequence[Mapping[str, Any]]) -> None:
    """A line for each, and what is wrong below."""
    table = Table(box=None, pad_edge=False)
    for title in ("evaluator", "state", "judged today", "waiting", "no verdict", "spent", "good",
                  "labels", "kappa"):  # fmt: skip
        table.add_column(title, overflow="fold", no_wrap=title == "evaluator")
    for one in found:
        today, quality = one["today"], one["quality"] or {}
        table.add_row(
            one["series"], one["state"], f"{today['judged']} of {today['candidates']}",
            str(one["waiting"]), str(today["failed"]), _spent(one), _good(quality),
            f"{quality['labels']} of {quality['labels_needed']}" if quality else "-",
            _between(quality.get("agreement"), "kappa", 1.0),
        )  # fmt: skip
    out.print(table)
    for one in found:
        if one["reason"]:
            out.print(f"{escape(one['name'])}: {escape(one['reason'])}", highlight=False)


def _spent(one: Mapping[str, Any]) -> str:
    today = one["today"]
    limit = f" of ${one['budget_usd']:g}" if one["budget_usd"] else ""
    unknown = f" and {today['unpriced']} unknown" if today["unpriced"] else ""
    calls = f", {today['asked']} of {one['budget_calls']} requests" if one["budget_calls"] else ""
    return f"${today['usd']:.4g}{limit}{unknown}{calls}"


def _good(quality: Mapping[str, Any]) -> str:
    if not quality:
        return "-"
    if not quality["estimate"]:
        return str(quality["state"]).replace("_", " ")
    return _between(quality["estimate"], "share", 100.0) + " %"


def _between(found: Mapping[str, Any] | None, name: str, factor: float) -> str:
    if not found:
        return "-"
    shown = [f"{factor * found[key]:.3g}" for key in (name, "low", "high")]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"
