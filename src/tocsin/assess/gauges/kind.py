"""What every detector of gauges has in common: what it measures, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats
from tocsin.assess.monitor import DetectorConfig

Measure = Literal["share", "volume", "p50", "p95", "p99", "mean", "sum"]
Side = Literal["above", "below", "both"]

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
MAX_OVER = 60  # minutes that one value may sum up
MAX_OVER_LATENCY = 15
MAX_FOR = 60
_SIGN = {"above": 1.0, "below": -1.0, "both": 0.0}


@dataclass(frozen=True, slots=True)
class Scored:
    """What a detector says of some steps, each [step, series], NaN where it cannot say anything.

    evidence: to be held against the limit. expected: what the value would have been if all were
    well. detail: what a scorer wants to be shown again when the steps are learned.
    """

    evidence: Floats
    expected: Floats
    detail: object = None


class Scorer(Protocol):
    """Judges gauges of one kind, [step, series] at once, and learns from what it judged."""

    limit: Floats  # [series]

    def judge(self, recent: Floats, first: int) -> Scored:
        """Judge recent[lead:], steps from number `first` on; the grid's `lead` steps come before.

        A step is judged by what was learned before and by the steps before it.
        """
        ...

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """Learn a block of the grid, as it was judged before; in order, each block once."""
        ...


@dataclass(frozen=True, slots=True)
class GaugeConfig(DetectorConfig):
    """Settings that every detector of gauges has.

    measure: what is measured each minute: share of bad calls, volume of calls, a percentile of
    latency in milliseconds, or mean or sum of a value of calls. over: minutes that each value sums
    up. for_minutes: consecutive minutes the breach must last. min_calls: below so many calls a
    share, a percentile or a mean is unknown.
    """

    needs: ClassVar[Literal["counts", "pace", "gauge", "samples"]] = "gauge"
    is_p: ClassVar[bool] = False  # whether evidence is -log10 p

    measure: Measure = "p95"
    over: int = 1
    for_minutes: int = 1
    min_calls: int = 10

    def __post_init__(self) -> None:
        longest = MAX_OVER_LATENCY if self.measure in QUANTILES else MAX_OVER
        if not 1 <= self.over <= longest:
            raise ValueError(f"over is 1 to {longest} min for {self.measure}, not {self.over}")
        if not 1 <= self.for_minutes <= MAX_FOR:
            raise ValueError(f"for_minutes is 1 to {MAX_FOR}, not {self.for_minutes}")
        if self.min_calls < 1:
            raise ValueError(f"min_calls is at least 1, not {self.min_calls}")

    @property
    def apart(self) -> tuple[str, ...]:
        """Dimensions of which every value is kept as a gauge beside its own."""
        return ()

    @classmethod
    def measured(cls) -> Measure:
        """What is measured where the settings do not say."""
        defaults: dict[str, Any] = {field.name: field.default for field in fields(cls)}
        measure: Measure = defaults["measure"]
        return measure

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> Scorer:
        """Set up the series that `configs` are about, in this order."""
        raise NotImplementedError

    def tell(self, evidence: float) -> str:
        """The evidence in words, to stand behind the value and what was expected."""
        return f"score {evidence:.1f}"


def signs(sides: Sequence[Side]) -> Floats:
    """+1 for above, -1 for below, 0 for both."""
    return np.array([_SIGN[side] for side in sides])


def one_sided(deviation: Floats, sign: Floats) -> Floats:
    """How far deviations lie on the side that counts; both sides where `sign` is 0."""
    return np.where(sign == 0.0, np.abs(deviation), deviation * np.where(sign == 0.0, 1.0, sign))


def lasting(evidence: Floats, steps: int) -> Floats:
    """The weakest evidence of each step and the `steps` - 1 before it, [step, series].

    NaN, which is no evidence, where one of them is unknown or lies before the first.
    """
    weakest = evidence.copy()
    for back in range(1, min(steps, len(evidence) + 1)):
        weakest[back:] = np.minimum(weakest[back:], evidence[:-back])
    weakest[: steps - 1] = np.nan
    return weakest
