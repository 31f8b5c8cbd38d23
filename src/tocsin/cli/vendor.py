"""`tocsin vendor`: what is held against a provider's promise, as a file to show it."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tocsin.cli.terminal import ConfigDir, DataDir, Url, logs, out, told

vendor = typer.Typer(help="Agreements with providers.")


@vendor.callback()
def _subject() -> None:
    """Keeps `evidence` a command of its own while it is the only one."""


@vendor.command("evidence")
def evidence(
    name: Annotated[str, typer.Argument(help="the VendorAgreement")],
    since: Annotated[str, typer.Option("--from", help="first day or time, UTC")],
    until: Annotated[str, typer.Option("--to", help="the day or time after the last")],
    to: Annotated[Path, typer.Option("--out", help="file to write: .parquet or .csv")],
    as_of: Annotated[
        str, typer.Option("--as-of", help="leave out what was received later; default: now")
    ] = "",
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
) -> None:
    """Every call that counts for an agreement, with the provider's ids, and the file's SHA-256.

    The same as-of time gives the same bytes. The report `vendors` says what they come to.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.domain.errors import TocsinError
    from tocsin.engine.settings import from_environment
    from tocsin.web.reading import vendor_evidence

    logs(logging.ERROR)
    with told():
        settings = from_environment(url=url, data_dir=data_dir, config_dir=config)
        format_ = "csv" if to.suffix == ".csv" else "parquet"
        asked = {"from": since, "to": until, "as_of": as_of}
        body = vendor_evidence(settings, SystemClock(), name, format_, asked)
        try:
            to.write_bytes(body)
        except OSError as error:
            raise TocsinError(f"cannot write {to}: {error.strerror}") from None
        digest = hashlib.sha256(body).hexdigest()
        out.print(f"{escape(str(to))}  sha256 {digest}", highlight=False, soft_wrap=True)
