"""The monitor of the segments of what another monitor counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tocsin.assess.gauges.kind import QUANTILES, GaugeConfig
from tocsin.assess.gauges.slices import SlicesConfig
from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.segments import SegmentsConfig
from tocsin.domain.series import SeriesId
from tocsin.indicators.catalogue import DURATIONS
from tocsin.indicators.custom import as_condition
from tocsin.spec.assembly import Assembly
from tocsin.spec.documents import Document
from tocsin.spec.segments import SegmentsShape


def by_segment(
    assembly: Assembly,
    document: Document,
    shape: SegmentsShape,
    monitor: Monitor,
    objective: Objective | None = None,
) -> Iterator[Monitor]:
    """The monitor, or what `document`, which asks for it, is told instead: a problem when it asks
    for this one, a warning when its policy also selects an objective that has no segments.

    objective: that of `monitor`, whose budget every segment has.
    """
    if isinstance(monitor.method, GaugeConfig) and monitor.method.measure in QUANTILES:
        # That of the whole is read from the histogram of its service, which is no series.
        series = SeriesId(monitor.service, DURATIONS.name)
        monitor = replace(monitor, series=series, ratio=DURATIONS.ratio)
    is_sliced = objective is not None and objective.slices is not None
    ratio = monitor.ratio
    is_gauge = isinstance(monitor.method, GaugeConfig) and ratio is not None
    is_charge = is_gauge and ratio is not None and ratio.charge is not None
    if ratio is None or is_sliced or (as_condition(ratio) is None and not is_charge):
        message = f"{monitor.title}: what it counts is not told apart by segments yet"
        fix = "use an indicator of calls, or write it as a condition"
        told = assembly.problems if objective is None else assembly.warnings
        told.append(document.problem(("spec", "segments"), message, fix))
        return
    yield replace(
        monitor,
        name=f"{monitor.name}/segments",
        title=f"{monitor.title}, by {' and '.join(shape.by)}",
        severity=shape.severity,
        method=_method(monitor, shape, objective),
        labels={**monitor.labels, "by": ",".join(shape.by)},
    )


def _method(
    monitor: Monitor, shape: SegmentsShape, objective: Objective | None
) -> SegmentsConfig | SlicesConfig:
    """A gauge is judged against its own past in every segment, counts against a budget or the
    rest."""
    if isinstance(monitor.method, GaugeConfig):
        return SlicesConfig(by=shape.by, inner=monitor.method)
    return shape.build(objective.budget if objective else None)
