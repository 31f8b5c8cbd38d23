"""Pictures of what an incident is about, for receivers that show them; after the page, never in it.

When a receiver has taken the first message about an incident, the picture follows as an effect of
its own, in the last lane, outside the order of the messages about the incident: it can
hold up none of them. Whatever goes wrong on the way there, the page is out already.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.assess.band import Band, expected_band
from tocsin.delivery.channel import TakesPictures
from tocsin.delivery.figure import Figure
from tocsin.domain.clock import from_minute, to_minute
from tocsin.domain.findings import ASIDE, Incident, NewEffect
from tocsin.engine.house import House
from tocsin.store.reads import Timeline

RECENT = timedelta(minutes=15)  # an older page is not illustrated any more
BEFORE_MIN, LONGEST_MIN = 105, 240
_SPAN = 72  # points that say what was usual
_Floats = npt.NDArray[np.float64]


def picture(house: House, now: datetime) -> int:
    """Write an effect for each page that was taken lately and has no picture; how many were new.

    Raises StoreError when history cannot be read now.
    """
    every: Mapping[str, object] = house.desired.channels
    takers = {
        name
        for name, channel in every.items()
        if isinstance(channel, TakesPictures) and channel.takes_pictures
    }
    if not takers:
        return 0
    told = [each for each in house.state.told_since(now - RECENT) if each.receiver in takers]
    keys = {_key(each.incident_id, each.receiver): each for each in told}
    for known in house.state.effects_named(list(keys)):
        keys.pop(known.key, None)
    drawn: dict[str, Figure | None] = {}
    new = []
    for key, each in keys.items():
        incident = house.state.incident(each.incident_id)
        if incident is None:
            continue
        if incident.id not in drawn:
            drawn[incident.id] = figure_of(house, incident, now)
        figure = drawn[incident.id]
        if figure is not None:
            new.append(_effect(house, key, each.receiver, incident, figure, now))
    if not new:
        return 0
    with house.state.transaction() as tx:
        return sum(tx.add_effect(each) for each in new)


def figure_of(house: House, incident: Incident, now: datetime) -> Figure | None:
    """The number that an incident is about, over two hours to four; None when nothing is known.

    As on the incident's page: p95 latency when it is about latency, else the share of failed calls.
    """
    service = incident.labels.get("service", "")
    known = house.desired.services.get(service)
    stop = to_minute(min(incident.resolved or now, now))
    start = max(to_minute(incident.opened) - BEFORE_MIN, stop - LONGEST_MIN)
    name = known.service_name if known is not None else service
    timeline = house.telemetry.prompt.reads.timeline(name, start, stop)
    if not service or not timeline.n.any():
        return None
    signal = incident.labels.get("signal", "")
    is_latency = signal.startswith("latency") or incident.labels.get("slo_metric") == "latency"
    before = np.arange(start, stop) < to_minute(incident.opened)
    values, band = (_latency if is_latency else _failures)(timeline, before)
    what = "p95 latency" if is_latency else "share of failed calls"
    changes = house.history.changes(start, stop)
    return Figure(
        title=f"{service}: {what}",
        unit="s" if is_latency else "ratio",
        start=from_minute(start),
        step=timedelta(minutes=1),
        values=_known(values),
        low=_known(band.lower),
        high=_known(band.upper),
        began=incident.opened,
        changes=tuple(
            (from_minute(c.at_minute), f"{c.kind} {c.title}".strip())
            for c in changes
            if c.service in ("", service)
        ),
    )


# --- private -----------------------------------------------------------------------------------


def _latency(timeline: Timeline, before: npt.NDArray[np.bool_]) -> tuple[_Floats, Band]:
    p95_s = timeline.p95_ms / 1000
    return p95_s, expected_band(np.where(before, p95_s, np.nan), span=_SPAN, scale="log")


def _failures(timeline: Timeline, before: npt.NDArray[np.bool_]) -> tuple[_Floats, Band]:
    counts = timeline.n.astype(np.float64)
    nothing = np.full(len(counts), np.nan)
    share = np.divide(timeline.failed, counts, out=nothing, where=timeline.n > 0)
    band = expected_band(np.where(before, share, np.nan), span=_SPAN, counts=counts)
    return share, band


def _known(values: _Floats) -> tuple[float | None, ...]:
    """Four digits are more than a picture shows."""
    return tuple(float(f"{v:.4g}") if np.isfinite(v) else None for v in values)


def _key(incident_id: str, receiver: str) -> str:
    return f"{incident_id}:picture:{receiver}"


def _effect(
    house: House, key: str, receiver: str, incident: Incident, figure: Figure, now: datetime
) -> NewEffect:
    references = [
        effect.remote_ref
        for effect in house.state.effects(incident.id)
        if effect.receiver == receiver and effect.remote_ref
    ]
    payload: dict[str, Any] = {
        "picture": {
            "incident": incident.id,
            "title": incident.title,
            "service": incident.labels.get("service", ""),
            "tier": incident.tier,
            "thread": dict(references[0]) if references else None,
            "figure": figure.to_json(),
        }
    }
    return NewEffect(key, "notify", receiver, "", "picture", now, ASIDE, payload)
