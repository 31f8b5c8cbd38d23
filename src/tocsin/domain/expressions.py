"""Expressions over one call, as typed trees: parsed from text, compiled to SQL, run over files.

Values are three-valued: every expression may be unknown (SQL's NULL). `and` and `or` follow Kleene,
anything else is unknown when one of its parts is. A tree holds no SQL and no text that is not a
constant, so that whoever compiles one decides what every node becomes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Type = Literal["truth", "number", "duration", "text"]
Op = Literal[
    "or", "and", "not", "=", "!=", "<", "<=", ">", ">=", "in", "matches", "+", "-", "*", "/",
    "negative", "known", "coalesce", "number", "lower", "length", "contains", "starts_with",
    "ends_with",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that somebody wrote. A duration is in milliseconds."""

    value: bool | float | str
    type: Type


@dataclass(frozen=True, slots=True)
class Field:
    """Something of the call: a field by name, or the entry `key` of one that has entries."""

    name: str
    type: Type
    key: str = ""


@dataclass(frozen=True, slots=True)
class Apply:
    """An operator or a function over expressions. `in` has its list as further arguments."""

    op: Op
    args: tuple[Expression, ...]
    type: Type


Expression = Constant | Field | Apply


@dataclass(frozen=True, slots=True)
class Condition:
    """Which calls count and which of them are bad.

    A call counts when `total` is true and `bad` is known; it is bad when `bad` is true. total: None
    for all calls. text: what a bad call did, for people: "did not meet latency < 2s".
    """

    bad: Expression
    total: Expression | None = None
    text: str = ""

    @property
    def parts(self) -> tuple[Expression, ...]:
        """Both expressions, or the one there is."""
        return (self.bad,) if self.total is None else (self.bad, self.total)


def fields(*expressions: Expression) -> Iterator[Field]:
    """Every field that is used, as often as it is."""
    for expression in expressions:
        if isinstance(expression, Field):
            yield expression
        elif isinstance(expression, Apply):
            yield from fields(*expression.args)


def negated(expression: Expression) -> Expression:
    """True where `expression` is false, unknown where it is unknown."""
    if isinstance(expression, Apply) and expression.op == "not":
        return expression.args[0]
    return Apply("not", (expression,), "truth")
