"""What is told after everything that anybody waits for: deploys to pagers, pictures of incidents.

A loop of its own beside the tick and the courier. It only adds effects in the last lane, so that
when it is slow, or fails, no page is later for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from tocsin.engine.announcing import announce
from tocsin.engine.house import House
from tocsin.engine.picturing import picture

log = structlog.get_logger(__name__)

INTERVAL = timedelta(seconds=10)


class Afterwards:
    """Looks for what is to be told afterwards, in one house."""

    def __init__(self, house: House) -> None:
        self._house = house

    def look(self) -> int:
        """Write effects for what is new; how many. Blocks. What fails is looked for again."""
        now, found = self._house.clock.now(), 0
        for part in (announce, picture):
            try:
                found += part(self._house, now)
            except Exception:  # the one must not keep the other from being told
                log.exception("not_told_afterwards", part=part.__name__)
        return found

    async def run(self, stop: asyncio.Event, wake: Callable[[], None]) -> None:
        """Look until `stop` is set."""
        while not stop.is_set():
            if self._house.conductor.conducts:
                found = await asyncio.to_thread(self.look)
                if found:
                    wake()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), INTERVAL.total_seconds())
