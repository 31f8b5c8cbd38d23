"""What a page says beside its number: what changed, which slice, whose fault, what to do first.

Runs once per alert, when it begins to fire, with a handful of small queries. Evidence never changes
a decision and never holds one up: what cannot be read is left out, with a line in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import structlog

from tocsin.assess.breakdown import SliceCounts, suspects
from tocsin.domain.clock import from_minute, to_minute
from tocsin.domain.errors import TocsinError
from tocsin.domain.findings import Alert, Judgement, Verdict
from tocsin.domain.series import Change
from tocsin.spec.services import Service

log = structlog.get_logger(__name__)

CHANGES_BEFORE_MIN = 120
SLICE_WINDOW_MIN = 15
MOST_CHANGES = 5
# Signals whose bad calls are failed calls, which is what slices are counted by.
FAILURE_SIGNALS = frozenset({"error_rate", "slo_breach", "retrieval_failure", "truncation"})


class CallSlices(Protocol):
    """What evidence reads of the calls of a service."""

    def breakdown(self, service: str, start: int, stop: int) -> Sequence[Any]:
        """Counts by value of each dimension over epoch minutes [start, stop)."""
        ...


class Witness:
    """Gathers evidence about alerts from the stores.

    services: by name. verdicts: the latest breaches by monitor, to see who else suffers.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        slices: CallSlices,
        changes: Any,
        verdicts: Mapping[str, Verdict],
    ) -> None:
        self._services = services
        self._slices = slices
        self._changes = changes
        self._verdicts = verdicts

    def explain(self, alert: Alert, now: datetime) -> Alert:
        """`alert` with everything that could be found out about it."""
        found: dict[str, Any] = dict(alert.evidence)
        service = alert.labels.get("service", "")
        for part in (
            lambda: {"changes": self._changes_before(service, now)},
            lambda: self._slice(alert, service, now),
            lambda: self._provider(service),
        ):
            try:
                found |= part()
            except TocsinError as error:
                log.warning("evidence_incomplete", service=service, error=str(error))
            except Exception:
                log.exception("evidence_failed", service=service)
        known = self._services.get(service)
        if known is not None:
            found["runbook"] = known.runbook
            found["first_steps"] = list(known.first_steps)
        return replace(alert, evidence=found)

    def _changes_before(self, service: str, now: datetime) -> list[str]:
        minute = to_minute(now)
        seen: Iterable[Change] = self._changes(minute - CHANGES_BEFORE_MIN, minute + 1)
        mine = [change for change in seen if change.service in ("", service)]
        return [_before(change, minute) for change in reversed(mine)][:MOST_CHANGES]

    def _slice(self, alert: Alert, service: str, now: datetime) -> dict[str, Any]:
        if alert.labels.get("signal", "") not in FAILURE_SIGNALS:
            return {}
        stop = to_minute(now)
        parts = self._slices.breakdown(service, stop - SLICE_WINDOW_MIN, stop)
        counts = [SliceCounts(p.dimension, p.value, p.failed, p.n) for p in parts if p.value]
        by_model = [part for part in parts if part.dimension == "model"]
        bad, total = sum(p.failed for p in by_model), sum(p.n for p in by_model)
        best = suspects(counts, bad, total)
        if not best:
            return {}
        lines = [
            f"{s.slice.dimension} {s.slice.value}: {s.support:.0%} of the failures"
            + (f", {s.ratio:.3g} times as likely to fail" if s.ratio < 1e6 else ", all others fine")
            for s in best
        ]
        return {"slice": lines[0], "slices": lines}

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


def _before(change: Change, minute: int) -> str:
    at = from_minute(change.at_minute)
    return f"{at:%H:%M} {change.kind}: {change.title} ({minute - change.at_minute} min before)"
