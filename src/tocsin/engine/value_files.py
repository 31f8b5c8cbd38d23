"""Files of values over time: a timestamp, a value, and perhaps a key that tells series apart.

Parquet, CSV and JSON Lines alike. CSV is read as text first, so that an error can name its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
_TIMES = ("timestamp", "time", "ts", "at", "minute", "datetime", "date")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+$")
_MOST = 1e18  # squares of values are kept in single precision
# Rows that may repeat a time, as a share or a number: clocks are set back, exports overlap.
_FEW, _FEWEST = 0.01, 2


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
    path: Path, *, key: str = "", timestamp: str = "", value: str = ""
) -> list[ValueSeries]:
    """Every series of a file, in order of their names; one, named like the file, without `key`.

    timestamp, value: columns, "" for the usual names. key: columns with commas. SpecError when the
    file cannot be read, a column is missing, a cell is no time or number, or a file without `key`
    has several values at one time.
    """
    table = read_table(path, as_text=True)
    chosen = _columns(table, path, timestamp, value, key)
    if not table.num_rows:
        raise _bad(path, 0, "has no rows", "give it at least one")
    before = first_line(path)
    seconds = _seconds(table[chosen.timestamp], chosen.timestamp, path, before)
    values = _numbers(table[chosen.value], chosen.value, path, before)
    if not chosen.keys:
        _check_sole(table, chosen, seconds, values, path)
    names = _names(table, chosen.keys, path, before) if chosen.keys else None
    name = path.name.removesuffix(".gz").rpartition(".")[0]
    return list(_series(name, seconds, values, names))


@dataclass(frozen=True, slots=True)
class _Columns:
    timestamp: str
    value: str
    keys: tuple[str, ...]


def _columns(table: pa.Table, path: Path, timestamp: str, value: str, key: str) -> _Columns:
    have = table.column_names
    keys = tuple(name.strip() for name in key.split(",") if name.strip())
    if not timestamp:
        timestamp = next((name for name in _TIMES if name in have), "timestamp")
    rest = [name for name in have if name not in (timestamp, *keys)]
    if not value:
        value = rest[0] if len(rest) == 1 and timestamp in have else "value"
    options = {timestamp: "--timestamp", value: "--value"}
    for name in (timestamp, value, *keys):
        if name in have:
            continue
        if _is_number(have[0]) or _is_number(have[-1]):
            fix = "the first line must name the columns: timestamp,value"
        else:
            fix = f"name it with {options.get(name, '--key')}"
        raise _bad(path, 0, f"no column {name!r}; there are {', '.join(have) or 'none'}", fix)
    return _Columns(timestamp, value, keys)


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _check_sole(
    table: pa.Table, chosen: _Columns, seconds: Ints, values: Floats, path: Path
) -> None:
    """SpecError when many rows have the time of another and a different value: which of them is
    meant nobody can know, and one series made of several is none of them."""
    order = np.lexsort((values, seconds))
    same = np.diff(seconds[order]) == 0
    differ = same & ~(np.diff(values[order]) == 0) & np.isfinite(values[order][1:])
    clashes = int(differ.sum())
    if clashes <= max(_FEW * len(seconds), _FEWEST):
        return
    message = f"{clashes:,} of {len(seconds):,} rows have another value at the time of another row"
    others = [n for n in table.column_names if n not in (chosen.timestamp, chosen.value)]
    found = [name for name in others if _tells_apart(table, (name,), seconds)]
    if found:
        fix = f"several series? tell them apart with --key {found[0]}"
    elif len(others) > 1 and _tells_apart(table, others, seconds):
        fix = f"several series? tell them apart with --key {','.join(others)}"
    else:
        fix = "one value per time is needed: add up or average them first"
    raise _bad(path, 0, message, fix)


def _tells_apart(table: pa.Table, names: Sequence[str], seconds: Ints) -> bool:
    """Whether no two rows with the same cells in these columns have the same time, nearly."""
    codes = _joined(table, names).combine_chunks().dictionary_encode()
    if len(codes.dictionary) * 2 > len(seconds):
        return False
    place = np.asarray(codes.indices.fill_null(-1))
    order = np.lexsort((seconds, place))
    again = (np.diff(place[order]) == 0) & (np.diff(seconds[order]) == 0)
    return bool(again.sum() <= _FEW * len(seconds))


def _joined(table: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    parts = [pc.fill_null(pc.cast(table[name], pa.string()), "") for name in names]
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "/")


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
            if _DECIMAL_COMMA.match(cell):
                fix = "write a point in front of decimals"
            raise _bad(path, row + before, f"{name} {cell!r} is no number", fix) from None
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise _bad(path, 0, f"column {name} is {column.type}, not numbers", "")
    values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    values = np.where(np.isfinite(values), values, np.nan)
    if (huge := np.flatnonzero(np.abs(values) > _MOST)).size:
        row = int(huge[0])
        fix = "leave it empty where nothing was measured, or give values in a larger unit"
        told = f"{name} {values[row]:g} is beyond {_MOST:g}"
        raise _bad(path, row + before, told, fix)
    return values


def _seconds(column: pa.ChunkedArray, name: str, path: Path, before: int) -> Ints:
    def refuse(row: int | None, what: str, fix: str) -> SpecError:
        return _bad(path, 0 if row is None else row + before, f"{name} {what}", fix)

    return instants.micros_of(column, refuse) // 1_000_000


def _names(table: pa.Table, keys: Sequence[str], path: Path, before: int) -> pa.ChunkedArray:
    for key in keys:
        empty = pc.fill_null(pc.equal(pc.cast(table[key], pa.string()), ""), True)
        if pc.any(empty).as_py():
            row = pc.index(empty, True).as_py()
            raise _bad(path, row + before, f"{key} is empty", "every row belongs to a series")
    return _joined(table, keys)


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
