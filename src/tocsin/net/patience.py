"""How long whoever was asked wants to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

_LONGEST_S = 7 * 86_400


def retry_after(response: httpx.Response, at: datetime | None = None) -> timedelta | None:
    """What the Retry-After header asks for (RFC 9110, seconds or a date); never negative.

    at: when the request was made, for a date from a server that does not show its own clock.
    """
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdecimal():
        return timedelta(seconds=min(int(text), _LONGEST_S))
    until = _date(text)
    # Measured on the receiver's own clock if it shows it, so that a skew does not matter.
    now = _date(response.headers.get("date", "")) or at
    return max(until - now, timedelta(0)) if until is not None and now is not None else None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
