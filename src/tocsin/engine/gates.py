"""Gates over a file of calls: rows to minutes of both arms, minutes to a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.assess.gates.evidence import Sums
from tocsin.assess.gates.gate import Batch, GateResult, run
from tocsin.domain.errors import Problem, SpecError
from tocsin.engine.columns import minutes_of, read_table
from tocsin.spec.explain import suggest
from tocsin.spec.gates import BASELINE, CANDIDATE, Condition, GateShape

Floats = npt.NDArray[np.float64]
_COMPARE = {
    "=": pc.equal, "!=": pc.not_equal, ">=": pc.greater_equal, "<=": pc.less_equal,
    ">": pc.greater, "<": pc.less,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checked:
    """A verdict, and the arms it is about."""

    candidate: str
    baseline: str
    result: GateResult


def check_file(shape: GateShape, path: Path, candidate: str = "", baseline: str = "") -> Checked:
    """The verdict of a gate over a file of calls (CSV, Parquet, JSON Lines).

    The file has the column `ts`, the one that tells the arms apart, and those that the metrics
    name. candidate, baseline: in place of what the document says. Calls of other arms are ignored.
    SpecError when a column is missing or cannot be read.
    """
    table = read_table(path)
    arms = _arms(shape, table, path, candidate, baseline)
    batches = list(_batches(shape, table, path, arms))
    result, _ = run(shape.build(), batches)
    return Checked(arms[0], arms[1], result)


def _arms(
    shape: GateShape, table: pa.Table, path: Path, candidate: str, baseline: str
) -> tuple[str, str]:
    named = candidate or shape.arms.candidate
    if named == CANDIDATE:
        raise _wrong(path, shape.arms.by, "which arm is the candidate is not said",
                     "name it: --candidate VALUE")  # fmt: skip
    base = baseline or shape.arms.baseline
    found = pc.unique(_column(table, shape.arms.by, path).cast(pa.string())).to_pylist()
    values = sorted(str(value) for value in found if value is not None)
    if base in (BASELINE, "current"):
        others = [value for value in values if value != named]
        if len(others) != 1:
            raise _wrong(path, shape.arms.by, f"has the values {', '.join(values)}",
                         "name the baseline: --baseline VALUE")  # fmt: skip
        base = others[0]
    for value in (named, base):
        if value not in values:
            raise _wrong(path, shape.arms.by, f"there is no call with {value!r}",
                         suggest(value, values))  # fmt: skip
    if named == base:
        raise _wrong(path, shape.arms.by, f"candidate and baseline are both {named!r}", "")
    return named, base


def _batches(
    shape: GateShape, table: pa.Table, path: Path, arms: tuple[str, str]
) -> Iterator[Batch]:
    minute = minutes_of(_column(table, "ts", path), "ts", path)
    arm = np.array(_column(table, shape.arms.by, path).cast(pa.string()).to_pylist(), dtype=object)
    unit = None
    if shape.unit:
        texts = _column(table, shape.unit, path).cast(pa.string()).to_pylist()
        # A call without a session is independent of all others.
        unit = np.array([t if t else f"\0{i}" for i, t in enumerate(texts)], dtype=object)
    values = _values(shape, table, path)
    by_arm = [_units(values, minute, unit, arm == name) for name in arms]
    everything = np.concatenate([m for mine in by_arm for m, _ in mine.values()])
    for at in np.unique(everything):
        found = {}
        for metric in values:
            pair = tuple(_sums(*mine[metric], int(at)) for mine in by_arm)
            found[metric] = (pair[0], pair[1])
        yield Batch(int(at), found)


def _units(
    values: Mapping[str, Floats],
    minute: npt.NDArray[np.int64],
    unit: npt.NDArray[np.object_] | None,
    mine: npt.NDArray[np.bool_],
) -> dict[str, tuple[npt.NDArray[np.int64], Floats]]:
    """By metric the minute and the value of every unit of one arm, in order of minutes.

    A session counts once, with its mean, in the minute of its last call: its requests are no
    independent witnesses. Of a rate that is a share between 0 and 1, for which the test of counts
    holds as well (see `tocsin.assess.gates.evidence`).
    """
    found = {}
    for name, all_values in values.items():
        known = mine & np.isfinite(all_values)
        at, what = minute[known], all_values[known]
        if unit is not None and what.size:
            _, owner = np.unique(unit[known].astype(str), return_inverse=True)
            count = np.bincount(owner)
            what = np.bincount(owner, weights=what) / count
            last = np.full(count.size, np.iinfo(np.int64).min)
            np.maximum.at(last, owner, at)
            at = last
        order = np.argsort(at, kind="stable")
        found[name] = (at[order], what[order])
    return found


def _sums(minutes: npt.NDArray[np.int64], values: Floats, at: int) -> Sums:
    a, b = np.searchsorted(minutes, (at, at + 1))
    part = values[a:b]
    return Sums(int(b - a), float(part.sum()), float((part * part).sum()))


def _values(shape: GateShape, table: pa.Table, path: Path) -> dict[str, Floats]:
    """The value of every call for every metric; NaN where it is not known."""
    conditions = shape.conditions()
    found = {}
    for metric in shape.metrics:
        if metric.rate:
            found[metric.name] = _told(table, conditions[metric.name], path)
            continue
        values = _numbers(_column(table, metric.mean, path), metric.mean, path)
        if metric.scale == "log":
            if np.any(values <= 0):
                raise _wrong(path, metric.mean, "has values of 0 or below, which have no logarithm",
                             "use scale: linear")  # fmt: skip
            values = np.log(values)
        found[metric.name] = values
    return found


def _told(table: pa.Table, condition: Condition, path: Path) -> Floats:
    column = _column(table, condition.column, path)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text:
        column = pc.fill_null(column, "")
    elif isinstance(condition.value, str):
        column = pc.fill_null(column.cast(pa.string()), "")
    value: Any = condition.value
    if is_text and not isinstance(value, str):
        raise _wrong(
            path, condition.column, "is text", f"compare it with text: != '' or = '{value}'"
        )
    if isinstance(value, bool) and not pa.types.is_boolean(column.type):
        value = 1.0 if value else 0.0
    try:
        met = _COMPARE[condition.operator](column, pa.scalar(value))
    except pa.ArrowException:
        raise _wrong(path, condition.column, f"is of type {column.type} and cannot be compared with"
                     f" {condition.value!r}", "") from None  # fmt: skip
    return np.asarray(met.cast(pa.float64()).to_numpy(), np.float64)


def _numbers(column: pa.ChunkedArray, name: str, path: Path) -> Floats:
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException:
        raise _wrong(path, name, f"is of type {column.type}, not a number", "") from None


def _column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        fix = suggest(name, table.column_names)
        raise _wrong(path, name, "there is no such column", fix)
    column = table.column(name)
    return (
        pc.cast(column, column.type.value_type) if pa.types.is_dictionary(column.type) else column
    )


def _wrong(path: Path, column: str, message: str, fix: str) -> SpecError:
    return SpecError([Problem(str(path), 0, column, message, fix)])
