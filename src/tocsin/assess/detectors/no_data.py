"""No data: something that used to call is silent, for longer than it ever was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.board import Looked
from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.grid import DAY_S, HOUR_S, Grid
from tocsin.assess.gauges.history import Floats
from tocsin.assess.gauges.kind import GaugeConfig, Measure, Scored
from tocsin.assess.gauges.week import MOST_SILENT, WeekOfHours
from tocsin.assess.wording import span
from tocsin.domain.findings import Judgement, Verdict

_DAYS = 14  # of which the longest silence is remembered
_STEPS, _LOST, _MISSED = 0, 1, 2  # clocks of a silence; the first two are judged
_JUDGED = 2
_MIN_BUSY = 10  # steps with calls, without which nobody can say that it used to call
_LOG10_E = float(np.log10(np.e))
_MOST = 300.0


@dataclass(frozen=True, slots=True)
class NoDataConfig(GaugeConfig):
    """Settings of no data; those of every gauge (measure, over, for_minutes, min_calls), of which
    measure is volume, one minute at a time, and

    threshold: evidence needed, as -log10 p; at least 2. Where 1,000 minutes of the last two weeks
    had calls, 6 is about twice the longest silence between them. min_minutes: a shorter silence is
    never told.
    """

    kind: ClassVar[str] = "no_data"
    is_p: ClassVar[bool] = True

    measure: Measure = "volume"
    threshold: float = 6.0
    min_minutes: int = 5

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if self.measure != "volume" or self.over != 1 or self.for_minutes != 1:
            raise ValueError("no_data measures volume minute by minute; use min_minutes to wait")
        if not 2.0 <= self.threshold <= _MOST:
            raise ValueError(f"threshold is -log10 p, from 2 to 300, not {self.threshold}")
        if not 1 <= self.min_minutes <= DAY_S // 60:
            raise ValueError(f"min_minutes is 1 to {DAY_S // 60}, not {self.min_minutes}")

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> NoDataScorer:
        """As `GaugeConfig.scorer`."""
        return NoDataScorer([c for c in configs if isinstance(c, cls)], grid)

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"a silence as rare as 1 in {10 ** min(evidence, 15.0):,.0f}"


@dataclass(frozen=True, slots=True)
class Silence:
    """How long each has been silent at each step: [clock, step, row] by three clocks.

    By steps that were read; by what likelihood it has lost (see `WeekOfHours`), which stands still
    in the hours that never have calls; and by the calls that it missed.
    """

    lasted: Floats

    @property
    def steps(self) -> Floats:
        """By steps [step, row]."""
        steps: Floats = self.lasted[_STEPS]
        return steps

    @property
    def missed(self) -> Floats:
        """By calls that were to be expected, at least [step, row]."""
        missed: Floats = self.lasted[_MISSED]
        return missed


class NoDataScorer:
    """Evidence is -log10 P(a silence lasts as long or longer), by the clock that says more.

    By each clock silences are exponential, of a scale so large that the longest of the last two
    weeks was to be expected once among as many as there were. The likelihood's scale is 1 at least,
    which is that of calls that come independently; silences that rang are not among its longest,
    but they are by steps: a pause of the same length that comes every week rings once or twice.
    """

    def __init__(self, configs: Sequence[NoDataConfig], grid: Grid) -> None:
        rows = len(configs)
        self.limit = np.array([config.threshold for config in configs])
        self._grid = grid
        self._wait = np.array([-(-config.min_minutes * 60 // grid.step_s) for config in configs])
        self._week = WeekOfHours(rows)
        self._longest = np.zeros((_DAYS, _JUDGED, rows))
        self._busy = np.zeros((_DAYS, rows))
        self._day: int | None = None
        self._learned: int | None = None  # steps before this one are in what follows
        self._silence = Silence(np.zeros((3, 1, rows)))

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`; of steps that were learned already nothing is said."""
        lead, length = self._grid.lead, len(recent) - self._grid.lead
        begin = first - lead
        since = begin if self._learned is None else max(self._learned, begin)
        steps = np.arange(since, first + length)
        given = recent[since - begin :]
        calls, hazard = self._week.expected(steps * self._grid.step_s)
        silence = _silence(given, hazard, calls, self._silence)
        known = np.isfinite(given) & np.isfinite(hazard)
        known &= self._busy.sum(axis=0) >= _MIN_BUSY
        evidence = np.where(known, self._rarity(silence), np.nan)

        def judged(each: Floats) -> Floats:
            """The steps to judge of those since the last that was learned."""
            early = np.full((max(since - first, 0), each.shape[1]), np.nan)
            return np.concatenate([early, each[max(first - since, 0) :]])

        lasted = np.stack([judged(clock) for clock in silence.lasted])
        return Scored(judged(evidence), judged(calls), Silence(lasted))

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """As `Scorer.learn`."""
        assert isinstance(scored.detail, Silence)  # noqa: S101 (what judge returned)
        begin = block * self._grid.block
        seconds = (begin + np.arange(len(values))) * self._grid.step_s
        today = self._turn_to(int(seconds[0]) // DAY_S)
        here = scored.detail.lasted
        before = Silence(np.concatenate([self._silence.lasted, here[:, :-1]], axis=1))
        called = np.isfinite(values) & (values > 0.0)
        ended = np.where(called, before.lasted[:_JUDGED], 0.0)
        ended[_LOST, self._rarity(before) >= self.limit] = 0.0
        ended[_STEPS, before.steps * self._grid.step_s > MOST_SILENT * HOUR_S] = 0.0
        self._longest[today] = np.maximum(self._longest[today], ended.max(axis=1))
        self._busy[today] += called.sum(axis=0)
        self._week.learn(seconds, values)
        self._silence = Silence(here[:, -1:])
        self._learned = begin + len(values)

    def _rarity(self, silence: Silence) -> Floats:
        # The longest of n is ln n scales, give or take; fifteen in sixteen are at least one short.
        longest = np.maximum(np.log(np.maximum(self._busy.sum(axis=0), 1.0)) - 1.0, 1.0)
        scale = np.maximum(self._longest.max(axis=0) / longest, 1.0)
        rare = (silence.lasted[:_JUDGED] / scale[:, None]).max(axis=0) * _LOG10_E
        rare = np.clip(rare - np.log10(_JUDGED), 0.0, _MOST)
        return np.where(silence.steps >= self._wait, rare, 0.0)

    def _turn_to(self, day: int) -> int:
        """The place of `day` among those that are remembered, emptied if it is new."""
        last = day - 1 if self._day is None else self._day
        for new in range(max(last + 1, day - _DAYS + 1), day + 1):
            self._longest[new % _DAYS] = 0.0
            self._busy[new % _DAYS] = 0.0
        self._day = max(day, last)
        return day % _DAYS


def _silence(values: Floats, hazard: Floats, calls: Floats, before: Silence) -> Silence:
    """The silence at each step, of which the last call lies before it; 0 at a step with calls.

    A step that was not read is neither a call nor a part of the silence: nobody looked.
    """
    known = np.isfinite(values)
    called = known & (values > 0.0)
    quiet = known & ~called
    each = np.stack(
        [quiet.astype(np.float64), *(np.nan_to_num(x) * quiet for x in (hazard, calls))]
    )
    total = before.lasted + np.cumsum(each, axis=1)
    at_call = np.maximum.accumulate(np.where(called, total, 0.0), axis=1)
    return Silence(total - at_call)


class NoData(GaugeDetector):
    """Rings when nothing has come for longer than silences ever last.

    What: a silence is measured by the likelihood that it loses with every minute, as each hour of
    the week usually has minutes without calls; so a quiet night is short, however many hours it
    has. It rings when silences as long are as rare as `threshold` says, by how long those of the
    last two weeks were, on that clock or on the one on the wall. It keeps ringing until calls come
    again: nobody gets used to an outage.

    Assumes: something that called will call, at the hours of the week at which it used to. A day
    of history is needed; in the first week the days before stand for each.

    Misleads: on the first weekend of what rests on weekends, on holidays, and after something was
    taken out of service on purpose: then remove the detector, or silence it. An hour of the week
    that was silent a week ago is not expected to have calls. What is called now and then, in
    bursts, is waited for twice as long as it ever was silent.

    Parameters: see `NoDataConfig`.

    >>> grid = Grid(60)
    >>> scorer = NoDataConfig.scorer([NoDataConfig()], grid)
    >>> calls = np.random.default_rng(1).poisson(0.2, (2880 + grid.lead, 1)).astype(float)
    >>> for hour in range(48):
    ...     recent = calls[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> silent = np.vstack([calls[-grid.lead :], np.zeros((240, 1))])
    >>> evidence = scorer.judge(silent, 2880).evidence[:, 0]
    >>> bool(evidence[30] < 6 < evidence[-1])
    True

    Paper: Brown et al., "The time-rescaling theorem and its application to neural spike train data
    analysis", Neural Computation 14 (2002), for silences measured in events missed.
    """

    config = NoDataConfig

    def _breach(self, row: int, minute: int, looked: Looked, evidence: float) -> Verdict:
        silence = looked.scored.detail
        assert isinstance(silence, Silence)  # noqa: S101 (what the scorer returned)
        monitor = self.monitors[row]
        minutes, missed = int(silence.steps[-1, row]), float(silence.missed[-1, row])
        return monitor.verdict(
            Judgement.BREACH,
            minute,
            value=0.0,
            expected=round(missed, 1),
            unit="calls",
            score=round(evidence, 2),
            window=(minute + 1 - minutes, minute + 1),
            reason=(
                f"no calls for {span(minutes)}, at least {missed:,.0f} were expected: "
                f"{self._configs[row].tell(evidence)}"
            ),
            evidence={
                "measure": "volume",
                "silent_minutes": minutes,
                "missed_calls": round(missed, 1),
                "limit": round(float(looked.limit[row]), 3),
                "log10_p": round(-evidence, 2),
            },
        )
