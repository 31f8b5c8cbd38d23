"""What a health score was, why it changed, what people said of it, and what follows from that."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tocsin.assess.health_agreement import Agreement, Rated, Suggestion, agreement, suggested
from tocsin.assess.health_segments import (
    HealthSegmentsConfig,
    SegmentScore,
    as_whole,
    consistency,
    segment_scores,
)
from tocsin.assess.health_words import moved_text
from tocsin.domain.clock import from_minute
from tocsin.domain.errors import NotFound
from tocsin.domain.health import HealthOpinion, HealthSample, Opinion
from tocsin.engine.health import STALE, ServiceHealth, service_health
from tocsin.engine.health_baseline import DAYS as BASELINE_DAYS
from tocsin.engine.health_baseline import Baseline, baselines, uncalibrated
from tocsin.engine.house import House
from tocsin.engine.scoring import CHANGED, score_at
from tocsin.spec.documents import Document
from tocsin.spec.health import HealthScoreShape
from tocsin.spec.yaml import dump
from tocsin.store.health import put_opinion
from tocsin.store.rows import from_us

_RANK = {"critical": 0, "warning": 1, "unknown": 2, "idle": 3, "ok": 4}


class NoSuchScore(NotFound):
    """A health score that is not configured for any service."""


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A change of state, as the ledger has it. told: what moved the score, in words."""

    at: datetime
    state: str
    before: str
    score: float | None
    coverage: float
    formula: str
    moved: Mapping[str, Any]
    told: str


@dataclass(frozen=True, slots=True)
class HealthSegments:
    """The segments of a score in the last look. consistency: of each dimension, 100 when segments
    differ by chance alone. sampled: calls that were looked at, of `calls` in that time; None when
    these are not known any more. as_whole: metrics that are not told apart. problem: why there is
    nothing, or ""."""

    scores: Sequence[SegmentScore] = ()
    consistency: Mapping[str, float | None] = field(default_factory=dict)
    until: datetime | None = None
    minutes: int = 0
    sampled: int = 0
    calls: int | None = None
    as_whole: Sequence[str] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HealthHistory:
    """A health score over the last days. samples: without bodies, oldest first. formulas: digest
    and the first minute it was used, of what is shown. patch: suggested weights as YAML, or "".
    segments: None when it is not told apart. baselines: what was usual of components without a
    curve."""

    now: ServiceHealth
    samples: Sequence[HealthSample]
    changes: Sequence[HealthChange]
    formulas: Sequence[tuple[str, int]]
    opinions: Sequence[HealthOpinion]
    agreement: Agreement
    suggestion: Suggestion
    patch: str = ""
    segments: HealthSegments | None = None
    baselines: Sequence[Baseline] = ()


@dataclass(frozen=True, slots=True)
class HealthGroup:
    """The health scores of services that share a label. states: how many are in each, the worst
    first; a mean of scores would hide the worst."""

    label: str
    value: str
    states: Mapping[str, int] = field(default_factory=dict)

    @property
    def worst(self) -> str:
        """The state of the worst."""
        return next(iter(self.states))


def history(house: House, name: str, days: int) -> HealthHistory:
    """One health score over the last `days`. NoSuchScore when there is none."""
    now = _find(house, name)
    start = now.minute + 1 - days * 1440
    samples = house.state.health_track(name, start, now.minute + 1)
    since: dict[str, int] = {}
    for sample in samples:
        since.setdefault(sample.formula, sample.minute)
    entries = house.state.entries_about(f"HealthScore/{name}")
    changes = [_change(e.at_us, e.data) for e in entries if e.kind == CHANGED]
    opinions = house.state.health_opinions(name)
    rated = _rated(house, name, opinions)
    suggestion = suggested(now.config, rated)
    patch = _patch(_document(house, name), suggestion) if suggestion.weights else ""
    return HealthHistory(
        now=now,
        samples=samples,
        changes=[one for one in reversed(changes) if one.at.timestamp() >= start * 60],
        formulas=tuple(since.items()),
        opinions=opinions,
        agreement=agreement(rated),
        suggestion=suggestion,
        patch=patch,
        segments=segments(house, name),
        baselines=_baselines(house, now),
    )


def say(
    house: House, name: str, minute: int | None, opinion: Opinion, actor: str, note: str = ""
) -> HealthOpinion:
    """Keep what somebody said of a score as it was at `minute`, or is now.

    It is about the last sample by then. NoSuchScore when there is none.
    """
    now = _find(house, name)
    stop = now.minute if minute is None else minute
    samples = house.state.health_track(name, stop - STALE, stop + 1)
    scored = [sample for sample in samples if sample.score is not None]
    if not scored:
        raise NoSuchScore(f"{name} had no score at that time")
    said = HealthOpinion(name, scored[-1].minute, house.clock.now(), actor, opinion, note)
    with house.state.transaction() as tx:
        put_opinion(tx, said)
    return said


def groups(
    house: House, labels: Sequence[str] = ("business_unit", "risk_tier")
) -> list[HealthGroup]:
    """Health scores by labels of their services, the worst group of each label first."""
    newest, minute = house.state.newest_health(), house.standing.minute
    found: dict[tuple[str, str], dict[str, int]] = {}
    for document, spec in house.desired.of(HealthScoreShape):
        if spec.service not in house.desired.services:
            continue
        sample = newest.get(document.name)
        is_known = sample is not None and sample.minute >= minute - STALE
        state = sample.state if sample is not None and is_known else "unknown"
        theirs = house.desired.services[spec.service].labels
        for label in labels:
            if value := theirs.get(label, ""):
                counts = found.setdefault((label, value), {})
                counts[state] = counts.get(state, 0) + 1
    made = [
        HealthGroup(label, value, dict(sorted(counts.items(), key=lambda item: _RANK[item[0]])))
        for (label, value), counts in found.items()
    ]
    return sorted(made, key=lambda one: (labels.index(one.label), _RANK[one.worst], one.value))


def segments(house: House, name: str) -> HealthSegments | None:
    """The segments of a health score by the last look; None when it has none."""
    with house.undisturbed():
        monitors = {monitor.name: monitor for monitor in house.rules.monitors.monitors}
        monitor = monitors.get(f"health/{name}/segments")
        if monitor is None or not isinstance(monitor.method, HealthSegmentsConfig):
            return None
        config = monitor.method
        wish = config.wish(monitor.service)
        look = house.window.looks.get(wish) if wish is not None else None
        if look is None or look.problem:
            problem = look.problem if look is not None else "nobody has looked at single calls yet"
            return HealthSegments(problem=problem)
        minute, verdicts = house.standing.minute, house.standing.verdicts
        scored = monitors[config.score]
        whole, _ = score_at(scored, house.window, minute, verdicts, {})
        calls = house.window.health.calls(scored, look.boundary, config.window_minutes)
    scores = segment_scores(config, look, whole)
    return HealthSegments(
        scores=scores,
        consistency={dimension: consistency(scores, dimension) for dimension in config.by},
        until=from_minute(look.boundary),
        minutes=config.window_minutes,
        sampled=len(look.window),
        calls=calls,
        as_whole=as_whole(config),
    )


# --------------------------------------------------------------------------------------------


def _find(house: House, name: str) -> ServiceHealth:
    for one in service_health(house):
        if one.name == name:
            return one
    raise NoSuchScore(f"there is no health score {name!r} with a service")


def _baselines(house: House, now: ServiceHealth) -> list[Baseline]:
    if not uncalibrated(now.config):
        return []
    start = now.minute + 1 - BASELINE_DAYS * 1440
    return baselines(now.config, house.state.health_samples(now.name, start, now.minute + 1))


def _document(house: House, name: str) -> Document:
    scores = house.desired.of(HealthScoreShape)
    return next(document for document, _ in scores if document.name == name)


def _change(at_us: int, data: Mapping[str, Any]) -> HealthChange:
    moved = data["moved"]
    return HealthChange(
        from_us(at_us), data["state"], data["before"], data["score"], data["coverage"],
        data["formula"], moved, moved_text(moved),
    )  # fmt: skip


def _rated(house: House, name: str, opinions: Sequence[HealthOpinion]) -> list[Rated]:
    """Opinions beside what was shown, as far as that is still kept."""
    samples = house.state.health_samples_at(name, sorted({one.minute for one in opinions}))
    return [
        Rated(
            one.minute, one.opinion, sample.state, sample.score, sample.body["scores"],
            bool(sample.body["capped_by"]),
        )
        for one in opinions
        if (sample := samples.get(one.minute)) is not None and sample.score is not None
    ]  # fmt: skip


def _patch(document: Document, suggestion: Suggestion) -> str:
    """The components with the suggested weights, to be merged into the document."""
    spec: HealthScoreShape = document.spec
    written = {
        one["metric"]: one
        for one in copy.deepcopy(document.located.data["spec"].get("components", []))
    }
    components = []
    for part in spec.parts:
        one = written.get(part.metric, {"metric": part.metric})
        components.append({**one, "weight": suggestion.weights.get(part.metric, part.weight)})
    data = document.located.data
    head = {name: data[name] for name in ("apiVersion", "kind")}
    merged = {**head, "metadata": {"name": document.name}, "spec": {"components": components}}
    lines = "\n".join(
        f"#   {name}: {suggestion.declared[name]:.3f} -> {weight:.3f}"
        for name, weight in suggestion.weights.items()
    )
    return (
        f"# Weights that {suggestion.used} opinions speak for; nothing is changed by itself.\n"
        f"{lines}\n{dump([merged])}"
    )
