"""What an objective counts: the `metricSource.spec` of type Tocsin becomes an indicator.

thresholdMetric  {value: latency_ms}           with op and value of the objective
                 {value: cost_usd, where: {kind: llm}, minEvents: 50}
ratioMetric      good: {use: availability}     an indicator by its name
                 bad: {count: truncated}       or a column of the calls
                 good: {count: not error}, total: {count: all}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from tocsin.domain.calls import KINDS
from tocsin.domain.errors import Problem
from tocsin.domain.series import Column, Ratio
from tocsin.indicators.catalogue import (
    Indicator,
    IndicatorError,
    cost_under,
    first_token_under,
    indicator_from,
    latency_under,
)
from tocsin.spec.explain import suggest
from tocsin.spec.objectives import ObjectiveShape, RatioMetric, SLIShape, ThresholdMetric
from tocsin.spec.shape import Shape, fit
from tocsin.spec.yaml import Located, Place


@dataclass(frozen=True, slots=True)
class Measure:
    """What is counted, and below how many calls a page is lowered to a ticket (None: default)."""

    indicator: Indicator
    min_events: int | None = None


class WhereShape(Shape):
    """Which calls count."""

    kind: str = "llm"
    model: str = ""


class ValueShape(Shape):
    """A value of each call."""

    value: Literal["latency_ms", "ttft_ms", "cost_usd", "input_tokens", "output_tokens"]
    where: WhereShape = WhereShape()
    min_events: Annotated[int, Field(ge=0)] | None = None


class CountShape(Shape):
    """A count of calls: an indicator's, or those with a property."""

    use: str = ""
    under: str | float | None = None
    count: str = ""
    where: WhereShape = WhereShape()
    min_events: Annotated[int, Field(ge=0)] | None = None


def measure(
    sli: SLIShape, objective: ObjectiveShape, located: Located, place: Place
) -> tuple[Measure | None, list[Problem]]:
    """The measure that `sli`, which stands at `place`, and `objective` describe together."""
    try:
        if sli.threshold_metric is not None:
            here = (*place, "thresholdMetric", "metricSource", "spec")
            return _threshold(sli.threshold_metric, objective, located, here)
        if sli.ratio_metric is not None:
            here = (*place, "ratioMetric")
            return _ratio(sli.ratio_metric, objective, located, here)
    except (IndicatorError, ValueError) as error:
        return None, [located.problem(here, str(error))]
    raise AssertionError("an SLI has one of the two metrics")


# --------------------------------------------------------------------------------------------

_NOT_YET = {
    "aggregate": "a mean over calls", "cluster": "clustered intervals", "insufficient": "pooling",
    "sampled": "sampled labels", "label": "labels of a judge", "source": "labels of a judge",
    "judge": "labels of a judge", "is": "labels of a judge", "correction": "labels of a judge",
    "humanLabels": "human labels", "settle": "late labels",
}  # fmt: skip
_FLAGS: tuple[Column, ...] = (
    "failed", "error", "truncated", "feedback_negative", "empty_result",
)  # fmt: skip
_ALL = ("all", "calls", "*")


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
    if objective.op in ("gt", "gte"):
        raise ValueError(
            f"op {objective.op!r} is not supported yet; good calls lie below (lt, lte)"
        )
    if objective.value <= 0:
        raise ValueError(f"value must be above 0, not {objective.value:g}")
    below = _below(spec.value, objective.value)
    if objective.op == "lte":
        ratio = replace(below.ratio, op="gt")
        below = replace(below, name=below.name.replace("_under_", "_up_to_"), ratio=ratio)
    return Measure(_where(below, spec.where), spec.min_events), []


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
    metric: RatioMetric, objective: ObjectiveShape, located: Located, place: Place
) -> tuple[Measure | None, list[Problem]]:
    if objective.op is not None or objective.value is not None:
        raise ValueError("op and value belong to a thresholdMetric; remove them from the objective")
    side = "good" if metric.good is not None else "bad"
    source = metric.good or metric.bad
    assert source is not None  # noqa: S101 (the shape says so)
    here = (*place, side, "metricSource", "spec")
    spec, problems = _fit(CountShape, source.metric_source.spec, located, here)
    if metric.total is not None:
        there = (*place, "total", "metricSource", "spec")
        total, more = _fit(CountShape, metric.total.metric_source.spec, located, there)
        problems += more
        if total is not None and not _is_all(total, spec):
            what = repr(total.count or total.use)
            message = f"counting {what} as the total is not supported yet"
            problems.append(located.problem(there, message, "use {count: all}"))
    if spec is None or problems:
        return None, problems
    indicator = _named(spec) if spec.use else _counted(spec.count, side)
    return Measure(_where(indicator, spec.where), spec.min_events), []


def _is_all(total: CountShape, side: CountShape | None) -> bool:
    if total.use:
        return side is None or total.use == side.use
    return total.count in _ALL


def _named(spec: CountShape) -> Indicator:
    if spec.count:
        raise ValueError("give either use or count")
    limit = {} if spec.under is None else {"under": spec.under}
    return indicator_from({"use": spec.use, **limit})


def _counted(text: str, side: str) -> Indicator:
    """`failed`, `not failed`; also the `status = 'ok'` that people write for `not error`."""
    words = re.sub(r"\s+", " ", text.strip().lower()).replace('"', "'")
    words = {"status = 'ok'": "not error", "status != 'ok'": "error"}.get(words, words)
    words = {"status = 'error'": "error"}.get(words, words)
    is_negated = words.startswith("not ")
    name = words.removeprefix("not ")
    known = [f"not {flag}" if side == "good" else flag for flag in _FLAGS]
    column = next((flag for flag in _FLAGS if flag == name), None)
    if column is None or is_negated != (side == "good"):
        raise ValueError(
            f"counting {text!r} as {side} is not supported yet ({suggest(words, known)})"
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
