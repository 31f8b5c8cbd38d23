"""The CompositeSLO document: several conditions, or several SLOs, as one promise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tocsin.assess.accounts import NoData
from tocsin.domain.expressions import Apply, Condition, Constant, Expression
from tocsin.domain.expressions import Field as CallField
from tocsin.domain.series import Ratio
from tocsin.indicators.custom import ratio_of
from tocsin.indicators.language.parser import parse
from tocsin.spec.indicators import CallKind
from tocsin.spec.indicators import Condition as ConditionText
from tocsin.spec.lengths import Window
from tocsin.spec.objectives import TargetShape, TimeWindow
from tocsin.spec.shape import Name, Shape, Text

Method = Literal["event", "weighted", "all", "openslo"]
_FIELDS = {
    "duration_ms": "latency_ms", "ttft_ms": "ttft_ms", "cost_usd": "cost_usd",
    "input_tokens": "input_tokens", "output_tokens": "output_tokens",
}  # fmt: skip


class ComponentShape(Shape):
    """One of the SLOs, which has one objective, and how much it weighs."""

    slo: Name
    weight: Annotated[float, Field(gt=0)] = 1.0


class SLORef(Shape):
    """The indicator of an SLO, as one more condition."""

    slo: Name


class CompositeSLOShape(TargetShape):
    """One objective made of several.

    event: a call is good when it meets every condition of `good`. weighted: the mean of the
    components' shares of good calls, by weight. all: a slice of time is good when it is good for
    every component, each by its own target. openslo: the sum of the components' burn rates, by
    weight.
    """

    description: str = ""
    service: Text
    method: Method
    window: TimeWindow
    good: Annotated[
        tuple[ConditionText | SLORef, ...],
        Field(description="conditions on one call, or {slo: NAME}, for method event"),
    ] = ()
    kind: Annotated[CallKind, Field(description="kind of the calls, for method event")] = "llm"
    components: Annotated[
        tuple[ComponentShape, ...], Field(description="the SLOs, for every other method")
    ] = ()
    when_absent: Annotated[
        NoData, Field(description="what a component without calls is: left out, good or bad")
    ] = "ignore"
    time_slice_window: Annotated[Window | None, Field(description="for method all; 5m")] = None

    @model_validator(mode="after")
    def _has_what_its_method_needs(self) -> CompositeSLOShape:
        if (self.method == "event") != bool(self.good):
            wants = "needs" if self.method == "event" else "takes components instead of"
            raise ValueError(f"method {self.method} {wants} good: [conditions]")
        if (self.method == "event") == bool(self.components):
            wants = "takes no" if self.method == "event" else "needs"
            raise ValueError(f"method {self.method} {wants} components: [{{slo: NAME}}]")
        if self.time_slice_window is not None and self.method != "all":
            raise ValueError("timeSliceWindow belongs to method all")
        return self


def met_by_all(conditions: list[str | Ratio], kind: str) -> Ratio:
    """Calls that do not meet one of several conditions, or are bad by one of several ratios.

    ValueError for a ratio that is not about single calls of this kind.
    """
    bad = [_bad_by(one, kind) for one in conditions]
    totals = [
        one.condition.total
        for one in conditions
        if isinstance(one, Ratio) and one.condition is not None and one.condition.total is not None
    ]
    condition = Condition(
        bad=_joined("or", bad),
        total=_joined("and", totals) if totals else None,
        text=f"missed one of {len(bad)} conditions",
    )
    return ratio_of(condition, kind)


# --------------------------------------------------------------------------------------------


def _bad_by(one: str | Ratio, kind: str) -> Expression:
    if isinstance(one, str):
        return Apply("not", (parse(one),), "truth")
    if one.model or one.kind != kind:
        raise ValueError(f"it counts calls of kind {one.kind}{one.model and f' of {one.model}'}")
    if one.condition is not None:
        return one.condition.bad
    if one.column in ("failed", "error", "truncated"):
        return parse(one.column)
    if one.column not in _FIELDS:
        raise ValueError("what it counts is no property of a single call")
    field = parse(_FIELDS[one.column], None)
    if not isinstance(field, CallField):
        raise ValueError("what it counts is no property of a single call")
    limit = Constant(one.threshold, field.type)
    return Apply(">=" if one.op == "ge" else ">", (field, limit), "truth")


def _joined(op: Literal["and", "or"], expressions: list[Expression]) -> Expression:
    whole = expressions[0]
    for one in expressions[1:]:
        whole = Apply(op, (whole, one), "truth")
    return whole
