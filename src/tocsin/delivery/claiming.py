"""Which due effects a courier takes on: pages first, within the room that each receiver has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.delivery.channel import Channel
from tocsin.delivery.digests import fan_out
from tocsin.delivery.effects import (
    Claimed,
    DueEffect,
    Outbox,
    Persistence,
    bury,
    cancel,
    why_not,
)
from tocsin.delivery.escalation import escalate
from tocsin.delivery.limits import Breaker, Bucket
from tocsin.delivery.replies import ACTION as REPLY
from tocsin.delivery.replies import KEEPS as REPLY_KEEPS
from tocsin.domain.findings import ASIDE, EffectState, Incident

PAGES = (0, 1)
OTHERS = (2, ASIDE)
# What is of use for a while only, by the action of its effect.
_KEEPS = {"picture": timedelta(minutes=30), REPLY: REPLY_KEEPS}


@dataclass(frozen=True, slots=True)
class CourierLimits:
    """lease: longer than two sends, so that a live courier never loses one. places: sends at the
    same time, in all and per receiver. poll: how soon something due is seen without a wake-up."""

    lease: timedelta = timedelta(seconds=30)
    send_timeout_s: float = 10.0
    places: int = 32
    per_receiver: int = 4
    poll_s: float = 0.25
    error_pause_s: float = 2.0


@dataclass(slots=True)
class Desk:
    """What a courier knows of one receiver."""

    bucket: Bucket
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0

    def room(self, now: datetime, places: int) -> int:
        """How many more messages may be sent to it now."""
        allowed = self.breaker.allows(now, self.in_flight)
        return min(places - self.in_flight, self.bucket.available(now), allowed)

    def take(self, now: datetime) -> None:
        """Count a message that is being sent."""
        self.in_flight += 1
        self.bucket.take(now)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one claim brought: sends to make, and how many effects ended without one."""

    claims: Sequence[Claimed] = ()
    settled: int = 0
    dead: int = 0


class Claimer:
    """Claims for one courier. Its methods block and run in one thread at a time."""

    def __init__(
        self,
        outbox: Outbox,
        receivers: Mapping[str, Channel],
        fallbacks: Sequence[str],
        worker: str,
        limits: CourierLimits,
        persistence: Persistence,
    ) -> None:
        self._outbox = outbox
        self._receivers = receivers
        self._fallbacks = tuple(fallbacks)
        self._worker = worker
        self._limits = limits
        self._persistence = persistence
        self._desks: dict[str, Desk] = {}

    def desk(self, receiver: str) -> Desk:
        """The desk of a receiver."""
        if receiver not in self._desks:
            channel = self._receivers.get(receiver)
            self._desks[receiver] = Desk(Bucket(100.0 if channel is None else channel.rate_per_s))
        return self._desks[receiver]

    def held(self, now: datetime) -> list[str]:
        """Receivers that are left alone because they keep failing."""
        return [name for name, desk in self._desks.items() if not desk.breaker.allows(now, 0)]

    def claim(self, now: datetime, lanes: tuple[int, int], limit: int) -> Taken:
        """Lease up to `limit` effects of `lanes` to receivers with room.

        One place of every receiver is kept for pages.
        """
        if limit <= 0:
            return Taken()
        places = self._limits.per_receiver - (lanes != PAGES)
        taken: Counter[str] = Counter()
        settled: list[int] = []

        def judge(tx: Any, effect: DueEffect, incident: Incident | None) -> bool:
            if not self._is_to_be_sent(tx, effect, incident, now):
                settled.append(effect.id)
                return False
            if taken[effect.receiver] >= self.desk(effect.receiver).room(now, places):
                return False
            taken[effect.receiver] += 1
            return True

        full = [name for name, desk in self._desks.items() if desk.room(now, places) <= 0]
        claims = self._lease(now, judge, lanes=lanes, limit=limit, exclude=full)
        return Taken(claims, len(settled))

    def give_up(self, now: datetime, held: Collection[str]) -> Taken:
        """What waited too long for receivers that are left alone goes to the fallback."""
        settled: list[int] = []
        dead: list[int] = []

        def judge(tx: Any, effect: DueEffect, incident: Incident | None) -> bool:
            if effect.kind != "notify" or now <= self._persistence.deadline(effect):
                return False
            settled.append(effect.id)
            if self._is_to_be_sent(tx, effect, incident, now):
                reason = f"{effect.receiver} keeps failing and is left alone"
                tx.settle(effect.id, EffectState.DEAD, reason=reason, now=now)
                bury(tx, effect, reason, now, self._fallbacks)
                dead.append(effect.id)
            return False

        self._lease(
            now,
            judge,
            lanes=(PAGES[0], OTHERS[1]),
            limit=100,
            only=held,
            scheduled_before=now - min(self._persistence.max_age),
        )
        return Taken((), len(settled), len(dead))

    def _lease(
        self,
        now: datetime,
        judge: Callable[[Any, Any, Incident | None], bool],
        *,
        lanes: tuple[int, int],
        limit: int,
        exclude: Collection[str] = (),
        only: Collection[str] | None = None,
        scheduled_before: datetime | None = None,
    ) -> Sequence[Claimed]:
        return self._outbox.claim(
            now,
            judge,
            worker=self._worker,
            lease=self._limits.lease,
            limit=limit,
            lanes=lanes,
            exclude=exclude,
            only=only,
            scheduled_before=scheduled_before,
        )

    def _is_to_be_sent(
        self, tx: Any, effect: DueEffect, incident: Incident | None, now: datetime
    ) -> bool:
        """Whether it still is; if not, it is settled on the spot."""
        if effect.kind == "escalate":
            escalate(tx, effect, incident, now)
        elif effect.kind == "digest":
            fan_out(tx, effect, now)
        elif effect.kind != "notify":
            reason = f"this release knows no effect of kind {effect.kind!r}"
            tx.settle(effect.id, EffectState.DEAD, reason=reason, now=now)
            bury(tx, effect, reason, now, ())
        elif effect.action in _KEEPS and now > effect.scheduled + _KEEPS[effect.action]:
            cancel(tx, effect, f"a {effect.action} so late helps nobody", now)
        elif not effect.incident_id:  # there is nothing that could have become of it meanwhile
            return True
        else:
            reason = why_not(tx, effect, incident, now)
            if not reason:
                return True
            cancel(tx, effect, reason, now)
        return False
