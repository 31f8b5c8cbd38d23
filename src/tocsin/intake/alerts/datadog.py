"""Datadog's webhook integration, with the payload template that the guide gives.

https://docs.datadoghq.com/integrations/webhooks/: the body is a template of the user's; `$ID` and
the others are Datadog's variables.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.incoming import Incoming, Told, as_object

TEMPLATE = {
    "id": "$ALERT_ID",
    "cycle": "$ALERT_CYCLE_KEY",
    "title": "$ALERT_TITLE",
    "transition": "$ALERT_TRANSITION",
    "priority": "$ALERT_PRIORITY",
    "scope": "$ALERT_SCOPE",
    "tags": "$TAGS",
    "message": "$TEXT_ONLY_MSG",
    "link": "$LINK",
    "metric": "$ALERT_METRIC",
}
_OVER = frozenset({"Recovered", "Warn Recovered", "No Data Recovered"})
_PRIORITY = {"P1": "critical", "P2": "critical"}


def datadog(body: Any, now: datetime) -> Told:
    """The alert of one notification. Its identity is the monitor and the scope it alerts for."""
    told = as_object(body, "the body")
    missing = [name for name in ("id", "title", "transition") if not told.get(name)]
    if missing:
        raise IntakeError(400, f"{missing[0]} is missing: use the payload template of the guide")
    texts = {name: "" if told.get(name) is None else str(told[name]) for name in TEMPLATE}
    tags = dict(_tag(tag) for tag in texts["tags"].split(",") if tag.strip())
    scope = dict(_tag(tag) for tag in texts["scope"].split(",") if tag.strip())
    labels = {**tags, **scope}
    labels.setdefault("severity", _PRIORITY.get(texts["priority"], "warning"))
    is_over = texts["transition"] in _OVER
    return Told(
        (
            Incoming(
                key=f"{texts['id']}\xff{texts['scope']}",
                name=texts["title"],
                state="resolved" if is_over else "firing",
                labels={name: value for name, value in labels.items() if value},
                starts=now,
                ends=now if is_over else None,
                summary=texts["title"],
                description=texts["message"][:4000],
                link=texts["link"],
                details={"metric": texts["metric"]} if texts["metric"] else {},
            ),
        )
    )


def _tag(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition(":")
    return name, value or "true"
