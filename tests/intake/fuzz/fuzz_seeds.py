"""Good bodies to start from, and counts of what is in a body that share no code with its reader."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from fuzz_mutations import read_stream, write_parquet, write_stream
from google.protobuf import json_format
from intake_build import NOW_NS, put, span_request
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

CALLS: Sequence[Mapping[str, Any]] = [
    {"ts": "2026-11-21T04:00:00.5Z", "service": "shop", "model": "gpt-4o-mini",
     "provider": "openai", "input_tokens": 412, "output_tokens": 120, "duration_ms": 1480.25,
     "ttft_ms": 90, "finish_reason": "stop", "dims": {"tier": "pro"}, "input": "ü😀",
     "trace_id": "ab" * 16, "span_id": "01" * 8, "attributes": {"deep": {"a": [1, None]}}},
    {"ts": 1763697600, "service": "shop", "kind": "retriever", "error_type": "Timeout",
     "status_message": "no", "http_status": 504, "streamed": True, "abandoned": True},
]  # fmt: skip
SCORES: Sequence[Mapping[str, Any]] = [
    {"name": "feedback", "value": 1, "call_id": "01" * 8, "service": "shop", "comment": "fine",
     "ts": "2026-11-21T04:00:00Z", "version": 3, "dims": {"tier": "pro"}},
    {"name": "judge", "label": "correct", "trace_id": "ab" * 16, "id": "s-1"},
]  # fmt: skip
CHANGES: Sequence[Mapping[str, Any]] = [
    {"service": "shop", "kind": "deploy", "title": "v2", "labels": {"by": "ci"}, "ts": 1763697600},
    {"service": "shop", "kind": "prompt", "title": "shorter"},
]
BILLS: Sequence[Mapping[str, Any]] = [
    {"ChargePeriodStart": "2026-11-20T00:00:00Z", "ChargePeriodEnd": "2026-11-21T00:00:00Z",
     "BilledCost": 1.25, "BillingCurrency": "USD", "ServiceName": "Bedrock",
     "ConsumedQuantity": 1000, "Tags": {"team": "a"}},
    {"ChargePeriodStart": "2026-11-20", "EffectiveCost": "0.5", "Tags": '{"team": "b"}'},
]  # fmt: skip
_LABELS = {"query": {"string": "where?"}, "llm_latency_ms": {"double": 812.5},
           "http_status_code": {"string": "200"}, "prompt_tokens": {"int": "412"}}  # fmt: skip
_JUDGED = {"score_categorical": {"score_category": {"category": "refund", "score": 0.9}}}
ARIZE_LOGS = [
    {"model_id": "m", "prediction_id": "p-1", "prediction": {
        "timestamp": "2026-11-21T04:00:00Z", "tags": _LABELS, "prediction_label": _JUDGED},
     "actual": {"actual_label": _JUDGED}},
    {"model_id": "m", "prediction_id": "p-2", "actual": {"actual_label": {"numeric": 1}}},
]  # fmt: skip
ARIZE_NOTES = {
    "project_id": "p",
    "annotations": [
        {"record_id": "01" * 8, "values": [
            {"name": "ok", "score": 1.0}, {"name": "kind", "label": "good", "text": "why"}]},
    ],
}  # fmt: skip
PHOENIX_NOTES = {"data": [
    {"name": "user feedback", "annotator_kind": "HUMAN", "span_id": "01" * 8,
     "result": {"label": "thumbs-down", "score": 0, "explanation": "wrong"}},
    {"name": "correct", "annotator_kind": "LLM", "span_id": "02" * 8, "result": {"score": 1.0}},
]}  # fmt: skip
PHOENIX_SPANS = {"data": [
    {"name": "llm", "context": {"trace_id": "ab" * 16, "span_id": "03" * 8}, "span_kind": "LLM",
     "start_time": "2026-11-21T04:00:00Z", "end_time": "2026-11-21T04:00:01Z",
     "status_code": "OK", "parent_id": None,
     "attributes": {"llm.model_name": "gpt-4o", "tags": ["a", "b"], "deep": {"x": [1]}}},
]}  # fmt: skip
COMMAND = b'{"writeSpanEvaluationRequest": {"spaceId": "s", "externalModelId": "m"}}'
BEDROCK_ENTRY = {
    "timestamp": "2026-11-21T04:00:00Z", "requestId": "r", "modelId": "amazon.nova", "operation":
    "Converse", "input": {"inputTokenCount": 10}, "output": {"outputTokenCount": 5,
    "outputBodyJson": {"stopReason": "end_turn", "metrics": {"latencyMs": 300}}},
}  # fmt: skip

CSV = (
    "ts,service,model,latency_s,input_tokens,error,dims.tier,streamed,note\n"
    "2026-11-21T04:00:00Z,shop,gpt-4o,1.5,412,0,pro,true,fine\n"
    '1763697600,shop,gpt-4o,0.5,12,429,free,no,"two\nlines, 😀"\n'
).encode()
CSV_SCORES = (
    b"prediction_id,user_thumbs_up,ts,version\np-1,true,2026-11-21T04:00:00Z,1\np-2,0.5,,\n"
)
CSV_FOCUS = (
    b"BilledCost,BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ServiceName,Tags\n"
    b'1.5,USD,2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,Bedrock,"{""team"": ""a""}"\n'
)
CSV_COUNTS = b"minute,service,good,bad\n29395000,shop,9,1\n2026-11-21T04:00:00Z,shop,3,0\n"
PARQUET = write_parquet(
    pa.table({
        "ts": pa.array([1763697600123456, 1763697601000000], pa.timestamp("us", "UTC")),
        "service": ["shop", "shop"],
        "model": pa.array(["a", "b"]).dictionary_encode(),
        "duration_ms": [12.5, None],
        "input_tokens": pa.array([1, 2], pa.int32()),
        "dims": pa.array([[("tier", "pro")], []], pa.map_(pa.string(), pa.string())),
        "attributes": [{"x": [1, 2]}, {"x": []}],
    })
)  # fmt: skip
PAGE = b"""\
# HELP vllm:num_requests_running Requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model="a\\"b"} 3.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{model="a"} 1234.0 1763697600000
# TYPE ttft_seconds histogram
ttft_seconds_bucket{le="0.1",model="a"} 3.0
ttft_seconds_bucket{le="1.0",model="a"} 5.0
ttft_seconds_bucket{le="+Inf",model="a"} 6.0
ttft_seconds_count{model="a"} 6.0
ttft_seconds_sum{model="a"} 2.5
# TYPE lag summary
lag{quantile="0.5"} 0.2
lag_count 7
lag_sum 1.4
untyped_thing 1
"""
OPEN_PAGE = b"""\
# TYPE requests counter
# UNIT requests
requests_total{code="200"} 5 1763697600.123 # {trace_id="a"} 1.0 1763697600.1
requests_created{code="200"} 1763690000.0
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_bucket{le="0.5"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_count 2
wait_seconds_sum 1.5
# TYPE state stateset
state{state="a"} 1
# TYPE build info
build_info{version="1"} 1
# EOF
"""


def lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The rows as JSON lines."""
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def otlp(signal: str) -> list[bytes]:
    """Own bodies of a signal, with what recordings lack: events, links, all kinds of values."""
    return [bytes(message.SerializeToString()) for message in _OWN[signal]()]


def otlp_json(signal: str) -> list[bytes]:
    """The same as OTLP/JSON, whose ids are hex."""
    found = []
    for message in _OWN[signal]():
        document = json_format.MessageToDict(message)
        _hex_ids(document)
        found.append(json.dumps(document).encode())
    return found


def _hex_ids(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _hex_ids(item)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name in {"traceId", "spanId", "parentSpanId"}:
                value[name] = base64.b64decode(member).hex()
            else:
                _hex_ids(member)


def _spans() -> list[Any]:
    plain = span_request(3)
    rich = span_request(2, scope="langchain", attributes={"n": 1, "d": 1.5, "b": True})
    span = rich.resource_spans[0].scope_spans[0].spans[0]
    event = span.events.add(name="First Token Stream Event", time_unix_nano=NOW_NS)
    put(event.attributes, {"x": "y"})
    span.links.add(trace_id=b"\x07" * 16, span_id=b"\x08" * 8)
    array = span.attributes.add(key="tags").value.array_value
    array.values.add().string_value = "a"
    array.values.add().int_value = 2
    deep = span.attributes.add(key="deep").value.kvlist_value.values.add(key="k")
    deep.value.array_value.values.add().bytes_value = b"\x00\xff"
    return [plain, rich]


def _logs() -> list[Any]:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    put(resource.resource.attributes, {"service.name": "shop"})
    scope = resource.scope_logs.add()
    for number in range(2):
        record = scope.log_records.add(time_unix_nano=NOW_NS, severity_text="INFO")
        record.trace_id, record.span_id = b"\x01" * 16, b"\x02" * 8
        record.event_name = "gen_ai.choice"
        put(record.attributes, {"n": number})
        record.body.kvlist_value.values.add(key="content").value.string_value = "hello"
    return [request]


def _metrics() -> list[Any]:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    put(resource.resource.attributes, {"service.name": "shop"})
    metrics = resource.scope_metrics.add().metrics
    when = {"start_time_unix_nano": NOW_NS - 10**9, "time_unix_nano": NOW_NS}
    put(metrics.add(name="g").gauge.data_points.add(as_double=1.5, **when).attributes, {"a": "b"})
    total = metrics.add(name="s").sum
    total.aggregation_temporality, total.is_monotonic = 2, True
    total.data_points.add(as_int=7, **when)
    held = metrics.add(name="gen_ai.client.token.usage").histogram
    held.aggregation_temporality = 2
    held.data_points.add(count=3, sum=4.0, explicit_bounds=[1, 2], bucket_counts=[1, 1, 1], **when)
    expo = metrics.add(name="e").exponential_histogram
    expo.aggregation_temporality = 1
    point = expo.data_points.add(count=3, sum=4.0, scale=2, zero_count=1, **when)
    point.positive.offset = -1
    point.positive.bucket_counts.extend([1, 1])
    quantiles = metrics.add(name="q").summary.data_points.add(count=2, sum=3.0, **when)
    quantiles.quantile_values.add(quantile=0.5, value=1.0)
    return [request]


_OWN = {"traces": _spans, "logs": _logs, "metrics": _metrics}


def tables(fixtures: Path) -> list[bytes]:
    """Arrow streams as Arize's SDK sends them: spans with evaluations, evaluations, predictions."""
    spans = (fixtures / "arize-spans-log.arize.1.bin").read_bytes()
    judged = pa.table({
        "context.span_id": ["01" * 8, "02" * 8],
        "eval.judge.label": ["correct", None],
        "eval.judge.score": [1.0, 0.0],
        "annotation.notes": ["fine", None],
        "patch_document": ['{"a": 1}', None],
    })  # fmt: skip
    predicted = pa.table({
        "prediction_id": ["p-1", "p-2"], "label": ["a", "b"], "score": [0.5, None],
        "prompt_tokens": [1, 2], "latency_ms": [3.0, 4.0],
        "time": pa.array([1763697600, 1763697601], pa.timestamp("s")),
    }).replace_schema_metadata({"arize-schema": _arize_schema()})  # fmt: skip
    return [spans, write_stream(judged), write_stream(predicted)]


def _arize_schema() -> str:
    def told(number: int, text: bytes) -> bytes:
        return bytes([number << 3 | 2, len(text)]) + text

    columns = told(1, b"prediction_id") + told(3, b"time") + told(4, b"label") + told(5, b"score")
    return base64.b64encode(told(1, told(1, b"m")) + told(4, columns)).decode()


def plain_rows(body: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    """The column names and rows of a stream; what Python cannot hold stands as an object."""
    table = read_stream(body)
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            columns[name] = column.to_pylist()
        except (ValueError, OverflowError, pa.ArrowException):
            columns[name] = [object() if value.is_valid else None for value in column]
    rows = [{name: columns[name][n] for name in columns} for n in range(table.num_rows)]
    return list(table.column_names), rows


def is_plain(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether Python can hold every cell."""
    return not any(type(value) is object for row in rows for value in row.values())


def told(row: Mapping[str, Any], *, has_spans: bool) -> int:
    """What a row tells: a call or new metadata, evaluations and annotations."""
    groups = set()
    for column, value in row.items():
        origin, _, rest = column.partition(".")
        name, dot, _ = rest.rpartition(".")
        if origin in {"eval", "annotation"} and dot and name and not _is_nothing(value):
            groups.add((origin, name))
    return len(groups) + (has_spans or not _is_nothing(row.get("patch_document")))


def arize_notes(document: Any) -> int:
    """Annotations in a body of Arize's client."""
    return sum(len(note["values"]) for note in document["annotations"])


def phoenix_notes(document: Any) -> int:
    """Annotations or spans in a body of Phoenix's client."""
    return len(document["data"])


def _is_nothing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
