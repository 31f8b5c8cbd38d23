"""The Receiver document: a channel by its type, and the channel's own settings.

No channel is known here by name: `type` is looked up in the registry of channels and the other
fields are checked against the settings that the channel declares (`tocsin.spec.plugins`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from tocsin.delivery.channel import Channel
from tocsin.delivery.channels import CHANNELS
from tocsin.domain.errors import Problem
from tocsin.spec.plugins import PluginName, Plugins, PluginShape, Secrets, fit_settings
from tocsin.spec.yaml import Located


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody or something that is told.

    type: the channel's name. channel: what it is told through; None without its secrets (a plan).
    """

    name: str
    type: str
    channel: Channel | None = field(default=None, compare=False)
    can_acknowledge: bool = False


class ReceiverShape(PluginShape):
    """Somebody or something that is told. The other fields are settings of the type."""

    plugins: ClassVar[Plugins] = CHANNELS

    type: Annotated[str, PluginName("receiver", CHANNELS)]

    def build(
        self, name: str, located: Located, secrets: Secrets | None
    ) -> tuple[Receiver, list[Problem]]:
        """The receiver, with its secrets filled in if there is a way to; and what is wrong."""
        made = CHANNELS[self.type]
        config, problems = fit_settings(made.Config, self.settings, located, secrets)
        # Every message links to its incident, where a person can acknowledge it.
        answers = bool(getattr(made, "can_acknowledge", True))
        channel = None if config is None else made(config)
        return Receiver(name, self.type, channel, answers), problems
