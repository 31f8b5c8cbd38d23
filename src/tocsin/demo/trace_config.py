"""A configuration for a trace: the demo's receivers and routing over the services it has."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tocsin.spec.desired import Desired, restore

Secrets = Callable[[str], str | None]

_ABOUT_PEOPLE = frozenset(
    {"Receiver", "Routing", "OnCallSchedule", "EscalationPolicy", "Digest"}
)  # fmt: skip


def for_services(base: Desired, services: Sequence[str], resolve: Secrets) -> Desired:
    """Who is told in `base`, and a usual set of monitors for `services`.

    A service of a trace has nobody's promises: 99 % of its calls are to succeed, and what is
    unusual in failures or pace is told to the channel, not paged.
    """
    kept = [doc for doc in json.loads(base.text) if doc["kind"] in _ABOUT_PEOPLE]
    added = [doc for name in services for doc in _service(name)]
    return restore(json.dumps([*kept, *added, *_detectors()]), resolve)


def _service(name: str) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "tocsin/v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"displayName": name, "team": "trace", "mode": "notify"},
        },
        {
            "apiVersion": "openslo/v1",
            "kind": "SLO",
            "metadata": {"name": f"{name}-availability", "displayName": "99 % of calls succeed"},
            "spec": {
                "service": name,
                "indicator": {
                    "metadata": {"name": f"{name}-success"},
                    "spec": {
                        "ratioMetric": {
                            "good": _source({"use": "availability"}),
                            "total": _source({"count": "all"}),
                        }
                    },
                },
                "timeWindow": [{"duration": "28d", "isRolling": True}],
                "budgetingMethod": "Occurrences",
                "objectives": [{"target": 0.99}],
            },
        },
    ]


def _source(spec: dict[str, str]) -> dict[str, Any]:
    return {"metricSource": {"type": "Tocsin", "spec": spec}}


def _detectors() -> list[dict[str, Any]]:
    common = {"services": "*", "severity": "ticket"}
    return [
        {
            "apiVersion": "tocsin/v1",
            "kind": "Detector",
            "metadata": {"name": "failures"},
            "spec": {**common, "use": "count_scan", "indicator": {"use": "availability"}},
        },
        {
            "apiVersion": "tocsin/v1",
            "kind": "Detector",
            "metadata": {"name": "pace"},
            "spec": {**common, "use": "pace_shift"},
        },
    ]
