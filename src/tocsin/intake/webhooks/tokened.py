"""`alertmanager`, `datadog`: webhooks that can send a header and sign nothing.

Alertmanager: `http_config.authorization`. Datadog: custom headers of the webhook.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from tocsin.intake.alerts.alertmanager import webhook
from tocsin.intake.alerts.datadog import datadog
from tocsin.intake.alerts.incoming import Told
from tocsin.intake.webhook import TokenConfig, Tokened


class Alertmanager(Tokened):
    """Alertmanager's webhook, version 4."""

    Config: ClassVar[type[TokenConfig]] = TokenConfig

    def read(self, body: Any, now: datetime) -> Told:
        """Its alerts."""
        return webhook(body, now)


class Datadog(Tokened):
    """Datadog's webhook with the payload template of the guide."""

    Config: ClassVar[type[TokenConfig]] = TokenConfig

    def read(self, body: Any, now: datetime) -> Told:
        """Its alert."""
        return datadog(body, now)
