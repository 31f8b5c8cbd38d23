"""What a receiver got, laid out as its reader would see it: pager, Slack, mail, webhook.

Bodies come from the outbox and may hold anything users and providers wrote, so everything here is
escaped text; only http(s) addresses become links. A body of unknown shape is shown as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email import message_from_string
from email.policy import default as default_policy
from typing import Any

from markupsafe import Markup, escape

from tocsin.web.views import MessageView

Facts = tuple[tuple[str, str], ...]
Links = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One stretch of a message: running text, or named facts, or links."""

    text: Markup | None = None
    facts: Facts = ()
    links: Links = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A message to read. raw: the body exactly as sent, indented."""

    title: str
    sections: tuple[Section, ...]
    raw: str


def layout(message: MessageView) -> Layout:
    """Lay a message out by its channel; falls back to the raw body alone."""
    raw = message.body if isinstance(message.body, str) else _pretty(message.body)
    draw = _CHANNELS.get(message.channel, _webhook)
    if isinstance(message.body, str) and message.channel != "email":
        return Layout(message.action or message.channel, (), raw)
    try:
        title, sections = draw(message.body)
    except (AttributeError, KeyError, TypeError, ValueError):
        title, sections = "", ()
    return Layout(title or message.action or message.channel, sections, raw)


def _pager(body: Any) -> tuple[str, tuple[Section, ...]]:
    payload = body.get("payload") or {}
    facts = _facts(
        {
            "Event": body.get("event_action"),
            "Severity": payload.get("severity"),
            "Source": payload.get("source"),
            "Component": payload.get("component"),
            "Class": payload.get("class"),
            "Key": body.get("dedup_key"),
        }
    )
    details = payload.get("custom_details") or {}
    links = _links((link.get("text", ""), link.get("href")) for link in body.get("links") or ())
    sections = [Section(facts=facts)]
    if isinstance(details, Mapping) and details:
        sections.append(Section(facts=_facts(details)))
    if links:
        sections.append(Section(links=links))
    return str(payload.get("summary") or body.get("event_action") or ""), tuple(sections)


def _slack(body: Any) -> tuple[str, tuple[Section, ...]]:
    blocks = list(body.get("blocks") or ())
    for attachment in body.get("attachments") or ():
        blocks += attachment.get("blocks") or ()
    title, sections = "", []
    for block in blocks:
        kind = block.get("type")
        if kind == "header" and not title:
            title = str(block["text"]["text"])
        elif kind in ("section", "header"):
            sections += _slack_section(block)
        elif kind == "context":
            parts = [_mrkdwn(e["text"]) for e in block["elements"] if "text" in e]
            sections.append(Section(text=Markup(" · ").join(parts)))
        elif kind == "actions":
            buttons = ((e["text"]["text"], e.get("url")) for e in block["elements"] if "text" in e)
            sections.append(Section(links=_links(buttons)))
    if not blocks:
        sections.append(Section(text=_mrkdwn(str(body.get("text", "")))))
    return title or str(body.get("text", "")).split("\n")[0], tuple(sections)


def _slack_section(block: Mapping[str, Any]) -> list[Section]:
    sections = []
    if "text" in block:
        sections.append(Section(text=_mrkdwn(block["text"]["text"])))
    fields = [_mrkdwn(field["text"]) for field in block.get("fields") or ()]
    sections += [Section(text=text) for text in fields]
    return sections


def _mail(body: Any) -> tuple[str, tuple[Section, ...]]:
    if isinstance(body, str):
        parsed = message_from_string(body, policy=default_policy)
        part = parsed.get_body(("plain", "html"))
        text = str(part.get_content()) if part is not None else ""
        head: Mapping[str, Any] = {name.lower(): value for name, value in parsed.items()}
    else:
        head, text = body, str(body.get("text") or body.get("body") or "")
    recipients = head.get("to")
    to = ", ".join(recipients) if isinstance(recipients, list | tuple) else recipients
    facts = _facts({"From": head.get("from"), "To": to})
    paragraphs = [
        Section(text=_lines(part)) for part in text.replace("\r\n", "\n").strip().split("\n\n")
    ]
    return str(head.get("subject") or ""), (Section(facts=facts), *paragraphs)


def _webhook(body: Any) -> tuple[str, tuple[Section, ...]]:
    data = body.get("data")
    nested = data if isinstance(data, Mapping) else {}
    incident = nested.get("incident")
    named = {**nested, **incident} if isinstance(incident, Mapping) else nested or body
    flat = {k: v for k, v in named.items() if isinstance(v, str | int | float | bool)}
    title = str(named.get("title") or body.get("title") or body.get("type") or "")
    return title, (Section(facts=_facts({"Type": body.get("type"), **flat})),)


_CHANNELS: Mapping[str, Callable[[Any], tuple[str, tuple[Section, ...]]]] = {
    "pagerduty": _pager,
    "slack": _slack,
    "email": _mail,
    "webhook": _webhook,
}

_MARKS = re.compile(
    r"<(?P<url>https?://[^|>\s]+)(?:\|(?P<label>[^>]*))?>|\*(?P<bold>[^*\n]+)\*|`(?P<code>[^`\n]+)`"
)
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


def _mrkdwn(text: str) -> Markup:
    """Slack's markup as HTML: *bold*, `code`, <address|label>; its three entities are undone."""
    parts, place = [], 0
    for match in _MARKS.finditer(text):
        parts.append(_lines(_plain(text[place : match.start()])))
        place = match.end()
        if match["url"]:
            label = _plain(match["label"] or match["url"])
            parts.append(
                Markup('<a href="{}" rel="noreferrer">{}</a>').format(_plain(match["url"]), label)
            )
        elif match["bold"]:
            parts.append(Markup("<strong>{}</strong>").format(_plain(match["bold"])))
        else:
            parts.append(Markup("<code>{}</code>").format(_plain(match["code"])))
    parts.append(_lines(_plain(text[place:])))
    return Markup("").join(parts)


def _plain(text: str) -> str:
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


def _lines(text: str) -> Markup:
    return Markup("<br>").join(escape(line) for line in text.split("\n"))


def _facts(values: Mapping[str, Any]) -> Facts:
    return tuple((str(k), _value(v)) for k, v in values.items() if v not in (None, "", [], {}))


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _links(pairs: Any) -> Links:
    return tuple(
        (str(label or url), str(url))
        for label, url in pairs
        if isinstance(url, str) and url.startswith(("https://", "http://"))
    )


def _pretty(body: Any) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False, default=str)
