"""Realized precision: of what people were told, how much was worth it, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.assess.tails import clopper_pearson_lower, clopper_pearson_upper
from tocsin.domain.evidence import Review

_ONE_SIDED = 0.975  # each bound of a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class Precision:
    """Verdicts counted, and the share of real ones among real, false and noise.

    share: None while nobody has said anything. low, high: exact two-sided 95 % interval (Clopper
    and Pearson, 1934), 0 and 1 when nothing is known. A duplicate is neither: its incident has its
    own verdict. unanswered: without a verdict, acknowledged or not; they are in no share.
    """

    real: int
    false: int
    noise: int
    duplicate: int
    unanswered: int
    share: float | None
    low: float
    high: float

    @property
    def judged(self) -> int:
        """Verdicts that the share is of."""
        return self.real + self.false + self.noise


def precision(reviews: Iterable[Review]) -> Precision:
    """What people said of incidents, as far as they have said it."""
    said = Counter(review.verdict for review in reviews)
    real, wrong = said["real"], said["false"] + said["noise"]
    judged = real + wrong
    return Precision(
        real=real,
        false=said["false"],
        noise=said["noise"],
        duplicate=said["duplicate"],
        unanswered=said[""],
        share=real / judged if judged else None,
        low=float(clopper_pearson_lower(real, judged, _ONE_SIDED)) if judged else 0.0,
        high=float(clopper_pearson_upper(real, judged, _ONE_SIDED)) if judged else 1.0,
    )
