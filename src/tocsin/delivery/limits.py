"""How fast, and whether at all, one receiver is asked: a token bucket and a circuit breaker.

Bucket: `rate_per_s` tokens a second up to a burst of the same for ten seconds (at least five); a
try takes one. Breaker: five failures in a row open it, nothing is tried for 15 s, then one try at a
time, doubling the pause up to 2 min while it fails; one success closes it. A page that is held back
this way still ages, and goes to the fallback receiver when it is too old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin.domain.clock import Clock, monotonic_s

FAILURES_TO_OPEN = 5
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=2)
LEAST_STEP = timedelta(seconds=5)


@dataclass(slots=True)
class Bucket:
    """Tokens at `as_of`; refilled by the time that passes."""

    rate_per_s: float
    tokens: float = field(init=False)
    as_of: datetime | None = None

    def __post_init__(self) -> None:
        self.tokens = self.burst

    @property
    def burst(self) -> float:
        """The most that can be taken at once."""
        return max(5.0, 10 * self.rate_per_s)

    def available(self, now: datetime) -> int:
        """How many tries may be made now."""
        if self.as_of is not None:
            passed = max((now - self.as_of).total_seconds(), 0.0)
            self.tokens = min(self.burst, self.tokens + passed * self.rate_per_s)
        self.as_of = now
        return int(self.tokens)

    def take(self, now: datetime) -> None:
        """Count one try."""
        self.available(now)
        self.tokens -= 1


@dataclass(slots=True)
class Breaker:
    """Whether a receiver that keeps failing is left alone for a while."""

    failures: int = 0
    open_until: datetime | None = None
    pause: timedelta = FIRST_PAUSE

    def allows(self, now: datetime, in_flight: int) -> int:
        """How many tries it allows: many when all is well, none while open, then one."""
        if self.failures < FAILURES_TO_OPEN:
            return 1_000_000
        if self.open_until is not None and now < self.open_until:
            return 0
        return 0 if in_flight else 1

    def succeeded(self) -> None:
        """The receiver answered, whatever it said."""
        self.failures, self.open_until, self.pause = 0, None, FIRST_PAUSE

    def failed(self, now: datetime) -> None:
        """It could not be reached, or did not do its work."""
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN:
            self.open_until = now + self.pause
            self.pause = min(2 * self.pause, LONGEST_PAUSE)


@dataclass(slots=True)
class Steadiness:
    """Whether a clock was set back, told by one that never is."""

    clock: Clock
    monotonic: Callable[[], float] = monotonic_s
    _last: tuple[datetime, float] | None = None

    def set_back(self) -> timedelta:
        """By how much since it was last taken note of; nothing for less than five seconds. What is
        told is told again until `noted`: who acts on it may fail."""
        now = self.clock.now(), self.monotonic()
        last = self._last or now
        by = timedelta(seconds=now[1] - last[1]) - (now[0] - last[0])
        if by >= LEAST_STEP:
            return by
        self._last = now
        return timedelta(0)

    @property
    def since(self) -> datetime | None:
        """What the clock showed when it was last known to be steady."""
        return None if self._last is None else self._last[0]

    def noted(self) -> None:
        """What was set back is taken care of."""
        self._last = self.clock.now(), self.monotonic()
