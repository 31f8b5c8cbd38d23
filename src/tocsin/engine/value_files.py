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

from tocsin.domain.errors import Problem, SpecError
from tocsin.engine import instants
from tocsin.engine.columns import first_line, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MISSING = ["", "nan", "NaN", "NA", "null", "None", "-"]
_WEEK_S = 7 * 86_400


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
    table = read_table(path, as_text=True)
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
    before = first_line(path)
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
    def refuse(row: int | None, what: str, fix: str) -> SpecError:
        return _bad(path, 0 if row is None else row + before, f"{name} {what}", fix)

    return instants.micros_of(column, refuse) // 1_000_000


def _names(column: pa.ChunkedArray, key: str, path: Path, before: int) -> pa.ChunkedArray:
    text = pc.cast(column, pa.string())
    empty = pc.fill_null(pc.equal(text, ""), True)
    if pc.any(empty).as_py():
        row = pc.index(empty, True).as_py()
        raise _bad(path, row + before, f"{key} is empty", "every row belongs to a series")
    return text


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
