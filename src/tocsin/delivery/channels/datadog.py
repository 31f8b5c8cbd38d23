"""`datadog`: events in Datadog's event stream, grouped by incident.

https://docs.datadoghq.com/api/latest/events/: events of one `aggregation_key` are shown together.
Each message is an event of its own; with an application key, one whose sending ended unclearly is
looked for by its tag before it is sent again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import httpx

from tocsin.delivery.http import call, json_object
from tocsin.delivery.message import Message, short_key, truncate
from tocsin.delivery.outcome import Delivered, Looked, Outcome, not_now
from tocsin.domain.secret import Secret, secret

LONGEST_TITLE = 500
LONGEST_TEXT = 4_000
LONGEST_KEY = 100
LONGEST_TAG = 200
MOST_TAGS = 30
_KINDS = {"critical": "error", "warning": "warning", "info": "info"}
_LOOKED_BACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DatadogConfig:
    """api_key: may submit events. app_key: with the scope events_read; finds what it sent.

    site: yours, e.g. datadoghq.eu or us5.datadoghq.com. url: only to be changed for tests.
    """

    api_key: Secret
    app_key: Secret | None = None
    site: str = "datadoghq.com"
    tags: tuple[str, ...] = ()
    url: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", secret(self.api_key))
        if self.app_key is not None:
            object.__setattr__(self, "app_key", secret(self.app_key))


class Datadog:
    """Posts events."""

    Config: ClassVar[type[DatadogConfig]] = DatadogConfig
    is_idempotent: ClassVar[bool] = False
    rate_per_s: ClassVar[float] = 5.0
    can_acknowledge: ClassVar[bool] = False

    def __init__(self, config: DatadogConfig) -> None:
        self.config = config
        base = config.url.rstrip("/") or f"https://api.{config.site}"
        self._resource = f"{base}/api/v1/events"
        self._secrets = [config.api_key, config.app_key]

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """One event."""
        response = await call(
            http,
            "POST",
            self._resource,
            at=message.at,
            secrets=self._secrets,
            headers={"DD-API-KEY": self.config.api_key.reveal()},
            body=self._event(message),
        )
        if not isinstance(response, httpx.Response):
            return response
        event = (json_object(response) or {}).get("event")
        return Delivered({"event_id": str(event.get("id", ""))} if isinstance(event, dict) else {})

    async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Looked:
        """Look for the event's tag among those of the last hour."""
        if self.config.app_key is None:
            return None
        response = await call(
            http,
            "GET",
            self._resource,
            at=message.at,
            secrets=self._secrets,
            headers={
                "DD-API-KEY": self.config.api_key.reveal(),
                "DD-APPLICATION-KEY": self.config.app_key.reveal(),
            },
            params={
                "start": str(int((message.at - _LOOKED_BACK).timestamp())),
                "end": str(int(message.at.timestamp()) + 60),
                "tags": _tag_of(message),
                "unaggregated": "true",
            },
        )
        if not isinstance(response, httpx.Response):
            return not_now(response)
        events = (json_object(response) or {}).get("events")
        if isinstance(events, list) and events and isinstance(events[0], dict):
            return Delivered({"event_id": str(events[0].get("id", ""))})
        return None

    def _event(self, message: Message) -> dict[str, Any]:
        labels = [f"{name}:{value}" for name, value in message.labels.items()]
        tags = [_tag_of(message), "source:tocsin", *self.config.tags, *labels][:MOST_TAGS]
        kind = _KINDS.get(message.severity, "info")
        return {
            "title": truncate(message.heading, LONGEST_TITLE),
            "text": truncate(message.text(), LONGEST_TEXT),
            "aggregation_key": short_key(message.subject, LONGEST_KEY),
            "alert_type": "success" if message.action == "resolve" else kind,
            "priority": "low" if message.tier > 2 else "normal",
            "tags": [truncate(tag, LONGEST_TAG) for tag in tags],
            "date_happened": int(message.at.timestamp()),
        }


# --- private -----------------------------------------------------------------------------------


def _tag_of(message: Message) -> str:
    """The tag that no other message has."""
    return f"tocsin_effect:{hashlib.sha256(message.key.encode()).hexdigest()[:16]}"
