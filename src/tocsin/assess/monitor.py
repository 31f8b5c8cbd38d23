"""What is watched: a monitor is a series of counts and the method that judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypedDict, Unpack

from tocsin.assess.accounts import Correction, NoData, Slices
from tocsin.assess.period import Calendar
from tocsin.domain.findings import Judgement, Labels, Verdict
from tocsin.domain.samples import Wish
from tocsin.domain.series import Ratio, SeriesId

Severity = Literal["page", "ticket"]


@dataclass(frozen=True, slots=True)
class BurnStep:
    """Alert when the budget burns faster than `factor` over both windows (minutes), and has done so
    at every minute for `after_minutes`."""

    severity: Severity
    long_minutes: int
    short_minutes: int
    factor: float
    after_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Guards:
    """What a burn alert must prove beyond its ratio, so that one error at night pages nobody.

    min_bad: bad calls in the long window. evidence: confidence of the one-sided Clopper-Pearson
    bound that must lie above the budgeted share; 0 switches it off. min_events: calls in the long
    window below which a page is lowered to a ticket.
    """

    min_bad: int = 3
    evidence: float = 0.95
    min_events: int = 30


@dataclass(frozen=True, slots=True)
class Part:
    """One of the objectives that a composite is made of.

    budget: the share of it that may be bad. slices: how its time is cut, when the composite's is.
    """

    name: str
    series: SeriesId
    ratio: Ratio
    weight: float = 1.0
    budget: float = 0.0
    slices: Slices | None = None


@dataclass(frozen=True, slots=True)
class Composite:
    """Several objectives as one.

    weighted: the mean of their shares of bad calls, by weight. burn: the sum of their burn rates,
    by weight (OpenSLO, Occurrences). any: a slice is bad when it is bad for any of them (OpenSLO,
    Timeslices). missing: a slice misses what all of them miss, up to all of it (OpenSLO,
    RatioTimeslices). absent: what a part without calls is: left out, good or bad.
    """

    method: Literal["weighted", "burn", "any", "missing"]
    parts: tuple[Part, ...]
    absent: NoData = "ignore"


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over calls that is held to a limit, with what lies between the usual and it as budget.

    expected: what a call usually has; a mean there spends nothing, and one at `limit` spends all of
    the budget, on whichever side of the other they lie. unit: "usd", "ms" or "" of the value.
    every: all calls, of which those with a known value are a part.
    """

    limit: float
    expected: float
    unit: str = ""
    every: tuple[SeriesId, Ratio] | None = None

    def __post_init__(self) -> None:
        if self.limit == self.expected:
            raise ValueError("between the expected value and the limit there must be a budget")

    @property
    def width(self) -> float:
        """The budget of one call, in the unit of the value; below 0 when less is worse."""
        return self.limit - self.expected

    def at(self, charge: float) -> float:
        """The mean value of calls that are charged `charge` shares each."""
        return self.expected + charge * self.width


@dataclass(frozen=True, slots=True)
class Objective:
    """A service-level objective in share form: at least `target` of the calls are good.

    target: in (0, 1). window_minutes: the length of the budget's period. steps: burn-rate alerts,
    see `burn.presets`. metric: what the share is of, for people (latency, availability, cost, ...).
    calendar: when the budget begins anew; None for a period that rolls. slices: how time is cut
    when slices are judged instead of calls. corrections: what people decided to charge otherwise.
    composite: the objectives that it is made of, instead of a series of its monitor. conditions:
    that a call has to meet all at once, each as a part, for evidence; the series counts the whole.
    mean: the value that is held to a limit instead of a share; calls are then charged in proportion
    to it (`domain.series.Charge`), and `target` says nothing.
    """

    target: float
    window_minutes: int
    steps: tuple[BurnStep, ...]
    guards: Guards = field(default_factory=Guards)
    metric: str = "availability"
    calendar: Calendar | None = None
    slices: Slices | None = None
    corrections: tuple[Correction, ...] = ()
    composite: Composite | None = None
    conditions: tuple[Part, ...] = ()
    mean: Mean | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.target < 1.0:
            raise ValueError(f"a target is a share above 0 and below 1, not {self.target}")
        if self.mean is not None and (self.slices or self.composite):
            raise ValueError("a mean with a budget has neither slices nor parts")

    @property
    def budget(self) -> float:
        """The share of calls that may be bad, without the dust of binary fractions; of a mean, what
        a call may be charged on average."""
        return 1.0 if self.mean is not None else round(1.0 - self.target, 12)

    def cut(self, slices: Slices | None) -> Slices | None:
        """Slices as they lie in the calendar's periods, the first of which begins with one."""
        if slices is None or self.calendar is None:
            return slices
        return replace(slices, offset=self.calendar.period_at(0)[0] % slices.minutes)

    @property
    def longest_days(self) -> int:
        """The days that a period lasts at most: a calendar's may be longer than it is called."""
        days = -(-self.window_minutes // 1440)
        if self.calendar is None or self.calendar.length.unit not in "MQY":
            return days
        return (
            days + self.calendar.length.count * {"M": 1, "Q": 2, "Y": 1}[self.calendar.length.unit]
        )

    def period_at(self, minute: int) -> tuple[int, int]:
        """Epoch minutes [from, to) of the budget that `minute` belongs to, `to` in the future for
        a calendar's."""
        if self.calendar is not None:
            return self.calendar.period_at(minute)
        return minute + 1 - self.window_minutes, minute + 1


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """What the settings of every kind of detector have in common.

    kind: its name in `detectors.DETECTORS`. needs: "counts" when it judges the monitor's series,
    "pace" when it judges the latency histograms of the monitor's service, "gauge" when it judges a
    value per minute of either, "samples" when it compares single calls, "budget" when it judges
    what is left of one, "others" when it is judged after all others, by what they found too.
    signal: what routing calls it when it watches no indicator. is_budgeted: whether its alerts may
    share a page budget: its evidence is -log10 p, and `threshold` says how much is asked for.
    """

    kind: ClassVar[str] = ""
    is_budgeted: ClassVar[bool] = False
    needs: ClassVar[Literal["counts", "pace", "gauge", "samples", "budget", "others"]] = "counts"
    signal: ClassVar[str] = "latency_p95"

    @property
    def budget_minutes(self) -> int:
        """How far back it looks at the counts of objectives, to the minute."""
        return 0

    @property
    def own(self) -> tuple[tuple[SeriesId, Ratio], ...]:
        """What is counted for it where its monitor has no series."""
        return ()

    def wish(self, service: str) -> Wish | None:
        """The samples it needs of `service`, None for none."""
        return None

    def beside(self, series: SeriesId, ratio: Ratio) -> Mapping[SeriesId, Ratio]:
        """What is counted beside the monitor's own series."""
        return {}


class Facts(TypedDict, total=False):
    """What a monitor's verdict adds to who says it; see `Verdict`."""

    severity: str
    value: float | None
    expected: float | None
    unit: str
    score: float | None
    window: tuple[int, int]
    reason: str
    evidence: Mapping[str, Any]
    sustains: bool


@dataclass(frozen=True, slots=True)
class Monitor:
    """One thing that is watched by one method.

    name: "slo/<name>", "detector/<name>", "breach/<name>", "quality/<name>", "health/<name>" or
    "budget/<policy>/<rule>/<objective>", unique. signal: the
    routing vocabulary. severity: what a detector asks for; the steps of an objective each have
    their own. series, ratio: the counts that are judged; None for a detector that judges a
    service's latency histograms. labels: copied onto verdicts (env, team, exposure, provider,
    regulated, ...).
    """

    name: str
    title: str
    service: str
    signal: str
    severity: Severity
    series: SeriesId | None
    ratio: Ratio | None
    method: Objective | DetectorConfig
    labels: Labels = field(default_factory=dict)

    @property
    def counted(self) -> tuple[tuple[SeriesId, Ratio], ...]:
        """Every series whose counts are judged, with what it counts."""
        if isinstance(self.method, Objective) and self.method.composite is not None:
            return tuple((part.series, part.ratio) for part in self.method.composite.parts)
        if self.series is None or self.ratio is None:
            return self.method.own if isinstance(self.method, DetectorConfig) else ()
        mean = self.method.mean if isinstance(self.method, Objective) else None
        beside = (mean.every,) if mean is not None and mean.every is not None else ()
        return ((self.series, self.ratio), *beside)

    def verdict(self, judgement: Judgement, minute: int, **facts: Unpack[Facts]) -> Verdict:
        """What it says at `minute`, with its own severity unless another is given."""
        told: Facts = {"severity": self.severity, **facts}
        return Verdict(
            monitor=self.name,
            service=self.service,
            signal=self.signal,
            judgement=judgement,
            minute=minute,
            labels=self.labels,
            **told,
        )

    @property
    def is_sampled(self) -> bool:
        """Whether it compares single calls."""
        return isinstance(self.method, DetectorConfig) and self.method.needs == "samples"

    @property
    def has_pace(self) -> bool:
        """Whether it judges the latency histograms of its service."""
        return (
            self.series is None
            and isinstance(self.method, DetectorConfig)
            and self.method.needs in ("pace", "gauge", "counts")
        )


def ratios(monitors: tuple[Monitor, ...] | list[Monitor]) -> Mapping[SeriesId, Ratio]:
    """Every series that `monitors` judge, once each, in order of first appearance.

    ValueError when two monitors give one series two meanings.
    """
    wanted: dict[SeriesId, Ratio] = {}
    for monitor in monitors:
        for series, ratio in monitor.counted:
            known = wanted.setdefault(series, ratio)
            if known != ratio:
                raise ValueError(
                    f"{monitor.name}: series {series} already counts {known}, "
                    f"not {ratio}; give one of the two indicators another name"
                )
        if isinstance(monitor.method, DetectorConfig):
            for series, ratio in monitor.counted:
                wanted |= monitor.method.beside(series, ratio)
    return wanted


def wishes(monitors: tuple[Monitor, ...] | list[Monitor]) -> tuple[Wish, ...]:
    """Every sample that `monitors` need, once each."""
    found = (
        monitor.method.wish(monitor.service)
        for monitor in monitors
        if isinstance(monitor.method, DetectorConfig)
    )
    return tuple(dict.fromkeys(wish for wish in found if wish is not None))
