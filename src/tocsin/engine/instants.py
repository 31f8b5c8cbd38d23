"""Columns of instants, as files have them: text of RFC 3339, timestamps, days, or epoch numbers.

Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970 by how many digits they
have, as intake reads them. Text without a zone is UTC.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.domain.errors import IntakeError, SpecError
from tocsin.intake.records import UNITS_NS, moment_ns

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Makes the error about a row (from 0; None is the whole column), what is wrong, and what to write.
Refuse = Callable[[int | None, str, str], SpecError]

FIX = "write RFC 3339 (2026-11-21T10:00:00Z) or a number since 1970"
# Numbers below this are epoch minutes, above it epoch seconds: 3e8 minutes lie in the year 2540,
# 3e8 seconds in 1979, and nothing in between has LLM telemetry.
MINUTES_BELOW = 300_000_000
_SECONDS_BELOW = 32_503_680_000  # the year 3000
_MICROS = pa.timestamp("us")


def micros_of(column: pa.ChunkedArray, refuse: Refuse, *, in_minutes: bool = False) -> Ints:
    """Microseconds since the epoch of every row. What `refuse` makes of the first that is none.

    in_minutes: numbers that are all small are epoch minutes.
    """
    if column.null_count:
        raise refuse(pc.index(pc.is_null(column), True).as_py(), "is empty", FIX)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _from_numbers(_float64(column), refuse, in_minutes=in_minutes)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
        try:
            numbers = _float64(text)
        except pa.ArrowException:
            return _from_text(text, refuse)
        return _from_numbers(numbers, refuse, in_minutes=in_minutes)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = pc.cast(pc.cast(column, _MICROS, safe=False), pa.int64())
        return np.asarray(micros.to_numpy(), np.int64)
    raise refuse(None, f"is {kind}, not times", FIX)


def _from_numbers(values: Floats, refuse: Refuse, *, in_minutes: bool) -> Ints:
    if in_minutes and bool((values < MINUTES_BELOW).all()):
        return np.round(values * 60e6).astype(np.int64)
    limits = [limit for limit, _ in UNITS_NS[:-1]]
    per_unit = np.array([ns / 1000 for _, ns in UNITS_NS])
    with np.errstate(invalid="ignore"):
        micros = values * per_unit[np.searchsorted(limits, np.abs(values), side="right")]
        wrong = ~(np.abs(micros) <= _SECONDS_BELOW * 1e6)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise refuse(row, f"{values[row]:.15g} is no time", FIX)
    return np.asarray(np.round(micros), np.int64)


def _from_text(text: pa.ChunkedArray, refuse: Refuse) -> Ints:
    """The usual spellings as whole columns; any other mixture cell by cell."""
    plain = pc.replace_substring_regex(text, r"(Z|z|\+00:?00| ?UTC)$", "")
    for cells, kind in ((plain, _MICROS), (text, pa.timestamp("us", "UTC"))):
        try:
            micros = pc.cast(pc.cast(pc.cast(cells, kind), _MICROS), pa.int64())
            return np.asarray(micros.to_numpy(), np.int64)
        except pa.ArrowException:
            continue
    found = np.zeros(len(text), np.int64)
    for row, cell in enumerate(text.to_pylist()):
        try:
            found[row] = moment_ns(cell, "") // 1000
        except (IntakeError, OverflowError):
            raise refuse(row, f"{cell[:60]!r} is no time", FIX) from None
    return found


def _float64(column: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), np.float64)
