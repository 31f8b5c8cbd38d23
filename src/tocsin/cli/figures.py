"""`tocsin figures`: what paging people came to, and what the verdicts propose to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tocsin.cli.terminal import DataDir, Output, Url, err, out, told

if TYPE_CHECKING:
    from collections.abc import Mapping


def figures(
    days: Annotated[int, typer.Option(help="so many days, up to now")] = 28,
    zone: Annotated[str, typer.Option("--tz", help="time zone that off-hours are of")] = "UTC",
    propose: Annotated[
        Path | None, typer.Option(help="write changed and retired rules there, as YAML")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
    output: Output = Output.TEXT,
) -> None:
    """Pages, how fast they were answered, how many were right, for whom, at what hours.

    Precision counts responders' verdicts and comes with its exact 95 % interval.
    """
    from tocsin.domain.clock import SystemClock
    from tocsin.domain.errors import TocsinError
    from tocsin.engine.auditing import paging
    from tocsin.engine.settings import from_environment

    with told():
        settings = from_environment(data_dir=data_dir, url=url)
        found = paging(settings, SystemClock(), days, zone)
        if propose is not None and found["patch"]:
            try:
                propose.write_text(found["patch"])
            except OSError as error:
                raise TocsinError(f"cannot write {propose}: {error.strerror}") from None
        if output is Output.TEXT:
            _show(found)
        else:
            print(json.dumps(found))  # noqa: T201
        if propose is not None:
            said = f"wrote {propose}; look at it, then tocsin plan" if found["patch"] else "nothing"
            err.print(f"proposed: {said}", highlight=False)


def _show(found: Mapping[str, Any]) -> None:
    facts = (
        ("pages", f"{found['pages']}, {found['off_hours']} off-hours in {found['time_zone']}"),
        ("unanswered", str(found["unanswered"])),
        ("precision", _precision(found["precision"])),
        ("to detect", _times(found["to_detect"])),
        ("to answer", _times(found["to_answer"])),
        ("to resolve", _times(found["to_resolve"])),
    )
    for name, text in facts:
        out.print(f"{name:11} {text}", markup=False, highlight=False)
    for title, parts in (("rule", found["rules"]), ("person", found["people"])):
        if not parts:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in (title, "pages", "off-hours", "unwanted", "precision", "answered in"):
            table.add_column(column, overflow="fold", no_wrap=column not in (title, "answered in"))
        for part in parts:
            table.add_row(
                part["name"], str(part["pages"]), str(part["off_hours"]), str(part["unwanted"]),
                _share(part["precision"]), _mean(part["to_answer"]),
            )  # fmt: skip
        out.print()
        out.print(table)
    for each in found["proposals"]:
        out.print(f"\n{each['what']} {each['rule']}: {each['why']}", markup=False, highlight=False)


def _precision(found: Mapping[str, Any]) -> str:
    if found["share"] is None:
        return f"unknown, none of {found['unjudged']} is judged"
    bounds = f"{100 * found['low']:.0f} to {100 * found['high']:.0f} %"
    judged = found["judged"]
    return f"{100 * found['share']:.0f} % ({bounds}; {found['real']} of {judged} judged)"


def _share(found: Mapping[str, Any]) -> str:
    if found["share"] is None:
        return "unknown"
    return f"{100 * found['share']:.0f} % ({100 * found['low']:.0f} to {100 * found['high']:.0f})"


def _mean(found: Mapping[str, Any]) -> str:
    return "unknown" if found["mean_s"] is None else _span(found["mean_s"])


def _times(found: Mapping[str, Any]) -> str:
    if found["mean_s"] is None:
        return "unknown"
    return f"{_span(found['mean_s'])} mean, {_span(found['median_s'])} median of {found['count']}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
