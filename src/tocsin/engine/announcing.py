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
from tocsin.delivery.channels import CHANNELS
from tocsin.domain.clock import from_minute, iso, to_minute
from tocsin.domain.findings import ASIDE, NewEffect
from tocsin.domain.series import Change
from tocsin.engine.house import House

BACK = timedelta(hours=2)
MOST = 200  # changes at one look


def announce(house: House, now: datetime) -> int:
    """Write an effect for each change and receiver that was not told yet; how many were new.

    Raises StoreError when changes cannot be read now.
    """
    takers: Mapping[str, TakesChanges] = {
        name: channel
        for name, receiver in house.desired.receivers.items()
        if receiver.config is not None
        and isinstance(channel := CHANNELS[receiver.type](receiver.config), TakesChanges)
    }
    if not any(taker.takes_changes for taker in takers.values()):
        return 0
    changes = house.history.changes(to_minute(now - BACK), to_minute(now) + 1)[-MOST:]
    wanted = [
        _effect(name, change, now)
        for change in changes
        for name, taker in takers.items()
        if taker.takes_changes_of(change.service)
    ]
    told = {each.key for each in house.state.effects_named([each.key for each in wanted])}
    new = [each for each in wanted if each.key not in told]
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
