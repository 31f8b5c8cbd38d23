"""A message in Slack's Block Kit, within its limits.

https://docs.slack.dev/reference/block-kit/blocks: 50 blocks a message, 150 characters a header,
3000 a section, 10 fields of 2000, 5 buttons of 75 with addresses of 3000. Text of others is
escaped: it can neither mention a channel nor hide a link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.delivery.answers import RESPONSES, VERDICTS, Answer, Said
from tocsin.delivery.message import Message, short_key, truncate
from tocsin.domain.clock import iso

MOST_BLOCKS = 50
LONGEST_TEXT = 3000
# Slack refuses messages whose blocks are long together, well below the sum of the single limits.
LONGEST_TOTAL = 12_000
_LONGEST_HEADER = 150
_LONGEST_FIELD = 2000
_MOST_FIELDS = 10
_ID = "tocsin_"
_KNOWN: Mapping[str, Said] = {f"{_ID}{said}": said for said in (*RESPONSES, *VERDICTS)}
_ICONS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}


def headline(message: Message) -> str:
    """One line: what notifications and old clients show."""
    return truncate(f"{_icon(message)} {escape(message.heading)}", LONGEST_TEXT)


def blocks_of(message: Message, *, has_buttons: bool = False) -> list[dict[str, Any]]:
    """The whole message as blocks; what does not fit is left out and said to be.

    has_buttons: whether somebody listens to buttons that acknowledge and resolve.
    """
    buttons = list(_answers(message)) if has_buttons else []
    blocks: list[dict[str, Any]] = []
    room = LONGEST_TOTAL - sum(len(str(block)) for block in buttons)
    for block in _blocks(message):
        room -= len(str(block))
        if len(blocks) + len(buttons) == MOST_BLOCKS - 1 or room < 0:
            blocks.append(_context("More than fits here: see the incident."))
            break
        blocks.append(block)
    return blocks + buttons


def button_value(incident_id: str) -> str:
    """What a button about an incident holds (at most 2000 characters)."""
    return short_key(incident_id, 500)


def answers_of(payload: Mapping[str, Any]) -> tuple[Answer, ...]:
    """What the press of a button says (an interaction payload of the type block_actions)."""
    if payload["type"] != "block_actions":
        return ()
    user = payload["user"]
    who = f"slack:{user.get('username') or user.get('name') or user['id']}"
    reply = str(payload.get("response_url") or "")
    return tuple(
        Answer(
            _KNOWN[each["action_id"]],
            who,
            str(each["value"]),
            str(each["action_ts"]),
            "press",
            reply,
        )
        for each in payload["actions"]
        if each.get("action_id") in _KNOWN
    )


def escape(text: str) -> str:
    """`text` with the three characters that Slack interprets made harmless."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# --- private -----------------------------------------------------------------------------------


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    title = truncate(f"{_icon(message)} {message.heading}", _LONGEST_HEADER)
    yield {"type": "header", "text": {"type": "plain_text", "text": title}}
    yield _section(escape(message.summary))
    fields = [(label, text) for label, text in message.evidence]
    if message.since is not None:
        fields.insert(0, ("Since", iso(message.since)))
    for start in range(0, len(fields), _MOST_FIELDS):
        yield {"type": "section", "fields": [
            _markdown(f"*{escape(label)}*\n{escape(text)}", _LONGEST_FIELD)
            for label, text in fields[start : start + _MOST_FIELDS]
        ]}  # fmt: skip
    for label, items in (
        ("Just before", message.changes),
        ("First steps", message.first_steps),
        ("Findings", message.items),
    ):
        if items:
            yield from _list(label, items)
    if message.mention:
        yield _section(message.mention)  # from the configuration: it is meant to be a mention
    notes = [("For", ", ".join(message.who)), ("Also told", ", ".join(message.told))]
    notes.append(("Note", message.note))
    said = " · ".join(f"{label}: {escape(text)}" for label, text in notes if text)
    if said:
        yield _context(said)
    buttons = [
        {"type": "button", "text": {"type": "plain_text", "text": truncate(text, 75)}, "url": href}
        for text, href in message.links
        if href.startswith(("https://", "http://")) and len(href) <= LONGEST_TEXT
    ]
    if buttons:
        yield {"type": "actions", "elements": buttons[:5]}


def _answers(message: Message) -> Iterator[dict[str, Any]]:
    """Buttons for what can still be done about the incident; when it is over, for verdicts."""
    if message.action == "digest" or not message.subject:
        return
    if message.action == "resolve":
        yield {"type": "actions", "block_id": "tocsin_verdict",
               "elements": _buttons(message, VERDICTS)}  # fmt: skip
        return
    elements = _buttons(message, RESPONSES)
    elements[-1]["confirm"] = {
        "title": {"type": "plain_text", "text": "Is it over?"},
        "text": {"type": "plain_text", "text": "Everybody who was told will be told so."},
        "confirm": {"type": "plain_text", "text": "It is over"},
        "deny": {"type": "plain_text", "text": "Not yet"},
    }
    yield {"type": "actions", "block_id": "tocsin_answers", "elements": elements}


def _buttons(message: Message, offered: Mapping[Said, str]) -> list[dict[str, Any]]:
    return [
        {
            "type": "button",
            "action_id": f"{_ID}{said}",
            "value": button_value(message.subject),
            "text": {"type": "plain_text", "text": text},
        }
        for said, text in offered.items()
        if said != message.action
    ]


def _list(label: str, items: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    text = f"*{label}*"
    for item in items:
        line = truncate(f"\n• {escape(item)}", LONGEST_TEXT // 2)
        if len(text) + len(line) > LONGEST_TEXT:
            yield _section(text)
            text = line.lstrip("\n")
        else:
            text += line
    yield _section(text)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _markdown(text or "-", LONGEST_TEXT)}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_markdown(text, LONGEST_TEXT)]}


def _markdown(text: str, longest: int) -> dict[str, str]:
    return {"type": "mrkdwn", "text": truncate(text, longest)}


def _icon(message: Message) -> str:
    if message.action == "resolve":
        return "🟢"
    return "📋" if message.action == "digest" else _ICONS.get(message.severity, "🔵")
