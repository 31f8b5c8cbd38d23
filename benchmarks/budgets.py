"""Page budgets over simulated weeks: false pages, and what was found, for every kind they govern.

Sixty services (two to three hundred calls a minute, with days and weekends, error rates and paces
that wander) are judged minute by minute for five weeks by the three kinds whose evidence a
`PageBudget` can share: the count scan on errors, the pace shift, and the committee on the volume of
calls. Each service has faults, of which each kind can see its own. Limits are found anew each day
by the code behind `PageBudget`, from the days before; of every page somebody says whether it was
real. The first week is history: nothing of it is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import pdtrc

from tocsin.assess.detectors import CommitteeConfig, CountScanConfig, PaceShiftConfig
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.page_budget import FLOOR, Member, PageBudget, calibrate, listening
from tocsin.assess.window import Window
from tocsin.domain.buckets import PACE
from tocsin.domain.clock import from_minute
from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.domain.findings import Judgement
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SERVICES, WEEKS, HISTORY_WEEKS = 60, 5, 1
BUDGETS = (1.0, 5.0, 20.0)
HOUR, DAY, WEEK = 60, 1440, 7 * 1440
START = 29_000_160 // WEEK * WEEK
QUIET_MIN = 60  # after which the next finding is another page
AFTER_MIN = 30  # minutes after a fault in which a page is about it
FAULT_EVERY_DAYS = 7.0  # of each service and kind
KINDS: Mapping[str, DetectorConfig] = {
    "count_scan": CountScanConfig(),
    "pace_shift": PaceShiftConfig(),
    "committee": CommitteeConfig(measure="volume", side="both"),
}
FACTORS: Mapping[str, Sequence[float]] = {  # on error rate, pace, volume
    "count_scan": (3.0, 6.0, 15.0),
    "pace_shift": (1.5, 2.0, 3.0),
    "committee": (0.0, 0.3, 2.5),
}


@dataclass(frozen=True, slots=True)
class Found:
    """Evidence of at least `FLOOR`: of which kind, which service, at which minute of the run."""

    kind: str
    row: int
    minute: int
    score: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Minutes [start, stop) of the run in which a service is not well, for the eyes of one kind."""

    kind: str
    row: int
    start: int
    stop: int
    factor: float


def run() -> dict[str, Any]:
    """{kind, or all together: {budget: false pages a week, recall, precision, delay}}."""
    faults, found = simulated(SERVICES, WEEKS)
    sets = {**{kind: (kind,) for kind in KINDS}, "all together": tuple(KINDS)}
    return {
        "what": "pages under a page budget, four weeks after one of history",
        "services": SERVICES,
        **{
            name: {
                f"budget {each:g}": paged(kinds, each, faults, found, SERVICES, WEEKS)
                for each in BUDGETS
            }
            for name, kinds in sets.items()
        },
    }


def paged(
    kinds: Sequence[str], per_week: float, faults: Sequence[Fault], found: Sequence[Found],
    services: int, weeks: int,
) -> dict[str, Any]:  # fmt: skip
    """What a budget over detectors of `kinds` pages, and what of that was real."""
    names = [f"{kind}/{row}" for kind in kinds for row in range(services)]
    budget = PageBudget("budget", per_week, per_week, {n: Member(n.split("/")[1]) for n in names})
    mine = [one for one in found if one.kind in kinds]
    wanted = [one for one in faults if one.kind in kinds and one.start >= HISTORY_WEEKS * WEEK]
    days = _evidence(names, mine, weeks)
    reviews: list[Review] = []
    last: dict[str, int] = {}
    false, delays = np.zeros(weeks, np.int64), dict[Fault, int]()
    today, limit = -1, np.inf
    for one in mine:
        if one.minute // DAY != today:
            today = one.minute // DAY
            day = START // DAY + today
            limit = calibrate(budget, [d for d in days if d.day < day], reviews, day).page
        name = f"{one.kind}/{one.row}"
        if one.score < limit:
            continue
        is_new = one.minute - last.get(name, -QUIET_MIN - 1) > QUIET_MIN
        last[name] = one.minute
        if not is_new:
            continue
        about = [
            f for f in faults if f.row == one.row and f.start <= one.minute < f.stop + AFTER_MIN
        ]
        reviews.append(_review(name, one, about, len(reviews)))
        if about:
            for fault in about:
                delays.setdefault(fault, one.minute + 1 - fault.start)
        else:
            false[one.minute // WEEK] += 1
    counted = false[HISTORY_WEEKS:]
    seen = [delays[fault] for fault in wanted if fault in delays]
    total = int(counted.sum())
    return {
        "false_a_week": round(float(counted.mean()), 2),
        "worst_week": int(counted.max()),
        "p_if_budget_is_true": round(float(pdtrc(total - 1, per_week * len(counted))), 3)
        if total else 1.0,
        "faults": len(wanted),
        "recall": round(len(seen) / max(len(wanted), 1), 2),
        "precision": round(len(seen) / max(len(seen) + total, 1), 2),
        "delay_min": float(np.median(seen)) if seen else None,
    }  # fmt: skip


def simulated(services: int, weeks: int, seed: int = 6) -> tuple[list[Fault], list[Found]]:
    """Faults of a fleet, and everything that its detectors had some evidence of, in order."""
    fleet = _Fleet(services, weeks, np.random.default_rng(seed))
    series = fleet.series
    monitors = [
        listening(Monitor(
            f"{kind}/{row}", "", one.service, "signal", "page",
            None if kind == "pace_shift" else one,
            None if kind == "pace_shift" else Ratio("failed"), config,
        ))
        for kind, config in KINDS.items()
        for row, one in enumerate(series)
    ]  # fmt: skip
    window, compiled = Window(monitors), compile_monitors(monitors)
    found = []
    for begin in range(0, weeks * WEEK, HOUR):
        hour = fleet.hour(begin)
        for minute in range(HOUR):
            at = slice(minute, minute + 1)
            window.advance(MinuteBlock(
                START + begin + minute, series, hour.bad[:, at], hour.total[:, at],
                hour.services, hour.latency[:, at], hour.pace[:, at],
            ))  # fmt: skip
            for verdict in judge(compiled, window, START + begin + minute):
                if verdict.judgement is Judgement.BREACH and (verdict.score or 0.0) >= FLOOR:
                    kind, row = verdict.monitor.split("/")
                    found.append(Found(kind, int(row), begin + minute, verdict.score or 0.0))
    return fleet.faults, found


class _Fleet:
    """Traffic of services: counts, failures and paces, hour by hour."""

    def __init__(self, services: int, weeks: int, rng: np.random.Generator) -> None:
        self.series = tuple(SeriesId(f"{row}", "availability") for row in range(services))
        self._rng = rng
        self._level = np.exp(rng.uniform(np.log(2.0), np.log(300.0), services))
        self._turn = rng.uniform(0.0, DAY, services)
        self._depth = rng.uniform(0.1, 0.7, services)
        self._weekend = rng.uniform(0.4, 1.0, services)
        self._usual = np.exp(rng.uniform(np.log(0.001), np.log(0.03), services))
        self._pace = np.exp(rng.uniform(11.0, 14.0, services))  # microseconds
        self._wander = np.zeros((3, services))
        self.faults = [
            Fault(kind, row, int(start), int(start + rng.integers(20, 90)),
                  float(rng.choice(FACTORS[kind])))
            for kind in KINDS
            for row in range(services)
            for start in np.cumsum(rng.exponential(FAULT_EVERY_DAYS * DAY, 4 * weeks))
            if start < weeks * WEEK
        ]  # fmt: skip

    def hour(self, begin: int) -> MinuteBlock:
        """The hour that begins at a minute of the run."""
        rng, rows = self._rng, len(self.series)
        minutes = begin + np.arange(HOUR)
        errors, slow, calls = self._wandering(HOUR)
        factor = {kind: np.ones((HOUR, rows)) for kind in KINDS}
        for fault in self.faults:
            if fault.start < begin + HOUR and begin < fault.stop:
                factor[fault.kind][max(fault.start - begin, 0) : fault.stop - begin, fault.row] = (
                    fault.factor
                )
        day = 1.0 + self._depth * np.sin(2.0 * np.pi * (minutes[:, None] - self._turn) / DAY)
        week = np.where((minutes // DAY % 7 >= 5)[:, None], self._weekend, 1.0)
        mean = self._level * day * week * np.exp(0.1 * calls) * factor["committee"]
        total = rng.poisson(mean).astype(np.int64)
        share = self._usual * np.exp(0.4 * errors) * factor["count_scan"]
        bad = rng.binomial(total, np.minimum(share, 1.0)).astype(np.int64)
        of = np.repeat(np.arange(HOUR * rows), total.ravel())
        typical = (self._pace * np.exp(0.1 * slow) * factor["pace_shift"]).ravel()
        paces = typical[of] * np.exp(0.5 * rng.standard_normal(len(of)))
        cells = np.bincount(
            of * PACE.count + PACE.bucket(paces), minlength=HOUR * rows * PACE.count
        )
        pace = cells.reshape(HOUR, rows, PACE.count).transpose(1, 0, 2)
        names = tuple(one.service for one in self.series)
        none = np.zeros((rows, HOUR, 0), np.int64)
        return MinuteBlock(START + begin, self.series, bad.T, total.T, names, none, pace)

    def _wandering(self, minutes: int) -> Floats:
        """Three walks [walk, minute, service] with a memory of half an hour, of variance one."""
        keeps = np.exp(-1.0 / 30.0)
        found = np.empty((3, minutes, len(self.series)))
        for minute in range(minutes):
            noise = np.sqrt(1.0 - keeps**2) * self._rng.standard_normal(self._wander.shape)
            self._wander = keeps * self._wander + noise
            found[:, minute] = self._wander
        return found


def _evidence(names: Sequence[str], found: Sequence[Found], weeks: int) -> list[EvidenceDay]:
    """Days of evidence as a server keeps them; every hour was judged but those of the first day."""
    days = {
        (name, day): EvidenceDay(name, START // DAY + day, (1 << 24) - 1)
        for name in names
        for day in range(1, 7 * weeks)
    }
    for one in found:
        key = (f"{one.kind}/{one.row}", one.minute // DAY)
        if key in days:
            peak = {one.minute // HOUR % 24: one.score}
            days[key] = days[key].joined(EvidenceDay(key[0], days[key].day, 0, peak))
    return list(days.values())


def _review(name: str, one: Found, about: Sequence[Fault], number: int) -> Review:
    """What a responder says of a page: real until the fault is over, or false within minutes."""
    stop = max((fault.stop for fault in about), default=one.minute + 10)
    return Review(
        f"incident-{number}", name.split("/")[1], name, "signal", "team", 1,
        from_minute(START + one.minute), from_minute(START + stop),
        verdict="real" if about else "false",
    )  # fmt: skip
