"""`status_webhook`: what a status page publishes, to the endpoints of whoever subscribed.

The bodies are those of Statuspage's webhooks
(https://support.atlassian.com/statuspage/docs/enable-webhook-notifications/), signed as Standard
Webhooks has it (https://www.standardwebhooks.com), with a secret of each endpoint's own that is
derived from one key and kept nowhere. Endpoints are given by strangers: https only, never an
address of our own network, no redirects, and of their answers a few kilobytes are read.

Nobody can subscribe the endpoint of another: it has to answer a `challenge` first, in its body, as
WebSub has it (https://www.w3.org/TR/websub/, 5.3).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

import httpx
from standardwebhooks import Webhook as Signer

from tocsin.delivery.http import json_object, peek, refusal
from tocsin.delivery.message import Message
from tocsin.delivery.notices import ACTION
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Rejected, Retry
from tocsin.domain.secret import Secret, secret
from tocsin.net.guard import Refused, pin_target

SHORTEST_KEY = 32
LONGEST_URL = 500
LONGEST_ANSWER = 4_096
CHALLENGE_S = 10.0


@dataclass(frozen=True, slots=True)
class StatusWebhookConfig:
    """signing_key: at least 32 random characters, from which each subscriber's secret is derived.

    previous_signing_key: signs too, while subscribers change to their new secrets. hosts: if given,
    only endpoints at these hosts, and below them, may be subscribed. allow_private: endpoints may
    lie in your own network, and may be plain http.
    """

    signing_key: Secret
    previous_signing_key: Secret | None = None
    hosts: tuple[str, ...] = ()
    allow_private: bool = False

    def __post_init__(self) -> None:
        for name in ("signing_key", "previous_signing_key"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, secret(getattr(self, name)))
                if len(getattr(self, name).reveal()) < SHORTEST_KEY:
                    raise ValueError(f"{name}: at least {SHORTEST_KEY} random characters")


class StatusWebhook:
    """Posts to endpoints of subscribers; alerts and digests are refused."""

    Config: ClassVar[type[StatusWebhookConfig]] = StatusWebhookConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 20.0
    can_acknowledge: ClassVar[bool] = False

    def __init__(self, config: StatusWebhookConfig) -> None:
        self.config = config

    def why_not(self, url: str) -> str:
        """Why an address cannot be subscribed, as far as it says itself; "" if it can."""
        schemes = {"https", "http"} if self.config.allow_private else {"https"}
        try:
            parsed = httpx.URL(url)
            host = parsed.host.lower()
        except (httpx.InvalidURL, ValueError):
            return "that is no address such as https://hooks.example.org/status"
        if parsed.scheme not in schemes or not host or not url.isascii() or len(url) > LONGEST_URL:
            return "that is no address such as https://hooks.example.org/status"
        if parsed.userinfo or parsed.fragment:
            return "an endpoint has no login and no #fragment in its address"
        named = [each.lower().lstrip(".") for each in self.config.hosts]
        if named and not any(host == each or host.endswith(f".{each}") for each in named):
            return "endpoints at this host are not taken here"
        return ""

    def secret_for(self, token: str) -> str:
        """What a subscriber checks signatures with."""
        return _secret(self.config.signing_key, token)

    async def challenge(
        self, url: str, token: str, word: str, at: datetime, http: httpx.AsyncClient
    ) -> str:
        """Why an endpoint does not want what was asked for in its name; "" if it does.

        It is sent {"challenge": word} and has to answer 2xx with the same, or with the bare word.
        """
        body = json.dumps({"challenge": word})
        try:
            async with asyncio.timeout(CHALLENGE_S):
                found = await self._post(url, f"challenge-{word}", body, token, at, http)
        except TimeoutError:
            return f"the endpoint did not answer within {CHALLENGE_S:g} s"
        if not isinstance(found, httpx.Response):
            return f"the endpoint did not answer: {found.reason}"
        if not 200 <= found.status_code < 300:
            return f"the endpoint answered HTTP {found.status_code} to its challenge"
        said = (json_object(found) or {}).get("challenge", found.text.strip())
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), word.encode()):
            return "the endpoint did not answer with the challenge that it was sent"
        return ""

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """One POST."""
        if message.action != ACTION:
            return Rejected("a status_webhook sends only what a status page publishes")
        problem = self.why_not(message.address)
        if problem:
            return Rejected(problem)
        found = await self._post(
            message.address, message.key, message.summary, message.subject, message.at, http
        )
        if not isinstance(found, httpx.Response):
            return found
        return refusal(found, message.at) or Delivered({})

    async def _post(
        self, url: str, key: str, body: str, token: str, at: datetime, http: httpx.AsyncClient
    ) -> httpx.Response | Retry | Ambiguous | Rejected:
        target = await pin_target(url, allow_private=self.config.allow_private)
        if isinstance(target, Refused):
            # Not to strangers: what our name server and network know of the host.
            reason = "the endpoint cannot be reached"
            return Rejected(reason) if target.is_final else Retry(reason)
        at, name = at.astimezone(UTC), f"msg_{hashlib.sha256(key.encode()).hexdigest()[:40]}"
        keys = (self.config.signing_key, self.config.previous_signing_key)
        signatures = [Signer(_secret(one, token)).sign(name, at, body) for one in keys if one]
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(map(str, signatures)),
            **target.headers,
        }
        return await peek(
            http, target.url, headers=headers, content=body.encode(),
            extensions=target.extensions, longest=LONGEST_ANSWER,
        )  # fmt: skip


# --- private -----------------------------------------------------------------------------------


def _secret(key: Secret, token: str) -> str:
    made = hmac.new(key.reveal().encode(), f"status_webhook:{token}".encode(), hashlib.sha256)
    return f"whsec_{base64.b64encode(made.digest()).decode()}"
