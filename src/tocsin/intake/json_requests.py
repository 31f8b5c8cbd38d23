"""JSON that anybody may have sent, and OTLP in JSON turned into the protobuf that everything reads.

The OTLP mapping is protobuf's own JSON mapping with two differences: trace and span ids are hex,
and unknown members are ignored. Enums may be names or numbers, 64-bit numbers may be text.

Source: opentelemetry-proto, `docs/specification.md`, section "JSON Protobuf Encoding".
"""

from __future__ import annotations

import json
import re
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
# Half of a surrogate pair, as a text has it that was cut in the middle of an emoji, and whole
# numbers that no double can hold: what only a careful reader survives.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MOST_DIGITS = 300
MOST_CONTAINERS = 2_000_000  # objects and lists of one body; each takes thirty times its text
_STEP = 50  # of so many digits every fiftieth are five in a row: far fewer characters to look at
_MANY_DIGITS = re.compile(r"[0-9]{5}")


def read_json(body: bytes | str, what: str = "the body") -> Any:
    """The value of a JSON text, fit to be used. IntakeError 400 saying where it breaks, 413 for
    more objects and lists than anybody sends.

    Texts can be written as UTF-8: half a surrogate pair becomes U+FFFD. A number that no double can
    hold is infinite.
    """
    try:
        text = body if isinstance(body, str) else body.decode(json.detect_encoding(body))
        if text.count("{") + text.count("[") > MOST_CONTAINERS:
            raise IntakeError(413, f"{what} has more than {MOST_CONTAINERS} objects and lists")
        if _SURROGATE.search(text) is None and _MANY_DIGITS.search(text[::_STEP]) is None:
            return json.loads(text)
        return _mended(json.loads(text, parse_int=_whole))
    except RecursionError:
        raise IntakeError(400, f"{what} is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise IntakeError(400, f"{what} is not UTF-8 text: byte {error.start}") from None
    except ValueError as error:
        raise IntakeError(400, f"{what} is not JSON: {error}") from None


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


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(member) for name, member in value.items()}
    return value
