"""Which of the objectives that a composite is made of spent its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tocsin.assess.monitor import Composite, Monitor, Objective, Part
from tocsin.assess.window import Window
from tocsin.domain.figures import percent

ENOUGH = 0.8  # of what was spent; components that come to it together are named


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite over a stretch of time.

    bad, total: in calls, or in slices of time. share: of bad ones, None without any. contribution:
    its part of what all of them spent, 0 to 1. budget: what is allowed to it.
    """

    name: str
    service: str
    bad: float
    total: float
    share: float | None
    contribution: float
    budget: float


def components(window: Window, monitor: Monitor, end: int, width: int) -> tuple[Component, ...]:
    """The parts of a composite in minutes [end - width, end), the largest contribution first.

    Empty for an objective that is no composite.
    """
    objective = monitor.method
    if not isinstance(objective, Objective) or objective.composite is None:
        return ()
    parts = objective.composite.parts
    counts = window.ledger.sums(end, width, window.ledger.part_rows(monitor))
    found = contributions(objective.composite, counts[0], counts[1])
    made = [
        Component(
            name=part.name,
            service=part.series.service,
            bad=round(float(bad), 3),
            total=round(float(total), 3),
            share=float(bad / total) if total else None,
            contribution=float(contribution),
            budget=part.budget,
        )
        for part, bad, total, contribution in zip(parts, *counts, found, strict=True)
    ]
    return tuple(sorted(made, key=lambda one: -one.contribution))


def contributions(
    composite: Composite, bad: Sequence[float], total: Sequence[float]
) -> Sequence[float]:
    """What each part adds to the composite, as parts of 1; all 0 when nothing was bad.

    A weighted mean adds up weighted shares, OpenSLO's sum weighted burn rates. A slice that several
    parts spoiled counts for each of them.
    """
    n = np.asarray(total, np.float64)
    share = np.where(n > 0, np.asarray(bad) / np.maximum(n, 1e-12), composite.absent == "bad")
    spent = share * np.array([_scale(composite, part) for part in composite.parts])
    whole = spent.sum()
    return list(spent / whole) if whole > 0 else [0.0] * len(spent)


def responsible(found: Sequence[Component]) -> tuple[Component, ...]:
    """The fewest components that together made up most of what was spent."""
    named: list[Component] = []
    for one in sorted(found, key=lambda one: -one.contribution):
        if one.contribution > 0 and sum(each.contribution for each in named) < ENOUGH:
            named.append(one)
    return tuple(named)


def told(found: Sequence[Component]) -> str:
    """Who is responsible, in words; "" when nobody is."""
    names = [f"{one.name} ({percent(one.contribution)})" for one in responsible(found)]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _scale(composite: Composite, part: Part) -> float:
    if composite.method == "burn":
        return part.weight / part.budget
    return 1.0 if composite.method == "any" else part.weight
