"""Volume drop: fewer calls than there must be, down to none at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.special import betainc

from tocsin.assess.gauges.detector import GaugeDetector, HasGauges
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats, History
from tocsin.assess.gauges.kind import GaugeConfig, Measure, Scored
from tocsin.assess.gauges.slices import Slices
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import EACH, Ratio, SeriesId

WIDTHS = (1, 5, 15, 60)
_DAYS_DIFFER = 0.25  # standard deviation of one day's volume against another's, as a share
_MIN_HOURS = 6
_MOST_GONE = 2  # tenants that leave by themselves at one time; more are an outage
_SURELY_GONE = 3.0  # -log10 p of a tenant's silence, before it is corrected for how many there are
_LEAST_LEFT = (
    60.0  # calls an hour that others are expected to make: fewer do not show that all is well
)
_REST_DROPS = 3.0  # -log10 p from which the others are not as usual


@dataclass(frozen=True, slots=True)
class VolumeDropConfig(GaugeConfig):
    """Settings of the volume drop; those of every gauge (measure, over, for_minutes, min_calls),
    of which measure is volume, and

    threshold: evidence needed, as -log10 p corrected for four widths; at least 3. max_share: the
    largest share of the expected calls that is worth telling; 0.1 tells near outages only. tenants:
    a dimension whose values come and go by themselves, such as tenant. A drop that is one or two of
    them falling silent, while all others are as usual, is a ticket that names them.
    """

    kind: ClassVar[str] = "volume_drop"
    is_p: ClassVar[bool] = True

    measure: Measure = "volume"
    threshold: float = 6.0
    max_share: float = 0.5
    tenants: str = ""

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if self.measure != "volume" or self.over != 1:
            raise ValueError("volume_drop measures volume over 1 min; it widens by itself")
        if not 3.0 <= self.threshold <= 300.0:
            raise ValueError(f"threshold is -log10 p, from 3 to 300, not {self.threshold}")
        if not 0.0 <= self.max_share < 1.0:
            raise ValueError(f"max_share is a share from 0 to below 1, not {self.max_share}")

    @property
    def apart(self) -> tuple[str, ...]:
        """As `GaugeConfig.apart`: its tenants."""
        return (self.tenants,) if self.tenants else ()

    def beside(self, series: SeriesId, ratio: Ratio) -> Mapping[SeriesId, Ratio]:
        """As `DetectorConfig.beside`: the calls of every tenant."""
        return {replace(series, segment=(name, EACH)): ratio for name in self.apart}

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> VolumeDropScorer:
        """As `GaugeConfig.scorer`."""
        return VolumeDropScorer([c for c in configs if isinstance(c, cls)], grid)

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        rarity = f"1 in {10 ** min(evidence, 15.0):,.0f}"
        return f"over one minute up to an hour a drop as rare as {rarity}"


class VolumeDropScorer:
    """Evidence is -log10 P(so few calls or fewer), the most of four widths, less log10 4.

    Calls of `w` steps are negative binomial: mean what this time of day had in the median of seven
    days (before two days are known: the lowest hour of the history so far), variance that of
    counts, plus a quarter of the mean, squared, because days differ.
    """

    def __init__(self, configs: Sequence[VolumeDropConfig], grid: Grid) -> None:
        self._history = History(len(configs), grid)
        self._lowest = np.full(len(configs), np.inf)
        self._hours = np.zeros(len(configs))
        self._widths = [width for width in WIDTHS if width <= grid.lead]
        self._share = np.array([config.max_share for config in configs])
        self.limit = np.array([config.threshold for config in configs])

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`."""
        grid = self._history.grid
        lead, length = grid.lead, len(recent) - grid.lead
        steps = np.arange(first - self._widths[-1], first + length)
        expected = self._expected(steps)
        given = recent[lead - self._widths[-1] :]
        best = np.full((length, recent.shape[1]), -np.inf)
        for width in self._widths:
            calls, mean = (_ending(x, width, length) for x in (given, expected))
            found = _rarity(calls, mean)
            best = np.fmax(best, np.where(calls <= self._share * mean, found, 0.0))
        evidence = np.maximum(best - np.log10(len(self._widths)), 0.0)
        known = np.isfinite(recent[lead:]) & np.isfinite(expected[-length:])
        return Scored(np.where(known, evidence, np.nan), expected[-length:])

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """As `Scorer.learn`; what was judged a drop is no part of the usual."""
        with np.errstate(invalid="ignore"):
            normal = np.where(scored.evidence >= 3.0, np.nan, values)
        self._history.learn(block, normal, normal - scored.expected)
        known = np.isfinite(normal)
        mean = np.where(known, normal, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        whole = known.sum(axis=0) >= len(values) / 2
        self._lowest = np.where(whole, np.minimum(self._lowest, mean), self._lowest)
        self._hours += whole

    def _expected(self, steps: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
        shape = self._history.shape(steps)
        lowest = np.where(self._hours >= _MIN_HOURS, self._lowest, np.nan)
        return np.where(np.isfinite(shape), shape, lowest)


def _ending(values: Floats, width: int, length: int) -> Floats:
    """Sums of `width` values ending at each of the last `length` steps; NaN if one is unknown."""
    running = np.concatenate([np.zeros((1, values.shape[1])), np.nancumsum(values, axis=0)])
    gaps = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(np.isnan(values), axis=0)])
    end = np.arange(len(values) - length, len(values)) + 1
    total = running[end] - running[end - width]
    return np.where(gaps[end] - gaps[end - width] > 0, np.nan, total)


def _rarity(calls: Floats, mean: Floats) -> Floats:
    """-log10 P(N <= calls), N negative binomial; see `VolumeDropScorer`."""
    r = 1.0 / _DAYS_DIFFER**2
    known = np.isfinite(calls) & np.isfinite(mean) & (mean > 0)
    k, m = np.where(known, calls, 0.0), np.where(known, mean, 1.0)
    tail = betainc(r, np.floor(k) + 1.0, r / (r + m))
    return np.where(known, -np.log10(np.maximum(tail, 1e-300)), np.nan)


class VolumeDrop(GaugeDetector):
    """Rings when far fewer calls arrive than at this time of other days, or none.

    What: calls of the last 1, 5, 15 and 60 minutes against the median of the same time on seven
    days, under a negative binomial whose days differ by a quarter; four widths, Bonferroni. At a
    hundred calls a minute silence rings at once, at two a minute within a quarter of an hour, and
    at a handful an hour never: there, nobody can tell.

    Assumes: days resemble each other at the same hour, weekends within a factor of two.

    Misleads: on holidays, after a client moved elsewhere on purpose, and in the first two days,
    when the lowest hour so far stands for what is usual. A client that retries hides a drop. With
    `tenants`, an outage that silences one large tenant only, and nobody else, is a ticket.

    Parameters: see `VolumeDropConfig`.

    >>> grid = Grid(60)
    >>> scorer = VolumeDropConfig.scorer([VolumeDropConfig()], grid)
    >>> calls = np.random.default_rng(1).poisson(100.0, (1440 + grid.lead, 1)).astype(float)
    >>> for hour in range(24):
    ...     recent = calls[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> outage = np.vstack([calls[-grid.lead :], [[0.0]]])
    >>> bool(scorer.judge(outage, 1440).evidence[0, 0] > 6)
    True

    Paper: Hilbe, "Negative Binomial Regression" (2011), for counts whose mean wanders; Neill,
    International Journal of Forecasting 25 (2009), for several widths at once.
    """

    config = VolumeDropConfig

    def judge(self, window: HasGauges, minute: int) -> list[Verdict]:
        """As `GaugeDetector.judge`; what tenants explain that left is no page."""
        return [
            self._explained(verdict, window, minute) for verdict in super().judge(window, minute)
        ]

    def _explained(self, verdict: Verdict, window: HasGauges, minute: int) -> Verdict:
        slices = getattr(window, "slices", None)
        row = next(r for r, monitor in enumerate(self.monitors) if monitor.name == verdict.monitor)
        config = self._configs[row]
        if verdict.judgement is not Judgement.BREACH or not isinstance(slices, Slices):
            return verdict
        if not isinstance(config, VolumeDropConfig) or not config.tenants:
            return verdict
        looked = window.gauges.look(config.kind, minute, WIDTHS[-1])
        rows = [r for r in slices.rows[verdict.monitor] if slices.value(r)]
        parts = slices.gauges.look(config.kind, minute, WIDTHS[-1])
        mine = slices.gauges.columns(config.kind, rows)
        calls, expected = (
            parts.values[-WIDTHS[-1] :, mine],
            parts.scored.expected[-WIDTHS[-1] :, mine],
        )
        gone = _fell_silent(calls, expected)
        if not 1 <= len(gone) <= _MOST_GONE:
            return verdict
        rest, usual = (
            whole[-WIDTHS[-1] :, row] - np.nan_to_num(part[:, gone]).sum(axis=1)
            for whole, part in ((looked.values, calls), (looked.scored.expected, expected))
        )
        if not _is_as_usual(rest, np.maximum(usual, 0.0), config):
            return verdict
        named = [
            {"dimension": config.tenants, "value": slices.value(rows[at]),
             "expected": round(float(np.nansum(expected[:, at])), 1)}
            for at in gone
        ]  # fmt: skip
        told = " and ".join(str(one["value"]) for one in named)
        missing = sum(float(str(one["expected"])) for one in named)
        verb = "sends" if len(named) == 1 else "send"
        return replace(
            verdict,
            severity="ticket",
            reason=(
                f"{config.tenants} {told} {verb} nothing ({missing:,.0f} calls an hour expected);"
                f" all others are as usual: {rest.sum():,.0f} calls in the last hour,"
                f" {usual.sum():,.0f} expected"
            ),
            evidence={**verdict.evidence, "gone": named},
        )


def _fell_silent(calls: Floats, expected: Floats) -> list[int]:
    """Which columns of [minute, tenant] have had no call for longer than chance explains, among so
    many; the largest first."""
    silent = np.cumprod(calls[::-1] == 0, axis=0)[::-1] > 0
    missed = np.where(silent, expected, 0.0).sum(axis=0)
    least = _SURELY_GONE + np.log10(max(calls.shape[1], 1))
    rare = _rarity(np.zeros_like(missed), missed)
    found = np.flatnonzero(np.nan_to_num(rare) >= least)
    return [int(at) for at in sorted(found, key=lambda at: -missed[at])]


def _is_as_usual(calls: Floats, expected: Floats, config: VolumeDropConfig) -> bool:
    """Whether calls of the last hour, by minute, are surely there and no drop of any width."""
    if not (np.isfinite(calls).all() and np.isfinite(expected).all()):
        return False
    if expected.sum() < _LEAST_LEFT or calls.sum() <= config.max_share * expected.sum():
        return False
    return not any(
        calls[-w:].sum() <= config.max_share * expected[-w:].sum()
        and float(_rarity(calls[-w:].sum()[None], expected[-w:].sum()[None])[0])
        >= _REST_DROPS + np.log10(len(WIDTHS))
        for w in WIDTHS
    )
