"""Gates over a file of calls: rows to minutes of both arms, minutes to a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.assess.gates.evidence import NOTHING, Sums
from tocsin.assess.gates.gate import Batch, GateResult, run
from tocsin.domain.comparison import ArmCount, Compared, Comparison
from tocsin.domain.errors import Problem, SpecError
from tocsin.domain.expressions import Expression, Field, fields
from tocsin.engine.call_columns import in_words_of_the_store
from tocsin.engine.columns import read_table
from tocsin.engine.files import CallsFile
from tocsin.engine.gate_health import ON_A_SERVER
from tocsin.engine.predicates import evaluate
from tocsin.spec.explain import suggest
from tocsin.spec.gates import BASELINE, CANDIDATE, GateShape

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Which column of a file a field is read from, where it is not called the same.
_COLUMNS = {
    "latency": "duration_ms", "latency_ms": "duration_ms", "elapsed": "duration_ms",
    "ttft": "ttft_ms", "error": "error_class", "failed": "error_class", "status": "error_class",
    "policy_violation": "error_class",
}  # fmt: skip
_PARTS = {"total_tokens": ("input_tokens", "output_tokens")}
_UNFOLLOWED = (
    "a unit counts once it was followed for {window} minutes (unitWindow), and the file spans"
    " {spanned}"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A verdict, and the arms it is about."""

    candidate: str
    baseline: str
    result: GateResult


def comparison(shape: GateShape, service: str, candidate: str, baseline: str) -> Comparison:
    """What a gate compares. service: as telemetry calls it."""
    return Comparison(
        service=service,
        kind=shape.kind,
        arm=shape.arm,
        candidate=candidate,
        baseline=baseline,
        values=tuple(Compared(m.name, m.value, m.scale == "log") for m in shape.metrics),
        unit=shape.independent,
        window=shape.window_minutes,
    )


def batches(counts: Iterable[ArmCount]) -> Iterator[Batch]:
    """Counts in order of minutes as what a gate is told minute by minute."""
    for minute, rows in groupby(counts, lambda count: count.minute):
        arms: dict[str, tuple[Sums, Sums]] = {}
        for row in rows:
            candidate, baseline = arms.get(row.name, (NOTHING, NOTHING))
            sums = Sums(row.units, row.total, row.squares)
            arms[row.name] = (sums, baseline) if row.is_candidate else (candidate, sums)
        yield Batch(minute, arms)


def check_file(shape: GateShape, path: Path, candidate: str = "", baseline: str = "") -> Checked:
    """The verdict of a gate over a file of calls (CSV, Parquet, JSON Lines).

    The file has the column `ts`, the one that tells the arms apart, and those that the metrics
    speak of. candidate, baseline: in place of what the document says. Calls of other arms are
    ignored. SpecError when a column is missing or cannot be read.
    """
    table, _ = in_words_of_the_store(read_table(path), path)
    if "service" not in table.column_names:
        table = table.append_column("service", pa.array([""] * table.num_rows))
    wanted = [shape.arm, *(metric.value for metric in shape.metrics)]
    for expression in (*wanted, *([shape.independent] if shape.independent else [])):
        _check_columns(expression, table, path)
    _column(table, "ts", path)
    try:
        calls = CallsFile.of(table, path)
        arm = _texts(shape.arm, calls)
        named = _arms(shape, sorted(set(arm.tolist()) - {""}), path, candidate, baseline)
        compared = comparison(shape, "", *named)
        result, _ = run(shape.build(), batches(arm_counts(calls, arm, compared)))
        spanned = calls.span[1] - calls.span[0]
        if compared.unit is not None and result.units == (0, 0) and spanned < compared.window:
            why = _UNFOLLOWED.format(window=compared.window, spanned=spanned)
            result = replace(result, reason=why)
        if result.verdict == "pass" and shape.health is not None:
            result = replace(result, verdict="inconclusive", reason=ON_A_SERVER)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _wrong(path, "", f"a column is not of its kind: {error}", "") from None
    return Checked(named[0], named[1], result)


def arm_counts(
    calls: CallsFile, arm: npt.NDArray[np.object_], wanted: Comparison
) -> list[ArmCount]:
    """What both arms did, in order of minutes, as `store.arms` counts it.

    A unit that is still followed at the end of the file is not counted.
    """
    kind = calls.kind == wanted.kind
    values = [_values(each, calls) for each in wanted.values]
    unit = None if wanted.unit is None else _units(wanted.unit, calls)
    found = []
    for is_candidate, name in zip((True, False), wanted.arms, strict=True):
        mine = np.flatnonzero(kind & (arm == name))
        minute, owner = calls.minute[mine], None
        if unit is not None:
            owner, minute = _followed(unit[mine], minute, wanted.window, calls.span[1])
        for each, all_values in zip(wanted.values, values, strict=True):
            for at, part in _by_minute(minute, all_values[mine], owner):
                total, squares = float(part.sum()), float((part * part).sum())
                found.append(ArmCount(at, each.name, is_candidate, int(part.size), total, squares))
    return sorted(found, key=lambda count: count.minute)


def _followed(
    unit: npt.NDArray[np.object_], minute: Ints, window: int, stop: int
) -> tuple[Ints, Ints]:
    """Of every call the number of the unit it belongs to, -1 for none, and by number of the unit
    the minute in which it is counted. Minutes are in order."""
    _, named = np.unique(unit.astype(str), return_inverse=True)
    order = np.lexsort((minute, named))
    ordered, at = named[order], minute[order]
    is_new = np.ones(order.size, np.bool_)
    is_new[1:] = (ordered[1:] != ordered[:-1]) | (at[1:] - at[:-1] >= window)
    number = np.cumsum(is_new) - 1
    counted = at[is_new] + window - 1
    inside = (at <= counted[number]) & (counted[number] < stop)
    owner = np.full(order.size, -1, np.int64)
    owner[order[inside]] = number[inside]
    return owner, counted


def _by_minute(minute: Ints, values: Floats, owner: Ints | None) -> Iterator[tuple[int, Floats]]:
    """The values of units by the minute in which they count. minute: by call, or by unit."""
    known = np.isfinite(values)
    if owner is not None:
        known &= owner >= 0
        counts = np.bincount(owner[known], minlength=minute.size)
        sums = np.bincount(owner[known], weights=values[known], minlength=minute.size)
        minute, values = minute[counts > 0], sums[counts > 0] / counts[counts > 0]
    else:
        minute, values = minute[known], values[known]
    order = np.argsort(minute, kind="stable")
    minute, values = minute[order], values[order]
    found, begins = np.unique(minute, return_index=True)
    # Not strict: of no value at all `split` makes one empty part.
    yield from zip(found.tolist(), np.split(values, begins[1:]), strict=False)


def _values(each: Compared, calls: CallsFile) -> Floats:
    """The value of every call; NaN where it is not known."""
    column = evaluate(each.value, calls.field, len(calls.minute))
    values = np.asarray(
        pc.fill_null(pc.cast(column, pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    )
    if not each.log:
        return values
    return np.log(np.where(values > 0, values, np.nan))


def _texts(expression: Expression, calls: CallsFile) -> npt.NDArray[np.object_]:
    """A text of every call; "" where it is not known."""
    column = evaluate(expression, calls.field, len(calls.minute))
    return np.asarray(pc.fill_null(column, "").to_numpy(zero_copy_only=False), dtype=object)


def _units(expression: Expression, calls: CallsFile) -> npt.NDArray[np.object_]:
    # A call whose unit is not known is independent of all others.
    texts = _texts(expression, calls)
    return np.array([text or f"\0{place}" for place, text in enumerate(texts)], dtype=object)


def _arms(
    shape: GateShape, known: Sequence[str], path: Path, candidate: str, baseline: str
) -> tuple[str, str]:
    named = shape.said(candidate) or shape.arms.candidate
    if named == CANDIDATE:
        raise _wrong(path, shape.arms.by, "which arm is the candidate is not said",
                     "name it: --candidate VALUE")  # fmt: skip
    base = shape.said(baseline) or shape.arms.baseline
    if base == BASELINE:
        others = [value for value in known if value != named]
        if len(others) != 1:
            raise _wrong(path, shape.arms.by, f"which of {', '.join(others) or 'no arm'} is the"
                         " baseline is not said", "name it: --baseline VALUE")  # fmt: skip
        base = others[0]
    for value in (named, base):
        if value not in known:
            raise _wrong(path, shape.arms.by, f"there is no call with {value!r}",
                         suggest(value, known))  # fmt: skip
    if named == base:
        raise _wrong(path, shape.arms.by, f"{named!r} is both arms", "name two")
    return named, base


def _check_columns(expression: Expression, table: pa.Table, path: Path) -> None:
    for field in fields(expression):
        for name in _PARTS.get(field.name, (_column_of(field),)):
            _column(table, name, path)


def _column_of(field: Field) -> str:
    if field.name in ("score", "label"):
        return f"{field.name}.{field.key}"
    return field.key or _COLUMNS.get(field.name, field.name)


def _column(table: pa.Table, name: str, path: Path) -> Any:
    if name not in table.column_names:
        fix = suggest(name, table.column_names)
        raise _wrong(path, name, "there is no such column", fix)
    return table.column(name)


def _wrong(path: Path, column: str, message: str, fix: str) -> SpecError:
    return SpecError([Problem(str(path), 0, column, message, fix)])
