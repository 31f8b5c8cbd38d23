"""Cells in words, the same in every file and message."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.reports import wording
from tocsin.reports.report import Cell, Label, Measure


def short(cell: Cell) -> str:
    """The one word or number."""
    if isinstance(cell, Measure):
        return "unknown" if cell.value is None else shown(cell)
    return cell.text if isinstance(cell, Label) else cell


def beside_of(cell: Cell) -> str:
    """What is to be said beside it: its interval, or what of it is unknown and why."""
    if not isinstance(cell, Measure):
        return ""
    if cell.value is not None and cell.low is not None and cell.high is not None:
        return between(cell)
    return cell.unknown


def between(cell: Measure) -> str:
    """The interval in words."""
    low, high = (_number(cell.unit, end) for end in (cell.low, cell.high))
    return f"{low} to {high}"


def shown(measure: Measure) -> str:
    """A known measure as people read it."""
    return _number(measure.unit, measure.value)


def _number(unit: str, value: float | None) -> str:
    return _SHOWN[unit](value)


def _plain(value: float | None) -> str:
    return wording.UNKNOWN if value is None else wording.minus(f"{value:,.3g}")


_SHOWN: dict[str, Callable[[float | None], str]] = {
    "share": wording.percent,
    "count": lambda value: wording.UNKNOWN if value is None else wording.minus(f"{value:,.0f}"),
    "usd": wording.usd,
    "s": wording.seconds,
    "ratio": lambda value: wording.UNKNOWN if value is None else f"{_plain(value)}×",
    "budget": wording.budget,
    "score": lambda value: wording.UNKNOWN if value is None else f"{value:.1f}",
    "number": _plain,
}
