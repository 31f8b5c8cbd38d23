"""`opsgenie`: alerts of Jira Service Management Operations, and of Opsgenie until it ends.

https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v1/api-group-integration-events/
and https://docs.opsgenie.com/docs/alert-api: both take the same requests. Alerts of one `alias` are
one alert while it is open (its count goes up), so a repeated trigger is harmless. Requests are
answered 202 and carried out afterwards. What became of an alert is asked at the same resource of
Opsgenie, and in Jira at another API with other credentials (`GET /v1/alerts`,
https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v2/api-group-alerts/).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import httpx

from tocsin.delivery.answers import Answer
from tocsin.delivery.http import basic, call, json_object
from tocsin.delivery.message import Message, short_key, truncate
from tocsin.delivery.outcome import Delivered, Outcome, Rejected
from tocsin.domain.secret import Secret, secret
from tocsin.net.proof import check_bearer, keys

ADDRESSES = {
    "jsm": "https://api.atlassian.com/jsm/ops/integration/v2/alerts",
    "opsgenie": "https://api.opsgenie.com/v2/alerts",
}
LONGEST_MESSAGE = 130
LONGEST_ALIAS = 512
LONGEST_DESCRIPTION = 15_000
LONGEST_DETAILS = 8_000
LONGEST_NOTE = 25_000
LONGEST_ENTITY = 512
LONGEST_SOURCE = 100
LONGEST_TAG = 50
MOST_TAGS = 20
MOST_RESPONDERS = 50
_PRIORITIES = {"critical": "P1", "warning": "P3", "info": "P5"}
_RESPONDERS = {"team", "user", "escalation", "schedule"}
_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")
_ANSWERS: Mapping[str, Literal["acknowledge", "resolve"]] = {
    "Acknowledge": "acknowledge",
    "Close": "resolve",
}
# Who does what no person did: a policy of theirs, or we.
_NOBODY = frozenset({"", "Tocsin", "System"})
_VERBS = {"update": "notes", "acknowledge": "acknowledge", "resolve": "close"}


@dataclass(frozen=True, slots=True)
class OpsgenieConfig:
    """key: of an API integration. api: `jsm` (Jira Service Management) or `opsgenie`.

    url: another address of the alerts resource, e.g. https://api.eu.opsgenie.com/v2/alerts.
    responders: who is told, each {type: team | user | escalation | schedule, id: ...} (Opsgenie
    takes name or username as well); none: the integration's own. tags: put on every alert.
    callback_token: what its webhook integration sends as `Authorization: Bearer …`, to tell us of
    acknowledgements; previous_callback_token: the one before, while it is being replaced.
    api_token: what may read alerts, by which is asked as well, for webhooks that were lost or
    cannot reach us: a key of Opsgenie with read access, or an API token of the Atlassian account
    `username` (its mail address) with the `cloud_id` of the site. api_url: only to be changed for
    tests.
    """

    key: Secret
    api: Literal["jsm", "opsgenie"] = "jsm"
    url: str = ""
    responders: tuple[dict[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    callback_token: Secret | None = None
    previous_callback_token: Secret | None = None
    api_token: Secret | None = None
    username: str = ""
    cloud_id: str = ""
    api_url: str = "https://api.atlassian.com/jsm/ops/api"

    def __post_init__(self) -> None:
        for name in ("callback_token", "previous_callback_token", "api_token"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, secret(getattr(self, name)))
        object.__setattr__(self, "key", secret(self.key))
        knows_site = bool(self.username and self.cloud_id)
        if self.api_token is not None and self.api == "jsm" and not knows_site:
            raise ValueError("api_token: with api jsm it needs username and cloud_id as well")
        if len(self.responders) > MOST_RESPONDERS:
            raise ValueError(f"responders: at most {MOST_RESPONDERS}")
        for each in self.responders:
            named = {"id", "name", "username"} & set(each)
            if each.get("type") not in _RESPONDERS or len(named) != 1 or len(each) != 2:
                raise ValueError(
                    "responders: each is {type: team | user | escalation | schedule} and one of "
                    "id, name, username"
                )


class Opsgenie:
    """Opens, annotates, acknowledges and closes alerts."""

    Config: ClassVar[type[OpsgenieConfig]] = OpsgenieConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 5.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: OpsgenieConfig) -> None:
        self.config = config
        self._base = (config.url or ADDRESSES[config.api]).rstrip("/")

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """One request. A digest is refused: nobody is to be paged for what can wait."""
        if message.action == "digest":
            return Rejected("Opsgenie takes no digest")
        alias = alias_of(message.subject)
        verb = _VERBS.get(message.action)
        response = await call(
            http,
            "POST",
            f"{self._base}/{alias}/{verb}" if verb else self._base,
            at=message.at,
            secrets=[self.config.key],
            headers={"Authorization": f"GenieKey {self.config.key.reveal()}"},
            params={"identifierType": "alias"} if verb else None,
            body=_news(message) if verb else self._alert(message, alias),
        )
        if not isinstance(response, httpx.Response):
            return response
        request_id = (json_object(response) or {}).get("requestId", "")
        return Delivered({"alias": alias, "request_id": str(request_id)})

    @property
    def polls(self) -> bool:
        """Whether there is something that may read alerts."""
        return self.config.api_token is not None

    async def poll(
        self, reference: Mapping[str, Any], at: datetime, http: httpx.AsyncClient
    ) -> Answer | None:
        """What a person made of the alert. Jira does not say who closed one: that is left to its
        webhook."""
        token, alias = self.config.api_token, str(reference.get("alias", ""))
        if token is None or not alias:
            return None
        if self.config.api == "jsm":
            site = quote(self.config.cloud_id, safe="")
            url = f"{self.config.api_url.rstrip('/')}/{site}/v1/alerts"
            login = basic(self.config.username, token)
            newest = {"size": "1", "sort": "createdAt", "order": "desc"}
            params = {"query": f'alias: "{alias}"', **newest}
        else:
            url, login = f"{self._base}/{alias}", f"GenieKey {token.reveal()}"
            params = {"identifierType": "alias"}
        headers = {"Authorization": login}
        response = await call(
            http, "GET", url, at=at, secrets=[token], headers=headers, params=params
        )
        found = json_object(response) if isinstance(response, httpx.Response) else None
        action, who = _made_of(found or {}, alias)
        if action is None or who in _NOBODY:
            return None
        return Answer(action, f"opsgenie:{who}", told="record")

    @property
    def answers(self) -> bool:
        """Whether a webhook integration is configured."""
        return self.config.callback_token is not None

    def name_of(self, incident_id: str) -> str:
        """The alias of the incident's alert."""
        return alias_of(incident_id)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Answer]:
        """An outgoing webhook: {action, alert: {alias, username, updatedAt}}.

        These are not signed: a header with a shared token proves them. What we did ourselves comes
        back under our own name, and what a policy did has no person's.
        """
        check_bearer(keys(self.config.callback_token, self.config.previous_callback_token), headers)
        event = json.loads(body)
        action = _ANSWERS.get(event["action"])
        alert = event.get("alert") or {}
        who = str(alert.get("username") or "")
        if action is None or not alert.get("alias") or who in _NOBODY:
            return ()
        told = f"{event['action']}:{alert.get('alertId', '')}:{alert.get('updatedAt', '')}"
        return (Answer(action, f"opsgenie:{who}", str(alert["alias"]), told),)

    def _alert(self, message: Message, alias: str) -> dict[str, Any]:
        alert: dict[str, Any] = {
            "message": truncate(message.headline, LONGEST_MESSAGE),
            "alias": alias,
            "description": truncate(message.text(), LONGEST_DESCRIPTION),
            "priority": _PRIORITIES.get(message.severity, "P3"),
            "source": "Tocsin",
            "entity": truncate(message.service, LONGEST_ENTITY),
            "tags": [truncate(tag, LONGEST_TAG) for tag in self.config.tags[:MOST_TAGS]],
            "details": _details(message),
        }
        if self.config.responders:
            alert["responders"] = list(self.config.responders)
        return alert


def alias_of(subject: str) -> str:
    """The alias of an incident's episode, in characters that are safe within an address."""
    alias = _UNSAFE.sub("-", subject)
    if alias != subject:  # two subjects must not become one alias
        alias = f"{alias}-{hashlib.sha256(subject.encode()).hexdigest()[:12]}"
    return short_key(alias, LONGEST_ALIAS)


# --- private -----------------------------------------------------------------------------------


def _made_of(
    found: Mapping[str, Any], alias: str
) -> tuple[Literal["acknowledge", "resolve"] | None, str]:
    """What was made of an alert, and by whom: Opsgenie's `data`, or the first of Jira's `values`,
    where whoever acknowledges becomes the owner."""
    values = found.get("values")
    alert = values[0] if isinstance(values, list) and values else found.get("data")
    if not isinstance(alert, dict) or alert.get("alias") != alias:
        return None, ""
    report = alert.get("report")
    report = report if isinstance(report, dict) else {}
    if alert.get("status") == "closed":
        return "resolve", str(report.get("closedBy") or "")
    if alert.get("acknowledged") is True:
        return "acknowledge", str(report.get("acknowledgedBy") or alert.get("owner") or "")
    return None, ""


def _news(message: Message) -> dict[str, str]:
    note = f"{message.heading}\n{message.summary}\n{message.url}".strip()
    return {"source": "Tocsin", "user": "Tocsin", "note": truncate(note, LONGEST_NOTE)}


def _details(message: Message) -> dict[str, str]:
    """Labels and evidence, as many as the 8000 characters of all details hold."""
    details: dict[str, str] = {}
    room = LONGEST_DETAILS
    for name, value in (("url", message.url), *message.labels.items(), *message.evidence):
        text = truncate(value, 1_000)
        room -= len(name) + len(text)
        if room < 0:
            break
        details[name] = text
    return details
