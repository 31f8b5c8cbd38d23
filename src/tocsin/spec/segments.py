"""How segments are judged: a part of a BurnRatePolicy, for objectives, and of a Detector."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from tocsin.assess.monitor import Severity
from tocsin.assess.segments import MOST_OF, SegmentsConfig
from tocsin.spec.shape import Duration, OneOrMany, Shape

_USUAL = SegmentsConfig()


def _check_confirm(text: str) -> str:
    if re.fullmatch(r"[1-9]\d?of[1-9]\d?", text) is None:
        raise ValueError(f"must be such as 3of5, not {text!r}")
    confirm, of = confirmation(text)
    if not confirm <= of <= MOST_OF:
        raise ValueError(f"confirm is such as 3of5, of at most {MOST_OF}, not {text}")
    return text


Confirm = Annotated[str, AfterValidator(_check_confirm)]


def confirmation(text: str) -> tuple[int, int]:
    """In so many of the last so many evaluations, from such as 3of5."""
    confirm, of = (int(number) for number in text.split("of"))
    return confirm, of


class SegmentsShape(Shape):
    """Every value of these dimensions is judged: is one region, plan or cohort worse off?

    An objective's segments are held to its own budget, those of a detector of counts to the rest of
    the traffic, and those of a detector of gauges each to its own past; then `by` and `severity`
    say everything.
    """

    by: Annotated[OneOrMany, Field(min_length=1, description="declared dimensions of the service")]
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="share of false findings among all, per evaluation")
    ] = _USUAL.fdr
    confirm: Annotated[
        Confirm, Field(description="in how many of the last evaluations a segment must be found")
    ] = f"{_USUAL.confirm}of{_USUAL.of}"
    min_events: Annotated[
        int, Field(ge=1, description="segments with fewer calls in the window are not judged")
    ] = _USUAL.min_events
    window: Annotated[Duration, Field(description="what an evaluation counts")] = timedelta(hours=1)
    every: Annotated[Duration, Field(description="from one evaluation to the next")] = timedelta(
        minutes=_USUAL.every_minutes
    )
    min_ratio: Annotated[
        float,
        Field(ge=1, description="of a detector: how many times the share elsewhere is too much"),
    ] = _USUAL.min_ratio
    severity: Severity = "ticket"

    @model_validator(mode="after")
    def _can_be_judged(self) -> SegmentsShape:
        self.build(None)
        return self

    @property
    def of_counts(self) -> list[str]:
        """What is set that says how counts are tested."""
        return sorted(self.model_fields_set - {"by", "severity"})

    def build(self, budget: float | None) -> SegmentsConfig:
        """The same, as the assessment reads it. budget: of the objective, None of a detector."""
        confirm, of = confirmation(self.confirm)
        minute = timedelta(minutes=1)
        if self.window % minute or self.every % minute:
            raise ValueError("window and every are whole minutes")
        return SegmentsConfig(
            by=self.by, budget=budget, min_ratio=self.min_ratio, fdr=self.fdr, confirm=confirm,
            of=of, min_events=self.min_events, window_minutes=self.window // minute,
            every_minutes=self.every // minute,
        )  # fmt: skip
