"""`pagerduty`: Events API v2, one PagerDuty alert per episode of an incident, and change events.

https://developer.pagerduty.com/docs/events-api-v2/: events of one `dedup_key` sent with one routing
key belong to one alert while it is open, so a repeated trigger changes nothing and an episode has a
key of its own. 202 is accepted, 400 is final, 429 and 5xx are retried. A body of more than 512 KB
is refused; one that would be is sent without its details. Deploys and the like are change events
(docs/events-API-v2/03-Change-Events.md there), shown beside incidents; they notify nobody, and have
no key: one whose sending ended unclearly may be there twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

import httpx

from tocsin.delivery.answers import Answer
from tocsin.delivery.http import call, json_object, refusal, request
from tocsin.delivery.message import Message, short_key, truncate
from tocsin.delivery.outcome import Delivered, Outcome, Rejected
from tocsin.domain.clock import iso
from tocsin.domain.secret import Secret, secret
from tocsin.net.proof import check_hmac, keys

ENQUEUE, CHANGE_ENQUEUE = "/v2/enqueue", "/v2/change/enqueue"
LARGEST_BODY = 512_000
LONGEST_SUMMARY = 1024
LONGEST_KEY = 255
# Ours, so that what is not in the details is certain to fit.
LONGEST_LINK_TEXT = 200
LONGEST_HREF = 2000
MOST_LINKS = 50
_ANSWERS: Mapping[str, Literal["acknowledge", "resolve"]] = {
    "incident.acknowledged": "acknowledge",
    "incident.resolved": "resolve",
}
_STATUSES: Mapping[str, Literal["acknowledge", "resolve"]] = {
    "acknowledged": "acknowledge",
    "resolved": "resolve",
}
_REST = "application/vnd.pagerduty+json;version=2"
_ACTIONS = {
    "trigger": "trigger",
    "update": "trigger",
    "acknowledge": "acknowledge",
    "resolve": "resolve",
}


@dataclass(frozen=True, slots=True)
class PagerDutyConfig:
    """routing_key: the 32-character key of an Events API v2 integration.

    url: https://events.eu.pagerduty.com/v2/enqueue for the EU service region. changes: the services
    whose deploys, prompt versions and model switches become change events, "*" for all; the key's
    PagerDuty service is the one that shows them. webhook_secret: of a webhook subscription (v3)
    that tells us of acknowledgements; previous_webhook_secret: the one before, while it is being
    replaced. api_token: a read-only key of the REST API, by which PagerDuty is asked as well, for
    webhooks that were lost or cannot reach us; api_url: https://api.eu.pagerduty.com for the EU.
    """

    routing_key: Secret
    url: str = "https://events.pagerduty.com/v2/enqueue"
    client: str = "Tocsin"
    changes: tuple[str, ...] = ()
    webhook_secret: Secret | None = None
    previous_webhook_secret: Secret | None = None
    api_token: Secret | None = None
    api_url: str = "https://api.pagerduty.com"

    def __post_init__(self) -> None:
        object.__setattr__(self, "routing_key", secret(self.routing_key))
        for name in ("webhook_secret", "previous_webhook_secret", "api_token"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, secret(getattr(self, name)))
        if len(self.routing_key.reveal()) != 32:
            raise ValueError("routing_key: an Events API v2 integration key has 32 characters")
        if self.changes and not self.url.endswith(ENQUEUE):
            raise ValueError(f"url: must end in {ENQUEUE}, to know where change events go")


class PagerDuty:
    """Triggers, acknowledges and resolves PagerDuty alerts."""

    Config: ClassVar[type[PagerDutyConfig]] = PagerDutyConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 10.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: PagerDutyConfig) -> None:
        self.config = config

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """One event. A digest is refused: nobody is to be paged for what can wait."""
        if message.action == "change":
            url = self.config.url.removesuffix(ENQUEUE) + CHANGE_ENQUEUE
            outcome = await self._enqueue(url, _small(self._change(message)), message.at, http)
            return outcome or Delivered({})
        action = _ACTIONS.get(message.action)
        if action is None:
            return Rejected(f"PagerDuty takes no {message.action}")
        body = _small(self._event(message, action))
        outcome = await self._enqueue(self.config.url, body, message.at, http)
        return outcome or Delivered({"dedup_key": dedup_key(message.subject)})

    @property
    def polls(self) -> bool:
        """Whether a key of the REST API is configured."""
        return self.config.api_token is not None

    async def poll(
        self, reference: Mapping[str, Any], at: datetime, http: httpx.AsyncClient
    ) -> Answer | None:
        """What a person made of the incident (REST API, GET /incidents by its key)."""
        token, key = self.config.api_token, str(reference.get("dedup_key", ""))
        if token is None or not key:
            return None
        response = await call(
            http,
            "GET",
            f"{self.config.api_url.rstrip('/')}/incidents",
            at=at,
            secrets=[token],
            headers={"Authorization": f"Token token={token.reveal()}", "Accept": _REST},
            params={"incident_key": key, "sort_by": "created_at:desc", "limit": "1"},
        )
        found = json_object(response) if isinstance(response, httpx.Response) else None
        incidents = (found or {}).get("incidents")
        if not isinstance(incidents, list) or not incidents:
            return None
        action = _STATUSES.get(str(incidents[0].get("status")))
        by = incidents[0].get("last_status_change_by") or {}
        if action is None or not str(by.get("type", "")).startswith("user"):
            return None
        who = by.get("summary") or by.get("id") or "somebody"
        return Answer(action, f"pagerduty:{who}", told="record")

    @property
    def takes_changes(self) -> bool:
        """Whether change events are sent at all."""
        return bool(self.config.changes)

    def takes_changes_of(self, service: str) -> bool:
        """Whether change events of a service are."""
        return self.takes_changes and (
            not service or "*" in self.config.changes or service in self.config.changes
        )

    @property
    def answers(self) -> bool:
        """Whether a webhook subscription is configured."""
        return self.config.webhook_secret is not None

    def name_of(self, incident_id: str) -> str:
        """The incident's dedup key, which PagerDuty calls incident_key."""
        return dedup_key(incident_id)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Answer]:
        """A webhook of version 3; what no person did there is no answer.

        https://developer.pagerduty.com/docs/webhooks/: `X-PagerDuty-Signature` holds a signature
        per secret, comma-separated. Our own events come back as those of an integration, and an
        incident that PagerDuty closes by itself after some hours may still be burning.
        """
        secrets = keys(self.config.webhook_secret, self.config.previous_webhook_secret)
        offered = [part.strip() for part in headers.get("x-pagerduty-signature", "").split(",")]
        signatures = [part.removeprefix("v1=") for part in offered if part.startswith("v1=")]
        check_hmac(secrets, body, signatures)
        event = json.loads(body)["event"]
        action = _ANSWERS.get(event["event_type"])
        agent = event.get("agent") or {}
        key = event["data"].get("incident_key") if action else None
        if action is None or not key or not str(agent.get("type", "")).startswith("user"):
            return ()
        who = agent.get("summary") or agent.get("id") or "somebody"
        return (Answer(action, f"pagerduty:{who}", str(key), str(event["id"])),)

    async def _enqueue(
        self, url: str, body: bytes, at: datetime, http: httpx.AsyncClient
    ) -> Outcome | None:
        """None when it was accepted."""
        headers = {"Content-Type": "application/json"}
        response = await request(http, "POST", url, headers=headers, content=body)
        if not isinstance(response, httpx.Response):
            return response
        return refusal(response, at, [self.config.routing_key])

    def _change(self, message: Message) -> dict[str, Any]:
        about = f"{message.service}: {message.title}" if message.service else message.title
        details = {"kind": message.summary, "service": message.service, **message.labels}
        return {
            "routing_key": self.config.routing_key.reveal(),
            "payload": {
                "summary": truncate(about, LONGEST_SUMMARY),
                "source": truncate(message.service, LONGEST_SUMMARY) or "tocsin",
                "timestamp": iso(message.since or message.at),
                "custom_details": {name: text for name, text in details.items() if text},
            },
            "links": _links(message),
        }

    def _event(self, message: Message, action: str) -> dict[str, Any]:
        event: dict[str, Any] = {
            "routing_key": self.config.routing_key.reveal(),
            "event_action": action,
            "dedup_key": dedup_key(message.subject),
        }
        if action == "trigger":
            event |= self._details(message)
        return event

    def _details(self, message: Message) -> dict[str, Any]:
        event: dict[str, Any] = {
            "payload": {
                "summary": truncate(message.headline, LONGEST_SUMMARY),
                "source": truncate(message.service, LONGEST_SUMMARY) or "tocsin",
                "severity": message.severity,
                "timestamp": iso(message.since or message.at),
                "component": message.service,
                "group": message.labels.get("env", ""),
                "class": message.labels.get("signal", ""),
                "custom_details": _custom_details(message),
            },
            "client": self.config.client,
            "links": _links(message),
        }
        if message.url:
            event["client_url"] = message.url
        if message.image.startswith("https://"):  # PagerDuty shows images over HTTPS only
            event["images"] = [
                {"src": message.image, "alt": truncate(message.title, LONGEST_LINK_TEXT)}
            ]
        return event


def dedup_key(subject: str) -> str:
    """The key of an incident's episode; a long one keeps its beginning and ends in a hash."""
    return short_key(subject, LONGEST_KEY)


def _small(event: dict[str, Any]) -> bytes:
    """The event as it is sent, without its details if it were too large with them."""
    body = json.dumps(event).encode()
    if len(body) > LARGEST_BODY:
        event["payload"]["custom_details"] = {"note": "left out: the event was over 512 KB"}
        body = json.dumps(event).encode()
    return body


def _links(message: Message) -> list[dict[str, str]]:
    return [
        {"href": href, "text": truncate(text, LONGEST_LINK_TEXT)}
        for text, href in message.links[:MOST_LINKS]
        if len(href) <= LONGEST_HREF
    ]


def _custom_details(message: Message) -> dict[str, Any]:
    details: dict[str, Any] = {"what": message.summary, **dict(message.evidence)}
    for name, value in (
        ("just before", list(message.changes)),
        ("first steps", list(message.first_steps)),
        ("runbook", message.runbook),
        ("for", list(message.who)),
        ("also told", list(message.told)),
        ("note", message.note),
        ("labels", dict(message.labels)),
    ):
        if value:
            details[name] = value
    return details
