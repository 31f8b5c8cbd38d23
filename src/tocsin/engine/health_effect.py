"""What changed formulas of health scores would have done: by what was kept, or over a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tocsin.assess.health import Reading
from tocsin.assess.health_effect import HealthEffect, rescored
from tocsin.assess.health_monitor import HealthScoreConfig, config_of, health_monitors
from tocsin.engine.scoring import document_of, readings_of
from tocsin.spec.desired import Desired
from tocsin.store.state import StateStore

DAYS = 7


def kept_effects(
    state: StateStore, before: Desired | None, after: Desired, minute: int, days: int = DAYS
) -> tuple[HealthEffect, ...]:
    """Of every score whose formula changes, over the last `days` before `minute` that were kept."""
    return tuple(_kept(state, before, after, minute - days * 1440, minute))


def replayed_effects(
    old: StateStore, new: StateStore, before: Desired, after: Desired, span: tuple[int, int]
) -> tuple[HealthEffect, ...]:
    """Of every score whose formula changes, from two backtests over the same epoch minutes."""
    was, now = _scores(before), _scores(after)
    found = []
    for name, config in now.items():
        if name not in was or was[name].digest == config.digest:
            continue
        past, other = (
            rescored(one.health, _samples(store, name, span))
            for store, one in ((old, was[name]), (new, config))
        )
        found.append(HealthEffect(name, *span, past, other))
    return tuple(found)


# --------------------------------------------------------------------------------------------


def _kept(
    state: StateStore, before: Desired | None, after: Desired, start: int, stop: int
) -> Iterator[HealthEffect]:
    was = _scores(before) if before is not None else {}
    for name, config in _scores(after).items():
        if name not in was or was[name].digest == config.digest:
            continue
        samples = _samples(state, name, (start, stop))
        if not samples:
            continue
        read = {metric for _, readings in samples for metric in readings}
        missing = [one.metric for one in config.health.components if one.metric not in read]
        yield HealthEffect(
            name, samples[0][0], stop, rescored(was[name].health, samples),
            rescored(config.health, samples), tuple(missing),
        )  # fmt: skip


def _scores(desired: Desired) -> Mapping[str, HealthScoreConfig]:
    return {document_of(one): config_of(one) for one in health_monitors(desired.monitors)}


def _samples(
    state: StateStore, name: str, span: tuple[int, int]
) -> list[tuple[int, Mapping[str, Reading]]]:
    return [(one.minute, readings_of(one)) for one in state.health_samples(name, *span)]
