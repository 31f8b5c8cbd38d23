"""`linear`: one issue of Linear per incident, over its GraphQL API.

https://linear.app/developers/graphql: issues and comments take an id (UUIDv4) from their maker, so
what is sent twice exists once: the second creation fails, and the channel looks whether the id is
there. Errors come with 200 and with 400; too many requests are a 400 with the code RATELIMITED.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from uuid import UUID

import httpx

from tocsin.delivery.answers import Answer
from tocsin.delivery.http import json_object, refusal, request
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Rejected, Retry
from tocsin.domain.secret import Secret, scrub, secret
from tocsin.net.proof import check_hmac, check_time, keys

LONGEST_TITLE = 255
LONGEST_TEXT = 20_000
_SAID = "Linear: "
# By the type of a workflow state, which is the same whatever a team calls its states.
_ANSWERS: Mapping[str, Literal["acknowledge", "resolve"]] = {
    "started": "acknowledge",
    "completed": "resolve",
    "canceled": "resolve",
}
_PRIORITIES = {"critical": 1, "warning": 2, "info": 4}

_CREATE = "mutation($input: IssueCreateInput!) { issueCreate(input: $input) { success } }"
_COMMENT = "mutation($input: CommentCreateInput!) { commentCreate(input: $input) { success } }"
_MOVE = (
    "mutation($id: String!, $input: IssueUpdateInput!)"
    " { issueUpdate(id: $id, input: $input) { success } }"
)
_ISSUE = "query($id: String!) { issue(id: $id) { id } }"
_COMMENTED = "query($id: String!) { comment(id: $id) { id } }"
_STATUS = (
    "query($id: String!) { issue(id: $id) { state { type } assignee { displayName }"
    " team { states { nodes { id type position } } } } }"
)


@dataclass(frozen=True, slots=True)
class LinearConfig:
    """api_key: of a member of the team. team_id: its UUID (in Linear: Cmd K, Copy model UUID).

    label_ids: put on new issues. resolve: whether the end of an incident moves its issue to the
    first completed state; false leaves it to people. webhook_secret: of a webhook of Linear that
    tells us at once what people did; without it Linear is asked. previous_webhook_secret: the one
    before, while it is being replaced. url: only to be changed for tests.
    """

    api_key: Secret
    team_id: str
    label_ids: tuple[str, ...] = ()
    resolve: bool = True
    webhook_secret: Secret | None = None
    previous_webhook_secret: Secret | None = None
    url: str = "https://api.linear.app/graphql"

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", secret(self.api_key))
        for name in ("webhook_secret", "previous_webhook_secret"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, secret(getattr(self, name)))
        try:
            UUID(self.team_id)
        except ValueError:
            raise ValueError("team_id: the UUID of a team, not its key") from None


class Linear:
    """Opens, comments on and completes issues."""

    Config: ClassVar[type[LinearConfig]] = LinearConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 1.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: LinearConfig) -> None:
        self.config = config

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """The issue, or a comment on it; the end of the incident completes it too."""
        known = str((message.thread or {}).get("id", ""))
        if not known:
            issue = self.name_of(message.subject)
            made = await self._make(_CREATE, _ISSUE, self._issue(message, issue), message.at, http)
            return Delivered({"id": issue}) if isinstance(made, dict) else made
        if message.action == "resolve" and self.config.resolve:
            moved = await self._complete(known, message.at, http)
            if not isinstance(moved, dict):
                return moved
        text = f"{message.heading}\n\n{message.markdown()}"
        comment = {
            "id": identity(message.key),
            "issueId": known,
            "body": truncate(text, LONGEST_TEXT),
        }
        made = await self._make(_COMMENT, _COMMENTED, comment, message.at, http)
        return Delivered({"id": known}) if isinstance(made, dict) else made

    @property
    def polls(self) -> bool:
        """Always: the credentials that send may read as well."""
        return True

    async def poll(
        self, reference: Mapping[str, Any], at: datetime, http: httpx.AsyncClient
    ) -> Answer | None:
        """Started is acknowledged; completed and cancelled are resolved."""
        if not reference.get("id"):
            return None
        found = await self._ask(_STATUS, {"id": str(reference["id"])}, at, http)
        issue = (found.get("issue") if isinstance(found, dict) else None) or {}
        kind = (issue.get("state") or {}).get("type")
        who = (issue.get("assignee") or {}).get("displayName") or "somebody"
        action = _ANSWERS.get(str(kind))
        return Answer(action, f"linear:{who}", told="record") if action else None

    @property
    def answers(self) -> bool:
        """Whether a webhook is configured."""
        return self.config.webhook_secret is not None

    def name_of(self, incident_id: str) -> str:
        """The id of the incident's issue."""
        return identity(f"{self.config.team_id}:{incident_id}")

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Answer]:
        """A webhook about an issue whose state was changed by a person.

        https://linear.app/developers/webhooks: `Linear-Signature` is the HMAC of the body, which
        says when it was sent (`webhookTimestamp`, milliseconds); `updatedFrom` holds what changed.
        """
        secrets = keys(self.config.webhook_secret, self.config.previous_webhook_secret)
        check_hmac(secrets, body, [headers.get("linear-signature", "")])
        event = json.loads(body)
        check_time(str(int(event["webhookTimestamp"]) // 1000), now)
        issue, actor = event.get("data", {}), event.get("actor") or {}
        action = _ANSWERS.get(str((issue.get("state") or {}).get("type")))
        is_move = event["type"] == "Issue" and "stateId" in event.get("updatedFrom", {})
        if not is_move or action is None or actor.get("type", "user") != "user":
            return ()
        who = f"linear:{actor.get('name') or 'somebody'}"
        told = f"{issue['id']}:{issue['updatedAt']}"
        return (Answer(action, who, str(issue["id"]), told, "record"),)

    def _issue(self, message: Message, name: str) -> dict[str, Any]:
        issue: dict[str, Any] = {
            "id": name,
            "teamId": self.config.team_id,
            "title": truncate(" ".join(message.headline.split()), LONGEST_TITLE),
            "description": truncate(message.markdown(), LONGEST_TEXT),
            "priority": _PRIORITIES.get(message.severity, 3),
        }
        if self.config.label_ids:
            issue["labelIds"] = list(self.config.label_ids)
        return issue

    async def _make(
        self,
        mutation: str,
        look: str,
        thing: dict[str, Any],
        at: datetime,
        http: httpx.AsyncClient,
    ) -> dict[str, Any] | Outcome:
        made = await self._ask(mutation, {"input": thing}, at, http)
        if isinstance(made, Rejected) and made.reason.startswith(_SAID):
            there = await self._ask(look, {"id": thing["id"]}, at, http)
            if isinstance(there, dict) and any(there.values()):
                return there
        return made

    async def _complete(
        self, issue: str, at: datetime, http: httpx.AsyncClient
    ) -> dict[str, Any] | Outcome:
        found = await self._ask(_STATUS, {"id": issue}, at, http)
        if not isinstance(found, dict):
            return found
        known = found.get("issue") or {}
        nodes = ((known.get("team") or {}).get("states") or {}).get("nodes") or ()
        states = [each for each in nodes if each.get("type") == "completed"]
        is_over = (known.get("state") or {}).get("type") in {"completed", "canceled"}
        if is_over or not states:
            return found
        first = min(states, key=lambda each: float(each.get("position", 0)))
        change = {"id": issue, "input": {"stateId": first["id"]}}
        return await self._ask(_MOVE, change, at, http)

    async def _ask(
        self, query: str, variables: Mapping[str, Any], at: datetime, http: httpx.AsyncClient
    ) -> dict[str, Any] | Outcome:
        """The data of an answer without errors."""
        response = await request(
            http,
            "POST",
            self.config.url,
            headers={
                "Authorization": self.config.api_key.reveal(),
                "Content-Type": "application/json",
            },
            content=json.dumps({"query": query, "variables": variables}).encode(),
        )
        if not isinstance(response, httpx.Response):
            return response
        answer = json_object(response) or {}
        if answer.get("errors") and response.status_code in {200, 400}:
            return self._fault(answer["errors"], response, at)
        refused = refusal(response, at, [self.config.api_key])
        if refused is not None:
            return refused
        data = answer.get("data")
        if not isinstance(data, dict):
            return Ambiguous("Linear answered with something that is no data")
        if any(isinstance(v, dict) and v.get("success") is False for v in data.values()):
            return Rejected("Linear says that it did not succeed")
        return data

    def _fault(self, errors: Any, response: httpx.Response, at: datetime) -> Outcome:
        first = errors[0] if isinstance(errors, list) and errors else {}
        extensions = first.get("extensions") or {} if isinstance(first, dict) else {}
        code = str(extensions.get("code", "")).upper()
        text = str(first.get("message", "")) if isinstance(first, dict) else ""
        text = truncate(scrub(text, [self.config.api_key]), 200)
        reason = f"{_SAID}{code or 'error'}: {text}"
        if code == "RATELIMITED":
            return Retry(reason, _until_reset(response, at))
        return Ambiguous(reason) if code.startswith("INTERNAL") else Rejected(reason)


def identity(key: str) -> str:
    """A UUIDv4 that is always the same for the same key (RFC 9562, 5.4: bits of our choosing)."""
    return str(UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=4))


# --- private -----------------------------------------------------------------------------------


def _until_reset(response: httpx.Response, at: datetime) -> timedelta | None:
    """X-RateLimit-Requests-Reset is when, in milliseconds of the epoch."""
    text = response.headers.get("x-ratelimit-requests-reset", "")
    if not text.isdecimal() or len(text) > 14:
        return None
    return max(datetime.fromtimestamp(int(text) / 1000, UTC) - at, timedelta(0))
