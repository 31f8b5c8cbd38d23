"""All monitors at one minute: what is broken, and what cannot be said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tocsin.assess.absence import AbsenceConfig, AbsenceGroup
from tocsin.assess.budget_rules import BudgetRuleConfig, BudgetRuleGroup
from tocsin.assess.detectors import DETECTORS, Detector
from tocsin.assess.gauges.slices import SlicesConfig
from tocsin.assess.health_monitor import HealthScoreConfig
from tocsin.assess.health_segments import HealthSegmentsConfig
from tocsin.assess.masked import SegmentGroup
from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.quality import QualityConfig, QualityGroup
from tocsin.assess.segments import SegmentsConfig
from tocsin.assess.sliced import SliceGroup
from tocsin.assess.slo import ObjectiveGroup
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement, Verdict

SILENCE_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Compiled:
    """Monitors set up for judging: everything of one method together."""

    monitors: tuple[Monitor, ...]
    groups: tuple[Detector, ...]


def compile_monitors(monitors: Iterable[Monitor]) -> Compiled:
    """Set up `monitors`, once per configuration.

    ValueError for two monitors of one name, and for a monitor without the series its method needs;
    UnknownKind for a detector that is not registered.
    """
    held = tuple(monitors)
    _check(held)
    objectives = [m for m in held if isinstance(m.method, Objective)]
    groups: list[Detector] = [ObjectiveGroup(objectives)] if objectives else []
    by_kind: dict[str, list[Monitor]] = {}
    for monitor in held:
        if not isinstance(monitor.method, Objective):
            by_kind.setdefault(monitor.method.kind, []).append(monitor)
    parts = by_kind.pop(SegmentsConfig.kind, [])
    groups += [SegmentGroup(parts)] if parts else []
    sliced = by_kind.pop(SlicesConfig.kind, [])
    groups += [SliceGroup(sliced)] if sliced else []
    judged = by_kind.pop(QualityConfig.kind, [])
    groups += [QualityGroup(judged)] if judged else []
    about = by_kind.pop(BudgetRuleConfig.kind, [])
    groups += [BudgetRuleGroup(about)] if about else []
    listening = by_kind.pop(AbsenceConfig.kind, [])
    groups += [AbsenceGroup(listening)] if listening else []
    for kind in (HealthScoreConfig.kind, HealthSegmentsConfig.kind):
        by_kind.pop(kind, None)  # judged by what all others say: `engine.scoring`
    groups += [DETECTORS[kind](members) for kind, members in by_kind.items()]
    return Compiled(held, tuple(groups))


def judge(monitors: Compiled, window: Window, minute: int) -> list[Verdict]:
    """What every monitor says of the minutes up to and including `minute`.

    BREACH and UNKNOWN verdicts, and OK ones that sustain; a monitor without a verdict is OK. When
    no telemetry at all was read for the last five minutes every monitor that is not known to breach
    is unknown: silence is not health.
    """
    if not monitors.monitors:
        return []
    if window.start is None or minute >= window.end or minute < window.start:
        return _all_unknown(monitors.monitors, minute, "no telemetry was read for this minute")
    verdicts = [verdict for group in monitors.groups for verdict in group.judge(window, minute)]
    if window.is_silent(minute + 1, SILENCE_MINUTES):
        known = {verdict.monitor for verdict in verdicts}
        rest = [monitor for monitor in monitors.monitors if monitor.name not in known]
        verdicts += _all_unknown(
            rest, minute, f"no telemetry was read for the last {SILENCE_MINUTES} min"
        )
    return verdicts


def _check(monitors: Sequence[Monitor]) -> None:
    names: set[str] = set()
    for monitor in monitors:
        if monitor.name in names:
            raise ValueError(f"two monitors are named {monitor.name!r}; names are identities")
        names.add(monitor.name)
        method = monitor.method
        counts = isinstance(method, Objective) or method.needs == "counts"
        if counts and not monitor.counted:
            raise ValueError(f"{monitor.name} judges counts and needs a series")


def _all_unknown(monitors: Sequence[Monitor], minute: int, reason: str) -> list[Verdict]:
    return [monitor.verdict(Judgement.UNKNOWN, minute, reason=reason) for monitor in monitors]
