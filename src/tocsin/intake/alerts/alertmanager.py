"""Alertmanager's webhook (version 4), Grafana's, and the API that Prometheus itself pushes to.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, and `POST /api/v2/alerts`
of https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.incoming import (
    LONGEST_AHEAD,
    Incoming,
    Told,
    as_finite,
    as_instant,
    as_labels,
    as_object,
    each,
)

_NEVER = datetime.max.replace(tzinfo=UTC)


def webhook(body: Any, now: datetime) -> Told:
    """Every alert of a group as Alertmanager or Grafana sends it.

    Truncated groups (`max_alerts`) hold fewer than there are; what is not told stays as it was.
    """
    told = as_object(body, "the body")
    alerts = told.get("alerts")
    if not isinstance(alerts, list):
        raise IntakeError(400, "alerts must be a list: is this an Alertmanager webhook?")
    link = str(told.get("externalURL") or "")
    return each(alerts, "alerts", lambda one, where: _alert(one, where, now, link))


def pushed(body: Any, now: datetime) -> Told:
    """What Prometheus posts to `/api/v2/alerts`: firing until `endsAt`, told again until then."""
    if not isinstance(body, list):
        raise IntakeError(400, "the body must be a list of alerts")
    return each(body, "", lambda one, where: _alert(one, where, now, ""))


def _alert(given: Any, where: str, now: datetime, link: str) -> Incoming:
    alert = as_object(given, where)
    labels = as_labels(alert.get("labels"), f"{where}.labels")
    if not labels:
        raise IntakeError(400, f"{where}.labels is empty: an alert needs one label or more")
    notes = as_labels(alert.get("annotations"), f"{where}.annotations")
    starts = as_instant(alert.get("startsAt"), f"{where}.startsAt", now)
    ends = as_instant(alert.get("endsAt"), f"{where}.endsAt", _NEVER)
    # Whoever says so is believed, whatever the clocks; Prometheus says it by `endsAt` alone.
    status = alert.get("status")
    is_over = status == "resolved" or (status != "firing" and ends <= now)
    holds_until = ends if now < ends <= now + LONGEST_AHEAD else None
    return Incoming(
        key=_fingerprint(labels),
        name=labels.get("alertname", "alert"),
        state="resolved" if is_over else "firing",
        labels=labels,
        starts=starts,
        ends=min(ends, now) if is_over else holds_until,
        value=_value(alert),
        summary=notes.get("summary", notes.get("title", "")),
        description=notes.get("description", notes.get("message", "")),
        link=str(alert.get("panelURL") or alert.get("generatorURL") or link),
        runbook=notes.get("runbook_url", notes.get("runbook", "")),
        details={k: v for k, v in notes.items() if not k.startswith("__")},
    )


def _fingerprint(labels: Mapping[str, str]) -> str:
    """Of the labels, as Alertmanager: the same labels are the same alert."""
    text = "\xff".join(f"{name}\xff{labels[name]}" for name in sorted(labels))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _value(alert: Mapping[str, Any]) -> float | None:
    """Grafana tells what was measured, by the names of its expressions; one alone is the value."""
    values = alert.get("values")
    if isinstance(values, Mapping) and len(values) == 1:
        (only,) = values.values()
        return None if isinstance(only, str) else as_finite(only)
    return None
