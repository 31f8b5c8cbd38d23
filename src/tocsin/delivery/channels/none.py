"""`none`: nobody is told; what ends here is seen on the dashboard only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import httpx

from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Delivered, Outcome


@dataclass(frozen=True, slots=True)
class NoneConfig:
    """It has no settings."""


class Nobody:
    """Accepts everything and sends nothing."""

    Config: ClassVar[type[NoneConfig]] = NoneConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 1_000.0
    can_acknowledge: ClassVar[bool] = False

    def __init__(self, config: NoneConfig) -> None:
        self.config = config

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """Done at once."""
        return Delivered()
