"""The calls behind an incident: those that its evidence names, else those that made its number.

A page about cost shows the calls that cost most, one about latency the slowest, one about a share
the very calls that were counted as bad: what a monitor counts is what is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tocsin.assess.monitor import Monitor
from tocsin.assess.subject import is_about_volume
from tocsin.domain.calls import Call
from tocsin.domain.expressions import Condition
from tocsin.domain.findings import Incident, example_calls
from tocsin.domain.series import Ratio
from tocsin.indicators.custom import as_condition
from tocsin.indicators.language.parser import parse
from tocsin.store.exemplars import ExemplarReader

MOST = 8
BEFORE = timedelta(minutes=15)  # an incident is opened when what it is about has lasted
_NAMED_WITHIN = timedelta(days=8)  # a look compares as much as a week
_FAILED = Ratio("condition", condition=Condition(parse("failed")))
# Ratios that are no condition of a call alone.
_SAID_OTHERWISE: Mapping[str, Ratio] = {
    "feedback_negative": Ratio(
        "condition", condition=Condition(parse("score('feedback') <= 0"))
    ),
    "empty_result": Ratio(
        "condition", kind="retriever", condition=Condition(parse("failed or documents = 0"))
    ),
}  # fmt: skip
_BY_SIGNAL: Mapping[str, tuple[str, str]] = {
    "latency": ("Slowest calls", "latency_ms"),
    "cost": ("Calls that cost most", "cost_usd"),
    "token": ("Calls with most tokens", "total_tokens"),
}
_FAILURES = ("error_rate", "slo_breach", "truncation")


def calls_behind(
    reader: ExemplarReader,
    incident: Incident,
    monitors: Iterable[Monitor],
    service: str,
    now: datetime,
) -> tuple[str, list[Call]]:
    """What the calls are, for people, and the calls; ("", []) where no single call is to blame.

    service: as telemetry calls it.
    """
    until = min(incident.resolved or now, now)
    since = incident.opened - BEFORE
    named = example_calls(incident.evidence)
    if named:
        found = reader.named(named[:MOST], incident.opened - _NAMED_WITHIN, until)
        return "Calls that moved it", found
    name = _monitor_of(incident)
    monitor = next((one for one in monitors if one.name == name), None)
    if monitor is not None and monitor.is_sampled:
        return "", []
    ratio = monitor.ratio if monitor is not None else None
    if ratio is not None and ratio.charge is not None:
        least = _is_below(incident.evidence)
        called = f"Calls with the {'lowest' if least else 'highest'} value"
        return called, reader.most(
            service, ratio.charge.value, since, until, MOST,
            kind=ratio.kind, model=ratio.model, least=least,
        )  # fmt: skip
    if monitor is not None and is_about_volume(monitor):
        return "", []  # calls that are missing cannot be shown
    if ratio is not None and ratio.metric is not None:
        return "", []
    condition = _SAID_OTHERWISE.get(ratio.column) or as_condition(ratio) if ratio else None
    if condition is not None:
        return "Calls that were counted as bad", reader.bad(service, condition, since, until, MOST)
    signal = incident.labels.get("slo_metric") or incident.labels.get("signal", "")
    for prefix, (called, value) in _BY_SIGNAL.items():
        if signal.startswith(prefix):
            return called, reader.most(service, parse(value, None), since, until, MOST)
    if signal in _FAILURES:
        return "Calls that failed", failed(reader, service, since, until)
    return "", []


def slowest(reader: ExemplarReader, service: str, since: datetime, until: datetime) -> list[Call]:
    """The slowest calls of a service."""
    return reader.most(service, parse("latency_ms", None), since, until, MOST)


def failed(reader: ExemplarReader, service: str, since: datetime, until: datetime) -> list[Call]:
    """The newest calls of a service that failed."""
    return reader.bad(service, _FAILED, since, until, MOST)


def _monitor_of(incident: Incident) -> str:
    lead = incident.evidence.get("lead")
    named = lead.get("monitor", "") if isinstance(lead, Mapping) else ""
    return str(named or incident.labels.get("monitor", ""))


def _is_below(evidence: Mapping[str, Any]) -> bool:
    value, expected = evidence.get("value"), evidence.get("expected")
    return value is not None and expected is not None and value < expected
