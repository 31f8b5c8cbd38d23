"""One number from 0 to 100 for the health of a service, and where it came from.

Every metric is first brought to a score of 0 to 100 by a curve of its own, then the scores are
weighted. Two things make the difference between a number and a misleading one:

- A weighted mean of a dead service can be 75: latency 0, everything else 100. `headroom` caps the
  whole at the worst *critical* component plus so many points, which is continuous and monotone.
- What is missing is not healthy. Weights are renormalised over what is there, `coverage` says how
  much that is; too little of it, or a required component away, and there is no score. A component
  that was bad when it vanished is carried for a while, and after that there is no score until it is
  back, so that losing a bad sensor never improves the state.

The mean of intervals treats components as independent: the half widths add in quadrature, lower
and upper ones apart. Caps and minima are applied to both ends, which is conservative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

Method = Literal["weighted_sum", "geometric", "min"]
State = Literal["ok", "warning", "critical", "unknown", "idle"]
Missing = Literal["renormalize", "carry", "worst", "unknown"]
Point = tuple[float, float]

FLOOR = 1.0  # of a score in a geometric mean, which one zero would otherwise end


@dataclass(frozen=True, slots=True)
class Component:
    """One metric of a health score.

    weight: relative; 0 shows the metric without counting it. curve: (value, score) with rising
    values, straight lines between them, level beyond; empty when nobody knows what a good value is.
    critical: caps the whole. required: without it there is no score. floor: without any weight it
    holds the whole at most so many points above it while it is known; missing, it says nothing.
    """

    metric: str
    weight: float
    curve: tuple[Point, ...]
    critical: bool = False
    required: bool = False
    floor: float | None = None


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """What a score is made of and where it becomes a finding. Scores are on 0 to 100.

    headroom: how far the whole may lie above its worst critical component; None for no cap.
    min_coverage: share of the weight that has to be there. hysteresis: points above a threshold
    before its state is left again.
    """

    components: tuple[Component, ...]
    method: Method = "weighted_sum"
    headroom: float | None = 20.0
    missing: Missing = "renormalize"
    min_coverage: float = 0.7
    max_age_minutes: int = 30
    warning: float = 80.0
    critical: float = 60.0
    hysteresis: float = 5.0
    enter_minutes: int = 5
    leave_minutes: int = 10


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric as measured. value: None when it is not known; reason says why.

    low, high: 95 % interval, where there is one. events: what it rests on, where that is known.
    age_minutes: how old it is.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    events: int | None = None
    age_minutes: float = 0.0
    reason: str = ""

    @property
    def is_known(self) -> bool:
        """Whether there is a finite value."""
        return self.value is not None and math.isfinite(self.value)


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a computed score.

    score: 0 to 100, None when it does not count; reason says why. weight: its share of what counts.
    contribution: points it adds to a weighted sum. lost: points it takes away from 100.
    """

    metric: str
    value: float | None
    score: float | None
    low: float | None
    high: float | None
    weight: float
    contribution: float
    lost: float
    critical: bool
    reason: str = ""
    carried: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """A computed score. score: None in the states unknown and idle.

    coverage: share of the declared weight that is there. capped_by: the critical component that
    holds the score down, "" when none does. low, high: 95 % interval where components have one.
    """

    score: float | None
    state: State
    coverage: float
    parts: tuple[Part, ...]
    low: float | None = None
    high: float | None = None
    capped_by: str = ""
    reason: str = ""


def normalised(curve: Sequence[Point], value: float) -> float:
    """The score of a value: piecewise linear, level beyond the ends. ValueError without a curve."""
    if not curve:
        raise ValueError("a curve has points")
    if value <= curve[0][0]:
        return curve[0][1]
    for (x0, y0), (x1, y1) in pairwise(curve):
        if value <= x1:
            return y0 + (y1 - y0) * (value - x0) / (x1 - x0)
    return curve[-1][1]


def health(
    config: HealthConfig,
    readings: Mapping[str, Reading],
    before: Mapping[str, Reading] | None = None,
) -> Health:
    """The score of what was read. before: the last known readings, for what has vanished since."""
    held = carried(config, readings, before or {})
    parts = _parts(config, held, readings)
    declared = sum(one.weight for one in config.components)
    present = [p for p in parts if p.score is not None and p.weight > 0]
    weights = {one.metric: one.weight for one in config.components}
    coverage = sum(weights[p.metric] for p in present) / declared if declared else 0.0
    state, reason = _standing(config, parts, coverage, readings)
    outlived = _outlived(config, held, before or {})
    if outlived and not state:
        state, reason = "unknown", outlived
    if state:
        return Health(None, state, coverage, parts, reason=reason)
    floors = {one.metric for one in config.components if one.floor is not None}
    counting = present + [p for p in parts if p.score is not None and p.metric in floors]
    score, capped_by = _whole(config, [(p, p.score or 0.0) for p in counting])
    low, high = _interval(config, counting)
    return Health(
        score, state_of(config, score), coverage, parts, low, high, capped_by,
        _told(score, capped_by if capped_by in floors else f"the critical component {capped_by}"
              if capped_by else "", parts),
    )  # fmt: skip


def state_of(config: HealthConfig, score: float) -> State:
    """The state of one score by itself; `HealthTrack` holds it against its history."""
    if score < config.critical:
        return "critical"
    return "warning" if score < config.warning else "ok"


def carried(
    config: HealthConfig, readings: Mapping[str, Reading], before: Mapping[str, Reading]
) -> dict[str, Reading]:
    """What counts of every component: what was read now, or what stands in for it.

    Under `carry` that is its last value, and under `renormalize` too when it scored below the
    warning: renormalising may not improve a state. For no longer than `max_age_minutes`, and never
    for what is required.
    """
    found: dict[str, Reading] = {}
    for one in config.components:
        now, last = readings.get(one.metric), before.get(one.metric)
        if now is not None and now.is_known:
            found[one.metric] = now
        elif last is not None and last.age_minutes <= config.max_age_minutes:
            may_stand_in = config.missing == "carry" or _was_bad(config, one, last)
            if may_stand_in and one.curve and last.is_known and not one.required:
                found[one.metric] = last
    return found


def _was_bad(config: HealthConfig, one: Component, last: Reading) -> bool:
    """Whether losing this component would make the rest look better under `renormalize`."""
    if config.missing not in ("renormalize", "carry") or not one.curve or one.weight == 0:
        return False
    if last.value is None or not last.is_known:
        return False
    return normalised(one.curve, last.value) < config.warning


def _outlived(
    config: HealthConfig, held: Mapping[str, Reading], before: Mapping[str, Reading]
) -> str:
    """Why there is no score although enough is there: what vanished was bad, and for too long."""
    gone = [
        one.metric
        for one in config.components
        if one.metric not in held
        and one.metric in before
        and _was_bad(config, one, before[one.metric])
    ]
    if not gone:
        return ""
    return (
        f"missing for more than {config.max_age_minutes} min, and below the warning when last "
        f"measured: {', '.join(gone)}"
    )


def formula_of(config: HealthConfig) -> dict[str, Any]:
    """The whole of it as plain data, to be written down beside the scores that it made."""
    plain = asdict(config)
    # Without a floor as before there were any: what was written down keeps its digest.
    plain["components"] = [
        {name: [list(p) for p in value] if name == "curve" else value
         for name, value in one.items() if name != "floor" or value is not None}
        for one in plain["components"]
    ]  # fmt: skip
    return plain


def config_from(plain: Mapping[str, Any]) -> HealthConfig:
    """From what `formula_of` gave."""
    components = tuple(
        Component(**{**one, "curve": tuple((float(x), float(y)) for x, y in one["curve"])})
        for one in plain["components"]
    )
    return HealthConfig(**{**plain, "components": components})


def _parts(
    config: HealthConfig, held: Mapping[str, Reading], readings: Mapping[str, Reading]
) -> tuple[Part, ...]:
    scored: list[tuple[Component, Reading | None, float | None, str]] = []
    for one in config.components:
        reading = held.get(one.metric)
        if not one.curve:
            why = "uncalibrated: no curve says which values are good"
            scored.append((one, readings.get(one.metric), None, why))
        elif reading is None or reading.value is None:
            told = readings.get(one.metric)
            unsaid = "missing: no value was measured" if one.floor is None else "not told apart yet"
            why = (told.reason if told else "") or unsaid
            score = 0.0 if config.missing == "worst" and one.floor is None else None
            scored.append((one, None, score, why))
        else:
            scored.append((one, reading, normalised(one.curve, reading.value), reading.reason))
    total = sum(one.weight for one, _, score, _ in scored if score is not None)
    return tuple(
        _part(one, reading, score, total, why, is_carried=_is_carried(one, reading, readings))
        for one, reading, score, why in scored
    )


def _is_carried(one: Component, reading: Reading | None, readings: Mapping[str, Reading]) -> bool:
    now = readings.get(one.metric)
    return reading is not None and (now is None or not now.is_known)


def _part(
    one: Component, reading: Reading | None, score: float | None, total: float, why: str, *,
    is_carried: bool,
) -> Part:  # fmt: skip
    share = one.weight / total if score is not None and total else 0.0
    low, high = _ends(one, reading, score)
    return Part(
        metric=one.metric,
        value=reading.value if reading else None,
        score=score,
        low=low,
        high=high,
        weight=share,
        contribution=share * (score or 0.0),
        lost=share * (100.0 - score) if score is not None else 0.0,
        critical=one.critical,
        reason=why or ("carried: its last value stands in while it is missing" * is_carried),
        carried=is_carried,
    )


def _ends(
    one: Component, reading: Reading | None, score: float | None
) -> tuple[float | None, float | None]:
    if score is None or reading is None or reading.low is None or reading.high is None:
        return score, score
    ends = [normalised(one.curve, end) for end in (reading.low, reading.high)]
    return min(*ends, score), max(*ends, score)


def _standing(
    config: HealthConfig, parts: Sequence[Part], coverage: float, readings: Mapping[str, Reading]
) -> tuple[State | None, str]:
    """Why there is no score, if there is none."""
    weighed = [one.metric for one in config.components if one.floor is None]
    mine = [readings[metric] for metric in weighed if metric in readings]
    counted = [reading.events for reading in mine if reading.events is not None]
    is_told = any(reading.events is None and reading.is_known for reading in mine)
    if counted and not any(counted) and not is_told:
        return "idle", "no calls: nothing to judge"
    by_metric = {part.metric: part for part in parts}
    away = [
        one.metric
        for one in config.components
        if one.required and (by_metric[one.metric].value is None or not one.curve)
    ]
    if away:
        return "unknown", f"required and missing: {', '.join(away)}"
    gone = [p.metric for p in parts if p.score is None and p.metric in weighed]
    if gone and config.missing == "unknown":
        return "unknown", f"missing: {', '.join(gone)}"
    if coverage < config.min_coverage or coverage == 0:
        return (
            "unknown",
            f"{coverage:.0%} of the weight is there, {config.min_coverage:.0%} is needed;"
            f" missing: {', '.join(gone)}",
        )
    return None, ""


def _whole(config: HealthConfig, scored: Sequence[tuple[Part, float]]) -> tuple[float, str]:
    """The score of some components, and which critical one caps it."""
    total = sum(part.weight for part, _ in scored)
    if config.method == "min":
        whole = min(score for part, score in scored if part.weight > 0)
    elif config.method == "geometric":
        logs = sum(p.weight * math.log(max(score, FLOOR)) for p, score in scored)
        whole = math.exp(logs / total)
    else:
        whole = sum(p.weight * score for p, score in scored) / total
    room = _room(config)
    caps = [(score + room[p.metric], p.metric) for p, score in scored if p.metric in room]
    cap, name = min(caps, default=(math.inf, ""))
    return (cap, name) if cap < whole else (whole, "")


def _room(config: HealthConfig) -> Mapping[str, float]:
    """How far the whole may lie above components that cap it."""
    found = {}
    for one in config.components:
        if one.floor is not None:
            found[one.metric] = one.floor
        elif one.critical and config.headroom is not None:
            found[one.metric] = config.headroom
    return found


def _interval(config: HealthConfig, parts: Sequence[Part]) -> tuple[float | None, float | None]:
    if all(p.low == p.high for p in parts):
        return None, None
    if config.method == "weighted_sum":
        middle = sum(p.weight * (p.score or 0.0) for p in parts)
        down = math.sqrt(sum((p.weight * ((p.score or 0.0) - (p.low or 0.0))) ** 2 for p in parts))
        up = math.sqrt(sum((p.weight * ((p.high or 0.0) - (p.score or 0.0))) ** 2 for p in parts))
        low, high = middle - down, middle + up
        room = _room(config)
        capping = [p for p in parts if p.metric in room]
        low = min([low, *((p.low or 0.0) + room[p.metric] for p in capping)])
        high = min([high, *((p.high or 0.0) + room[p.metric] for p in capping)])
        return max(low, 0.0), min(high, 100.0)
    ends = [_whole(config, [(p, end(p)) for p in parts])[0] for end in (_low, _high)]
    return ends[0], ends[1]


def _low(part: Part) -> float:
    return part.low or 0.0


def _high(part: Part) -> float:
    return part.high or 0.0


def _told(score: float, capped_by: str, parts: Sequence[Part]) -> str:
    if capped_by:
        return f"held at {score:.1f} by {capped_by}"
    worst = max(parts, key=lambda part: part.lost)
    if worst.lost < 0.05:
        return "nothing is lost"
    return f"{worst.metric} costs {worst.lost:.1f} of {100 - score:.1f} points lost"
