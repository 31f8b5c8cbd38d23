"""Which operators and functions go with which types, and what they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.domain.expressions import Apply, Constant, Expression, Op, Type
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.vocabulary import FUNCTIONS

_ORDERED = ("<", "<=", ">", ">=")
_A = {
    "truth": "a truth value", "number": "a number", "duration": "a duration", "text": "a text",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placed:
    """An expression and where it begins in the text."""

    of: Expression
    at: int

    @property
    def type(self) -> Type:
        """Its type."""
        return self.of.type


class Typed:
    """Puts expressions together and refuses what makes no sense. text: for its errors."""

    def __init__(self, text: str) -> None:
        self._text = text

    def fault(self, at: int, message: str, hint: str = "") -> ExpressionError:
        """An error at a place."""
        return ExpressionError(self._text, at, message, hint)

    def truth(self, found: Placed, what: str) -> Placed:
        """`found`, which must be true or false."""
        if found.type != "truth":
            hint = {"text": "compare it: ... = 'value'", "duration": "compare it: ... < 2s"}
            raise self.fault(
                found.at, f"{what} takes a truth value, not {_A[found.type]}",
                hint.get(found.type, "compare it: ... < 2"),
            )  # fmt: skip
        return found

    def logical(self, op: Op, args: Sequence[Placed]) -> Placed:
        """`and`, `or`, `not`."""
        parts = [self.truth(arg, f"`{op}`") for arg in args]
        return Placed(Apply(op, tuple(part.of for part in parts), "truth"), parts[0].at)

    def comparison(self, op: Op, left: Placed, right: Placed) -> Placed:
        """=, !=, <, <=, >, >= between two of one type."""
        if left.type != right.type:
            pair = {left.type, right.type}
            hint = ""
            if pair == {"duration", "number"}:
                hint = "give the number a unit: 2s, 500ms"
            elif pair == {"text", "number"}:
                hint = "write number(...) for the number that a text is, or quote the other"
            raise self.fault(right.at, f"compares {_A[left.type]} with {_A[right.type]}", hint)
        if op in _ORDERED and left.type not in ("number", "duration"):
            raise self.fault(
                left.at, f"{_A[left.type]} has no order", "use = or !=, or number(...)"
            )
        return Placed(Apply(op, (left.of, right.of), "truth"), left.at)

    def membership(self, left: Placed, items: Sequence[Placed], at: int) -> Placed:
        """left in (items): constants of the type of `left`."""
        if not items:
            raise self.fault(at, "an empty list holds nothing", "list at least one value")
        if left.type == "truth":
            raise self.fault(left.at, "a truth value is not looked up in a list", "use it as it is")
        for item in items:
            if not isinstance(item.of, Constant):
                raise self.fault(item.at, "a list holds values that are written out")
            if item.type != left.type:
                raise self.fault(item.at, f"{_A[item.type]} in a list for {_A[left.type]}")
        return Placed(Apply("in", (left.of, *(item.of for item in items)), "truth"), left.at)

    def matching(self, left: Placed, pattern: Placed) -> Placed:
        """left matches 'pattern': an RE2 expression found anywhere in a text."""
        if left.type != "text":
            raise self.fault(left.at, f"`matches` takes a text, not {_A[left.type]}")
        if not isinstance(pattern.of, Constant) or pattern.type != "text":
            raise self.fault(pattern.at, "`matches` takes a pattern in quotes")
        try:
            pc.match_substring_regex(pa.array([""]), str(pattern.of.value))
        except pa.ArrowInvalid as error:
            why = " ".join(str(error).rsplit(": ", 2)[-2:])
            hint = "RE2 syntax; write \\\\ for a backslash" if "escape" in why else "RE2 syntax"
            raise self.fault(pattern.at, f"not a regular expression: {why}", hint) from None
        return Placed(Apply("matches", (left.of, pattern.of), "truth"), left.at)

    def arithmetic(self, op: Op, left: Placed, right: Placed) -> Placed:
        """+, -, * and / of numbers and durations."""
        for side in (left, right):
            if side.type not in ("number", "duration"):
                raise self.fault(side.at, f"`{op}` does not go with {_A[side.type]}")
        gives = _ARITHMETIC.get((op, left.type, right.type))
        if gives is None:
            raise self.fault(
                left.at, f"`{op}` of {_A[left.type]} and {_A[right.type]} means nothing"
            )
        return Placed(Apply(op, (left.of, right.of), gives), left.at)

    def negative(self, of: Placed, at: int) -> Placed:
        """-x of a number or a duration; a constant is turned round."""
        if of.type not in ("number", "duration"):
            raise self.fault(of.at, f"`-` does not go with {_A[of.type]}")
        if isinstance(of.of, Constant):
            return Placed(Constant(-float(of.of.value), of.type), at)
        return Placed(Apply("negative", (of.of,), of.type), at)

    def call(self, name: str, args: Sequence[Placed], at: int) -> Placed:
        """A function of the whitelist."""
        function = FUNCTIONS[name]
        count = {"one": 1, "any": max(2, len(args))}.get(str(function.takes), len(function.takes))
        if len(args) != count:
            raise self.fault(
                at, f"{name} takes {count} argument{'s' * (count != 1)}, not {len(args)}"
            )
        wanted = function.takes if isinstance(function.takes, tuple) else (args[0].type,) * count
        for arg, type_ in zip(args, wanted, strict=True):
            if arg.type != type_:
                raise self.fault(arg.at, f"{name} takes {_A[type_]} here, not {_A[arg.type]}")
        if function.constant and not isinstance(args[-1].of, Constant):
            raise self.fault(args[-1].at, f"{name} takes a text in quotes here")
        gives = args[0].type if function.gives == "any" else function.gives
        return Placed(Apply(function.op, tuple(arg.of for arg in args), gives), at)  # type: ignore[arg-type]


_ARITHMETIC: dict[tuple[str, str, str], Type] = {
    ("+", "number", "number"): "number",
    ("-", "number", "number"): "number",
    ("*", "number", "number"): "number",
    ("/", "number", "number"): "number",
    ("+", "duration", "duration"): "duration",
    ("-", "duration", "duration"): "duration",
    ("*", "duration", "number"): "duration",
    ("*", "number", "duration"): "duration",
    ("/", "duration", "number"): "duration",
    ("/", "duration", "duration"): "number",
}
