"""The OTLP wire format, declared once: protobuf text for ClickHouse and the structure it yields.

ClickHouse parses OTLP by itself when it is given a `.proto` text and a table structure that fits.
Both are printed here from one declaration, so that they cannot drift apart. The declaration holds
what Tocsin stores; numbers that are not declared are skipped by the engine, as protobuf wants.

A recursive `AnyValue` cannot be a table type. `Value` therefore stops at arrays of scalars, and
whatever is deeper (maps, bytes, arrays of arrays) is turned into JSON text by the front before
the body reaches a segment (`tocsin.intake.mending`).

A record of a segment is an `Envelope`: project override, receive time, and the body of the request
as it came in. Its fields 1, 2 and 4 are written by `tocsin.intake.envelope`.

Source: opentelemetry-proto 1.x, `trace.proto`, `logs.proto`, `metrics.proto`, `common.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_COLUMN_TYPES = {
    "string": "String", "bytes": "String", "bool": "UInt8", "int32": "Int32", "uint32": "UInt32",
    "int64": "Int64", "sfixed64": "Int64", "uint64": "UInt64", "fixed64": "UInt64",
    "sint32": "Int32", "double": "Float64",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: protobuf name, number, and scalar type name or message."""

    name: str
    number: int
    kind: str | Message
    repeated: bool = False

    @property
    def type_name(self) -> str:
        """The type as it is written in a `.proto` file."""
        return self.kind if isinstance(self.kind, str) else self.kind.name

    @property
    def column(self) -> str:
        """The ClickHouse type of this field."""
        inner = _COLUMN_TYPES[self.kind] if isinstance(self.kind, str) else self.kind.column
        return f"Array({inner})" if self.repeated else inner


@dataclass(frozen=True)
class Message:
    """A protobuf message. `choice` names a oneof that spans all of its fields."""

    name: str
    fields: tuple[Field, ...]
    choice: str = ""

    @cached_property
    def columns(self) -> str:
        """The fields as a ClickHouse structure, without the enclosing Tuple."""
        parts = [f"{field.name} {field.column}" for field in self.fields]
        if self.choice:
            names = ", ".join(f"'{f.name}' = {i}" for i, f in enumerate(self.fields, start=1))
            parts.insert(0, f"{self.choice} Enum8('none' = 0, {names})")
        return ", ".join(parts)

    @property
    def column(self) -> str:
        """The ClickHouse type of this message."""
        return f"Tuple({self.columns})"

    def used(self) -> Iterator[Message]:
        """This message and every message below it, leaves first, each once."""
        seen: dict[str, Message] = {}
        for field in self.fields:
            if isinstance(field.kind, Message):
                for message in field.kind.used():
                    seen.setdefault(message.name, message)
        seen.setdefault(self.name, self)
        yield from seen.values()

    @property
    def definition(self) -> str:
        """This message in `.proto` syntax, on one line."""
        body = " ".join(
            f"{'repeated ' if f.repeated else ''}{f.type_name} {f.name} = {f.number};"
            for f in self.fields
        )
        if self.choice:
            body = f"oneof {self.choice} {{ {body} }}"
        return f"message {self.name} {{ {body} }}"

    @property
    def proto(self) -> str:
        """A complete `.proto` text with this message and all it uses."""
        return "\n".join(['syntax = "proto3";', *(m.definition for m in self.used())])


def _message(name: str, *fields: Field, choice: str = "") -> Message:
    return Message(name, fields, choice)


_SCALARS = (
    Field("s", 1, "string"),
    Field("b", 2, "bool"),
    Field("i", 3, "int64"),
    Field("d", 4, "double"),
)
_SCALAR = Message("Scalar", _SCALARS, choice="v")
_ARRAY = _message("ArrayValue", Field("values", 1, _SCALAR, repeated=True))
VALUE = Message("Value", (*_SCALARS, Field("a", 5, _ARRAY)), choice="v")
_ATTRIBUTE = _message("KeyValue", Field("key", 1, "string"), Field("value", 2, VALUE))


def _attributes(number: int) -> Field:
    return Field("attributes", number, _ATTRIBUTE, repeated=True)


_RESOURCE = _message("Resource", _attributes(1))
_SCOPE = _message(
    "Scope", Field("name", 1, "string"), Field("version", 2, "string"), _attributes(3)
)


def _request(signal: str, item: Message, items_name: str) -> Message:
    """Export…ServiceRequest of one signal: resources -> scopes -> items, numbered alike in all."""
    scoped = _message(
        f"Scope{signal}", Field("scope", 1, _SCOPE), Field(items_name, 2, item, repeated=True)
    )
    resource = _message(
        f"Resource{signal}",
        Field("resource", 1, _RESOURCE),
        Field("scopes", 2, scoped, repeated=True),
    )
    return _message("Request", Field("resources", 1, resource, repeated=True))


def _envelope(request: Message) -> Message:
    return _message(
        "Envelope",
        Field("project", 1, "string"),
        Field("recv", 2, "fixed64"),
        Field("request", 4, request),
    )


_EVENT = _message("Event", Field("t", 1, "fixed64"), Field("name", 2, "string"), _attributes(3))
_LINK = _message(
    "Link", Field("trace_id", 1, "bytes"), Field("span_id", 2, "bytes"), _attributes(4)
)
_STATUS = _message("Status", Field("message", 2, "string"), Field("code", 3, "int32"))
_SPAN = _message(
    "Span",
    Field("trace_id", 1, "bytes"),
    Field("span_id", 2, "bytes"),
    Field("trace_state", 3, "string"),
    Field("parent_span_id", 4, "bytes"),
    Field("name", 5, "string"),
    Field("t0", 7, "fixed64"),
    Field("t1", 8, "fixed64"),
    _attributes(9),
    Field("events", 11, _EVENT, repeated=True),
    Field("links", 13, _LINK, repeated=True),
    Field("status", 15, _STATUS),
)
_LOG = _message(
    "LogRecord",
    Field("t", 1, "fixed64"),
    Field("severity_number", 2, "int32"),
    Field("severity_text", 3, "string"),
    Field("body", 5, VALUE),
    _attributes(6),
    Field("trace_id", 9, "bytes"),
    Field("span_id", 10, "bytes"),
    Field("observed", 11, "fixed64"),
    Field("event_name", 12, "string"),
)
_NUMBER_POINT = _message(
    "NumberPoint",
    Field("t0", 2, "fixed64"),
    Field("t1", 3, "fixed64"),
    Field("d", 4, "double"),
    Field("i", 6, "sfixed64"),
    _attributes(7),
    Field("flags", 8, "uint32"),
)
_HISTOGRAM_POINT = _message(
    "HistogramPoint",
    Field("t0", 2, "fixed64"),
    Field("t1", 3, "fixed64"),
    Field("count", 4, "fixed64"),
    Field("sum", 5, "double"),
    Field("counts", 6, "fixed64", repeated=True),
    Field("bounds", 7, "double", repeated=True),
    _attributes(9),
    Field("flags", 10, "uint32"),
)
_BUCKETS = _message(
    "Buckets", Field("offset", 1, "sint32"), Field("counts", 2, "uint64", repeated=True)
)
_EXPONENTIAL_POINT = _message(
    "ExponentialPoint",
    _attributes(1),
    Field("t0", 2, "fixed64"),
    Field("t1", 3, "fixed64"),
    Field("count", 4, "fixed64"),
    Field("sum", 5, "double"),
    Field("scale", 6, "sint32"),
    Field("zeros", 7, "fixed64"),
    Field("positive", 8, _BUCKETS),
    Field("negative", 9, _BUCKETS),
    Field("flags", 10, "uint32"),
)
_QUANTILE = _message("Quantile", Field("q", 1, "double"), Field("v", 2, "double"))
_SUMMARY_POINT = _message(
    "SummaryPoint",
    Field("t0", 2, "fixed64"),
    Field("t1", 3, "fixed64"),
    Field("count", 4, "fixed64"),
    Field("sum", 5, "double"),
    Field("quantiles", 6, _QUANTILE, repeated=True),
    _attributes(7),
    Field("flags", 8, "uint32"),
)
_GAUGE = _message("Gauge", Field("points", 1, _NUMBER_POINT, repeated=True))
_SUM = _message(
    "Sum",
    Field("points", 1, _NUMBER_POINT, repeated=True),
    Field("temporality", 2, "int32"),
    Field("monotonic", 3, "bool"),
)
_HISTOGRAM = _message(
    "Histogram",
    Field("points", 1, _HISTOGRAM_POINT, repeated=True),
    Field("temporality", 2, "int32"),
)
_EXPONENTIAL = _message(
    "Exponential",
    Field("points", 1, _EXPONENTIAL_POINT, repeated=True),
    Field("temporality", 2, "int32"),
)
_SUMMARY = _message("Summary", Field("points", 1, _SUMMARY_POINT, repeated=True))
_METRIC = _message(
    "Metric",
    Field("name", 1, "string"),
    Field("unit", 3, "string"),
    Field("gauge", 5, _GAUGE),
    Field("sum", 7, _SUM),
    Field("histogram", 9, _HISTOGRAM),
    Field("exponential", 10, _EXPONENTIAL),
    Field("summary", 11, _SUMMARY),
)

TRACES_ENVELOPE = _envelope(_request("Spans", _SPAN, "spans"))
LOGS_ENVELOPE = _envelope(_request("Logs", _LOG, "records"))
METRICS_ENVELOPE = _envelope(_request("Metrics", _METRIC, "metrics"))


def parse_settings(envelope: Message) -> dict[str, str]:
    """Settings under which ClickHouse's `Protobuf` format reads a file of such envelopes."""
    return {
        "format_schema_source": "string",
        "format_schema": envelope.proto,
        "format_schema_message_name": envelope.name,
        "input_format_protobuf_oneof_presence": "1",
    }
