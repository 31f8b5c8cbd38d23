"""The StatusPage document: what the public may know of some services."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tocsin.spec.shape import Shape, Text, Zone

Automatic = Literal["none", "degraded", "full"]


class StatusComponentShape(Shape):
    """A part of the page: what customers call it, and what it rests on."""

    name: Annotated[Text, Field(description="as customers call it")]
    description: str = ""
    group: Annotated[str, Field(description="components of one group stand together")] = ""
    service: Annotated[str, Field(description="its share of good calls is the uptime")]
    objectives: Annotated[
        tuple[str, ...],
        Field(description="whose alerts show; by default every alert of the service that pages"),
    ] = ()


class StatusPageShape(Shape):
    """A page for customers, and the same as JSON, Atom and RSS, readable by everybody who can reach
    the server. It says what is named here and what a person publishes, and nothing else.
    """

    url: Annotated[str, Field(description="where customers reach the page, for links in feeds")] = (
        ""
    )
    timezone: Zone = "UTC"
    automatic: Annotated[
        Automatic,
        Field(
            description="what alerts may say by themselves: nothing, that a component is degraded,"
            " or everything up to a major outage"
        ),
    ] = "degraded"
    subscribers: Annotated[
        str,
        Field(
            description="a Receiver of type email, whose mail server sends what is published to"
            " whoever subscribed; by default nobody can subscribe"
        ),
    ] = ""
    webhooks: Annotated[
        str,
        Field(
            description="a Receiver of type status_webhook, which posts what is published to the"
            " endpoints of whoever subscribed; by default no endpoint can be subscribed"
        ),
    ] = ""
    components: Annotated[tuple[StatusComponentShape, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_components_once(self) -> StatusPageShape:
        names = [component.name for component in self.components]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two components are named {twice[0]!r}")
        return self
