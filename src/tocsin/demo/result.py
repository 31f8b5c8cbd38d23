"""What a run of the demo came to: the incidents of the state store held against the labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tocsin.demo.labels import Found, Messages, Scorecard, score
from tocsin.demo.script import Label
from tocsin.domain.findings import EffectState, Incident, services_of
from tocsin.engine.commit import SPARED
from tocsin.engine.house import House
from tocsin.store.rows import StoredEffect


def scorecard(
    house: House, labels: Sequence[Label], *, calls: int, services: int, until: datetime
) -> Scorecard:
    """The run up to `until`, from what was stored and sent, not from what was meant."""
    incidents = house.state.list_incidents(100_000)
    effects = {incident.id: house.state.effects(incident.id) for incident in incidents}
    found = [_found(house, incident, effects[incident.id]) for incident in incidents]
    digests = [e for e in house.state.effects("") if e.kind == "notify"]
    sent = sum(_is_sent(e) for some in (*effects.values(), digests) for e in some)
    spared = house.state.get_meta(SPARED) or {}
    return score(
        found,
        labels,
        calls=calls,
        services=services,
        messages=Messages(
            sent=sent,
            grouped=spared.get("grouped", 0) + spared.get("cooldown", 0),
            digested=spared.get("digested", 0),
            inhibited=sum(
                spared.get(name, 0) for name in ("inhibited", "silenced", "maintenance", "observed")
            ),
        ),
        until=until,
    )


def _found(house: House, incident: Incident, effects: Sequence[StoredEffect]) -> Found:
    told = [e for e in effects if _is_sent(e) and e.action == "trigger"]
    paged = [e for e in told if house.rules.policy.is_pager(e.receiver)]
    return Found(
        id=incident.id,
        services=services_of(incident),
        opened=incident.opened,
        tier=min([incident.tier, *(e.lane for e in told)]),
        first_message=_first(told),
        first_page=_first(paged),
        title=incident.title,
        signal=incident.labels.get("signal", ""),
    )


def _first(effects: Sequence[StoredEffect]) -> datetime | None:
    return min((e.finished for e in effects if e.finished is not None), default=None)


def _is_sent(effect: StoredEffect) -> bool:
    return effect.kind == "notify" and effect.state is EffectState.DONE
