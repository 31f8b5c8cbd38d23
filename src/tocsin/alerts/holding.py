"""Which rules hold, minute by minute: a page rule and a ticket rule begin and end each for itself.

An alert is one thing: it has the worst severity of its rules, and it is kept open for a quiet while
and through minutes that nobody knows anything about, so that people are told once. The rules behind
it are simpler and comparable with those of other systems: in each minute they hold or they do not.

A monitor whose verdicts say which rules hold names them in its evidence under `RULES`, severity ->
why it holds. Where nothing is known no rule holds; the alert is what remembers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tocsin.alerts.lifecycle import MARKS, LifecycleConfig, alert_labels, identity_of
from tocsin.domain.findings import Alert, Judgement, Labels, Verdict

RULES = "rules"


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule of a monitor began to hold (`holds`) or ceased to. labels: of its alert."""

    labels: Labels
    severity: str
    holds: bool
    reason: str


def rule_changes(
    alerts: Mapping[str, Alert], verdicts: Sequence[Verdict], config: LifecycleConfig
) -> tuple[RuleChange, ...]:
    """What changed between `alerts`, as they were after the last minute, and `verdicts`.

    alerts: those not resolved, by fingerprint. Endings come first, then what began, each in the
    order of `alerts` and `verdicts`.
    """
    before = {key: held for key, alert in alerts.items() if (held := _held(alert))}
    now: dict[str, dict[str, str]] = {}
    labels = {key: alert.labels for key, alert in alerts.items()}
    unknown: dict[str, str] = {}
    for verdict in verdicts:
        theirs = alert_labels(verdict, config)
        key = identity_of(theirs, config.identity)
        labels.setdefault(key, theirs)
        if verdict.judgement is Judgement.BREACH or (verdict.sustains and key in before):
            now.setdefault(key, {}).update(verdict.evidence.get(RULES, {}))
        elif verdict.judgement is Judgement.UNKNOWN:
            unknown[key] = verdict.reason
    ended = [
        RuleChange(labels[key], severity, False, unknown.get(key, f"no {severity} rule holds"))
        for key, rules in before.items()
        for severity in rules
        if severity not in now.get(key, {})
    ]
    began = [
        RuleChange(labels[key], severity, True, reason)
        for key, rules in now.items()
        for severity, reason in rules.items()
        if severity not in before.get(key, {})
    ]
    return (*ended, *began)


def has_rules(alert: Alert) -> bool:
    """Whether the monitor of an alert tells its rules apart."""
    return RULES in alert.evidence


def _held(alert: Alert) -> Mapping[str, str]:
    """The rules that held in the last judged minute: an alert that is quiet since has none."""
    if any(mark in alert.evidence for mark in MARKS):
        return {}
    rules: Mapping[str, str] = alert.evidence.get(RULES, {})
    return rules
