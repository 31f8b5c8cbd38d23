"""The grid of a gauge: how long a step is, and what an hour, a day and a week are in steps."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_S, DAY_S = 3600, 86_400
_SLOT_S = 600  # the time of day is told apart in ten minutes
_DAYS = 7
_MIN_SHORT, _MIN_LONG = 6, 12  # points that make a trailing mean worth its name
_MIN_BLOCKS = 30


@dataclass(frozen=True, slots=True)
class Grid:
    """Steps of `step_s` seconds, at multiples of it since 1970.

    ValueError for a step below a second or above a week.
    """

    step_s: int

    def __post_init__(self) -> None:
        if not 1 <= self.step_s <= _DAYS * DAY_S:
            raise ValueError(f"a step is 1 s to 7 d, not {self.step_s} s")

    @property
    def block(self) -> int:
        """Steps that are learned together: an hour, or one step where it is longer."""
        return max(HOUR_S // self.step_s, 1)

    @property
    def short(self) -> int:
        """Points of the short trailing mean: an hour, at least six."""
        return max(HOUR_S // self.step_s, _MIN_SHORT)

    @property
    def long(self) -> int:
        """Points of the long trailing mean: three hours, at least twelve."""
        return max(3 * HOUR_S // self.step_s, _MIN_LONG)

    @property
    def lead(self) -> int:
        """Steps before the first scored one that a score may look at."""
        return self.long

    @property
    def week(self) -> int:
        """Blocks of a week, at least thirty."""
        return max(_DAYS * DAY_S // (self.block * self.step_s), _MIN_BLOCKS)

    @property
    def slot_s(self) -> int:
        """Seconds of one time of day: ten minutes, or one step where it is longer."""
        return max(_SLOT_S // self.step_s, 1) * self.step_s

    @property
    def slots(self) -> int:
        """Times of day in a day; 1 where a step is so long that a day has no shape."""
        return max(-(-DAY_S // self.slot_s), 1)

    @property
    def has_days(self) -> bool:
        """Whether a day has at least six points, so that its shape can be told."""
        return self.slots >= _MIN_SHORT
