"""Which segments of gauges are not judged, in words: dimensions have more values than places."""

from __future__ import annotations

from tocsin.assess.gauges.slices import Crowded
from tocsin.assess.monitor import Monitor
from tocsin.domain.figures import percent
from tocsin.engine.house import House

_NAMED = 5


def sentences(house: House, monitor: Monitor | None = None) -> tuple[str, ...]:
    """About every dimension of one monitor, or of all, that leaves values out."""
    with house.undisturbed():
        found = house.window.slices.crowded()
    if monitor is not None and monitor.series is not None:
        mine = (monitor.service, monitor.series.indicator)
        found = [one for one in found if (one.service, one.indicator) == mine]
    return tuple(map(_sentence, found))


def _sentence(one: Crowded) -> str:
    left = len(one.left_out)
    named = ", ".join(one.left_out[:_NAMED]) + (f" and {left - _NAMED} more" * (left > _NAMED))
    return (
        f"{one.service}, {one.indicator}: of {one.judged + left} values of {one.dimension} the"
        f" {one.judged} with the most calls are judged; not judged, with {percent(one.share)} of"
        f" the calls: {named}"
    )
