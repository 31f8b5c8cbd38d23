"""Documents about service levels: OpenSLO's SLO and SLI, and our BurnRatePolicy.

OpenSLO documents are read as they are: fields Tocsin has no use for are warnings. Fields that say
something Tocsin cannot honour yet (another budgeting method, a calendar window) are errors, because
a promise that is half kept is worse than one that is refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from tocsin.assess.burn import presets
from tocsin.assess.monitor import BurnStep, Guards, Severity
from tocsin.spec.shape import Name, OneOrMany, Shape, Text

_UNITS = {"m": 1, "h": 60, "d": 1440, "w": 10080}
_WINDOW = r"([1-9][0-9]*)([mhdwMQY])"
_PRESET = {"1h": 60, "24h": 1440, "7d": 10080, "28d": 40320, "30d": 43200, "90d": 129600}


def _read_window(text: object) -> int:
    found = re.fullmatch(_WINDOW, text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"must be a duration such as 1h, 7d or 28d, not {text!r}")
    if found[2] not in _UNITS:
        raise ValueError(
            f"{text!r} is a length of the calendar, which is not supported yet; write days (30d)"
        )
    return int(found[1]) * _UNITS[found[2]]


def _check_method(method: str) -> str:
    if method != "Occurrences":
        raise ValueError(f"budgetingMethod {method!r} is not supported yet; use Occurrences")
    return method


def _check_rolling(is_rolling: bool) -> bool:
    if not is_rolling:
        raise ValueError("calendar windows are not supported yet; use isRolling: true")
    return is_rolling


Window = Annotated[
    int,
    BeforeValidator(_read_window),
    WithJsonSchema({"type": "string", "pattern": f"^{_WINDOW}$", "examples": ["28d"]}),
]


class MetricSource(Shape):
    """Where a metric comes from. Tocsin measures its own telemetry only."""

    metric_source_ref: str = ""
    type: Literal["Tocsin"]
    spec: Annotated[
        dict[str, Any],
        Field(
            description="{value: latency_ms | ttft_ms | cost_usd | input_tokens | output_tokens} "
            "of a thresholdMetric; {use: INDICATOR} or {count: failed | error | truncated | "
            "feedback_negative | empty_result} (as good: `not failed`, as total: `all`) of a "
            "ratioMetric; both with where: {kind: KIND, model: MODEL} and minEvents"
        ),
    ]


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


class InlineMetadata(Shape):
    """The name of an indicator that is written inside an SLO."""

    name: Name
    display_name: str = ""


class InlineIndicator(Shape):
    """An indicator that is written inside an SLO."""

    metadata: InlineMetadata
    spec: SLIShape


class TimeWindow(Shape):
    """The period of the error budget."""

    duration: Window
    is_rolling: Annotated[bool, AfterValidator(_check_rolling)] = True


class ObjectiveShape(Shape):
    """How many calls must be good. `op` and `value` belong to threshold metrics."""

    display_name: str = ""
    op: Literal["lt", "lte", "gt", "gte"] | None = None
    value: Annotated[float, Field(ge=0)] | None = None
    target: Annotated[float, Field(gt=0, lt=1)] | None = None
    target_percent: Annotated[float, Field(gt=0, lt=100)] | None = None

    @model_validator(mode="after")
    def _has_one_target(self) -> ObjectiveShape:
        if (self.target is None) == (self.target_percent is None):
            raise ValueError("give either target (0 to 1) or targetPercent (0 to 100)")
        return self

    @property
    def share(self) -> float:
        """The share of calls that must be good."""
        if self.target is not None:
            return self.target
        return round((self.target_percent or 0.0) / 100.0, 12)


class SLOShape(Shape):
    """A service-level objective in share form (OpenSLO v1, budgeting method Occurrences).

    `p95 < 2 s` is written as: at least 95 % of the calls take less than 2000 ms.
    """

    description: str = ""
    service: Text
    indicator: InlineIndicator | None = None
    indicator_ref: str = ""
    time_window: Annotated[tuple[TimeWindow, ...], Field(min_length=1, max_length=1)]
    budgeting_method: Annotated[
        str,
        AfterValidator(_check_method),
        WithJsonSchema({"type": "string", "enum": ["Occurrences"]}),
    ]
    objectives: Annotated[tuple[ObjectiveShape, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_one_indicator(self) -> SLOShape:
        if (self.indicator is None) == (not self.indicator_ref):
            raise ValueError("give either indicator or indicatorRef")
        return self


class Selector(Shape):
    """Which SLOs: by name, by labels, or both (either suffices). Empty means every one."""

    names: OneOrMany = ()
    match_labels: dict[str, str] = Field(default_factory=dict)


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
        factor = round(self.budget * period_minutes / self.long, 6)
        return BurnStep(self.severity, self.long, self.short, factor)


class BurnRatePolicyShape(Shape):
    """How fast a budget may burn before somebody is told. SLOs without one use `auto`."""

    slos: Selector = Selector()
    preset: Literal["auto", "1h", "24h", "7d", "28d", "30d", "90d"] = "auto"
    guards: GuardsShape = GuardsShape()
    steps: Annotated[
        tuple[BurnStepShape, ...], Field(description="instead of the preset's steps")
    ] = ()

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
