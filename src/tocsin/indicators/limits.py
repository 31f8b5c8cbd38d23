"""Limits as people say them - "p95(latency) > 2s", "share(error) > 10%" - and named sets of them.

A quantile above a limit is a share above another: with the nearest-rank quantile, p95 > T holds
exactly when more than 5 % of the values lie above T. Shares add up over minutes, quantiles do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.domain.expressions import Apply, Condition, Constant
from tocsin.indicators.catalogue import FEEDBACK, Indicator
from tocsin.indicators.custom import ratio_of, signal_of
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.parser import parse

_FORM = re.compile(r"\s*(?:p(?P<q>\d{1,2}(?:\.\d+)?)|share)\s*\((?P<of>.*)\)\s*", re.DOTALL)
_SIGN = re.compile(r"(>=?)(?=[^<>=()'\"]*$)")


@dataclass(frozen=True, slots=True)
class Limit:
    """Calls that are bad, and the share of them that must be exceeded."""

    indicator: Indicator
    over: float


def limit_of(text: str) -> Limit:
    """The limit that `text` says. ExpressionError, with the column, when it says none."""
    sign = _SIGN.search(text)
    form = _FORM.fullmatch(text[: sign.start()]) if sign else None
    if sign is None or form is None:
        hint = "write p95(latency) > 2s or share(error) > 10%"
        raise ExpressionError(text, 0, "this is no limit", hint)
    # Blanks in front keep the columns of faults those of the whole text.
    inner = " " * form.start("of") + form["of"]
    bound = parse(" " * sign.end() + text[sign.end() :], None)
    if not isinstance(bound, Constant):
        raise ExpressionError(text, sign.end(), "a limit is a value that is written out")
    if form["q"] is None:
        if bound.type != "number" or not 0 <= float(bound.value) < 1 or sign[0] != ">":
            raise ExpressionError(text, sign.start(), "a share is > 0% to below 100%")
        condition = Condition(parse(inner), text=f"met {form['of'].strip()}")
        return Limit(_indicator(text, condition), float(bound.value))
    value = parse(inner, None)
    if value.type != bound.type or value.type not in ("number", "duration"):
        hint = "p95(latency) > 2s compares a duration with a duration, numbers with numbers"
        raise ExpressionError(text, sign.end(), f"a {value.type} has no such limit", hint)
    over = round(1.0 - float(form["q"]) / 100.0, 12)
    bad = Apply(">=" if sign[0] == ">=" else ">", (value, bound), "truth")
    shown = f"{form['of'].strip()} {sign[0]} {text[sign.end() :].strip()}"
    return Limit(_indicator(text, Condition(bad, text=f"had {shown}")), over)


def _indicator(text: str, condition: Condition) -> Indicator:
    name = " ".join(text.split())
    ratio = ratio_of(condition)
    plain = f"{ratio.column} {ratio.op} {ratio.threshold:g}"
    counted = name if ratio.column == "condition" else plain
    return Indicator(counted, ratio, signal_of(condition), "custom", name)


@dataclass(frozen=True, slots=True)
class Preset:
    """Limits that are judged together, each by itself, by name.

    window_minutes, for_minutes: see `SustainedBreachConfig`.
    """

    about: str
    limits: Mapping[str, Limit]
    window_minutes: int = 5
    for_minutes: int = 1


def _said(**limits: str) -> Mapping[str, Limit]:
    return {name: limit_of(text) for name, text in limits.items()}


PRESETS: Mapping[str, Preset] = {
    "error-spike": Preset(
        "more than 30 % of the calls of 5 minutes end in an error",
        _said(errors="share(error) > 30%"),
    ),
    "degraded": Preset(
        "p95 above 5 s, or more than 10 % errors, in 5 minutes",
        _said(latency="p95(latency) > 5s", errors="share(error) > 10%"),
    ),
    "customer-facing": Preset(
        "p95 above 5 s, or more than 1 % errors, in 5 minutes",
        _said(latency="p95(latency) > 5s", errors="share(error) > 1%"),
    ),
    "api": Preset(
        "p99 above 10 s, or more than 5 % errors, in 5 minutes",
        _said(latency="p99(latency) > 10s", errors="share(error) > 5%"),
    ),
    "tail": Preset("p99 above 5 s in 5 minutes", _said(latency="p99(latency) > 5s")),
    "slow-five-minutes": Preset(
        "p95 above 2 s in each of 5 consecutive minutes",
        _said(latency="p95(latency) > 2s"),
        window_minutes=1,
        for_minutes=5,
    ),
    "disliked": Preset(
        "more than 10 % of the ratings of an hour are negative",
        {"feedback": Limit(FEEDBACK, 0.10)},
        window_minutes=60,
    ),
    "hallucinating": Preset(
        "a judge labels more than 5 % of an hour's answers `hallucinated`",
        _said(labels="share(label('hallucination') = 'hallucinated') > 5%"),
        window_minutes=60,
    ),
}
