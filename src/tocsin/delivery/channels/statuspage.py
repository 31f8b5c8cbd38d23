"""`statuspage`: incidents on a public page of Atlassian Statuspage.

https://developer.statuspage.io: POST /v1/pages/{page_id}/incidents, later PATCH. The public reads
it, so it says what the configuration says and nothing else: no titles, labels or evidence of ours.
One request a second; the answer to more is 420 or 429.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import httpx

from tocsin.delivery.answers import Answer
from tocsin.delivery.http import call, json_object
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Ambiguous, Delivered, Looked, Outcome, Rejected, not_now
from tocsin.domain.secret import Secret, secret

LONGEST_NAME = 200
LONGEST_BODY = 25_000
LONGEST_META = 500
_STATES = {
    "trigger": "investigating",
    "acknowledge": "identified",
    "resolve": "resolved",
}
_ANSWERS: Mapping[str, Literal["acknowledge", "resolve"]] = {
    "identified": "acknowledge",
    "monitoring": "acknowledge",
    "resolved": "resolve",
    "postmortem": "resolve",
}


@dataclass(frozen=True, slots=True)
class StatuspageConfig:
    """api_key, page_id: of the page. name: the public title. The three texts: what its readers are
    told when it begins, when somebody is at work, and when it is over.

    components: ids of those that are affected; status: what they are while it lasts. notify:
    whether subscribers get mail. url: only to be changed for tests.
    """

    api_key: Secret
    page_id: str
    name: str
    investigating: str = "We are investigating degraded quality of this service."
    identified: str = "We have identified the cause and are working on it."
    resolved: str = "This incident has been resolved."
    components: tuple[str, ...] = ()
    status: Literal["degraded_performance", "partial_outage", "major_outage"] = (
        "degraded_performance"
    )
    notify: bool = True
    url: str = "https://api.statuspage.io"

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", secret(self.api_key))
        if not self.page_id or not self.name:
            raise ValueError("page_id and name: a public incident needs both")
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"name: at most {LONGEST_NAME} characters")


class Statuspage:
    """Opens, updates and resolves public incidents."""

    Config: ClassVar[type[StatuspageConfig]] = StatuspageConfig
    is_idempotent: ClassVar[bool] = False
    rate_per_s: ClassVar[float] = 0.5
    can_acknowledge: ClassVar[bool] = False

    def __init__(self, config: StatuspageConfig) -> None:
        self.config = config
        page = quote(config.page_id, safe="")
        self._resource = f"{config.url.rstrip('/')}/v1/pages/{page}/incidents"

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """The public incident, opened or moved on. A digest is refused: it is not public."""
        if message.action == "digest":
            return Rejected("a status page takes no digest")
        thread = message.thread or {}
        known = str(thread.get("id", ""))
        is_news = message.action in {"trigger", "update"} and thread.get("state") != "resolved"
        if known and is_news:
            return Delivered({"id": known})  # our escalations and news are not for the public
        state = _STATES.get(message.action, "investigating")
        path = f"/{quote(known, safe='')}" if known else ""
        body = {"incident": self._incident(message, state, is_new=not known)}
        method = "PATCH" if known else "POST"
        response = await self._call(http, method, path, message.at, body)
        if not isinstance(response, httpx.Response):
            return response
        made = (json_object(response) or {}).get("id") or known
        if not made:
            return Ambiguous("Statuspage did not say which incident it made")
        return Delivered(_reference(str(made), message))

    async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Looked:
        """Look for the effect's key in what the page's newest incidents say of themselves."""
        response = await self._call(http, "GET", "", message.at, None)
        if not isinstance(response, httpx.Response):
            return not_now(response)
        try:
            found = response.json()
        except ValueError:
            return None
        for each in found if isinstance(found, list) else ():
            if isinstance(each, dict) and _key_of(each) == truncate(message.key, LONGEST_META):
                return Delivered(_reference(str(each.get("id", "")), message))
        return None

    @property
    def polls(self) -> bool:
        """Always: the credentials that send may read as well."""
        return True

    async def poll(
        self, reference: Mapping[str, Any], at: datetime, http: httpx.AsyncClient
    ) -> Answer | None:
        """What a person made of the public incident: identified or monitoring is acknowledged.

        The page does not say who. Its webhooks go to subscribers and are not signed: not taken.
        """
        if not reference.get("id"):
            return None
        response = await self._call(http, "GET", f"/{quote(str(reference['id']), safe='')}", at)
        found = json_object(response) if isinstance(response, httpx.Response) else None
        action = _ANSWERS.get(str((found or {}).get("status")))
        return Answer(action, "statuspage:somebody", told="record") if action else None

    async def _call(
        self, http: httpx.AsyncClient, method: str, path: str, at: datetime, body: Any = None
    ) -> httpx.Response | Outcome:
        return await call(
            http,
            method,
            self._resource + path,
            at=at,
            secrets=[self.config.api_key],
            headers={"Authorization": f"OAuth {self.config.api_key.reveal()}"},
            body=body,
        )

    def _incident(self, message: Message, state: str, *, is_new: bool) -> dict[str, Any]:
        config = self.config
        status = "operational" if state == "resolved" else config.status
        incident: dict[str, Any] = {
            "status": state,
            "body": truncate(str(getattr(config, state)), LONGEST_BODY),
            "deliver_notifications": config.notify,
            "metadata": {"tocsin": {"key": truncate(message.key, LONGEST_META)}},
        }
        if is_new:
            incident["name"] = config.name
        if config.components:
            incident["component_ids"] = list(config.components)
            incident["components"] = dict.fromkeys(config.components, status)
        return incident


# --- private -----------------------------------------------------------------------------------


def _reference(incident: str, message: Message) -> dict[str, str]:
    """state: that it is over, so that what comes back within its cooldown is opened again."""
    return {"id": incident} | ({"state": "resolved"} if message.action == "resolve" else {})


def _key_of(incident: dict[str, Any]) -> str:
    metadata = incident.get("metadata")
    ours = metadata.get("tocsin") if isinstance(metadata, dict) else None
    return str(ours.get("key", "")) if isinstance(ours, dict) else ""
