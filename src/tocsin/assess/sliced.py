"""Monitors of gauges by segment: which values of a dimension are out of what they usually are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tocsin.assess.detectors import DETECTORS
from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.gauges.slices import SlicesConfig
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement, Verdict

MOST_TOLD = 10


class SliceGroup:
    """All monitors of gauges by segment. Each has one verdict, that of the segment which is
    furthest out, with the others in its evidence. Where evidence is a probability it is corrected
    for the number of segments (Bonferroni)."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        self._detectors: dict[str, GaugeDetector] = {}
        self._of: Window | None = None

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH for monitors with a segment that is out, UNKNOWN where none can be judged."""
        verdicts: list[Verdict] = []
        by_row = self._judged(window, minute)
        for monitor in self.monitors:
            rows = window.slices.rows[monitor.name]
            taken = [row for row in rows if window.slices.value(row)]
            found = [by_row.get(row) for row in taken]
            known = sum(v is None or v.judgement is Judgement.BREACH for v in found)
            breaches = [
                (row, v)
                for row, v in zip(taken, found, strict=True)
                if v is not None and v.judgement is Judgement.BREACH
            ]
            told = self._certain(monitor, breaches, known)
            if told:
                verdicts.append(self._breach(window, monitor, told, known))
            elif not known:
                verdicts.append(self._unknown(monitor, minute, found))
        return verdicts

    def judged(self, monitor: Monitor, window: Window, minute: int) -> set[tuple[str, str]]:
        """(dimension, value) of the segments of a monitor that have a value and a past."""
        by_row = self._judged(window, minute)
        return {
            (_dimension(window, row), value)
            for row in window.slices.rows[monitor.name]
            if (value := window.slices.value(row))
            and (row not in by_row or by_row[row].judgement is Judgement.BREACH)
        }

    def _judged(self, window: Window, minute: int) -> Mapping[int, Verdict]:
        """Verdicts of places by their rows."""
        if self._of is not window:
            self._of, self._detectors = window, {}
        places: dict[str, list[int]] = {}
        for row, monitor in enumerate(window.slices.monitors):
            places.setdefault(_kind(monitor), []).append(row)
        found: dict[int, Verdict] = {}
        for kind, rows in places.items():
            if kind not in self._detectors:
                members = [replace(window.slices.monitors[row], name=str(row)) for row in rows]
                made = DETECTORS[kind](members)
                assert isinstance(made, GaugeDetector)  # noqa: S101 (its config is of a gauge)
                self._detectors[kind] = made
            judged = self._detectors[kind].judge(window.slices, minute)
            found |= {int(verdict.monitor): verdict for verdict in judged}
        return found

    def _certain(
        self, monitor: Monitor, breaches: Sequence[tuple[int, Verdict]], tested: int
    ) -> list[tuple[int, Verdict]]:
        """Breaches that are so for all segments together, the strongest first."""
        assert isinstance(monitor.method, SlicesConfig)  # noqa: S101 (it is of this group)
        inner = monitor.method.inner
        if inner.is_p:
            least = float(getattr(inner, "threshold", 0.0)) + float(np.log10(max(tested, 1)))
            breaches = [(row, v) for row, v in breaches if (v.score or 0.0) >= least]
        return sorted(breaches, key=lambda one: (-(one[1].score or 0.0), one[0]))

    def _breach(
        self, window: Window, monitor: Monitor, told: Sequence[tuple[int, Verdict]], tested: int
    ) -> Verdict:
        segments = [
            {
                "dimension": _dimension(window, row), "value": window.slices.value(row),
                "now": verdict.value, "expected": verdict.expected, "score": verdict.score,
            }
            for row, verdict in told[:MOST_TOLD]
        ]  # fmt: skip
        worst, lead = told[0][1], segments[0]
        more = len(told) - 1
        others = f"; {more} more segment{'s' * (more > 1)}" if more else ""
        return replace(
            worst,
            monitor=monitor.name,
            reason=f"{lead['dimension']} {lead['value']}: {worst.reason}{others}",
            evidence={**worst.evidence, "segments": segments, "tested": tested},
        )

    def _unknown(self, monitor: Monitor, minute: int, found: Sequence[Verdict | None]) -> Verdict:
        assert isinstance(monitor.method, SlicesConfig)  # noqa: S101 (it is of this group)
        named = " or ".join(monitor.method.by)
        reasons = [verdict.reason for verdict in found if verdict is not None]
        reason = (
            f"no segment by {named} can be judged: {reasons[0]}"
            if reasons
            else (f"no call has a {named}")
        )
        return monitor.verdict(Judgement.UNKNOWN, minute, reason=reason)


def _kind(monitor: Monitor) -> str:
    assert isinstance(monitor.method, GaugeConfig)  # noqa: S101 (a place has the inner one)
    return monitor.method.kind


def _dimension(window: Window, row: int) -> str:
    series = window.slices.monitors[row].series
    return series.segment[0] if series is not None else ""
