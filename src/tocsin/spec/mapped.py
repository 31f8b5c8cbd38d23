"""Rows of a foreign file in Tocsin's own names, by a mapping, one row at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.domain.calls import ERROR_CLASSES
from tocsin.domain.errors import IntakeError
from tocsin.spec.mapping import DURATION_FIELDS, Source, TraceMapping

_OWN_NAMES = {
    "duration": "duration_ms", "ttft": "ttft_ms", "error": "error_class",
    "error_message": "status_message",
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MappedRows:
    """Applies one mapping.

    start: when a file without a clock of its own began. IntakeError, with the place, for a cell
    that cannot be read as the mapping says.
    """

    def __init__(self, mapping: TraceMapping, start: datetime | None = None) -> None:
        self.mapping = mapping
        self._start_ns = (
            0 if start is None else (start - _EPOCH) // timedelta(microseconds=1) * 1000
        )

    def row(self, where: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """One row in Tocsin's names; cells that say nothing are left out."""
        made: dict[str, Any] = {}
        if self.mapping.time.column:
            made["ts"] = self._time(where, row.get(self.mapping.time.column))
        for name, source in self.mapping.fields.items():
            value = source.constant if not source.column else row.get(source.column)
            if value is None or value == "":
                continue
            made[_OWN_NAMES.get(name, name)] = _read(where, name, source, value)
        for dimension, column in self.mapping.dims.items():
            made[f"dims.{dimension}"] = row.get(column)
        return {name: value for name, value in made.items() if value is not None}

    def _time(self, where: str, value: Any) -> Any:
        time = self.mapping.time
        if isinstance(value, datetime) or value is None:
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            if time.clock == "absolute":
                return value
            raise IntakeError(400, f"{where}: {time.column} {value!r} is not a number") from None
        if not math.isfinite(number):
            return None
        if time.clock == "absolute":
            return int(_scaled(value, number, time.unit_ns))
        unit = 1e9 / time.rate_per_s if time.clock == "sequence" else time.unit_ns
        return self._start_ns + int(number * unit)


def _scaled(value: Any, number: float, unit_ns: int) -> float:
    """Whole numbers stay exact; nanoseconds do not fit a double."""
    text = str(value).strip()
    return int(text) * unit_ns if text.lstrip("-").isdigit() else number * unit_ns


def _read(where: str, name: str, source: Source, value: Any) -> Any:
    if name in DURATION_FIELDS:
        try:
            return float(value) * source.unit_ns / 1e6
        except (TypeError, ValueError):
            raise IntakeError(
                400, f"{where}: {source.column} {str(value)[:60]!r} is not a number"
            ) from None
    if name == "error":
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        if text in source.ok or (isinstance(value, float) and math.isnan(value)):
            return None
        return source.classes.get(text) or (text if text in ERROR_CLASSES else source.otherwise)
    return f"{source.prefix}{value}" if source.prefix else value
