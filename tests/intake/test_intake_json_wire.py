"""OTLP/JSON is read as protobuf's own reader reads it; what that would lose is refused."""

from __future__ import annotations

import base64
import json
import math
import random
import re
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.domain.errors import IntakeError
from tocsin.intake.json_requests import to_protobuf
from tocsin.intake.json_wire import Malformed, message

REQUESTS: dict[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
IDS = {"traceId", "spanId", "parentSpanId"}
F = FieldDescriptor
RANGES = {
    F.TYPE_INT32: (-(1 << 31), (1 << 31) - 1), F.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    F.TYPE_UINT32: (0, (1 << 32) - 1), F.TYPE_UINT64: (0, (1 << 64) - 1),
    F.TYPE_FIXED32: (0, (1 << 32) - 1), F.TYPE_FIXED64: (0, (1 << 64) - 1),
    F.TYPE_SFIXED64: (-(1 << 63), (1 << 63) - 1), F.TYPE_SINT32: (-(1 << 31), (1 << 31) - 1),
}  # fmt: skip


def filled(made: Message, rng: random.Random, depth: int = 0) -> Message:
    """A message with members of every kind set at random, edges of their ranges included."""
    for field in made.DESCRIPTOR.fields:
        if rng.random() < 0.3 + 0.05 * depth:
            continue
        count = rng.randint(0, 3) if field.is_repeated else 1
        for _ in range(count):
            if field.message_type is not None:
                if depth > 7:
                    continue
                held = getattr(made, field.name)
                held.SetInParent() if not field.is_repeated else None
                filled(held.add() if field.is_repeated else held, rng, depth + 1)
            elif field.is_repeated:
                getattr(made, field.name).append(scalar(field, rng))
            else:
                setattr(made, field.name, scalar(field, rng))
    return made


def scalar(field: FieldDescriptor, rng: random.Random) -> Any:
    if field.type in RANGES:
        low, high = RANGES[field.type]
        return rng.choice([low, high, 0, 1, rng.randint(low, high)])
    if field.enum_type is not None:
        return rng.choice([value.number for value in field.enum_type.values])
    if field.type == F.TYPE_DOUBLE:
        return rng.choice([0.0, -0.5, 1e308, math.nan, math.inf, -math.inf, rng.random()])
    if field.type == F.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == F.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 8, 16, 300]))
    return rng.choice(["", "a", "Grüße 👋", "x" * 127, "x" * 128, "x" * 20000])


def hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [hex_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(member).hex() if name in IDS else hex_ids(member)
        for name, member in value.items()
    }


@pytest.mark.parametrize("signal", REQUESTS)
@pytest.mark.parametrize("names", [False, True], ids=["camelCase", "snake_case"])
def test_whatever_can_be_said_arrives_as_it_was(signal: str, names: bool) -> None:
    rng = random.Random(31)
    for _ in range(60):
        said = filled(REQUESTS[signal](), rng)
        document = hex_ids(
            json_format.MessageToDict(said, use_integers_for_enums=rng.random() < 0.5)
        )
        body = json.dumps(document).encode()
        if names:
            body = json.dumps(json_format.MessageToDict(said, preserving_proto_field_name=True))
            body = json.dumps(hex_snake(json.loads(body))).encode()
        arrived = REQUESTS[signal].FromString(to_protobuf(signal, body))
        # NaN is not equal to itself: texts are compared.
        assert str(arrived) == str(said)


def hex_snake(value: Any) -> Any:
    if isinstance(value, list):
        return [hex_snake(one) for one in value]
    if not isinstance(value, dict):
        return value
    ids = {"trace_id", "span_id", "parent_span_id"}
    return {
        name: base64.b64decode(member).hex() if name in ids else hex_snake(member)
        for name, member in value.items()
    }


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 1.0, 1.5, -2.0, 1e300, 1 << 31, -(1 << 31), (1 << 31) - 1,
    1 << 32, 1 << 63, -(1 << 63), 1 << 64, "", "0", "12", "-12", " 12", "1 2", "1.0", "1.5",
    "1e3", "12a", "٣", "NaN", "nan", "Infinity", "-Infinity", "inf", "true", "abc", "ab==", "a-b_",
    "SPAN_KIND_SERVER", "SPAN_KIND_NOT_YET", "3", [], [1], [None], ["a"], {}, {"stringValue": "x"},
    {"nobody": 1}, [{}], [None, {}], [[]],
]  # fmt: skip
MEMBERS = [
    (ExportTraceServiceRequest, ("resourceSpans", "scopeSpans", "spans"), name)
    for name in ("startTimeUnixNano", "droppedAttributesCount", "kind", "name", "flags", "status",
                 "attributes", "events", "traceState")
] + [
    (ExportMetricsServiceRequest, ("resourceMetrics", "scopeMetrics", "metrics"), name)
    for name in ("gauge", "unit", "summary")
] + [
    (ExportLogsServiceRequest, ("resourceLogs", "scopeLogs", "logRecords"), name)
    for name in ("body", "severityNumber", "observedTimeUnixNano")
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_type", "path", "name"), MEMBERS, ids=[member[2] for member in MEMBERS]
)
def test_a_value_is_taken_or_refused_as_by_protobufs_own_reader(
    request_type: type[Message], path: tuple[str, ...], name: str
) -> None:
    for value in VALUES:
        document: Any = {name: value}
        for member in reversed(path):
            document = {member: [document]}
        same_verdict(request_type, document)


@pytest.mark.parametrize("name", ["intValue", "doubleValue", "boolValue", "stringValue",
                                  "bytesValue", "arrayValue", "kvlistValue"])  # fmt: skip
def test_any_value_is_taken_or_refused_as_by_protobufs_own_reader(name: str) -> None:
    for value in VALUES:
        pair = {"key": "k", "value": {name: value}}
        resource = {"resource": {"attributes": [pair]}}
        same_verdict(ExportTraceServiceRequest, {"resourceSpans": [resource]})


def same_verdict(request_type: type[Message], document: Any) -> None:
    """Both read the same, or both refuse; text and lists in the place of objects are refused here,
    and so are enums beyond 32 bits."""
    try:
        wanted = json_format.ParseDict(document, request_type(), ignore_unknown_fields=True)
    except json_format.ParseError:
        with pytest.raises(Malformed):
            message(request_type.DESCRIPTOR).write(document)
        return
    try:
        found = request_type.FromString(message(request_type.DESCRIPTOR).write(document))
    except Malformed as refused:
        reason = str(refused)
    else:
        reason = ""
        assert str(found) == str(wanted), document
    assert re.search(r"^$|expected an object|(kind|Number): -?\d+ is out of range", reason)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"resourceSpans": {}}, "resourceSpans: expected a list"),
        ({"resourceSpans": [{"scopeSpans": [{"spans": [{}, {"name": 1}]}]}]},
         r"resourceSpans\[0\]\.scopeSpans\[0\]\.spans\[1\]\.name"),
        ({"resourceSpans": [{"resource": {"attributes": [
            {"key": "k", "value": {"intValue": 1, "stringValue": "x"}}]}}]},
         "stringValue: another member of 'value' is given too"),
        ({"resourceSpans": [{"resource": {"attributes": [
            {"key": "k", "value": {"intValue": "9223372036854775808"}}]}}]}, "out of range"),
        ({"resourceSpans": [{"resource": {"attributes": [{"key": "k", "value": "x"}]}}]},
         r"attributes\[0\]\.value: expected an object, not 'x'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(document: Any, told: str) -> None:
    with pytest.raises(IntakeError, match=told) as refused:
        to_protobuf("traces", json.dumps(document).encode())
    assert refused.value.status == 400


def test_a_text_that_was_cut_within_an_emoji_is_kept_to_the_cut() -> None:
    span = {"name": "fine \ud83d", "spanId": "00f067aa0ba902b7"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    read = ExportTraceServiceRequest.FromString(to_protobuf("traces", body))
    assert read.resource_spans[0].scope_spans[0].spans[0].name == "fine \ufffd"


def test_the_last_of_two_spellings_holds_and_an_id_that_is_not_hex_is_one_nobody_may_have() -> None:
    span = {"name": "x", "start_time_unix_nano": 1, "startTimeUnixNano": "2", "spanId": "zz",
            "traceId": "00f067aa0ba902b700f067aa0ba902b7", "unheard": {"of": [1]}}  # fmt: skip
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    read = ExportTraceServiceRequest.FromString(to_protobuf("traces", body))
    found = read.resource_spans[0].scope_spans[0].spans[0]
    assert (found.start_time_unix_nano, found.span_id) == (2, b"?")
    assert found.trace_id.hex() == "00f067aa0ba902b700f067aa0ba902b7"


def test_nesting_without_end_is_refused() -> None:
    value: Any = {"stringValue": "x"}
    for _ in range(40):
        value = {"arrayValue": {"values": [value]}}
    record = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": value}]}]}]}
    with pytest.raises(IntakeError, match=r"arrayValue.*nested too deeply"):
        to_protobuf("logs", json.dumps(record).encode())
