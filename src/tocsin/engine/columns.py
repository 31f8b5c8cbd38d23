"""Files of columns: reading them, and every way in which a cell can be wrong, said with its place.

Numbers and times are checked as whole columns; an error names the file, the row and the column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from tocsin.domain.errors import Problem, SpecError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Numbers below this are epoch minutes, above it epoch seconds: 3e8 minutes lie in the year 2540,
# 3e8 seconds in 1979, and nothing in between has LLM telemetry.
MINUTES_BELOW = 300_000_000
SECONDS_BELOW = 32_503_680_000  # the year 3000


def read_table(path: Path) -> pa.Table:
    """The file as an Arrow table. SpecError when its kind is unknown or it cannot be read."""
    readers: Mapping[str, Callable[[Path], pa.Table]] = {
        ".parquet": pyarrow.parquet.read_table,
        ".csv": pyarrow.csv.read_csv,
        ".jsonl": pyarrow.json.read_json,
        ".ndjson": pyarrow.json.read_json,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise unusable(path, f"{path.suffix or 'no suffix'}: use {', '.join(readers)}")
    try:
        return reader(path)
    except (pa.ArrowException, OSError) as error:
        raise unusable(path, f"cannot be read: {error}") from None


def unusable(path: Path, message: str, *, fix: str = "") -> SpecError:
    """An error about `path` as a whole, or about a row that `message` names."""
    return SpecError([Problem(str(path), 0, "", message, fix)])


def texts(table: pa.Table, name: str) -> npt.NDArray[np.object_]:
    """A column as text, empty where it is null."""
    column = pc.fill_null(pc.cast(table[name], pa.string()), "")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


def floats(table: pa.Table, name: str) -> Floats:
    """A column of amounts; NaN where it is null, negative or not finite, or there is none."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    values = pc.cast(table[name], pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values) & (values >= 0), values, np.nan)


def integers(table: pa.Table, name: str, path: Path) -> Ints:
    """A column of counts. SpecError where one is missing, negative or not whole."""
    column = table[name]
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise unusable(path, f"row {row + 1}: {name} is empty", fix="write 0 when there were none")
    try:
        values = np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowException:
        raise unusable(path, f"column {name} is {column.type}, not whole numbers") from None
    if (values < 0).any():
        raise unusable(path, f"row {int(np.argmax(values < 0)) + 1}: {name} is negative")
    return values


def _check_range(values: Floats, name: str, path: Path) -> None:
    """SpecError for numbers that are no time of this century; milliseconds are the usual slip."""
    wrong = ~(np.abs(values) <= SECONDS_BELOW)
    if wrong.any():
        row = int(np.argmax(wrong))
        fix = "write seconds since 1970, not milliseconds, or RFC 3339"
        raise unusable(
            path, f"row {row + 1}: column {name}: {values[row]:.15g} is no time", fix=fix
        )


def minutes_of(column: pa.ChunkedArray, name: str, path: Path) -> Ints:
    """The epoch minute that each instant lies in; see `micros_of`."""
    return micros_of(column, name, path) // 60_000_000


def micros_of(column: pa.ChunkedArray, name: str, path: Path) -> Ints:
    """Microseconds since the epoch of a column that names instants: RFC 3339, timestamps, numbers
    of seconds, or of minutes in a column called `minute`. SpecError for anything else."""
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise unusable(path, f"row {row + 1}: {name} is empty")
    kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            values = np.asarray(column.to_numpy(), dtype=np.float64)
            _check_range(values, name, path)
            in_minutes = name == "minute" and bool((values < MINUTES_BELOW).all())
            return np.round(values * (60e6 if in_minutes else 1e6)).astype(np.int64)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = pc.cast(pc.replace_substring(column, "Z", "+00:00"), pa.timestamp("us", "UTC"))
        micros = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
    except pa.ArrowException as error:
        raise unusable(
            path, f"column {name}: {error}", fix="use RFC 3339 or epoch seconds"
        ) from None
    return np.asarray(micros.to_numpy(), dtype=np.int64)
