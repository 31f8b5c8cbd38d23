"""Expressions over a call as SQL: text from the tables below, what a person wrote as parameters.

Unknown is NULL. ClickHouse's `and`, `or` and `not` are Kleene's over Nullable, comparisons and
arithmetic with NULL are NULL. What could look at the empty value behind a NULL (`match`, `has`) is
guarded, and division by zero is NULL instead of infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tocsin.domain.expressions import Apply, Constant, Expression, Field
from tocsin.store.clickhouse import literal
from tocsin.store.schema import ANSWERED, DOCUMENTS, FAILED

# A decimal number as people and JSON write it. The engine's own reading would take `nan` and `0x1`.
DECIMAL = r"^[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,2})?$"


def _text(column: str) -> str:
    return f"nullIf(toString(calls.{column}), '')"


def _usage(value: str) -> str:
    return f"if(calls.usage_known = 1, toFloat64({value}), NULL)"


_ENDED_MS = f"if({ANSWERED}, calls.duration_us / 1000, NULL)"
_TTFT_MS = f"if({ANSWERED} AND calls.ttft_us > 0, calls.ttft_us / 1000, NULL)"
_FOUND = f"toFloat64(toInt64OrNull(calls.attrs[{literal(DOCUMENTS)}]))"

FIELD_SQL: Mapping[str, str] = {
    "latency": _ENDED_MS,
    "latency_ms": _ENDED_MS,
    "elapsed": "if(calls.duration_us > 0, calls.duration_us / 1000, NULL)",
    "ttft": _TTFT_MS,
    "ttft_ms": _TTFT_MS,
    "input_tokens": _usage("calls.input_tokens"),
    "output_tokens": _usage("calls.output_tokens"),
    "total_tokens": _usage("calls.input_tokens + calls.output_tokens"),
    "cached_tokens": _usage("calls.cached_tokens"),
    "reasoning_tokens": _usage("calls.reasoning_tokens"),
    "cost_usd": "if(calls.cost_known = 1, calls.cost_usd, NULL)",
    "documents": _FOUND,
    "error": "toNullable(calls.error_class != '')",
    "failed": f"toNullable({FAILED})",
    "truncated": "toNullable(calls.truncated = 1)",
    "streamed": "toNullable(calls.streamed = 1)",
    "policy_violation": (
        "toNullable(calls.error_class = 'content_filter' OR calls.finish_reason = 'content_filter')"
    ),
    "status": "toNullable(if(calls.error_class = '', 'ok', 'error'))",
    "error_class": "toNullable(toString(calls.error_class))",
    **{
        name: _text(name)
        for name in (
            "error_type", "status_message", "finish_reason", "env", "name", "operation", "provider",
            "model", "response_model", "session_id", "user_id", "release", "prompt_version",
            "input", "output",
        )
    },
}  # fmt: skip
# Columns of the subquery that joins scores: name -> number, name -> label.
SCORE_MAPS = ("score_values", "score_labels")
_ENTRIES = {
    "attributes": "calls.attrs", "dimensions": "calls.dims", "resource": "calls.res",
    "score": SCORE_MAPS[0], "label": SCORE_MAPS[1],
}  # fmt: skip

_INFIX = {
    "or": "OR", "and": "AND", "=": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
    "+": "+", "-": "-", "*": "*",
}  # fmt: skip
_ON_TEXT = {
    "contains": "position({0}, {1}) > 0",
    "starts_with": "startsWith({0}, {1})",
    "ends_with": "endsWith({0}, {1})",
}


class Compiler:
    """Compiles any number of expressions into one query. parameters: what that query binds."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self._known: dict[tuple[str, Any], str] = {}

    def sql(self, expression: Expression) -> str:
        """SQL of type Nullable over the table or subquery `calls`."""
        if isinstance(expression, Constant):
            return self._constant(expression)
        if isinstance(expression, Field):
            return self._field(expression)
        return self._apply(expression)

    def bind(self, value: Any, type_name: str) -> str:
        """SQL of a parameter with this value; equal ones are one."""
        key = (type_name, repr(value))
        if key not in self._known:
            name = f"x{len(self._known)}"
            self._known[key] = f"{{{name}:{type_name}}}"
            self.parameters[name] = value
        return self._known[key]

    def _constant(self, constant: Constant) -> str:
        if isinstance(constant.value, bool):
            return f"toNullable({'true' if constant.value else 'false'})"
        if isinstance(constant.value, float):
            return f"toNullable({self.bind(constant.value, 'Float64')})"
        return f"toNullable({self.bind(constant.value, 'String')})"

    def _field(self, field: Field) -> str:
        if not field.key:
            return FIELD_SQL[field.name]
        column, key = _ENTRIES[field.name], self.bind(field.key, "String")
        if field.name == "score":
            return f"if(mapContains({column}, {key}), {column}[{key}], NULL)"
        return f"nullIf(toString({column}[{key}]), '')"

    def _apply(self, apply: Apply) -> str:
        op = apply.op
        if op in _INFIX:
            return f"({self.sql(apply.args[0])} {_INFIX[op]} {self.sql(apply.args[1])})"
        if op in _ON_TEXT:
            pattern = _ON_TEXT[op].format("{0}", self._plain(apply.args[1]))
            return self._guarded(apply.args[0], pattern)
        return _OTHERS[op](self, apply)

    def _in(self, apply: Apply) -> str:
        values = [item.value for item in apply.args[1:] if isinstance(item, Constant)]
        type_name = "Array(String)" if isinstance(values[0], str) else "Array(Float64)"
        return self._guarded(apply.args[0], f"has({self.bind(values, type_name)}, {{0}})")

    def _matches(self, apply: Apply) -> str:
        pattern = apply.args[1]
        text = str(pattern.value) if isinstance(pattern, Constant) else ""
        return self._guarded(apply.args[0], f"match({{0}}, {self.bind(f'(?s){text}', 'String')})")

    def _number(self, apply: Apply) -> str:
        text = self.sql(apply.args[0])
        # The pattern is tried on what was read, so that the text is written down once.
        return (
            f"arrayMap(t -> if(match(assumeNotNull(t), {literal(DECIMAL)}),"
            f" toFloat64OrNull(t), NULL), [{text}])[1]"
        )

    def _guarded(self, value: Expression, test: str) -> str:
        """`test` of a value that is not NULL, with the value as {0}."""
        asked = test.replace("{0}", "assumeNotNull(v)")
        return f"arrayMap(v -> if(isNull(v), NULL, {asked}), [{self.sql(value)}])[1]"

    def _plain(self, constant: Expression) -> str:
        return self.bind(constant.value, "String") if isinstance(constant, Constant) else "''"


def _call(sql: str) -> Callable[[Compiler, Apply], str]:
    return lambda compiler, apply: sql.format(*map(compiler.sql, apply.args))


_OTHERS: Mapping[str, Callable[[Compiler, Apply], str]] = {
    "not": _call("(NOT {0})"),
    "/": _call("({0} / nullIf({1}, 0))"),
    "negative": _call("(-{0})"),
    "known": _call("toNullable(isNotNull({0}))"),
    "coalesce": lambda compiler, apply: f"coalesce({', '.join(map(compiler.sql, apply.args))})",
    "lower": _call("lowerUTF8({0})"),
    "length": _call("toFloat64(lengthUTF8({0}))"),
    "number": Compiler._number,
    "in": Compiler._in,
    "matches": Compiler._matches,
}
