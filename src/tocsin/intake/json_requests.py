"""OTLP in JSON, turned into the protobuf that everything else reads.

The OTLP mapping is protobuf's own JSON mapping with two differences: trace and span ids are hex,
and unknown members are ignored. Enums may be names or numbers, 64-bit numbers may be text.

Source: opentelemetry-proto, `docs/specification.md`, section "JSON Protobuf Encoding".
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.domain.errors import IntakeError

_REQUESTS: dict[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_HEX_MEMBERS = {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}


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
        _hex_to_base64(document)
        message = json_format.ParseDict(
            document, _REQUESTS[signal](), ignore_unknown_fields=True, max_recursion_depth=60
        )
        return message.SerializeToString()
    except RecursionError:
        raise IntakeError(400, "the JSON is nested too deeply") from None
    except (json_format.ParseError, ValueError, TypeError) as error:
        raise IntakeError(400, f"the body is not OTLP/JSON: {str(error)[:300]}") from None


def _hex_to_base64(value: Any) -> None:
    """Rewrite hex ids in place; an id that is not hex becomes one that no span may have."""
    if isinstance(value, list):
        for item in value:
            _hex_to_base64(item)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name in _HEX_MEMBERS and isinstance(member, str):
                value[name] = base64.b64encode(_unhex(member)).decode()
            elif isinstance(member, (dict, list)) and name != "attributes":
                _hex_to_base64(member)


def _unhex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        return b"?"
