"""`servicenow`: one record of the incident table per incident.

https://docs.servicenow.com, Table API: `correlation_id` says whose record it is; the table does not
keep it unique, so after an unclear send Tocsin looks for it first. News are work notes. A 2xx that
is no JSON is the page of an instance that hibernates: nothing was accepted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import httpx

from tocsin.delivery.answers import Answer
from tocsin.delivery.http import basic, call, json_object
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Ambiguous, Delivered, Looked, Outcome, Retry, not_now
from tocsin.domain.secret import Secret, secret
from tocsin.net.proof import check_bearer, check_standard, keys, standard_key

LONGEST_SHORT = 160
LONGEST_TEXT = 4_000
_URGENCY = {"critical": "1", "warning": "2", "info": "3"}
IN_PROGRESS, RESOLVED, CLOSED = "2", "6", "7"
_ANSWERS: Mapping[str, Literal["acknowledge", "resolve"]] = {
    IN_PROGRESS: "acknowledge",
    RESOLVED: "resolve",
    CLOSED: "resolve",
}


@dataclass(frozen=True, slots=True)
class ServiceNowConfig:
    """url: https://<instance>.service-now.com. token (OAuth), or username and password: of a user
    with the role itil or sn_incident_write.

    fields: more fields of a new record, e.g. {category: software}. resolve: whether the end of an
    incident resolves its record, with close_code; false leaves it to people. webhook_secret: by
    which a business rule signs what it tells us at once of what people did, whsec_ and base64 as
    Standard Webhooks has it; callback_token: what one that cannot sign sends instead, as
    `Authorization: Bearer …`. Without either ServiceNow is asked. previous_webhook_secret,
    previous_callback_token: the one before, while it is being replaced.
    """

    url: str
    username: str = ""
    password: Secret | None = None
    token: Secret | None = None
    table: str = "incident"
    assignment_group: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    resolve: bool = True
    close_code: str = "Solution provided"
    callback_token: Secret | None = None
    previous_callback_token: Secret | None = None
    webhook_secret: Secret | None = None
    previous_webhook_secret: Secret | None = None

    def __post_init__(self) -> None:
        for name in ("password", "token", "callback_token", "previous_callback_token",
                     "webhook_secret", "previous_webhook_secret"):  # fmt: skip
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, secret(value))
        for signing in keys(self.webhook_secret, self.previous_webhook_secret):
            standard_key(signing)
        if (self.token is None) == (self.password is None):
            raise ValueError("set either a token, or username and password")
        if self.password is not None and not self.username:
            raise ValueError("username and password: set both or neither")
        if not self.table.replace("_", "").isalnum():
            raise ValueError("table: the name of a table, e.g. incident")


class ServiceNow:
    """Opens, annotates and resolves records."""

    Config: ClassVar[type[ServiceNowConfig]] = ServiceNowConfig
    is_idempotent: ClassVar[bool] = False
    rate_per_s: ClassVar[float] = 2.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: ServiceNowConfig) -> None:
        self.config = config
        self._table = f"{config.url.rstrip('/')}/api/now/table/{config.table}"
        self._secrets = [config.password, config.token]

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """The record, or what changes in it."""
        known = dict(message.thread or {})
        if known.get("sys_id"):
            path, body = f"/{quote(str(known['sys_id']), safe='')}", self._news(message)
        else:
            path, body = "", self._record(message)
        response = await self._call(http, "PATCH" if path else "POST", path, message.at, body)
        if not isinstance(response, httpx.Response):
            return response
        found = (json_object(response) or {}).get("result")
        if not isinstance(found, dict):
            if "html" in response.headers.get("content-type", ""):
                return Retry("the instance answered with a page, not with data: it hibernates")
            return Ambiguous("ServiceNow answered with something that is not a record")
        return Delivered({name: str(found.get(name, "")) for name in ("sys_id", "number")})

    async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Looked:
        """Look for the record by its correlation id; a work note may be written twice."""
        if message.thread:
            return None
        query = f"correlation_id={correlation_id(message.subject)}^ORDERBYDESCsys_created_on"
        params = {"sysparm_query": query, "sysparm_limit": "1", "sysparm_fields": "sys_id,number"}
        response = await self._call(http, "GET", "", message.at, None, params)
        if not isinstance(response, httpx.Response):
            return not_now(response)
        found = json_object(response)
        records = (found or {}).get("result")
        if not isinstance(records, list) or not records:
            return None
        return Delivered({name: str(records[0].get(name, "")) for name in ("sys_id", "number")})

    @property
    def polls(self) -> bool:
        """Always: the credentials that send may read as well."""
        return True

    async def poll(
        self, reference: Mapping[str, Any], at: datetime, http: httpx.AsyncClient
    ) -> Answer | None:
        """In progress is acknowledged, resolved or closed is resolved."""
        if not reference.get("sys_id"):
            return None
        path = f"/{quote(str(reference['sys_id']), safe='')}"
        params = {"sysparm_fields": "state,assigned_to", "sysparm_display_value": "all"}
        response = await self._call(http, "GET", path, at, None, params)
        found = json_object(response) if isinstance(response, httpx.Response) else None
        record = (found or {}).get("result")
        if not isinstance(record, dict):
            return None
        state = (record.get("state") or {}).get("value")
        who = (record.get("assigned_to") or {}).get("display_value") or "somebody"
        action = _ANSWERS.get(str(state))
        return Answer(action, f"servicenow:{who}", told="record") if action else None

    @property
    def answers(self) -> bool:
        """Whether a business rule is configured."""
        return bool(self.config.callback_token or self.config.webhook_secret)

    def name_of(self, incident_id: str) -> str:
        """The record's correlation id."""
        return correlation_id(incident_id)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Answer]:
        """The request of the business rule that the guide gives: {correlation_id, state, user, at}.

        ServiceNow signs nothing by itself: the rule does, or a shared token proves it.
        """
        config = self.config
        if "webhook-signature" in headers:
            secrets = keys(config.webhook_secret, config.previous_webhook_secret)
            check_standard(secrets, headers, body, now)
        else:
            check_bearer(keys(config.callback_token, config.previous_callback_token), headers)
        event = json.loads(body)
        action, name = _ANSWERS.get(str(event["state"])), str(event["correlation_id"])
        if action is None:
            return ()
        who = f"servicenow:{event.get('user') or 'somebody'}"
        told = f"{name}:{event['state']}:{event.get('at', '')}"
        return (Answer(action, who, name, told, "record"),)

    def _record(self, message: Message) -> dict[str, str]:
        urgency = _URGENCY.get(message.severity, "3")
        record = {
            **self.config.fields,
            "short_description": truncate(" ".join(message.headline.split()), LONGEST_SHORT),
            "description": truncate(message.text(), LONGEST_TEXT),
            "urgency": urgency,
            "impact": urgency,
            "correlation_id": correlation_id(message.subject),
            "correlation_display": "Tocsin",
        }
        if self.config.assignment_group:
            record["assignment_group"] = self.config.assignment_group
        return record

    def _news(self, message: Message) -> dict[str, str]:
        note = truncate(f"{message.heading}\n{message.summary}\n{message.url}", LONGEST_TEXT)
        news = {"work_notes": note}
        if message.action == "acknowledge":
            news["state"] = IN_PROGRESS
        if message.action == "resolve" and self.config.resolve:
            notes = message.summary or message.heading
            news |= {"state": RESOLVED, "close_code": self.config.close_code, "close_notes": notes}
        return news

    async def _call(
        self,
        http: httpx.AsyncClient,
        method: str,
        path: str,
        at: datetime,
        body: Any,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response | Outcome:
        token, password = self.config.token, self.config.password
        login = f"Bearer {token.reveal()}" if token is not None else ""
        if password is not None:
            login = basic(self.config.username, password)
        return await call(
            http,
            method,
            self._table + path,
            at=at,
            secrets=self._secrets,
            headers={"Authorization": login},
            body=body,
            params=params,
        )


def correlation_id(subject: str) -> str:
    """What the record of an incident is found by; nothing in it that a query would interpret."""
    return f"tocsin-{hashlib.sha256(subject.encode()).hexdigest()[:32]}"
