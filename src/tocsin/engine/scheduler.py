"""The heartbeat of a running server: a tick a minute, the courier at once after it.

In between it looks every second whether something that people said until when is over.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta

import structlog

from tocsin.domain.clock import monotonic_s
from tocsin.engine.house import House
from tocsin.store.leases import LeaseLost

log = structlog.get_logger(__name__)

LONGEST_WAIT_S = 1.0


class Scheduler:
    """Ticks `house` when a minute is complete and `lateness` has passed.

    wake: called after a tick that decided something, so that nobody waits for the courier's poll.
    refresh: called before a tick; adopts a configuration that was applied meanwhile. A tick that
    fails is logged and counted, and the minute is tried again: an alarm bell must not stop because
    one query did.
    """

    def __init__(
        self,
        house: House,
        *,
        interval: timedelta,
        lateness: timedelta,
        wake: Callable[[], None],
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._house = house
        self._interval_s = interval.total_seconds()
        self._lateness_s = lateness.total_seconds()
        self._wake = wake
        self._refresh = refresh
        self._follows = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        while not stop.is_set():
            await asyncio.to_thread(self.beat)
            await self._wait(stop)

    def beat(self) -> None:
        """Judge every minute that became complete, now."""
        began = monotonic_s()
        try:
            self._refresh()
        except Exception:  # worker loop: what runs stays in force
            log.exception("configuration_not_adopted")
        try:
            conducts = self._house.conductor.conducts
            if self._follows or not conducts:
                # Also once by who takes over: what the other decided must not be decided again.
                self._follows = True
                self._house.follow()
                self._follows = not conducts
            if not conducts:
                return
            decided = self._house.catch_up(self._house.clock.now())
        except LeaseLost:
            self._follows = True  # another process decides about this minute
            return
        except Exception:  # worker loop: the next beat tries the same minute again
            self._house.pulse.failures += 1
            log.exception("tick_failed", failures=self._house.pulse.failures)
            return
        if decided:
            self._house.pulse.duration_s = monotonic_s() - began
        if any(not one.is_empty for one in decided):
            self._wake()

    def look(self) -> None:
        """Between two beats: carry out what ends, or begins, now."""
        if self._follows or not self._house.conductor.conducts:
            return
        try:
            if self._house.keep_time():
                self._wake()
        except LeaseLost:
            self._follows = True
        except Exception:  # worker loop: looked at again in a second, and by the next beat
            log.exception("time_not_kept")

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until shortly after the next interval; re-reads the clock, which may be stepped."""
        due = math.floor(self._clock_s() / self._interval_s) + 1
        while not stop.is_set():
            left = due * self._interval_s - self._clock_s()
            if left <= 0 or left > 2 * self._interval_s:
                return
            await asyncio.to_thread(self.look)
            try:
                await asyncio.wait_for(stop.wait(), min(left, LONGEST_WAIT_S))
            except TimeoutError:
                continue

    def _clock_s(self) -> float:
        """The clock set back by the lateness: a minute is complete when this one says so."""
        return self._house.clock.now().timestamp() - self._lateness_s
