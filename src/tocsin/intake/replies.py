"""What a sender gets back: OTLP export responses, and errors in the shape its protocol knows.

OTLP answers a refused request with a `google.rpc.Status` in the encoding of the request; everything
else gets `{"error": {"code", "message"}}`.

Source: opentelemetry-proto, `docs/specification.md`, sections "Partial Success" and "Failures".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from tocsin.domain.errors import IntakeError
from tocsin.intake.envelope import varint
from tocsin.intake.intake import Receipt
from tocsin.intake.mending import Rejected

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_RPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}
_INTERNAL = 13
_MOST_REASONS, _MOST_ERRORS = 5, 100
_REJECTED_NAMES = {
    "traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints",
}  # fmt: skip


def exported(signal: str, *, as_json: bool, rejected: int = 0, reason: str = "") -> Response:
    """200 for an accepted export request; says how many items were set aside, and why."""
    if as_json:
        partial = {_REJECTED_NAMES[signal]: str(rejected), "errorMessage": reason}
        return answer({"partialSuccess": partial} if rejected else {})
    return Response(export_message(rejected, reason), media_type=_PROTOBUF)


def export_message(rejected: int, reason: str) -> bytes:
    """An Export…ServiceResponse, which has the same shape for every signal."""
    if not rejected:
        return b""
    words = reason.encode()
    partial = b"\x08" + varint(rejected) + b"\x12" + varint(len(words)) + words
    return b"\x0a" + varint(len(partial)) + partial


def rpc_code(error: IntakeError) -> int:
    """The code of `google.rpc.Code` that stands for a refusal."""
    return _RPC_CODES.get(error.status, _INTERNAL)


def refused(error: IntakeError, *, as_json: bool) -> Response:
    """A refusal as `google.rpc.Status`."""
    code, message = rpc_code(error), str(error)
    headers = _headers(error)
    if as_json:
        return answer({"code": code, "message": message}, error.status, headers)
    words = message.encode()
    body = b"\x08" + varint(code) + b"\x12" + varint(len(words)) + words
    return Response(body, error.status, headers, _PROTOBUF)


def problem(error: IntakeError) -> Response:
    """A refusal for everything that is not OTLP."""
    detail = {"error": {"code": error.status, "message": str(error)}}
    return answer(detail, error.status, _headers(error))


def taken(receipt: Receipt, rejected: Sequence[Rejected]) -> Response:
    """200 for rows of Tocsin's own kinds; names the rows that were set aside, the first of many."""
    told = {
        "accepted": receipt.accepted,
        "rejected": receipt.rejected,
        "reason": "; ".join(receipt.reason.split("; ")[:_MOST_REASONS]),
    }
    if receipt.is_duplicate:
        told["duplicate"] = True
    if rejected:
        told["errors"] = [item.reason for item in rejected[:_MOST_ERRORS]]
    return answer(told)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(json.dumps(value, ensure_ascii=False), status, headers, _JSON)


def _headers(error: IntakeError) -> dict[str, str]:
    retry = error.retry_after_s
    return {} if retry is None else {"Retry-After": str(retry)}
