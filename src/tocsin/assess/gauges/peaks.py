"""How rare a score is in the history of its own series: peaks over a threshold, in buckets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_PER_OCTAVE = 8
_LOWEST = -3.0  # log2 of the lowest score told apart
_BUCKETS = 160  # up to 2^17
_EDGES = np.exp2(_LOWEST + np.arange(_BUCKETS) / _PER_OCTAVE)
_EDGES[0] = 0.0
_MIDDLES = np.exp2(_LOWEST + (np.arange(_BUCKETS) + 0.5) / _PER_OCTAVE)
_MIDDLES[0] = _EDGES[1] / 2.0
_TAIL, _LEAST_PEAKS = 0.02, 30.0
MIN_SCORES = 60.0
_AT_ONCE = 500  # series fitted together: what that takes stays in the processor's cache
NOT_LEARNED = 5.0  # -log10 p above which a score is taken for an incident and not learned


class Peaks:
    """Tail probabilities of non-negative scores [kind, series], each in its own history.

    Counts per logarithmic bucket (9 % wide), halved as often as the caller says, hold the history
    in constant memory. Above the 98th percentile, lower where that leaves fewer than thirty peaks,
    a generalised Pareto distribution is fitted by probability-weighted moments. Its shape is never
    below 0: a bounded tail would call everything beyond its end equally impossible and lose all
    ranking.

    Paper: Hosking and Wallis, "Parameter and quantile estimation for the generalized Pareto
    distribution", Technometrics 29 (1987); Siffer et al., "Anomaly detection in streams with
    extreme value theory", KDD 2017.
    """

    def __init__(self, kinds: int, rows: int) -> None:
        self._counts = np.zeros((kinds, rows, _BUCKETS), np.float32)
        self._survival = np.zeros((kinds, rows, _BUCKETS), np.float32)
        self._start = np.zeros((kinds, rows))
        self._share = np.ones((kinds, rows))
        self._shape = np.zeros((kinds, rows))
        self._scale = np.ones((kinds, rows))
        self._total = np.zeros((kinds, rows))

    def evidence(self, scores: Floats) -> Floats:
        """-log10 of the probability of a score at least as high; scores [kind, step, row].

        NaN where a series has fewer than sixty scores, or the score is NaN.
        """
        s = np.where(np.isfinite(scores), scores, 0.0)
        place = _bucket(s)
        kinds, rows = self._start.shape
        k, r = np.arange(kinds)[:, None, None], np.arange(rows)
        body = self._survival[k, r, place]
        start, scale, shape = (x[:, None] for x in (self._start, self._scale, self._shape))
        excess = np.maximum(s - start, 0.0) / scale
        heavy = np.log1p(shape * excess) / np.maximum(shape, 1e-9)
        tail = np.where(shape > 1e-6, heavy, excess) / np.log(10.0)
        found = np.where(s >= start, tail - np.log10(self._share)[:, None], body)
        known = np.isfinite(scores) & (self._total[:, None] >= MIN_SCORES)
        return np.where(known, found, np.nan)

    def learn(self, scores: Floats, evidence: Floats, half_lives: float) -> None:
        """Count scores [kind, step, row] that took so many half-lives, without those that were
        incidents, and fit every tail anew."""
        kept = np.isfinite(scores) & ~(evidence >= NOT_LEARNED)
        rows = self._start.shape[1]
        self._counts *= np.float32(0.5**half_lives)
        k, _, r = np.nonzero(kept)
        flat = (k * rows + r) * _BUCKETS + _bucket(scores[kept])
        size = self._counts.size
        if len(flat) * 8 > size:
            added = np.bincount(flat, minlength=size).reshape(self._counts.shape)
            self._counts += added.astype(np.float32)
        else:
            np.add.at(self._counts.reshape(-1), flat, np.float32(1.0))
        for begin in range(0, rows, _AT_ONCE):
            self._fit(slice(begin, begin + _AT_ONCE))

    def _fit(self, some: slice) -> None:
        counts = self._counts[:, some]
        above = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
        total = np.asarray(above[..., 0], np.float64)
        wanted = np.maximum(_TAIL * total, np.minimum(_LEAST_PEAKS, 0.5 * total))
        first = (above > wanted[..., None]).sum(axis=-1)
        first = np.minimum(first, _BUCKETS - 1)
        start = _EDGES[first]
        peaks = np.take_along_axis(above, first[..., None], axis=-1)[..., 0].astype(np.float64)
        inside = np.arange(_BUCKETS) >= first[..., None]
        weight = np.where(inside, counts, 0.0)
        excess = np.maximum(_MIDDLES - start[..., None], 0.0)
        rank = (above - counts / 2.0) / np.maximum(peaks, 1e-9)[..., None]
        mean = (weight * excess).sum(axis=-1) / np.maximum(peaks, 1e-9)
        lower = (weight * excess * rank).sum(axis=-1) / np.maximum(peaks, 1e-9)
        spread = mean - 2.0 * lower
        with np.errstate(divide="ignore", invalid="ignore"):
            shape = np.clip(2.0 - mean / spread, 0.0, 0.95)
            scale = np.where(shape > 0.0, 2.0 * mean * lower / spread, mean)
        usable = (peaks > 0) & (spread > 0) & np.isfinite(shape) & np.isfinite(scale)
        # One bucket's width where all peaks lie together.
        width = start * (2.0 ** (1.0 / _PER_OCTAVE) - 1.0) + _EDGES[1]
        self._shape[:, some] = np.where(usable, shape, 0.0)
        self._scale[:, some] = np.maximum(np.where(usable, scale, width), width / 8.0)
        self._start[:, some], self._total[:, some] = start, total
        self._share[:, some] = np.maximum(peaks, 1.0) / np.maximum(total, 1.0)
        share = (above - counts / 2.0) / np.maximum(total, 1.0)[..., None]
        self._survival[:, some] = -np.log10(np.clip(share, 1e-12, 1.0))


def _bucket(scores: Floats) -> npt.NDArray[np.intp]:
    place = np.floor((np.log2(np.maximum(scores, 1e-12)) - _LOWEST) * _PER_OCTAVE)
    return np.clip(place, 0, _BUCKETS - 1).astype(np.intp)
