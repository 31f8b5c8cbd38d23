"""Expressions over the rows of a file, in Arrow: the same answers as the store gives in SQL.

Arrow's `_kleene` functions are the three-valued logic, everything else passes null on, and regular
expressions are RE2 in both. A field that the file has no column for is unknown for every row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.domain.expressions import Apply, Condition, Constant, Expression, Field

Bools = npt.NDArray[np.bool_]
Fields = Callable[[Field], Any]  # a field's column: float64, string or bool, null where unknown

_DECIMAL = r"^[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,2})?$"
_ARROW = {
    "number": pa.float64(),
    "duration": pa.float64(),
    "text": pa.string(),
    "truth": pa.bool_(),
}


def evaluate(expression: Expression, fields: Fields, rows: int) -> Any:
    """The value of `expression` for each of `rows` rows, as an Arrow array with nulls."""
    if isinstance(expression, Constant):
        return pa.repeat(pa.scalar(expression.value, _ARROW[expression.type]), rows)
    if isinstance(expression, Field):
        return fields(expression)
    if expression.op in ("in", "matches", "contains", "starts_with", "ends_with"):
        return _looked_into(expression, evaluate(expression.args[0], fields, rows))
    return _FUNCTIONS[expression.op](*(evaluate(arg, fields, rows) for arg in expression.args))


def counted(condition: Condition, fields: Fields, rows: int) -> tuple[Bools, Bools]:
    """Which rows count, and which of them are bad."""
    bad = evaluate(condition.bad, fields, rows)
    counts = pc.is_valid(bad)
    if condition.total is not None:
        counts = pc.and_(counts, pc.fill_null(evaluate(condition.total, fields, rows), False))
    return _mask(counts), _mask(pc.fill_null(bad, False))


def told(table: pa.Table, field: Field) -> Any:
    """A field from the columns of a file, null where it is unknown; empty text is unknown.

    attributes['x'] and the like come from a column that is called x; score('x') and label('x')
    from `score.x` and `label.x`; policy violations from `error_class` and `finish_reason`.
    """
    if field.name == "policy_violation":
        parts = [_column(table, name, pa.string()) for name in ("error_class", "finish_reason")]
        found = [pc.fill_null(pc.equal(part, "content_filter"), False) for part in parts]
        return pc.or_(*found)
    name = f"{field.name}.{field.key}" if field.name in ("score", "label") else field.key
    values = _column(table, name or field.name, _ARROW[field.type])
    if field.name == "error_class":
        return pc.fill_null(values, "")
    if field.type == "text":
        return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return pc.fill_null(values, False) if field.name == "streamed" else values


def _column(table: pa.Table, name: str, type_: Any) -> Any:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, type_)
    return pc.cast(table[name], type_).combine_chunks()


def _mask(values: Any) -> Bools:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _looked_into(apply: Apply, values: Any) -> Any:
    """Operators whose other arguments are constants."""
    wanted = [arg.value for arg in apply.args[1:] if isinstance(arg, Constant)]
    if apply.op == "in":
        found = pc.is_in(values, pa.array(wanted, values.type))
        return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), found)
    text = str(wanted[0])
    if apply.op == "matches":
        return pc.match_substring_regex(values, f"(?s){text}")
    return _PARTS[apply.op](values, text)


def _divide(a: Any, b: Any) -> Any:
    return pc.divide(a, pc.if_else(pc.equal(b, 0.0), pa.scalar(None, pa.float64()), b))


def _number(texts: Any) -> Any:
    readable = pc.match_substring_regex(texts, _DECIMAL)
    kept = pc.if_else(readable, texts, pa.scalar(None, pa.string()))
    # Arrow's own cast takes neither a leading + nor ".5".
    return pa.array([None if text is None else float(text) for text in kept.to_pylist()],
                    pa.float64())  # fmt: skip


_PARTS: Mapping[str, Callable[[Any, str], Any]] = {
    "contains": lambda values, text: pc.match_substring(values, text),
    "starts_with": lambda values, text: pc.starts_with(values, text),
    "ends_with": lambda values, text: pc.ends_with(values, text),
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "or": pc.or_kleene,
    "and": pc.and_kleene,
    "not": pc.invert,
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "+": pc.add,
    "-": pc.subtract,
    "*": pc.multiply,
    "/": _divide,
    "negative": pc.negate,
    "known": pc.is_valid,
    "coalesce": pc.coalesce,
    "number": _number,
    "lower": pc.utf8_lower,
    "length": lambda texts: pc.cast(pc.utf8_length(texts), pa.float64()),
}
