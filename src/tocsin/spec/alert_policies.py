"""OpenSLO's documents about alerting and sources, as people write them.

    SLO -> AlertPolicy -> AlertCondition            when somebody is told
                       -> AlertNotificationTarget   who
    SLO, SLI -> DataSource                          where a metric comes from

Each arrow is the name of a document of its own, in any file, or that document written in place.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tocsin.spec.lengths import Window
from tocsin.spec.shape import InlineMetadata, Shape, Text


def _one_of_two(entry: Any, reference: str) -> None:
    inline = (entry.metadata is not None, entry.spec is not None)
    if any(inline) == bool(entry.ref) or any(inline) != all(inline):
        raise ValueError(f"give either {reference}: NAME, or metadata and spec")


class BurnConditionShape(Shape):
    """The budget burns faster than `threshold` over `lookbackWindow`, for `alertAfter`."""

    kind: Literal["burnrate"]
    op: Annotated[
        Literal["gt", "gte", "lt", "lte"],
        Field(description="every one means that the threshold is exceeded, as OpenSLO's own do"),
    ] = "gt"
    threshold: Annotated[float, Field(gt=0)]
    lookback_window: Window
    alert_after: Window | None = None


class AlertConditionShape(Shape):
    """When an AlertPolicy alerts (OpenSLO v1)."""

    description: str = ""
    severity: Annotated[
        Text, Field(description="page, critical, high, p1 or sev1 page; anything else is a ticket")
    ]
    condition: BurnConditionShape


class AlertNotificationTargetShape(Shape):
    """Who is told (OpenSLO v1): a Receiver of the same name, or the one called, or of the type,
    `target`."""

    description: str = ""
    target: Text


class ConditionEntry(Shape):
    """An AlertCondition by name, or written in place."""

    ref: Annotated[str, Field(alias="conditionRef")] = ""
    kind: Literal["AlertCondition"] = "AlertCondition"
    metadata: InlineMetadata | None = None
    spec: AlertConditionShape | None = None

    @model_validator(mode="after")
    def _is_one(self) -> ConditionEntry:
        _one_of_two(self, "conditionRef")
        return self


class TargetEntry(Shape):
    """An AlertNotificationTarget by name, or written in place."""

    ref: Annotated[str, Field(alias="targetRef")] = ""
    kind: Literal["AlertNotificationTarget"] = "AlertNotificationTarget"
    metadata: InlineMetadata | None = None
    spec: AlertNotificationTargetShape | None = None

    @model_validator(mode="after")
    def _is_one(self) -> TargetEntry:
        _one_of_two(self, "targetRef")
        return self


class AlertPolicyShape(Shape):
    """When and whom an SLO alerts (OpenSLO v1), instead of burn-rate presets.

    Whoever was told of an alert is always told that it is over. The guards of burn rates hold here
    as well.
    """

    description: str = ""
    alert_when_no_data: Annotated[bool, Field(description="also when no calls come any more")] = (
        False
    )
    alert_when_breaching: bool = True
    alert_when_resolved: bool = False
    conditions: Annotated[tuple[ConditionEntry, ...], Field(min_length=1)]
    notification_targets: tuple[TargetEntry, ...] = ()


class PolicyEntry(Shape):
    """An AlertPolicy by name, or written in place."""

    ref: Annotated[str, Field(alias="alertPolicyRef")] = ""
    kind: Literal["AlertPolicy"] = "AlertPolicy"
    metadata: InlineMetadata | None = None
    spec: AlertPolicyShape | None = None

    @model_validator(mode="after")
    def _is_one(self) -> PolicyEntry:
        _one_of_two(self, "alertPolicyRef")
        return self


class DataSourceShape(Shape):
    """Where metrics come from (OpenSLO v1). Objectives on one whose type is not Tocsin are refused:
    Tocsin measures its own telemetry."""

    description: str = ""
    type: Text
    connection_details: Any = None
