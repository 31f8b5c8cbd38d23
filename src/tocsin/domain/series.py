"""Counts per minute: the only thing decisions are made from.

A monitor never sees a percentage. It sees how many calls there were in a minute and how many of
them were bad, which is exact at six requests a minute and at six hundred thousand, and which adds
up over minutes, segments and replicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from tocsin.domain.expressions import Condition, Expression, Field, fields

Column = Literal[
    "duration_ms", "ttft_ms", "cost_usd", "input_tokens", "output_tokens", "failed", "error",
    "truncated", "feedback_negative", "empty_result", "condition", "charge", "metric",
]  # fmt: skip


# What one call weighs where calls are charged in proportion, so that counts are whole numbers.
SHARE = 1_000_000
# No call is charged more, or given back more, than this many shares: a value of 1e300 is a mistake
# of whoever sent it, and must not overflow the sum of a year.
MOST_SHARES = 1_000_000


_UNITS: Mapping[str, str] = {"cost_usd": "usd", "latency_ms": "ms", "ttft_ms": "ms"}


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call is charged by a number of it: nothing at `free`, one share at `limit`, in
    proportion in between and beyond, and given back on the other side of `free`.

    So the mean of a charge is 1 exactly where the mean of the number is `limit`, and charges add up
    over minutes like counts of bad calls do.
    """

    value: Expression
    free: float
    limit: float

    @property
    def unit(self) -> str:
        """Of the number: usd, ms, or "" where it has none or is put together."""
        if not isinstance(self.value, Field):
            return ""
        return "ms" if self.value.type == "duration" else _UNITS.get(self.value.name, "")


Taken = Literal["last", "highest", "lowest", "mean", "rate", "p50", "p95", "p99"]
Across = Literal["sum", "highest", "lowest", "mean"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that a service reports, as one number a minute.

    take: of the points of a series: a level's last, highest, lowest or mean, a counter's increase
    per second, or a quantile of a histogram. across: how series are put together. labels: that a
    series must have, of its own or of its resource, (name, value).
    """

    name: str
    take: Taken = "last"
    across: Across = "sum"
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ratio:
    """A share of calls: which calls count (`total`), and which of those are bad.

    `bad` is one comparison on a typed column, so that it compiles to SQL without any text of the
    user in it. `failed` is a system failure or a truncated stream, `error` any failure at all.
    A call whose column is unknown (no price, no first token) is not in `total`. kind, model: only
    such calls; model "" is any. condition: what is counted when `column` says so. weight: of a call
    instead of 1, a number; the counts are sums of it in thousandths, and a call whose weight is
    unknown or not above 0 does not count. charge: what is summed up when `column` says so; `bad` is
    then the sum of the charges and `total` that of as many shares as there were calls with a known
    value, both in units of 1 / SHARE. metric: what is read when `column` says so; `bad` is then its
    value and `total` 1 in each minute that has one, both in units of 1 / SHARE. histogram: whether
    the durations of the calls that count are told apart as well, in series of EACH.
    """

    column: Column
    op: Literal["is", "gt", "ge"] = "is"
    threshold: float = 0.0
    kind: str = "llm"
    model: str = ""
    condition: Condition | None = None
    weight: Expression | None = None
    charge: Charge | None = None
    metric: Metric | None = None
    histogram: bool = False

    def __post_init__(self) -> None:
        if (self.column == "condition") != (self.condition is not None):
            raise ValueError("a ratio of column `condition` has one, and no other has")
        if (self.column == "charge") != (self.charge is not None):
            raise ValueError("a ratio of column `charge` has one, and no other has")
        if (self.column == "metric") != (self.metric is not None):
            raise ValueError("a ratio of column `metric` has one, and no other has")

    @property
    def has_values(self) -> bool:
        """Whether numbers are summed up instead of calls counted."""
        return self.charge is not None or self.metric is not None

    @property
    def unit(self) -> int:
        """What one call counts as."""
        return SHARE if self.has_values else 1

    def amount(self, counted: int) -> float:
        """A sum of its counts as people have it: calls, or what calls were charged."""
        return counted / SHARE if self.has_values else counted

    @property
    def scores(self) -> frozenset[str]:
        """Names of the scores that are looked up for every call."""
        parts = self.condition.parts if self.condition else ()
        parts = (*parts, self.weight) if self.weight else parts
        parts = (*parts, self.charge.value) if self.charge else parts
        return frozenset(f.key for f in fields(*parts) if f.name in ("score", "label"))


# As the value of a segment: every value of its dimension that occurs, each a series of its own.
EACH = "\x00each"


@dataclass(frozen=True, slots=True)
class SeriesId:
    """One row of counts: a service, an indicator's name, optionally one segment of it: the name of
    a dimension and a value, or EACH."""

    service: str
    indicator: str
    segment: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class MinuteBlock:
    """Counts of consecutive minutes [start, start + width).

    start: epoch minute of the first column. bad, total: int64 [series, minute].
    latency, pace: int64 [service, minute, bucket] on the scales of `domain.buckets`, LLM calls of
    each service of `services`; width 0 in the bucket axis when the source has no durations.
    cells: int64 [4, cell], the histograms of series that have some, without their zeros: epoch
    minute, row in `series`, bucket on `buckets.LATENCY`, calls; in order of minutes.
    """

    start: int
    series: tuple[SeriesId, ...]
    bad: npt.NDArray[np.int64]
    total: npt.NDArray[np.int64]
    services: tuple[str, ...] = ()
    latency: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    pace: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    cells: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((4, 0), np.int64))

    @property
    def width(self) -> int:
        """Number of minutes."""
        return int(self.bad.shape[1])


@dataclass(frozen=True, slots=True)
class HourBlock:
    """Counts of consecutive epoch hours from `start` on: bad, total int64 [series, hour]."""

    start: int
    series: tuple[SeriesId, ...]
    bad: npt.NDArray[np.int64]
    total: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Change:
    """Something somebody did: a deploy, a prompt version, a model switch, a configuration."""

    at_minute: int
    service: str
    kind: str
    title: str
    labels: Mapping[str, str] = field(default_factory=dict)
