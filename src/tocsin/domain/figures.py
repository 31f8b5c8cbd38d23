"""Figures as people read them, rounded so that none looks better than it is."""

from __future__ import annotations

from math import floor, log10


def percent(share: float, digits: int = 2) -> str:
    """A share as a percentage with so many significant digits: 0.4 %, 15 %, 0.02 %.

    Between 99 and 100 % the first digit of what is missing is always shown: an objective of
    99.999 % is none of 100 %.
    """
    value = 100.0 * share
    missing = 100.0 - abs(value)
    if 1e-9 < missing < 1:
        places = max(digits - 2, -floor(log10(missing)))
        return f"{value:.{places}f}".rstrip("0").rstrip(".") + " %"
    rounded = float(f"{value:.{max(digits, 3) if abs(value) >= 100 else digits}g}")
    return f"{rounded:.10f}".rstrip("0").rstrip(".") + " %"
