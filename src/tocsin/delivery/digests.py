"""Digests: findings that can wait are told together, at the times a team chose.

An issue of a digest is planned by whoever adds its first line (one effect per issue, whichever line
comes first). When it is due, its lines are fixed and one message per receiver is put into the
outbox, in one transaction: a line is in exactly one issue, and an issue without lines is not sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tocsin.delivery.effects import DueEffect, OutboxTransaction, log
from tocsin.domain.findings import EffectState, NewEffect


def fan_out(tx: OutboxTransaction, effect: DueEffect, now: datetime) -> None:
    """Carry out a digest that is due. payload: digest (its name), to (receivers), title."""
    name = str(effect.payload.get("digest") or effect.receiver)
    receivers = [str(receiver) for receiver in effect.payload.get("to") or [effect.receiver]]
    lines = _lines(tx.take_digest_items(name, now))
    for receiver in receivers if lines else ():
        tx.add_effect(
            NewEffect(
                key=f"{effect.key}:{receiver}",
                kind="notify",
                receiver=receiver,
                incident_id="",
                action="digest",
                due=now,
                lane=effect.lane,
                payload={
                    "digest": name,
                    "title": effect.payload.get("title", ""),
                    "items": lines,
                },
            )
        )
    told = f"{len(lines)} findings to {', '.join(receivers)}" if lines else "nothing to tell"
    tx.settle(effect.id, EffectState.DONE, reason=told, now=now)
    log(tx, effect, "digest.issued", told, now)


def _lines(items: Sequence[Any]) -> list[str]:
    """One line per finding: the last word on it, where it was first mentioned."""
    return list({item.fingerprint or str(item.id): item.text for item in items}.values())
