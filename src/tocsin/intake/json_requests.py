"""OTLP in JSON, turned into the protobuf that everything else reads.

The OTLP mapping is protobuf's own JSON mapping with two differences: trace and span ids are hex,
and unknown members are ignored. Enums may be names or numbers, 64-bit numbers may be text.

Source: opentelemetry-proto, `docs/specification.md`, section "JSON Protobuf Encoding".
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.domain.errors import IntakeError
from tocsin.intake.json_wire import Malformed, message

_REQUESTS: dict[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_MOST_SAID = 300


def read_json(body: bytes) -> Any:
    """The value of a JSON text. IntakeError 400 saying where it breaks."""
    try:
        return json.loads(body)
    except RecursionError:
        raise IntakeError(400, "the JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise IntakeError(400, f"the body is not UTF-8 text: byte {error.start}") from None
    except ValueError as error:
        raise IntakeError(400, f"the body is not JSON: {error}") from None


def to_protobuf(signal: str, body: bytes) -> bytes:
    """An OTLP/JSON request of a signal (traces, logs, metrics) as OTLP/protobuf."""
    document = read_json(body)
    if not isinstance(document, dict):
        raise IntakeError(400, "an OTLP/JSON request is an object with a member resourceSpans,"
                               " resourceLogs or resourceMetrics")  # fmt: skip
    try:
        return message(_REQUESTS[signal].DESCRIPTOR).write(document)
    except Malformed as error:
        where = str(error).lstrip(".: ")
        if len(where) > _MOST_SAID:  # the place begins it, the reason ends it
            where = f"{where[: _MOST_SAID // 2]} … {where[-_MOST_SAID // 2 :]}"
        raise IntakeError(400, f"the body is not OTLP/JSON: {where}") from None
