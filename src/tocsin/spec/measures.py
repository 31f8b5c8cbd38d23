"""What an objective counts: the `metricSource.spec` of type Tocsin becomes an indicator.

thresholdMetric  {value: latency_ms}           with op and value of the objective
                 {value: total_tokens / 1k}    any number in the language of indicators
                 {value: cost_usd, where: {kind: llm}, minEvents: 50}
                 {value: cost_usd, aggregate: mean, expected: 0.02}   the mean, not each call
ratioMetric      good: {use: availability}     an indicator by its name, built in or a document
                 bad: {count: truncated}       or any condition of that language
                 good: {count: not error}, total: {count: "env = 'prod'"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from tocsin.assess.accounts import Insufficient, NoData
from tocsin.assess.monitor import Mean
from tocsin.domain.calls import KINDS
from tocsin.domain.errors import Problem
from tocsin.domain.series import Column, Ratio
from tocsin.indicators.catalogue import (
    Indicator,
    IndicatorError,
    cost_under,
    first_token_under,
    latency_under,
)
from tocsin.indicators.custom import beyond, charged, signal_of, written
from tocsin.indicators.language.faults import ExpressionError
from tocsin.spec.explain import suggest
from tocsin.spec.indicators import Named
from tocsin.spec.objectives import ObjectiveShape, RatioMetric, SLIShape, ThresholdMetric
from tocsin.spec.shape import Shape, Text, fit
from tocsin.spec.yaml import Located, Place


@dataclass(frozen=True, slots=True)
class Measure:
    """What is counted, and what too few calls mean.

    min_events: below it a page is lowered to a ticket; of time slices, `insufficient` and `no_data`
    say what a slice with fewer calls, or none, is. None: not said. mean: what the mean is held to,
    when it has a budget. slice_target: what makes a slice good instead of the objective's
    `timeSliceTarget`.
    """

    indicator: Indicator
    min_events: int | None = None
    insufficient: Insufficient = "ignore"
    no_data: NoData = "ignore"
    mean: Mean | None = None
    slice_target: float | None = None

    @property
    def is_mean(self) -> bool:
        """Whether it is about the mean of calls instead of a share of them."""
        return self.indicator.ratio.charge is not None


class WhereShape(Shape):
    """Which calls count."""

    kind: str = "llm"
    model: str = ""


class ValueShape(Shape):
    """A value of each call, or the mean of it over calls."""

    value: Text
    where: WhereShape = WhereShape()
    aggregate: Literal["mean"] | None = None
    expected: float | None = None
    cluster: Literal["session_id"] | None = None
    min_events: Annotated[int, Field(ge=0)] | None = None
    insufficient: Insufficient = "ignore"
    no_data: NoData = "ignore"


class CountShape(Shape):
    """A count of calls: an indicator's, or those with a property."""

    use: str = ""
    under: str | float | None = None
    count: str = ""
    where: WhereShape = WhereShape()
    min_events: Annotated[int, Field(ge=0)] | None = None
    insufficient: Insufficient = "ignore"
    no_data: NoData = "ignore"


def measure(
    sli: SLIShape, objective: ObjectiveShape, located: Located, place: Place, named: Named
) -> tuple[Measure | None, list[Problem]]:
    """The measure that `sli`, which stands at `place`, and `objective` describe together.

    named: finds indicators by their names.
    """
    try:
        if sli.threshold_metric is not None:
            here = (*place, "thresholdMetric", "metricSource", "spec")
            return _threshold(sli.threshold_metric, objective, located, here)
        if sli.ratio_metric is not None:
            here = (*place, "ratioMetric")
            return _ratio(sli.ratio_metric, objective, located, here, named)
    except (IndicatorError, ExpressionError, ValueError) as error:
        return None, [located.problem(here, str(error))]
    raise AssertionError("an SLI has one of the two metrics")


# --------------------------------------------------------------------------------------------

_NOT_YET = {
    "sampled": "sampled labels", "label": "labels of a judge", "source": "labels of a judge",
    "judge": "labels of a judge", "is": "labels of a judge", "correction": "labels of a judge",
    "humanLabels": "human labels", "settle": "late labels",
}  # fmt: skip
_FLAGS: tuple[Column, ...] = (
    "failed", "error", "truncated", "feedback_negative", "empty_result",
)  # fmt: skip
_VALUES = ("latency_ms", "ttft_ms", "cost_usd", "input_tokens", "output_tokens")
_ALL = ("", "all", "calls", "*")


def _fit(shape: type[Shape], spec: Mapping[str, Any], located: Located, place: Place) -> Any:
    for name, what in _NOT_YET.items():
        if name in spec:
            found = located.problem((*place, name), f"{what} ({name}) is not supported yet")
            return None, [found]
    return fit(shape, dict(spec), located, place)


def _threshold(
    metric: ThresholdMetric, objective: ObjectiveShape, located: Located, place: Place
) -> tuple[Measure | None, list[Problem]]:
    spec, problems = _fit(ValueShape, metric.metric_source.spec, located, place)
    if spec is None:
        return None, problems
    if objective.op is None or objective.value is None:
        raise ValueError("a thresholdMetric needs op and value in every objective")
    if spec.aggregate == "mean":
        return _mean(spec, objective, objective.op, objective.value), []
    if spec.expected is not None or spec.cluster is not None:
        raise ValueError("expected and cluster belong to aggregate: mean")
    if spec.value not in _VALUES or objective.op in ("gt", "gte"):
        found = _beyond(spec.value, objective.op, objective.value)
        return _measure(_where(found, spec.where), spec), []
    if objective.value <= 0:
        raise ValueError(f"value must be above 0, not {objective.value:g}")
    below = _below(spec.value, objective.value)
    if objective.op == "lte":
        ratio = replace(below.ratio, op="gt")
        below = replace(below, name=below.name.replace("_under_", "_up_to_"), ratio=ratio)
    return _measure(_where(below, spec.where), spec), []


# The least that a share may miss: a slice whose mean lies at the limit is beyond `lt`.
_STRICTLY = 1e-12


def _mean(spec: ValueShape, objective: ObjectiveShape, op: str, limit: float) -> Measure:
    """The mean over calls: with a budget, or, where slices are judged, within the limit or not."""
    if limit <= 0:
        raise ValueError(f"value must be above 0, not {limit:g}")
    is_upper = op in ("lt", "lte")
    if objective.time_slice_window is not None:
        if spec.expected is not None:
            raise ValueError("expected belongs to Occurrences; a slice is within the limit or not")
        if objective.time_slice_target != 1.0:
            raise ValueError(
                "the mean of a slice is within the limit or not: Timeslices with timeSliceTarget: 1"
            )
        # Nothing at 0, one share at the limit; turned round where less is worse.
        indicator = charged(spec.value, op, limit, 0.0 if is_upper else 2.0 * limit)
        strictness = 0.0 if op in ("lte", "gte") else _STRICTLY
        return replace(_measure(_where(indicator, spec.where), spec), slice_target=strictness)
    if spec.expected is None:
        raise ValueError(
            "a mean with a budget needs expected: what a call usually has, such as "
            f"{limit * (0.7 if is_upper else 1.2):g}; the budget is what lies between it and value"
        )
    if (spec.expected >= limit) if is_upper else (spec.expected <= limit):
        side = "below" if is_upper else "above"
        raise ValueError(f"expected must lie {side} value ({limit:g}), not at {spec.expected:g}")
    indicator = _where(charged(spec.value, op, limit, spec.expected), spec.where)
    charge = indicator.ratio.charge
    mean = Mean(limit, spec.expected, charge.unit if charge is not None else "")
    return replace(_measure(indicator, spec), mean=mean)


def _measure(indicator: Indicator, spec: ValueShape | CountShape) -> Measure:
    return Measure(indicator, spec.min_events, spec.insufficient, spec.no_data)


def _beyond(value: str, op: str, limit: float) -> Indicator:
    """Calls whose value, any numeric expression, lies on the good side of a limit."""
    condition = beyond(value, op, limit)
    sign = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}[op]
    name = f"{value} {sign} {limit:g}"
    ratio = Ratio("condition", condition=condition)
    return Indicator(name, ratio, signal_of(condition), "custom", f"Calls with {name}")


def _below(value: str, limit: float) -> Indicator:
    if value == "latency_ms":
        return latency_under(limit)
    if value == "ttft_ms":
        return first_token_under(limit)
    if value == "cost_usd":
        return cost_under(limit)
    column: Column = "input_tokens" if value == "input_tokens" else "output_tokens"
    title = f"Calls under {limit:g} {column.replace('_', ' ')}"
    ratio = Ratio(column, "ge", limit)
    return Indicator(f"{column}_under_{limit:g}", ratio, "token_usage", "tokens", title)


def _ratio(
    metric: RatioMetric, objective: ObjectiveShape, located: Located, place: Place, named: Named
) -> tuple[Measure | None, list[Problem]]:
    if objective.op is not None or objective.value is not None:
        raise ValueError("op and value belong to a thresholdMetric; remove them from the objective")
    side = "good" if metric.good is not None else "bad"
    source = metric.good or metric.bad
    assert source is not None  # noqa: S101 (the shape says so)
    here = (*place, side, "metricSource", "spec")
    spec, problems = _fit(CountShape, source.metric_source.spec, located, here)
    whole = ""
    if metric.total is not None:
        there = (*place, "total", "metricSource", "spec")
        total, more = _fit(CountShape, metric.total.metric_source.spec, located, there)
        problems += more
        if total is not None and total.use and spec is not None and total.use != spec.use:
            message = f"the total is a condition, not the indicator {total.use!r}"
            problems.append(located.problem(there, message, "use {count: all}"))
        if total is not None and not total.use and total.count not in _ALL:
            whole = total.count
    if spec is None or problems:
        return None, problems
    if spec.use:
        if whole:
            raise ValueError(f"{spec.use} says itself which calls count; use total: {{count: all}}")
        indicator = _named(spec, named)
    else:
        indicator = _counted(spec.count, side, whole, spec.where.kind)
    return _measure(_where(indicator, spec.where), spec), []


def _named(spec: CountShape, named: Named) -> Indicator:
    if spec.count:
        raise ValueError("give either use or count")
    limit = {} if spec.under is None else {"under": spec.under}
    return named({"use": spec.use, **limit})


def _counted(text: str, side: str, total: str, kind: str) -> Indicator:
    """A condition; `failed` and its like also under the names that they have always had."""
    words = re.sub(r"\s+", " ", text.strip().lower()).replace('"', "'")
    words = {"status = 'ok'": "not error", "status != 'ok'": "error"}.get(words, words)
    words = {"status = 'error'": "error"}.get(words, words)
    is_negated = words.startswith("not ")
    name = words.removeprefix("not ")
    known = [f"not {flag}" if side == "good" else flag for flag in _FLAGS]
    column = next((flag for flag in _FLAGS if flag == name), None)
    if column is None or total:
        if not text.strip():
            raise ValueError("give use: an indicator, or count: a condition on a call")
        return written(total=total, kind=kind, **{side: text})
    if is_negated != (side == "good"):
        raise ValueError(
            f"counting {text!r} as {side} is the wrong way round ({suggest(words, known)})"
        )
    kind = "retriever" if column == "empty_result" else "llm"
    metric = {"failed": "availability", "error": "errors"}.get(column, column)
    title = f"Calls that are not {column.replace('_', ' ')}"
    return Indicator(f"not_{column}", Ratio(column, kind=kind), "error_rate", metric, title)


def _where(indicator: Indicator, where: WhereShape) -> Indicator:
    """The indicator over only some calls, under a name that says which."""
    if where.kind not in KINDS:
        hint = suggest(where.kind, KINDS)
        raise ValueError(f"where.kind: there is no kind of call {where.kind!r} ({hint})")
    if where.kind not in ("llm", indicator.ratio.kind):
        ratio = replace(indicator.ratio, kind=where.kind)
        indicator = replace(indicator, name=f"{indicator.name}_{where.kind}", ratio=ratio)
    if not where.model:
        return indicator
    if indicator.ratio.column == "feedback_negative":
        raise ValueError("where.model: feedback does not say which model it is about; remove it")
    ratio = replace(indicator.ratio, model=where.model)
    title = f"{indicator.title} ({where.model})"
    return replace(indicator, name=f"{indicator.name}_{where.model}", ratio=ratio, title=title)
