"""Alarms of Amazon CloudWatch as they arrive by Amazon SNS.

https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html: `Message` is text; that of an
alarm is JSON with AlarmName, NewStateValue (OK, ALARM, INSUFFICIENT_DATA) and the Trigger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.incoming import Incoming, Told, as_instant, as_object, with_no_data

_STATES: Mapping[str, Literal["firing", "resolved", "no data"]] = {
    "ALARM": "firing",
    "OK": "resolved",
    "INSUFFICIENT_DATA": "no data",
}
_CONFIRMATIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")


def sns(body: Any, now: datetime) -> Told:
    """The alarm of one notification; confirmations of a subscription tell nothing."""
    told = as_object(body, "the body")
    if told.get("Type") in _CONFIRMATIONS:
        return Told()
    if not isinstance(told.get("Message"), str):
        raise IntakeError(400, "Message is missing: is this a notification of Amazon SNS?")
    try:
        message = json.loads(told["Message"])
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, Mapping) or not message.get("AlarmName"):
        raise IntakeError(400, "Message is no alarm of CloudWatch: it has no AlarmName")
    return _alarm(message, now)


def _alarm(alarm: Mapping[str, Any], now: datetime) -> Told:
    state = _STATES.get(str(alarm.get("NewStateValue")))
    if state is None:
        known = ", ".join(_STATES)
        raise IntakeError(400, f"NewStateValue {alarm.get('NewStateValue')!r} is none of {known}")
    name, arn = str(alarm["AlarmName"]), str(alarm.get("AlarmArn") or "")
    trigger = alarm.get("Trigger")
    trigger = trigger if isinstance(trigger, Mapping) else {}
    changed = as_instant(alarm.get("StateChangeTime"), "StateChangeTime", now)
    one = Incoming(
        key=arn or name,
        name=name,
        state="resolved" if state == "resolved" else "firing",
        labels=_labels(alarm, trigger),
        starts=min(changed, now),
        ends=min(changed, now) if state == "resolved" else None,
        summary=str(alarm.get("AlarmDescription") or name),
        description=str(alarm.get("NewStateReason") or "")[:4000],
        link=_link(arn, name),
        details={
            name: str(trigger[name])
            for name in ("Statistic", "Threshold", "ComparisonOperator", "Period")
            if trigger.get(name) is not None
        },
        as_of=min(changed, now),
    )
    return with_no_data(one, state)


def _labels(alarm: Mapping[str, Any], trigger: Mapping[str, Any]) -> dict[str, str]:
    """Where the alarm is, and the dimensions of its metric."""
    found = {
        "region": _region(str(alarm.get("AlarmArn") or "")),
        "account": str(alarm.get("AWSAccountId") or ""),
        "namespace": str(trigger.get("Namespace") or ""),
        "metric": str(trigger.get("MetricName") or ""),
    }
    for one in trigger.get("Dimensions") or ():
        if isinstance(one, Mapping) and isinstance(one.get("name"), str):
            found.setdefault(one["name"], str(one.get("value") or ""))
    return {label: text for label, text in found.items() if text}


def _region(arn: str) -> str:
    """`arn:aws:cloudwatch:eu-central-1:…` -> eu-central-1."""
    parts = arn.split(":")
    return parts[3] if len(parts) > 3 else ""


def _link(arn: str, name: str) -> str:
    region = _region(arn)
    if not region:
        return ""
    return (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home"
        f"?region={region}#alarmsV2:alarm/{quote(name, safe='')}"
    )
