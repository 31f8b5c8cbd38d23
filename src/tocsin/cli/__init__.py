"""The command line: what people and pipelines run. A module a subject, a function a command."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from tocsin.cli import analyse, configure, files, operate, prices
from tocsin.cli.evaluators import evaluators
from tocsin.cli.export import export
from tocsin.cli.figures import figures
from tocsin.cli.gate import gate
from tocsin.cli.ledger import ledger
from tocsin.cli.report import report
from tocsin.cli.route import route
from tocsin.cli.score import score
from tocsin.cli.slo import slo
from tocsin.cli.status import status
from tocsin.cli.store import store
from tocsin.cli.vendor import vendor
from tocsin.cli.why import why

# Codes of sysexits.h, which are no verdict of any command: a pipeline must not take a wrong option,
# or a fault of ours, for an answer.
EX_USAGE, EX_SOFTWARE = 64, 70


class Commands(TyperGroup):
    """All commands, with an exit code of its own for options that are wrong."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """What `--help` and its like need."""
        with _usage():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        with _usage():
            return super().invoke(ctx)


@contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        error.exit_code = EX_USAGE
        raise


app = typer.Typer(
    name="tocsin",
    cls=Commands,
    help="An alarm bell for production LLM services, rung only for a real fire.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    operate.demo,
    operate.serve,
    configure.lint,
    configure.plan,
    configure.apply,
    configure.backtest,
    prices.prices,
    score,
    operate.doctor,
):
    app.command()(command)
app.add_typer(store, name="store")
app.add_typer(route, name="route")
app.add_typer(gate, name="gate")
app.add_typer(export, name="export")
app.add_typer(slo, name="slo")
app.add_typer(ledger, name="ledger")
app.add_typer(status, name="status")
app.add_typer(vendor, name="vendor")


app.command("import")(files.import_)
app.command()(files.costs)
app.command()(analyse.detect)
app.command()(analyse.explain)
app.command()(analyse.drift)
app.command()(why)
app.command()(figures)
app.command()(report)
app.command()(evaluators)


def main() -> None:
    """Entry point of the `tocsin` command."""
    try:
        app()
    except Exception:  # noqa: BLE001 (whatever it is, it must not end with the code of a verdict)
        traceback.print_exc()
        sys.exit(EX_SOFTWARE)
