"""`jira`: one issue of Jira Cloud per incident.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/: there is no idempotency key and the
search index lags, so the issue carries a label of its own, its key is kept, and after an unclear
send Tocsin waits for the index before it looks and sends again. Comments carry a property. What
people write into the issue is never overwritten: news are comments. A picture is an attachment.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import httpx

from tocsin.delivery.answers import Answer
from tocsin.delivery.figure import Figure, png
from tocsin.delivery.http import basic, call, json_object, refusal, request
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Ambiguous, Delivered, Looked, Outcome, Rejected, not_now
from tocsin.domain.secret import Secret, secret
from tocsin.net.proof import check_hmac, keys

LONGEST_SUMMARY = 255
LONGEST_TEXT = 30_000
PROPERTY = "tocsin"
LABEL = "tocsin-"
# How long the search index may lag behind.
INDEX_LAG = timedelta(seconds=30)
# By the category of a status, which is the same whatever a project calls its statuses.
_ANSWERS: Mapping[str, Literal["acknowledge", "resolve"]] = {
    "indeterminate": "acknowledge",
    "done": "resolve",
}


@dataclass(frozen=True, slots=True)
class JiraConfig:
    """url: https://<site>.atlassian.net. email and token: of a user who may browse the project,
    create, comment on and move its issues.

    priorities: names for critical, warning and info, e.g. {critical: Highest}. resolve: whether the
    end of an incident moves its issue to a status of the category Done; false leaves it to people.
    done: the name of that status when there are several. webhook_secret: of a webhook of Jira that
    tells us at once what people did; without it Jira is asked. previous_webhook_secret: the one
    before, while it is being replaced. charts: a picture of what happened is attached.
    """

    url: str
    email: str
    token: Secret
    project: str
    issuetype: str = "Task"
    labels: tuple[str, ...] = ()
    priorities: dict[str, str] = field(default_factory=dict)
    resolve: bool = True
    done: str = ""
    webhook_secret: Secret | None = None
    previous_webhook_secret: Secret | None = None
    charts: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", secret(self.token))
        for name in ("webhook_secret", "previous_webhook_secret"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, secret(getattr(self, name)))
        if not self.project.replace("_", "").isalnum():
            raise ValueError("project: the key of a project, e.g. OPS")
        if any(" " in label for label in self.labels):
            raise ValueError("labels: a label has no spaces")


class Jira:
    """Opens, comments on and closes issues."""

    Config: ClassVar[type[JiraConfig]] = JiraConfig
    is_idempotent: ClassVar[bool] = False
    rate_per_s: ClassVar[float] = 2.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: JiraConfig) -> None:
        self.config = config
        self._api = f"{config.url.rstrip('/')}/rest/api/3"

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """The issue, or a comment on it; the end of the incident moves it too."""
        known = str((message.thread or {}).get("key", ""))
        if message.figure is not None:
            return await self._attach(known, message, message.figure, http)
        if not known:
            return await self._create(message, http)
        issue = f"/issue/{quote(known, safe='')}"
        if message.action == "resolve" and self.config.resolve:
            moved = await self._close(issue, message, http)
            if moved is not None:
                return moved
        comment = {
            "body": _document(f"{message.heading}\n{message.summary}\n{message.note}".strip()),
            "properties": [{"key": PROPERTY, "value": {"key": message.key[:500]}}],
        }
        response = await self._call(http, "POST", f"{issue}/comment", message.at, comment)
        return Delivered({"key": known}) if isinstance(response, httpx.Response) else response

    async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Looked:
        """Look for the issue by its label, or for the comment by its property."""
        known = str((message.thread or {}).get("key", ""))
        if known:
            return await self._find_comment(known, message, http)
        jql = f'project = "{self.config.project}" AND labels = "{label_of(message.subject)}"'
        query = {"jql": jql, "fields": ["labels"], "maxResults": 1}
        response = await self._call(http, "POST", "/search/jql", message.at, query)
        if not isinstance(response, httpx.Response):
            return not_now(response)
        issues = _listed(response, "issues")
        return Delivered({"key": str(issues[0]["key"])}) if issues and "key" in issues[0] else None

    @property
    def polls(self) -> bool:
        """Always: the credentials that send may read as well."""
        return True

    async def poll(
        self, reference: Mapping[str, Any], at: datetime, http: httpx.AsyncClient
    ) -> Answer | None:
        """In progress is acknowledged, done is resolved."""
        if not reference.get("key"):
            return None
        issue = f"/issue/{quote(str(reference['key']), safe='')}"
        response = await self._call(http, "GET", f"{issue}?fields=status,assignee", at, None)
        found = json_object(response) if isinstance(response, httpx.Response) else None
        fields = (found or {}).get("fields") or {}
        category = ((fields.get("status") or {}).get("statusCategory") or {}).get("key")
        who = (fields.get("assignee") or {}).get("displayName") or "somebody"
        action = _ANSWERS.get(str(category))
        return Answer(action, f"jira:{who}", told="record") if action else None

    @property
    def takes_pictures(self) -> bool:
        """Whether pictures are attached."""
        return self.config.charts

    @property
    def answers(self) -> bool:
        """Whether a webhook is configured."""
        return self.config.webhook_secret is not None

    def name_of(self, incident_id: str) -> str:
        """The label of the incident's issue, which the webhook shows."""
        return label_of(incident_id)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Answer]:
        """A webhook `jira:issue_updated` whose changelog moves the status.

        https://developer.atlassian.com/cloud/jira/platform/webhooks/: signed in `X-Hub-Signature`
        as `sha256=<hex>` (WebSub); a webhook that is told again keeps its identifier.
        """
        secrets = keys(self.config.webhook_secret, self.config.previous_webhook_secret)
        check_hmac(secrets, body, [headers.get("x-hub-signature", "").removeprefix("sha256=")])
        event = json.loads(body)
        moved = [c for c in event.get("changelog", {}).get("items", ()) if c["field"] == "status"]
        fields = event.get("issue", {}).get("fields", {})
        category = ((fields.get("status") or {}).get("statusCategory") or {}).get("key")
        action = _ANSWERS.get(str(category))
        if event["webhookEvent"] != "jira:issue_updated" or not moved or action is None:
            return ()
        who = f"jira:{(event.get('user') or {}).get('displayName') or 'somebody'}"
        told = f"{event['issue']['key']}:{event['changelog']['id']}"
        return tuple(
            Answer(action, who, label, told, "record")
            for label in fields.get("labels", ())
            if label.startswith(LABEL)
        )

    async def _create(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        fields: dict[str, Any] = {
            "project": {"key": self.config.project},
            "issuetype": {"name": self.config.issuetype},
            "summary": truncate(" ".join(message.headline.split()), LONGEST_SUMMARY),
            "description": _document(message.text()),
            "labels": [label_of(message.subject), *self.config.labels],
        }
        if message.severity in self.config.priorities:
            fields["priority"] = {"name": self.config.priorities[message.severity]}
        response = await self._call(http, "POST", "/issue", message.at, {"fields": fields})
        if isinstance(response, Ambiguous):
            return replace(response, after=max(response.after or INDEX_LAG, INDEX_LAG))
        if not isinstance(response, httpx.Response):
            return response
        key = (json_object(response) or {}).get("key")
        if not key:
            return Ambiguous("Jira did not say which issue it made", INDEX_LAG)
        return Delivered({"key": str(key)})

    async def _attach(
        self, known: str, message: Message, figure: Figure, http: httpx.AsyncClient
    ) -> Outcome:
        """POST /issue/{key}/attachments, which wants to be told that no browser sent it."""
        if not known:
            return Rejected("there is no issue that it could be attached to")
        image = await asyncio.to_thread(png, figure)
        url = f"{self._api}/issue/{quote(known, safe='')}/attachments"
        form = httpx.Request("POST", url, files={"file": ("chart.png", image, "image/png")})
        headers = {
            "Authorization": basic(self.config.email, self.config.token),
            "Accept": "application/json",
            "X-Atlassian-Token": "no-check",
            "Content-Type": form.headers["content-type"],
        }
        response = await request(http, "POST", url, headers=headers, content=form.read())
        if not isinstance(response, httpx.Response):
            return response
        return refusal(response, message.at, [self.config.token]) or Delivered({"key": known})

    async def _close(self, issue: str, message: Message, http: httpx.AsyncClient) -> Outcome | None:
        """None when it is closed, or no transition leads there: then a comment has to do."""
        response = await self._call(http, "GET", f"{issue}/transitions", message.at, None)
        if not isinstance(response, httpx.Response):
            return response
        targets = {
            str(each.get("id", "")): str((each.get("to") or {}).get("name", ""))
            for each in _listed(response, "transitions")
            if ((each.get("to") or {}).get("statusCategory") or {}).get("key") == "done"
        }
        wanted = [key for key, name in targets.items() if name == self.config.done]
        chosen = next(iter(wanted or targets), None)
        if chosen is None:
            return None
        move = {"transition": {"id": chosen}}
        moved = await self._call(http, "POST", f"{issue}/transitions", message.at, move)
        return None if isinstance(moved, httpx.Response) else moved

    async def _find_comment(self, known: str, message: Message, http: httpx.AsyncClient) -> Looked:
        path = f"/issue/{quote(known, safe='')}/comment"
        query = "?expand=properties&orderBy=-created&maxResults=50"
        response = await self._call(http, "GET", path + query, message.at, None)
        if not isinstance(response, httpx.Response):
            return not_now(response)
        for comment in _listed(response, "comments"):
            for each in comment.get("properties") or ():
                if each.get("key") == PROPERTY and each.get("value") == {"key": message.key[:500]}:
                    return Delivered({"key": known})
        return None

    async def _call(
        self, http: httpx.AsyncClient, method: str, path: str, at: datetime, body: Any
    ) -> httpx.Response | Outcome:
        return await call(
            http,
            method,
            self._api + path,
            at=at,
            secrets=[self.config.token],
            headers={"Authorization": basic(self.config.email, self.config.token)},
            body=body,
        )


def label_of(subject: str) -> str:
    """The label that no other incident's issue has."""
    return f"{LABEL}{hashlib.sha256(subject.encode()).hexdigest()[:20]}"


# --- private -----------------------------------------------------------------------------------


def _document(text: str) -> dict[str, Any]:
    """Plain text in Atlassian's document format, a paragraph a line."""
    paragraphs = [
        {"type": "paragraph", "content": [{"type": "text", "text": line}] if line else []}
        for line in truncate(text, LONGEST_TEXT).split("\n")
    ]
    return {"type": "doc", "version": 1, "content": paragraphs}


def _listed(response: httpx.Response | Outcome, name: str) -> list[dict[str, Any]]:
    found = json_object(response) if isinstance(response, httpx.Response) else None
    listed = (found or {}).get(name)
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
