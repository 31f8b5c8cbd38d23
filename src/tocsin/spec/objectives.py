"""Documents about service levels: OpenSLO's SLO and SLI, and our BurnRatePolicy.

OpenSLO documents are read as they are: fields Tocsin has no use for are warnings. Fields that say
something Tocsin cannot honour are errors, because a promise that is half kept is worse than one
that is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tocsin.assess.burn import presets
from tocsin.assess.ledger import MAX_PERIOD
from tocsin.assess.monitor import BurnStep, Guards, Severity
from tocsin.assess.period import Calendar
from tocsin.spec.alert_policies import PolicyEntry
from tocsin.spec.lengths import LocalTime, Window, WindowLength
from tocsin.spec.segments import SegmentsShape
from tocsin.spec.shape import InlineMetadata, OneOrMany, Shape, Text, Zone

_PRESET = {"1h": 60, "24h": 1440, "7d": 10080, "28d": 40320, "30d": 43200, "90d": 129600}


class MetricSource(Shape):
    """Where a metric comes from. Tocsin measures its own telemetry only."""

    metric_source_ref: Annotated[
        str, Field(description="a DataSource, whose type holds where `type` is not said")
    ] = ""
    type: Literal["Tocsin"] | None = None
    spec: Annotated[
        dict[str, Any],
        Field(
            description="{value: latency_ms | ttft_ms | cost_usd | input_tokens | output_tokens} "
            "of a thresholdMetric; {use: INDICATOR} or {count: failed | error | truncated | "
            "feedback_negative | empty_result} (as good: `not failed`, as total: `all`) of a "
            "ratioMetric; both with where: {kind: KIND, model: MODEL} and minEvents. "
            "{value: cost_usd, aggregate: mean, expected: 0.02} holds a mean to the limit"
        ),
    ]

    @model_validator(mode="after")
    def _has_a_source(self) -> MetricSource:
        if self.type is None and not self.metric_source_ref:
            raise ValueError("give type: Tocsin, or metricSourceRef: the name of a DataSource")
        return self


class Measured(Shape):
    """One count of a ratio."""

    metric_source: MetricSource


class ThresholdMetric(Shape):
    """A value of each call, held against the objective's `op` and `value`."""

    metric_source: MetricSource


class RatioMetric(Shape):
    """Good or bad calls among all calls."""

    counter: bool = False
    good: Measured | None = None
    bad: Measured | None = None
    total: Measured | None = None

    @model_validator(mode="after")
    def _has_one_side(self) -> RatioMetric:
        if (self.good is None) == (self.bad is None):
            raise ValueError("give either good or bad")
        return self


class SLIShape(Shape):
    """An indicator that several SLOs may refer to (OpenSLO v1)."""

    description: str = ""
    threshold_metric: ThresholdMetric | None = None
    ratio_metric: RatioMetric | None = None

    @model_validator(mode="after")
    def _has_one_metric(self) -> SLIShape:
        if (self.threshold_metric is None) == (self.ratio_metric is None):
            raise ValueError("give either thresholdMetric or ratioMetric")
        return self


class InlineIndicator(Shape):
    """An indicator that is written inside an SLO."""

    metadata: InlineMetadata
    spec: SLIShape


class CalendarShape(Shape):
    """Where the periods of a calendar window begin: one of them, in local time."""

    start_time: LocalTime
    time_zone: Zone


class TimeWindow(Shape):
    """The period of the error budget: the last days (isRolling), or calendar periods."""

    duration: WindowLength
    is_rolling: bool | None = None
    calendar: CalendarShape | None = None

    @model_validator(mode="after")
    def _fits_a_year(self) -> TimeWindow:
        if self.duration.minutes > MAX_PERIOD:
            raise ValueError(f"a budget lasts at most a year, not {self.duration}")
        return self

    @model_validator(mode="after")
    def _rolls_or_not(self) -> TimeWindow:
        if self.calendar is not None and self.is_rolling:
            raise ValueError("a window that rolls has no calendar; remove one of the two")
        if self.calendar is None and self.is_rolling is False:
            raise ValueError(
                "a window that does not roll needs calendar: {startTime: "
                "2026-01-01 00:00:00, timeZone: Europe/Berlin}"
            )
        return self

    def build(self) -> Calendar | None:
        """The calendar of the window, None when it rolls."""
        if self.calendar is None:
            return None
        return Calendar(self.duration, self.calendar.start_time, self.calendar.time_zone)


class TargetShape(Shape):
    """How much must be good."""

    target: Annotated[float, Field(gt=0, lt=1)] | None = None
    target_percent: Annotated[float, Field(gt=0, lt=100)] | None = None

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if (self.target is None) == (self.target_percent is None):
            raise ValueError("give either target (0 to 1) or targetPercent (0 to 100)")
        return self

    @property
    def share(self) -> float:
        """The share of calls that must be good."""
        if self.target is not None:
            return self.target
        return round((self.target_percent or 0.0) / 100.0, 12)


class ObjectiveShape(TargetShape):
    """How many calls must be good. `op` and `value` belong to threshold metrics.

    Where every objective of an SLO has an indicator of its own, the SLO is a composite.
    """

    display_name: str = ""
    op: Literal["lt", "lte", "gt", "gte"] | None = None
    value: Annotated[float, Field(ge=0)] | None = None
    time_slice_target: Annotated[
        float | None, Field(gt=0, le=1, description="share of good calls in a good slice")
    ] = None
    time_slice_window: Annotated[
        Window | None, Field(description="divides an hour, or is whole hours up to a day")
    ] = None

    indicator: InlineIndicator | None = None
    indicator_ref: str = ""
    composite_weight: Annotated[float, Field(gt=0)] = 1.0

    @property
    def has_indicator(self) -> bool:
        """Whether it says itself what it counts."""
        return self.indicator is not None or self.indicator_ref != ""


class SLOShape(Shape):
    """A service-level objective in share form (OpenSLO v1).

    `p95 < 2 s` is written as: at least 95 % of the calls take less than 2000 ms. Occurrences counts
    calls; Timeslices counts slices of time in which enough calls were good; RatioTimeslices
    averages the share of good calls over slices.
    """

    description: str = ""
    service: Text
    indicator: InlineIndicator | None = None
    indicator_ref: str = ""
    time_window: Annotated[tuple[TimeWindow, ...], Field(min_length=1, max_length=1)]
    budgeting_method: Literal["Occurrences", "Timeslices", "RatioTimeslices"]
    objectives: Annotated[tuple[ObjectiveShape, ...], Field(min_length=1)]
    alert_policies: Annotated[
        tuple[PolicyEntry, ...],
        Field(description="AlertPolicies by name or written here; instead of burn-rate presets"),
    ] = ()

    @model_validator(mode="after")
    def _has_slices(self) -> SLOShape:
        method = self.budgeting_method
        for number, objective in enumerate(self.objectives):
            at = f"objectives[{number}]"
            if method != "Occurrences" and objective.time_slice_window is None:
                raise ValueError(f"{method} needs timeSliceWindow in every objective: {at}")
            if (method == "Timeslices") != (objective.time_slice_target is not None):
                wants = "needs" if method == "Timeslices" else "has no"
                raise ValueError(f"{method} {wants} timeSliceTarget: {at}")
        return self

    @property
    def is_composite(self) -> bool:
        """Whether its objectives have indicators of their own."""
        return any(objective.has_indicator for objective in self.objectives)

    @model_validator(mode="after")
    def _has_one_indicator(self) -> SLOShape:
        owners = self.objectives if self.is_composite else (self,)
        for owner in owners:
            if (owner.indicator is None) == (not owner.indicator_ref):
                raise ValueError(
                    "every objective of a composite needs indicator or indicatorRef"
                    if self.is_composite
                    else "give either indicator or indicatorRef"
                )
        if self.is_composite and (self.indicator is not None or self.indicator_ref):
            raise ValueError("indicator stands in the SLO or in its objectives, not in both")
        return self


class Selector(Shape):
    """Which SLOs: by name, by labels, or both (either suffices). Empty means every one."""

    names: OneOrMany = ()
    match_labels: dict[str, str] = Field(default_factory=dict)

    @property
    def is_general(self) -> bool:
        """Whether it names nothing, which is every SLO."""
        return not (self.names or self.match_labels)

    def covers(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether an SLO is chosen, or every one is."""
        return self.is_general or self.chooses(name, labels)

    def chooses(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether an SLO is named, or has the labels."""
        return name in self.names or (
            bool(self.match_labels) and self.match_labels.items() <= labels.items()
        )


def _as_names(value: Any) -> Any:
    return {"names": value} if isinstance(value, str | list) else value


# A selector, or names alone.
Chosen = Annotated[Selector, BeforeValidator(_as_names)]


class GuardsShape(Shape):
    """What a burn alert must prove beyond its ratio."""

    min_bad: Annotated[int, Field(ge=0)] = Guards().min_bad
    evidence: Annotated[float, Field(ge=0, lt=1)] = Guards().evidence
    min_events: Annotated[int, Field(ge=0)] = Guards().min_events

    def build(self) -> Guards:
        """The same, as the assessment reads it."""
        return Guards(self.min_bad, self.evidence, self.min_events)


class BurnStepShape(Shape):
    """Alert when this share of the budget is spent within the long window, and still is."""

    severity: Severity
    budget: Annotated[float, Field(gt=0, le=1)]
    long: Window
    short: Window

    @model_validator(mode="after")
    def _long_is_longer(self) -> BurnStepShape:
        if self.short > self.long:
            raise ValueError("short must not be longer than long")
        return self

    def build(self, period_minutes: int) -> BurnStep:
        """The same for a budget over `period_minutes`: factor = budget x period / long window."""
        factor = round(self.budget * period_minutes / self.long, 12)
        return BurnStep(self.severity, self.long, self.short, factor)


class SilenceShape(Shape):
    """Tell somebody when an objective has no calls any more; without it, it is only unknown."""

    alert_after: Annotated[
        Window | Literal["auto"],
        Field(description="auto: as long as a total outage takes to be told, at least 5m"),
    ] = "auto"
    severity: Severity = "page"

    @property
    def minutes(self) -> int | None:
        """How long nobody is told; None is as long as is usual for the objective."""
        return None if self.alert_after == "auto" else self.alert_after


class BurnRatePolicyShape(Shape):
    """How fast a budget may burn before somebody is told. SLOs without one use `auto`."""

    slos: Chosen = Selector()
    preset: Literal["auto", "1h", "24h", "7d", "28d", "30d", "90d"] = "auto"
    guards: GuardsShape = GuardsShape()
    steps: Annotated[
        tuple[BurnStepShape, ...], Field(description="instead of the preset's steps")
    ] = ()
    segments: Annotated[
        SegmentsShape | None, Field(description="hold every value of a dimension to the budget")
    ] = None
    no_data: Annotated[
        SilenceShape | None, Field(description="tell somebody when calls stay away")
    ] = None

    def build(self, period_minutes: int) -> tuple[BurnStep, ...]:
        """The steps for a budget over `period_minutes`; ValueError when none fit it."""
        if self.steps:
            for step in self.steps:
                if step.long > period_minutes:
                    raise ValueError(
                        f"the long window of {step.long} min is longer than the budget's period "
                        f"of {period_minutes} min"
                    )
            return tuple(step.build(period_minutes) for step in self.steps)
        return presets(period_minutes if self.preset == "auto" else _PRESET[self.preset])
