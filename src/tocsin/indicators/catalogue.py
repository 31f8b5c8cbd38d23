"""The indicators people can name: each is a share of calls, with the signal it is routed under."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.domain.errors import TocsinError
from tocsin.domain.expressions import Condition
from tocsin.domain.series import Column, Ratio
from tocsin.indicators.language.parser import parse


class IndicatorError(TocsinError):
    """A mapping that names no indicator; the text says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """What is counted, under a name that tells indicators with different limits apart.

    name: for `SeriesId.indicator`, e.g. "latency_under_2000ms". metric: for `Objective.metric`.
    signal: the routing vocabulary. title: for people.
    """

    name: str
    ratio: Ratio
    signal: str
    metric: str
    title: str


AVAILABILITY = Indicator(
    "availability", Ratio("failed"), "error_rate", "availability", "Calls that do not fail"
)
ERRORS = Indicator("errors", Ratio("error"), "error_rate", "errors", "Calls without any error")
TRUNCATION = Indicator(
    "truncation", Ratio("truncated"), "error_rate", "truncation", "Answers that are not cut off"
)
SUCCESS = Indicator(
    "success",
    Ratio(
        "condition",
        condition=Condition(
            parse("failed or policy_violation"), text="failed or were stopped by a policy"
        ),
    ),
    "error_rate",
    "success",
    "Calls without system error or policy violation",
)
FEEDBACK = Indicator(
    "feedback", Ratio("feedback_negative"), "feedback", "feedback", "Rated calls not rated badly"
)
RETRIEVAL = Indicator(
    "retrieval",
    Ratio("failed", kind="retriever"),
    "retrieval_failure",
    "retrieval",
    "Retrievals that do not fail",
)
# Every answered call, by how long it took: what percentiles of segments are read from.
DURATIONS = Indicator(
    "latency percentiles",
    Ratio("duration_ms", "ge", 0.0, histogram=True),
    "latency_p95",
    "latency",
    "Durations of calls",
)
EMPTY_RETRIEVAL = Indicator(
    "empty_retrieval",
    Ratio("empty_result", kind="retriever"),
    "retrieval_failure",
    "retrieval",
    "Retrievals that find something",
)


def _told(name: str, title: str, bad: str, total: str, text: str) -> Indicator:
    condition = Condition(parse(bad), parse(total) if total else None, text)
    return Indicator(name, Ratio("condition", condition=condition), "data_quality", name, title)


# What a sender ought to tell and sometimes does not: a call is bad when it is left out.
COMPLETENESS = (
    _told(
        "usage_told", "Answered calls with token counts",
        "not known(total_tokens)", "not error", "told no token counts",
    ),
    _told(
        "price_known", "Calls with token counts whose model has a price",
        "not known(cost_usd)", "known(total_tokens)", "have a model without a price",
    ),
    _told("model_named", "Calls that name a model", "not known(model)", "", "name no model"),
    _told(
        "first_token_told", "Streamed answers with the time of their first token",
        "not known(ttft)", "streamed and known(latency)", "do not tell their first token",
    ),
)  # fmt: skip


def latency_under(milliseconds: float) -> Indicator:
    """Calls that take less than `milliseconds`, whole answer included."""
    return _under("latency", "duration_ms", milliseconds, "latency_p95")


def first_token_under(milliseconds: float) -> Indicator:
    """Calls whose first token arrives in less than `milliseconds`; only calls where it is known."""
    return _under("first_token", "ttft_ms", milliseconds, "latency_p95")


def cost_under(usd: float) -> Indicator:
    """Calls that cost less than `usd`; only calls whose price is known."""
    return _under("cost", "cost_usd", usd, "cost")


def latency_text(milliseconds: float) -> str:
    """850ms, 2s, 1.5s."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:g}s"
    return f"{milliseconds:g}ms"


def _under(metric: str, column: Column, limit: float, signal: str) -> Indicator:
    # "p95 < T" holds exactly when at least 95 % of calls lie below T: a call at T is bad.
    usd = column == "cost_usd"
    shown = f"{limit:g}usd" if usd else f"{limit:g}ms"
    titles = {
        "latency": f"Calls under {latency_text(limit)}",
        "first_token": f"First tokens under {latency_text(limit)}",
        "cost": f"Calls under ${limit:g}",
    }
    ratio = Ratio(column, "ge", limit)
    return Indicator(f"{metric}_under_{shown}", ratio, signal, metric, titles[metric])


_FIXED = {
    indicator.name: indicator
    for indicator in (
        AVAILABILITY,
        ERRORS,
        TRUNCATION,
        SUCCESS,
        FEEDBACK,
        RETRIEVAL,
        EMPTY_RETRIEVAL,
        *COMPLETENESS,
    )
}
_LIMITED: Mapping[str, Callable[[Any], Indicator]] = {
    "latency": lambda under: latency_under(parse_milliseconds(under)),
    "first_token": lambda under: first_token_under(parse_milliseconds(under)),
    "cost": lambda under: cost_under(parse_usd(under)),
}
NAMES = (*_FIXED, *_LIMITED)


def indicator_from(mapping: Mapping[str, Any]) -> Indicator:
    """The indicator that configuration names: {use: availability} or {use: latency, under: 2 s}.

    IndicatorError when the name is unknown, the limit is missing, superfluous or unreadable, or
    there is a key that nothing reads.
    """
    name = str(mapping.get("use", ""))
    unread = sorted(str(key) for key in mapping if key not in ("use", "under"))
    if unread:
        raise IndicatorError(f"unknown key {unread[0]!r}; an indicator has `use` and `under`")
    if name in _FIXED:
        if "under" in mapping:
            raise IndicatorError(f"{name} has no limit; remove `under`")
        return _FIXED[name]
    if name in _LIMITED:
        if "under" not in mapping:
            example = "0.03 USD" if name == "cost" else "2 s"
            raise IndicatorError(f"{name} needs a limit, for example `under: {example}`")
        return _LIMITED[name](mapping["under"])
    raise IndicatorError(f"unknown indicator {name!r}; known: {', '.join(sorted(NAMES))}")


_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(ms|s|m|min)\s*")
_MILLISECONDS = {"ms": 1.0, "s": 1000.0, "m": 60_000.0, "min": 60_000.0}
_MONEY = re.compile(r"\s*\$?\s*([0-9]*\.?[0-9]+)\s*(?:usd|USD)?\s*")


def parse_milliseconds(text: object) -> float:
    """Milliseconds of "850 ms", "2 s" or "1.5 min". A bare number is refused: which unit is it?"""
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise IndicatorError(f"{text!r} is not a duration; write a number and ms, s or min: 2 s")
    return _positive(float(found[1]) * _MILLISECONDS[found[2]], text)


def parse_usd(text: object) -> float:
    """Dollars of 0.03, "0.03", "$0.03" or "0.03 USD"."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return _positive(float(text), text)
    found = _MONEY.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise IndicatorError(f"{text!r} is not an amount of money; write dollars: 0.03 or $0.03")
    return _positive(float(found[1]), text)


def _positive(value: float, text: object) -> float:
    if not math.isfinite(value) or value <= 0:
        raise IndicatorError(f"{text!r} is no limit; it must be above 0")
    return value
