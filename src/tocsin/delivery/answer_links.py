"""Links in messages that answer without a login: acknowledge, resolve, a verdict.

For who is woken by a mail and has a telephone. An address holds what it says, about which incident,
to which receiver it was sent and until when it holds, signed with a key that only the state
database knows. Opening it shows a page with a button and changes nothing: mail scanners and
previews open every link (`web.answer_pages`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args

from tocsin.delivery.answers import RESPONSES, VERDICTS, Said
from tocsin.domain.secret import Secret
from tocsin.net.proof import NotAuthentic

PATH = "/answers/"
HOLDS = timedelta(days=7)
_LONGEST = 2_000
_PURPOSE = b"tocsin answer link 1\n"


@dataclass(frozen=True, slots=True)
class Link:
    """What an address says: `said` about an incident, to whoever got it from `receiver`."""

    incident_id: str
    receiver: str
    said: Said


@dataclass(frozen=True, slots=True)
class AnswerLinks:
    """Makes and reads addresses below `base`, the public address of the web interface."""

    key: Secret
    base: str

    def offer(
        self, incident_id: str, receiver: str, action: str, at: datetime
    ) -> tuple[tuple[str, str], ...]:
        """Words and address of what can be said in a message: verdicts when it is over."""
        offered = VERDICTS if action == "resolve" else RESPONSES
        return tuple(
            (words, self.address(Link(incident_id, receiver, said), at + HOLDS))
            for said, words in offered.items()
            if said != action
        )

    def address(self, link: Link, until: datetime) -> str:
        """The address that says it."""
        said = [link.incident_id, link.receiver, link.said, int(until.timestamp())]
        body = _text(json.dumps(said, separators=(",", ":")).encode())
        return f"{self.base.rstrip('/')}{PATH}{body}.{self._mac(body)}"

    def read(self, token: str, now: datetime) -> Link:
        """What the end of an address says. NotAuthentic when it is not ours or does not hold."""
        body, _, mac = token.partition(".")
        given, expected = mac.encode(errors="replace"), self._mac(body).encode()
        if len(token) > _LONGEST or not hmac.compare_digest(given, expected):
            raise NotAuthentic("this link is not one of ours, or not whole: copy all of it")
        try:
            incident_id, receiver, said, until = json.loads(base64.urlsafe_b64decode(body + "=="))
            ends = datetime.fromtimestamp(until, UTC)
        except (ValueError, TypeError, binascii.Error):
            raise NotAuthentic("this link is of another release of Tocsin") from None
        if said not in get_args(Said):
            raise NotAuthentic("this link is of another release of Tocsin")
        if now > ends:
            raise NotAuthentic(f"this link held until {ends:%Y-%m-%d}; log in and answer there")
        return Link(incident_id, receiver, said)

    def _mac(self, body: str) -> str:
        message = _PURPOSE + body.encode(errors="replace")
        return _text(hmac.new(self.key.reveal().encode(), message, hashlib.sha256).digest())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
