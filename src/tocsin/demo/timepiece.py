"""A clock that is moved by the replay first, and runs by itself afterwards."""

from __future__ import annotations

from datetime import datetime

from tocsin.domain.clock import ManualClock, SystemClock


class ReplayClock:
    """Manual until `go_live`, the wall clock from then on."""

    def __init__(self, start: datetime) -> None:
        self._manual = ManualClock(start)
        self._system = SystemClock()
        self.is_live = False

    def now(self) -> datetime:
        """The current instant of the replay, or of the world."""
        return self._system.now() if self.is_live else self._manual.now()

    def set(self, instant: datetime) -> None:
        """Move the replay to `instant`, which must not lie before where it is."""
        self._manual.set(instant)

    def go_live(self) -> None:
        """From now on the wall clock decides."""
        self.is_live = True
