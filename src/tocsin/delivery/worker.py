"""The courier: claims what is due, carries it out, writes down how it went.

`drain(now)` does everything due at `now` and returns: the accelerated demo, the backtest and the
tests. `run(stop)` is the same against the wall clock: the server. Both use the same rounds.

A page never waits for anything less: lane 1 is claimed first, a quarter of the places and one place
of every receiver are kept for it. Sends are bounded per receiver and in time; a receiver that fails
is left alone for a while (`delivery.limits`). At-least-once: a courier that dies after a send
leaves a lease that lapses, and the next one sends again under the same key. One that was paused
until its lease lapsed sends nothing. One race remains: an acknowledgement committed between the
claim and the send, a few milliseconds, can still page once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from random import Random
from typing import Any, TypeVar

import httpx
import structlog

from tocsin.delivery.answer_links import AnswerLinks
from tocsin.delivery.channel import Channel, Reconciling, ShowsAnswerLinks
from tocsin.delivery.claiming import OTHERS, PAGES, Claimer, CourierLimits
from tocsin.delivery.effects import Claimed, DueEffect, Outbox, Persistence, bring_forward, conclude
from tocsin.delivery.limits import Steadiness
from tocsin.delivery.message import (
    Message,
    render,
    render_change,
    render_digest,
    render_drill,
    render_picture,
)
from tocsin.delivery.notices import ACTION as NOTICE
from tocsin.delivery.notices import render_notice
from tocsin.delivery.outcome import Ambiguous, Delivered, Looked, Outcome, Rejected, Retry
from tocsin.delivery.replies import ACTION as REPLY
from tocsin.delivery.replies import render_reply
from tocsin.domain.clock import Clock
from tocsin.domain.findings import ASIDE, EffectState, Incident

T = TypeVar("T")
# Up to this try nothing is sent while it cannot be told whether it arrived; later on twice is
# better than never.
LOOKS = 4
# Messages that are not about an incident as it stands, by the action of their effect.
_PLAIN = {
    "change": render_change, "picture": render_picture, REPLY: render_reply, NOTICE: render_notice,
}  # fmt: skip
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class DrainReport:
    """What was done: tries by outcome, effects that ended without a send, messages by receiver."""

    delivered: int = 0
    retried: int = 0
    dead: int = 0
    settled: int = 0
    by_receiver: Counter[str] = field(default_factory=Counter)

    def count(self, receiver: str, state: EffectState | None) -> None:
        """Add one try that left its effect in `state` (None: its lease was lost)."""
        if state is EffectState.DONE:
            self.delivered += 1
            self.by_receiver[receiver] += 1
        elif state is EffectState.DEAD:
            self.dead += 1
        elif state is EffectState.READY:
            self.retried += 1


class Courier:
    """Carries out the effects of one outbox.

    receivers: name -> channel; exchange it with `use` when the configuration changes. fallbacks:
    who is paged when a page cannot be delivered. links_base: address of the web interface.
    answer_links: makes the links that some receivers get; without it there are none. worker:
    a name that tells this process from others. sets_times: whether it is this process's clock that
    effects are timed by. offload: run transactions in a thread, so that
    waiting for the disk does not hold up sends; without it they run in place, which is faster.
    """

    def __init__(
        self,
        outbox: Outbox,
        receivers: Mapping[str, Channel],
        http: httpx.AsyncClient,
        clock: Clock,
        *,
        rng: Random,
        links_base: str = "",
        answer_links: AnswerLinks | None = None,
        fallbacks: Sequence[str] = (),
        worker: str = "courier",
        sets_times: Callable[[], bool] = lambda: True,
        limits: CourierLimits | None = None,
        persistence: Persistence | None = None,
        offload: bool = False,
    ) -> None:
        self._outbox = outbox
        self._receivers = dict(receivers)
        self._http = http
        self._clock = clock
        self._rng = rng
        self._links_base = links_base
        self._answer_links = answer_links
        self._fallbacks = tuple(fallbacks)
        self._worker = worker
        self._sets_times = sets_times
        self._steadiness = Steadiness(clock)
        self._limits = limits or CourierLimits()
        self._persistence = persistence or Persistence()
        self._offload = offload
        self._claimer = self._new_claimer()
        self._flying: dict[asyncio.Task[None], int] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.totals = DrainReport()

    def use(self, receivers: Mapping[str, Channel], fallbacks: Sequence[str] = ()) -> None:
        """Deliver through these from now on."""
        self._receivers = dict(receivers)
        self._fallbacks = tuple(fallbacks)
        self._claimer = self._new_claimer()

    def wake(self) -> None:
        """Something became due; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def drain(self, now: datetime) -> DrainReport:
        """Claim and carry out everything that is due at `now`, as if it took no time.

        What a receiver may not take yet (rate, open breaker) and what is to be tried again stays
        for a later call.
        """
        report = DrainReport()
        while True:
            before = report.settled
            claims = [claim async for batch in self._claim(now, report) for claim in batch]
            if claims:
                await asyncio.gather(
                    *(self._carry_out(claim, lambda: now, report) for claim in claims)
                )
            elif report.settled == before:
                return report

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then wait for what is under way."""
        self._loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._idle(stopping, await self._round())
        finally:
            stopping.cancel()
            if self._flying:
                await asyncio.wait(self._flying, timeout=self._limits.send_timeout_s)

    # --- one round ---

    async def _round(self) -> float:
        """Start what is due; how long to wait for the next round."""
        self._wake.clear()
        before, started = self.totals.settled, 0
        try:
            await self._mind_the_clock()
            async for batch in self._claim(self._clock.now(), self.totals):
                started += len(batch)
                for claim in batch:  # at once: a page must not wait until digests are claimed
                    task = asyncio.create_task(self._fly(claim))
                    self._flying[task] = claim.effect.lane
                    task.add_done_callback(self._landed)
        except Exception as error:  # noqa: BLE001 (the worker loop outlives its database)
            _log.error("delivery.claim_failed", error=str(error), kind=type(error).__name__)
            return self._limits.error_pause_s
        return 0.0 if started or self.totals.settled != before else self._limits.poll_s

    async def _mind_the_clock(self) -> None:
        """What was timed by a clock that ran ahead is not to wait until this one is there too."""
        by = self._steadiness.set_back()
        if by and self._sets_times():
            now, step = self._clock.now(), f"{self._worker}:{self._steadiness.since}"
            await self._store(lambda: bring_forward(self._outbox, by, now, step))
            _log.warning("delivery.clock_set_back", seconds=by.total_seconds())
        if by:
            self._steadiness.noted()

    async def _fly(self, claim: Claimed) -> None:
        try:
            await self._carry_out(claim, self._clock.now, self.totals)
        except Exception as error:  # noqa: BLE001 (the lease lapses and it is tried again)
            _log.error("delivery.lost_track", key=claim.effect.key, kind=type(error).__name__)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.pop(task, None)
        self._wake.set()

    async def _idle(self, stopping: asyncio.Task[Any], pause_s: float) -> None:
        waking = asyncio.create_task(self._wake.wait())
        await asyncio.wait({waking, stopping}, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        with suppress(asyncio.CancelledError):
            await waking

    # --- claiming ---

    async def _claim(self, now: datetime, report: DrainReport) -> AsyncIterator[Sequence[Claimed]]:
        """What is to be carried out now: pages, then the rest in the places that are left."""
        claimer, limits = self._claimer, self._limits
        due = await self._store(self._outbox.next_due)
        held = claimer.held(now)
        if held:
            given_up = await self._store(lambda: claimer.give_up(now, held))
            report.settled += given_up.settled
            report.dead += given_up.dead
        if due is None or due > now:
            return
        free = limits.places - len(self._flying)
        others = sum(lane > PAGES[1] for lane in self._flying.values())
        for lanes, most in ((PAGES, limits.places), (OTHERS, limits.places * 3 // 4 - others)):
            taken = await self._store(partial(claimer.claim, now, lanes, min(free, most)))
            report.settled += taken.settled
            for claim in taken.claims:
                claimer.desk(claim.effect.receiver).take(now)
            free -= len(taken.claims)
            yield taken.claims

    # --- carrying out ---

    async def _carry_out(
        self, claim: Claimed, clock: Callable[[], datetime], report: DrainReport
    ) -> None:
        effect, started = claim.effect, clock()
        desk = self._claimer.desk(effect.receiver)
        if effect.lease_until is not None and started >= effect.lease_until:
            # This process was paused. Somebody else has it by now, and it may be no longer wanted.
            desk.in_flight = max(desk.in_flight - 1, 0)
            _log.warning("delivery.too_late_to_send", key=effect.key, receiver=effect.receiver)
            return
        try:
            outcome = await self._send(claim, started)
        finally:
            desk.in_flight = max(desk.in_flight - 1, 0)  # `use` may have replaced the desk
        if effect.lane == ASIDE:
            pass  # it says nothing of whether a page would arrive
        elif isinstance(outcome, Retry | Ambiguous):
            desk.breaker.failed(clock())
        else:
            desk.breaker.succeeded()
        state = await self._store(lambda: self._conclude(claim, outcome, clock(), started))
        report.count(effect.receiver, state)
        if not isinstance(outcome, Delivered):
            _log.warning(
                "delivery.failed",
                receiver=effect.receiver,
                key=effect.key,
                outcome=outcome.name,
                reason=outcome.reason,
                attempts=effect.attempts,
            )

    def _conclude(
        self, claim: Claimed, outcome: Outcome, now: datetime, started: datetime
    ) -> EffectState | None:
        with self._outbox.transaction() as tx:
            return conclude(
                tx,
                claim,
                outcome,
                now=now,
                started=started,
                persistence=self._persistence,
                rng=self._rng,
                fallbacks=self._fallbacks,
            )

    async def _send(self, claim: Claimed, now: datetime) -> Outcome:
        effect = claim.effect
        channel = self._receivers.get(effect.receiver)
        if channel is None:
            return Rejected(f"no receiver {effect.receiver!r} is configured")
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                message = self._message(claim, now)
                if claim.is_uncertain and not channel.is_idempotent:
                    found = await _reconciled(channel, message, self._http)
                    if isinstance(found, Delivered):
                        return found
                    if found is not None and effect.attempts <= LOOKS:
                        reason = f"whether it arrived cannot be told now: {found.reason}"
                        return Ambiguous(reason, found.after)
                return await channel.send(message, self._http)
        except TimeoutError:
            return Ambiguous(f"no answer within {self._limits.send_timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 (a channel's defect must not stop the others)
            # Its text may hold a secret: only its kind is shown.
            _log.error("delivery.channel_defect", receiver=effect.receiver, kind=_kind(error))
            return Ambiguous(f"the channel failed ({_kind(error)})")

    def _message(self, claim: Claimed, now: datetime) -> Message:
        effect, incident = claim.effect, claim.incident
        if incident is None and "drill" in effect.payload:
            return render_drill(effect, self._links_base, at=now)
        if effect.action in _PLAIN:
            return _PLAIN[effect.action](effect, self._links_base, at=now)
        if incident is None:
            return render_digest(effect, self._links_base, at=now)
        return render(
            incident,
            effect,
            self._links_base,
            at=now,
            thread=claim.thread,
            told=claim.told,
            answers=self._answers(effect, incident, now),
        )

    def _answers(
        self, effect: DueEffect, incident: Incident, now: datetime
    ) -> tuple[tuple[str, str], ...]:
        channel: object = self._receivers.get(effect.receiver)
        if self._answer_links is None or not isinstance(channel, ShowsAnswerLinks):
            return ()
        if not channel.shows_answer_links:
            return ()
        return self._answer_links.offer(incident.id, effect.receiver, effect.action, now)

    def _new_claimer(self) -> Claimer:
        return Claimer(
            self._outbox,
            self._receivers,
            self._fallbacks,
            self._worker,
            self._limits,
            self._persistence,
        )

    async def _store(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work) if self._offload else work()


async def _reconciled(channel: Channel, message: Message, http: httpx.AsyncClient) -> Looked:
    if isinstance(channel, Reconciling):
        return await channel.reconcile(message, http)
    return None


def _kind(error: Exception) -> str:
    return type(error).__name__
