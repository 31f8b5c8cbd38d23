"""Classification: ordered rules that give an alert its kind, its tier and whatever else they set.

Rules are cumulative and later ones win, except for the tier: reading downwards a tier can only be
raised (towards 1), so that no rule further down takes an alarm away from somebody who asked for it
further up. `force` overrules that, in the open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import ndtri_exp

from tocsin.domain.findings import Alert, Labels
from tocsin.routing.match import (
    Matcher,
    MatchError,
    Unreadable,
    compile_or_unreadable,
)
from tocsin.routing.policy import ClassifyRule

FACTS = ("value", "zscore", "change", "for")
Facts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Classified:
    """An alert's labels after the rules, `tier` among them if one was set.

    matched: names of the rules that set something; tier_from: the one that set the tier, "" if
    the alert brought its own. faults: rules that could not be applied, with the reason.
    """

    labels: Labels
    facts: Facts
    matched: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    tier_from: str = ""

    @property
    def tier(self) -> int | None:
        """The tier as a number; None if no rule and no label set a readable one."""
        return tier_of(self.labels.get("tier", ""))


@dataclass(frozen=True, slots=True)
class Rule:
    """A classify rule with its condition compiled."""

    name: str
    matcher: Matcher | Unreadable
    source: ClassifyRule


def compile_rules(rules: tuple[ClassifyRule, ...]) -> tuple[Rule, ...]:
    """Rules ready to apply; one without a name is called by its number, counted from 1."""
    return tuple(
        Rule(rule.name or f"classify[{number}]", compile_or_unreadable(rule.when), rule)
        for number, rule in enumerate(rules, start=1)
    )


def classify(rules: tuple[Rule, ...], labels: Labels, facts: Facts) -> Classified:
    """Apply `rules` in order to `labels` and `facts`. Never raises.

    Conditions see what earlier rules set. A rule that cannot be applied is skipped and named in
    `faults`; routing then fails open.
    """
    found: dict[str, str] = {name: value for name, value in labels.items() if value != ""}
    matched: list[str] = []
    faults: list[str] = []
    tier_from = ""
    for rule in rules:
        try:
            applies = rule.matcher.holds({**found, **facts})
        except MatchError as error:
            faults.append(f"{rule.name}: {error}")
            continue
        if not applies:
            continue
        was_set = _apply(rule.source, found)
        if was_set:
            matched.append(rule.name)
        if "tier" in was_set:
            tier_from = rule.name
    return Classified(found, facts, tuple(matched), tuple(faults), tier_from)


def facts_of(alert: Alert, seconds_firing: float) -> dict[str, float]:
    """The numbers that conditions may compare, as far as the alert knows them.

    value: in seconds where its unit is a time, as a fraction where it is a percentage. change:
    relative to the expected value (0.5 is half as much again). zscore: evidence["zscore"], or the
    z at which a normal variable has the alert's p-value. for: seconds since the breach began.
    """
    facts = {"for": max(seconds_firing, 0.0)}
    if alert.value is not None:
        scale = {"us": 1e-6, "ms": 1e-3, "min": 60.0, "h": 3600.0, "%": 0.01}.get(alert.unit, 1.0)
        facts["value"] = alert.value * scale
    if "change" in alert.evidence:
        facts["change"] = _number(alert.evidence["change"])
    elif alert.value is not None and alert.expected:
        facts["change"] = (alert.value - alert.expected) / abs(alert.expected)
    if "zscore" in alert.evidence:
        facts["zscore"] = _number(alert.evidence["zscore"])
    elif alert.score is not None:
        facts["zscore"] = -float(ndtri_exp(-max(alert.score, 0.0) * math.log(10.0)))
    return {name: number for name, number in facts.items() if math.isfinite(number)}


def tier_of(text: str) -> int | None:
    """The tier that a label's text names, None if it names no whole number."""
    try:
        return int(text)
    except ValueError:
        return None


def _apply(rule: ClassifyRule, found: dict[str, str]) -> list[str]:
    """Set what `rule` sets, as far as it may; returns the names it set."""
    was_set = []
    frozen_tier = found.get("paging") == "never"
    for name, value in rule.set.items():
        if rule.when_unset and found.get(name, "") != "":
            continue
        if name == "tier" and not rule.force and not _may_set_tier(found, value, frozen_tier):
            continue
        found[name] = str(value)
        was_set.append(name)
    return was_set


def _may_set_tier(found: Mapping[str, str], value: str | int, frozen: bool) -> bool:
    current = tier_of(found.get("tier", ""))
    wanted = tier_of(str(value))
    if current is None:
        return not (frozen and wanted == 1)
    return wanted is not None and wanted < current and not frozen


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # whatever a monitor put into its evidence
    except (TypeError, ValueError):
        return math.nan
