"""Monitors of Arize: the body of a notification, and a monitor as its REST API shows it.

Arize documents `GET /v2/monitors` and how its webhooks are signed, but the fields of a monitor's
notification have changed from release to release (flat, in camel case, or shaped like an event of
PagerDuty with `payload.custom_details`). So each fact is looked for under every name and at every
place it has had, and what is not understood is kept beside the alert, never lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.incoming import (
    Incoming,
    Told,
    as_finite,
    as_instant,
    as_object,
    with_no_data,
)

# The innermost is the most specific and comes first.
_PLACES = (
    ("payload", "custom_details"), ("custom_details",), ("data", "monitor"), ("data", "alert"),
    ("monitor",), ("alert",), ("payload",), ("data",), (),
)  # fmt: skip
_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("monitor_id", "monitorId", "id"),
    "name": ("monitor_name", "monitorName", "name", "monitor", "title", "summary"),
    "status": ("status", "monitor_status", "monitorStatus", "state", "alert_state", "event_action"),
    "severity": ("severity", "priority"),
    "value": (
        "metric_value", "metricValue", "latest_computed_value", "latestComputedValue",
        "current_value", "currentValue", "value",
    ),
    "threshold": ("threshold", "threshold_value", "thresholdValue"),
    "segment": ("segment", "filters", "filter"),
    "link": ("uri", "monitor_url", "monitorUrl", "url", "link", "client_url"),
    "project": ("project_name", "projectName", "model_name", "modelName", "model_id", "project"),
    "service": ("service", "service_name", "serviceName"),
    "env": ("environment", "model_environment", "modelEnvironment", "env"),
    "signal": ("signal", "metric", "metric_name", "metricName", "performance_metric"),
    "type": ("monitor_type", "monitorType", "type"),
    "at": ("evaluated_at", "evaluatedAt", "triggered_at", "triggeredAt", "timestamp"),
}  # fmt: skip
_FIRING = ("triggered", "trigger", "firing", "alert", "alerting", "open")
_RESOLVED = ("cleared", "clear", "resolved", "resolve", "ok", "healthy")
_NO_DATA = ("no_data", "no data", "nodata")
_LONGEST_DETAIL = 2000


def arize(body: Any, now: datetime) -> Told:
    """The alert of one notification. Without a status it is one: nobody notifies about health."""
    places = list(_places(as_object(body, "the body")))
    found = {fact: _first(places, names) for fact, names in _NAMES.items()}
    name = _text(found["name"])
    if not name:
        known = ", ".join(_NAMES["name"])
        raise IntakeError(400, f"the name of the monitor is missing (looked for {known})")
    state = _state(_text(found["status"]).lower() or "triggered")
    identity = _text(found["id"])
    labels = {
        "service": _text(found["service"]),
        "project": _text(found["project"]),
        "env": _environment(_text(found["env"])),
        "severity": _text(found["severity"]).lower(),
        "signal": _text(found["signal"]).lower(),
        "segment": _segment(found["segment"]),
        "monitor_type": _text(found["type"]).lower(),
    }
    value, threshold = _number(found["value"]), _number(found["threshold"])
    alert = Incoming(
        key=identity or name,
        name=name,
        state="resolved" if state == "resolved" else "firing",
        labels={label: text for label, text in labels.items() if text},
        starts=as_instant(found["at"], "the time of the monitor", now),
        ends=now if state == "resolved" else None,
        value=value,
        summary=_summary(name, value, threshold),
        link=_text(found["link"]) or _linked(places),
        details=_kept(places),
        aliases=(name,) if identity else (),
    )
    return with_no_data(alert, state)


def monitor(given: Any, now: datetime, *, has_namesake: bool) -> tuple[Incoming, ...]:
    """What one monitor of `GET /v2/monitors` says; nothing when it was never evaluated.

    has_namesake: another monitor has the same name, so that a notification that told only the name
    may have been about that one.
    """
    found = as_object(given, "a monitor")
    if not found.get("status"):
        return ()
    evaluated = as_instant(found.get("evaluated_at"), "evaluated_at", now)
    told = arize(found, now)
    return tuple(_as_polled(alert, evaluated, has_namesake) for alert in told.alerts)


# --- private -----------------------------------------------------------------------------------


def _as_polled(alert: Incoming, evaluated: datetime, has_namesake: bool) -> Incoming:
    aliases = () if has_namesake else alert.aliases
    return replace(alert, aliases=aliases, as_of=evaluated)


def _places(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for path in _PLACES:
        at: Any = body
        for name in path:
            at = at.get(name) if isinstance(at, Mapping) else None
        if isinstance(at, Mapping):
            yield at


def _first(places: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Any:
    """The first of `names` that says something, in the most specific place."""
    for place in places:
        for name in names:
            value = place.get(name)
            if value not in (None, "", [], {}) and not (
                name in ("monitor", "alert") and isinstance(value, Mapping)
            ):
                return value
    return None


def _state(word: str) -> Literal["firing", "resolved", "no data"]:
    if word in _FIRING:
        return "firing"
    if word in _RESOLVED:
        return "resolved"
    if word in _NO_DATA:
        return "no data"
    known = ", ".join((*_FIRING, *_RESOLVED, *_NO_DATA))
    raise IntakeError(400, f"status {word!r} is none of {known}")


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _number(value: Any) -> float | None:
    """A number, or text that is one; a threshold may be an object with a `value`."""
    return as_finite(value.get("value") if isinstance(value, Mapping) else value)


def _environment(text: str) -> str:
    """Arize's PRODUCTION is everybody's prod."""
    return {"production": "prod", "validation": "validation"}.get(text.lower(), text.lower())


def _segment(value: Any) -> str:
    """A slice in words: as told, or `name=value` for every filter."""
    if isinstance(value, str):
        return value.strip()
    filters = value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []
    parts = []
    for one in filters:
        if isinstance(one, Mapping):
            name = _text(one.get("name") or one.get("dimension") or one.get("column_name"))
            values = one.get("values", one.get("value"))
            listed = values if isinstance(values, list) else [values]
            shown = "|".join(_text(item) for item in listed)
            parts.append(f"{name}={shown}" if name else shown)
    return ", ".join(part for part in parts if part)


def _summary(name: str, value: float | None, threshold: float | None) -> str:
    if value is None:
        return name
    against = "" if threshold is None else f" against a threshold of {threshold:g}"
    return f"{name}: {value:g}{against}"


def _linked(places: Sequence[Mapping[str, Any]]) -> str:
    """The first of PagerDuty's links."""
    for place in places:
        for link in place.get("links") or ():
            if isinstance(link, Mapping) and link.get("href"):
                return str(link["href"])
    return ""


def _kept(places: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Plain facts under names that mean nothing here."""
    known = {name for names in _NAMES.values() for name in names}
    return {
        str(name): str(value)[:_LONGEST_DETAIL]
        for place in reversed(places)
        for name, value in place.items()
        if name not in known and isinstance(value, str | int | float | bool)
    }
