"""Text to a typed expression: a Pratt parser, where every operator knows how tightly it binds.

    condition   or  <  and  <  not  <  = != < <= > >= in matches  <  + -  <  * /  <  -x
    value       2  1.5k  5%  2s  500ms  'text'  true  field  field['key']  function(...)  (...)

Vaughan Pratt, "Top down operator precedence", POPL 1973. Comparisons do not chain: 1 < x < 2 is an
error and not a surprise. Nesting and size are bounded, since texts may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tocsin.domain.expressions import Constant, Expression, Field, Op, Type
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.spelling import alike
from tocsin.indicators.language.tokens import Token, tokens
from tocsin.indicators.language.typing import Placed, Typed
from tocsin.indicators.language.vocabulary import (
    ENTRIES,
    FIELDS,
    FUNCTIONS,
    LOOKUPS,
    MILLISECONDS,
    MULTIPLES,
    WORDS,
)

DEEPEST = 40  # brackets, negations and operators inside of each other
LARGEST = 300  # nodes

_COMPARES: Mapping[str, Op] = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip
_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGN = range(1, 8)
_BINDS: Mapping[str, int] = {
    "or": _OR, "and": _AND, **dict.fromkeys((*_COMPARES, "in", "matches", "not"), _COMPARISON),
    "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT,
}  # fmt: skip


def parse(text: str, type_: Type | None = "truth") -> Expression:
    """The expression that `text` is, of type `type_` (None: any).

    ExpressionError with the column and what to write instead.
    """
    return _Parser(text).whole(type_)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._next = 0
        self._depth = 0
        self._nodes = 0
        self._typed = Typed(text)

    def whole(self, type_: Type | None) -> Expression:
        if self._has_ended():
            raise self._typed.fault(0, "there is nothing here", "write a condition: latency < 2s")
        found = self._expression(0)
        if not self._has_ended():
            raise self._unexpected(self._peek)
        if type_ == "truth":
            self._typed.truth(found, "an indicator")
        elif type_ is not None and found.type != type_:
            raise self._typed.fault(found.at, f"must be a {type_}, not a {found.type}")
        return found.of

    # --- operators ---

    def _expression(self, above: int) -> Placed:
        """An expression whose operators bind tighter than `above`."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._typed.fault(self._peek.at, f"nested more than {DEEPEST} deep", "split it")
        left = self._start()
        while (binds := self._binding()) > above:
            left = self._continue(left, binds)
        self._depth -= 1
        return left

    def _binding(self) -> int:
        token = self._peek
        if token.kind == "symbol" or (token.kind == "name" and token.text in WORDS):
            return _BINDS.get(token.text, 0)
        return 0

    def _continue(self, left: Placed, binds: int) -> Placed:
        token = self._take()
        self._count(token)
        if token.text == "or" or token.text == "and":
            return self._typed.logical(token.text, (left, self._expression(binds)))  # type: ignore[arg-type]
        if binds in (_SUM, _PRODUCT):
            return self._typed.arithmetic(token.text, left, self._expression(binds))  # type: ignore[arg-type]
        found = self._compared(left, token)
        if self._binding() == _COMPARISON:
            hint = "write 1 < x and x < 2" if self._peek.text in _COMPARES else "use brackets"
            raise self._typed.fault(self._peek.at, "comparisons do not chain", hint)
        return found

    def _compared(self, left: Placed, token: Token) -> Placed:
        if token.text == "not":
            after = self._take()
            if after.text not in ("in", "matches"):
                raise self._typed.fault(token.at, "`not` stands before what it negates")
            return self._typed.logical("not", (self._compared(left, after),))
        if token.text == "in":
            return self._typed.membership(left, self._list(), token.at)
        if token.text == "matches":
            return self._typed.matching(left, self._expression(_COMPARISON))
        return self._typed.comparison(_COMPARES[token.text], left, self._expression(_COMPARISON))

    def _list(self) -> list[Placed]:
        self._expect("(", "a list stands in brackets: in ('a', 'b')")
        return self._until_closed()

    def _until_closed(self) -> list[Placed]:
        found: list[Placed] = []
        while not self._accept(")"):
            if found:
                self._expect(",", "separate with a comma, or close the bracket")
            found.append(self._expression(0))
        return found

    # --- values ---

    def _start(self) -> Placed:
        token = self._take()
        self._count(token)
        if token.kind == "number":
            return self._number(token)
        if token.kind == "text":
            return Placed(Constant(token.text, "text"), token.at)
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            found = self._expression(0)
            self._expect(")", "close the bracket")
            return Placed(found.of, token.at)
        if token.text == "-":
            return self._typed.negative(self._expression(_SIGN), token.at)
        raise self._unexpected(token)

    def _number(self, token: Token) -> Placed:
        value = float(token.text)
        unit = token.unit
        if unit in MILLISECONDS:
            return Placed(Constant(value * MILLISECONDS[unit], "duration"), token.at)
        if unit and unit not in MULTIPLES:
            known = ", ".join((*MILLISECONDS, *MULTIPLES))
            hints = {"m": "write min for minutes, or M for millions", "K": "write k"}
            raise self._typed.fault(
                token.at + len(token.text), f"there is no unit {unit!r}",
                hints.get(unit, f"units: {known}"),
            )  # fmt: skip
        if unit == "%":
            return Placed(Constant(value / 100.0, "number"), token.at)
        return Placed(Constant(value * MULTIPLES.get(unit, 1.0), "number"), token.at)

    def _named(self, token: Token) -> Placed:
        name = token.text
        if name in ("true", "false"):
            return Placed(Constant(name == "true", "truth"), token.at)
        if name == "not":
            return Placed(self._typed.logical("not", (self._expression(_NOT),)).of, token.at)
        found = self._special.get(name)
        if found is not None:
            return found(token)
        if name in FIELDS:
            if self._peek.text == "(" and self._peek.kind == "symbol":
                raise self._typed.fault(token.at, f"{name} is a field, not a function")
            return Placed(Field(name, FIELDS[name].type), token.at)
        if name in WORDS:
            raise self._unexpected(token)
        raise self._unknown(token)

    @property
    def _special(self) -> Mapping[str, Callable[[Token], Placed]]:
        return {
            **dict.fromkeys(FUNCTIONS, self._function),
            **dict.fromkeys(LOOKUPS, self._lookup),
            **dict.fromkeys(ENTRIES, self._entry),
        }

    def _function(self, token: Token) -> Placed:
        self._expect("(", f"{token.text} is a function: {token.text}(...)")
        return self._typed.call(token.text, self._until_closed(), token.at)

    def _lookup(self, token: Token) -> Placed:
        hint = f"{token.text} takes a name in quotes: {token.text}('faithfulness')"
        self._expect("(", hint)
        key = self._key(hint)
        self._expect(")", "close the bracket")
        return Placed(Field(token.text, LOOKUPS[token.text].type, key), token.at)

    def _entry(self, token: Token) -> Placed:
        hint = f"{token.text} takes a name in brackets: {token.text}['name']"
        self._expect("[", hint)
        key = self._key(hint)
        self._expect("]", "close the bracket")
        return Placed(Field(token.text, ENTRIES[token.text].type, key), token.at)

    def _key(self, hint: str) -> str:
        token = self._take()
        if token.kind != "text" or not token.text:
            raise self._typed.fault(token.at, "a name in quotes belongs here", hint)
        return token.text

    # --- tokens ---

    @property
    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _has_ended(self) -> bool:
        return self._peek.kind == "end"

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _accept(self, symbol: str) -> bool:
        taken = self._peek.kind == "symbol" and self._peek.text == symbol
        if taken:
            self._take()
        return taken

    def _expect(self, symbol: str, hint: str) -> None:
        if not self._accept(symbol):
            raise self._typed.fault(self._peek.at, f"{symbol!r} belongs here", hint)

    def _count(self, token: Token) -> None:
        self._nodes += 1
        if self._nodes > LARGEST:
            raise self._typed.fault(token.at, f"more than {LARGEST} parts", "split it")

    def _unexpected(self, token: Token) -> ExpressionError:
        if token.kind == "end":
            return self._typed.fault(token.at, "the expression ends too early")
        hint = ""
        if token.kind in ("name", "text", "number"):
            hint = "put an operator before it: and, or, =, <, in, ..."
        return self._typed.fault(token.at, f"{token.text!r} does not belong here", hint)

    def _unknown(self, token: Token) -> ExpressionError:
        if self._peek.kind == "symbol" and self._peek.text == "(":
            known = (*FUNCTIONS, *LOOKUPS)
            return self._typed.fault(
                token.at, f"there is no function {token.text!r}", alike(token.text, known)
            )
        known = (*FIELDS, *ENTRIES, *LOOKUPS)
        hint = alike(token.text, known)
        if not hint.startswith("did"):
            hint = f"a text stands in quotes; an attribute is attributes['{token.text}']"
        return self._typed.fault(token.at, f"there is no field {token.text!r}", hint)
