"""How evaluators of Tocsin's own are doing: what they judged, what it cost, and why they do not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tocsin.domain.clock import parse_iso
from tocsin.intake.evaluator import Evaluator, NoOpinion, Opinion
from tocsin.spec.judging import ConfiguredEvaluator
from tocsin.store import judging
from tocsin.store.judging import DayOfJudging
from tocsin.store.state import StateStore

State = Literal["judging", "waiting", "failing", "unknown"]
IN_A_ROW = 10  # answers without a verdict, after which it is not the answers
NOT_HERE = "no process judges with it now, as far as this one knows"
NOT_YET = "it has not judged since this process began to judge"
NOT_STARTED = "it could not be started; the server's log says why"


@dataclass(frozen=True, slots=True)
class EvaluatorStatus:
    """How one evaluator is doing.

    state: `waiting` is for tomorrow's budget, `failing` since when nothing was judged because of
    `reason`, `unknown` where nothing is or was judged yet. begun: when its series began. read: up
    to when arrivals were looked at. waiting: chosen and not judged yet, the oldest at `oldest`.
    thinned: the factor by which the budget makes the sample sparser now. model: that answered.
    """

    name: str
    title: str
    type: str
    service: str
    series: str
    state: State
    reason: str
    since: datetime | None
    begun: datetime | None
    read: datetime | None
    waiting: int
    oldest: datetime | None
    today: DayOfJudging
    budget_calls: int | None
    budget_usd: float | None
    thinned: float
    model: str


class Bench:
    """An evaluator at work. held_until: nobody is asked before. model: whose answers count."""

    def __init__(self, configured: ConfiguredEvaluator, evaluator: Evaluator) -> None:
        self.configured = configured
        self.evaluator = evaluator
        self.held_until: datetime | None = None
        self.model = ""
        self.thinned = 1.0
        self.state: State = "unknown"
        self.reason = NOT_YET
        self.since: datetime | None = None
        self._unjudged = 0

    def note(self, opinion: Opinion | NoOpinion, now: datetime) -> None:
        """It judged, or cannot: of one answer that says little, of many in a row a lot."""
        if isinstance(opinion, Opinion):
            self._unjudged = 0
            self._is("judging", "", now)
            return
        self._unjudged += 1
        if self._unjudged >= IN_A_ROW:
            self.trouble(f"none of the last {self._unjudged} answers: {opinion}", now)

    def waits(self, reason: str, now: datetime) -> None:
        """It may not judge any more today."""
        self._is("waiting", reason, now)

    def trouble(self, reason: str, now: datetime) -> None:
        """It could not judge."""
        self._is("failing", reason, now)

    @property
    def hindrance(self) -> str:
        """What keeps it from judging now, or ""."""
        return self.reason if self.state in ("waiting", "failing") else ""

    def _is(self, state: State, reason: str, now: datetime) -> None:
        if self.state != state or self.since is None:
            self.since = now
        self.state, self.reason = state, reason


def meta_name(evaluator: str) -> str:
    """Under which name the state database keeps the cursor of an evaluator."""
    return f"evaluator.{evaluator}"


def status_of(
    state: StateStore, one: ConfiguredEvaluator, now: datetime, bench: Bench | None = None
) -> EvaluatorStatus:
    """How an evaluator is doing, from what is kept of it and, where it runs, from its bench."""
    day = judging.day_of(now)
    with state.reading() as tx:
        kept = tx.get_meta(meta_name(one.name)) or {}
        waiting, oldest = judging.waiting(tx, one.name)
        today = judging.days(tx, one.name, day).get(day, DayOfJudging())
    is_same = kept.get("series") == one.series
    return EvaluatorStatus(
        name=one.name, title=one.title, type=one.type, service=one.service, series=one.series,
        state=bench.state if bench is not None else "unknown",
        reason=bench.reason if bench is not None else NOT_HERE,
        since=bench.since if bench is not None else None,
        begun=parse_iso(kept["since"]) if is_same else None,
        read=parse_iso(kept["read"]) if is_same else None,
        waiting=waiting, oldest=oldest, today=today, budget_calls=one.daily_calls,
        budget_usd=one.daily_usd, thinned=bench.thinned if bench is not None else 1.0,
        model=kept.get("model", "") if is_same else "",
    )  # fmt: skip
