"""Inhibition: while one alert fires, those it explains are not told.

As in Prometheus Alertmanager (inhibit/inhibit.go): all `equal` labels must be equal, a missing
label equals an empty one, and an alert that matches both sides of a rule is not inhibited by
another that does, so that two of them cannot silence each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.clock import parse_iso
from tocsin.domain.errors import TocsinError

MARK = "inhibited"  # in an alert's evidence: by which rule it was inhibited last, and when

Values = Mapping[str, str | float]
Predicate = Callable[[Values], bool]


@dataclass(frozen=True, slots=True)
class Inhibition:
    """A rule with its two conditions compiled. mutes=False only adds a note to the target."""

    name: str
    source: Predicate
    target: Predicate
    equal: tuple[str, ...] = ()
    mutes: bool = True


@dataclass(frozen=True, slots=True)
class Inhibited:
    """Why one alert is inhibited: by which rule and which other alert (fingerprint)."""

    rule: str
    by: str
    mutes: bool


def inhibited(
    alerts: Mapping[str, Values], rules: Sequence[Inhibition]
) -> dict[str, tuple[Inhibited, ...]]:
    """For each inhibited alert of `alerts` (fingerprint -> labels) the rules that say so, in order.

    alerts: every firing alert, silenced ones included: they explain as well as others do. A rule
    that cannot be applied to an alert inhibits nothing there: telling too much is the safe side.
    """
    found: dict[str, list[Inhibited]] = {}
    for rule in rules:
        sources = {key for key, labels in alerts.items() if _holds(rule.source, labels)}
        targets = {key for key, labels in alerts.items() if _holds(rule.target, labels)}
        explaining = _by_equal_labels(alerts, sorted(sources), rule.equal)
        one_sided = _by_equal_labels(alerts, sorted(sources - targets), rule.equal)
        for key in sorted(targets):
            candidates = one_sided if key in sources else explaining
            causes = candidates.get(_equal_labels(alerts[key], rule.equal), [])
            if causes:
                found.setdefault(key, []).append(Inhibited(rule.name, causes[0], rule.mutes))
    return {key: tuple(rules_found) for key, rules_found in found.items()}


def concerns(rule: Inhibition, labels: Values) -> bool:
    """Whether an alert may inhibit others by a rule, or be inhibited."""
    return _holds(rule.source, labels) or _holds(rule.target, labels)


def lingering(evidence: Mapping[str, Any], now: datetime) -> str:
    """Which inhibition still explains an alert although its source is over, or "".

    A burn rate looks back: when an outage has ended, the windows that it filled go on burning, and
    paging for them would page for the outage twice. Evidence that was inhibited stays explained
    until its short window lies wholly after the source. What is broken anew meanwhile has a source
    of its own, which is told.
    """
    mark = evidence.get(MARK)
    if not isinstance(mark, Mapping):
        return ""
    lasts = timedelta(minutes=float(evidence.get("short_minutes", 0)))
    return str(mark["by"]) if now - parse_iso(str(mark["at"])) < lasts else ""


def _by_equal_labels(
    alerts: Mapping[str, Values], keys: Sequence[str], equal: tuple[str, ...]
) -> dict[tuple[str, ...], list[str]]:
    index: dict[tuple[str, ...], list[str]] = {}
    for key in keys:
        index.setdefault(_equal_labels(alerts[key], equal), []).append(key)
    return index


def _equal_labels(labels: Values, equal: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(labels.get(name, "")) for name in equal)


def _holds(condition: Predicate, labels: Values) -> bool:
    try:
        return condition(labels)
    except TocsinError:
        return False
