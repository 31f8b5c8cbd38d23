"""DataSource documents: whether what an indicator names can be measured here."""

from __future__ import annotations

from collections.abc import Iterator

from tocsin.domain.errors import Problem
from tocsin.spec.assembly import Assembly
from tocsin.spec.documents import Document
from tocsin.spec.objectives import MetricSource, SLIShape
from tocsin.spec.yaml import Place

OURS = "Tocsin"


def unmeasurable(
    assembly: Assembly, sli: SLIShape, document: Document, place: Place
) -> Iterator[Problem]:
    """A problem for every metric of `sli`, which stands at `place`, whose DataSource is not ours.

    A name that nobody wrote down is the business of `references`.
    """
    for at, metric in _metrics(sli, place):
        found = assembly.named("DataSource", metric.metric_source_ref)
        if metric.type is None and found is not None and found.spec.type != OURS:
            message = (
                f"DataSource {found.name!r} is of type {found.spec.type!r}; "
                "Tocsin measures its own telemetry"
            )
            fix = f"send telemetry to Tocsin and name a DataSource of type {OURS}"
            yield document.problem((*at, "metricSourceRef"), message, fix)


def _metrics(sli: SLIShape, place: Place) -> Iterator[tuple[Place, MetricSource]]:
    if sli.threshold_metric is not None:
        yield (*place, "thresholdMetric", "metricSource"), sli.threshold_metric.metric_source
    if sli.ratio_metric is not None:
        for side in ("good", "bad", "total"):
            measured = getattr(sli.ratio_metric, side)
            if measured is not None:
                yield (*place, "ratioMetric", side, "metricSource"), measured.metric_source
