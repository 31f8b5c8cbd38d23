"""Time as a dependency: the only module of Tocsin that may ask what time it is.

Decisions take `now` as an argument. Edges that must wait or stamp hold a `Clock`, so that the
server, the accelerated demo, a backtest and a test differ in nothing but the clock they pass.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where `now` comes from."""

    def now(self) -> datetime:
        """The current instant: aware, UTC."""
        ...


class SystemClock:
    """The wall clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves only when told; never backwards."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def set(self, instant: datetime) -> None:
        """Move to `instant`. ValueError if it lies in the past of this clock."""
        if instant < self._now:
            raise ValueError(f"a clock does not run backwards: {instant} < {self._now}")
        self._now = instant

    def advance(self, by: timedelta) -> None:
        """Move forward by `by`."""
        self.set(self._now + by)


def monotonic_s() -> float:
    """Seconds on a clock that never steps; only differences mean anything."""
    return time.monotonic()


def from_minute(minute: int) -> datetime:
    """The instant at which epoch minute `minute` begins (UTC)."""
    return datetime.fromtimestamp(minute * 60, UTC)


def to_minute(instant: datetime) -> int:
    """The epoch minute that contains `instant`."""
    return int(instant.timestamp()) // 60


def iso(instant: datetime) -> str:
    """RFC 3339 text with a Z, whole seconds when there is nothing finer to say."""
    spec = "microseconds" if instant.microsecond else "seconds"
    return instant.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    """The instant that RFC 3339 `text` names; text without a zone is read as UTC."""
    instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
