"""What Tocsin's series are called in Prometheus: one vocabulary for /metrics, rules and dashboards.

`/metrics` tells them, exported rules and dashboards read them, so that they cannot drift apart.
Counters are named without `_total`, which the exposition adds (OpenMetrics 1.0, "Suffixes").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tocsin.assess.monitor import Monitor

# By objective: labels slo and service.
EVENTS = "tocsin_slo_events"
BAD_EVENTS = "tocsin_slo_bad_events"
INFO = "tocsin_slo"
SLI = "tocsin_slo_sli_ratio"
OBJECTIVE = "tocsin_slo_objective_ratio"
PERIOD = "tocsin_slo_period_seconds"
REMAINING = "tocsin_slo_error_budget_remaining_ratio"
EXHAUSTION = "tocsin_slo_error_budget_exhaustion_seconds"
BURN_RATE = "tocsin_slo_burn_rate"
FIRING = "tocsin_slo_rule_firing"
STATUS = "tocsin_slo_status"

# By health score: labels health_score and service.
HEALTH = "tocsin_health_score"
HEALTH_COVERAGE = "tocsin_health_coverage_ratio"
HEALTH_STATE = "tocsin_health_state"

# Of Tocsin itself.
BUILD = "tocsin_build"
UP_TO = "tocsin_evaluation_judged_timestamp_seconds"
EVALUATION_LAG = "tocsin_evaluation_lag_seconds"
EVALUATION = "tocsin_evaluation_duration_seconds"
EVALUATION_FAILURES = "tocsin_evaluation_failures"
INGEST_LAG = "tocsin_ingest_lag_seconds"
SEGMENTS_WAITING = "tocsin_ingest_segments_waiting"
SEGMENTS = "tocsin_ingest_segments"
INGESTED = "tocsin_ingest_bytes"
INGEST_FAILURES = "tocsin_ingest_failures"
BACKLOG = "tocsin_ingest_backlog_bytes"
EFFECTS = "tocsin_effects"
OVERDUE = "tocsin_effects_overdue"
INCIDENTS = "tocsin_incidents"
READY = "tocsin_ready"

_SLO = "slo/"
_LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_OWN = frozenset({"slo", "service", "window", "severity", "slo_metric"})


def slo_name(monitor: Monitor) -> str:
    """The value of the label `slo`: the monitor's name without its kind."""
    return monitor.name.removeprefix(_SLO)


def free_labels(monitor: Monitor) -> dict[str, str]:
    """The labels of a monitor that Prometheus can carry and that are not ours already."""
    return {
        name: value
        for name, value in monitor.labels.items()
        if _LABEL.fullmatch(name) and name not in _OWN and value
    }


def duration(minutes: int) -> str:
    """A length of time as Prometheus writes it: 5m, 1h30m, 3d, 4w.

    >>> [duration(m) for m in (5, 90, 4320, 40320, 43200)]
    ['5m', '1h30m', '3d', '4w', '30d']
    """
    for unit, length in (("w", 10080), ("d", 1440)):
        if minutes % length == 0:
            return f"{minutes // length}{unit}"
    hours, rest = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{rest}m" if rest else "")


def number(value: float) -> str:
    """A number in decimal, without the dust of binary fractions."""
    return f"{round(value, 12):.12f}".rstrip("0").rstrip(".")


def selector(labels: Mapping[str, str]) -> str:
    """A matcher for exactly these labels."""
    pairs = (f"{name}={quoted(value)}" for name, value in labels.items())
    return "{" + ", ".join(pairs) + "}"


def quoted(text: str) -> str:
    """A string of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
