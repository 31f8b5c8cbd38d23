"""What the detectors that compare samples share: settings, and one judgement for each look."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from tocsin.assess.drift.comparison import MIN_ROWS, PRIMARY, Feature
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.window import Window
from tocsin.domain.clock import to_minute
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.samples import Look, Sample, Wish

_DAY = 24 * 60
MOST_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class LookingConfig(DetectorConfig):
    """Settings of detectors that compare samples of calls.

    window_hours: the newest calls, 1 to 168. reference_days: those they are compared with, which
    end where the window begins, 1 to 28; or since and until, RFC 3339, for a reference that stays,
    such as the traffic a model was accepted on. every_minutes: between looks, 15 to 1440.
    most: calls of each sample, one of every session, 100 to 10,000. min_calls: fewer are unknown.
    level: how often a look may be wrong, over all features. min_share: how much of the traffic must
    have moved at least, however certain it is.
    """

    needs: ClassVar[Literal["counts", "pace", "gauge", "samples"]] = "samples"

    window_hours: int = 24
    reference_days: int = 7
    since: str = ""
    until: str = ""
    every_minutes: int = 60
    most: int = 2000
    min_calls: int = 200
    level: float = 0.01
    min_share: float = 0.1

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("window_hours", self.window_hours, 1, 168),
            ("reference_days", self.reference_days, 1, 28),
            ("every_minutes", self.every_minutes, 15, 1440),
            ("most", self.most, 100, 10_000),
            ("min_calls", self.min_calls, MIN_ROWS, self.most),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {low} to {high}, not {value}")
        if not 0.0005 <= self.level <= 0.5:
            raise ValueError(f"level is 0.0005 to 0.5, not {self.level}")
        if not 0.0 <= self.min_share <= 1.0:
            raise ValueError(f"min_share is 0 to 1, not {self.min_share}")
        if bool(self.since) != bool(self.until):
            raise ValueError("a reference that stays has since and until")
        if self.since and not self._minute("since") < self._minute("until"):
            raise ValueError("since comes before until")

    def sampled(self) -> tuple[tuple[str, ...], str]:
        """The features to read, and the kind of call they are of."""
        raise NotImplementedError

    def scored(self) -> tuple[str, ...]:
        """Names of scores that every call to be compared has."""
        return ()

    def added_by(self) -> str:
        """The key by which calls are added up, "" where each is a row of its own."""
        return ""

    def wish(self, service: str) -> Wish:
        """What is to be read for a monitor of `service`."""
        features, kind = self.sampled()
        return Wish(
            service, features, kind, self.window_hours * 60, self.reference_days * _DAY,
            self.every_minutes, self.most,
            self._minute("since") if self.since else None,
            self._minute("until") if self.until else None,
            self.scored(),
            self.added_by(),
        )  # fmt: skip

    def _minute(self, name: str) -> int:
        from tocsin.domain.clock import parse_iso

        try:
            return to_minute(parse_iso(getattr(self, name)))
        except ValueError:
            raise ValueError(f"{name} is RFC 3339, not {getattr(self, name)!r}") from None


class Looking(ABC):
    """Monitors that compare samples. A verdict holds until the next look."""

    config: ClassVar[type[LookingConfig]]

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        self._settings: list[LookingConfig] = []
        for monitor in monitors:
            if not isinstance(monitor.method, LookingConfig):
                raise TypeError(f"{monitor.name} has no settings of a look")
            self._settings.append(monitor.method)
        self._wishes = [
            settings.wish(monitor.service)
            for settings, monitor in zip(self._settings, monitors, strict=True)
        ]
        self._held: dict[str, tuple[Look, Verdict | None]] = {}

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH for drift, UNKNOWN for too few calls; what was found at the last look."""
        verdicts = []
        for monitor, settings, wish in zip(
            self.monitors, self._settings, self._wishes, strict=True
        ):
            look = window.looks.get(wish)
            if look is None:
                verdicts.append(unknown(monitor, minute, wish, minute + 1, "not looked at yet"))
                continue
            held = self._held.get(monitor.name)
            if held is None or held[0] is not look:
                held = look, self._seen(monitor, settings, wish, look)
                self._held[monitor.name] = held
            if held[1] is not None:
                verdicts.append(replace(held[1], minute=minute))
        return verdicts

    @abstractmethod
    def compare(
        self, monitor: Monitor, settings: Any, wish: Wish, look: Look, rng: np.random.Generator
    ) -> Verdict | None:
        """What a look with enough calls in both samples says; None is OK."""

    def lacking(self, settings: Any, look: Look) -> str:
        """Why a look has too little to compare; "" when it has enough."""
        sizes = len(look.reference), len(look.window)
        if min(sizes) >= settings.min_calls:
            return ""
        return (
            f"too few sessions to compare: {sizes[0]:,} in the reference and {sizes[1]:,} in"
            f" the window, {settings.min_calls:,} of each are needed"
        )

    def _seen(
        self, monitor: Monitor, settings: LookingConfig, wish: Wish, look: Look
    ) -> Verdict | None:
        minute = look.boundary - 1
        if look.problem:
            return unknown(monitor, minute, wish, look.boundary, look.problem)
        lacking = self.lacking(settings, look)
        if lacking:
            return unknown(monitor, minute, wish, look.boundary, lacking)
        # A look has its own numbers: told again, it says the same.
        rng = np.random.default_rng([look.boundary, zlib.crc32(monitor.name.encode())])
        return self.compare(monitor, settings, wish, look, rng)


def drifted(features: Sequence[Feature], settings: LookingConfig) -> list[Feature]:
    """The features that moved certainly and enough."""
    return [f for f in features if f.drifted(settings.level) and f.share >= settings.min_share]


def breach(
    monitor: Monitor, wish: Wish, look: Look, reason: str, moved: Sequence[Feature],
    features: Sequence[Feature], window: Sample,
) -> Verdict:  # fmt: skip
    """A verdict about features that moved. window: what their examples are rows of."""
    lead = moved[0]
    p = min(feature.adjusted or 1.0 for feature in moved)
    reference, span = wish.spans(look.boundary)
    return monitor.verdict(
        Judgement.BREACH,
        look.boundary - 1,
        value=round(lead.share, 4),
        expected=0.0,
        unit="share",
        score=round(float(-np.log10(p)), 2),
        window=span,
        reason=reason,
        evidence={
            "reference": list(reference),
            "sampled": [len(look.reference), len(look.window)],
            "features": [
                {
                    "name": feature.name,
                    "drifted": feature in moved,
                    "statistic": PRIMARY[feature.kind],
                    "value": feature.primary.value if feature.primary else None,
                    "threshold": feature.primary.threshold if feature.primary else None,
                    "adjusted_p": feature.adjusted,
                    "share": round(feature.share, 4),
                    "moved": list(feature.moved),
                    "examples": [
                        "/".join(window.calls[row]) for row in feature.examples[:MOST_EXAMPLES]
                    ],
                    "unknown": feature.unknown or None,
                }
                for feature in features
            ],
        },
    )


def unknown(
    monitor: Monitor, minute: int, wish: Wish, boundary: int, reason: str
) -> Verdict:  # fmt: skip
    """A verdict that cannot be given, and why."""
    return monitor.verdict(
        Judgement.UNKNOWN,
        minute,
        unit="share",
        window=wish.spans(boundary)[1],
        reason=reason,
    )
