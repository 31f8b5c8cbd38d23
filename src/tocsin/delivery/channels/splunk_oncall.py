"""`splunk_oncall`: the REST endpoint integration of Splunk On-Call (VictorOps).

https://help.splunk.com, "REST Endpoint integration for Splunk On-Call": alerts of one `entity_id`
are one incident until RECOVERY. The address holds the key, so it is never shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import httpx

from tocsin.delivery.answers import Answer
from tocsin.delivery.http import call, json_object
from tocsin.delivery.message import Message, short_key, truncate, truncate_bytes
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Rejected
from tocsin.domain.secret import Secret, scrub, secret
from tocsin.net.proof import check_bearer, keys

URL = "https://alert.victorops.com/integrations/generic/20131114/alert"
LONGEST_STATE_MESSAGE = 20_480
LONGEST_NAME = 255
LONGEST_ID = 512
_TYPES = {"critical": "CRITICAL", "warning": "WARNING", "info": "INFO"}
_ANSWERS: Mapping[str, Literal["acknowledge", "resolve"]] = {
    "ACKED": "acknowledge",
    "RESOLVED": "resolve",
}
_ENDS = {"acknowledge": "ACKNOWLEDGEMENT", "resolve": "RECOVERY"}


@dataclass(frozen=True, slots=True)
class SplunkOnCallConfig:
    """api_key: of the REST integration. routing_key: which team is told.

    warnings_page: WARNING may open an incident or not, as your alert configuration says; true
    sends everything that fires as CRITICAL. url: only to be changed for tests. callback_token: what
    an outgoing webhook sends as `Authorization: Bearer …`, to tell us of acknowledgements;
    previous_callback_token: the one before, while it is being replaced.
    """

    api_key: Secret
    routing_key: str
    warnings_page: bool = False
    url: str = URL
    callback_token: Secret | None = None
    previous_callback_token: Secret | None = None

    def __post_init__(self) -> None:
        for name in ("callback_token", "previous_callback_token"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, secret(getattr(self, name)))
        object.__setattr__(self, "api_key", secret(self.api_key))
        if not self.routing_key:
            raise ValueError("routing_key: name the routing key of a team")


class SplunkOnCall:
    """Opens, acknowledges and recovers incidents."""

    Config: ClassVar[type[SplunkOnCallConfig]] = SplunkOnCallConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 5.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: SplunkOnCallConfig) -> None:
        self.config = config

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """One alert. A digest is refused: nobody is to be paged for what can wait."""
        if message.action == "digest":
            return Rejected("Splunk On-Call takes no digest")
        key = quote(self.config.api_key.reveal(), safe="")
        response = await call(
            http,
            "POST",
            f"{self.config.url.rstrip('/')}/{key}/{quote(self.config.routing_key, safe='')}",
            at=message.at,
            secrets=[self.config.api_key],
            body=self._alert(message),
        )
        if not isinstance(response, httpx.Response):
            return response
        answer = json_object(response)
        if answer is None:
            return Ambiguous("Splunk On-Call answered with something that is not an object")
        if answer.get("result") != "success":
            why = truncate(str(answer.get("message", "no reason given")), 200)
            return Rejected(f"Splunk On-Call: {scrub(why, [self.config.api_key])}")
        return Delivered({"entity_id": entity_id(message.subject)})

    @property
    def answers(self) -> bool:
        """Whether an outgoing webhook is configured."""
        return self.config.callback_token is not None

    def name_of(self, incident_id: str) -> str:
        """The entity id of the incident."""
        return entity_id(incident_id)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Answer]:
        """An outgoing webhook with the payload that the guide gives: {entity_id, phase, user, at}.

        These are not signed: a header with a shared token proves them. SYSTEM is no person.
        """
        check_bearer(keys(self.config.callback_token, self.config.previous_callback_token), headers)
        event = json.loads(body)
        action = _ANSWERS.get(str(event["phase"]).upper())
        name, who = str(event["entity_id"]), str(event.get("user") or "")
        if action is None or (action == "acknowledge" and who in {"", "SYSTEM"}):
            return ()
        told = f"{action}:{name}:{event.get('at', '')}"
        return (Answer(action, f"splunk_oncall:{who or 'somebody'}", name, told),)

    def _alert(self, message: Message) -> dict[str, Any]:
        kind = _ENDS.get(message.action) or _TYPES.get(message.severity, "WARNING")
        if self.config.warnings_page and kind == "WARNING":
            kind = "CRITICAL"
        alert: dict[str, Any] = {
            "message_type": kind,
            "entity_id": entity_id(message.subject),
            "entity_display_name": truncate(message.title, LONGEST_NAME),
            "state_message": truncate_bytes(message.text(), LONGEST_STATE_MESSAGE),
            "state_start_time": int((message.since or message.at).timestamp()),
            "monitoring_tool": "Tocsin",
        }
        for text, href in message.links[:5]:
            if len(href) <= 2_000:
                alert[f"vo_annotate.u.{truncate(text, 50)}"] = href
        return alert


def entity_id(subject: str) -> str:
    """What an incident's episode is called there."""
    return short_key(subject, LONGEST_ID)
