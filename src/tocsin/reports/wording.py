"""Numbers, money and times as people read them. Unknown is a dash, never a zero.

Pages and reports share these words, so that they never show one number in two ways.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

UNKNOWN = "–"
_MINUS = "−"


def is_known(value: float | None) -> bool:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def minus(text: str) -> str:
    """The same with a real minus."""
    return text.replace("-", _MINUS)


def seconds(value: float | None) -> str:
    """0.0421 -> "42 ms", 5.23 -> "5.2 s", 78 -> "1.3 min", 13680 -> "3 h 48 min"."""
    if value is None or not is_known(value):
        return UNKNOWN
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else span(timedelta(seconds=value))


def percent(value: float | None, *, signed: bool = False) -> str:
    """0.0612 -> "6.1 %", 0.31 -> "31 %", 0.95312 -> "95.31 %"; never rounded up to 100."""
    if value is None or not is_known(value):
        return UNKNOWN
    scaled = value * 100
    size = abs(scaled)
    if 90 <= size < 100:
        fine = 1000 if size >= 99 else 100
        text = f"{math.floor(scaled * fine + 1e-6) / fine:.3f}".rstrip("0").rstrip(".")
    elif size >= 10 or size == 0:
        text = f"{scaled:.0f}"
    elif size >= 1:
        text = f"{scaled:.1f}".removesuffix(".0")
    else:
        text = f"{scaled:.2g}"
    return minus(("+" if signed and value > 0 else "") + text) + " %"


def budget(value: float | None) -> str:
    """Budget left as whole percent, rounded down so that nothing looks better than it is.

    Overspent more than tenfold is "<−999 %".
    """
    if value is None or not is_known(value):
        return UNKNOWN
    if value < -9.99:
        return f"<{_MINUS}999 %"
    return minus(f"{math.floor(min(value, 9.99) * 100 + 1e-9)}") + " %"


def count(value: float | None) -> str:
    """Whole numbers with thin thousands: 1284 -> "1,284"; from a million on "3.2 M"."""
    if value is None or not is_known(value):
        return UNKNOWN
    if abs(value) >= 1e9:
        return minus(f"{value / 1e9:.1f} G")
    if abs(value) >= 1e6:
        return minus(f"{value / 1e6:.1f} M")
    return minus(f"{value:,.0f}")


def usd(value: float | None) -> str:
    """Dollars: cents below 100, more digits below one cent, whole above."""
    if value is None or not is_known(value):
        return UNKNOWN
    if value != 0 and abs(value) < 0.01:
        return f"${value:.2g}"
    return f"${value:,.2f}" if abs(value) < 100 else f"${value:,.0f}"


def moment(at: datetime | None) -> str:
    """Date and time in UTC: "2026-03-02 14:05:09"."""
    return UNKNOWN if at is None else at.strftime("%Y-%m-%d %H:%M:%S")


def span(length: timedelta) -> str:
    """How long something lasted, in its largest two units: "3 h 12 min"."""
    total = max(int(length.total_seconds()), 0)
    if total < 60:
        return f"{total} s"
    days, rest = divmod(total // 60, 1440)
    hours, minutes = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min"


def plural(number: int, one: str, many: str = "") -> str:
    """1 -> "1 page", 2 -> "2 pages"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
