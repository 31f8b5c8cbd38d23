"""The BudgetCorrection document: time that an error budget is not charged for as it went."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from tocsin.assess.accounts import Correction, Effect
from tocsin.assess.recurrence import Recurrence, parse_rule
from tocsin.domain.clock import to_minute
from tocsin.spec.lengths import Window
from tocsin.spec.objectives import Chosen
from tocsin.spec.shape import Shape, Text, Zone

Category = Literal[
    "scheduled_maintenance", "deployment", "telemetry_fault", "provider_excused", "other"
]
# What a correction does unless it says: time-slice budgets are fixed, so that a slice counts.
_USUAL: dict[str, Effect] = {"Timeslices": "good"}


def _read_instant(text: object) -> datetime:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"must be a time such as 2026-01-06T02:00:00Z, not {text!r}") from None


Instant = Annotated[
    datetime,
    PlainValidator(_read_instant),
    WithJsonSchema({"type": "string", "examples": ["2026-01-06T02:00:00Z"]}),
]


class BudgetCorrectionShape(Shape):
    """Time that is taken out of error budgets, or charged otherwise, once or again and again.

    The counts stay as they were measured; pages, API and reports show both numbers. Who applied it,
    when, and with which reason stands in the ledger beside it.
    """

    slos: Annotated[Chosen, Field(description="names, or {names, matchLabels}")]
    start: Annotated[Instant, Field(description="local to timeZone unless it names an offset")]
    end: Instant | None = None
    duration: Window | None = None
    time_zone: Zone = "UTC"
    rrule: Annotated[str, Field(description="RFC 5545, for example FREQ=MONTHLY;BYDAY=1TU")] = ""
    effect: Annotated[
        Effect | None,
        Field(description="exclude by default; good where Timeslices are counted"),
    ] = None
    category: Category = "other"
    reason: Text
    approved_by: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _ends(self) -> BudgetCorrectionShape:
        if (self.end is None) == (self.duration is None):
            raise ValueError("give either end or duration")
        if self.minutes <= 0:
            raise ValueError("end must come after start")
        if self.rrule:
            self._recurrence()
        return self

    @property
    def minutes(self) -> int:
        """How long it lasts."""
        if self.duration is not None:
            return self.duration
        return to_minute(self._at(self.end or self.start)) - to_minute(self._at(self.start))

    def build(self, name: str, method: str) -> Correction:
        """The same, as it charges an SLO of a budgeting method."""
        start = to_minute(self._at(self.start))
        return Correction(
            name,
            start,
            start + self.minutes,
            self.effect or _USUAL.get(method, "exclude"),
            self.reason,
            self._recurrence() if self.rrule else None,
        )

    def _at(self, instant: datetime) -> datetime:
        return instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(self.time_zone))

    def _recurrence(self) -> Recurrence:
        local = self._at(self.start).astimezone(ZoneInfo(self.time_zone)).replace(tzinfo=None)
        return parse_rule(self.rrule, local, self.time_zone)
