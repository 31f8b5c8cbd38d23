"""Commands about the configuration: plan, apply, backtest."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.terminal import ConfigDir, DataDir, Output, out, told


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

    with told():
        settings = from_environment(data_dir=data_dir, config_dir=config)
        found = planning.plan(settings, history, budget)
        if output is Output.TEXT:
            out.print(str(found), markup=False, highlight=False, soft_wrap=True)
        else:
            print(json.dumps(found.to_json(), default=str))  # noqa: T201
        raise typer.Exit(found.exit_code)


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

    with told():
        settings = from_environment(data_dir=data_dir, config_dir=config)
        who = actor or getpass.getuser()
        version = planning.apply(settings, who, tuple(approved_by or ()), reason, SystemClock())
        if version is None:
            out.print("Nothing to apply: this configuration is in force already.")
        else:
            out.print(f"Applied {version.digest[:16]} as {who}.")


def backtest(
    history: Annotated[Path, typer.Option("--from", help="Parquet, CSV or JSONL of calls/counts")],
    config: ConfigDir = None,
    output: Output = Output.JSONL,
) -> None:
    """Run the very same decisions over a file, and print each with its time and its reason."""
    from tocsin.engine import planning
    from tocsin.engine.settings import from_environment

    with told():
        settings = from_environment(config_dir=config)
        for line in planning.backtest_lines(settings, history):
            record = line.record()
            if output is Output.TEXT:
                text = "  ".join(str(record[key]) for key in ("at", "kind", "object", "reason"))
                out.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(json.dumps(record))  # noqa: T201
