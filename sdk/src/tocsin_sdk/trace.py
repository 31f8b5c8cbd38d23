"""Where a call stands in a trace: under the enclosing call, or under OpenTelemetry's active span.

OpenTelemetry is never imported: when the application uses it, it is there already.
"""

from __future__ import annotations

import os
import re
import sys
from typing import NamedTuple

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}.*")


class Place(NamedTuple):
    """A trace and the span in it under which something happens; 32 and 16 hex digits."""

    trace_id: str
    span_id: str


def new_trace_id() -> str:
    """32 hex digits. Not from `random`, which applications seed."""
    return os.urandom(16).hex()


def new_span_id() -> str:
    """16 hex digits."""
    return os.urandom(8).hex()


def active_span() -> Place | None:
    """OpenTelemetry's active span, if the application has one."""
    module = sys.modules.get("opentelemetry.trace")
    if module is None:
        return None
    try:
        context = module.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return Place(f"{context.trace_id:032x}", f"{context.span_id:016x}")
    except Exception:
        return None


def from_traceparent(header: str) -> Place | None:
    """The caller's span, from a W3C `traceparent` header."""
    found = _TRACEPARENT.fullmatch(header.strip().lower())
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return None
    return Place(found[1], found[2])


def is_sampled(trace_id: str, share: float) -> bool:
    """Whether a trace is among the `share` that is sent; the same for all calls of a trace."""
    if share >= 1.0:
        return True
    try:
        return int(trace_id[-8:], 16) < share * 0x1_0000_0000
    except ValueError:
        return True
