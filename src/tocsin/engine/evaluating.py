"""Runs the evaluators of Tocsin's own: which calls they see, what that costs, where verdicts go.

An evaluator reads what was loaded and writes scores through the same door as everybody else, so
that nothing waits for it: neither intake nor a page. Its way is durable at every step. Calls are
chosen from windows of arrival that follow each other, and a window's choice and the cursor behind
it are one transaction; a request and the money set aside for it are one; a verdict is kept before
it is stored as a score. A crash asks again about what was under way, and about nothing else.

A judge that fails is *unknown*: what it has not judged is missing from every count, and counted as
missing.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import structlog

from tocsin.domain.clock import Clock, iso, parse_iso, to_minute
from tocsin.domain.errors import IntakeError, StoreError
from tocsin.domain.evaluation import Answer, propensity_of
from tocsin.domain.findings import LedgerEvent
from tocsin.domain.series import Change
from tocsin.engine.evaluators import (
    NOT_STARTED,
    Bench,
    EvaluatorStatus,
    meta_name,
    status_of,
)
from tocsin.engine.pacing import is_spent, paced
from tocsin.intake.evaluator import AskAgain, CannotJudge, NoOpinion, Opinion, Refuses
from tocsin.intake.evaluators import EVALUATORS
from tocsin.intake.intake import Intake
from tocsin.intake.scoring import score_row
from tocsin.spec.judging import ConfiguredEvaluator
from tocsin.store import judging
from tocsin.store.evaluations import Evaluations, Frame
from tocsin.store.judging import DayOfJudging, Task
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

log = structlog.get_logger(__name__)

INTERVAL = timedelta(seconds=5)
SLACK = timedelta(seconds=20)  # from the stamp of arrival to the moment when a call can be read
LONGEST_WINDOW = timedelta(hours=1)
MOST_ATTEMPTS = 6
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=15)
REFUSED_PAUSE = timedelta(minutes=5)
UNDER_WAY = timedelta(minutes=10)  # after which a request of a process that died is made again
AT_ONCE = 200  # answers that an evaluator reads at once
MOST_IN_A_ROW = 50  # times in one round, where it asks nobody
SOURCE = "tocsin"


class EvaluatorRunner:
    """Judges for all evaluators. Lives on one event loop; `statuses` may be called by any thread.

    wanted: asked in every round; an evaluator that did not change goes on undisturbed. is_ours:
    whether this process is to judge; of several that share a state database one does. counts:
    totals since the start: `judged`, `unjudged`, `retries`, `refused`, and `failures`, which are
    defects.
    """

    def __init__(
        self,
        intake: Intake,
        state: StateStore,
        telemetry: Telemetry,
        clock: Clock,
        rng: Random,
        wanted: Callable[[], Mapping[str, ConfiguredEvaluator]],
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._intake = intake
        self._state = state
        self._telemetry = telemetry
        self._clock = clock
        self._rng = rng
        self._is_ours = is_ours
        self._reads = Evaluations(telemetry.engine)
        self._configured = wanted
        self._benches: dict[str, Bench] = {}
        self._broken: dict[str, datetime] = {}  # since when they cannot be started
        self.counts: Counter[str] = Counter()

    def statuses(self) -> tuple[EvaluatorStatus, ...]:
        """How every evaluator is doing, by name. Blocks."""
        now, benches, broken = self._clock.now(), dict(self._benches), dict(self._broken)
        if not self._is_ours():  # what it last saw may be old: whoever judges now knows
            benches, broken = {}, {}
        found = []
        for name, one in sorted(self._configured().items()):
            status = status_of(self._state, one, now, benches.get(name))
            if name in broken:
                status = replace(status, state="failing", reason=NOT_STARTED, since=broken[name])
            found.append(status)
        return tuple(found)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        try:
            while not stop.is_set():
                await self.step()
                try:
                    await asyncio.wait_for(stop.wait(), INTERVAL.total_seconds())
                except TimeoutError:
                    continue
        finally:
            await self.close()

    async def step(self) -> None:
        """One round of every evaluator: choose what arrived, judge what is due. Raises nothing.

        Where another process judges, nothing is kept: who judges again begins as after a start.
        """
        if not self._is_ours():
            await self.close()
            return
        await self._adopt()
        await asyncio.gather(*(self._round(bench) for bench in list(self._benches.values())))

    async def close(self) -> None:
        """Close all connections."""
        for name in list(self._benches):
            await self._drop(name)
        self._broken = {}

    # --- which evaluators ---

    async def _adopt(self) -> None:
        wanted = {n: one for n, one in self._configured().items() if one.config is not None}
        for name, bench in list(self._benches.items()):
            if wanted.get(name) != bench.configured:
                await self._drop(name)
        self._broken = {name: since for name, since in self._broken.items() if name in wanted}
        for name, configured in wanted.items():
            if name not in self._benches:
                try:
                    evaluator = EVALUATORS[configured.type](configured.config)
                    bench = Bench(configured, evaluator)
                    await asyncio.to_thread(self._begin, bench)
                except Exception:  # of a plugin: the others judge all the same
                    self.counts["failures"] += 1
                    log.exception("evaluator_not_started", evaluator=name)
                    self._broken.setdefault(name, self._clock.now())
                else:
                    self._broken.pop(name, None)
                    self._benches[name] = bench

    async def _drop(self, name: str) -> None:
        try:
            await self._benches.pop(name).evaluator.close()
        except Exception:  # of a plugin
            log.exception("evaluator_not_closed", evaluator=name)

    def _begin(self, bench: Bench) -> None:
        """Go on where the last process stopped; a new version begins a new series, and is told."""
        one, now = bench.configured, self._clock.now()
        kept = self._state.get_meta(meta_name(one.name)) or {}
        if kept.get("series") == one.series:
            bench.model = kept.get("model", "")
            return
        before = kept.get("series", "")
        with self._state.transaction() as tx:
            dropped = judging.abandon(tx, one.name, one.series)
            begun = {"series": one.series, "since": iso(now), "read": iso(now - one.after)}
            tx.set_meta(meta_name(one.name), begun)
            what = f"{before} is followed by {one.series}" if before else f"{one.series} begins"
            told = {"series": one.series, "before": before, "type": one.type, "dropped": dropped}
            tx.append(LedgerEvent(now, "evaluator.version", "engine", one.name, what, told))
        log.info("evaluator_version", evaluator=one.name, series=one.series, before=before)
        if before:
            labels = {"evaluator": one.name, "version": one.version, "before": before}
            title = f"Judge {one.name} changed: {what}"
            self._telemetry.add_change(
                Change(to_minute(now), one.telemetry, "evaluator", title, labels)
            )

    # --- one round ---

    async def _round(self, bench: Bench) -> None:
        try:
            await asyncio.to_thread(self._choose, bench)
            for _ in range(MOST_IN_A_ROW):
                is_more = await self._work(bench)
                if not is_more or bench.evaluator.asks:
                    break
        except (IntakeError, StoreError) as error:
            bench.trouble(f"its verdicts could not be stored: {error}", self._clock.now())
        except Exception:  # worker loop: the next round tries again
            self.counts["failures"] += 1
            log.exception("evaluator_failed", evaluator=bench.configured.name)
            bench.trouble("judging failed; the server's log says why", self._clock.now())

    def _choose(self, bench: Bench) -> None:
        """Choose among what arrived since the last time, and move on, in one transaction."""
        one, now = bench.configured, self._clock.now()
        kept = self._state.get_meta(meta_name(one.name)) or {}
        since = parse_iso(kept["read"])
        lag = timedelta(seconds=self._telemetry.loader().lag_s)
        until = min(now - max(one.after, SLACK + lag), since + LONGEST_WINDOW)
        if until <= since:
            return
        strata = tuple(s.when for s in one.strata if s.when is not None)
        frame = Frame(one.series, one.telemetry, one.kind, since, until, one.where, strata)
        counts = self._reads.counts(frame)
        day = judging.day_of(now)
        with self._state.reading() as tx:
            spent = judging.days(tx, one.name, day).get(day, DayOfJudging())
            waiting = judging.waiting(tx, one.name)[0] if counts else 0
        rates = paced(one, counts, spent, now, until - since, waiting)
        wanted = sum(rate * counts.get(place, 0) for place, rate in enumerate(rates.by_stratum))
        calls = []
        if wanted:
            # No limit that would cut off: who comes last would then have had no chance.
            calls = self._reads.choose(frame, rates.by_stratum, sum(counts.values()))
        with self._state.transaction() as tx:
            fresh = judging.add(tx, one.name, one.series, calls, now)
            tx.set_meta(meta_name(one.name), {**kept, "read": iso(until)})
            if counts:
                candidates = sum(counts.values())
                judging.count(tx, one.name, day, candidates=candidates, chosen=fresh)
        bench.thinned = rates.thinned if counts else bench.thinned

    async def _work(self, bench: Bench) -> bool:
        """Judge the next that are due. Whether there may be more of them."""
        now, one = self._clock.now(), bench.configured
        tasks = await asyncio.to_thread(self._due, one.name, now)
        if not tasks:
            return False
        answers = await asyncio.to_thread(self._reads.answers, [task.call for task in tasks])
        done: list[_Done] = []
        fresh: list[Task] = []
        for task in tasks:
            if task.outcome is not None:
                done.append((task, task.outcome))
            elif now > task.chosen + one.give_up:
                reason = task.reason or bench.hindrance or "its turn never came"
                done.append((task, _outcome(CannotJudge(f"given up: {reason}"))))
            else:
                fresh.append(task)
        if bench.held_until is None or now >= bench.held_until:
            if bench.evaluator.asks:
                done += await self._ask_all(bench, fresh, answers)
            else:
                done += await asyncio.to_thread(self._look_at_all, bench, fresh, answers)
        await self._store(bench, done, answers)
        return len(tasks) == AT_ONCE and len(done) == len(tasks)

    def _due(self, name: str, now: datetime) -> Sequence[Task]:
        with self._state.reading() as tx:
            return judging.due(tx, name, now, AT_ONCE)

    # --- judging ---

    def _look_at_all(
        self, bench: Bench, tasks: Sequence[Task], answers: Mapping[tuple[str, str], Answer]
    ) -> list[_Done]:
        """Verdicts of an evaluator that asks nobody, in a thread of its own: reading takes a while.
        If they are lost, it looks again."""

        async def all_of_them() -> list[_Done]:
            found: list[_Done] = []
            for task in tasks:
                opinion = await self._opinion(bench, answers.get(task.call))
                bench.note(opinion, self._clock.now())
                found.append((task, _outcome(opinion)))
            return found

        return asyncio.run(all_of_them())

    async def _ask_all(
        self, bench: Bench, tasks: Sequence[Task], answers: Mapping[tuple[str, str], Answer]
    ) -> list[_Done]:
        slots = asyncio.Semaphore(bench.configured.concurrency)

        async def one(task: Task) -> dict[str, Any] | None:
            async with slots:
                return await self._ask(bench, task, answers.get(task.call))

        outcomes = await asyncio.gather(*map(one, tasks))
        return [(t, found) for t, found in zip(tasks, outcomes, strict=True) if found is not None]

    async def _ask(self, bench: Bench, task: Task, answer: Answer | None) -> dict[str, Any] | None:
        """The outcome, kept durably; None when it is to be tried another time."""
        now = self._clock.now()
        if bench.held_until is not None and now < bench.held_until:
            return None
        if answer is None:
            return _outcome(CannotJudge("the call is not stored any more"))
        most = bench.evaluator.most_usd(answer)
        spent = await asyncio.to_thread(self._reserve, bench, task, now, most or 0.0)
        if spent:
            bench.held_until = _next_day(now)
            bench.waits(spent, now)
            return None
        opinion = self._of_its_model(bench, await self._opinion(bench, answer))
        return await asyncio.to_thread(self._settle, bench, task, opinion, now, most or 0.0)

    def _of_its_model(self, bench: Bench, opinion: Opinion | NoOpinion) -> Opinion | NoOpinion:
        """The opinion, if it is of the model that this series began with: an alias that leads
        elsewhere one day is another judge, and must not be taken for the same."""
        if not isinstance(opinion, Opinion) or not opinion.model:
            return opinion
        bench.model = bench.model or opinion.model
        if opinion.model == bench.model:
            return opinion
        return Refuses(
            f"{opinion.model} answers now, and {bench.configured.series} was judged by"
            f" {bench.model}: set model: {opinion.model} to begin a new series with it",
            cost_usd=opinion.cost_usd,
        )

    async def _opinion(self, bench: Bench, answer: Answer | None) -> Opinion | NoOpinion:
        if answer is None:
            return CannotJudge("the call is not stored any more")
        try:
            return await bench.evaluator.judge(answer)
        except NoOpinion as error:
            return error
        except Exception:  # of a plugin
            self.counts["failures"] += 1
            log.exception("evaluator_failed", evaluator=bench.configured.name)
            return AskAgain("the evaluator failed; the server's log says why", cost_usd=None)

    def _reserve(self, bench: Bench, task: Task, now: datetime, most: float) -> str:
        """Begin a request and set its money aside; why it may not be made, or ""."""
        one, day = bench.configured, judging.day_of(now)
        with self._state.transaction() as tx:
            today = judging.days(tx, one.name, day).get(day, DayOfJudging())
            if spent := is_spent(one, today, most):
                return spent
            judging.begin(tx, one.name, task, now, now + UNDER_WAY, most)
        return ""

    def _settle(
        self, bench: Bench, task: Task, opinion: Opinion | NoOpinion, began: datetime, most: float
    ) -> dict[str, Any] | None:
        """What a request came to: the money, and either an outcome or another time."""
        one, now = bench.configured, self._clock.now()
        found = self._next(bench, task, opinion, now)
        cost, day = opinion.cost_usd, judging.day_of(began)
        with self._state.transaction() as tx:
            if cost is None:  # what was set aside stays so: it may have been charged
                judging.count(tx, one.name, day, unpriced=1)
            else:
                judging.count(tx, one.name, day, usd=cost - most)
            kept = tx.get_meta(meta_name(one.name)) or {}
            if bench.model and kept.get("model") != bench.model:
                tx.set_meta(meta_name(one.name), {**kept, "model": bench.model})
            if isinstance(found, datetime):
                attempts = task.attempts + (not isinstance(opinion, Refuses))
                judging.again(tx, task, found, str(opinion), attempts=attempts)
                return None
            judging.decided(tx, task, found, now)
        return found

    def _next(
        self, bench: Bench, task: Task, opinion: Opinion | NoOpinion, now: datetime
    ) -> dict[str, Any] | datetime:
        """The outcome of a task, or when it is tried again."""
        if isinstance(opinion, Opinion | CannotJudge):
            bench.note(opinion, now)
            return _outcome(opinion)
        bench.trouble(str(opinion), now)
        if isinstance(opinion, Refuses):
            self.counts["refused"] += 1
            later = now + REFUSED_PAUSE
            bench.held_until = later
            return later
        self.counts["retries"] += 1
        if task.attempts + 1 >= MOST_ATTEMPTS:
            return _outcome(opinion)
        spread = 0.5 + self._rng.random()
        pause: timedelta = min(FIRST_PAUSE * 2**task.attempts, LONGEST_PAUSE) * spread
        if isinstance(opinion, AskAgain) and opinion.after is not None:
            bench.held_until = now + opinion.after
            pause = max(pause, opinion.after)
        return now + pause

    # --- what becomes of it ---

    async def _store(
        self, bench: Bench, done: Sequence[_Done], answers: Mapping[tuple[str, str], Answer]
    ) -> None:
        """Scores first, then the tasks are forgotten: what is stored twice counts once."""
        if not done:
            return
        one = bench.configured
        rows = [row for task, told in done for row in _rows(one, task, told, answers)]
        await self._intake.rows("scores", rows, json.dumps(rows).encode())
        judged = sum("score" in told for _, told in done)
        self.counts["judged"] += judged
        self.counts["unjudged"] += len(done) - judged
        await asyncio.to_thread(self._finish, one, done, judged)

    def _finish(self, one: ConfiguredEvaluator, done: Sequence[_Done], judged: int) -> None:
        with self._state.transaction() as tx:
            judging.forget(tx, one.series, [task.call for task, _ in done])
            day = judging.day_of(self._clock.now())
            judging.count(tx, one.name, day, judged=judged, failed=len(done) - judged)


# --- private -----------------------------------------------------------------------------------


_Done = tuple[Task, Mapping[str, Any]]


def _outcome(opinion: Opinion | NoOpinion) -> dict[str, Any]:
    """What is kept of an opinion until its scores are durable."""
    if isinstance(opinion, NoOpinion):
        return {"reason": str(opinion)}
    return {
        "score": opinion.score, "label": opinion.label, "explanation": opinion.explanation,
        "model": opinion.model,
    }  # fmt: skip


def _rows(
    one: ConfiguredEvaluator, task: Task, told: Mapping[str, Any],
    answers: Mapping[tuple[str, str], Answer],
) -> list[dict[str, Any]]:  # fmt: skip
    """The scores of a finished task: the verdict, if there is one, and the probability with which
    the call was chosen, which says in any case that it was."""
    answer = answers.get(task.call)
    about: dict[str, Any] = {
        "call_id": task.span_id, "trace_id": task.trace_id, "source": SOURCE,
        "project": answer.project if answer is not None else "",
        "service": answer.service if answer is not None else one.telemetry,
        "annotator": " ".join(filter(None, (one.type, one.version, told.get("model")))),
    }  # fmt: skip
    is_judged = "score" in told
    rows = [
        score_row(
            propensity_of(task.series), score=task.propensity,
            label="judged" if is_judged else "unanswered", comment=told.get("reason"), **about,
        )
    ]  # fmt: skip
    if is_judged:
        rows.append(
            score_row(task.series, score=told["score"], label=told["label"],
                      comment=told["explanation"], **about)
        )  # fmt: skip
    return rows


def _next_day(now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=1)
