"""Numbers, money, times and identifiers as people read them. Unknown is a dash, never a zero."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin.assess import wording
from tocsin.reports.wording import UNKNOWN as UNKNOWN
from tocsin.reports.wording import budget as budget
from tocsin.reports.wording import count as count
from tocsin.reports.wording import is_known, minus
from tocsin.reports.wording import moment as moment
from tocsin.reports.wording import percent as percent
from tocsin.reports.wording import plural as plural
from tocsin.reports.wording import seconds as seconds
from tocsin.reports.wording import span as span
from tocsin.reports.wording import usd as usd
from tocsin.web.views import Unit


def milliseconds(value: float | None) -> str:
    """Like `seconds`, from milliseconds."""
    return seconds(None if value is None else value / 1000)


def points(value: float) -> str:
    """A change of a share in percentage points: -0.03 -> "−3 pt"."""
    return minus(f"{value * 100:+.0f}") + " pt"


def burn(value: float | None) -> str:
    """14.21 -> "14.2×"."""
    if value is None or not is_known(value):
        return UNKNOWN
    return f"{value:.0f}×" if value >= 100 else f"{value:.1f}×"


def amount(value: float | None, unit: str) -> str:
    """A mean in its unit (usd, ms or ""), with three digits: 0.0312 -> "$0.0312"."""
    if value is None or not is_known(value):
        return UNKNOWN
    return minus(wording.amount(value, unit))


def size_bytes(value: int) -> str:
    """Decimal kilobytes and megabytes."""
    if value < 1000:
        return f"{value} B"
    return f"{value / 1e3:.1f} kB" if value < 1e6 else f"{value / 1e6:.1f} MB"


def quantity(value: float | None, unit: Unit) -> str:
    """A value of a chart or an incident in its unit."""
    if unit == "s":
        return seconds(value)
    if unit == "ratio":
        return percent(value)
    if unit == "usd":
        return usd(value)
    text = f"{value:.2g}" if value is not None and 0 < abs(value) < 9.95 else count(value)
    return f"{text}/min" if unit == "per_min" and text != UNKNOWN else text


def clock(at: datetime) -> str:
    """Time of day in UTC: "14:05"."""
    return at.strftime("%H:%M")


def lasting(minutes: float | None) -> str:
    """A number of minutes as `span` puts it."""
    return UNKNOWN if minutes is None else span(timedelta(minutes=minutes))


def short(identifier: str, length: int = 10) -> str:
    """The first characters of a long identifier."""
    return identifier if len(identifier) <= length else identifier[:length] + "…"
