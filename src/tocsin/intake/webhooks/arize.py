"""`arize`: notifications of Arize's monitors, and events of its prompts and evaluators.

https://arize.com/docs/ax/security-and-settings/webhooks: a webhook is of type BEARER, whose
token Arize puts into `Authorization` as it was given, with or without the word, or of type
HMAC_SHA256 with `X-Arize-Webhook-Signature: v1=hex(HMAC-SHA256("<timestamp>.<body>"))`,
`X-Arize-Webhook-Timestamp` and `X-Arize-Webhook-Id`, which a repeated delivery keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from tocsin.domain.clock import iso
from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.arize import arize
from tocsin.intake.alerts.incoming import Told, as_instant
from tocsin.intake.webhook import Signed, SignedConfig
from tocsin.net.proof import check_hmac, check_time

_PREFIX = "x-arize-webhook-"
# Events that somebody did something -> the kind of change they are.
_CHANGES: Mapping[str, str] = {
    "prompt.version.created": "prompt",
    "prompt.version.labeled": "prompt",
    "prompt.version.unlabeled": "prompt",
    "evaluator.version.created": "evaluator",
}


class Arize(Signed):
    """Arize's monitors and events."""

    Config: ClassVar[type[SignedConfig]] = SignedConfig
    sends_verbatim: ClassVar[bool] = True

    def check_signature(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """Signed with the time it was made."""
        stamp = headers.get(f"{_PREFIX}timestamp", "")
        offered = headers.get(f"{_PREFIX}signature", "").split(",")
        signatures = [one.strip().removeprefix("v1=") for one in offered]
        check_hmac(self._config.secrets, stamp.encode(errors="replace") + b"." + body, signatures)
        check_time(stamp, now)
        return self.delivery(headers)

    def delivery(self, headers: Mapping[str, str]) -> str:
        """The event's id."""
        return headers.get(f"{_PREFIX}id", "")

    def read(self, body: Any, now: datetime) -> Told:
        """An alert, or a change where the body is an event."""
        event = str(body.get("event")) if isinstance(body, Mapping) else ""
        return _event(event, body, now) if event in _CHANGES else arize(body, now)


def _event(event: str, body: Mapping[str, Any], now: datetime) -> Told:
    """`{event, timestamp, data: {...}}` as a change of whatever service the webhook is for."""
    data = body.get("data")
    facts = data if isinstance(data, Mapping) else body
    name = next(
        (str(facts[n]) for n in ("name", "prompt_name", "evaluator_name") if facts.get(n)), ""
    )
    version = next((str(facts[n]) for n in ("version", "version_id", "label") if facts.get(n)), "")
    done = event.rpartition(".")[2]
    if not name:
        raise IntakeError(400, f"{event}: the name of what changed is missing")
    at = as_instant(body.get("timestamp"), "timestamp", now)
    row = {
        "kind": _CHANGES[event],
        "title": " ".join(part for part in (name, version, done) if part),
        "labels": {k: str(v) for k, v in facts.items() if isinstance(v, str | int | float)},
    }
    return Told(changes=({**row, "ts": iso(min(at, now))},))
