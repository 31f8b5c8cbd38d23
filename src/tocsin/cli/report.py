"""`tocsin report`: what a week or a month came to, as a file."""

from __future__ import annotations

import hashlib
import logging
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tocsin.cli.terminal import ConfigDir, DataDir, Url, logs, out, told


class Written(StrEnum):
    """What a report is written as."""

    HTML = "html"
    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


def report(
    name: Annotated[
        str, typer.Argument(help="a Report document, or a template such as executive")
    ],
    since: Annotated[
        str, typer.Option("--from", help="first day or time; with --to. Default: the last complete"
                          " period of the document")
    ] = "",
    until: Annotated[str, typer.Option("--to", help="the day or time after the last")] = "",
    as_of: Annotated[
        str, typer.Option("--as-of", help="leave out what was received later; default: now")
    ] = "",
    period: Annotated[str, typer.Option(help="week or month: the last complete one")] = "",
    zone: Annotated[str, typer.Option("--tz", help="time zone that days are of")] = "",
    output: Annotated[Written, typer.Option(help="format")] = Written.HTML,
    to: Annotated[
        Path | None, typer.Option("--out", help="file to write, - for standard output; default:"
                                  " NAME-FROM.FORMAT, with a manifest beside it")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
) -> None:  # fmt: skip
    """What a week or a month came to, with intervals, reasons, and a manifest to check it by.

    The same as-of time gives the same bytes, however often and whenever it is made.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.settings import from_environment
    from tocsin.web.reading import report_files

    logs(logging.ERROR)
    with told():
        settings = from_environment(url=url, data_dir=data_dir, config_dir=config)
        asked = {"from": since, "to": until, "as_of": as_of, "period": period, "tz": zone}
        files = report_files(settings, SystemClock(), name, output.value, asked)
        body = files[f"report.{output.value}"]
        if to is not None and str(to) == "-":
            sys.stdout.buffer.write(body)
            return
        first = datetime.fromisoformat(files["since"].decode()).date()
        target = to or Path(f"{name}-{first}.{output.value}")
        beside = target.with_name(f"{target.name}.manifest.json")
        _write({target: body, beside: files["manifest.json"]})
        digest = hashlib.sha256(body).hexdigest()
        out.print(f"{escape(str(target))}  sha256 {digest}", highlight=False, soft_wrap=True)


def _write(files: dict[Path, bytes]) -> None:
    from tocsin.domain.errors import TocsinError

    for target, body in files.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
        except OSError as error:
            raise TocsinError(f"cannot write {target}: {error.strerror}") from None
