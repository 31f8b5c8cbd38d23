"""Checks an OTLP/protobuf body natively and cheaply before it is accepted.

Two declarations of the OTLP messages are made here from the published ones:

*Outline* holds only what the front must see: ids, times, scope names, and where attribute values
are. Whether a value is too deep for a table is asked of the parser itself: in the outline a map or
a nested list is a message with a required field that no sender sets, so that a body is "not
initialised" exactly if it has one somewhere. Nothing is walked in Python for that.

*Lenient* is the full declaration with every string as bytes, so that a body whose text is not
UTF-8 can be mended instead of refused.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from tocsin.domain.errors import IntakeError

_F = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _F.TYPE_STRING, "bytes": _F.TYPE_BYTES, "fixed64": _F.TYPE_FIXED64,
    "int32": _F.TYPE_INT32, "double": _F.TYPE_DOUBLE,
}  # fmt: skip

_OUTLINE: dict[str, tuple[str, ...]] = {
    "Element": ("string s 1", "Deep a 5", "Deep m 6", "Deep b 7"),
    "Array": ("*Element values 1",),
    "Value": ("string s 1", "Array a 5", "Deep m 6", "Deep b 7"),
    "Pair": ("string key 1", "Value value 2"),
    "Resource": ("*Pair attributes 1",),
    "Scope": ("string name 1", "string version 2", "*Pair attributes 3"),
    "Event": ("string name 2", "*Pair attributes 3"),
    "Link": ("string trace_state 3", "*Pair attributes 4"),
    "Status": ("string message 2",),
    "Span": (
        "bytes trace_id 1", "bytes span_id 2", "string trace_state 3", "string name 5",
        "fixed64 start 7", "fixed64 end 8", "*Pair attributes 9", "*Event events 11",
        "*Link links 13", "Status status 15",
    ),
    "Log": ("string severity 3", "Value body 5", "*Pair attributes 6", "string event 12"),
    "NumberPoint": ("*Pair attributes 7",),
    "HistogramPoint": ("*Pair attributes 9",),
    "ExponentialPoint": ("*Pair attributes 1",),
    "SummaryPoint": ("*Pair attributes 7",),
    "Gauge": ("*NumberPoint points 1",),
    "Sum": ("*NumberPoint points 1",),
    "Histogram": ("*HistogramPoint points 1",),
    "Exponential": ("*ExponentialPoint points 1",),
    "Summary": ("*SummaryPoint points 1",),
    "Metric": ("string name 1", "string unit 3", "Gauge gauge 5", "Sum sum 7",
               "Histogram histogram 9", "Exponential exponential 10", "Summary summary 11"),
}  # fmt: skip
_ITEMS = {"traces": "Span", "logs": "Log", "metrics": "Metric"}
_REQUESTS = {
    "traces": "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
    "logs": "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
    "metrics": "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest",
}


def outline(signal: str, body: bytes) -> Any:
    """The resources of a body (traces, logs, metrics) as far as the outline knows them.

    Spans have trace_id, span_id, start and end; scopes have a name and `items`. None when a table
    cannot hold the body as it is, or when it cannot be read at all: `lenient` tells which.
    """
    request = _outlines()[signal]()
    try:
        request.MergeFromString(body)
    except DecodeError:
        return None
    return request.resources if request.IsInitialized() else None


def lenient(signal: str, body: bytes) -> Any:
    """A body parsed in full, texts as bytes. IntakeError 400 when it is not OTLP."""
    message = _lenients()[signal]()
    try:
        message.MergeFromString(body)
    except DecodeError:
        raise IntakeError(
            400,
            f"the body is not an OTLP {signal} request: it cannot be read as protobuf;"
            " JSON needs Content-Type: application/json",
        ) from None
    return message


@cache
def _outlines() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    deep = descriptor_pb2.FileDescriptorProto(
        name="tocsin/deep.proto", package="tocsin.outline", syntax="proto2"
    )
    required = deep.message_type.add(name="Deep").field.add(name="never", number=536870911)
    required.type, required.label = _F.TYPE_INT32, _F.LABEL_REQUIRED
    pool.Add(deep)
    file = descriptor_pb2.FileDescriptorProto(
        name="tocsin/outline.proto", package="tocsin.outline", syntax="proto3"
    )
    file.dependency.append(deep.name)
    messages = dict(_OUTLINE)
    for signal, item in _ITEMS.items():
        messages[f"{item}Scope"] = ("Scope scope 1", f"*{item} items 2")
        messages[f"{item}Resource"] = ("Resource resource 1", f"*{item}Scope scopes 2")
        messages[f"{signal}Request"] = (f"*{item}Resource resources 1",)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for spelled in fields:
            kind, field_name, number = spelled.lstrip("*").split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = _F.LABEL_REPEATED if spelled[0] == "*" else _F.LABEL_OPTIONAL
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type, field.type_name = _F.TYPE_MESSAGE, f".tocsin.outline.{kind}"
    pool.Add(file)
    return {
        signal: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tocsin.outline.{signal}Request")
        )
        for signal in _ITEMS
    }


@cache
def _lenients() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for module in (
        common_pb2, resource_pb2, trace_pb2, logs_pb2, metrics_pb2,
        trace_service_pb2, logs_service_pb2, metrics_service_pb2,
    ):  # fmt: skip
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            _texts_as_bytes(message)
        pool.Add(file)
    return {
        signal: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for signal, name in _REQUESTS.items()
    }


def _texts_as_bytes(message: Any) -> None:
    for field in message.field:
        if field.type == _F.TYPE_STRING:
            field.type = _F.TYPE_BYTES
    for nested in message.nested_type:
        _texts_as_bytes(nested)
