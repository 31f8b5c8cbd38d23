"""The very same tick over a file: what would have been decided, and why.

State lives in memory and messages go nowhere: each receiver is a recorder that takes everything, so
that escalation, updates and "it is over" follow as they would have. Nobody acknowledges anything in
a backtest; it shows what people would have been told if they had done nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, ClassVar

import httpx

from tocsin.assess.window import Window
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Delivered, Outcome
from tocsin.delivery.worker import Courier
from tocsin.domain.clock import ManualClock, from_minute
from tocsin.domain.ports import MinuteSource
from tocsin.engine.budgets import Budgets
from tocsin.engine.feed import Feed, ReadAhead
from tocsin.engine.rules import Rules
from tocsin.engine.scoring import Scoring
from tocsin.engine.tick import Decided, tick
from tocsin.store.state import StateStore


class Recorder:
    """A receiver that takes every message and does nothing with it."""

    Config: ClassVar[type[Any]] = type(None)
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 1e6

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """Delivered."""
        return Delivered({"key": message.key})


def backtest(
    rules: Rules,
    source: MinuteSource,
    span: tuple[int, int],
    *,
    lateness: timedelta = timedelta(0),
    reread: int = 3,
    state: StateStore | None = None,
) -> Iterator[Decided]:
    """One decision per minute of `span` (epoch minutes, half open), in order.

    source: counts; read hours at a time. state: an empty one, for who wants to look into it
    afterwards.
    """
    start, stop = span
    window = Window(rules.monitors.monitors, rules.watched.services)
    feed = Feed(ReadAhead(source, limit=stop), rules.watched, start=start, reread=reread)
    budgets = Budgets(rules.desired.budgets, rules.least)
    scoring = Scoring(rules.monitors.monitors)
    kept = state or StateStore.open(":memory:")
    clock = ManualClock(from_minute(start))
    with asyncio.Runner() as runner:
        courier = _courier(rules, kept, clock)
        for minute in range(start, stop):
            now = from_minute(minute + 1) + lateness
            clock.set(now)
            yield tick(rules, window, feed, budgets, scoring, kept, now, lateness=lateness)
            if _is_due(kept, now):
                runner.run(courier.drain(now))
    if state is None:
        kept.close()


def _courier(rules: Rules, state: StateStore, clock: ManualClock) -> Courier:
    policy = rules.policy
    recorders = {name: Recorder() for name in policy.receivers if not policy.is_silent(name)}
    return Courier(
        state,
        recorders,
        httpx.AsyncClient(),
        clock,
        rng=Random(0),
        fallbacks=policy.defaults.unmatched.receivers,
    )


def _is_due(state: StateStore, now: datetime) -> bool:
    due = state.next_due()
    return due is not None and due <= now
