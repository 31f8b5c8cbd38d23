"""Digests: findings that can wait are told together, at the times a team chose.

An issue of a digest is planned by whoever adds its first line (one effect per issue, whichever line
comes first). When it is due, its lines are fixed and one message per receiver is put into the
outbox, in one transaction: a line is in exactly one issue, and an issue without lines is not sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.delivery.effects import DueEffect, OutboxTransaction, log
from tocsin.domain.findings import EffectState, NewEffect

ONE_DAY = timedelta(hours=36)
MOST_BARS = 31


def fan_out(tx: OutboxTransaction, effect: DueEffect, now: datetime) -> None:
    """Carry out a digest that is due. payload: digest (its name), to (receivers), title."""
    name = str(effect.payload.get("digest") or effect.receiver)
    receivers = [str(receiver) for receiver in effect.payload.get("to") or [effect.receiver]]
    items = tx.take_digest_items(name, now)
    lines = _lines(items)
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
                    "charts": charts(items, now),
                },
            )
        )
    told = f"{len(lines)} findings to {', '.join(receivers)}" if lines else "nothing to tell"
    tx.settle(effect.id, EffectState.DONE, reason=told, now=now)
    log(tx, effect, "digest.issued", told, now)


def charts(items: Sequence[Any], now: datetime) -> list[dict[str, Any]]:
    """Findings counted by day (UTC, days without any too) and by service, as JSON.

    Each is a title and bars of label and count. A finding counts on the day it was mentioned first;
    a digest of one day has no chart by day.
    """
    first = {item.fingerprint or str(item.id): item for item in reversed(items)}
    days = Counter(item.at.astimezone(UTC).date() for item in first.values())
    found: list[dict[str, Any]] = []
    if days and (now - min(item.at for item in items)) > ONE_DAY:
        start, span = min(days), now.astimezone(UTC).date() - min(days)
        every = [start + timedelta(days=n) for n in range(min(span.days + 1, MOST_BARS))]
        bars = [[f"{day:%a %d %b}", days[day]] for day in every]
        found.append({"title": "Findings by day", "bars": bars})
    services = Counter(item.text.partition(":")[0].partition(",")[0] for item in first.values())
    if len(services) > 1:
        bars = [[name, count] for name, count in services.most_common(MOST_BARS)]
        found.append({"title": "Findings by service", "bars": bars})
    return found


def _lines(items: Sequence[Any]) -> list[str]:
    """One line per finding: the last word on it, where it was first mentioned."""
    return list({item.fingerprint or str(item.id): item.text for item in items}.values())
