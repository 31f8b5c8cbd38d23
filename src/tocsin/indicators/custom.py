"""Indicators that people write down as conditions on a call."""

from __future__ import annotations

from tocsin.domain.calls import KINDS
from tocsin.domain.expressions import (
    Apply,
    Condition,
    Constant,
    Expression,
    Field,
    Op,
    fields,
    negated,
)
from tocsin.domain.series import Charge, Column, Metric, Ratio
from tocsin.indicators.catalogue import Indicator, IndicatorError
from tocsin.indicators.language.parser import parse

# A rollup or a typed comparison answers these faster than a condition does, with the same counts.
_FLAGS: dict[str, Column] = {"failed": "failed", "error": "error", "truncated": "truncated"}
_VALUES: dict[str, Column] = {
    "latency": "duration_ms", "latency_ms": "duration_ms", "ttft": "ttft_ms", "ttft_ms": "ttft_ms",
    "cost_usd": "cost_usd", "input_tokens": "input_tokens", "output_tokens": "output_tokens",
}  # fmt: skip
_FIELDS = {column: name for name, column in _VALUES.items() if name not in ("latency", "ttft")}
# What an indicator is routed as: by the first of these that it speaks of.
_SIGNALS = (
    ("quality", ("score", "label")),
    ("cost", ("cost_usd",)),
    ("latency_p95", ("latency", "latency_ms", "elapsed", "ttft", "ttft_ms")),
    ("token_usage", ("input_tokens", "output_tokens", "total_tokens", "reasoning_tokens")),
    ("retrieval_failure", ("documents",)),
    ("error_rate", ("error", "failed", "truncated", "error_class", "status", "policy_violation")),
)


_SIGNS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def written(
    *, good: str = "", bad: str = "", total: str = "", name: str = "", title: str = "",
    signal: str = "", kind: str = "llm",
) -> Indicator:  # fmt: skip
    """The indicator of one of `good` and `bad`, over the calls for which `total` holds.

    name, title, signal: from the condition when they are not given. ExpressionError for text that
    is no condition, IndicatorError when both or neither of `good` and `bad` are given.
    """
    if bool(good) == bool(bad):
        raise IndicatorError("give either good or bad: a condition such as latency < 2s")
    if kind not in KINDS:
        raise IndicatorError(f"there is no kind of call {kind!r}; known: {', '.join(KINDS)}")
    condition = Condition(
        bad=negated(parse(good)) if good else parse(bad),
        total=parse(total) if total else None,
        text=f"did not meet {_short(good)}" if good else f"met {_short(bad)}",
    )
    text = good or f"not ({bad})"
    named = name or (f"{text} of {total}" if total else text)
    told = title or f"Calls with {text}"
    routed = signal or signal_of(condition)
    return Indicator(named, ratio_of(condition, kind), routed, name or "custom", told)


def beyond(value: str, op: str, limit: float) -> Condition:
    """Calls whose `value`, a numeric expression, is not on the good side `op` of `limit`.

    The limit is in the unit of the value: milliseconds for durations.
    """
    measured = _number(value)
    opposite = {"lt": ">=", "lte": ">", "gt": "<=", "gte": "<"}[op]
    constant = Constant(float(limit), measured.type)
    return Condition(
        Apply(opposite, (measured, constant), "truth"),  # type: ignore[arg-type]
        text=f"did not meet {_short(value)} {_SIGNS[op]} {limit:g}",
    )


def charged(value: str, op: str, limit: float, free: float) -> Indicator:
    """The mean of `value`, a numeric expression: calls are charged nothing at `free` and one share
    at `limit`. op: lt, lte, gt or gte, the side of the limit on which the mean is good.
    """
    measured = _number(value)
    told = {field.name for field in fields(measured)}
    held = f"{_short(value)} {_SIGNS[op]} {limit:g}"
    ratio = Ratio("charge", charge=Charge(measured, free, limit))
    signal = _signal(told)
    metric = {"latency_p95": "latency", "token_usage": "tokens"}.get(signal, signal)
    return Indicator(f"mean {held} from {free:g}", ratio, signal, metric, f"Mean {held}")


def averaged(value: str, kind: str = "llm", model: str = "") -> Indicator:
    """`value`, a numeric expression, of every call of a kind: what a mean or a sum is made of."""
    measured = _number(value)
    # A share is what is counted in millionths: of a cent's worth of dollars, of one of all else.
    unit = 0.01 if isinstance(measured, Field) and measured.name == "cost_usd" else 1.0
    ratio = Ratio("charge", kind=kind, model=model, charge=Charge(measured, 0.0, unit))
    told = {field.name for field in fields(measured)}
    signal = _signal(told)
    metric = {"latency_p95": "latency", "token_usage": "tokens"}.get(signal, signal)
    named = f"{_short(value)} of {model or kind} calls"
    return Indicator(named, ratio, signal, metric, named[0].upper() + named[1:])


def of_metric(metric: Metric) -> Indicator:
    """What a metric says each minute."""
    labels = "".join(f" {name}={value}" for name, value in metric.labels)
    across = "" if metric.across == "sum" else f", {metric.across} of all series"
    name = f"{metric.name}{labels} ({metric.take}{across})"
    return Indicator(name, Ratio("metric", metric=metric), "custom", metric.name, name)


def ratio_of(condition: Condition, kind: str = "llm") -> Ratio:
    """The ratio that counts `condition`: a plain column where one says the same."""
    if condition.total is None:
        bad = condition.bad
        if isinstance(bad, Field) and bad.name in _FLAGS:
            return Ratio(_FLAGS[bad.name], kind=kind)
        simple = _comparison(bad)
        if simple is not None:
            column, op, limit = simple
            return Ratio(column, "ge" if op == ">=" else "gt", limit, kind)
    return Ratio("condition", kind=kind, condition=condition)


def as_condition(ratio: Ratio) -> Ratio | None:
    """A ratio of a condition that counts the same calls, None where no condition says it."""
    if ratio.condition is not None:
        return ratio
    bad: Expression
    if ratio.column in _FLAGS:
        bad = Field(ratio.column, "truth")
    elif ratio.column in _FIELDS:
        field = Field(_FIELDS[ratio.column], "number")
        op: Op = ">=" if ratio.op == "ge" else ">"
        bad = Apply(op, (field, Constant(ratio.threshold, "number")), "truth")
    else:
        return None
    return Ratio("condition", kind=ratio.kind, model=ratio.model, condition=Condition(bad))


def signal_of(condition: Condition) -> str:
    """What routing calls it."""
    return _signal({field.name for field in fields(*condition.parts)})


def selects_by_result(condition: Condition) -> str:
    """A score that calls may count without, because the rest of the condition decides alone: `a and
    b` is false as soon as one is. Those calls are then all bad, or all good. "" when there is none.
    """
    told = {field.key for field in fields(condition.bad) if field.name in ("score", "label")}
    beside = {field.name for field in fields(condition.bad)} - {"score", "label"}
    asked = fields(*([condition.total] if condition.total else []))
    missing = told - {field.key for field in asked}
    return min(missing) if missing and beside else ""


def _number(text: str) -> Expression:
    """A numeric expression that says something of a call; IndicatorError for any other."""
    measured = parse(text, None)
    if isinstance(measured, Constant) or measured.type not in ("number", "duration"):
        raise IndicatorError(f"{text!r} is no number of a call; write latency_ms or cost_usd")
    return measured


def _signal(names: set[str]) -> str:
    return next((signal for signal, known in _SIGNALS if names & set(known)), "custom")


def _comparison(bad: Expression) -> tuple[Column, str, float] | None:
    """`bad` as value > limit or value >= limit of a column that is counted by itself."""
    if isinstance(bad, Apply) and bad.op == "not" and isinstance(bad.args[0], Apply):
        # An unknown value is unknown on both sides, so that the negation can be turned round.
        turned = {"<": ">=", "<=": ">"}.get(bad.args[0].op)
        if turned is None:
            return None
        bad = Apply(turned, bad.args[0].args, "truth")  # type: ignore[arg-type]
    if not isinstance(bad, Apply) or bad.op not in (">", ">="):
        return None
    value, limit = bad.args
    if not isinstance(value, Field) or not isinstance(limit, Constant):
        return None
    column = _VALUES.get(value.name)
    return None if column is None else (column, bad.op, float(limit.value))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
