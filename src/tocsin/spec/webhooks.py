"""The Webhook document: who may tell us something, how requests prove themselves, and about what.

No type is known here by name: `type` is looked up in the registry of webhooks and the other fields
are checked against the settings that the webhook declares (`tocsin.spec.plugins`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tocsin.domain.errors import Problem
from tocsin.intake.webhooks import WEBHOOKS
from tocsin.spec.plugins import PluginName, Plugins, PluginShape, Secrets, fit_settings
from tocsin.spec.yaml import Located


@dataclass(frozen=True, slots=True)
class ConfiguredWebhook:
    """Somebody who tells us something. service: whom it is about when it does not say; "" nobody.

    config: settings with secrets filled in, None without them (a plan).
    """

    name: str
    type: str
    service: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    config: Any = None


class WebhookShape(PluginShape):
    """Somebody who tells us something at `/hooks/<name>`. The other fields are settings of the
    type."""

    plugins: ClassVar[Plugins] = WEBHOOKS

    type: Annotated[str, PluginName("webhook", WEBHOOKS)]
    service: Annotated[
        str, Field(description="the Service that it is about when a request does not say")
    ] = ""
    labels: Annotated[
        dict[str, str], Field(description="labels of every alert that has none of that name")
    ] = Field(default_factory=dict)

    def build(
        self, name: str, located: Located, secrets: Secrets | None
    ) -> tuple[ConfiguredWebhook, list[Problem]]:
        """The webhook with its secrets filled in if there is a way to; and what is wrong."""
        kind = WEBHOOKS[self.type]
        config, problems = fit_settings(kind.Config, self.settings, located, secrets)
        return ConfiguredWebhook(name, self.type, self.service, dict(self.labels), config), problems
