"""Quality as judges see it, put right by what people say: an interval, and what may be said of it.

A judge's pass rate is not the share of good answers: one that overlooks 5 % of the good ones and
lets a quarter of the bad ones pass reports 90.1 % where 93 % are good, and a naive interval around
that covers the truth almost never. Some answers are therefore labelled by a person as well. Among
those that the judge passed, and among those that it failed, people's labels say how often it is
right; the whole is put together from the two (`tocsin.assess.calibration`). Without people's labels
nothing is known about the judge, and nobody is paged; nor is it when the judge fails to answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from tocsin.assess.burn import span
from tocsin.assess.calibration import (
    Agreement,
    Calibration,
    Estimate,
    Sample,
    agreement,
    even,
    post_stratified,
    rogan_gladen,
)
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.ring import MINUTES_PER_HOUR, Rows
from tocsin.assess.series_counts import SeriesCounts
from tocsin.domain.figures import percent
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import Ratio, SeriesId

State = Literal["met", "breached", "inconclusive", "uncalibrated", "failing", "no_data"]

MAX_SETTLE = 3 * 24 * MINUTES_PER_HOUR
MAX_REACH = 30 * 24 * MINUTES_PER_HOUR


@dataclass(frozen=True, slots=True)
class QualityConfig(DetectorConfig):
    """A quality objective. target: share of good answers. window_minutes: of the judged answers.
    labels_minutes, min_labels: how many answers of how long a time people must have labelled.
    settle_minutes: younger answers are left out, since labels come late and bad ones come first.
    calibration: what is known of the judge from elsewhere; then no labels are asked for.
    most_unanswered: share of the answers chosen to be judged that may be left without a verdict.
    parts: what is counted beside the judged answers, series named by one of `PARTS` each.
    """

    kind: ClassVar[str] = "quality"
    needs: ClassVar[Literal["counts", "pace", "gauge"]] = "counts"

    target: float = 0.95
    window_minutes: int = 7 * 24 * MINUTES_PER_HOUR
    labels_minutes: int = 7 * 24 * MINUTES_PER_HOUR
    min_labels: int = 50
    settle_minutes: int = 0
    calibration: Calibration | None = None
    most_unanswered: float = 0.1
    parts: tuple[tuple[SeriesId, Ratio], ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 < self.target < 1.0:
            raise ValueError(f"target is a share above 0 and below 1, not {self.target}")
        if self.min_labels < 1:
            raise ValueError(f"at least 1 label must be asked for, not {self.min_labels}")
        if not 0 <= self.settle_minutes <= MAX_SETTLE:
            raise ValueError("settle is at most 72 h")
        if max(self.window_minutes, self.labels_minutes) + self.settle_minutes > MAX_REACH:
            raise ValueError("window, or labels, and settle together reach back at most 30 d")

    def beside(self, series: SeriesId, ratio: Ratio) -> Mapping[SeriesId, Ratio]:
        """Its parts."""
        return dict(self.parts)


# What is counted beside the judged answers: how many there were, each as one; the squares of their
# weights; those that people labelled, which the judge passed and which it failed, each as one; the
# weights of these and their squares, where labels were not chosen evenly; and what was chosen to be
# judged, of which bad is what has no verdict.
PARTS = (
    "judged", "squares", "passed", "failed", "passed_weight", "passed_squares", "failed_weight",
    "failed_squares", "chosen",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QualityStanding:
    """Where a quality objective stands. judge: the judge's own pass rate. size: see `Sample`.
    agreement: of judge and people, with enough labels. unanswered: share of the chosen answers that
    the judge gave no verdict on; None when it is not counted.
    """

    monitor: str
    title: str
    service: str
    target: float
    state: State
    judge: float | None
    estimate: Estimate | None
    judged: int
    size: float
    labels: int
    labels_needed: int
    reason: str
    agreement: Agreement | None = None
    unanswered: float | None = None


class QualityCounts(SeriesCounts):
    """Counts of quality objectives for a month; late labels restate the hours of their calls."""

    def __init__(self, monitors: Iterable[Monitor]) -> None:
        wanted = [
            series
            for monitor in monitors
            if isinstance(monitor.method, QualityConfig) and monitor.series
            for series in (monitor.series, *dict(monitor.method.parts))
        ]
        hours = (MAX_REACH + MAX_SETTLE) // MINUTES_PER_HOUR
        super().__init__(wanted, MAX_SETTLE + MINUTES_PER_HOUR, hours)

    def sample(self, monitor: Monitor, config: QualityConfig, minute: int) -> _Counted:
        """What is known at `minute`."""
        end = minute + 1 - config.settle_minutes
        names = ["", *(_part(series) for series, _ in config.parts)]
        series = [one for one in (monitor.series, *dict(config.parts)) if one]
        window = dict(zip(names, self.sums(series, end, config.window_minutes).T, strict=True))
        labels = dict(zip(names, self.sums(series, end, config.labels_minutes).T, strict=True))
        bad, weight = (float(n) for n in window[""])
        size = even(0.0, weight, 1000.0 * float(window["squares"][1]))[1]
        people = [_labelled(labels, side) for side in ("passed", "failed")]
        sample = Sample(
            passed=1.0 - bad / weight if weight > 0 else 0.0,
            size=size,
            human_passed=people[0],
            human_failed=people[1],
            labels=int(labels["passed"][1] + labels["failed"][1]),
        )
        missing, chosen = (float(n) for n in window.get("chosen", (0, 0)))
        return _Counted(sample, int(window["judged"][1]), missing / chosen if chosen > 0 else None)


def quality(counts: QualityCounts, monitor: Monitor, minute: int) -> QualityStanding:
    """Where one quality objective stands after `minute`. TypeError for any other monitor."""
    config = monitor.method
    if not isinstance(config, QualityConfig):
        raise TypeError(f"{monitor.name} is no quality objective")
    counted = counts.sample(monitor, config, minute)
    sample, judged = counted.sample, counted.judged
    estimate = agreed = None
    if judged and config.calibration is not None:
        estimate = rogan_gladen(sample, config.calibration)
    elif judged and sample.labels >= config.min_labels:
        estimate, agreed = post_stratified(sample), agreement(sample)
    state, reason = _standing(config, counted, estimate)
    return QualityStanding(
        monitor.name, monitor.title, monitor.service, config.target, state,
        sample.passed if judged else None, estimate, judged, sample.size, sample.labels,
        config.min_labels, reason, agreed, counted.unanswered,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Counted:
    """A sample, how many answers were judged, and the share of the chosen ones that were not."""

    sample: Sample
    judged: int
    unanswered: float | None


def _part(series: SeriesId) -> str:
    return series.indicator.rpartition("/")[2]


def _labelled(sums: Mapping[str, Rows], side: str) -> tuple[float, float]:
    """(good, all) of the labels on one side. Weights come in thousandths, and so do squares."""
    bad, total = (float(n) for n in sums[side])
    if f"{side}_weight" not in sums:
        return total - bad, total
    bad, weight = (float(n) for n in sums[f"{side}_weight"])
    return even(weight - bad, weight, 1000.0 * float(sums[f"{side}_squares"][1]))


def _standing(
    config: QualityConfig, counted: _Counted, estimate: Estimate | None
) -> tuple[State, str]:
    sample = counted.sample
    if (counted.unanswered or 0.0) > config.most_unanswered:
        return "failing", (
            f"the judge gave no verdict on {percent(counted.unanswered or 0.0)} of the answers that"
            f" were chosen in {span(config.window_minutes)}: the others may not be like them"
        )
    if not counted.judged:
        return "no_data", f"no answer of the last {span(config.window_minutes)} was judged"
    if estimate is None:
        return "uncalibrated", (
            f"people labelled {sample.labels} of the judged answers in "
            f"{span(config.labels_minutes)}, {config.min_labels} are needed to know how often the "
            "judge is wrong"
        )
    said = (
        f"{percent(estimate.share)} of the answers are good ({percent(estimate.low)} to "
        f"{percent(estimate.high)}; the judge says {percent(sample.passed)})"
    )
    if estimate.high < config.target:
        return "breached", f"{said}, the objective is {percent(config.target)}"
    if estimate.low >= config.target:
        return "met", said
    return "inconclusive", f"{said}: whether that is {percent(config.target)} is not certain"


class Holds(Protocol):
    """A window, as far as it is needed here."""

    @property
    def quality(self) -> QualityCounts:
        """What is counted of quality objectives."""
        ...


class QualityGroup:
    """All quality objectives: they breach when the whole interval lies below the target."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)

    def judge(self, window: Holds, minute: int) -> list[Verdict]:
        """BREACH, or UNKNOWN without judged answers or without enough people's labels."""
        verdicts = []
        for monitor in self.monitors:
            found = quality(window.quality, monitor, minute)
            if found.state in ("met", "inconclusive"):
                continue
            is_breach = found.state == "breached"
            verdicts.append(
                monitor.verdict(
                    Judgement.BREACH if is_breach else Judgement.UNKNOWN,
                    minute,
                    value=found.estimate.share if found.estimate and is_breach else None,
                    expected=found.target,
                    unit="share",
                    window=_window(monitor, minute),
                    reason=found.reason,
                    evidence={
                        "state": found.state,
                        "judge": found.judge,
                        "judged": found.judged,
                        "effective_size": round(found.size, 1),
                        "labels": found.labels,
                        "interval": [found.estimate.low, found.estimate.high]
                        if found.estimate
                        else None,
                    },
                )
            )
        return verdicts


def _window(monitor: Monitor, minute: int) -> tuple[int, int]:
    config = monitor.method
    if not isinstance(config, QualityConfig):
        return 0, 0
    end = minute + 1 - config.settle_minutes
    return end - config.window_minutes, end
