"""Verdicts become alerts: pending, firing, stale, resolved.

    breach          pending until its `for` has passed, then firing
    ok              a pending alert is dropped; a firing one resolves after `clear_after` of quiet
    ok, sustaining  a pending alert is dropped; a firing one goes on: it is not well enough
    unknown         a firing alert keeps firing, is stale after `stale_after`, and its quiet time
                    starts again: not knowing is not being well
    judged, silent  a monitor that was judged and said nothing about an alert says ok
    not judged      the same as unknown

An unknown monitor without an alert opens nothing, but is listed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.findings import Alert, AlertState, Judgement, Labels, Verdict, fingerprint

_WORSE = {Judgement.OK: 0, Judgement.UNKNOWN: 1, Judgement.BREACH: 2}
# In the evidence of an alert whose monitor did not breach in the last minute: since when.
MARKS = ("quiet_since", "unknown_since")


@dataclass(frozen=True, slots=True)
class LifecycleConfig:
    """How long is long enough.

    identity: labels whose values make up the fingerprint; missing and empty are the same.
    pending: monitor -> how long it must breach before it fires (0 by default). clear_after: quiet
    time before a firing alert resolves; `clear_after_of` overrides it per monitor. stale_after: how
    long nothing may be known before a firing alert is shown as stale. labels: added to every
    alert that does not have them (for example {"source": "tocsin", "env": "prod"}).
    """

    identity: tuple[str, ...] = ("source", "monitor", "service", "env", "segment")
    pending: Mapping[str, timedelta] = field(default_factory=dict)
    clear_after: timedelta = timedelta(minutes=5)
    clear_after_of: Mapping[str, timedelta] = field(default_factory=dict)
    stale_after: timedelta = timedelta(minutes=15)
    labels: Mapping[str, str] = field(default_factory=lambda: {"source": "tocsin"})


@dataclass(frozen=True, slots=True)
class AlertChange:
    """One alert after this fold, the state it was in before, and why it is where it is."""

    alert: Alert
    before: AlertState | None
    reason: str

    @property
    def is_transition(self) -> bool:
        """Whether the state changed, as opposed to value, time or evidence."""
        return self.before != self.alert.state


@dataclass(frozen=True, slots=True)
class AlertChanges:
    """What a fold did.

    changes: every alert that is to be written. current: every alert that is not resolved, by
    fingerprint. resolved: alerts that had fired and are over. dropped: pending ones that never
    fired. unknown: verdicts that open nothing because nothing is known.
    """

    changes: tuple[AlertChange, ...]
    current: Mapping[str, Alert]
    resolved: tuple[Alert, ...] = ()
    dropped: tuple[Alert, ...] = ()
    unknown: tuple[Verdict, ...] = ()

    @property
    def firing(self) -> Mapping[str, Alert]:
        """Alerts that an incident is made of: firing and stale ones."""
        states = (AlertState.FIRING, AlertState.STALE)
        return {key: alert for key, alert in self.current.items() if alert.state in states}

    def beside(self, other: AlertChanges) -> AlertChanges:
        """Both folds as one; they are about different alerts."""
        return AlertChanges(
            changes=(*self.changes, *other.changes),
            current={**self.current, **other.current},
            resolved=(*self.resolved, *other.resolved),
            dropped=(*self.dropped, *other.dropped),
            unknown=(*self.unknown, *other.unknown),
        )

    @property
    def transitions(self) -> tuple[AlertChange, ...]:
        """The changes of state among `changes`."""
        return tuple(change for change in self.changes if change.is_transition)


def fold(
    alerts: Mapping[str, Alert],
    verdicts: Sequence[Verdict],
    monitors_seen: Collection[str],
    now: datetime,
    config: LifecycleConfig,
    removed: Collection[str] = (),
) -> AlertChanges:
    """Alerts after `verdicts` at `now`.

    alerts: those not resolved, by fingerprint. monitors_seen: monitors that were judged now;
    one that was and says nothing about an alert says ok, one that was not is unknown. removed:
    monitors that no longer exist; their alerts resolve. Verdicts about one fingerprint are taken
    minute by minute, the worst of each minute counts. Alerts of other sources than `config.labels`
    names are nobody's to judge here and stay as they are.
    """
    spoken = _by_fingerprint(verdicts, config)
    seen = frozenset(monitors_seen)
    changes: list[AlertChange] = []
    unknown: list[Verdict] = []
    for key in dict.fromkeys([*alerts, *spoken]):
        alert = alerts.get(key)
        if key in spoken:
            change = _judge_all(alert, key, spoken[key], now, config)
            if change is None and spoken[key][-1].judgement is Judgement.UNKNOWN:
                unknown.append(spoken[key][-1])
        elif alert is not None:
            change = _unspoken(alert, seen, now, config, removed)
        else:
            continue
        if change is not None:
            changes.append(change)
    return _gathered(alerts, changes, unknown)


def alert_labels(verdict: Verdict, config: LifecycleConfig) -> dict[str, str]:
    """The labels an alert about `verdict` has; empty ones are left out."""
    labels = {
        **config.labels,
        **verdict.labels,
        "monitor": verdict.monitor,
        "service": verdict.service,
        "signal": verdict.signal,
        "severity": verdict.severity,
    }
    return {name: value for name, value in labels.items() if value != ""}


def identity_of(labels: Labels, identity: Iterable[str]) -> str:
    """The fingerprint of `labels` over the identity labels that are not empty."""
    return fingerprint({name: labels[name] for name in identity if labels.get(name, "") != ""})


def _by_fingerprint(
    verdicts: Sequence[Verdict], config: LifecycleConfig
) -> dict[str, list[Verdict]]:
    """Verdicts per alert, oldest minute first, one (the worst) per minute."""
    worst: dict[str, dict[int, Verdict]] = {}
    for verdict in verdicts:
        key = identity_of(alert_labels(verdict, config), config.identity)
        minutes = worst.setdefault(key, {})
        other = minutes.get(verdict.minute)
        if other is None or _rank(verdict) > _rank(other):
            minutes[verdict.minute] = verdict
    return {key: [minutes[at] for at in sorted(minutes)] for key, minutes in worst.items()}


def _rank(verdict: Verdict) -> tuple[int, bool, float]:
    """Which of two verdicts about one minute counts: a page outranks a ticket."""
    return _WORSE[verdict.judgement], verdict.severity == "page", verdict.score or 0.0


def _judge_all(
    alert: Alert | None,
    key: str,
    verdicts: Sequence[Verdict],
    now: datetime,
    config: LifecycleConfig,
) -> AlertChange | None:
    before = None if alert is None else alert.state
    reason = ""
    for verdict in verdicts:
        is_over = alert is None or alert.state is AlertState.RESOLVED
        if verdict.judgement is Judgement.BREACH:
            alert, reason = _breach(None if is_over else alert, key, verdict, now, config)
        elif alert is not None and not is_over:
            if verdict.sustains and alert.state is not AlertState.PENDING:
                alert, reason = _breach(alert, key, verdict, now, config)
            elif verdict.judgement is Judgement.OK:
                alert, reason = _ok(alert, now, config)
            else:
                alert, reason = _unknown(alert, verdict.reason, now, config)
    if alert is None or (before is None and alert.state is AlertState.RESOLVED):
        return None
    return AlertChange(alert, before, reason)


def _unspoken(
    alert: Alert,
    seen: frozenset[str],
    now: datetime,
    config: LifecycleConfig,
    removed: Collection[str],
) -> AlertChange | None:
    """What becomes of an alert that no verdict is about."""
    monitor = alert.labels.get("monitor", "")
    if alert.labels.get("source", "") != config.labels.get("source", ""):
        return None
    if monitor in removed:
        after, reason = _resolve(alert, now, "its monitor no longer exists")
    elif monitor in seen:
        after, reason = _ok(alert, now, config)
    else:
        after, reason = _unknown(alert, "its monitor was not judged", now, config)
    return AlertChange(after, alert.state, reason)


def _breach(
    alert: Alert | None, key: str, verdict: Verdict, now: datetime, config: LifecycleConfig
) -> tuple[Alert, str]:
    wait = config.pending.get(verdict.monitor, timedelta(0))
    since = now if alert is None else alert.since
    is_pending = alert is None or alert.state is AlertState.PENDING
    if alert is not None and is_pending and "unknown_since" in alert.evidence:
        since = now  # a gap inside `for:` proves nothing; wait for it once more
    is_firing = not is_pending or now - since >= wait
    updated = Alert(
        fingerprint=key,
        labels=alert_labels(verdict, config),
        state=AlertState.FIRING if is_firing else AlertState.PENDING,
        since=since,
        updated=now,
        severity=verdict.severity,
        value=verdict.value,
        expected=verdict.expected,
        unit=verdict.unit,
        score=verdict.score,
        reason=verdict.reason,
        evidence={n: v for n, v in verdict.evidence.items() if n not in MARKS},
        incident_id="" if alert is None else alert.incident_id,
        last_breach=now,
    )
    if is_firing:
        return updated, verdict.reason
    return updated, f"{verdict.reason}; pending until it has lasted {_text(wait)}"


def _ok(alert: Alert, now: datetime, config: LifecycleConfig) -> tuple[Alert, str]:
    if alert.state is AlertState.PENDING:
        return _resolve(alert, now, "it was over before it had lasted long enough to fire")
    marks = _without_marks(alert)
    if "unknown_since" in alert.evidence:
        quiet_since = now
    elif "quiet_since" in alert.evidence:
        quiet_since = parse_iso(str(alert.evidence["quiet_since"]))
    else:
        quiet_since = alert.last_breach or alert.updated
    wait = config.clear_after_of.get(alert.labels.get("monitor", ""), config.clear_after)
    if now - quiet_since >= wait:
        return _resolve(alert, now, f"no breach for {_text(now - quiet_since)}")
    marks["quiet_since"] = iso(quiet_since)
    after = replace(alert, state=AlertState.FIRING, updated=now, evidence=marks)
    return after, f"no breach since {iso(quiet_since)}; resolves after {_text(wait)} of quiet"


def _unknown(alert: Alert, why: str, now: datetime, config: LifecycleConfig) -> tuple[Alert, str]:
    marks = _without_marks(alert)
    since = parse_iso(str(alert.evidence.get("unknown_since", iso(now))))
    marks["unknown_since"] = iso(since)
    is_stale = now - since >= config.stale_after
    if alert.state is AlertState.PENDING and is_stale:
        return _resolve(alert, now, f"never fired, and nothing is known since {iso(since)}")
    state = alert.state
    if is_stale:
        state = AlertState.STALE
    reason = f"unknown since {iso(since)}: {why or 'no reason given'}"
    return replace(alert, state=state, evidence=marks), reason


def _resolve(alert: Alert, now: datetime, why: str) -> tuple[Alert, str]:
    evidence = _without_marks(alert)
    return replace(alert, state=AlertState.RESOLVED, updated=now, evidence=evidence), why


def _without_marks(alert: Alert) -> dict[str, Any]:
    return {name: value for name, value in alert.evidence.items() if name not in MARKS}


def _gathered(
    alerts: Mapping[str, Alert], changes: Sequence[AlertChange], unknown: Sequence[Verdict]
) -> AlertChanges:
    current = dict(alerts)
    for change in changes:
        current[change.alert.fingerprint] = change.alert
    over = [change for change in changes if change.alert.state is AlertState.RESOLVED]
    for change in over:
        del current[change.alert.fingerprint]
    return AlertChanges(
        changes=tuple(changes),
        current=current,
        resolved=tuple(c.alert for c in over if c.before is not AlertState.PENDING),
        dropped=tuple(c.alert for c in over if c.before is AlertState.PENDING),
        unknown=tuple(unknown),
    )


def _text(span: timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{n} {u}" for n, u in ((hours, "h"), (minutes, "min"), (seconds, "s")) if n]
    return " ".join(parts) or "0 s"
