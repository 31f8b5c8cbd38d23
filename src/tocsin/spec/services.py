"""The Service document: what is watched, whose it is, and how loud Tocsin may be about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tocsin.routing.policy import Mode
from tocsin.spec.shape import OneOrMany, Shape, Text

Exposure = Literal["customer", "internal"]
Risk = Literal["low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True)
class Service:
    """One production service that calls LLMs.

    project, service_name: what the telemetry calls it; project "" matches any. mode: how much may
    leave the house: observe (nothing), notify (no paging), page (all of it). depends_on: what else
    it uses and does not own, beside its provider.
    """

    name: str
    display_name: str
    team: str = ""
    business_unit: str = ""
    owner: str = ""
    env: str = "prod"
    exposure: Exposure = "customer"
    risk_tier: Risk = "medium"
    regulated: bool = False
    provider: str = ""
    model: str = ""
    mode: Mode = "page"
    description: str = ""
    runbook: str = ""
    first_steps: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()
    project: str = ""
    service_name: str = ""
    depends_on: tuple[str, ...] = ()

    @property
    def dependencies(self) -> tuple[str, ...]:
        """What it uses and does not own: its provider, and what else it names; each once."""
        named = (self.provider, *self.depends_on)
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def labels(self) -> Mapping[str, str]:
        """What every alert of this service carries; empty ones are left out."""
        found = {
            "env": self.env,
            "team": self.team,
            "business_unit": self.business_unit,
            "exposure": self.exposure,
            "risk_tier": self.risk_tier,
            "regulated": "true" if self.regulated else "",
            "provider": self.provider,
            "model": self.model,
        }
        return {name: value for name, value in found.items() if value}

    def matches(self, project: str, service_name: str) -> bool:
        """Whether telemetry of this project and service.name belongs to this service."""
        return service_name == self.service_name and self.project in ("", project)


class MatchShape(Shape):
    """How the telemetry of a service is recognised."""

    project: str = ""
    service_name: str = Field(
        default="", alias="service.name", description="by default the name of the document"
    )


class ServiceShape(Shape):
    """A production service that calls LLMs: whose it is, and how loud Tocsin may be about it."""

    display_name: str = ""
    description: str = ""
    team: Annotated[Text, Field(description="who owns it; routing sees it as the label `team`")]
    business_unit: Annotated[
        str, Field(description="whose business it serves; fleet and reports add up by it")
    ] = ""
    owner: Annotated[str, Field(description="a person or mailbox to ask")] = ""
    env: Annotated[Text, Field(description="only `prod` pages in the usual routing")] = "prod"
    exposure: Annotated[
        Exposure, Field(description="who notices when it fails; the louder one by default")
    ] = "customer"
    risk_tier: Risk = "medium"
    regulated: Annotated[
        bool, Field(description="a person closes its incidents; nothing is mitigated by itself")
    ] = False
    provider: str = ""
    model: str = ""
    mode: Annotated[
        Mode, Field(description="observe: tell nobody; notify: do not page; page: everything")
    ] = "page"
    runbook: Annotated[str, Field(description="an address that every page links to")] = ""
    first_steps: Annotated[
        OneOrMany, Field(description="what to try first; part of every page")
    ] = ()
    dimensions: Annotated[
        OneOrMany, Field(description="attributes of a call that a breakdown may slice by")
    ] = ()
    depends_on: Annotated[
        OneOrMany,
        Field(description="what else it uses and does not own: a vector database, a gateway"),
    ] = ()
    match: MatchShape = MatchShape()

    def build(self, name: str, display_name: str) -> Service:
        """The same, as the rest of Tocsin reads it."""
        same = {field: getattr(self, field) for field in _SAME}
        return Service(
            name=name,
            display_name=self.display_name or display_name or name,
            project=self.match.project,
            service_name=self.match.service_name or name,
            **same,
        )


_SAME = (
    "description", "team", "business_unit", "owner", "env", "exposure", "risk_tier", "regulated",
    "provider", "model", "mode", "runbook", "first_steps", "dimensions", "depends_on",
)  # fmt: skip


class OpenSLOServiceShape(Shape):
    """OpenSLO's Service: a name and a description."""

    description: str = ""
