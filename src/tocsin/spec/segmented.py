"""The monitor of the segments of what another monitor counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tocsin.assess.monitor import Monitor, Objective
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
    is_sliced = objective is not None and objective.slices is not None
    if monitor.ratio is None or as_condition(monitor.ratio) is None or is_sliced:
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
        method=shape.build(objective.budget if objective else None),
        labels={**monitor.labels, "by": ",".join(shape.by)},
    )
