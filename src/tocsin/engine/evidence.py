"""What a page says beside its number: what changed, which slice, whose fault, what to do first.

Gathered once per alert, when it begins to fire, with a handful of small queries. Evidence never
changes a decision and never holds one up: what cannot be read is left out, with a line in the log,
and what is not there in time is named as missing and added to the incident when it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.subject import is_about_volume
from tocsin.domain.clock import from_minute, monotonic_s, to_minute
from tocsin.domain.dependencies import DependencyStatus, about
from tocsin.domain.findings import MISSING, Alert, Judgement, Verdict
from tocsin.domain.series import Change, Ratio
from tocsin.engine.breakdown import Breakdowns, window_of
from tocsin.engine.gathering import Gatherer, Part
from tocsin.intake.sources.statuspage import BY as STATUS_PAGE
from tocsin.spec.services import Service

log = structlog.get_logger(__name__)

CHANGES_BEFORE_MIN = 120
SLICE_WINDOW_MIN = 15
MOST_CHANGES = 5
# How long a decision waits for one part of the evidence, and for all evidence of all its alerts.
PART_S, TOGETHER_S = 3.0, 5.0
# What is broken down when a monitor does not judge a ratio, by the signal it is routed under.
SIGNAL_MEASURES = {
    "cost": "cost", "tokens": "tokens", "token_usage": "tokens", "volume": "calls",
    "latency": "slow", "error_rate": "failed", "endpoint_down": "failed",
    "truncation": "truncated", "retrieval_failure": "retrieval", "thumbs_down": "feedback",
    "feedback": "feedback",
}  # fmt: skip
# Signals whose breaches are failures of calls.
FAILURE_SIGNALS = frozenset({"error_rate", "slo_breach", "retrieval_failure", "truncation"})


class Witness:
    """Gathers evidence about the alerts of one decision from the stores.

    services, monitors: by name. verdicts: the latest breaches by monitor, to see who else suffers.
    statuses: what is known of dependencies. gatherer: whose thread reads the stores. wanted: which
    parts are gathered for an alert; see `routing.enrich`.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        monitors: Mapping[str, Monitor],
        breakdowns: Breakdowns,
        verdicts: Mapping[str, Verdict],
        statuses: Sequence[DependencyStatus],
        gatherer: Gatherer,
        wanted: Callable[[Alert, datetime], Mapping[str, float | None]],
    ) -> None:
        self._services = services
        self._monitors = monitors
        self._breakdowns = breakdowns
        self._verdicts = verdicts
        self._statuses = statuses
        self._gatherer = gatherer
        self._wanted = wanted
        self._until_s = monotonic_s() + TOGETHER_S
        self._found: dict[str, Mapping[str, Any]] = {}

    def explain(self, alert: Alert, now: datetime) -> Alert:
        """`alert` with everything that could be found out about it in time.

        An alert that still misses something gets what was found out since, if that is complete.
        """
        key = alert.fingerprint
        if key not in self._found:
            is_owed = bool(alert.evidence.get(MISSING))
            self._found[key] = self._later(key) if is_owed else self._gathered(alert, now)
        found = self._found[key]
        return replace(alert, evidence={**alert.evidence, **found}) if found else alert

    def _gathered(self, alert: Alert, now: datetime) -> Mapping[str, Any]:
        service = alert.labels.get("service", "")
        wanted = self._wanted(alert, now)
        finds: Mapping[str, Callable[[], Mapping[str, Any]]] = {
            "changes": lambda: self._changes_before(service, now),
            "slice": lambda: self._slice(alert, service, now),
            "component": lambda: self._conditions(alert, service, now),
            "provider": lambda: self._provider(service),
            "dependencies": lambda: self._dependencies(service, wanted, now),
        }
        asked = dict(wanted)
        for source in ("status_pages", "probes"):
            if source in wanted:
                asked["dependencies"] = wanted[source]  # what they said is known already
        parts = [
            Part(name, find, asked[name] or PART_S) for name, find in finds.items() if name in asked
        ]
        found, missing = self._gatherer.gather(alert.fingerprint, parts, self._until_s)
        if missing:
            log.warning("evidence_late", service=service, missing=missing)
            found[MISSING] = f"{', '.join(missing)} (not found out in time)"
        known = self._services.get(service)
        if known is not None and "runbook" in wanted:
            found["runbook"] = str(alert.evidence.get("runbook") or known.runbook)
            found["first_steps"] = list(known.first_steps)
        return found

    def _later(self, key: str) -> Mapping[str, Any]:
        found = self._gatherer.late(key)
        return {} if found is None else {**found, MISSING: ""}

    def _changes_before(self, service: str, now: datetime) -> dict[str, list[str]]:
        minute = to_minute(now)
        seen: Iterable[Change] = self._breakdowns.changes(minute - CHANGES_BEFORE_MIN, minute + 1)
        mine = [change for change in seen if change.service in ("", service)]
        return {"changes": [_before(change, minute) for change in reversed(mine)][:MOST_CHANGES]}

    def _slice(self, alert: Alert, service: str, now: datetime) -> dict[str, Any]:
        whose, measure = self._measure(alert, service)
        if measure is None:
            return {}
        stop = to_minute(now)
        window = window_of(stop - SLICE_WINDOW_MIN, stop)
        account = self._breakdowns.account(whose, measure, window)
        found: dict[str, Any] = {"breakdown": account}
        if account["lines"]:
            found |= {"slice": account["lines"][0], "slices": account["lines"]}
        return found

    def _conditions(self, alert: Alert, service: str, now: datetime) -> dict[str, Any]:
        """Which of a composite's conditions calls missed: it counts calls that missed any."""
        objective = self._objective(alert)
        if objective is None or not objective.conditions:
            return {}
        stop = to_minute(now)
        missed = self._breakdowns.missed(
            service, objective.conditions, stop - SLICE_WINDOW_MIN, stop
        )
        found = [one for one in missed if one["bad"]]
        lead = "{name} (missed by {bad:,} of {total:,} calls)".format(**found[0]) if found else ""
        return {"component": lead, "components": found}

    def _objective(self, alert: Alert) -> Objective | None:
        monitor = self._monitors.get(alert.labels.get("monitor", ""))
        method = monitor.method if monitor is not None else None
        return method if isinstance(method, Objective) else None

    def _measure(self, alert: Alert, service: str) -> tuple[str, Ratio | str | None]:
        """What is broken down for an alert, and of which service: what its monitor counts (of a
        composite, what the component counts that did most of it), else what its signal is."""
        monitor = self._monitors.get(alert.labels.get("monitor", ""))
        if monitor is not None and is_about_volume(monitor):
            return service, "calls"
        if monitor is not None and monitor.ratio is not None:
            if not monitor.ratio.has_values:
                return service, monitor.ratio
            if monitor.ratio.metric is not None:
                return service, None  # what a server says of itself is not of single calls
            return service, _measure_of(monitor.labels.get("slo_metric") or monitor.signal)
        objective = self._objective(alert)
        if objective is not None and objective.composite is not None:
            parts = {part.name: part for part in objective.composite.parts}
            for one in alert.evidence.get("components", ())[:1]:
                leading = parts[one["name"]]
                return leading.series.service, leading.ratio
        return service, _measure_of(alert.labels.get("signal", ""))

    def _provider(self, service: str) -> dict[str, Any]:
        known = self._services.get(service)
        if known is None or not known.provider:
            return {}
        failing = {
            verdict.service
            for verdict in self._verdicts.values()
            if verdict.judgement is Judgement.BREACH and verdict.signal in FAILURE_SIGNALS
        }
        same = {n for n, s in self._services.items() if s.provider == known.provider} - {service}
        both = sorted(failing & same)
        if both:
            note = f"probably {known.provider}: {', '.join(both)} fail on it at the same time"
        elif same:
            note = f"no other service on {known.provider} was failing when this began"
        else:
            return {}
        return {"provider_note": note}

    def _dependencies(self, service: str, wanted: Collection[str], now: datetime) -> dict[str, Any]:
        """What sources say of everything the service uses, not knowing among it."""
        known = self._services.get(service)
        said = [
            str(status)
            for name in (known.dependencies if known else ())
            for status in about(self._statuses, name, now)
            if ("status_pages" if status.by == STATUS_PAGE else "probes") in wanted
        ]
        return {"dependencies": said} if said else {}


def _measure_of(signal: str) -> str | None:
    """What is broken down for a signal: of latency, whichever percentile it is, the slow calls."""
    return SIGNAL_MEASURES.get("latency" if signal.startswith("latency") else signal)


def _before(change: Change, minute: int) -> str:
    at = from_minute(change.at_minute)
    return f"{at:%H:%M} {change.kind}: {change.title} ({minute - change.at_minute} min before)"
