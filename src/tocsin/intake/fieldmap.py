"""Log entries of others as calls: which field of theirs is which of a call's.

A map names, per member of a call as `POST /api/v1/calls` has it, a path into the entry: names
joined by dots; or `=` and what holds for every entry. `httpRequest.latency` may be a number of the
unit that the member has, or text with a unit ("1.25s", "340ms"). What an entry does not say stays
unknown. An entry that cannot be a call is kept as a log record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tocsin.domain.errors import IntakeError
from tocsin.intake.json_requests import read_json
from tocsin.intake.records import ERROR, LogEntry, SpanRecord
from tocsin.intake.rest import call
from tocsin.intake.source import Origin

_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_SPAN = re.compile(r"([0-9.]+)(us|ms|s)")
_NUMBERS = {
    "duration_ms", "ttft_ms", "input_tokens", "output_tokens", "cached_tokens",
    "reasoning_tokens", "cost_usd", "http_status",
}  # fmt: skip
MEMBERS = frozenset(
    {
        "ts", "kind", "provider", "model", "response_model", "response_id", "operation",
        "finish_reason", "error_class", "error_type", "status_message", "session_id", "user_id",
        "prompt_version", "release", "env", "name", "trace_id", "span_id", "parent_id",
    }
    | _NUMBERS
)  # fmt: skip

# A call as Amazon Bedrock's model invocation logging writes it. It has no duration, except in what
# Converse returns.
BEDROCK: Mapping[str, str] = {
    "ts": "timestamp",
    "response_id": "requestId",
    "model": "modelId",
    "operation": "operation",
    "input_tokens": "input.inputTokenCount",
    "output_tokens": "output.outputTokenCount",
    "cached_tokens": "input.cacheReadInputTokenCount",
    "finish_reason": "output.outputBodyJson.stopReason",
    "duration_ms": "output.outputBodyJson.metrics.latencyMs",
    "error_type": "errorCode",
    "user_id": "identity.arn",
}


def check(fields: Mapping[str, str]) -> None:
    """ValueError for a member that no call has."""
    unknown = sorted(set(fields) - MEMBERS)
    if unknown:
        known = ", ".join(sorted(MEMBERS))
        raise ValueError(f"calls: {', '.join(unknown)} is no member of a call; use {known}")


def call_of(
    entry: Mapping[str, Any], fields: Mapping[str, str], origin: Origin, identity: str, **usual: Any
) -> SpanRecord | None:
    """The call that an entry tells, None when it tells none.

    identity: of the entry; stands for the ids of the call where it has none. usual: members that
    hold where the entry does not say them.
    """
    row: dict[str, Any] = {**usual, "service": origin.service}
    for member, path in fields.items():
        value = dug(entry, path)
        if member in _NUMBERS:
            value = _number(value)
        if value not in (None, ""):
            is_whole = isinstance(value, float) and value.is_integer()
            row[member] = int(value) if is_whole else value
    row.setdefault("span_id", identity)
    try:
        record = call("entry", row)
    except IntakeError:
        return None
    status = row.get("http_status")
    if isinstance(status, int) and status >= 400 and record.status != ERROR:
        failed = {**record.attributes, "error.type": str(status)}
        record = replace(record, status=ERROR, attributes=failed)
    resource = {**record.resource, **origin.resource()}
    return replace(record, resource=resource, scope="tocsin.source")


def log_of(at_ns: int, body: str, origin: Origin, **more: Any) -> LogEntry:
    """An entry as the log record it is."""
    return LogEntry(at_ns, body, resource=origin.resource(), scope="tocsin.source", **more)


def read_object(text: str) -> Mapping[str, Any] | None:
    """The JSON object that a line of a log is, None for any other text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = read_json(text)
    except IntakeError:
        return None
    return found if isinstance(found, dict) else None


def dug(entry: Any, path: str) -> Any:
    """What stands at `path` in an entry, None when nothing does or it is more than a value."""
    if path.startswith("="):
        return path[1:]
    for name in path.split("."):
        entry = entry.get(name) if isinstance(entry, Mapping) else None
    return None if isinstance(entry, dict | list) else entry


# --- private -----------------------------------------------------------------------------------


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    if span := _SPAN.fullmatch(str(value).strip()):
        return float(span[1]) * _MILLISECONDS[span[2]]
    try:
        return float(value)
    except ValueError:
        return None
