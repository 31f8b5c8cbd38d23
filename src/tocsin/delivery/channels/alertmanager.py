"""`alertmanager`: a Prometheus Alertmanager that tells people in the way it always did.

API v2 (openapi.yaml of prometheus/alertmanager, POST /api/v2/alerts): an alert is known by its
labels, and firing until `endsAt`. What is sent again is the same alert, so nothing is told twice.
The members of a cluster do not hand alerts on to each other: name them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import httpx

from tocsin.delivery.http import basic, call
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Rejected
from tocsin.domain.clock import iso
from tocsin.domain.secret import Secret, secret

LONGEST_VALUE = 2_000
MOST_LABELS = 30
_NAME = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class AlertmanagerConfig:
    """urls: of every member of the cluster. token, or username and password: if it asks for them.

    holds: how many days an alert stays when neither news nor the end of it arrive; a resolved
    alert must never be the sign that Tocsin is gone.
    """

    urls: tuple[str, ...]
    token: Secret | None = None
    username: str = ""
    password: Secret | None = None
    holds: int = 7

    def __post_init__(self) -> None:
        for name in ("token", "password"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, secret(value))
        if not self.urls:
            raise ValueError("urls: name at least one Alertmanager")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password: set both or neither")
        if self.token and self.username:
            raise ValueError("set a token, or username and password, not both")
        if not 1 <= self.holds <= 365:
            raise ValueError("holds: 1 to 365 days")


class Alertmanager:
    """Posts alerts to every member of a cluster."""

    Config: ClassVar[type[AlertmanagerConfig]] = AlertmanagerConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 20.0
    can_acknowledge: ClassVar[bool] = False

    def __init__(self, config: AlertmanagerConfig) -> None:
        self.config = config

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """The alert to each member; accepted when one has it. A digest is refused."""
        if message.action == "digest":
            return Rejected("Alertmanager takes no digest")
        labels = labels_of(message)
        alerts = [self._alert(message, labels)]
        before = (message.thread or {}).get("labels")
        if isinstance(before, Mapping) and dict(before) != labels:
            # With another severity it is another alert there; the old one must not go on firing.
            alerts.append({**alerts[0], "labels": dict(before), "endsAt": iso(message.at)})
        outcomes = [await self._post(url, alerts, message, http) for url in self.config.urls]
        accepted = [each for each in outcomes if isinstance(each, httpx.Response)]
        if accepted:
            return Delivered({"labels": labels})
        failed = [each for each in outcomes if not isinstance(each, httpx.Response)]
        return min(
            failed, key=lambda each: (isinstance(each, Rejected), isinstance(each, Ambiguous))
        )

    async def _post(
        self, url: str, alerts: list[dict[str, Any]], message: Message, http: httpx.AsyncClient
    ) -> httpx.Response | Outcome:
        headers = {}
        if self.config.token is not None:
            headers["Authorization"] = f"Bearer {self.config.token.reveal()}"
        elif self.config.password is not None:
            headers["Authorization"] = basic(self.config.username, self.config.password)
        return await call(
            http,
            "POST",
            f"{url.rstrip('/')}/api/v2/alerts",
            at=message.at,
            secrets=[self.config.token, self.config.password],
            headers=headers,
            body=alerts,
        )

    def _alert(self, message: Message, labels: dict[str, str]) -> dict[str, Any]:
        ends = message.at
        if message.action != "resolve":
            ends += timedelta(days=self.config.holds)
        return {
            "labels": labels,
            "annotations": _annotations(message),
            "startsAt": iso(_start(message)),
            "endsAt": iso(ends),
            "generatorURL": message.url,
        }


def labels_of(message: Message) -> dict[str, str]:
    """What the alert is known by there: the incident, what it is about, and how severe it is."""
    own = {
        "alertname": message.labels.get("signal", "") or "TocsinIncident",
        "severity": message.severity,
        "tocsin_incident": truncate(message.subject, LONGEST_VALUE),
    }
    theirs = {
        _NAME.sub("_", f"_{name}" if name[:1].isdigit() else name): truncate(value, LONGEST_VALUE)
        for name, value in list(message.labels.items())[:MOST_LABELS]
        if name and value
    }
    return {**theirs, **own}


# --- private -----------------------------------------------------------------------------------


def _annotations(message: Message) -> dict[str, str]:
    found = {
        "summary": message.headline,
        "description": truncate(message.text(), 4 * LONGEST_VALUE),
        "runbook_url": message.runbook,
    }
    return {name: truncate(text, 4 * LONGEST_VALUE) for name, text in found.items() if text}


def _start(message: Message) -> datetime:
    return min(message.since or message.at, message.at)
