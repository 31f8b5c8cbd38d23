"""Tells receivers that want to know what was changed: deploys, prompt versions, model switches.

A pager shows them beside its incidents, also beside those that Tocsin has no part in. Whatever came
in as a change is told, by whichever way it came, to each receiver whose channel takes changes of
its service (`delivery.channel.TakesChanges`), as an effect like any other: once under its key, in
the lane of what nobody waits for. A change that comes in up to two hours after it was made is told
too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from tocsin.delivery.channel import TakesChanges
from tocsin.domain.clock import from_minute, iso, to_minute
from tocsin.domain.findings import ASIDE, NewEffect
from tocsin.domain.series import Change
from tocsin.engine.house import House

BACK = timedelta(hours=2)
AT_ONCE = 200


def announce(house: House, now: datetime) -> int:
    """Write an effect for each change and receiver that was not told yet; how many were new.

    Raises StoreError when changes cannot be read now.
    """
    every: Mapping[str, object] = house.desired.channels
    takers = {
        name: channel
        for name, channel in every.items()
        if isinstance(channel, TakesChanges) and channel.takes_changes
    }
    if not takers:
        return 0
    changes = house.history.changes(to_minute(now - BACK), to_minute(now) + 1)
    wanted = [
        _effect(name, change, now)
        for change in changes
        for name, taker in takers.items()
        if taker.takes_changes_of(change.service)
    ]
    new: list[NewEffect] = []
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first : first + AT_ONCE]
        told = {each.key for each in house.state.effects_named([each.key for each in some])}
        new += [each for each in some if each.key not in told]
        if len(new) >= AT_ONCE:  # the rest at the next look
            break
    if not new:
        return 0
    with house.state.transaction() as tx:
        return sum(tx.add_effect(each) for each in new)


def _effect(receiver: str, change: Change, now: datetime) -> NewEffect:
    what = (change.at_minute, change.service, change.kind, change.title, *change.labels.items())
    name = hashlib.sha256(repr(what).encode()).hexdigest()[:32]
    payload = {
        "change": {
            "id": name,
            "at": iso(from_minute(change.at_minute)),
            "service": change.service,
            "kind": change.kind,
            "title": change.title,
            "labels": dict(change.labels),
        }
    }
    key = f"change:{name}:{receiver}"
    return NewEffect(key, "notify", receiver, "", "change", now, ASIDE, payload)
