"""Health scores beside the tick: followed minute by minute, they say when their state changes.

A state depends on the states before it, so what was found is kept: a sample every few minutes, and
every minute while a change is under way, with everything that is needed to go on from it. A restart
and another process go on where this one stopped. What moved a score is worked out when its state
changes, against a sample from before the change could have begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tocsin.assess.health import (
    Health,
    Reading,
    carried,
    config_from,
    formula_of,
    health,
)
from tocsin.assess.health_change import attribution
from tocsin.assess.health_looks import SegmentLooks
from tocsin.assess.health_monitor import HealthScoreConfig, config_of, health_monitors
from tocsin.assess.health_reading import readings
from tocsin.assess.health_segments import WORST, HealthSegmentsConfig
from tocsin.assess.health_state import HealthTrack, follow, track_of
from tocsin.assess.health_words import (
    masked_unknown,
    masked_verdict,
    moved_from,
    moved_text,
    standing_text,
)
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.clock import from_minute
from tocsin.domain.findings import Judgement, LedgerEvent, Verdict
from tocsin.domain.health import HealthSample
from tocsin.domain.ports import State

EVERY = 5  # minutes between samples while nothing changes
KEPT = 35 * 24 * 60  # minutes of samples: a month, and some days to compare it with
LOST = 60  # minutes without a sample after which a state has to be found anew
_BACK = 60  # minutes before a change could have begun in which a sample to compare with is sought
CHANGED = "health.changed"
_FAR = 1e300


@dataclass(frozen=True, slots=True)
class Least:
    """The lowest score, lower bound and coverage of every minute from epoch minute `since` on."""

    since: int
    score: float
    low: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A health score as it stands. last: every component as it was last known, and at which minute.
    held: what counts now, carried readings among it. moved: why it is where it is. least: the
    lowest of the minutes since the last sample; None without a score, and after that sample.
    """

    minute: int
    health: Health
    track: HealthTrack
    last: Mapping[str, tuple[int, Reading]] = field(default_factory=dict)
    held: Mapping[str, Reading] = field(default_factory=dict)
    moved: Mapping[str, Any] = field(default_factory=dict)
    least: Least | None = None


class Scoring:
    """What health scores remember between two minutes; made anew with every configuration.

    Memory is right only from one minute to the next: after a minute that was not judged here, or
    was not kept, another process may have gone on, and what is kept counts.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = health_monitors(monitors)
        segmented = [m for m in monitors if isinstance(m.method, HealthSegmentsConfig)]
        self._looks = {one.name: SegmentLooks(one) for one in segmented}
        self._names = frozenset((*(one.name for one in self._monitors), *self._looks))
        self._held: Mapping[str, Standing] | None = None
        self._judged = -1  # the epoch minute after which that is how scores stand

    def told(
        self, verdicts: Sequence[Verdict], window: Window, minute: int, state: State
    ) -> list[Verdict]:
        """`verdicts`, with what health scores say, which looks at the others."""
        if not self._monitors:
            return list(verdicts)
        if self._held is None or minute != self._judged + 1:
            self._held = self._recalled(state, minute)
        held = dict(self._held)
        found = {verdict.monitor: verdict for verdict in verdicts}
        told = [verdict for verdict in verdicts if verdict.monitor not in self._names]
        samples: list[HealthSample] = []
        events: list[LedgerEvent] = []
        for monitor in self._monitors:
            before = held.get(monitor.name)
            now = self._followed(monitor, before, window, minute, found, state)
            held[monitor.name] = now
            if _is_due(before, now):
                samples.append(sample_of(monitor, now))
                held[monitor.name] = replace(now, least=None)
            if now.track.state != ("unknown" if before is None else before.track.state):
                events.append(_event(monitor, before, now))
            if config_of(monitor).alerts and (verdict := _verdict(monitor, now)) is not None:
                told.append(verdict)
        self._keep(samples, events, minute, state)
        self._held, self._judged = held, minute  # not before: a change is told when it is kept
        for name, looks in self._looks.items():
            masked = self._masked(looks, window, minute, found.get(name))
            told += [masked] if masked is not None else []
        return told

    def judged(self, monitor: Monitor) -> set[tuple[str, str]]:
        """(dimension, value) of the segments that the last look could judge."""
        return {(one.dimension, one.value) for one in self._looks[monitor.name].judged}

    def _masked(
        self, looks: SegmentLooks, window: Window, minute: int, silence: Verdict | None
    ) -> Verdict | None:
        """What is said of segments that the whole hides; None when none is, or nobody is told.

        silence: what is said when no telemetry was read at all.
        """
        monitor, config = looks.monitor, looks.config
        if not config.alerts or silence is not None:
            return silence if config.alerts else None
        whole = (self._held or {})[config.score]
        looks.take(window, whole.held)
        if whole.health.score is None or whole.track.state == "unknown":
            why = whole.health.reason or "its state is not known yet"
            return masked_unknown(monitor, config, minute, f"the whole is unknown: {why}")
        if whole.track.state != "ok":
            return None
        why, often = looks.unsure, looks.confirmed
        if often and not looks.problem:
            score = whole.health.score
            return masked_verdict(monitor, config, often, score, looks.boundary, minute)
        return masked_unknown(monitor, config, minute, why) if why else None

    def _recalled(self, state: State, minute: int) -> Mapping[str, Standing]:
        """How scores stand by what is kept; formulas that are new are kept as well."""
        newest = state.newest_health()
        bodies = {config_of(m).digest: m for m in self._monitors}
        known = state.health_formulas(sorted(bodies))
        new = {digest: m for digest, m in bodies.items() if digest not in known}
        if new:
            with state.transaction() as tx:
                for digest, monitor in new.items():
                    body = formula_of(config_of(monitor).health)
                    tx.put_formula(digest, document_of(monitor), minute, body)
        return {
            monitor.name: standing_of(newest[name], config_of(monitor))
            for monitor in self._monitors
            if (name := document_of(monitor)) in newest
        }

    def _followed(
        self, monitor: Monitor, before: Standing | None, window: Window, minute: int,
        found: Mapping[str, Verdict], state: State,
    ) -> Standing:  # fmt: skip
        config = config_of(monitor)
        last = before.last if before is not None else {}
        worst = None
        if any(one.floor is not None for one in config.health.components):
            looks = self._looks[f"{monitor.name}/segments"]
            looks.take(window, before.held if before is not None else {})
            worst = looks.worst(minute, last.get(WORST.metric))
        read, now = score_at(monitor, window, minute, found, last, worst)
        held = {**read, **carried(config.health, read, aged(last, minute))}
        known = {
            n: (minute, one) for n, one in read.items() if one.is_known and not one.age_minutes
        }
        track = before.track if before is not None else HealthTrack()
        if before is None or minute > before.minute:
            if before is not None and minute - before.minute > LOST:
                track = HealthTrack(flips=track.flips)  # what it was says nothing of now
            track = follow(config.health, track, now)
        standing = Standing(
            minute, now, track, {**last, **known}, held, least=_least(before, now, minute)
        )
        if before is not None and before.track.state == track.state:
            return replace(standing, moved=before.moved)
        return replace(standing, moved=self._moved(monitor, standing, state))

    def _moved(self, monitor: Monitor, now: Standing, state: State) -> dict[str, Any]:
        """Why the score is not what it was before it began to change."""
        config = config_of(monitor)
        needed = max(config.health.enter_minutes, config.health.leave_minutes)
        begun = now.minute - config.window_minutes - needed
        samples = state.health_samples(document_of(monitor), begun - _BACK, now.minute)
        scored = [one for one in samples if one.score is not None]
        if not scored:
            return {}
        ago = [one for one in scored if one.minute <= begun]
        base = ago[-1] if ago else scored[0]
        return explained(base, config, now.held, state)

    def _keep(
        self, samples: list[HealthSample], events: list[LedgerEvent], minute: int, state: State
    ) -> None:
        is_new_day = minute % 1440 == 0
        if not (samples or events or is_new_day):
            return
        with state.transaction() as tx:
            tx.put_health(samples)
            for event in events:
                tx.append(event)
            if is_new_day:
                tx.forget_health(minute - KEPT)


def document_of(monitor: Monitor) -> str:
    """The name of the document of a health score."""
    return monitor.name.removeprefix("health/")


def score_at(
    monitor: Monitor, window: Window, minute: int, found: Mapping[str, Verdict],
    last: Mapping[str, tuple[int, Reading]], worst: Reading | None = None,
) -> tuple[dict[str, Reading], Health]:  # fmt: skip
    """What was read of every component at `minute`, and what that comes to.

    found: what the other monitors say. last: what was known before, for what has vanished. worst:
    segment, which only who follows the looks can say; the last known one by default.
    """
    said = found.get(monitor.name)
    config = config_of(monitor).health
    if window.start is None or (said is not None and said.judgement is Judgement.UNKNOWN):
        reason = said.reason if said is not None else "nothing was read yet"
        parts = health(config, {}).parts
        return {}, Health(None, "unknown", 0.0, parts, reason=reason)
    read = readings(window, monitor, minute, found)
    known = last.get(WORST.metric)
    if worst is None and known is not None and minute - known[0] <= 2 * EVERY:
        worst = known[1]
    if worst is not None:
        read[WORST.metric] = worst
    return read, health(config, read, aged(last, minute))


def aged(last: Mapping[str, tuple[int, Reading]], minute: int) -> dict[str, Reading]:
    """What was known last of every component, as old as it is at `minute`."""
    return {name: replace(one, age_minutes=float(minute - at)) for name, (at, one) in last.items()}


def explained(
    base: HealthSample, config: HealthScoreConfig, held: Mapping[str, Reading], state: State
) -> dict[str, Any]:
    """What moved a score from a sample to what is `held` now, as plain data."""
    bodies = state.health_formulas([base.formula])
    before = config_from(bodies[base.formula]) if base.formula in bodies else config.health
    found = attribution(before, config.health, readings_of(base), held)
    return moved_from(found, base.minute, base.score)


def sample_of(monitor: Monitor, now: Standing) -> HealthSample:
    """What is kept of a score."""
    found = now.health
    body = {
        "readings": {name: _plain(one) for name, one in now.held.items()},
        "last": {name: [at, *_plain(one)[:4]] for name, (at, one) in now.last.items()},
        "track": asdict(now.track),
        "scores": {part.metric: part.score for part in found.parts},
        "weights": {part.metric: part.weight for part in found.parts},
        "low": found.low,
        "high": found.high,
        "coverage": found.coverage,
        "capped_by": found.capped_by,
        "reason": found.reason,
        "moved": dict(now.moved),
        "least": asdict(now.least) if now.least is not None else None,
    }
    return HealthSample(
        document_of(monitor), now.minute, monitor.service, config_of(monitor).digest,
        now.track.state, found.score, body,
    )  # fmt: skip


def standing_of(sample: HealthSample, config: HealthScoreConfig) -> Standing:
    """A score as a sample tells it, by the formula of now."""
    body = sample.body
    last = {name: (int(at), Reading(*rest)) for name, (at, *rest) in body["last"].items()}
    held = readings_of(sample)
    track = track_of(body["track"])
    return Standing(
        sample.minute, health(config.health, held), track, last, held, body.get("moved") or {}
    )


def readings_of(sample: HealthSample) -> dict[str, Reading]:
    """What counted of every component when a sample was taken."""
    return {name: Reading(*one) for name, one in sample.body["readings"].items()}


def _plain(one: Reading) -> list[Any]:
    # JSON has no infinity, and an interval without a bound must not come back as none at all.
    ends = [None if end is None else min(max(end, -_FAR), _FAR) for end in (one.low, one.high)]
    return [one.value, *ends, one.events, one.age_minutes]


def _least(before: Standing | None, now: Health, minute: int) -> Least | None:
    if now.score is None:
        return None
    low = now.score if now.low is None else now.low
    held = before.least if before is not None and before.minute == minute - 1 else None
    if held is None:
        return Least(minute, now.score, low, now.coverage)
    return Least(
        held.since, min(held.score, now.score), min(held.low, low),
        min(held.coverage, now.coverage),
    )  # fmt: skip


def least_of(sample: HealthSample) -> Least | None:
    """The lowest of the minutes that a sample stands for; None without a score."""
    body = sample.body
    if sample.score is None:
        return None
    if kept := body.get("least"):
        return Least(**kept)
    low = body.get("low")  # as it was kept before the minutes between were
    return Least(
        sample.minute, sample.score, sample.score if low is None else low, body["coverage"]
    )


def _is_due(before: Standing | None, now: Standing) -> bool:
    if before is None or now.minute % EVERY == 0:
        return True
    return now.track.is_moving or before.track.is_moving or before.track.state != now.track.state


def _event(monitor: Monitor, before: Standing | None, now: Standing) -> LedgerEvent:
    config = config_of(monitor)
    text = standing_text(now.health, config.health, now.track.state)
    moved = moved_text(now.moved)
    return LedgerEvent(
        at=from_minute(now.minute + 1),
        kind=CHANGED,
        actor="engine",
        subject=f"HealthScore/{document_of(monitor)}",
        reason=f"{text}; {moved}" if moved else text,
        data={
            "state": now.track.state,
            "before": before.track.state if before is not None else "",
            "score": now.health.score,
            "coverage": now.health.coverage,
            "formula": config.digest,
            "moved": dict(now.moved),
        },
    )


_SEVERITY: Mapping[str, str] = {"critical": "page", "warning": "ticket"}


def _verdict(monitor: Monitor, now: Standing) -> Verdict | None:
    """What an alert is made of; None while the score is well."""
    config, state, found = config_of(monitor), now.track.state, now.health
    if state == "ok":
        return None
    text = f"{monitor.title} {standing_text(found, config.health, state)}"
    window = (now.minute + 1 - config.window_minutes, now.minute + 1)
    if state not in _SEVERITY:
        return monitor.verdict(
            Judgement.UNKNOWN, now.minute, unit="points", window=window, reason=text
        )
    moved = moved_text(now.moved)
    limit = config.health.critical if state == "critical" else config.health.warning
    return monitor.verdict(
        Judgement.BREACH,
        now.minute,
        severity=_SEVERITY[state],
        value=found.score,
        expected=limit,
        unit="points",
        window=window,
        reason=f"{text}; {moved}" if moved else text,
        evidence={
            "health": {
                "state": state,
                "coverage": found.coverage,
                "interval": [found.low, found.high],
                "capped_by": found.capped_by,
                "formula": config.digest,
                "components": [
                    {"metric": p.metric, "value": p.value, "score": p.score, "lost": p.lost}
                    for p in found.parts
                ],
                "moved": dict(now.moved),
            }
        },
    )
