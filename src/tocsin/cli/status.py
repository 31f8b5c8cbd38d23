"""`tocsin status`: the pages that customers read, as files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tocsin.cli.terminal import ConfigDir, DataDir, Url, logs, out, told

status = typer.Typer(help="Status pages for customers.")


@status.callback()
def _subject() -> None:
    """Keeps `export` a command of its own while it is the only one."""


@status.command("export")
def export(
    name: Annotated[str, typer.Argument(help="the StatusPage")],
    to: Annotated[Path, typer.Option("--out", help="directory to write into")],
    url: Url = None,
    data_dir: DataDir = None,
    config: ConfigDir = None,
) -> None:
    """Write a status page as files that any web server can serve: it must be up when we are not.

    The page itself (index.html), the JSON of Statuspage's API, Atom and RSS. Files are replaced one
    by one, each whole.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.engine.settings import from_environment
    from tocsin.web.reading import status_page

    logs(logging.ERROR)
    with told():
        settings = from_environment(url=url, data_dir=data_dir, config_dir=config)
        found = status_page(settings, SystemClock(), name)
        for path, body in found.items():
            target = to / path
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(f".{target.name}.new")
            fresh.write_bytes(body)
            fresh.replace(target)
        out.print(f"{len(found)} files in {escape(str(to))}", highlight=False)
