"""Realized precision: of what people were told, how much was worth it, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.domain.shares import exact_interval


@dataclass(frozen=True, slots=True)
class Precision:
    """Verdicts counted, and the share of real ones among real, false and noise.

    A duplicate is neither right nor wrong: its incident has a verdict of its own. judged: verdicts
    that the share is of. unjudged: incidents without one, acknowledged or not; they are in no
    share. low, high: exact two-sided 95 % interval. None, as the share, while nothing is judged.
    """

    real: int
    false: int
    noise: int
    duplicate: int
    judged: int
    unjudged: int
    share: float | None
    low: float | None
    high: float | None


def precision(verdicts: Iterable[str]) -> Precision:
    """What people said of incidents: real, false, noise or duplicate each, "" where nobody did."""
    said = Counter(verdicts)
    real = said["real"]
    judged = real + said["false"] + said["noise"]
    low, high = exact_interval(real, judged) if judged else (None, None)
    return Precision(
        real=real,
        false=said["false"],
        noise=said["noise"],
        duplicate=said["duplicate"],
        judged=judged,
        unjudged=said[""],
        share=real / judged if judged else None,
        low=low,
        high=high,
    )
