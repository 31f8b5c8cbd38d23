"""Health scores as Prometheus scrapes them, absent while unknown: nobody averages a guess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, StateSetMetricFamily
from prometheus_client.metrics_core import Metric

from tocsin.assess.health_effect import STATES
from tocsin.engine.health import ServiceHealth
from tocsin.spec.prometheus import names

_BY = ("health_score", "service")


def health_families(scores: Sequence[ServiceHealth]) -> Iterator[Metric]:
    """The score of 0 to 100, its coverage, and its state as it is told."""
    score = GaugeMetricFamily(names.HEALTH, "Health score from 0 to 100.", labels=_BY)
    covered = GaugeMetricFamily(
        names.HEALTH_COVERAGE, "Share of the weight that was measured.", labels=_BY, unit="ratio"
    )
    state = StateSetMetricFamily(names.HEALTH_STATE, "State of the health score.", labels=_BY)
    for one in scores:
        labels = (one.name, one.service)
        if one.health.score is not None:
            score.add_metric(labels, one.health.score)
        if one.health.state != "idle":  # without traffic nothing is missing
            covered.add_metric(labels, one.health.coverage)
        state.add_metric(labels, {name: name == one.state for name in STATES})
    yield from (score, covered, state)
