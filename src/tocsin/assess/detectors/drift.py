"""Drift: what comes in, or goes out, is not distributed as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.drift.looking import Looking, LookingConfig, breach, drifted, unknown
from tocsin.assess.drift.sampled import compared
from tocsin.assess.monitor import Monitor
from tocsin.domain.findings import Verdict
from tocsin.domain.samples import Look, Wish, feature_kind

_MOST_TOLD = 3


@dataclass(frozen=True, slots=True)
class DriftConfig(LookingConfig):
    """Settings of drift.

    features: what is compared, see the guide; of_kind: of which kind of call, llm or retriever for
    example; embeddings are usually attributes of calls of kind embedding. The other settings:
    window_hours, reference_days (or since and until), every_minutes, most, min_calls, level,
    min_share.
    """

    kind: ClassVar[str] = "drift"
    signal: ClassVar[str] = "drift"

    features: tuple[str, ...] = ("input_tokens", "output_tokens", "model", "finish_reason")
    of_kind: str = "llm"

    def __post_init__(self) -> None:
        LookingConfig.__post_init__(self)
        if not self.features or len(set(self.features)) < len(self.features):
            raise ValueError("features are one or more, each named once")
        for name in self.features:
            feature_kind(name)

    def sampled(self) -> tuple[tuple[str, ...], str]:
        """The features to read, and the kind of call they are of."""
        return self.features, self.of_kind


class Drift(Looking):
    """Rings when features of calls are no longer distributed as in the reference.

    What: samples of calls of the window and of the reference, one of each session, are compared by
    feature: Kolmogorov-Smirnov for numbers, chi-square for categories and for missing values, the
    distance of centroids for embeddings. Thresholds come from dealing the calls of both out anew,
    p-values are corrected for the number of features, and `min_share` of the traffic must have
    moved. A look every hour by default; its verdict holds until the next.

    Assumes: sessions are independent of one another, and the reference is what should be. Weekdays
    differ from weekends: a window of a day is compared with the seven before it.

    Misleads: at a launch, when traffic is meant to change; when a reference slides over a change
    and makes it the usual after a week (declare `since` and `until` for one that stays); when the
    model of the embeddings is exchanged, which is told if their length changes. It says that
    something moved, not that it is bad.

    Parameters: see `DriftConfig`.

    >>> from tocsin.assess.monitor import Monitor
    >>> from tocsin.assess.window import Window
    >>> from tocsin.domain.samples import Sample
    >>> settings = DriftConfig(features=("output_tokens",))
    >>> monitor = Monitor("detector/length", "Length", "support", "drift", "ticket", None, None,
    ...                   settings)
    >>> def calls(typical):
    ...     tokens = tuple(typical + 10.0 * (n % 20) for n in range(300))
    ...     return Sample({"output_tokens": tokens}, (("", ""),) * 300)
    >>> window, wish = Window([monitor]), settings.wish("support")
    >>> window.looks[wish] = Look(wish.boundary(30_000_000), calls(100), calls(160))
    >>> [v.reason for v in Drift([monitor]).judge(window, 30_000_000)]
    ['output_tokens drifted: median 195 -> 255; above 170: 60.00% -> 90.00%']

    Paper: Rabanser, Guennemann and Lipton, "Failing loudly: an empirical study of methods for
    detecting dataset shift", NeurIPS 2019.
    """

    config = DriftConfig

    def compare(
        self, monitor: Monitor, settings: DriftConfig, wish: Wish, look: Look,
        rng: np.random.Generator,
    ) -> Verdict | None:  # fmt: skip
        """What a look with enough calls says."""
        found = compared(settings.features, look.reference, look.window, rng, with_missing=True)
        moved = drifted(found, settings)
        if moved:
            told = "; ".join(
                f"{feature.name} drifted: {'; '.join(feature.moved[:2])}".removesuffix(": ")
                for feature in moved[:_MOST_TOLD]
            )
            return breach(monitor, wish, look, told, moved, found, look.window)
        if all(feature.unknown for feature in found):
            reason = f"nothing to compare: {found[0].name}: {found[0].unknown}"
            return unknown(monitor, look.boundary - 1, wish, look.boundary, reason)
        return None
