"""Quality as judges see it, put right by what people say: an interval, and what may be said of it.

A judge's pass rate is not the share of good answers: one that overlooks 5 % of the good ones and
lets a quarter of the bad ones pass reports 90.1 % where 93 % are good, and a naive interval around
that covers the truth almost never. Some answers are therefore labelled by a person as well. Among
those that the judge passed, and among those that it failed, people's labels say how often it is
right; the whole is put together from the two (post-stratification). Without people's labels nothing
is known about the judge, and nobody is paged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from tocsin.assess.burn import span
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.ring import MINUTES_PER_HOUR, PeriodCounts, Rows
from tocsin.assess.wording import percent
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

State = Literal["met", "breached", "inconclusive", "uncalibrated", "no_data"]

DRAWS = 2000
MAX_SETTLE = 3 * 24 * MINUTES_PER_HOUR
MAX_REACH = 30 * 24 * MINUTES_PER_HOUR


@dataclass(frozen=True, slots=True)
class Calibration:
    """A labelled set: (passed, all) of its good answers, (failed, all) of its bad ones."""

    sensitivity: tuple[int, int]
    specificity: tuple[int, int]


@dataclass(frozen=True, slots=True)
class QualityConfig(DetectorConfig):
    """A quality objective. target: share of good answers. window_minutes: of the judged answers.
    labels_minutes, min_labels: how many answers of how long a time people must have labelled.
    settle_minutes: younger answers are left out, since labels come late and bad ones come first.
    calibration: what is known of the judge from elsewhere; then no labels are asked for. parts:
    what is counted beside the judged answers, in the order of `SERIES`.
    """

    kind: ClassVar[str] = "quality"
    needs: ClassVar[Literal["counts", "pace", "gauge"]] = "counts"

    target: float = 0.95
    window_minutes: int = 7 * 24 * MINUTES_PER_HOUR
    labels_minutes: int = 7 * 24 * MINUTES_PER_HOUR
    min_labels: int = 50
    settle_minutes: int = 0
    calibration: Calibration | None = None
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
# weights; and those that people labelled, which the judge passed and which it failed.
SERIES = ("judged", "squares", "passed", "failed")


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of a judge's sample. passed: share of judged answers that the judge passes,
    weighted by the inverse of the probability of being judged (Hajek). size: how many equally
    weighted answers would say as much (Kish). human_passed, human_failed: (good, all) as people see
    them, of what the judge passed and of what it failed.
    """

    passed: float
    size: float
    human_passed: tuple[int, int]
    human_failed: tuple[int, int]

    @property
    def labels(self) -> int:
        """How many answers people labelled."""
        return self.human_passed[1] + self.human_failed[1]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of good answers with its 95 % interval."""

    share: float
    low: float
    high: float


def post_stratified(sample: Sample, draws: int = DRAWS, seed: int = 20) -> Estimate:
    """The share of good answers: pass rate x how often a pass is right + the other way round.

    Each of the three factors has Jeffreys' posterior, Beta(k + 1/2, n - k + 1/2); the interval is
    that of their product by Monte Carlo with a fixed seed, so that the same counts always say the
    same. It holds when people's labels are a random sample within what the judge passed and within
    what it failed, whatever the two rates are: label more of the failed ones.
    """
    rng = np.random.default_rng(seed)

    def beta(good: float, total: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return rng.beta(good + 0.5, max(total - good, 0.0) + 0.5, draws)

    passed = beta(sample.passed * sample.size, sample.size)
    right, missed = beta(*sample.human_passed), beta(*sample.human_failed)
    theta = passed * right + (1.0 - passed) * missed
    low, high = np.quantile(theta, (0.025, 0.975))
    return Estimate(float(theta.mean()), float(low), float(high))


def rogan_gladen(
    sample: Sample, known: Calibration, draws: int = DRAWS, seed: int = 20
) -> Estimate:
    """The share of good answers when a labelled set from elsewhere says how the judge errs:
    (pass rate + specificity - 1) / (sensitivity + specificity - 1), within 0 and 1.

    All three vary as in `post_stratified`. It holds as long as the judge errs on live answers as it
    did on that set, which nothing here can check.

    Rogan and Gladen, "Estimating prevalence from the results of a screening test", American Journal
    of Epidemiology 107 (1978).
    """
    rng = np.random.default_rng(seed)
    good = sample.passed * sample.size
    passed = rng.beta(good + 0.5, max(sample.size - good, 0.0) + 0.5, draws)
    (k, n), (j, m) = known.sensitivity, known.specificity
    sensitivity = rng.beta(k + 0.5, n - k + 0.5, draws)
    specificity = rng.beta(j + 0.5, m - j + 0.5, draws)
    power = np.maximum(sensitivity + specificity - 1.0, 1e-6)
    theta = np.clip((passed + specificity - 1.0) / power, 0.0, 1.0)
    low, high = np.quantile(theta, (0.025, 0.975))
    return Estimate(float(np.median(theta)), float(low), float(high))


@dataclass(frozen=True, slots=True)
class QualityStanding:
    """Where a quality objective stands. judge: the judge's own pass rate. size: see `Sample`."""

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


class QualityCounts:
    """Counts of quality objectives for a month; late labels restate the hours of their calls."""

    def __init__(self, monitors: Iterable[Monitor]) -> None:
        wanted = [
            series
            for monitor in monitors
            if isinstance(monitor.method, QualityConfig) and monitor.series
            for series in (monitor.series, *dict(monitor.method.parts))
        ]
        self._row = {series: row for row, series in enumerate(dict.fromkeys(wanted))}
        reach = MAX_SETTLE + MINUTES_PER_HOUR
        hours = (MAX_REACH + MAX_SETTLE) // MINUTES_PER_HOUR
        size = len(self._row)
        # Sums of squared weights in thousandths outgrow 32 bits.
        self._held = (
            PeriodCounts(size, reach, hours, dtype=np.uint64) if size else PeriodCounts(0, 60, 1)
        )

    def begin(self, minute: int) -> None:
        """Forget everything; the next minute to arrive is `minute`."""
        self._held.begin(minute)

    def put(self, start: int, block: MinuteBlock | None, here: slice) -> None:
        """Take in the minutes `here` of a block, or silence, from epoch minute `start` on."""
        counts = np.zeros((here.stop - here.start, 2, len(self._row)), np.int64)
        if block is not None:
            rows, given = self._rows_of(block.series)
            both = np.stack([block.bad[given, here], block.total[given, here]])
            counts[:, :, rows] = both.transpose(2, 0, 1)
        self._held.put(start, counts)

    def restate(self, block: MinuteBlock) -> bool:
        """As `Window.restate`."""
        rows, given = self._rows_of(block.series)
        if not len(rows):
            return False
        counts = np.stack([block.bad[given], block.total[given]]).transpose(2, 0, 1)
        return self._held.restate(block.start // MINUTES_PER_HOUR, rows, counts)

    def sample(self, monitor: Monitor, config: QualityConfig, minute: int) -> tuple[Sample, int]:
        """What is known at `minute`, and how many answers were judged."""
        end = minute + 1 - config.settle_minutes
        series = [monitor.series, *dict(config.parts)]
        rows: Rows = np.array([self._row[one] for one in series if one], np.intp)
        window = self._held.sums(end, config.window_minutes, rows)
        labelled = self._held.sums(end, config.labels_minutes, rows)
        bad, weight = (float(n) for n in window[:, 0])
        judged, squares = int(window[1, 1]), float(window[1, 2])
        # Sums of weights come in thousandths, and so do those of their squares.
        size = weight * weight / 1000.0 / squares if squares > 0 else 0.0
        passed = 1.0 - bad / weight if weight > 0 else 0.0
        people = [(int(n - k), int(n)) for k, n in labelled[:, 3:].T]
        return Sample(passed, size, people[0], people[1]), judged

    def _rows_of(self, series: Sequence[SeriesId]) -> tuple[Rows, Rows]:
        held = [(self._row[s], at) for at, s in enumerate(series) if s in self._row]
        rows, given = np.array(held, np.intp).reshape(-1, 2).T
        return rows, given


def quality(counts: QualityCounts, monitor: Monitor, minute: int) -> QualityStanding:
    """Where one quality objective stands after `minute`. TypeError for any other monitor."""
    config = monitor.method
    if not isinstance(config, QualityConfig):
        raise TypeError(f"{monitor.name} is no quality objective")
    sample, judged = counts.sample(monitor, config, minute)
    estimate = None
    if judged and config.calibration is not None:
        estimate = rogan_gladen(sample, config.calibration)
    elif judged and sample.labels >= config.min_labels:
        estimate = post_stratified(sample)
    state, reason = _standing(config, sample, judged, estimate)
    return QualityStanding(
        monitor.name, monitor.title, monitor.service, config.target, state,
        sample.passed if judged else None, estimate, judged, sample.size, sample.labels,
        config.min_labels, reason,
    )  # fmt: skip


def _standing(
    config: QualityConfig, sample: Sample, judged: int, estimate: Estimate | None
) -> tuple[State, str]:
    if not judged:
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
