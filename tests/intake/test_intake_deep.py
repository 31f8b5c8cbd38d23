"""Whatever an attribute holds, and wherever it stands, is there when its call is read back."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi.encoders import jsonable_encoder
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_build import NOW_NS, PROTOBUF, Bench, bench, span_request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.domain.redaction import Policy, Redactions
from tocsin.store.otlp_kinds import kinds
from tocsin.web.call_reading import one

TEXT = st.text(max_size=12)
SCALARS = (
    TEXT | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ATTRIBUTES = st.dictionaries(TEXT.map("x.{}".format), VALUES, max_size=4)


@st.composite
def spans(draw: st.DrawFn) -> dict[str, Mapping[str, Any]]:
    """Attributes by where they stand; sometimes one far below the others."""
    found = {place: draw(ATTRIBUTES) for place in ("span", "event", "link", "scope")}
    value: Any = draw(SCALARS)
    for level in range(draw(st.sampled_from([0, 0, 5, 12, 18]))):
        value = [value] if level % 3 else {"k": value}
    return {**found, "span": {**found["span"], "x.deep": value}}


def request(number: int, told: Mapping[str, Mapping[str, Any]]) -> ExportTraceServiceRequest:
    made = span_request(1, first_id=number)
    scoped = made.resource_spans[0].scope_spans[0]
    span = scoped.spans[0]
    event = span.events.add(name="seen", time_unix_nano=NOW_NS)
    link = span.links.add(trace_id=b"\x07" * 16, span_id=b"\x08" * 8)
    owners = {"span": span, "event": event, "link": link, "scope": scoped.scope}
    for place, attributes in told.items():
        for name, value in attributes.items():
            _put(owners[place].attributes.add(key=name).value, value)
    return made


def _put(target: Any, value: Any) -> None:
    match value:
        case bool():
            target.bool_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case bytes():
            target.bytes_value = value
        case list():
            target.array_value.SetInParent()
            for item in value:
                _put(target.array_value.values.add(), item)
        case dict():
            target.kvlist_value.SetInParent()
            for name, item in value.items():
                _put(target.kvlist_value.values.add(key=name).value, item)
        case _:
            target.string_value = value


def as_json(made: ExportTraceServiceRequest) -> bytes:
    """The request as OTLP/JSON, whose ids are hex."""
    document = json_format.MessageToDict(made)
    span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    for owner in (span, span["links"][0]):
        for name in ("traceId", "spanId"):
            owner[name] = base64.b64decode(owner[name]).hex()
    return json.dumps(document).encode()


def is_told(value: Any, text: str) -> bool:
    """Whether a stored text says `value`, which is a number, a text, or JSON."""
    match value:
        case bool():
            return text == ("true" if value else "false")
        case int():
            return int(text) == value
        case float():
            return math.isclose(float(text), value, rel_tol=1e-15, abs_tol=5e-324)
        case str():
            return text == value
        case bytes():
            return base64.b64decode(text) == value
    return bool(_like(json.loads(text), value))


def _like(found: Any, value: Any) -> bool:
    """Equality, with bytes as base64 and the last digit of a double left open."""
    match value:
        case dict():
            return found.keys() == value.keys() and all(
                _like(found[k], v) for k, v in value.items()
            )
        case list():
            return len(found) == len(value) and all(map(_like, found, value))
        case bytes():
            return base64.b64decode(found) == value
        case float():
            return math.isclose(found, value, rel_tol=1e-15, abs_tol=5e-324)
    return bool(found == value and type(found) is type(value))


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_attributes_of_any_depth_come_back_as_they_were_sent(form: str, tmp_path: Path) -> None:
    sent: list[Mapping[str, Mapping[str, Any]]] = []

    @settings(max_examples=150, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(spans())
    def collect(told: Mapping[str, Mapping[str, Any]]) -> None:
        sent.append(told)

    collect()
    with bench(tmp_path) as tocsin:
        tocsin.store.use(kinds(Redactions((Policy("none", mode="off"),))))  # some look like phones
        for number, told in enumerate(sent, 1):
            made = request(number, told)
            body = made.SerializeToString() if form == "protobuf" else as_json(made)
            kind = PROTOBUF if form == "protobuf" else "application/json"
            answer = tocsin.post("/v1/traces", body, {"content-type": kind})
            assert answer.status_code == 200, answer.text
        tocsin.store.flush()
        for number, told in enumerate(sent, 1):
            _check(tocsin, number, told)


def _check(tocsin: Bench, number: int, told: Mapping[str, Mapping[str, Any]]) -> None:
    view = jsonable_encoder(one(tocsin.store, f"{number:032x}", f"{number:016x}"))
    [link] = json.loads(view["attributes"].pop("otel.links"))
    assert (link["trace_id"], link["span_id"]) == ("07" * 16, "08" * 8)
    [event] = view["events"]
    assert event["name"] == "seen"
    found = {
        "span": view["attributes"],
        "event": event["attributes"],
        "link": link["attributes"],
        "scope": view["resource"],
    }
    for place, attributes in told.items():
        for name, value in attributes.items():
            assert name in found[place], (place, name)
            assert is_told(value, found[place][name]), (place, name, value, found[place][name])
