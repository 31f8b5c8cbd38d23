"""Files of values over time: a timestamp, a value, and perhaps a key that tells series apart.

Parquet, CSV and JSON Lines alike. CSV is read as text first, so that an error can name its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tocsin.domain.errors import Problem, SpecError
from tocsin.engine.columns import SECONDS_BELOW, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MISSING = ["", "nan", "NaN", "NA", "null", "None", "-"]
_WEEK_S = 7 * 86_400
_TIME_FIX = "write RFC 3339 (2026-11-21T10:00:00Z) or seconds since 1970"


@dataclass(frozen=True, slots=True)
class ValueSeries:
    """One series: seconds since 1970, ascending, and its values; NaN where nothing was measured.

    repeated: rows that were left out because a later row had the same time.
    """

    name: str
    seconds: Ints
    values: Floats
    repeated: int = 0

    @property
    def step_s(self) -> int:
        """The usual distance of two points, in seconds, at most a week; 60 where there is one."""
        if len(self.seconds) < 2:
            return 60
        return min(max(int(np.median(np.diff(self.seconds))), 1), _WEEK_S)


def read_values(
    path: Path, *, key: str = "", timestamp: str = "timestamp", value: str = "value"
) -> list[ValueSeries]:
    """Every series of a file, in order of their names; one, named like the file, without `key`.

    SpecError when the file cannot be read, a column is missing, or a cell is no time or number.
    """
    is_csv = path.suffix.lower() == ".csv"
    table = _csv_as_text(path) if is_csv else read_table(path)
    wanted = [timestamp, value, *([key] if key else [])]
    for name in wanted:
        if name not in table.column_names:
            columns = ", ".join(table.column_names) or "none"
            option = {timestamp: "--timestamp", value: "--value"}.get(name, "--key")
            raise _bad(
                path, 0, f"no column {name!r}; there are {columns}", f"name it with {option}"
            )
    if not table.num_rows:
        raise _bad(path, 0, "has no rows", "give it at least one")
    # Line 1 of a CSV is its header, line 1 of a JSONL file its first row.
    before = 2 if is_csv else 1
    seconds = _seconds(table[timestamp], timestamp, path, before)
    values = _numbers(table[value], value, path, before)
    names = _names(table[key], key, path, before) if key else None
    return list(_series(path.stem, seconds, values, names))


def _series(
    stem: str, seconds: Ints, values: Floats, names: pa.ChunkedArray | None
) -> Iterator[ValueSeries]:
    if names is None:
        yield _one(stem, seconds, values)
        return
    coded = names.combine_chunks().dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    named = zip(coded.dictionary.to_pylist(), parts, strict=True)
    for name, part in sorted(named, key=lambda pair: pair[0]):
        yield _one(name, seconds[part], values[part])


def _one(name: str, seconds: Ints, values: Floats) -> ValueSeries:
    order = np.argsort(seconds, kind="stable")
    seconds, values = seconds[order], values[order]
    last = np.append(np.diff(seconds) > 0, True)
    return ValueSeries(name, seconds[last], values[last], int((~last).sum()))


def _csv_as_text(path: Path) -> pa.Table:
    try:
        with pyarrow.csv.open_csv(path) as reader:
            names = reader.schema.names
        as_text = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        )
        return pyarrow.csv.read_csv(path, convert_options=as_text)
    except (pa.ArrowException, OSError) as error:
        raise _bad(path, 0, f"cannot be read: {error}", "") from None


def _numbers(column: pa.ChunkedArray, name: str, path: Path, before: int) -> Floats:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        missing = pc.is_in(text, value_set=pa.array(_MISSING, text.type))
        text = pc.if_else(missing, None, text)
        try:
            column = pc.cast(text, pa.float64())
        except pa.ArrowException:
            row, cell = _first_bad(text, float)
            fix = "write a number, or leave it empty where nothing was measured"
            raise _bad(path, row + before, f"{name} {cell!r} is no number", fix) from None
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise _bad(path, 0, f"column {name} is {column.type}, not numbers", "")
    values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def _seconds(column: pa.ChunkedArray, name: str, path: Path, before: int) -> Ints:
    kind = column.type
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise _bad(path, row + before, f"{name} is empty", _TIME_FIX)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = pc.utf8_trim_whitespace(column)
        try:
            return _whole_seconds(pc.cast(text, pa.float64()), name, path, before)
        except pa.ArrowException:
            return _from_text(text, name, path, before)
    if pa.types.is_timestamp(kind):
        micros = pc.cast(pc.cast(column, pa.timestamp("us"), safe=False), pa.int64())
        return np.asarray(micros.to_numpy(), np.int64) // 1_000_000
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _whole_seconds(pc.cast(column, pa.float64()), name, path, before)
    raise _bad(path, 0, f"column {name} is {kind}, not times", _TIME_FIX)


def _from_text(text: pa.ChunkedArray, name: str, path: Path, before: int) -> Ints:
    plain = pc.replace_substring_regex(text, r"(Z|\+00:00)$", "")
    try:
        micros = pc.cast(pc.cast(plain, pa.timestamp("us")), pa.int64())
    except pa.ArrowException:
        try:
            zoned = pc.replace_substring_regex(text, "Z$", "+00:00")
            micros = pc.cast(pc.cast(zoned, pa.timestamp("us", "UTC")), pa.int64())
        except pa.ArrowException:
            row, cell = _first_bad(text, _as_time)
            raise _bad(path, row + before, f"{name} {cell!r} is no time", _TIME_FIX) from None
    return np.asarray(micros.to_numpy(), np.int64) // 1_000_000


def _whole_seconds(column: pa.ChunkedArray, name: str, path: Path, before: int) -> Ints:
    values = np.asarray(column.to_numpy(), np.float64)
    wrong = ~(np.abs(values) <= SECONDS_BELOW)
    if wrong.any():
        row = int(np.argmax(wrong))
        fix = "write seconds since 1970, not milliseconds, or RFC 3339"
        raise _bad(path, row + before, f"{name} {values[row]:.15g} is no time", fix)
    return np.floor(values).astype(np.int64)


def _names(column: pa.ChunkedArray, key: str, path: Path, before: int) -> pa.ChunkedArray:
    text = pc.cast(column, pa.string())
    empty = pc.fill_null(pc.equal(text, ""), True)
    if pc.any(empty).as_py():
        row = pc.index(empty, True).as_py()
        raise _bad(path, row + before, f"{key} is empty", "every row belongs to a series")
    return text


def _as_time(cell: str) -> object:
    return pc.cast(pa.array([cell.replace("Z", "+00:00")]), pa.timestamp("us", "UTC"))


def _first_bad(column: pa.ChunkedArray, read: object) -> tuple[int, str]:
    """The first cell that `read` refuses."""
    for row, cell in enumerate(column.to_pylist()):
        try:
            if cell is not None:
                read(cell)  # type: ignore[operator]
        except (ValueError, pa.ArrowException):
            return row, str(cell)
    return 0, str(column[0].as_py())


def _bad(path: Path, line: int, message: str, fix: str) -> SpecError:
    return SpecError([Problem(str(path), line, "", message, fix)])
