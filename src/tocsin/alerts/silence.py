"""Silences and maintenance windows, and everything that keeps an alert from being told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tocsin.alerts.inhibit import Inhibition, Predicate, Values, inhibited
from tocsin.domain.errors import TocsinError


@dataclass(frozen=True, slots=True)
class SilenceWindow:
    """Alerts that match are not told in [start, stop)."""

    name: str
    matches: Predicate
    start: datetime
    stop: datetime
    kind: Literal["silence", "maintenance"] = "silence"


@dataclass(frozen=True, slots=True)
class Suppressions:
    """muted: fingerprint -> "maintenance:…", "silence:…" or "inhibition:…". notes: fingerprint ->
    text for alerts that are told, with what probably caused them."""

    muted: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def silenced(labels: Values, windows: Sequence[SilenceWindow], now: datetime) -> str:
    """The first window open at `now` that matches, planned ones first, as "kind:name"; or "".

    A window whose condition cannot be applied silences nothing.
    """
    is_open = [window for window in windows if window.start <= now < window.stop]
    for window in sorted(is_open, key=lambda window: window.kind != "maintenance"):
        try:
            if window.matches(labels):
                return f"{window.kind}:{window.name}"
        except TocsinError:
            continue
    return ""


def suppressions(
    alerts: Mapping[str, Values],
    windows: Sequence[SilenceWindow],
    rules: Sequence[Inhibition],
    now: datetime,
) -> Suppressions:
    """Which of `alerts` (every firing one: fingerprint -> classified labels) are not to be told."""
    muted: dict[str, str] = {}
    notes: dict[str, str] = {}
    causes = inhibited(alerts, rules)
    for key, labels in alerts.items():
        by = silenced(labels, windows, now)
        for cause in causes.get(key, ()):
            if cause.mutes:
                by = by or f"inhibition:{cause.rule}"
            else:
                notes[key] = f"probably caused by {_name(alerts[cause.by])} ({cause.rule})"
        if by:
            muted[key] = by
    return Suppressions(muted, notes)


def _name(labels: Values) -> str:
    parts = [str(labels.get(name, "")) for name in ("service", "signal")]
    return " ".join(part for part in parts if part) or "another alert"
