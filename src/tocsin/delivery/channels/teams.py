"""`teams`: a workflow of Microsoft Teams that posts an Adaptive Card.

https://learn.microsoft.com/connectors/teams/ (trigger "When a Teams webhook request is received"):
the address is the credential. 202 says that the flow was started. A message is at most about 28 KB.
Nothing can be updated, looked up or recognised, so an unclear send is repeated. Text of others goes
into text runs, which Teams does not interpret: it can hide no link and mention nobody. A picture is
a card of its own that holds its bytes (a data URI, Adaptive Cards 1.2), small enough for that.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from tocsin.delivery.figure import Figure, png
from tocsin.delivery.http import call
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Delivered, Outcome
from tocsin.domain.clock import iso
from tocsin.domain.secret import Secret, secret

# Below the documented "about 28 KB", which counts the message as Teams wraps it.
LARGEST_BODY = 26_000
LARGEST_IMAGE = 17_000  # a third more in base64
MOST_LINKS = 6
_COLOURS = {"critical": "attention", "warning": "warning", "info": "accent"}


@dataclass(frozen=True, slots=True)
class TeamsConfig:
    """url: of a workflow that was made from "Send webhook alerts to a channel" (or to a chat).

    charts: a card with a picture of what happened follows. answer_links: whoever sees the card may
    answer by its buttons, without a login, for seven days.
    """

    url: Secret
    charts: bool = False
    answer_links: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", secret(self.url))
        if "webhook.office.com" in self.url.reveal():
            raise ValueError(
                "url: connectors of Office 365 have been retired; make a workflow in Teams "
                "(Workflows, Send webhook alerts to a channel) and use its address"
            )


class Teams:
    """Posts cards to one channel or chat."""

    Config: ClassVar[type[TeamsConfig]] = TeamsConfig
    is_idempotent: ClassVar[bool] = False
    rate_per_s: ClassVar[float] = 2.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: TeamsConfig) -> None:
        self.config = config

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """One card."""
        image = b"" if message.figure is None else await asyncio.to_thread(_image, message.figure)
        response = await call(
            http,
            "POST",
            self.config.url.reveal(),
            at=message.at,
            secrets=[self.config.url],
            body=body_of(message, image),
        )
        return Delivered({}) if isinstance(response, httpx.Response) else response

    @property
    def shows_answer_links(self) -> bool:
        """Whether cards have buttons that answer."""
        return self.config.answer_links

    @property
    def takes_pictures(self) -> bool:
        """Whether a card with a picture follows."""
        return self.config.charts


def body_of(message: Message, image: bytes = b"") -> dict[str, Any]:
    """The message with its card; shortened until it is small enough. image: a PNG in it."""
    if image:
        return _message(message, 300, 0, image)
    for longest, items in ((4_000, 50), (1_000, 20), (300, 20), (120, 10)):
        body = _message(message, longest, items)
        if len(json.dumps(body)) <= LARGEST_BODY:
            return body
    return _message(message, 60, 0)


# --- private -----------------------------------------------------------------------------------


def _image(figure: Figure) -> bytes:
    """The largest picture that leaves room for the rest of the card."""
    for width, height in ((640, 220), (480, 180), (360, 140)):
        image = png(figure, width, height)
        if len(image) <= LARGEST_IMAGE:
            return image
    return b""


def _message(message: Message, longest: int, items: int, image: bytes = b"") -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": truncate(message.heading, 200),
        "body": _body(message, longest, items) + _pictures(message, image),
        "actions": [
            {"type": "Action.OpenUrl", "title": truncate(text, 60), "url": href}
            for text, href in (*message.answers, *message.links)[:MOST_LINKS]
            if href.startswith(("https://", "http://")) and len(href) <= 2_000
        ],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _pictures(message: Message, image: bytes) -> list[dict[str, Any]]:
    if not image:
        return []
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    return [{"type": "Image", "url": source, "altText": message.summary, "size": "stretch"}]


def _body(message: Message, longest: int, items: int) -> list[dict[str, Any]]:
    colour = "good" if message.action == "resolve" else _COLOURS.get(message.severity, "default")
    head = {"size": "large", "weight": "bolder", "color": colour}
    body = [_text((truncate(message.heading, 300), head))]
    if message.summary:
        body.append(_text((truncate(message.summary, longest), {})))
    facts = list(message.evidence[:items])
    if message.since is not None:
        facts.insert(0, ("Since", iso(message.since)))
    for label, texts in (("For", message.who), ("Also told", message.told)):
        if texts:
            facts.append((label, ", ".join(texts)))
    facts += [("Note", message.note)] if message.note else []
    body += [_fact(label, truncate(text, longest)) for label, text in facts]
    for label, texts in (
        ("Just before", message.changes),
        ("First steps", message.first_steps),
        ("Findings", message.items),
    ):
        if texts[:items]:
            listed = "\n".join(f"• {truncate(text, longest)}" for text in texts[:items])
            body.append(_fact(label, f"\n{listed}"))
    return body


def _fact(label: str, text: str) -> dict[str, Any]:
    return _text((f"{label}: ", {"weight": "bolder"}), (text, {}), spacing="small")


def _text(*runs: tuple[str, dict[str, str]], spacing: str = "default") -> dict[str, Any]:
    inlines = [{"type": "TextRun", "text": text, **style} for text, style in runs]
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": inlines}
