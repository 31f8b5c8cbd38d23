"""The breakdown of a time range, as a panel shows it and the API tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.domain.clock import to_minute
from tocsin.engine.breakdown import MEASURES, BadRange, Breakdowns, window_of

WORDS = {
    "failed": "Failures", "error": "Errors", "truncated": "Cut-off answers", "slow": "Slow calls",
    "feedback": "Bad ratings", "retrieval": "Failed retrievals",
    "empty_retrieval": "Empty retrievals", "calls": "Number of calls", "tokens": "Tokens",
    "cost": "Cost",
}  # fmt: skip
QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be broken down: [start, stop) beside [usual_start, usual_stop), None for defaults.

    start, stop: the last quarter of an hour. usual: as long before it, an hour at least.
    """

    measure: str = "failed"
    start: datetime | None = None
    stop: datetime | None = None
    usual_start: datetime | None = None
    usual_stop: datetime | None = None


@dataclass(frozen=True, slots=True)
class SliceRow:
    """A slice: its part of what is explained (fraction), and its figures in words."""

    label: str
    part: float
    detail: str


@dataclass(frozen=True, slots=True)
class BreakdownView:
    """The panel: what was asked, the slices, or why there is no answer."""

    measure: str
    start: datetime
    stop: datetime
    slices: tuple[SliceRow, ...] = ()
    lines: tuple[str, ...] = ()
    since: str = ""
    changes: tuple[str, ...] = ()
    problem: str = ""


def account(breakdowns: Breakdowns, service: str, asked: Asked, now: datetime) -> dict[str, Any]:
    """What `engine.breakdown` says; BadRange for what cannot be broken down."""
    start, stop = _range(asked, now)
    usual = None
    if asked.usual_start is not None or asked.usual_stop is not None:
        if asked.usual_start is None:
            raise BadRange("a baseline has a begin: give baseline_from")
        usual = to_minute(asked.usual_start), to_minute(asked.usual_stop or start)
    window = window_of(to_minute(start), to_minute(stop), usual)
    return breakdowns.account(service, asked.measure, window)


def asked_of(query: Mapping[str, str]) -> Asked | None:
    """What an address asks for, None when it asks nothing. BadRange for times nobody can read.

    Times without a zone are UTC: that is what a browser's field sends.
    """
    if not (query.get("from") or query.get("to")):
        return None
    return Asked(query.get("measure") or "failed", *(_time(query.get(n)) for n in ("from", "to")))


def view(told: Mapping[str, Any], asked: Asked, now: datetime) -> BreakdownView:
    """An account as the panel shows it."""
    start, stop = _range(asked, now)
    rows, lines = slice_rows(told)
    changes = tuple(
        f"{change['at'][11:16]} {change['kind']}: {change['title']}" for change in told["changes"]
    )
    return BreakdownView(
        asked.measure, start, stop, rows, lines, str(told["since"] or ""), changes
    )  # fmt: skip


def slice_rows(told: Mapping[str, Any]) -> tuple[tuple[SliceRow, ...], tuple[str, ...]]:
    """The slices of an account, and its lines that tell no slice."""
    rows = tuple(_row(part) for part in told["slices"])
    named = set(told["lines"][-len(rows) :]) if rows else set()
    return rows, tuple(line for line in told["lines"] if line not in named)


def refused(asked: Asked, now: datetime, why: str) -> BreakdownView:
    """The panel of a question that has no answer."""
    start, stop = _range(asked, now)
    return BreakdownView(asked.measure, start, stop, problem=why)


def _range(asked: Asked, now: datetime) -> tuple[datetime, datetime]:
    stop = asked.stop or now
    return asked.start or stop - QUARTER, stop


def _row(part: Mapping[str, Any]) -> SliceRow:
    label = " and ".join(f"{name} {value}" for name, value in part["where"].items())
    if "support" in part:
        risk = f"{part['ratio']:.3g} times as likely" if part["ratio"] else "all others fine"
        counts = f"{part['actual']:,.0f} of {part['total']:,.0f}"
        return SliceRow(label, part["support"], f"{counts}, {risk}")
    factor = f"{part['factor']:.3g} times" if part["factor"] is not None else "none"
    detail = f"{part['actual']:,.4g}, {factor} what was expected"
    return SliceRow(label, min(part["share"], 1.0), detail)


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise BadRange(f"{text!r} is no time; write RFC 3339: 2026-01-02T03:04:00Z") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


MEASURE_NAMES = tuple((name, WORDS[name]) for name in MEASURES)
