"""Spans and log records that arrive as rows, written as OTLP: every way in meets one normaliser."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.domain.errors import IntakeError

UNSET, OK, ERROR = 0, 1, 2
_INT64 = 1 << 63
_EPOCH_NUMBER = re.compile(r"\d{9,20}(\.\d*)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Digits that an epoch number has, by unit: seconds, milliseconds, microseconds, nanoseconds.
UNITS_NS = ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000), (math.inf, 1))


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One span. trace_id, span_id, parent_id: hex or any text. status: 0 unset, 1 ok, 2 error."""

    name: str
    start_ns: int
    end_ns: int
    trace_id: str
    span_id: str
    parent_id: str = ""
    status: int = 0
    message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)
    scope: str = "tocsin.rows"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One log record. body: text as it came. severity: its text, such as ERROR."""

    at_ns: int
    body: str
    event: str = ""
    severity: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)
    scope: str = "tocsin.rows"


def to_log_request(entries: Iterable[LogEntry]) -> bytes:
    """The entries as one OTLP/protobuf request, grouped by resource and scope."""
    request = ExportLogsServiceRequest()
    groups: dict[tuple[Any, ...], Any] = {}
    for entry in entries:
        key = (*sorted(entry.resource.items()), entry.scope)
        records = groups.get(key)
        if records is None:
            resource = request.resource_logs.add()
            put_all(resource.resource.attributes, entry.resource)
            scope = resource.scope_logs.add()
            scope.scope.name = entry.scope
            records = groups[key] = scope.log_records
        record = records.add()
        record.time_unix_nano = _clamped(entry.at_ns)
        record.body.string_value = entry.body.encode("utf-8", "replace").decode()
        record.event_name = entry.event
        record.severity_text = entry.severity
        put_all(record.attributes, entry.attributes)
    return request.SerializeToString()


def to_request(records: Iterable[SpanRecord]) -> bytes:
    """The records as one OTLP/protobuf request, grouped by resource and scope."""
    request = ExportTraceServiceRequest()
    groups: dict[tuple[Any, ...], Any] = {}
    for record in records:
        key = (*sorted(record.resource.items()), record.scope)
        spans = groups.get(key)
        if spans is None:
            resource = request.resource_spans.add()
            put_all(resource.resource.attributes, record.resource)
            scope = resource.scope_spans.add()
            scope.scope.name = record.scope
            spans = groups[key] = scope.spans
        span = spans.add()
        span.trace_id = _id(record.trace_id, 16)
        span.span_id = _id(record.span_id, 8)
        if record.parent_id:
            span.parent_span_id = _id(record.parent_id, 8)
        span.name = record.name
        span.start_time_unix_nano = _clamped(record.start_ns)
        span.end_time_unix_nano = _clamped(record.end_ns)
        span.status.code = record.status
        span.status.message = record.message
        put_all(span.attributes, record.attributes)
    return request.SerializeToString()


def moment_ns(value: Any, where: str) -> int:
    """Nanoseconds since the epoch from RFC 3339 text or an epoch number of any usual unit."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MICROSECOND * 1000
    if isinstance(value, bool) or value is None:
        raise IntakeError(400, f"{where}: a time is needed, as RFC 3339 text or epoch number")
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        unit = next(ns for limit, ns in UNITS_NS if abs(value) < limit)
        return int(value * unit)
    text = str(value).strip()
    try:
        if _EPOCH_NUMBER.fullmatch(text):
            return moment_ns(float(text) if "." in text else int(text), where)
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise IntakeError(
            400, f"{where}: {str(value)[:60]!r} is not a time; write it like 2026-11-21T05:00:00Z"
        ) from None
    return moment_ns(parsed, where)


def instant(nanoseconds: int, where: str) -> datetime:
    """The moment that many nanoseconds after the epoch. IntakeError outside of the years 1 to 9999.

    For times that are not held against the clock; those of calls are (`tocsin.intake.screening`).
    """
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        raise IntakeError(400, f"{where}: is no time between the years 1 and 9999") from None


def is_missing(value: Any) -> bool:
    """Whether a cell of a table says nothing: None, NaN, or empty text."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def stand_in_id(*parts: str) -> str:
    """A span id made from what identifies a row that has none, 16 hex digits."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def span_hex(text: str) -> str:
    """The span id under which a call with this id is stored, 16 hex digits."""
    return _id(text, 8).hex()


def trace_hex(text: str) -> str:
    """The trace id under which a call with this trace id is stored, 32 hex digits."""
    return _id(text, 16).hex()


def _clamped(nanoseconds: int) -> int:
    return min(max(nanoseconds, 0), (1 << 64) - 1)


def _id(text: str, size: int) -> bytes:
    """Bytes of a hex id (dashes allowed); any other text is hashed."""
    bare = text.replace("-", "").lower()
    if len(bare) == 2 * size:
        try:
            return bytes.fromhex(bare)
        except ValueError:
            pass
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def put_all(attributes: Any, values: Mapping[str, Any]) -> None:
    """Add `values` to OTLP attributes; what is missing is left out."""
    for name, value in values.items():
        if is_missing(value):
            continue
        pair = attributes.add()
        pair.key = str(name)
        _put(pair.value, value)


def _put(target: Any, value: Any) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int) and -_INT64 <= value < _INT64:
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        target.array_value.SetInParent()
        for item in value:
            target.array_value.values.add().string_value = item
    elif isinstance(value, str):
        target.string_value = value.encode("utf-8", "replace").decode()
    else:
        target.string_value = json.dumps(value, ensure_ascii=False, default=str)
