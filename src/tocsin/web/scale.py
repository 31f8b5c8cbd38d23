"""Where axis ticks go and what they say: round values, round times."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from tocsin.web.views import Unit

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_STEPS = (
    _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE,
    _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
    _DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY,
)  # fmt: skip


def value_ticks(low: float, high: float, *, most: int = 6) -> tuple[float, ...]:
    """Round, evenly spaced values from at or below `low` to at or above `high`.

    At most `most` + 1 of them. A flat or inverted range is widened, so the answer always spans
    something.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"ticks need finite ends, not {low} and {high}")
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return tuple(round(step * index, 12) for index in range(first, last + 1))


def time_ticks(start: datetime, stop: datetime, *, most: int = 9) -> tuple[datetime, ...]:
    """Round instants in [start, stop], UTC, at most `most` unless the range exceeds a year."""
    whole = (stop - start).total_seconds()
    step = next((s for s in _TIME_STEPS if whole / s < most), _TIME_STEPS[-1])
    # Multi-day steps count from a Monday, which the epoch is not.
    origin = 4 * _DAY if step > _DAY else 0
    first = math.ceil((start.timestamp() - origin) / step) * step + origin
    count = int((stop.timestamp() - first) // step) + 1
    return tuple(datetime.fromtimestamp(first + step * index, UTC) for index in range(count))


def time_label(at: datetime, whole: timedelta) -> str:
    """Time of day within two days, the date beyond; midnight of a longer range is its date."""
    if whole <= timedelta(days=2):
        return at.strftime("%H:%M")
    return f"{at.day} {at:%b}"


def tick_label(value: float, ticks: tuple[float, ...], unit: Unit) -> str:
    """A tick in its unit, with as many decimals as the step between ticks needs."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    if unit == "s" and max(abs(t) for t in ticks) < 1.0:
        return f"{_digits(value * 1000, step * 1000)} ms"
    if unit == "s" and max(abs(t) for t in ticks) >= 120:
        return f"{_digits(value / 60, step / 60)} min"
    if unit == "ratio":
        return f"{_digits(value * 100, step * 100)} %"
    if unit == "usd":
        return f"${_digits(value, step)}"
    if unit == "s":
        return f"{_digits(value, step)} s"
    return _compact(value, step)


def _digits(value: float, step: float) -> str:
    decimals = 0
    while decimals < 9 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    return f"{value:,.{decimals}f}".replace("-", "−")


def _compact(value: float, step: float) -> str:
    for size, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return _digits(value / size, step / size) + suffix
    return _digits(value, step)
