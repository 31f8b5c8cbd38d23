"""Alerts that no rule can tell apart are decided once: what makes a storm of them cheap.

Rules look at some labels and hold some facts against some numbers. Two alerts with the same values
of those labels, and with facts on the same sides of those numbers, go the same way through every
rule and route. The other labels are carried along as they are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tocsin.domain.findings import Decision, Labels
from tocsin.routing.classify import FACTS, Classified, Facts, classify
from tocsin.routing.match import bounds
from tocsin.routing.policy import Route
from tocsin.routing.tree import ALSO, Router, route

# What the router itself looks at.
_ALWAYS = ("tier", "severity", "paging", "regulated", "service", "source")
_MOST = 20_000

Likeness = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Alike:
    """A router that remembers. Decides as `classify` and `route` do, only faster.

    labels: names that any rule looks at or sets, inhibition too. numbers: for each fact, what it
    is held against.
    """

    router: Router
    labels: tuple[str, ...]
    numbers: Mapping[str, tuple[float, ...]]
    _classified: dict[Likeness, tuple[Classified, Labels]] = field(default_factory=dict, repr=False)
    _decided: dict[Likeness, tuple[Decision, Labels]] = field(default_factory=dict, repr=False)

    def classify(self, labels: Labels, facts: Facts) -> tuple[Likeness, Classified]:
        """See `routing.classify`; and what the alert is like."""
        like = self._like(labels, facts)
        found, added = self._found(like, labels, facts)
        told = {name: text for name, text in labels.items() if text != ""}
        labelled = {**told, **added}
        return like, Classified(labelled, facts, found.matched, found.faults, found.tier_from)

    def tier(self, labels: Labels, facts: Facts) -> int | None:
        """The tier that classification gives it, if any."""
        return self._found(self._like(labels, facts), labels, facts)[0].tier

    def route(self, like: Likeness, alert: Classified, suppression: str = "") -> Decision:
        """See `routing.tree.route`. like: of the alert, from `classify`."""
        key = (*like, suppression)
        known = self._decided.get(key)
        if known is None:
            decision = route(self.router, alert, suppression)
            known = decision, _added(alert.labels, decision.labels)
            _remember(self._decided, key, known)
        decision, added = known
        return decision.labelled({**alert.labels, **added})

    def side(self, fact: str, number: float) -> tuple[int, int]:
        """On which side of every number that a fact is held against this one is."""
        against = self.numbers.get(fact, ())
        return bisect_left(against, number), bisect_right(against, number)

    def _found(self, like: Likeness, labels: Labels, facts: Facts) -> tuple[Classified, Labels]:
        """What some alert like this was found to be, and which labels that added to it."""
        known = self._classified.get(like)
        if known is None:
            found = classify(self.router.rules, labels, facts)
            known = found, _added(labels, found.labels)
            _remember(self._classified, like, known)
        return known

    def _like(self, labels: Labels, facts: Facts) -> Likeness:
        # Lists, and no generators: this is looked up for every alert of a storm.
        sides = [self.side(name, facts[name]) if name in facts else None for name in self.numbers]
        # Whom an objective's alert policy or a budget's rule wants told as well; by severity too.
        also = [item for item in labels.items() if item[0].startswith(ALSO)]
        told = tuple(sorted(also)) if also else ()
        return (*[labels.get(name, "") for name in self.labels], *sides, told)


def alike(router: Router) -> Alike:
    """`router` with a memory."""
    rules = [rule.source for rule in router.rules]
    nodes = list(_routes(router.policy.routes))
    conditions = [rule.when for rule in rules] + [node.when for node in nodes]
    conditions += [side for rule in router.policy.inhibit for side in (rule.source, rule.target)]
    names = {name for condition in conditions for name in condition}
    names |= {name for rule in rules for name in rule.set}
    names |= {name for node in nodes for name in node.labels}
    numbers = {
        fact: tuple(sorted(set().union(*(bounds(condition, fact) for condition in conditions))))
        for fact in FACTS
        if fact in names
    }
    return Alike(router, tuple(sorted({*names, *_ALWAYS})), numbers)


# --- private -----------------------------------------------------------------------------------


def _routes(nodes: tuple[Route, ...]) -> Iterator[Route]:
    for node in nodes:
        yield node
        yield from _routes(node.routes)


def _added(before: Labels, after: Labels) -> Labels:
    return {name: text for name, text in after.items() if before.get(name) != text}


def _remember(memory: dict[Likeness, Any], key: Likeness, found: Any) -> None:
    if len(memory) >= _MOST:
        memory.clear()
    memory[key] = found
