"""What a person is told who pressed a button that the message itself shows no effect of.

A verdict is noted and the message stays as it is; a press that came too late changes nothing. The
reply goes where the service says it is to go (`Answer.reply`), as an effect like any other: once
under its key, in the lane of what nobody waits for, and never when it is late.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin.delivery.answers import Answer
from tocsin.delivery.message import Message, Occasion
from tocsin.domain.findings import ASIDE, NewEffect

KEEPS = timedelta(minutes=30)  # as long as Slack takes one
ACTION = "reply"


def reply_effect(receiver: str, answer: Answer, text: str, now: datetime) -> NewEffect:
    """Tell whoever gave an answer what became of it."""
    key = f"reply:{receiver}:{answer.subject}:{answer.id}:{answer.action}"
    payload = {"reply": {"to": answer.reply, "text": text}}
    return NewEffect(key, "notify", receiver, "", ACTION, now, ASIDE, payload)


def render_reply(effect: Occasion, _: str, *, at: datetime) -> Message:
    """The text, for the address that the service gave."""
    kept = effect.payload["reply"]
    return Message(
        key=effect.key, at=at, action=effect.action, subject=effect.key, title=str(kept["text"]),
        summary="", address=str(kept["to"]),
    )  # fmt: skip
