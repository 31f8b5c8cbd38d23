"""`grafana`: an annotation that spans an incident, on every dashboard that asks for its tags.

https://grafana.com/docs/grafana/latest/developers/http_api/annotations/: the first message makes
it, later ones change its text, the end gives it an end. Dashboards show it by the tag `tocsin`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, ClassVar

import httpx

from tocsin.delivery.http import call, json_object
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Ambiguous, Delivered, Looked, Outcome, Rejected, not_now
from tocsin.domain.secret import Secret, secret

TAG = "tocsin"
LONGEST_TEXT = 10_000
LONGEST_TAG = 100


@dataclass(frozen=True, slots=True)
class GrafanaConfig:
    """url: of Grafana. token: of a service account that may create, write and read annotations.

    dashboard_uid, panel_id: show it there only, instead of wherever its tags are asked for.
    """

    url: str
    token: Secret
    dashboard_uid: str = ""
    panel_id: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", secret(self.token))
        if self.panel_id and not self.dashboard_uid:
            raise ValueError("panel_id: name its dashboard too (dashboard_uid)")


class Grafana:
    """Makes annotations and keeps them current."""

    Config: ClassVar[type[GrafanaConfig]] = GrafanaConfig
    is_idempotent: ClassVar[bool] = False
    rate_per_s: ClassVar[float] = 5.0
    can_acknowledge: ClassVar[bool] = False

    def __init__(self, config: GrafanaConfig) -> None:
        self.config = config
        self._resource = f"{config.url.rstrip('/')}/api/annotations"

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """The annotation, made or brought up to date."""
        known = str((message.thread or {}).get("id", ""))
        if known:
            response = await self._call(http, "PATCH", f"/{known}", message, _content(message))
            if isinstance(response, httpx.Response):
                return Delivered({"id": known})
            if not (isinstance(response, Rejected) and response.reason.startswith("HTTP 404")):
                return response  # only if somebody deleted it is it made again
        body: dict[str, Any] = {"time": _ms(message.since or message.at), **_content(message)}
        if self.config.dashboard_uid:
            body["dashboardUID"] = self.config.dashboard_uid
        if self.config.panel_id:
            body["panelId"] = self.config.panel_id
        response = await self._call(http, "POST", "", message, body)
        if not isinstance(response, httpx.Response):
            return response
        made = (json_object(response) or {}).get("id")
        if made is None:
            return Ambiguous("Grafana did not say which annotation it made")
        return Delivered({"id": str(made)})

    async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Looked:
        """The annotation of the incident, if its first message made one."""
        if message.thread:
            return None  # a change may be made twice
        response = await call(
            http,
            "GET",
            self._resource,
            at=message.at,
            secrets=[self.config.token],
            headers=self._headers(),
            params={"tags": _tag_of(message), "type": "annotation", "limit": "1"},
        )
        if not isinstance(response, httpx.Response):
            return not_now(response)
        try:
            found = response.json()
        except ValueError:
            return None
        if isinstance(found, list) and found and isinstance(found[0], dict) and "id" in found[0]:
            return Delivered({"id": str(found[0]["id"])})
        return None

    async def _call(
        self, http: httpx.AsyncClient, method: str, path: str, message: Message, body: Any
    ) -> httpx.Response | Outcome:
        return await call(
            http,
            method,
            self._resource + path,
            at=message.at,
            secrets=[self.config.token],
            headers=self._headers(),
            body=body,
        )

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.config.token.reveal()}"}


# --- private -----------------------------------------------------------------------------------


def _content(message: Message) -> dict[str, Any]:
    tags = [TAG, _tag_of(message), message.severity, message.service, message.labels.get("env", "")]
    content: dict[str, Any] = {
        "text": _text(message),
        "tags": [truncate(tag, LONGEST_TAG) for tag in tags if tag],
    }
    if message.action == "resolve":
        content["timeEnd"] = _ms(message.at)
    return content


def _text(message: Message) -> str:
    """Grafana shows annotations as HTML, cleaned; text of others is shown as it is."""
    lines = [message.heading, message.summary, *message.items, *message.changes]
    text = truncate("\n".join(escape(line) for line in lines if line), LONGEST_TEXT - 2_200)
    if message.url.startswith(("https://", "http://")) and len(message.url) <= 2_000:
        text += f'\n<a href="{escape(message.url)}">Incident</a>'
    return text


def _tag_of(message: Message) -> str:
    """The tag that no other incident has."""
    return f"{TAG}:{hashlib.sha256(message.subject.encode()).hexdigest()[:16]}"


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
