"""What a gate compares: two arms of a service's calls, minute by minute."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.domain.expressions import Expression


@dataclass(frozen=True, slots=True)
class Compared:
    """One value of a call: a number, a duration in milliseconds, or a truth value as 0 and 1.

    log: its logarithm is compared; values of 0 and below, which have none, are left out.
    """

    name: str
    value: Expression
    log: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which calls are compared, and by what.

    service: as telemetry calls it. arm: a text of the call that is `candidate` or `baseline` for
    those that count. unit: a text that is the same for calls that are not independent; None when
    every call is a unit, as is one of which the text is unknown. A unit begins with a call that no
    other call of it preceded for `window` minutes, and counts once, with the mean of its values
    over the `window` minutes from there, in the last of them.
    """

    service: str
    kind: str
    arm: Expression
    candidate: str
    baseline: str
    values: tuple[Compared, ...]
    unit: Expression | None = None
    window: int = 30

    @property
    def arms(self) -> tuple[str, str]:
        """Candidate and baseline."""
        return self.candidate, self.baseline


@dataclass(frozen=True, slots=True)
class ArmCount:
    """What one arm did by one value in one epoch minute: units, their sum, their sum of squares."""

    minute: int
    name: str
    is_candidate: bool
    units: int
    total: float
    squares: float
