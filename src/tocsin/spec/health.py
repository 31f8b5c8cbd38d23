"""The HealthScore document: what one number is made of, and when it is a finding."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from tocsin.assess.health import Component, HealthConfig, Method, Missing
from tocsin.assess.health_counts import MAX_WINDOW
from tocsin.assess.health_segments import WORST
from tocsin.indicators.catalogue import IndicatorError
from tocsin.indicators.curves import curve_of
from tocsin.indicators.custom import averaged
from tocsin.indicators.language.faults import ExpressionError
from tocsin.spec.detectors import UseShape
from tocsin.spec.health_presets import PRESETS
from tocsin.spec.segments import Confirm
from tocsin.spec.shape import Duration, OneOrMany, Shape, Text

SHADOW = "in shadow: the score is followed and shown, and nobody is told about it"
ON_DEMAND = "a HealthScore without a service is computed by `tocsin score` alone"
AGGREGATIONS: tuple[str, ...] = get_args(Method)
HEADROOM = 20.0
# What is left of an error budget, as a score: all of it 100, none 60, overspent by as much 0.
BUDGET_CURVE = ((-1.0, 0.0), (0.0, 60.0), (1.0, 100.0))
# What is usual leaves room for better, and three times as much cannot be right.
USUAL, _FAR = 90.0, 3.0
FINDING_CURVE = ((0.0, 100.0), (1.0, 0.0))

Point = tuple[float, Annotated[float, Field(ge=0, le=100)]]


def _check_value(text: str) -> str:
    if text:
        try:
            averaged(text)
        except (IndicatorError, ExpressionError) as error:
            raise ValueError(str(error)) from None
    return text


class ComponentShape(Shape):
    """One metric of a health score."""

    metric: Annotated[Text, Field(description="what is measured, such as `p95_latency_seconds`")]
    weight: Annotated[
        float, Field(ge=0, description="brought to a sum of 1; 0 shows the metric, uncounted")
    ]
    inverse: Annotated[bool, Field(description="less is better: latency, cost, failures")] = False
    critical: Annotated[
        bool, Field(description="the whole lies at most `criticalHeadroom` points above it")
    ] = False
    required: Annotated[bool, Field(description="without it the score is unknown")] = False
    curve: Annotated[
        tuple[Point, ...],
        Field(description="points (value, score of 0 to 100), straight lines between them"),
    ] = ()
    baseline: Annotated[
        float | None,
        Field(
            gt=0,
            description="what is usual, where nobody knows what is good: this much counts 90, three"
            " times as much 0 (a third, where more is better); in shadow only",
        ),
    ] = None
    from_slo: Annotated[
        str,
        Field(alias="fromSLO", description="an SLO: the metric is what is left of its budget"),
    ] = ""
    from_detector: Annotated[
        str, Field(description="a Detector: the metric is 1 while it has found something, else 0")
    ] = ""
    indicator: Annotated[
        UseShape | None, Field(description="the metric is the share of its calls that are good")
    ] = None
    value: Annotated[
        str, AfterValidator(_check_value),
        Field(description="the metric is the mean of this number of a call: `score('helpful')`"),
    ] = ""  # fmt: skip

    @model_validator(mode="after")
    def _curve_makes_sense(self) -> ComponentShape:
        values = [value for value, _ in self.curve]
        if len(values) == 1 or values != sorted(set(values)):
            raise ValueError("a curve has two points or more, with rising values")
        if self.curve and self.from_slo:
            raise ValueError("give a curve or fromSLO, not both")
        if self.baseline and (self.curve or self.from_slo or self.from_detector):
            raise ValueError("a baseline stands in for a curve: give one of them")
        if sum(map(bool, (self.from_slo, self.from_detector, self.indicator, self.value))) > 1:
            raise ValueError("give one of fromSLO, fromDetector, indicator and value")
        if self.curve and self.inverse and self.curve[0][1] < self.curve[-1][1]:
            raise ValueError(
                "with inverse: true the curve must fall from low to high values;"
                " exchange its scores, or leave inverse out"
            )
        return self

    def build(self) -> Component:
        """The component, with the usual curve of its metric where it has none of its own."""
        return Component(
            self.metric, self.weight, self.curve or self._usual(), self.critical, self.required
        )

    def _usual(self) -> tuple[Point, ...]:
        if self.baseline is not None:
            far = self.baseline * _FAR if self.inverse else self.baseline / _FAR
            return tuple(sorted([(self.baseline, USUAL), (far, 0.0)]))
        if self.from_slo:
            return BUDGET_CURVE
        if self.from_detector:
            return FINDING_CURVE
        # The share of good calls of an indicator is a success rate, whatever it is called.
        name = "success_rate" if self.indicator else self.metric
        return curve_of(name, inverse=self.inverse and not self.indicator)


class ThresholdsShape(Shape):
    """Below which score something is wrong, for how long, and on which scale these numbers are."""

    scale: Annotated[
        Literal[1, 100] | None,
        Field(description="1 for 0.8, 100 for 80; by default 1 when both are up to 1"),
    ] = None
    warning: Annotated[float, Field(gt=0)]
    critical: Annotated[float, Field(gt=0)]
    hysteresis: Annotated[
        float, Field(ge=0, le=50, description="points (of 100) above a threshold to leave it")
    ] = 5.0
    enter_after: Annotated[Duration, Field(alias="for")] = timedelta(minutes=5)
    clear_for: Duration = timedelta(minutes=10)

    @model_validator(mode="after")
    def _are_in_order_and_on_the_scale(self) -> ThresholdsShape:
        if not self.critical < self.warning <= self._top:
            raise ValueError(
                f"critical must lie below warning, and both within 0 to {self._top}, not "
                f"critical {self.critical:g} and warning {self.warning:g}"
            )
        if self.scale == 100 and self.warning <= 1:
            raise ValueError("these are shares of 1; write scale: 1")
        if self.scale is None and self.critical <= 1 < self.warning:
            raise ValueError(
                f"{self.critical:g} and {self.warning:g} are on two scales;"
                " write both from 0 to 1, or both from 0 to 100"
            )
        return self

    @property
    def given(self) -> frozenset[str]:
        """The fields that somebody wrote down, as they are written."""
        fields = type(self).model_fields
        return frozenset(fields[name].alias or name for name in self.model_fields_set)

    @property
    def _top(self) -> int:
        return self.scale or (1 if self.warning <= 1 else 100)

    def points(self, threshold: float) -> float:
        """A threshold on the scale of 0 to 100."""
        return threshold * 100 / self._top


class AggregationShape(Shape):
    """How scores of components become one."""

    method: Method = "weighted_sum"
    critical_headroom: Annotated[
        float | None,
        Field(ge=0, le=100, description="points above the worst critical component; null: no cap"),
    ] = HEADROOM


class MissingShape(Shape):
    """What a component counts that was not measured."""

    policy: Annotated[
        Missing,
        Field(
            description="renormalize: the rest counts for it; carry: its last value; worst: 0;"
            " unknown: there is no score"
        ),
    ] = "renormalize"
    min_coverage: Annotated[
        float, Field(ge=0, le=1, description="share of the weight that must be there")
    ] = 0.7
    max_age: Annotated[Duration, Field(description="how long a last value may stand in")] = (
        timedelta(minutes=30)
    )


class HealthSegmentsShape(Shape):
    """The score of every value of some dimensions: what the whole hides."""

    by: Annotated[OneOrMany, Field(min_length=1, description="dimensions of the service")]
    min_events: Annotated[
        int, Field(ge=2, description="segments with fewer calls in the window are not judged")
    ] = 30
    masked_alert: Annotated[
        bool,
        Field(description="a ticket when a segment is surely below the warning and the whole well"),
    ] = True
    window: Annotated[Duration, Field(description="the calls that are sampled")] = timedelta(
        hours=1
    )
    every: Annotated[Duration, Field(description="from one look to the next")] = timedelta(
        minutes=10
    )
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="share of false findings among all, of each look")
    ] = 0.10
    confirm: Annotated[Confirm, Field(description="in how many of the last looks")] = "3of5"

    floor: Annotated[
        float | None,
        Field(
            ge=0, le=100,
            description="points that the whole may lie above its worst segment, once that is surely"
            " below the warning; null: segments do not change the score of the whole",
        ),
    ] = None  # fmt: skip

    @model_validator(mode="after")
    def _can_be_looked_at(self) -> HealthSegmentsShape:
        minute = timedelta(minutes=1)
        if not minute <= self.every or not minute <= self.window <= timedelta(minutes=MAX_WINDOW):
            raise ValueError("every is 1m or more, and window is from 1m to 24h")
        return self


def _as_mode(value: Any) -> Any:
    return "alerting" if value == "active" else value


def _as_aggregation(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


class HealthScoreShape(Shape):
    """One number from 0 to 100 for the health of a service, from weighted metrics."""

    display_name: Annotated[
        str, Field(description="as in metadata, which goes before it where both are given")
    ] = ""
    description: str = ""
    service: Annotated[
        str, Field(description="whose it is; without one only `tocsin score` computes it")
    ] = ""
    window: Annotated[Duration, Field(description="how far back metrics are measured")] = timedelta(
        minutes=15
    )
    mode: Annotated[
        Literal["shadow", "alerting"],
        BeforeValidator(_as_mode),
        Field(
            description="shadow: followed and shown, never told to anybody; alerting: each change"
            " of its state is an alert, a ticket in warning and a page in critical"
        ),
    ] = "shadow"
    preset: Annotated[
        Literal["rag"] | None,
        Field(description="components to begin with; those given here go before them by metric"),
    ] = None
    aggregation: Annotated[
        AggregationShape,
        BeforeValidator(_as_aggregation),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "enum": list(AGGREGATIONS)},
                    AggregationShape.model_json_schema(),
                ]
            }
        ),
    ] = AggregationShape()
    components: tuple[ComponentShape, ...] = ()
    missing: MissingShape = MissingShape()
    thresholds: ThresholdsShape | None = None
    segments: Annotated[
        HealthSegmentsShape | None, Field(description="score every value of a dimension as well")
    ] = None

    @model_validator(mode="after")
    def _can_be_computed(self) -> HealthScoreShape:
        if not self.parts:
            raise ValueError("give one component or more: components: [{metric: ..., weight: ...}]")
        names = [component.metric for component in self.components]
        if WORST.metric in names:
            raise ValueError(f"{WORST.metric!r} is what segments.floor adds; name it otherwise")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the metric {twice[0]!r} is given twice; add its weights up")
        if not any(component.weight for component in self.parts):
            raise ValueError("every weight is 0: give one component a weight at least")
        if not timedelta(minutes=1) <= self.window <= timedelta(minutes=MAX_WINDOW):
            raise ValueError("window is from 1m to 24h")
        if self.mode == "alerting":
            self._may_alert()
        return self

    def _may_alert(self) -> None:
        if not self.service:
            raise ValueError("mode: alerting needs a service, whose owners are told")
        bare = [one.metric for one in self.parts if one.weight and not one.build().curve]
        if bare:
            raise ValueError(
                f"no curve says which values of {', '.join(bare)} are good: such a score stays in"
                " shadow; add a curve, or weight: 0"
            )
        usual = [one.metric for one in self.parts if one.weight and one.baseline is not None]
        if usual:
            raise ValueError(
                f"a baseline says what was usual of {', '.join(usual)}, not what is good: such a"
                " score stays in shadow; write the curve that its owner stands for, or weight: 0"
            )

    @property
    def parts(self) -> tuple[ComponentShape, ...]:
        """The components, those of its preset included."""
        own = {one.metric: one for one in self.components}
        given = PRESETS[self.preset] if self.preset else ()
        usual = [ComponentShape.model_validate(one) for one in given if one["metric"] not in own]
        return (*self.components, *usual)

    @property
    def minutes(self) -> int:
        """The window in whole minutes."""
        return _minutes(self.window)

    def title(self, name: str, shown: str) -> str:
        """What people call it. name, shown: the name and the displayName of its metadata."""
        return shown or self.display_name or name

    def build(self) -> HealthConfig:
        """The score ready to be computed."""
        limits = self.thresholds or ThresholdsShape(warning=80, critical=60)
        floor = self.segments.floor if self.segments is not None else None
        floors = () if floor is None else (replace(WORST, floor=floor),)
        return HealthConfig(
            components=(*(component.build() for component in self.parts), *floors),
            method=self.aggregation.method,
            headroom=self.aggregation.critical_headroom,
            missing=self.missing.policy,
            min_coverage=self.missing.min_coverage,
            max_age_minutes=_minutes(self.missing.max_age),
            warning=limits.points(limits.warning),
            critical=limits.points(limits.critical),
            hysteresis=limits.hysteresis,
            enter_minutes=_minutes(limits.enter_after),
            leave_minutes=_minutes(limits.clear_for),
        )

    def remarks(self) -> list[str]:
        """What its owner should know: weights that were scaled, metrics without a curve."""
        found = []
        total = sum(component.weight for component in self.parts)
        if abs(total - 1) > 1e-6:
            found.append(f"the weights add up to {total:g}; they are brought to 1")
        if not self.service and self.thresholds:
            idle = [n for n in ("hysteresis", "for", "clearFor") if n in self.thresholds.given]
            if idle:
                found.append(
                    f"{', '.join(idle)} say how a state is followed in time: a score without a"
                    " service has none"
                )
        for component in self.parts:
            if component.baseline is not None:
                points = " and ".join(f"{v:g} {s:.0f}" for v, s in component.build().curve)
                found.append(
                    f"{component.metric} is scored by what was usual: {points}, straight between"
                )
            if component.weight and not component.build().curve:
                example = (
                    "[[good, 100], [bad, 0]]" if component.inverse else "[[bad, 0], [good, 100]]"
                )
                found.append(
                    f"no curve says which values of {component.metric} are good: it counts as"
                    f" missing; add curve: {example}"
                )
        return found


def _minutes(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() / 60))
