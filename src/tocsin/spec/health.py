"""The HealthScore document: what one number is made of. It is checked and kept; nothing judges yet.

Every metric is to be brought to a scale of 0 to 100 before it is weighted, never added in its own
unit, so that the document says what it has to for that: which way is better, and how far it counts.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tocsin.spec.shape import Shape, Text

NOT_JUDGED = (
    "health scores are judged in a later release: it is kept and shown, nothing is computed"
)
AGGREGATIONS = ("weighted_sum",)

Point = tuple[float, Annotated[float, Field(ge=0, le=100)]]


class ComponentShape(Shape):
    """One metric of a health score."""

    metric: Annotated[Text, Field(description="what is measured, such as `p95_latency_seconds`")]
    weight: Annotated[float, Field(gt=0, description="weights are brought to a sum of 1")]
    inverse: Annotated[bool, Field(description="less is better: latency, cost, failures")] = False
    curve: Annotated[
        tuple[Point, ...],
        Field(description="points (value, score of 0 to 100), straight lines between them"),
    ] = ()

    @model_validator(mode="after")
    def _curve_rises_in_value(self) -> ComponentShape:
        values = [value for value, _ in self.curve]
        if len(values) == 1 or values != sorted(set(values)):
            raise ValueError("a curve has two points or more, with rising values")
        return self


class ThresholdsShape(Shape):
    """Below which score something is wrong, and on which scale these numbers are."""

    scale: Annotated[Literal[1, 100], Field(description="1 for 0.8, 100 for 80")]
    warning: Annotated[float, Field(gt=0)]
    critical: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _are_in_order_and_on_the_scale(self) -> ThresholdsShape:
        if not self.critical < self.warning <= self.scale:
            raise ValueError(
                f"critical must lie below warning, and both within 0 to {self.scale}, not "
                f"critical {self.critical:g} and warning {self.warning:g}"
            )
        if self.scale == 100 and self.warning <= 1:
            raise ValueError("these are shares of 1; write scale: 1")
        return self


class HealthScoreShape(Shape):
    """One number from 0 to 100 for the health of a service, from weighted metrics.

    It is checked, kept and shown in a plan. Scores are computed in a later release.
    """

    description: str = ""
    service: str = ""
    mode: Annotated[
        Literal["shadow"], Field(description="shadow: computed and shown, never told to anybody")
    ] = "shadow"
    aggregation: Literal["weighted_sum"] = "weighted_sum"
    components: Annotated[tuple[ComponentShape, ...], Field(min_length=1)]
    thresholds: ThresholdsShape | None = None

    @model_validator(mode="after")
    def _has_each_metric_once(self) -> HealthScoreShape:
        names = [component.metric for component in self.components]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the metric {twice[0]!r} is given twice; add its weights up")
        return self
