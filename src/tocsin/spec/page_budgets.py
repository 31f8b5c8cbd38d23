"""The PageBudget document: how many false pages a week a team bears, over all its detectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from tocsin.spec.references import EVERY
from tocsin.spec.services import Service
from tocsin.spec.shape import OneOrMany, Shape


class PageBudgetShape(Shape):
    """How many false pages and tickets a week a team bears, over all detectors of its services.

    Detectors whose evidence is a probability share it: count_scan, pace_shift and committee. Their
    limits are found from what they saw; a `threshold` that a Detector states is the least that is
    told. Objectives, breach monitors, missing calls, other detectors are outside of it and tell
    what they always did.
    """

    team: Annotated[str, Field(description="the services of this team")] = ""
    services: Annotated[
        OneOrMany, Field(description='these services instead, or "*" for every one')
    ] = ()
    pages_per_week: Annotated[
        float, Field(gt=0, le=1000, description="false pages, as a mean over some weeks")
    ]
    tickets_per_week: Annotated[
        float, Field(gt=0, le=10_000, description="false tickets, of what does not page")
    ] = 20.0

    @model_validator(mode="after")
    def _is_somebodys(self) -> PageBudgetShape:
        if bool(self.team) == bool(self.services):
            raise ValueError("give either team: NAME or services: [NAME, ...]")
        if self.tickets_per_week < self.pages_per_week:
            raise ValueError(
                "ticketsPerWeek is at least pagesPerWeek: a ticket needs less evidence"
            )
        return self

    def covers(self, service: Service) -> bool:
        """Whether the detectors of `service` share it."""
        if self.team:
            return service.team == self.team
        return self.services == (EVERY,) or service.name in self.services
