"""What a status page published, for one endpoint that subscribed to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tocsin.delivery.message import Message, Occasion
from tocsin.domain.findings import ASIDE, NewEffect

ACTION = "notice"


def notice_effect(
    key: str, receiver: str, to: str, token: str, body: Mapping[str, Any], now: datetime
) -> NewEffect:
    """Post `body` to the endpoint `to`, whose subscription has the token."""
    payload = {"notice": {"to": to, "token": token, "body": dict(body)}}
    return NewEffect(key, "notify", receiver, "", ACTION, now, ASIDE, payload)


def render_notice(effect: Occasion, _: str, *, at: datetime) -> Message:
    """address: the endpoint; subject: the token of its subscription; summary: the body as JSON."""
    kept = effect.payload["notice"]
    body = json.dumps(kept["body"], separators=(",", ":"), ensure_ascii=False)
    return Message(
        key=effect.key, at=at, action=effect.action, subject=str(kept["token"]), title="",
        summary=body, address=str(kept["to"]),
    )  # fmt: skip
