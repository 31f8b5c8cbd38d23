"""Commands about the configuration: lint, plan, apply, backtest."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.cli.terminal import ConfigDir, DataDir, Output, err, fail, out, told

if TYPE_CHECKING:
    from tocsin.spec.inspection import Inspected


def lint(
    files: Annotated[
        list[Path], typer.Argument(help="files of YAML or JSON, or directories of YAML")
    ],
    strict: Annotated[
        bool, typer.Option(help="hold OpenSLO against its reference validator, word for word")
    ] = False,
    output: Output = Output.TEXT,
) -> None:
    """Say of each document whether it is valid, and at which property paths it is not.

    Exit code: 0 all are, 1 some are not or a file cannot be read.
    """
    from tocsin.spec.inspection import inspect

    with told():
        found, unreadable = inspect(files, by_the_book=strict)
        for problem in unreadable:
            fail(str(problem))
        if output is Output.TEXT:
            for one in found:
                _show(one)
        else:
            records = [one.record() for one in found]
            lines = records if output is Output.JSONL else [records]
            print("\n".join(map(json.dumps, lines)))  # noqa: T201
        is_clean = not unreadable and all(one.verdict.is_accepted for one in found)
        raise typer.Exit(0 if is_clean else 1)


def _show(one: Inspected) -> None:
    verdict, where = one.verdict, f"{one.located.file}:{one.located.line}"
    word = "accepted" if verdict.is_accepted else f"rejected ({verdict.stage})"
    lines = [f"{where}: {one.title}: {word}"]
    lines += [f"  {verdict.reason}"] if verdict.reason else []
    for mark, texts in (("", verdict.faults), ("note: ", verdict.notes)):
        lines += [f"  {mark}{path} {text}" for path, said in texts.items() for text in said]
    out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


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
    from tocsin.domain.clock import SystemClock
    from tocsin.engine import planning
    from tocsin.engine.settings import from_environment

    with told():
        settings = from_environment(data_dir=data_dir, config_dir=config)
        found = planning.plan(settings, history, budget, SystemClock())
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
    """Run the very same decisions over a file, and print each with its time and its reason.

    Standard error says what the file holds, what of it was not judged, and which monitors could
    say nothing.

    Exit code: 0 done, whatever was decided; 1 the file or the configuration cannot be used.
    """
    from tocsin.engine import planning
    from tocsin.engine.settings import from_environment

    with told():
        settings = from_environment(config_dir=config)

        def tell(line: str) -> None:
            err.print(line, markup=False, highlight=False, soft_wrap=True)

        for line in planning.backtest_lines(settings, history, tell):
            record = line.record()
            if output is Output.TEXT:
                text = "  ".join(str(record[key]) for key in ("at", "kind", "object", "reason"))
                out.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(json.dumps(record))  # noqa: T201
