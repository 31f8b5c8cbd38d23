"""`tocsin export`: what is stored, as files; objectives, as rules and dashboards for others."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TransferSpeedColumn as Speed

from tocsin.cli.terminal import DataDir, Url, err, instant, logs, told
from tocsin.domain.errors import TocsinError

if TYPE_CHECKING:
    from tocsin.domain.clock import Clock
    from tocsin.engine.exchange.origins import Stream
    from tocsin.engine.exchange.wishes import ExportWish
    from tocsin.engine.settings import Settings

export = typer.Typer(
    help="Write what is stored to files, and objectives for Prometheus, Grafana and OpenSLO.",
    no_args_is_help=True,
)
Target = Annotated[
    Path | None, typer.Option("--file", help="where to write; standard output without it")
]
Config = Annotated[list[Path], typer.Argument(help="directories of YAML documents, or files")]
_STORED = {
    "calls": "normalised calls",
    "scores": "evaluations, feedback and ground truth",
    "changes": "deploys and other changes",
    "minutes": "counts per minute",
}


class Dialect(StrEnum):
    """How rules are written."""

    SLOTH = "sloth"
    PLAIN = "plain"
    SLOTH_SPEC = "sloth-spec"


class Dashboard(StrEnum):
    """What a dashboard shows."""

    OVERVIEW = "overview"
    SERVICE = "service"
    TOCSIN = "tocsin"


def _stored(what: str, words: str) -> Callable[..., None]:
    def rows(
        file: Target = None,
        form: Annotated[
            str,
            typer.Option("--format", help="parquet, csv or jsonl; by the file's name if absent"),
        ] = "",
        compression: Annotated[
            str, typer.Option(help="gzip or zstd, of CSV and JSONL; by the file's name if absent")
        ] = "",
        start: Annotated[str, typer.Option("--from", help="RFC 3339; a day before --to")] = "",
        stop: Annotated[str, typer.Option("--to", help="RFC 3339; now")] = "",
        as_of: Annotated[str, typer.Option(help="as it was known then, RFC 3339; now")] = "",
        service: Annotated[str, typer.Option(help="only this service")] = "",
        model: Annotated[str, typer.Option(help="only this model")] = "",
        kind: Annotated[
            str, typer.Option(help="only this kind of call or change, name of score")
        ] = "",
        env: Annotated[str, typer.Option(help="only this environment")] = "",
        dims: Annotated[
            list[str] | None, typer.Option("--dim", help="only where name=value; may be repeated")
        ] = None,
        content: Annotated[
            bool, typer.Option("--content", help="prompts, answers, attributes and comments too")
        ] = False,
        url: Url = None,
        data_dir: DataDir = None,
    ) -> None:
        from tocsin.domain.clock import SystemClock
        from tocsin.engine.exchange.wishes import ExportWish
        from tocsin.engine.settings import from_environment

        logs(logging.WARNING)
        with told():
            settings = from_environment(data_dir=data_dir, url=url)
            named = _named(file)
            wish = ExportWish(
                what, form or named[0], compression or named[1], instant(start, "--from"),
                instant(stop, "--to"), instant(as_of, "--as-of"), service, model, kind, env,
                dims or (), content,
            )  # fmt: skip
            clock = SystemClock()
            wish.wanted(clock.now())
            with _origin(settings, clock, wish) as (count, pieces):
                written = _write(file, pieces)
            err.print(f"{count:,} rows, {written:,} bytes", highlight=False)

    rows.__doc__ = f"Write {words} to a file, a bounded piece at a time."
    return rows


for _what, _words in _STORED.items():
    export.command(_what)(_stored(_what, _words))


@export.command("prometheus")
def prometheus(
    config: Config,
    dialect: Annotated[Dialect, typer.Option(help="how rules are written")] = Dialect.PLAIN,
    file: Target = None,
) -> None:
    """Write every objective as recording and alerting rules over Tocsin's /metrics."""
    from tocsin.spec.desired import load
    from tocsin.spec.prometheus.rules import rules

    with told():
        text = rules(load(config).monitors, dialect.value)
        if not text:
            raise TocsinError("no objective is configured here; write an SLO document first")
        _write(file, iter([text.encode()]))


@export.command("openslo")
def openslo(config: Config, file: Target = None) -> None:
    """Write the OpenSLO documents as v1 with every reference written out: indicators, alert
    policies, conditions and targets inside the SLOs that use them."""
    from tocsin.domain.errors import SpecError
    from tocsin.spec.documents import unlisted
    from tocsin.spec.openslo.inlining import inlined
    from tocsin.spec.yaml import dump, read

    with told():
        wholes, problems = read(config)
        if problems:
            raise SpecError(problems)
        documents = inlined(one for whole in wholes for one in unlisted(whole))
        if not documents:
            raise TocsinError("there is no OpenSLO document here")
        _write(file, iter([dump(documents).encode()]))


@export.command("grafana")
def grafana(
    which: Annotated[Dashboard, typer.Argument(help="which dashboard")] = Dashboard.OVERVIEW,
    file: Target = None,
) -> None:
    """Write a Grafana dashboard over Tocsin's /metrics as JSON."""
    from tocsin.spec.prometheus.dashboards import dashboard

    with told():
        _write(file, iter([(json.dumps(dashboard(which.value), indent=1) + "\n").encode()]))


# --- private -----------------------------------------------------------------------------------


def _named(file: Path | None) -> tuple[str, str]:
    """Format and compression that a file's name asks for."""
    suffixes = [] if file is None else [suffix.lower() for suffix in file.suffixes]
    packed = {".gz": "gzip", ".zst": "zstd"}.get(suffixes[-1] if suffixes else "", "")
    last = suffixes[-2:-1] if packed else suffixes[-1:]
    forms = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    return forms.get(last[0] if last else "", "parquet"), packed


@contextmanager
def _origin(settings: Settings, clock: Clock, wish: ExportWish) -> Iterator[Stream]:
    from tocsin.engine.exchange.origins import from_directory, from_server

    with (
        from_server(settings.url, settings.token, wish)
        if settings.url
        else from_directory(settings.data_dir, clock, settings.memory_bytes, wish)
    ) as stream:
        yield stream


def _write(file: Path | None, pieces: Iterator[bytes]) -> int:
    """Bytes written. A file appears when it is whole."""
    written = 0
    if file is None:
        for piece in pieces:
            written += sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return written
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as target, _bytes_shown(file) as advance:
            for piece in pieces:
                written += target.write(piece)
                advance(written)
        part.replace(file)
    except OSError as error:
        raise TocsinError(f"cannot write {file}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return written


@contextmanager
def _bytes_shown(file: Path) -> Iterator[Callable[[int], None]]:
    """Bytes written so far, on standard error, where a person is watching."""
    bar = Progress(
        TextColumn("{task.description}"), DownloadColumn(), Speed(), TimeElapsedColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task(file.name, total=None)
        yield lambda written: bar.update(task, completed=written)
