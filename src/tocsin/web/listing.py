"""Parts of lists: which items pass a filter, and where a page of them begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tocsin.domain.errors import BadCursor
from tocsin.domain.findings import Incident
from tocsin.web.desk import IncidentFilter
from tocsin.web.views import Page

T = TypeVar("T")


def passes(incident: Incident, wanted: IncidentFilter) -> bool:
    """Whether `incident` is one of those that were asked for."""
    states: Mapping[str, bool] = {
        "live": incident.state.is_live,
        "resolved": not incident.state.is_live,
        "all": True,
    }
    return (
        states[wanted.state]
        and wanted.service in ("", incident.labels.get("service", ""))
        and wanted.tier in (None, incident.tier)
    )


def paged(items: Sequence[T], cursor: str | None, limit: int, name: Callable[[T], str]) -> Page[T]:
    """`limit` items after the one that `cursor` names. BadCursor for one that names none."""
    start = 0
    if cursor:
        names = [name(item) for item in items]
        if cursor not in names:
            raise BadCursor(f"{cursor!r} is not a cursor of this list; start without one")
        start = names.index(cursor) + 1
    page = tuple(items[start : start + limit])
    more = start + limit < len(items)
    return Page(page, name(page[-1]) if more else None, len(items))


def number(text: str) -> int:
    """A cursor that is a number. BadCursor for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadCursor(f"{text!r} is not a cursor of the ledger; start without one")
    return int(text)
