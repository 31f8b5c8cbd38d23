"""Correlation: a quality score no longer goes with the outcome it is there for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

from tocsin.assess.drift.looking import Looking, LookingConfig, unknown
from tocsin.assess.monitor import Monitor
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.samples import Look, Sample, Wish, feature_kind

Floats = npt.NDArray[np.float64]

_LN10 = float(np.log(10.0))
_NONE = 3.0  # standard errors from 0, below which there was no relation that could weaken
_MOST_Z = 0.999999


@dataclass(frozen=True, slots=True)
class CorrelationConfig(LookingConfig):
    """Settings of correlation.

    quality, outcome: two features that are numbers, see the guide on drift; sampled are calls
    that have the scores among them. of_kind: of which kind of call. min_calls: pairs in
    each window. min_share: how much of the relation must be lost, as a share of what it was. The
    other settings: window_hours, reference_days (or since and until), every_minutes, most, level.
    """

    kind: ClassVar[str] = "correlation"
    signal: ClassVar[str] = "correlation"

    quality: str = "score:quality"
    outcome: str = "score:outcome"
    of_kind: str = "llm"
    window_hours: int = 168
    reference_days: int = 28
    every_minutes: int = 360
    min_share: float = 0.3

    def __post_init__(self) -> None:
        LookingConfig.__post_init__(self)
        if self.quality == self.outcome:
            raise ValueError("quality and outcome are two features, not one")
        for name in (self.quality, self.outcome):
            if feature_kind(name) != "number":
                raise ValueError(f"{name} holds no numbers; a relation is one of numbers")

    def sampled(self) -> tuple[tuple[str, ...], str]:
        """The features to read, and the kind of call they are of."""
        return (self.quality, self.outcome), self.of_kind

    def scored(self) -> tuple[str, ...]:
        """Names of scores that every call to be compared has."""
        parts = (name.partition(":") for name in (self.quality, self.outcome))
        return tuple(rest for prefix, _, rest in parts if prefix == "score")


@dataclass(frozen=True, slots=True)
class Relation:
    """Spearman's rank correlation of `pairs` calls. size: how many pairs of a normal distribution
    would say as much; the standard error of `z` is 1 / sqrt(size - 3)."""

    value: float
    pairs: int
    size: float

    @property
    def z(self) -> float:
        """Fisher's transformation."""
        return float(np.arctanh(np.clip(self.value, -_MOST_Z, _MOST_Z)))

    @property
    def variance(self) -> float:
        """Of z."""
        return 1.0 / (self.size - 3.0)

    @property
    def bounds(self) -> tuple[float, float]:
        """A 95 % interval of the correlation."""
        half = 1.96 * self.variance**0.5
        return float(np.tanh(self.z - half)), float(np.tanh(self.z + half))


class Correlation(Looking):
    """Rings when the relation of a quality score to an outcome has weakened.

    What: Spearman's correlation of the two in the window and in the reference, one call of each
    session, compared by Fisher's z. Its variance is not that of the textbook, which holds for
    normal values: outcomes are yes or no, scores pile up at their ends. It is estimated from the
    pairs (asymptotically distribution-free), and told as an effective sample size. One side only:
    a relation that has become stronger, with its sign, alarms nobody.

    Assumes: sessions are independent of one another; in both windows scores and outcomes are
    missing by the same habits.

    Misleads: when scores or outcomes hardly vary any more, since a judge that gives everybody a 5
    has no relation to anything; while outcomes are late, and the newest calls have only those
    that come early. It does not say which of the two changed its meaning.

    Parameters: see `CorrelationConfig`.

    >>> from tocsin.assess.window import Window
    >>> settings = CorrelationConfig(quality="score:quality", outcome="score:reopened")
    >>> monitor = Monitor("detector/impact", "Impact", "support", "correlation", "ticket", None,
    ...                   None, settings)
    >>> rng = np.random.default_rng(3)
    >>> def calls(related):
    ...     quality = rng.random(400)
    ...     reopened = rng.random(400) > related * quality + (1 - related) * 0.5
    ...     columns = {"score:quality": tuple(quality), "score:reopened": tuple(reopened * 1.0)}
    ...     return Sample(columns, (("", ""),) * 400)
    >>> window, wish = Window([monitor]), settings.wish("support")
    >>> window.looks[wish] = Look(wish.boundary(30_000_000), calls(1.0), calls(0.1))
    >>> [v.reason for v in Correlation([monitor]).judge(window, 30_000_000)]
    ['score:reopened follows score:quality less: correlation -0.58 -> -0.04 (400 and 400 pairs)']

    Paper: Fisher, "On the probable error of a coefficient of correlation deduced from a small
    sample", Metron 1 (1921); Steiger and Hakstian, "The asymptotic distribution of elements of a
    correlation matrix", British Journal of Mathematical and Statistical Psychology 35 (1982), for
    its variance without normality.
    """

    config = CorrelationConfig

    def compare(
        self, monitor: Monitor, settings: CorrelationConfig, wish: Wish, look: Look,
        rng: np.random.Generator,
    ) -> Verdict | None:  # fmt: skip
        """What a look with enough calls says."""
        pairs = [pairs_of(sample, settings) for sample in (look.reference, look.window)]
        sizes = [len(first) for first, _ in pairs]
        if min(sizes) < settings.min_calls:
            reason = (
                f"too few calls have both {settings.quality} and {settings.outcome}: {sizes[0]:,}"
                f" in the reference and {sizes[1]:,} in the window, {settings.min_calls:,} of each"
                " are needed"
            )
            return unknown(monitor, look.boundary - 1, wish, look.boundary, reason)
        before, now = (relation(*each) for each in pairs)
        reason = ""
        if before is None or now is None:
            which = "reference" if before is None else "window"
            reason = f"{settings.quality} or {settings.outcome} does not vary in the {which}"
        elif abs(before.z) < _NONE * before.variance**0.5:
            reason = (
                f"{settings.outcome} did not follow {settings.quality} in the reference: there is"
                f" no relation that could weaken (correlation {before.value:.2f})"
            )
        if before is None or now is None or reason:
            return unknown(monitor, look.boundary - 1, wish, look.boundary, reason)
        evidence = weakening(before, now)
        lost = 1.0 - now.value / before.value
        if evidence < -np.log10(settings.level) or lost < settings.min_share:
            return None
        reference, span = wish.spans(look.boundary)
        return monitor.verdict(
            Judgement.BREACH,
            look.boundary - 1,
            value=round(now.value, 4),
            expected=round(before.value, 4),
            unit="correlation",
            score=round(evidence, 2),
            window=span,
            reason=(
                f"{settings.outcome} follows {settings.quality} less: correlation"
                f" {before.value:.2f} -> {now.value:.2f} ({sizes[0]:,} and {sizes[1]:,} pairs)"
            ),
            evidence={
                "reference": list(reference),
                "pairs": sizes,
                "effective_pairs": [round(before.size), round(now.size)],
                "interval": [round(bound, 4) for bound in now.bounds],
                "interval_before": [round(bound, 4) for bound in before.bounds],
                "log10_p": round(-evidence, 2),
            },
        )


def relation(first: Floats, second: Floats) -> Relation | None:
    """The relation of pairs; None where one of the two does not vary."""
    if min(np.ptp(first), np.ptp(second)) == 0.0:
        return None
    u, v = _ranked(first), _ranked(second)
    value = float(np.clip((u * v).mean(), -_MOST_Z, _MOST_Z))
    # What each pair adds to the correlation beyond its mean: its influence.
    influence = u * v - value * (u * u + v * v) / 2.0
    variance = float((influence**2).mean()) / len(u) / (1.0 - value * value) ** 2
    # Pairs that lie on a line have no influence: as many pairs as there are, then, and no more.
    size = min(3.0 + 1.0 / max(variance, 1e-12), float(len(u)))
    return Relation(value, len(u), size)


def weakening(before: Relation, now: Relation) -> float:
    """-log10 P of so much less of a relation, or more, were it still what it was."""
    sign = 1.0 if before.value >= 0.0 else -1.0
    deviation = sign * (before.z - now.z) / (before.variance + now.variance) ** 0.5
    return float(-log_ndtr(-deviation) / _LN10)


def pairs_of(sample: Sample, settings: CorrelationConfig) -> tuple[Floats, Floats]:
    """Both values of the calls that have both."""
    nothing = (None,) * len(sample)
    both = np.array(
        [sample.columns.get(name, nothing) for name in (settings.quality, settings.outcome)],
        np.float64,
    )
    first, second = both[:, np.isfinite(both).all(axis=0)]
    return first, second


def _ranked(values: Floats) -> Floats:
    """Ranks, ties shared, with mean 0 and variance 1."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2.0)[place]
    off = ranks - ranks.mean()
    return np.asarray(off / off.std(), np.float64)
