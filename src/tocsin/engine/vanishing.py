"""Segments that alerts name: waited for while nobody can judge them, and judged before others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tocsin.assess.gauges.slices import SlicesConfig
from tocsin.assess.health_segments import HealthSegmentsConfig
from tocsin.assess.judge import Compiled
from tocsin.assess.masked import SegmentGroup
from tocsin.assess.segments import SegmentsConfig
from tocsin.assess.sliced import SliceGroup
from tocsin.assess.vanished import NAMED, VANISHED, waiting
from tocsin.assess.window import Window
from tocsin.domain.findings import Alert, Verdict
from tocsin.domain.ports import MinuteSource, State
from tocsin.domain.series import Ratio, SeriesId
from tocsin.engine.scoring import Scoring

_Apart = SegmentsConfig | SlicesConfig | HealthSegmentsConfig


def waited_for(
    verdicts: Sequence[Verdict], compiled: Compiled, scoring: Scoring, window: Window, minute: int,
    alerts: Mapping[str, Alert],
) -> list[Verdict]:  # fmt: skip
    """`verdicts`, in which monitors of segments wait for those that alerts of theirs name."""
    named = {a.labels.get("monitor", ""): a for a in alerts.values() if NAMED in a.evidence}
    if not named:
        return list(verdicts)
    said = {verdict.monitor: verdict for verdict in verdicts}
    groups = {
        monitor.name: group
        for group in compiled.groups
        if isinstance(group, SegmentGroup | SliceGroup)
        for monitor in group.monitors
    }
    told: dict[str, Verdict] = {}
    for monitor in compiled.monitors:
        method, alert = monitor.method, named.get(monitor.name)
        if alert is None or not isinstance(method, _Apart):
            continue
        if isinstance(method, HealthSegmentsConfig):
            if not method.alerts:
                continue  # an alert of before ends
            judged = scoring.judged(monitor)
        else:
            judged = groups[monitor.name].judged(monitor, window, minute)
        verdict = waiting(monitor, method.by, said.get(monitor.name), alert, judged, minute)
        if verdict is not None:
            told[monitor.name] = verdict
    return [*(one for one in verdicts if one.monitor not in told), *told.values()]


def seat(
    window: Window, source: MinuteSource, series: Mapping[SeriesId, Ratio], start: int, stop: int,
    state: State,
) -> None:  # fmt: skip
    """Give the places of gauges by segment to those that alerts name, then to the busiest of the
    epoch minutes [start, stop)."""
    if not window.slices.monitors:
        return
    told = {
        (one["dimension"], one["value"])
        for alert in state.alerts().values()
        for one in (*alert.evidence.get(NAMED, ()), *alert.evidence.get(VANISHED, ()))
    }
    counted = {sid: replace(ratio, histogram=False) for sid, ratio in series.items()}
    window.slices.seat(source.minutes(counted, (), start, stop), told)
