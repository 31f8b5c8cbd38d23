"""Requests for the kill test: request `number` is always the same, and says what must come of it.

Ten kinds in turn, four requests of each, so that every door and every segment kind of a real
server is on its way when it is killed.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from telemetry_build import NOW

from tocsin.domain.clock import iso

NOW_NS = int(NOW.timestamp()) * 1_000_000_000
DAY_NS = 86_400_000_000_000
PROTOBUF, JSON = {"content-type": "application/x-protobuf"}, {"content-type": "application/json"}
RUN = 4  # requests of one kind in a row
PROVIDER = "openinference.instrumentation.openai"
FRAMEWORK = "openinference.instrumentation.langchain"
# Not a varint but a length where the state of a trace stands: parsers skip it as unknown, and the
# engine does not.
POISON = b"\x18\x05"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, and the rows it must leave: table -> texts that identify them."""

    path: str
    body: bytes
    headers: Mapping[str, str]
    rows: Mapping[str, list[str]] = field(default_factory=dict)


def request(number: int) -> Sent:
    """Request `number`."""
    return _KINDS[number // RUN % len(_KINDS)](number)


def expected(numbers: Iterable[int]) -> dict[str, Counter[str]]:
    """All rows that these requests must leave, by table."""
    found: dict[str, Counter[str]] = {}
    for number in numbers:
        for table, texts in request(number).rows.items():
            found.setdefault(table, Counter()).update(texts)
    return found


def _span_id(number: int, place: int) -> bytes:
    return (number << 16 | place | 1 << 60).to_bytes(8, "big")


def _trace(number: int) -> bytes:
    return (number | 1 << 90).to_bytes(16, "big")


def _spans(
    number: int, places: Iterable[int], *, scope: str = PROVIDER, days: int = 1
) -> ExportTraceServiceRequest:
    """LLM calls that ended over the last hours of `days` days."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    named = resource.resource.attributes.add(key="service.name")
    named.value.string_value = f"service-{number % 3}"
    scoped = resource.scope_spans.add()
    scoped.scope.name = scope
    for place in places:
        span = scoped.spans.add(
            name="chat", trace_id=_trace(number), span_id=_span_id(number, place)
        )
        start = NOW_NS - DAY_NS * (place % days) - 3_600_000_000_000 * (number % 5)
        span.start_time_unix_nano = start - 1_000_000 * (number % 60_000)
        span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000 * (1 + place)
        for key, text in (("openinference.span.kind", "LLM"), ("llm.model_name", "gpt-4o")):
            span.attributes.add(key=key).value.string_value = text
        span.attributes.add(key="llm.token_count.prompt").value.int_value = 1 + place
        span.attributes.add(key="tocsin.segment.tier").value.string_value = f"tier-{place % 2}"
        if place % 4 == 3:
            span.status.code = 2
    return made


def _ids(number: int, places: Iterable[int], kind: str = "llm") -> list[str]:
    return [f"{kind} {_span_id(number, place).hex()}" for place in places]


def _plain(number: int) -> Sent:
    body = _spans(number, range(12), days=3).SerializeToString()
    return Sent("/v1/traces", body, PROTOBUF, {"calls": _ids(number, range(12))})


def _careful(number: int) -> Sent:
    """Every second span wraps the call of a provider below it, and is none itself."""
    made = _spans(number, range(0, 6, 2), scope=FRAMEWORK)
    leaves = _spans(number, range(1, 6, 2)).resource_spans[0].scope_spans[0]
    for leaf, wrapper in zip(
        leaves.spans, made.resource_spans[0].scope_spans[0].spans, strict=True
    ):
        leaf.parent_span_id = wrapper.span_id
    made.resource_spans[0].scope_spans.append(leaves)
    rows = _ids(number, range(0, 6, 2), "chain") + _ids(number, range(1, 6, 2))
    return Sent("/v1/traces", made.SerializeToString(), PROTOBUF, {"calls": rows})


def _logs(number: int) -> Sent:
    made = ExportLogsServiceRequest()
    scoped = made.resource_logs.add().scope_logs.add()
    for place in range(5):
        record = scoped.log_records.add(time_unix_nano=NOW_NS - place * DAY_NS)
        record.body.string_value = f"{number}.{place}"
    rows = {"logs": [f"{number}.{place}" for place in range(5)]}
    return Sent("/v1/logs", made.SerializeToString(), PROTOBUF, rows)


def _metrics(number: int) -> Sent:
    made = ExportMetricsServiceRequest()
    metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name=f"m{number}")
    for place in range(4):
        metric.gauge.data_points.add(time_unix_nano=NOW_NS, as_int=place + 1)
    rows = {"metric_points": [f"m{number} {place + 1}" for place in range(4)]}
    return Sent("/v1/metrics", made.SerializeToString(), PROTOBUF, rows)


def _scores(number: int) -> Sent:
    ids = [f"{number}.{place}" for place in range(3)]
    scores = [{"name": "feedback", "value": 1, "call_id": each, "service": "s"} for each in ids]
    return Sent("/api/v1/scores", json.dumps(scores).encode(), JSON, {"scores": ids})


def _changes(number: int) -> Sent:
    change = {"service": "s", "kind": "deploy", "title": f"change {number}", "ts": iso(NOW)}
    return Sent("/api/v1/changes", json.dumps(change).encode(), JSON,
                {"changes": [f"change {number}"]})  # fmt: skip


def _calls(number: int) -> Sent:
    lines = [
        {"ts": iso(NOW), "service": "rows", "model": "gpt-4o", "duration_ms": 3,
         "span_id": _span_id(number, place).hex()}
        for place in range(6)
    ]  # fmt: skip
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    return Sent("/api/v1/calls", body, JSON, {"calls": _ids(number, range(6))})


def _rejected(number: int) -> Sent:
    """Two of five spans have no trace id."""
    made = _spans(number, range(5))
    for span in made.resource_spans[0].scope_spans[0].spans[3:]:
        span.trace_id, span.name = b"", f"rejected {number}."
    rows = {"calls": _ids(number, range(3)), "quarantine": [f"rejected {number}."] * 2}
    return Sent("/v1/traces", made.SerializeToString(), PROTOBUF, rows)


def _json(number: int) -> Sent:
    document = json_format.MessageToDict(_spans(number, range(4), days=2))
    for place, span in enumerate(document["resourceSpans"][0]["scopeSpans"][0]["spans"]):
        span["traceId"] = _trace(number).hex()
        span["spanId"] = _span_id(number, place).hex()
    body = gzip.compress(json.dumps(document).encode(), mtime=0)
    return Sent("/v1/traces", body, {**JSON, "content-encoding": "gzip"},
                {"calls": _ids(number, range(4))})  # fmt: skip


def _poison(number: int) -> Sent:
    """A body that a parser can read and the engine cannot."""
    span = _spans(number, [0]).resource_spans[0].scope_spans[0].spans[0]
    span.name = f"poison {number}."
    return Sent("/v1/traces", _with_poison(number, span.SerializeToString()), PROTOBUF,
                {"quarantine": [f"poison {number}."]})  # fmt: skip


def _with_poison(number: int, span: bytes) -> bytes:
    def wrapped(tag: bytes, held: bytes) -> bytes:
        size, out = len(held), bytearray()
        while size > 0x7F:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        return tag + bytes([*out, size]) + held

    scope = wrapped(b"\x0a", wrapped(b"\x0a", PROVIDER.encode()))
    return wrapped(b"\x0a", wrapped(b"\x12", scope + wrapped(b"\x12", POISON + span)))


_KINDS = (
    _plain, _careful, _logs, _metrics, _scores, _changes, _calls, _rejected, _json, _poison,
)  # fmt: skip
