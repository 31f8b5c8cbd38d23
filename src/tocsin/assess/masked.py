"""Monitors of segments: a part of the traffic that is worse off, which the whole may hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tocsin.assess.burn import span
from tocsin.assess.monitor import Monitor
from tocsin.assess.ring import Counts
from tocsin.assess.segments import SegmentsConfig, SegmentStanding, standings
from tocsin.assess.window import Window
from tocsin.assess.wording import counted
from tocsin.domain.figures import percent
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.shares import clopper_pearson_lower, clopper_pearson_upper

MOST_TOLD = 10


class SegmentGroup:
    """All monitors of segments. A segment is told of when it is a discovery in `confirm` of the
    last `of` evaluations, the newest of which ends at most `every_minutes` ago.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH for monitors with a segment worse off, UNKNOWN where none can be judged."""
        verdicts = []
        for monitor in self.monitors:
            config = monitor.method
            if not isinstance(config, SegmentsConfig):
                raise TypeError(f"{monitor.name} does not judge segments")
            newest, often = confirmed(window, monitor, config, minute)
            if often:
                verdicts.append(self._breach(window, monitor, config, newest, often, minute))
            elif not any(segment.is_judged for segment in newest):
                verdicts.append(self._unknown(monitor, config, minute))
        return verdicts

    def judged(self, monitor: Monitor, window: Window, minute: int) -> set[tuple[str, str]]:
        """(dimension, value) of the segments of a monitor that had enough calls."""
        assert isinstance(monitor.method, SegmentsConfig)  # noqa: S101 (it is of this group)
        newest, _ = confirmed(window, monitor, monitor.method, minute)
        return {(one.dimension, one.value) for one in newest if one.is_judged}

    def _breach(
        self, window: Window, monitor: Monitor, config: SegmentsConfig,
        newest: list[SegmentStanding], often: list[SegmentStanding], minute: int,
    ) -> Verdict:  # fmt: skip
        end = config.evaluations(minute)[0]
        whole = whole_of(window, monitor, end, config.window_minutes)
        worst = often[0]
        allowed = allowed_of(worst, config)
        is_masked = hides(whole, config)
        return monitor.verdict(
            Judgement.BREACH,
            minute,
            value=worst.share,
            expected=allowed,
            unit="share",
            score=worst.score,
            window=(end - config.window_minutes, end),
            reason=_reason(monitor, config, often, whole, masked=is_masked),
            evidence={
                "masked": is_masked,
                "whole": {"bad": int(whole[0]), "total": int(whole[1])},
                "segments": [asdict(segment) for segment in often[:MOST_TOLD]],
                "tested": sum(segment.is_judged for segment in newest),
                "confirmed": f"{config.confirm} of {config.of} evaluations",
                "fdr": config.fdr,
            },
        )

    def _unknown(self, monitor: Monitor, config: SegmentsConfig, minute: int) -> Verdict:
        return monitor.verdict(
            Judgement.UNKNOWN,
            minute,
            unit="share",
            window=(minute + 1 - config.window_minutes, minute + 1),
            reason=(
                f"no segment by {' or '.join(config.by)} had {config.min_events} calls in "
                f"{span(config.window_minutes)}"
            ),
        )


def confirmed(
    window: Window, monitor: Monitor, config: SegmentsConfig, minute: int
) -> tuple[list[SegmentStanding], list[SegmentStanding]]:
    """Every segment in the newest evaluation, and those of them that were found often enough."""
    assert monitor.series is not None  # noqa: S101 (it judges counts)
    families = config.families(monitor.series)
    often: dict[tuple[str, str], int] = {}
    newest: list[SegmentStanding] = []
    for ago, end in enumerate(config.evaluations(minute)):
        names, counts = window.segments.sums(families, end, config.window_minutes)
        whole = whole_of(window, monitor, end, config.window_minutes)
        found = standings(names, counts, whole, config)
        newest = found if ago == 0 else newest
        for segment in found:
            key = (segment.dimension, segment.value)
            often[key] = often.get(key, 0) + segment.is_found
    told = [s for s in newest if often[s.dimension, s.value] >= config.confirm]
    return newest, told


def whole_of(window: Window, monitor: Monitor, end: int, width: int) -> Counts:
    """(bad, total) of the service in minutes [end - width, end)."""
    return window.segments.whole(monitor.series, end, width)


def hides(whole: Counts, config: SegmentsConfig) -> bool:
    """Whether the service as a whole does not show it: its share is not surely over the budget."""
    if config.budget is None or whole[1] == 0:
        return False
    return bool(clopper_pearson_lower(whole[0], whole[1]) <= config.budget)


def allowed_of(segment: SegmentStanding, config: SegmentsConfig) -> float:
    """The share that a segment may have."""
    if config.budget is not None:
        return config.budget
    return float(np.clip(config.min_ratio * (segment.rest or 0.0), 0.0, 1.0))


def _reason(
    monitor: Monitor, config: SegmentsConfig, often: list[SegmentStanding], whole: Counts, *,
    masked: bool,
) -> str:  # fmt: skip
    worst = often[0]
    text = (
        f"{worst.dimension} {worst.value}: {counted(worst.bad, worst.total, monitor.ratio)} in "
        f"{span(config.window_minutes)} ({percent(worst.share)}), "
    )
    if config.budget is not None:
        text += f"the objective allows {percent(config.budget)}"
    else:
        text += f"elsewhere {percent(worst.rest or 0.0)}"
    if masked and whole[1]:
        text += f"; the service as a whole looks fine ({percent(whole[0] / whole[1])})"
    if len(often) > 1:
        text += f"; {len(often) - 1} more segment{'s' * (len(often) > 2)}"
    return text


@dataclass(frozen=True, slots=True)
class Gap:
    """Between the segment that is worst off and the one that is best off, in shares of bad calls.

    low, high: 95 % interval of the difference, wide enough for having picked the two among all
    (Bonferroni over segments; Newcombe, Statistics in Medicine 17, 1998, method 10).
    """

    worst: str
    best: str
    size: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fairness:
    """How the segments of one monitor fare. confirmed: "dimension=value" of those that are told of.

    gaps: by dimension that has two segments or more with enough calls.
    """

    monitor: str
    title: str
    service: str
    minutes: int
    budget: float | None
    bad: int
    total: int
    segments: tuple[SegmentStanding, ...]
    confirmed: tuple[str, ...]
    masked: bool
    gaps: tuple[tuple[str, Gap], ...]


def fairness(window: Window, monitor: Monitor, minute: int, minutes: int) -> Fairness:
    """Every segment of `monitor` over the `minutes` that end with `minute`; at most a day."""
    config = monitor.method
    if not isinstance(config, SegmentsConfig) or monitor.series is None:
        raise TypeError(f"{monitor.name} does not judge segments")
    families = config.families(monitor.series)
    names, counts = window.segments.sums(families, minute + 1, minutes)
    whole = whole_of(window, monitor, minute + 1, minutes)
    found = standings(names, counts, whole, config)
    _, told = confirmed(window, monitor, config, minute)
    recent = whole_of(window, monitor, config.evaluations(minute)[0], config.window_minutes)
    judged = [segment for segment in found if segment.is_judged]
    gaps = []
    for name in config.by:
        mine = [segment for segment in judged if segment.dimension == name]
        if len(mine) > 1:
            gaps.append((name, widest_gap(mine)))
    return Fairness(
        monitor.name, monitor.title, monitor.service, minutes, config.budget, int(whole[0]),
        int(whole[1]), tuple(found), tuple(f"{s.dimension}={s.value}" for s in told),
        bool(told) and hides(recent, config), tuple(gaps),
    )  # fmt: skip


def widest_gap(segments: Sequence[SegmentStanding]) -> Gap:
    """Between the worst and the best off of two segments or more."""
    worst = max(segments, key=lambda segment: segment.share)
    best = min(segments, key=lambda segment: segment.share)
    confidence = 1.0 - 0.025 / len(segments)
    (l1, u1), (l2, u2) = (
        (
            float(clopper_pearson_lower(one.bad, one.total, confidence)),
            float(clopper_pearson_upper(one.bad, one.total, confidence)),
        )
        for one in (worst, best)
    )
    size = worst.share - best.share
    return Gap(
        worst.value, best.value, size,
        max(size - float(np.hypot(worst.share - l1, u2 - best.share)), -1.0),
        min(size + float(np.hypot(u1 - worst.share, best.share - l2)), 1.0),
    )  # fmt: skip
