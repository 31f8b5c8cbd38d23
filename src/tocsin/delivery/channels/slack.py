"""`slack`: one message per incident, kept current, with the story in its thread.

With a bot token (https://docs.slack.dev/reference/methods/chat.postMessage, chat.update): the first
message stands for the incident and is updated in place, every later message is a reply in its
thread. Slack has no idempotency key, so the effect's key travels in the message's metadata, and
after an ambiguous try the channel's history is searched for it (scopes chat:write and, for that,
channels:history and metadata.message:read). With an incoming webhook every message is a new one.
Slack answers HTTP 200 with ok:false for most errors. A picture is a file in the thread
(https://docs.slack.dev/messaging/working-with-files, scope files:write): Slack gives an address,
the bytes go there, and a third call shows them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tocsin.delivery.answers import Answer, Hear
from tocsin.delivery.figure import Figure, png
from tocsin.delivery.http import refusal, request
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Ambiguous, Delivered, Looked, Outcome, Rejected, Retry, not_now
from tocsin.delivery.replies import ACTION as REPLY
from tocsin.delivery.slack_blocks import answers_of, blocks_of, button_value, escape, headline
from tocsin.delivery.socket_mode import hold
from tocsin.domain.secret import Secret, scrub, secret
from tocsin.net.patience import retry_after
from tocsin.net.proof import check_hmac, check_time, keys

EVENT_TYPE = "tocsin_effect"
_ROOT_PART, _REPLY_PART = "message", "reply"

# Answers after which the same request may work later; of the second group it may have worked.
_LATER = frozenset({"ratelimited", "rate_limited", "service_unavailable", "team_added_to_org"})
_UNCLEAR = frozenset({"internal_error", "fatal_error", "request_timeout"})
_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
_HISTORY_MARGIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class SlackConfig:
    """Either `token` (xoxb-…) and `channel`, or `url` of an incoming webhook.

    channel: the channel's id (C…); a name works too, but then an ambiguous send cannot be looked
    up and is repeated. api_url: only to be changed for tests. Messages get buttons (acknowledge,
    resolve, verdicts) with one of these: app_token (xapp-…, scope connections:write), over a
    connection that Tocsin opens (Socket Mode); or signing_secret of the app, whose interactivity
    points at Tocsin's public address, and previous_signing_secret, the one before, while it is
    being replaced. charts: a picture of what happened follows into the thread.
    """

    token: Secret | None = None
    channel: str = ""
    url: Secret | None = None
    api_url: str = "https://slack.com/api"
    app_token: Secret | None = None
    signing_secret: Secret | None = None
    previous_signing_secret: Secret | None = None
    charts: bool = False

    def __post_init__(self) -> None:
        for name in ("app_token", "signing_secret", "previous_signing_secret"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, secret(getattr(self, name)))
        if (self.token is None) == (self.url is None):
            raise ValueError("set either token and channel (a bot), or url (an incoming webhook)")
        if self.app_token is not None:
            self._check_app_token(self.app_token)
        if self.token is not None:
            object.__setattr__(self, "token", secret(self.token))
            if not self.channel:
                raise ValueError("channel: a bot needs a channel to post to")
        if self.charts and self.token is None:
            raise ValueError("charts: an incoming webhook takes no pictures; use a bot's token")
        if self.url is not None:
            object.__setattr__(self, "url", secret(self.url))

    def _check_app_token(self, token: Secret) -> None:
        if self.signing_secret is not None:
            raise ValueError("set either app_token (Socket Mode) or signing_secret, not both")
        if not token.reveal().startswith("xapp-"):
            raise ValueError("app_token: an app-level token begins with xapp-")


class Slack:
    """Posts and updates messages of one channel."""

    Config: ClassVar[type[SlackConfig]] = SlackConfig
    is_idempotent: ClassVar[bool] = False
    rate_per_s: ClassVar[float] = 1.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: SlackConfig) -> None:
        self.config = config
        self._secrets = [config.token, config.url]

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """A new message, or the first one updated and a reply in its thread."""
        if message.action == REPLY:
            return await self._reply(message, http)
        if self.config.url is not None:
            return await self._post_to_webhook(message, http)
        thread = _thread_of(message)
        if message.figure is not None:
            return await self._show(message, message.figure, thread, http)
        if thread is None:
            return await self._post(message, http, None, _ROOT_PART)
        updated = await self._call(
            "chat.update",
            http,
            message,
            {**thread, "text": headline(message), "blocks": self._blocks(message)},
        )
        if isinstance(updated, Rejected) and _error_of(updated) in _GONE:
            return await self._post(message, http, None, _ROOT_PART)
        if not isinstance(updated, dict):
            return updated
        replied = await self._post(message, http, thread, _REPLY_PART)
        return Delivered(thread) if isinstance(replied, Delivered) else replied

    @property
    def takes_pictures(self) -> bool:
        """Whether pictures follow into the thread."""
        return self.config.charts

    @property
    def answers(self) -> bool:
        """Whether Slack sends what is pressed to our address."""
        return self.config.signing_secret is not None

    @property
    def line(self) -> Secret | None:
        """The app, whose presses come over one connection whatever channel they were made in."""
        return self.config.app_token

    async def listen(self, hear: Hear, http: httpx.AsyncClient) -> None:
        """Hold a connection of Socket Mode."""
        if self.config.app_token is not None:
            await hold(self.config.api_url, self.config.app_token, hear, http)

    def understand(self, body: bytes) -> Sequence[Answer]:
        """A press of a button."""
        return answers_of(json.loads(body))

    def name_of(self, incident_id: str) -> str:
        """What the buttons hold."""
        return button_value(incident_id)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Answer]:
        """A press of a button, sent to the app's interactivity address.

        https://docs.slack.dev/authentication/verifying-requests-from-slack: the signature covers
        the time, which must not be more than five minutes off.
        """
        stamp = headers.get("x-slack-request-timestamp", "")
        check_time(stamp, now)
        secrets = keys(self.config.signing_secret, self.config.previous_signing_secret)
        signature = headers.get("x-slack-signature", "").removeprefix("v0=")
        check_hmac(secrets, b"v0:" + stamp.encode() + b":" + body, [signature])
        form = parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)
        return self.understand(form["payload"][0].encode())

    async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Looked:
        """Look for the effect's key in what was posted to the channel, or to the thread."""
        thread = _thread_of(message)
        channel = thread["channel"] if thread else self.config.channel
        if self.config.token is None or channel[:1] not in {"C", "G", "D"}:
            return None
        query = {
            "channel": channel,
            "include_all_metadata": "true",
            "limit": "100",
            "oldest": f"{(message.at - _HISTORY_MARGIN).timestamp():.6f}",
        }
        method = "conversations.history"
        if thread:
            method, query = "conversations.replies", {**query, "ts": thread["ts"]}
        response = await request(
            http,
            "GET",
            f"{self.config.api_url.rstrip('/')}/{method}",
            headers=self._headers(),
            params=query,
        )
        found = self._read(response, message)
        if not isinstance(found, dict):
            return not_now(found)
        for each in found.get("messages", ()):
            if _key_of(each) == message.key:
                return Delivered(thread or {"channel": channel, "ts": each["ts"]})
        return None

    async def _post(
        self,
        message: Message,
        http: httpx.AsyncClient,
        thread: Mapping[str, str] | None,
        part: str,
    ) -> Outcome:
        body: dict[str, Any] = {
            "channel": thread["channel"] if thread else self.config.channel,
            "text": headline(message),
            "unfurl_links": False,
            "metadata": {
                "event_type": EVENT_TYPE,
                "event_payload": {"key": message.key, "part": part, "subject": message.subject},
            },
        }
        if thread:
            body |= {
                "thread_ts": thread["ts"],
                "text": f"{headline(message)}\n{escape(message.summary)}",
                # Whoever is paged again has to see it in the channel, not only in the thread.
                "reply_broadcast": message.action == "trigger",
            }
        else:
            body["blocks"] = self._blocks(message)
        answer = await self._call("chat.postMessage", http, message, body)
        if not isinstance(answer, dict):
            return answer
        return Delivered({"channel": str(answer["channel"]), "ts": str(answer["ts"])})

    async def _show(
        self,
        message: Message,
        figure: Figure,
        thread: Mapping[str, str] | None,
        http: httpx.AsyncClient,
    ) -> Outcome:
        """A file in the thread. What fails before the last step has shown nothing."""
        if thread is None:
            return Rejected("there is no message whose thread it could go to")
        image = await asyncio.to_thread(png, figure)
        asked = {"filename": "chart.png", "length": str(len(image)), "alt_txt": figure.words()}
        given = await self._call("files.getUploadURLExternal", http, message, asked, is_form=True)
        if not isinstance(given, dict):
            return given if not isinstance(given, Ambiguous) else Retry(given.reason)
        url = str(given["upload_url"])
        if not url.startswith("https://") and not self.config.api_url.startswith("http://"):
            return Rejected("Slack gave an address for the picture that is not https://")
        headers = {"Content-Type": "image/png"}  # and no token: the address is the credential
        put = await request(http, "POST", url, headers=headers, content=image)
        refused = (
            put if not isinstance(put, httpx.Response) else refusal(put, message.at, [Secret(url)])
        )
        if refused is not None:
            return refused if not isinstance(refused, Ambiguous) else Retry(refused.reason)
        files = [{"id": str(given["file_id"]), "title": figure.title}]
        body = {"files": files, "channel_id": thread["channel"], "thread_ts": thread["ts"]}
        shown = await self._call("files.completeUploadExternal", http, message, body)
        return Delivered(thread) if isinstance(shown, dict) else shown

    async def _call(
        self,
        method: str,
        http: httpx.AsyncClient,
        message: Message,
        body: Mapping[str, Any],
        *,
        is_form: bool = False,
    ) -> dict[str, Any] | Outcome:
        kind = "application/x-www-form-urlencoded" if is_form else "application/json; charset=utf-8"
        response = await request(
            http,
            "POST",
            f"{self.config.api_url.rstrip('/')}/{method}",
            headers={**self._headers(), "Content-Type": kind},
            content=(urlencode(body) if is_form else json.dumps(body)).encode(),
        )
        return self._read(response, message)

    def _read(
        self, response: httpx.Response | Outcome, message: Message
    ) -> dict[str, Any] | Outcome:
        if not isinstance(response, httpx.Response):
            return response
        refused = refusal(response, message.at, self._secrets)
        if refused is not None:
            return refused
        try:
            answer = response.json()
        except ValueError:
            return Ambiguous("Slack answered with something that is not JSON")
        if not isinstance(answer, dict):
            return Ambiguous("Slack answered with something that is not an object")
        if answer.get("ok") is True:
            return answer
        error = scrub(str(answer.get("error", "unknown_error"))[:100], self._secrets)
        reason = f"Slack: {error}"
        if error in _LATER:
            return Retry(reason, retry_after(response, message.at))
        return Ambiguous(reason) if error in _UNCLEAR else Rejected(reason)

    async def _post_to_webhook(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        url = self.config.url.reveal() if self.config.url else ""
        response = await request(
            http,
            "POST",
            url,
            headers={"Content-Type": "application/json"},
            content=json.dumps(
                {"text": headline(message), "blocks": self._blocks(message)}
            ).encode(),
        )
        if not isinstance(response, httpx.Response):
            return response
        refused = refusal(response, message.at, self._secrets)
        if refused is None and response.text.strip() != "ok":
            return Ambiguous("the incoming webhook did not answer ok")
        return refused or Delivered({})

    async def _reply(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """What only the person who pressed a button sees, below the message, which stays.

        https://docs.slack.dev/interactivity/handling-user-interaction: five times within half an
        hour, at the address that came with the press.
        """
        if not _is_of_slack(message.address, self.config.api_url):
            return Rejected("the address for a reply is not one of Slack's")
        text = escape(message.title)
        said = {"response_type": "ephemeral", "replace_original": False, "text": text}
        headers = {"Content-Type": "application/json"}
        content = json.dumps(said).encode()
        response = await request(http, "POST", message.address, headers=headers, content=content)
        if not isinstance(response, httpx.Response):
            return response
        return refusal(response, message.at, [Secret(message.address)]) or Delivered({})

    def _blocks(self, message: Message) -> list[dict[str, Any]]:
        return blocks_of(message, has_buttons=self.answers or self.line is not None)

    def _headers(self) -> dict[str, str]:
        token = self.config.token.reveal() if self.config.token else ""
        return {"Authorization": f"Bearer {token}"}


# --- private -----------------------------------------------------------------------------------


def _thread_of(message: Message) -> dict[str, str] | None:
    thread = message.thread
    if thread and thread.get("channel") and thread.get("ts"):
        return {"channel": str(thread["channel"]), "ts": str(thread["ts"])}
    return None


def _is_of_slack(address: str, api_url: str) -> bool:
    """Whether an address is https at Slack, or, in tests, at the same place as its API."""
    found, api = urlsplit(address), urlsplit(api_url)
    if (found.scheme, found.netloc) == (api.scheme, api.netloc):
        return True
    host = (found.hostname or "").lower()
    return found.scheme == "https" and host.endswith((".slack.com", ".slack-gov.com"))


def _key_of(posted: Mapping[str, Any]) -> str:
    metadata = posted.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    return str(payload.get("key", "")) if metadata.get("event_type") == EVENT_TYPE else ""


def _error_of(outcome: Rejected) -> str:
    return outcome.reason.removeprefix("Slack: ")
