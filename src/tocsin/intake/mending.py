"""Makes a body fit for the tables without losing what is in it.

Maps, bytes and nested lists become JSON text (bytes as base64, as OTLP/JSON has it), text that is
not UTF-8 gets U+FFFD in place of the broken bytes, and spans that may not be stored are taken out
and handed back. Works on the lenient declaration of `tocsin.intake.wire`, where texts are bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_SCALARS = {"string_value", "bool_value", "int_value", "double_value"}
_MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Rejected:
    """A span that was taken out: why, and what it was, as JSON text."""

    reason: str
    body: str


def mend(message: Any) -> bytes:
    """The request with every value flat and every text valid, serialised."""
    for owner in _messages(message):
        _mend_texts(owner)
        if owner.DESCRIPTOR.name == "AnyValue":
            _flatten(owner)
    return bytes(message.SerializeToString())


def take_out(request: Any, reason_for: Callable[[Any], str]) -> list[Rejected]:
    """Remove the spans of a request for which `reason_for` has a reason; says which and why."""
    rejected: list[Rejected] = []
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for place in range(len(scope.spans) - 1, -1, -1):
                span = scope.spans[place]
                if reason := reason_for(span):
                    rejected.append(Rejected(reason, _described(resource, scope, span)))
                    del scope.spans[place]
    rejected.reverse()
    return rejected


def plain(value: Any, depth: int = 0) -> Any:
    """An AnyValue as a JSON-able Python value."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    held = getattr(value, which)
    if which in {"string_value", "string_value_strindex"}:
        return text(held) if isinstance(held, bytes | str) else held
    if which == "bytes_value":
        return base64.b64encode(held).decode()
    if which == "array_value":
        return [plain(item, depth + 1) for item in held.values] if depth < _MAX_DEPTH else "…"
    if which == "kvlist_value":
        members = held.values if depth < _MAX_DEPTH else ()
        return {text(member.key): plain(member.value, depth + 1) for member in members}
    return held


def text(raw: bytes | str) -> str:
    """Text from what a sender calls text."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw


def _flatten(value: Any) -> None:
    which = value.WhichOneof("value")
    if which is None or which in _SCALARS:
        return
    if which == "array_value" and all(
        item.WhichOneof("value") in _SCALARS for item in value.array_value.values
    ):
        return
    held = plain(value)
    value.string_value = (held if isinstance(held, str) else _dumped(held)).encode()


def _mend_texts(message: Any) -> None:
    """Replace what is not UTF-8 in the texts of this very message."""
    for field, held in message.ListFields():
        if field.type != field.TYPE_BYTES or field.name in _BINARY or field.is_repeated:
            continue
        try:
            held.decode()
        except UnicodeDecodeError:
            setattr(message, field.name, text(held).encode())


_BINARY = {"trace_id", "span_id", "parent_span_id", "bytes_value"}


def _messages(message: Any) -> Iterator[Any]:
    """Every message in it, outermost first; values inside values are left to `_flatten`."""
    yield message
    is_value = message.DESCRIPTOR.name == "AnyValue"
    for field, held in message.ListFields():
        if field.message_type is None:
            continue
        if is_value and field.name == "kvlist_value":
            continue
        for inner in held if field.is_repeated else (held,):
            yield from _messages(inner)


def _described(resource: Any, scope: Any, span: Any) -> str:
    return _dumped({
        "name": text(span.name),
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": str(span.end_time_unix_nano),
        "status": {"code": span.status.code, "message": text(span.status.message)},
        "attributes": _pairs(span.attributes),
        "scope": text(scope.scope.name),
        "resource": _pairs(resource.resource.attributes),
    })  # fmt: skip


def _pairs(attributes: Any) -> dict[str, Any]:
    return {text(pair.key): plain(pair.value) for pair in attributes}


def _dumped(value: Any) -> str:
    """JSON text; what JSON cannot say (NaN, lone surrogates) is written so that it can."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
