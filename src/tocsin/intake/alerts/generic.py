"""One alert, or a list of them, in Tocsin's own words: for scripts, and monitors with templates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.incoming import (
    Incoming,
    Told,
    as_finite,
    as_instant,
    as_labels,
    as_object,
    each,
)

FIELDS = (
    "name", "state", "service", "env", "signal", "severity", "value", "summary", "description",
    "link", "runbook", "labels", "starts", "ends", "key",
)  # fmt: skip
_OVER = frozenset({"resolved", "ok", "recovered", "cleared", "normal", "closed"})
_ON = frozenset({"firing", "alert", "alerting", "triggered", "open", "warn", "warning", "no data"})


def generic(body: Any, now: datetime) -> Told:
    """Alerts as `{name, state, service, severity, value, labels, ...}`; `name` is needed."""
    if isinstance(body, list):
        return each(body, "", lambda one, where: _alert(one, where, now))
    return Told((_alert(body, "", now),))


def _alert(given: Any, where: str, now: datetime) -> Incoming:
    alert = as_object(given, where or "the body")
    at = f"{where}." if where else ""
    unknown = sorted(set(alert) - set(FIELDS))
    if unknown:
        raise IntakeError(
            400, f"{at}{unknown[0]} is no field of an alert; known: {', '.join(FIELDS)}"
        )
    name = str(alert.get("name") or "").strip()
    if not name:
        raise IntakeError(400, f"{at}name is missing: what does the monitor call it?")
    state = str(alert.get("state") or "firing").lower()
    if state not in _ON | _OVER:
        raise IntakeError(400, f"{at}state must be firing or resolved, not {state!r}")
    labels = as_labels(alert.get("labels"), f"{at}labels")
    for field in ("service", "env", "signal", "severity"):
        if alert.get(field):
            labels[field] = str(alert[field])
    value = alert.get("value")
    if value is not None and (isinstance(value, str) or as_finite(value) is None):
        raise IntakeError(400, f"{at}value must be a number")
    is_over = state in _OVER
    ends = as_instant(alert.get("ends"), f"{at}ends", now)
    identity = "\xff".join((name, labels.get("service", ""), labels.get("env", "")))
    return Incoming(
        key=str(alert.get("key") or identity),
        name=name,
        state="resolved" if is_over else "firing",
        labels=labels,
        starts=as_instant(alert.get("starts"), f"{at}starts", now),
        ends=ends if is_over or ends > now else None,
        value=as_finite(value),
        summary=str(alert.get("summary") or ""),
        description=str(alert.get("description") or ""),
        link=str(alert.get("link") or ""),
        runbook=str(alert.get("runbook") or ""),
    )
