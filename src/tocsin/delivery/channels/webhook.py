"""`webhook`: signed JSON to any HTTPS address, as Standard Webhooks specifies.

https://www.standardwebhooks.com: `webhook-id` is the same over retries (the receiver's idempotency
key), `webhook-timestamp` is that of the try, `webhook-signature` covers both and the body. The body
is {type, timestamp, data} of at most 20 KB. 2xx is accepted, 410 means never again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC
from typing import Any, ClassVar

import httpx
from standardwebhooks import Webhook as Signer

from tocsin.delivery.http import refusal, request
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Delivered, Outcome, Rejected, Retry
from tocsin.domain.clock import iso
from tocsin.domain.secret import Secret, secret
from tocsin.net.guard import Refused, pin

LARGEST_BODY = 20_000
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """url: where to post. secret: `whsec_` and 24 to 64 bytes in base64.

    previous_secret: signs too, while the receiver changes to a new secret. authorization: the value
    of a header Authorization, for a receiver that asks for one ("Bearer …", "Basic …").
    allow_private: the address may lie in your own network, and may be plain http.
    """

    url: Secret | str
    secret: Secret
    previous_secret: Secret | None = None
    authorization: Secret | None = None
    allow_private: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", secret(self.url))
        object.__setattr__(self, "secret", secret(self.secret))
        _check(self.secret, "secret")
        if self.authorization is not None:
            object.__setattr__(self, "authorization", secret(self.authorization))
            given = self.authorization.reveal()
            if not (given.isascii() and given.isprintable()):
                raise ValueError("authorization: the value of a header, in one line of ASCII")
        if self.previous_secret is not None:
            object.__setattr__(self, "previous_secret", secret(self.previous_secret))
            _check(self.previous_secret, "previous_secret")


class Webhook:
    """Posts one signed event per message."""

    Config: ClassVar[type[WebhookConfig]] = WebhookConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 10.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: WebhookConfig) -> None:
        self.config = config
        self._url = secret(config.url)
        keys = [config.secret, *([config.previous_secret] if config.previous_secret else [])]
        self._secrets = [self._url, *keys, config.authorization]
        self._signers = [Signer(key.reveal()) for key in keys]

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """One POST, to an address that was checked."""
        target = await pin(self._url.reveal(), allow_private=self.config.allow_private)
        if isinstance(target, Refused):
            return Rejected(target.reason) if target.is_final else Retry(target.reason)
        body = body_of(message)
        response = await request(
            http,
            "POST",
            target.url,
            headers={
                "Content-Type": "application/json",
                **self._signature(message, body),
                **self._login(),
                **target.headers,
            },
            content=body.encode(),
            extensions=target.extensions,
        )
        if not isinstance(response, httpx.Response):
            return response
        if response.status_code == 410:
            return Rejected("HTTP 410: the receiver wants no more webhooks; remove or change it")
        return refusal(response, message.at, self._secrets) or Delivered({})

    def _login(self) -> dict[str, str]:
        given = self.config.authorization
        return {} if given is None else {"Authorization": given.reveal()}

    def _signature(self, message: Message, body: str) -> dict[str, str]:
        at = message.at.astimezone(UTC)
        name = webhook_id(message.key)
        signatures = [str(signer.sign(name, at, body)) for signer in self._signers]
        return {
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def webhook_id(key: str) -> str:
    """The effect's key in characters that a header may hold."""
    if len(key) <= _LONGEST_ID and key.isascii() and key.isprintable() and " " not in key:
        return key
    return f"msg_{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def body_of(message: Message) -> str:
    """The body; when it would be too large, texts are shortened and then lists left out."""
    for longest, items in ((2_000, 100), (400, 50), (100, 50), (100, 10)):
        text = _json(message, longest, items)
        if len(text.encode()) <= LARGEST_BODY:
            return text
    return _json(message, 100, items=0)


# --- private -----------------------------------------------------------------------------------


def _json(message: Message, longest: int, items: int) -> str:
    def short(text: str) -> str:
        return truncate(text, longest)

    def some(texts: tuple[str, ...]) -> list[str]:
        return [short(text) for text in texts[:items]]

    data: dict[str, Any] = {
        "id": short(message.subject),
        "key": short(message.key),
        "action": message.action,
        "state": message.state,
        "title": short(message.title),
        "summary": short(message.summary),
        "tier": message.tier,
        "severity": message.severity,
        "service": short(message.service),
        "labels": {short(k): short(v) for k, v in list(message.labels.items())[:items]},
        "since": None if message.since is None else iso(message.since),
        "evidence": {label: short(text) for label, text in message.evidence},
        "changes": some(message.changes),
        "first_steps": some(message.first_steps),
        "runbook": short(message.runbook),
        "told": some(message.told),
        "who": some(message.who),
        "note": short(message.note),
        "items": some(message.items),
        "links": {short(text): href for text, href in message.links[:items] if len(href) < 2_000},
    }
    kind = "tocsin.digest" if message.action == "digest" else f"tocsin.incident.{message.action}"
    event = {"type": kind, "timestamp": iso(message.at), "data": data}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


def _check(key: Secret, name: str) -> None:
    text = key.reveal()
    try:
        raw = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raw = b""
    if not text.startswith("whsec_") or not 24 <= len(raw) <= 64:
        raise ValueError(f"{name}: must be whsec_ followed by 24 to 64 bytes in base64")
