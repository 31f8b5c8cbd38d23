"""Rows of a file in the words of `POST /api/v1/calls`, `/scores` and `/changes`.

Takes the canonical names, the names that applications use in their own logs, text where CSV has
nothing else, and cells that are missing in one of the usual ways. What is no known name is kept: as
an attribute of a call, not of a score or change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tocsin.domain.errors import IntakeError
from tocsin.intake.json_requests import read_json

TIMES = ("ts", "timestamp", "start_time")
ALIASES = {
    "timestamp": "ts", "start_time": "ts", "service_name": "service", "environment": "env",
    "model_name": "model", "request_model": "model", "prompt": "input", "response": "output",
    "completion": "output", "prediction_id": "response_id", "latency_ms": "duration_ms",
    "prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "cost": "cost_usd",
    "cost_per_query": "cost_usd", "status_code": "http_status", "http_status_code": "http_status",
    "error_message": "status_message", "stream": "streamed",
}  # fmt: skip
SECONDS = {"latency_s": "duration_ms", "inference_latency": "duration_ms", "ttft_s": "ttft_ms"}
_NUMBERS = (
    "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "duration_ms", "ttft_ms",
    "cost_usd", "http_status",
)  # fmt: skip
_CALL = frozenset({
    "ts", "service", "project", "env", "release", "kind", "name", "operation", "provider", "model",
    "response_model", "response_id", "trace_id", "span_id", "parent_id", "session_id", "user_id",
    "prompt_version", "finish_reason", "error_class", "error_type", "status_message", "streamed",
    "input", "output", "dims", "attributes", *_NUMBERS,
})  # fmt: skip
ERRORS = ("error", "error_flag", "error_code")
# Columns that say which part of the traffic a call belongs to.
_DIMENSIONS = frozenset({
    "tenant", "region", "tier", "user_tier", "user_segment", "user_cohort", "geography",
    "workflow_type", "workflow", "business_unit", "model_version",
})  # fmt: skip
_RENAMED_ATTRIBUTES = {
    "total_tokens": "llm.token_count.total", "token_usage": "llm.token_count.total",
    "chunks_retrieved": "retrieval.documents.count",
}  # fmt: skip
_FAILED_STATUS = re.compile(r"[45][0-9][0-9]")
_MISSING = frozenset({"", "null", "none", "nan", "na", "n/a", "nat", "\\n", "-"})
_TRUE, _FALSE = frozenset({"true", "t", "yes", "1"}), frozenset({"false", "f", "no", "0"})

# Judgements that have a column of their own -> what they are called as scores.
WIDE_SCORES = {
    "user_thumbs_up": "feedback", "thumbs_up": "feedback", "user_feedback": "feedback",
    "rating": "feedback", "actual": "actual", "ground_truth": "ground_truth",
    "ticket_resolved": "ticket_resolved",
}  # fmt: skip
CALL_IDS = ("call_id", "span_id", "response_id", "prediction_id", "trace_id")
_SCORE = frozenset({
    "name", "value", "score", "label", "service", "project", "source", "annotator", "comment", "ts",
    "dims", "version", "id", *CALL_IDS,
})  # fmt: skip
_CHANGE = frozenset({"service", "project", "kind", "title", "labels", "ts"})
# Columns that only calls have; they tell a file of calls from one of judgements about them.
ONLY_CALLS = frozenset({
    "model", "model_name", "provider", "input_tokens", "output_tokens", "prompt_tokens",
    "duration_ms", "latency_ms", "latency_s", "inference_latency", "error_class", "ttft_ms",
    "finish_reason", "total_tokens", "cost_usd", "http_status",
})  # fmt: skip


def is_missing(value: Any) -> bool:
    """Whether a cell says nothing: None, NaN, or blank text."""
    return (
        value is None
        or (isinstance(value, float) and not math.isfinite(value))
        or (isinstance(value, str) and not value.strip())
    )


def call_row(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of calls as `rest.call` takes it. IntakeError for a cell that cannot be read."""
    made: dict[str, Any] = {}
    dims = _object(where, row.get("dims"), "dims")
    attributes = _object(where, row.get("attributes"), "attributes")
    for column, value in row.items():
        if is_missing(value) or column in {"dims", "attributes"} or _says_success(column, value):
            continue
        name = ALIASES.get(column, column)
        if column == "latency":
            raise IntakeError(
                400, f"{where}: latency has no unit; call the column latency_ms or latency_s"
            )
        if name in _NUMBERS or column in SECONDS:
            seconds = column in SECONDS
            _put_number(made, where, column, SECONDS.get(column, name), value, seconds=seconds)
        elif name in _CALL:
            made.setdefault(name, _plain(value))
        elif column in _DIMENSIONS or column.startswith("dims."):
            dims.setdefault(column.removeprefix("dims."), str(_plain(value)))
        elif column in ERRORS:
            _put_error(made, value)
        else:
            key = _RENAMED_ATTRIBUTES.get(column, column.removeprefix("attributes."))
            attributes.setdefault(key, _plain(value))
    if "streamed" in made:
        made["streamed"] = _flag(where, "streamed", made["streamed"])
    parts = {"dims": dims, "attributes": attributes}
    return {**made, **{name: part for name, part in parts.items() if part}}


def score_rows(where: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The judgements of a row as `rest.score` takes them: one, or one per column of its own."""
    made: dict[str, Any] = {}
    dims = _object(where, row.get("dims"), "dims")
    for column, value in row.items():
        if is_missing(value) or column == "dims":
            continue
        name = "ts" if column in TIMES else {"service_name": "service"}.get(column, column)
        if name.startswith("dims."):
            dims[name.removeprefix("dims.")] = str(_plain(value))
        elif name in _SCORE:
            made.setdefault(name, _plain(value))
    if dims:
        made["dims"] = dims
    for number in ("value", "score"):
        if isinstance(made.get(number), str | bool):
            made[number] = _judged(where, number, made[number])
    if isinstance(made.get("version"), str):
        made["version"] = _whole(where, "version", made["version"])
    return [made] if "name" in row else _wide_scores(where, row, made)


def _wide_scores(
    where: str, row: Mapping[str, Any], about: Mapping[str, Any]
) -> list[dict[str, Any]]:
    found = [
        {**about, "name": name, **_wide(row[column])}
        for column, name in WIDE_SCORES.items()
        if column in row and not is_missing(row[column])
    ]
    if not found:
        raise IntakeError(400, f"{where}: no judgement: neither a name nor a column that is one")
    return found


def change_row(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of changes as `rest.change` takes it."""
    made: dict[str, Any] = {}
    labels = _object(where, row.get("labels"), "labels")
    for column, value in row.items():
        if is_missing(value) or column == "labels":
            continue
        name = "ts" if column in TIMES else {"service_name": "service"}.get(column, column)
        if name in _CHANGE:
            made.setdefault(name, _plain(value))
        else:
            labels.setdefault(column.removeprefix("labels."), str(_plain(value)))
    return {**made, **({"labels": labels} if labels else {})}


def _object(where: str, value: Any, column: str) -> dict[str, Any]:
    """A cell that holds an object: a map of Parquet, or JSON text."""
    if is_missing(value):
        return {}
    if isinstance(value, str):
        try:
            value = read_json(value)
        except IntakeError:
            raise IntakeError(400, f"{where}: {column} is not a JSON object") from None
    if not isinstance(value, dict):
        raise IntakeError(400, f"{where}: {column} is not an object")
    return {str(k): v for k, v in value.items() if not is_missing(v)}


def _plain(value: Any) -> Any:
    """A cell as JSON has it; times stay, `records.moment_ns` reads them."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return value.strip() if isinstance(value, str) else value


def _put_number(
    made: dict[str, Any], where: str, column: str, name: str, value: Any, *, seconds: bool
) -> None:
    if isinstance(value, str) and value.strip().lower() in _MISSING:
        return
    number = _number(where, column, value)
    if not math.isfinite(number) or number < 0:
        return
    number = number * 1000 if seconds else number
    whole = name not in {"duration_ms", "ttft_ms", "cost_usd"}
    made.setdefault(name, round(number) if whole else number)


def _number(where: str, column: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise IntakeError(400, f"{where}: {column} {str(value)[:60]!r} is not a number") from None


def _whole(where: str, column: str, value: Any) -> int:
    number = _number(where, column, value)
    if not number.is_integer():
        raise IntakeError(400, f"{where}: {column} {str(value)[:60]!r} is not a whole number")
    return int(number)


def _says_success(column: str, value: Any) -> bool:
    """Whether a column that names failures says that there was none: `None`, `null`, `ok`."""
    return column in {"error_class", "error_type"} and failure_of(value) == ("", 0)


def _put_error(made: dict[str, Any], value: Any) -> None:
    name, status = failure_of(value)
    if status:
        made.setdefault("http_status", status)
    elif name and (name != "other" or "error_type" not in made):
        made["error_type"] = name


def failure_of(value: Any) -> tuple[str, int]:
    """What an error flag, code or name says: (type of the error, HTTP status), ("", 0) of success
    in one of the usual ways."""
    text = str(value).strip().lower()
    if text in _FALSE or text in _MISSING or text in {"ok", "success", "200"}:
        return "", 0
    if text in _TRUE:
        return "other", 0
    return ("", int(text)) if _FAILED_STATUS.fullmatch(text) else (str(value).strip(), 0)


def _flag(where: str, column: str, value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise IntakeError(400, f"{where}: {column} {str(value)[:60]!r} is neither true nor false")


def _judged(where: str, column: str, value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    text = value.strip().lower()
    if text in _TRUE or text in _FALSE:
        return float(text in _TRUE)
    return math.nan if text in _MISSING else _number(where, column, value)


def _wide(value: Any) -> dict[str, Any]:
    """A judgement without saying whether it is a number or a word."""
    if isinstance(value, bool | int | float):
        return {"value": float(value)}
    text = str(value).strip()
    lower = text.lower()
    if lower in {"true", "false"}:
        return {"value": float(lower == "true")}
    try:
        return {"value": float(text)}
    except ValueError:
        return {"label": text}
