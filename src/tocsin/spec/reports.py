"""The Report document: what is told to whom at the end of every week or month."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tocsin.reports.kinds import TEMPLATES
from tocsin.spec.duty import Cron
from tocsin.spec.references import EVERY
from tocsin.spec.shape import OneOrMany, Shape, Zone

Period = Literal["week", "month"]
Format = Literal["html", "json", "csv", "pdf"]


def _check_template(name: str) -> str:
    if name not in TEMPLATES:
        raise ValueError(f"must be one of {', '.join(TEMPLATES)}, not {name!r}")
    return name


class ReportShape(Shape):
    """A report over the last complete week or month, made on demand and, with `cron`, by itself."""

    template: Annotated[
        str,
        AfterValidator(_check_template),
        Field(description="what it is about", json_schema_extra={"enum": [*TEMPLATES]}),
    ]
    period: Annotated[Period, Field(description="weeks begin on Monday")] = "week"
    tz: Annotated[Zone, Field(description="whose weeks, months and days they are")] = "UTC"
    services: Annotated[OneOrMany, Field(description="which services; by default all")] = (EVERY,)
    group_by: Annotated[
        OneOrMany,
        Field(description="labels of services to roll up by: team, risk_tier, exposure, env"),
    ] = ()
    cron: Annotated[Cron | None, Field(description="when it is made and sent, in `tz`")] = None
    to: Annotated[OneOrMany, Field(description="receivers that are told and given the link")] = ()
    formats: Annotated[
        tuple[Format, ...], Field(min_length=1, description="the files that are kept")
    ] = ("html", "json", "csv")

    @model_validator(mode="after")
    def _is_sent_at_some_time(self) -> ReportShape:
        if self.to and self.cron is None:
            raise ValueError("to needs cron: say when it is sent")
        return self

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names of services, () for all."""
        return () if EVERY in self.services else self.services
