"""Why a health score moved: the change taken apart, exactly.

The terms and the one for a changed formula add up to the change, so that "the score fell by 12.4:
latency 9.1, quality 3.3" is arithmetic and not an impression.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from tocsin.assess.health import FLOOR, Health, HealthConfig, Reading, carried, health

# Shapley's value asks for every subset of components; beyond this the binding one has the rest.
MOST_SHARED = 10


@dataclass(frozen=True, slots=True)
class Attribution:
    """Why a score moved: terms by metric, and `config` for a changed formula. They add up to
    `change`. reason: why there is none."""

    change: float | None
    terms: Mapping[str, float] = field(default_factory=dict)
    config: float = 0.0
    reason: str = ""


def attribution(
    before: HealthConfig,
    after: HealthConfig,
    old: Mapping[str, Reading],
    new: Mapping[str, Reading],
) -> Attribution:
    """The change of the score from (before, old) to (after, new), component by component.

    A changed formula is a term of its own, measured on the old readings. Weighted sums change by
    w (s' - s); geometric means by the logarithmic mean of both scores times w ln(s'/s); where a
    cap, a minimum or a missing component makes terms depend on one another, by Shapley's value.
    """
    started, ended = health(before, old).score, health(after, new, old).score
    if started is None or ended is None:
        when = "before" if started is None else "now"
        return Attribution(None, reason=f"there is no score {when} to compare with")
    new = {**new, **carried(after, new, old)}
    # With little left under the new formula: whatever was measured, so that the terms still add up.
    moved_config = _points(after, old)
    if moved_config is None:
        return Attribution(ended - started, config=ended - started)
    terms = _terms(after, old, new, moved_config, ended)
    return Attribution(ended - started, terms, moved_config - started)


def _points(config: HealthConfig, readings: Mapping[str, Reading]) -> float | None:
    """The score of what is there, however little; None when nothing is."""
    free = replace(
        config,
        min_coverage=0.0,
        missing="worst" if config.missing == "worst" else "renormalize",
        components=tuple(replace(one, required=False) for one in config.components),
    )
    return health(free, readings).score


def _terms(
    config: HealthConfig,
    old: Mapping[str, Reading],
    new: Mapping[str, Reading],
    started: float,
    ended: float,
) -> dict[str, float]:
    first, last = health(config, old), health(config, new)
    same = {p.metric for p in first.parts if p.score is not None} == {
        p.metric for p in last.parts if p.score is not None
    }
    free = same and not first.capped_by and not last.capped_by and first.score is not None
    pairs = list(zip(first.parts, last.parts, strict=True))
    if free and config.method == "weighted_sum":
        return {a.metric: b.contribution - a.contribution for a, b in pairs}
    if free and config.method == "geometric":
        mean = _log_mean(started, ended)
        return {
            a.metric: mean
            * b.weight
            * math.log(max(b.score or 0.0, FLOOR) / max(a.score or 0.0, FLOOR))
            for a, b in pairs
        }
    moved = [one.metric for one in config.components if old.get(one.metric) != new.get(one.metric)]
    none = {one.metric: 0.0 for one in config.components}
    if len(moved) > MOST_SHARED:
        return _with_residual(config, first, last, ended - started)
    return none | _shapley(config, old, new, moved)


def _with_residual(
    config: HealthConfig, first: Health, last: Health, change: float
) -> dict[str, float]:
    """Too many to share among: each what it does to the weighted sum, and the binding component
    what is left."""
    terms = {
        a.metric: b.contribution - a.contribution
        for a, b in zip(first.parts, last.parts, strict=True)
    }
    binding = _binding(config, last)
    terms[binding] += change - sum(terms.values())
    return terms


def _log_mean(a: float, b: float) -> float:
    return a if math.isclose(a, b) else (b - a) / math.log(b / a)


def _binding(config: HealthConfig, last: Health) -> str:
    scored = [p for p in last.parts if p.score is not None]
    return last.capped_by or (
        min(scored, key=lambda part: part.score or 0.0).metric
        if scored
        else config.components[0].metric
    )


def _shapley(
    config: HealthConfig,
    old: Mapping[str, Reading],
    new: Mapping[str, Reading],
    moved: Sequence[str],
) -> dict[str, float]:
    """Shapley (1953): a component's mean effect over all orders in which components change.

    A mixture of old and new readings in which nothing is left has the score of what is old.
    """
    base = _points(config, old) or 0.0
    known: dict[frozenset[str], float] = {}

    def mixed(changed: Collection[str]) -> float:
        key = frozenset(changed)
        if key not in known:
            readings = {**old, **{m: new[m] for m in key if m in new}}
            for metric in key - set(new):
                readings.pop(metric, None)
            points = _points(config, readings)
            known[key] = base if points is None else points
        return known[key]

    size = len(moved)
    terms = {}
    for metric in moved:
        others = [one for one in moved if one != metric]
        total = 0.0
        for count in range(size):
            share = math.factorial(count) * math.factorial(size - count - 1) / math.factorial(size)
            for some in combinations(others, count):
                total += share * (mixed((*some, metric)) - mixed(some))
        terms[metric] = total
    return terms
