"""Decides what of an OTLP body is stored as it is, what is mended, and what is set aside.

Most bodies pass untouched. The rules for single spans:

    no valid trace or span id     set aside: nothing could refer to it, or join it
    starts more than 400 days ago,
    or ends or starts more than
    10 minutes ahead              set aside: a broken clock, whose minutes would be wrong
    starts before calls are kept  set aside: the table would drop it, and nobody would know
    ends before it starts         kept with duration 0 (`tocsin.store.normalise`)
    NaN, unknown attributes       kept; what is not a number counts as unknown

What is set aside goes to table `quarantine` with its reason; the rest of the batch is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tocsin.intake.mending import Rejected, mend, take_out, text
from tocsin.intake.portions import PORTION, portions
from tocsin.intake.scopes import is_plain
from tocsin.intake.wire import lenient, outline

DAY_NS = 86_400 * 1_000_000_000
OLDEST_DAYS = 400
AHEAD_NS = 600 * 1_000_000_000
_TRACE_ID, _SPAN_ID = 16, 8


@dataclass(frozen=True, slots=True)
class Screened:
    """A body that may be stored. items: spans, log records or metrics in it."""

    body: bytes
    items: int
    careful: bool
    rejected: tuple[Rejected, ...] = ()


def screen(signal: str, body: bytes, now_ns: int, kept_days: int = 0) -> Screened:
    """Screen a protobuf body of a signal (traces, logs, metrics) received at `now_ns`.

    kept_days: for how many days calls are kept; 0 is for ever. IntakeError 400 when it is not OTLP,
    413 when it holds more than anybody sends.
    """
    days = min(kept_days or OLDEST_DAYS, OLDEST_DAYS)
    if len(body) <= PORTION:
        return _screen(signal, body, now_ns, days)
    parts = [(part, _screen(signal, part, now_ns, days)) for part in portions(signal, body)]
    as_it_came = all(part is screened.body for part, screened in parts)
    return Screened(
        body if as_it_came else b"".join(screened.body for _, screened in parts),
        sum(screened.items for _, screened in parts),
        any(screened.careful for _, screened in parts),
        tuple(rejected for _, screened in parts for rejected in screened.rejected),
    )


def _screen(signal: str, body: bytes, now_ns: int, days: int) -> Screened:
    resources = outline(signal, body)
    if resources is not None and (signal != "traces" or _all_fit(resources, now_ns, days)):
        scopes = [scope for resource in resources for scope in resource.scopes]
        careful = not all(is_plain(scope.scope.name) for scope in scopes)
        return Screened(body, sum(len(scope.items) for scope in scopes), careful)
    request = lenient(signal, body)
    rejected: list[Rejected] = []
    if signal == "traces":
        rejected = take_out(request, partial(_reason, now_ns=now_ns, days=days))
    names, items = [], 0
    for name, count in _scopes(request):
        names.append(name)
        items += count
    careful = not all(is_plain(name) for name in names)
    return Screened(mend(request), items, careful, tuple(rejected))


def odd_time(start: int, end: int, now_ns: int, days: int = OLDEST_DAYS) -> str:
    """Why something that began and ended then may not be stored at `now_ns`, "" when it may.

    days: for how many days it would be kept.
    """
    if start <= now_ns - OLDEST_DAYS * DAY_NS:
        return "it starts more than 400 days ago; check the sender's clock"
    if start <= now_ns - days * DAY_NS:
        return f"it starts more than {days} days ago, and calls are kept for {days} days"
    if max(start, end) >= now_ns + AHEAD_NS:
        return "it starts or ends more than 10 minutes ahead; check the sender's clock"
    return ""


def _all_fit(resources: Any, now_ns: int, days: int) -> bool:
    low, high = now_ns - days * DAY_NS, now_ns + AHEAD_NS
    return all(
        low < span.start < high and span.end < high and _has_ids(span)
        for resource in resources
        for scope in resource.scopes
        for span in scope.items
    )


def _has_ids(span: Any) -> bool:
    trace, own = span.trace_id, span.span_id
    return len(trace) == _TRACE_ID and len(own) == _SPAN_ID and any(trace) and any(own)


def _reason(span: Any, *, now_ns: int, days: int) -> str:
    """Why a span is set aside, "" when it is not."""
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    if not _has_ids(span):
        return "it has no valid trace id and span id (16 and 8 bytes, not all zero)"
    return odd_time(start, end, now_ns, days)


def _scopes(request: Any) -> Iterator[tuple[str, int]]:
    """Name and number of items of every scope of a fully parsed request."""
    for _, resources in request.ListFields():
        for resource in resources:
            for field, scopes in resource.ListFields():
                if not field.name.startswith("scope_"):
                    continue
                for scope in scopes:
                    held = [v for f, v in scope.ListFields() if f.is_repeated]
                    yield text(scope.scope.name), sum(len(items) for items in held)
