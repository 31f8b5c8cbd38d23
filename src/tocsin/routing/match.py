"""Conditions: the mappings under `if:` in rules and routes, compiled once into fast predicates.

    {env: prod}                    the label equals "prod"
    {signal: [cost, tokens]}       the label equals any of these
    {env: "!prod"}                 anything but "prod", also missing
    {env: ["!prod", "!canary"]}    neither of these
    {segment: ""}                  missing or empty (the two are one and the same everywhere)
    {segment: "!"}                 present and not empty
    {value: ">=0.05", for: ">=5m"} a number compared: plain, percent (5%) or time (ms, s, m, h, d)

All entries must hold; an empty condition always does. A missing number satisfies no comparison.
Times are compared in seconds and percentages as fractions, which is how facts are given.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tocsin.domain.errors import TocsinError

Values = Mapping[str, str | float]
Test = Callable[[str | float], bool]

_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*(.*?)\s*")
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(ms|s|m|h|d|%)?")
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "%": 0.01}


class MatchError(TocsinError):
    """A condition that cannot be read, or a label that cannot be compared as it asks."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A compiled condition."""

    tests: tuple[tuple[str, Test], ...]

    def holds(self, values: Values) -> bool:
        """Whether every test holds for `values` (labels as text, facts as numbers).

        Raises MatchError when a label that is not a number is compared with one.
        """
        return all(test(values.get(name, "")) for name, test in self.tests)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands where a condition could not be compiled; asking it raises, so that rules fail open."""

    reason: str

    def holds(self, values: Values) -> bool:
        """Raises MatchError, always."""
        raise MatchError(self.reason)


def compile_condition(condition: Mapping[str, Any]) -> Matcher:
    """The predicate that `condition` describes. Raises MatchError naming the entry at fault."""
    return Matcher(tuple((name, _test_of(name, wanted)) for name, wanted in condition.items()))


def compile_or_unreadable(condition: Mapping[str, Any]) -> Matcher | Unreadable:
    """As `compile_condition`, but an unreadable condition becomes one that raises when asked."""
    try:
        return compile_condition(condition)
    except MatchError as error:
        return Unreadable(str(error))


def bounds(condition: Mapping[str, Any], name: str) -> set[float]:
    """The numbers that `condition` holds the value called `name` against."""
    found = set()
    wanted = condition.get(name, ())
    for option in wanted if isinstance(wanted, list | tuple) else (wanted,):
        text = as_label(option) if isinstance(option, bool | int | float) else str(option)
        comparison = _COMPARISON.fullmatch(text)
        with suppress(MatchError):
            found.add(quantity(comparison[2] if comparison else text.removeprefix("!")))
    return found


def quantity(text: str) -> float:
    """The number that `text` names: "0.05", "5%" -> 0.05, "5m" -> 300. MatchError if none."""
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        raise MatchError(f"{text!r} is not a number, a percentage or a time such as 5m")
    return float(found[1]) * _UNITS.get(found[2] or "", 1.0)


def _test_of(name: str, wanted: Any) -> Test:
    options = wanted if isinstance(wanted, list | tuple) else (wanted,)
    if not options:
        raise MatchError(f"{name}: an empty list matches nothing; list at least one value")
    accepted: list[Test] = []
    refused: list[Test] = []
    for option in options:
        test, is_refusal = _one(name, option)
        (refused if is_refusal else accepted).append(test)
    if len(accepted) == 1 and not refused:
        return accepted[0]

    def any_accepted_none_refused(actual: str | float) -> bool:
        if any(test(actual) for test in refused):
            return False
        return not accepted or any(test(actual) for test in accepted)

    return any_accepted_none_refused


def _one(name: str, option: Any) -> tuple[Test, bool]:
    """The test for one scalar, and whether meeting it speaks against a match."""
    if option is None:
        return _equals(""), False
    if isinstance(option, bool | int | float):
        return _equals(as_label(option)), False
    if not isinstance(option, str):
        raise MatchError(f"{name}: expected text, a number or a list of them, not {option!r}")
    if option.startswith("!"):
        if _COMPARISON.fullmatch(option[1:]):
            raise MatchError(f"{name}: {option!r} negates a comparison; turn the comparison round")
        return _equals(option[1:]), True
    comparison = _COMPARISON.fullmatch(option)
    if comparison is None:
        return _equals(option), False
    try:
        return _compares(name, comparison[1], quantity(comparison[2])), False
    except MatchError as error:
        raise MatchError(f"{name}: {error}") from None


def _equals(wanted: str) -> Test:
    def equals(actual: str | float) -> bool:
        return (actual if isinstance(actual, str) else as_label(actual)) == wanted

    return equals


def _compares(name: str, symbol: str, bound: float) -> Test:
    compare = _OPERATORS[symbol]

    def compares(actual: str | float) -> bool:
        if actual == "":
            return False
        try:
            number = quantity(actual) if isinstance(actual, str) else actual
        except MatchError as error:
            raise MatchError(f"{name} {symbol} {bound:g}: {error}") from None
        return not math.isnan(number) and compare(number, bound)

    return compares


def as_label(value: bool | float) -> str:
    """How a number or a truth value reads as a label: 1.0 and 1 are the same, True is "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() else repr(value)
