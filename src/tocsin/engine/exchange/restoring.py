"""Rows of Tocsin's own exports, back into its tables as they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tocsin.domain.clock import iso
from tocsin.domain.errors import IntakeError
from tocsin.intake.columns import is_missing
from tocsin.intake.records import instant, moment_ns

# Columns by which an export of each kind is known; no other file has all of them.
_SIGNS: Mapping[str, frozenset[str]] = {
    "calls": frozenset({"ts", "service", "kind", "scope", "truncated", "received"}),
    "scores": frozenset({"ts", "service", "name", "value", "version", "line", "received"}),
    "changes": frozenset({"ts", "service", "kind", "title", "received"}),
}
_MAPS = {"dims": "dims", "labels": "labels", "attributes": "attrs", "resource": "res"}
_LISTS = {"event_names": "ev_name", "event_times": "ev_ts", "event_attributes": "ev_attrs"}
_TIMES = {"ts": "ts", "received": "recv"}
_MICROS = {"duration_ms": "duration_us", "ttft_ms": "ttft_us"}
_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "version", "line")
_FLAGS = ("streamed", "truncated")


def restored_kind(columns: Sequence[str]) -> str:
    """What an export of Tocsin with these columns holds, "" for any other file."""
    have = set(columns)
    return next((kind for kind, signs in _SIGNS.items() if signs <= have), "")


def _call(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    made = _row(where, row)
    made["usage_known"] = int(not is_missing(row.get("input_tokens")))
    made["cost_known"] = int(not is_missing(row.get("cost_usd")))
    return made


def _score(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    made = _row(where, row)
    value = row.get("value")
    made["value"] = "nan" if is_missing(value) else _number(where, "value", value)
    return {**made, "told": 1, "placed": 1}


def _row(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for column, value in row.items():
        if is_missing(value):
            continue
        if column in _TIMES:
            place = f"{where}: {column}"
            made[_TIMES[column]] = iso(instant(moment_ns(value, place), place))
        elif column in _MAPS or column in _LISTS:
            made[_MAPS.get(column) or _LISTS[column]] = _parsed(where, column, value)
        elif column in _MICROS:
            made[_MICROS[column]] = round(_number(where, column, value) * 1000)
        elif column in _COUNTS:
            made[column] = int(_number(where, column, value))
        elif column in _FLAGS:
            made[column] = int(str(value).strip().lower() in {"1", "true"})
        else:
            made[column] = _number(where, column, value) if column == "cost_usd" else str(value)
    return made


def _number(where: str, column: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise IntakeError(400, f"{where}: {column} {str(value)[:60]!r} is not a number") from None


def _parsed(where: str, column: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise IntakeError(400, f"{where}: {column} is not JSON") from None


RESTORED: Mapping[str, Callable[[str, Mapping[str, Any]], dict[str, Any]]] = {
    "calls": _call, "scores": _score, "changes": _row,
}  # fmt: skip
