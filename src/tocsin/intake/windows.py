"""Windows of time for sources that are asked "what happened from then to then".

What happened is often told late: a window begins `overlap` before the last one ended, and what
comes again is recognised. A window is at most `longest`, so that a source that was not asked for
days is caught up with piece by piece. The cursor of a source with pages may stop inside a window.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.clock import iso, parse_iso
from tocsin.intake.source import Entry, Polled

MOST_PAGES = 5  # of one poll; the rest is asked for at once
FURTHEST_BACK = timedelta(days=14)


class TokenRefused(Exception):
    """The other side no longer knows the token of a page."""


@dataclass(frozen=True, slots=True)
class Window:
    """[start, stop)."""

    start: datetime
    stop: datetime


@dataclass(frozen=True, slots=True)
class Reach:
    """first: how far back the very first window reaches. overlap, longest: see above."""

    first: timedelta
    overlap: timedelta
    longest: timedelta = timedelta(hours=3)

    def window(self, cursor: Any, now: datetime) -> Window:
        """The next window after `cursor`, up to `now`."""
        until = cursor.get("until") if isinstance(cursor, Mapping) else None
        start = parse_iso(until) - self.overlap if until else now - self.first
        start = min(max(start, now - FURTHEST_BACK), now)
        return Window(start, min(now, start + self.overlap + self.longest))


Fetch = Callable[[Window, str], Awaitable[tuple[Sequence[Entry], str]]]


async def read_pages(cursor: Any, now: datetime, reach: Reach, fetch: Fetch) -> Polled:
    """The entries of the next window, or of some pages of it.

    fetch: (window, token of the page or "") -> (entries, token of the next page or ""). Raises
    TokenRefused for a token it cannot use; the window is begun anew then.
    """
    window, token = _resumed(cursor) or (reach.window(cursor, now), "")
    entries: list[Entry] = []
    for _ in range(MOST_PAGES):
        try:
            found, token = await fetch(window, token)
        except TokenRefused:
            if not token:
                raise
            token = ""
            continue
        entries += found
        if not token:
            return Polled(
                entries=entries, since=window.start, cursor={"until": iso(window.stop)},
                is_behind=window.stop < now,
            )  # fmt: skip
    held = {"start": iso(window.start), "stop": iso(window.stop), "token": token}
    until = cursor.get("until") if isinstance(cursor, Mapping) else None
    kept: dict[str, Any] = {"until": until, "page": held} if until else {"page": held}
    return Polled(entries=entries, since=window.start, cursor=kept, is_behind=True)


def _resumed(cursor: Any) -> tuple[Window, str] | None:
    page = cursor.get("page") if isinstance(cursor, Mapping) else None
    if not isinstance(page, Mapping):
        return None
    return Window(parse_iso(page["start"]), parse_iso(page["stop"])), str(page["token"])
