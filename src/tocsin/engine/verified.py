"""How far the ledger was found to hold, so that a look reads only what came since.

What was verified is not read again at every look, only compared at its end: whoever changes an old
entry of a running server is found by the next look at all of it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from tocsin.domain.clock import Clock
from tocsin.store.ledger import ChainBreak, Head
from tocsin.store.state import StateStore


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look found. whole_at: when every entry was read; at: when those since were."""

    at: datetime
    whole_at: datetime
    broken: ChainBreak | None = None


class Verified:
    """Looks whether the ledger of one state database holds. Threads may share it."""

    def __init__(self, state: StateStore, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._last: Verification | None = None
        self._held = Head()

    def look(self, *, anew: bool = False) -> Verification:
        """Verify what came since the last look; all of it the first time, when it did not hold
        then, and `anew`. Blocks."""
        with self._lock:
            now, last = self._clock.now(), self._last
            is_whole = anew or last is None or last.broken is not None
            start = Head() if is_whole else self._held
            head, broken = self._state.verify_ledger_from(start)
            if broken is None:
                self._held = head
            whole_at = now if is_whole or last is None else last.whole_at
            self._last = Verification(now, whole_at, broken)
            return self._last
