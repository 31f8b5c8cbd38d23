"""The same spans in every form that intake takes, and logs and metrics beside them.

What is made of a protobuf body here holds what the body holds, in the words of the form: ids in hex
in OTLP/JSON, a column for every attribute in Arize's Arrow tables, members of a call in JSON lines.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.bodies import MODELS, SERVICES, SPANS, Text, attribute

BOUNDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
PROJECT = "bench"
_IDS = ("traceId", "spanId", "parentSpanId")
_STATUS = ("UNSET", "OK", "ERROR")
_MEMBERS = {
    "gen_ai.provider.name": "provider",
    "gen_ai.request.model": "model",
    "gen_ai.response.model": "response_model",
    "gen_ai.response.id": "response_id",
    "gen_ai.operation.name": "operation",
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_tokens",
    "session.id": "session_id",
    "user.id": "user_id",
    "gen_ai.prompt.version": "prompt_version",
    "tocsin.release": "release",
    "error.type": "error_type",
}


def otlp_json(body: bytes) -> bytes:
    """The body as OTLP/JSON."""
    request = ExportTraceServiceRequest.FromString(body)
    document = json_format.MessageToDict(request, use_integers_for_enums=True)
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                span |= {n: base64.b64decode(span[n]).hex() for n in _IDS if n in span}
    return json.dumps(document, separators=(",", ":")).encode()


def json_lines(body: bytes) -> bytes:
    """The spans of a body as lines for `/api/v1/calls`."""
    lines = []
    for service, span in _spans(body):
        said = {pair.key: _value(pair.value) for pair in span.attributes}
        row: dict[str, Any] = {
            "ts": span.start_time_unix_nano,
            "duration_ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
            "service": service,
            "name": span.name,
            "kind": said.pop("openinference.span.kind").lower(),
            "trace_id": span.trace_id.hex(),
            "span_id": span.span_id.hex(),
            "parent_id": span.parent_span_id.hex(),
            "dims": {"tier": said.pop("tocsin.segment.tier")},
            **{member: said.pop(name) for name, member in _MEMBERS.items() if name in said},
        }
        if "gen_ai.response.time_to_first_chunk" in said:
            row["ttft_ms"] = said.pop("gen_ai.response.time_to_first_chunk") * 1000
        lines.append(json.dumps({**row, "attributes": said}, separators=(",", ":")))
    return "\n".join(lines).encode()


def arrow_spans(bodies: Iterable[bytes]) -> bytes:
    """The spans of some bodies as one table of `/v1/pandas_arrow`, an Arrow stream."""
    rows = []
    for body in bodies:
        for _, span in _spans(body):
            said = {f"attributes.{pair.key}": _value(pair.value) for pair in span.attributes}
            rows.append({
                "name": span.name,
                "context.trace_id": span.trace_id.hex(),
                "context.span_id": span.span_id.hex(),
                "parent_id": span.parent_span_id.hex() or None,
                "start_time": span.start_time_unix_nano,
                "end_time": span.end_time_unix_nano,
                "status_code": _STATUS[span.status.code],
                "status_message": span.status.message or None,
                **said,
            })  # fmt: skip
    names = {name: None for row in rows for name in row}
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    for name in ("start_time", "end_time"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(pa.timestamp("ns", "UTC")))
    project = b"\x0a" + bytes([len(PROJECT) + 2]) + b"\x0a" + bytes([len(PROJECT)])
    schema = base64.b64encode(project + PROJECT.encode())
    return as_stream(table.replace_schema_metadata({b"arize-schema": schema}))


def evaluations(bodies: Iterable[bytes], name: str, rng: np.random.Generator) -> pa.Table:
    """A judgement of every span of some bodies, as Arize's SDK puts it over Flight."""
    ids = [span.span_id.hex() for body in bodies for _, span in _spans(body)]
    scores = rng.random(len(ids))
    labels = np.where(scores > 0.2, "faithful", "hallucinated")
    return pa.table({
        "context.span_id": ids,
        f"eval.{name}.label": labels.tolist(),
        f"eval.{name}.score": scores,
    })  # fmt: skip


def as_stream(table: pa.Table) -> bytes:
    """An Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return bytes(sink.getvalue())


def logs(count: int, start_ns: int, *, seed: int = 13) -> Iterator[bytes]:
    """Bodies of 512 log records: the events by which content comes beside spans."""
    rng = np.random.default_rng(seed)
    text = Text(rng)
    for number in range(count):
        request = ExportLogsServiceRequest()
        resource = request.resource_logs.add()
        resource.resource.attributes.append(
            attribute("service.name", f"svc-{rng.integers(SERVICES):02d}")
        )
        scope = resource.scope_logs.add()
        scope.scope.name = "opentelemetry.instrumentation.openai_v2"
        for _ in range(SPANS):
            at = start_ns + number * 20_000_000 + int(rng.integers(1_000_000_000))
            record = scope.log_records.add(
                time_unix_nano=at, observed_time_unix_nano=at, severity_number=9,
                event_name="gen_ai.user.message", trace_id=rng.bytes(16), span_id=rng.bytes(8),
            )  # fmt: skip
            record.attributes.append(attribute("gen_ai.provider.name", "openai"))
            content = record.body.kvlist_value.values.add(key="content")
            content.value.string_value = text.piece(240).tobytes().decode()
        yield request.SerializeToString()


def metrics(count: int, start_ns: int, *, seed: int = 17) -> Iterator[bytes]:
    """Bodies of 512 points: durations as cumulative histograms, tokens as cumulative sums."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 50, (SPANS, len(BOUNDS) + 1))
    for number in range(count):
        at = start_ns + number * 20_000_000
        counts = counts + rng.integers(0, 20, counts.shape)
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.append(
            attribute("service.name", f"svc-{number % SERVICES:02d}")
        )
        resource.resource.attributes.append(attribute("service.instance.id", rng.bytes(16).hex()))
        scope = resource.scope_metrics.add()
        scope.scope.name = "opentelemetry.instrumentation.openai_v2"
        duration = scope.metrics.add(name="gen_ai.client.operation.duration", unit="s").histogram
        tokens = scope.metrics.add(name="gen_ai.client.token.usage", unit="{token}").sum
        cumulative = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        duration.aggregation_temporality = tokens.aggregation_temporality = cumulative
        tokens.is_monotonic = True
        for place in range(SPANS):
            provider, model = MODELS[place % len(MODELS)]
            said = {"gen_ai.provider.name": provider, "gen_ai.request.model": model}
            said["server.address"] = f"node-{place}"
            held = [attribute(*item) for item in said.items()]
            times = {"start_time_unix_nano": start_ns, "time_unix_nano": at}
            if place % 2:
                tokens.data_points.add(**times, attributes=held, as_int=int(counts[place].sum()))
                continue
            duration.data_points.add(
                **times, attributes=held, count=int(counts[place].sum()),
                sum=float(counts[place] @ (0, *BOUNDS)), bucket_counts=counts[place].tolist(),
                explicit_bounds=BOUNDS,
            )  # fmt: skip
        yield request.SerializeToString()


def _spans(body: bytes) -> Iterator[tuple[str, Span]]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        named: Mapping[str, Any] = {
            pair.key: pair.value.string_value for pair in resource.resource.attributes
        }
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield named["service.name"], span


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [item.string_value for item in value.array_value.values]
    return getattr(value, which)
