"""Objectives whose calls stay away: silence is not health, and may be an outage of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tocsin.assess.burn import HOUR, span
from tocsin.assess.monitor import DetectorConfig, Monitor, Objective
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement, Verdict

LEAST = 5  # minutes: telemetry comes in batches


@dataclass(frozen=True, slots=True)
class AbsenceConfig(DetectorConfig):
    """No calls at all for an objective in `after_minutes`, where there were some before.

    Time that a correction charges otherwise is not silence.
    """

    kind: ClassVar[str] = "absence"
    needs: ClassVar[Literal["counts", "pace", "gauge", "samples", "budget"]] = "budget"
    signal: ClassVar[str] = "no_data"

    objective: Monitor
    after_minutes: int

    @property
    def budget_minutes(self) -> int:
        """As far as it looks back."""
        return self.after_minutes


def usual_patience(objective: Objective) -> int:
    """Minutes of silence that are as bad as what the first burn step alerts about: so long it takes
    it to tell that all calls fail. An hour for a mean, which has no failures.

    >>> from tocsin.assess.burn import presets
    >>> [usual_patience(Objective(target, 43200, presets(43200))) for target in (0.9, 0.95, 0.999)]
    [60, 44, 5]
    """
    if objective.mean is not None or not objective.steps:
        return HOUR
    first = objective.steps[0]
    minutes = min(first.factor * objective.budget, 1.0) * first.long_minutes
    return max(int(np.ceil(round(minutes, 6))), LEAST)


class AbsenceGroup:
    """All objectives that somebody wants to hear of when they fall silent."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH for objectives without calls, UNKNOWN for those that never had any or whose
        silence is too young to tell."""
        found = (self._judge(window, monitor, minute) for monitor in self.monitors)
        return [verdict for verdict in found if verdict is not None]

    def _judge(self, window: Window, monitor: Monitor, minute: int) -> Verdict | None:
        config = monitor.method
        assert isinstance(config, AbsenceConfig)  # noqa: S101 (only those are grouped here)
        after, end = config.after_minutes, minute + 1
        raw, held = window.ledger.raw, window.ledger.series
        rows = np.array([held[series] for series, _ in config.objective.counted], np.intp)
        if raw.sums(end, after, rows)[1].any():
            return None
        known, excused = raw.covered(end, after), _excused(config.objective, end - after, end)
        unsure = ""
        if not raw.totals[1, rows].any():
            unsure = "no call was ever counted"
        elif known < after:
            unsure = f"only {span(known)} of the last {span(after)} are known"
        elif excused:
            unsure = f"no calls in {span(after)}, some of it excused by {excused}"
        return monitor.verdict(
            Judgement.UNKNOWN if unsure else Judgement.BREACH,
            minute,
            value=float(after),
            expected=0.0,
            unit="min",
            window=(end - after, end),
            reason=unsure or f"no calls in {span(after)}: nobody knows whether it works",
            evidence={"minutes_without_calls": after},
        )


def _excused(monitor: Monitor, start: int, stop: int) -> str:
    """The name of a correction that is about a part of the time, "" when there is none."""
    objective = monitor.method
    held = objective.corrections if isinstance(objective, Objective) else ()
    return next((one.name for one in held if list(one.spans(start, stop))), "")
