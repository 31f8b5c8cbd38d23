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
# -log10 p from which a score is taken for an incident. Not learned, it would be news for ever,
# however often it came; learned as it is, one of them would hide the next. So each counts once in a
# while, as a score that is merely rare.
NOT_LEARNED = 5.0
_LEARNED_AS = 4.0


class Peaks:
    """Tail probabilities of non-negative scores [kind, series], each in its own history.

    Counts per logarithmic bucket (9 % wide), halved as often as the caller says, hold the history
    in constant memory. Above the 98th percentile, lower where that leaves fewer than thirty peaks,
    a generalised Pareto distribution is fitted by probability-weighted moments. Its shape is never
    below 1 / peaks, the tail of a prediction from so many exponential ones: a bounded tail would
    call everything beyond its end equally impossible and lose all ranking, and thirty peaks do not
    know what happens once in a billion. Where all scores but one are as good as 0, another is as
    rare as the history is long (Laplace's rule of succession), and no rarer.

    quiet: steps of which one at most counts as an incident.

    Paper: Hosking and Wallis, "Parameter and quantile estimation for the generalized Pareto
    distribution", Technometrics 29 (1987); Siffer et al., "Anomaly detection in streams with
    extreme value theory", KDD 2017.
    """

    def __init__(self, kinds: int, rows: int, quiet: int) -> None:
        self._counts = np.zeros((kinds, rows, _BUCKETS), np.float32)
        self._survival = np.zeros((kinds, rows, _BUCKETS), np.float32)
        self._start = np.zeros((kinds, rows))
        self._share = np.ones((kinds, rows))
        self._shape = np.ones((kinds, rows))
        self._scale = np.ones((kinds, rows))
        self._total = np.zeros((kinds, rows))
        self._most = np.full((kinds, rows), np.inf)
        self._quiet = quiet
        self._since = np.full((kinds, rows), quiet)

    def evidence(self, scores: Floats) -> Floats:
        """-log10 of the probability of a score at least as high; scores [kind, step, row].

        NaN where a series has fewer than sixty scores, or the score is NaN.
        """
        s = np.minimum(np.where(np.isfinite(scores), scores, 0.0), _EDGES[-1])
        place = _bucket(s)
        kinds, rows = self._start.shape
        k, r = np.arange(kinds)[:, None, None], np.arange(rows)
        body = self._survival[k, r, place]
        start, scale, shape = (x[:, None] for x in (self._start, self._scale, self._shape))
        excess = np.maximum(s - start, 0.0) / scale
        tail = np.log1p(shape * excess) / shape / np.log(10.0)
        tail = np.minimum(tail - np.log10(self._share)[:, None], self._most[:, None])
        found = np.where(s >= start, tail, body)
        known = np.isfinite(scores) & (self._total[:, None] >= MIN_SCORES)
        return np.where(known, found, np.nan)

    def learn(self, scores: Floats, evidence: Floats, half_lives: float) -> None:
        """Count scores [kind, step, row] that took so many half-lives, incidents once each, and fit
        every tail anew."""
        known = np.isfinite(scores)
        rare = known & (evidence >= NOT_LEARNED)
        first = self._incidents(rare)
        scores = np.where(first, self._score_at(_LEARNED_AS)[:, None], scores)
        kept = known & (~rare | first)
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

    def _incidents(self, rare: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The first step [kind, step, row] of those that are an incident and not the same one."""
        self._since += rare.shape[1]
        counts = rare.any(axis=1) & (self._since >= self._quiet)
        self._since[counts] = 0
        return np.asarray(rare & (np.cumsum(rare, axis=1) == 1) & counts[:, None])

    def _score_at(self, evidence: float) -> Floats:
        """The score of so much evidence [kind, row], at least where the tail begins."""
        tenfolds = np.maximum(evidence + np.log10(self._share), 0.0)
        excess = np.expm1(self._shape * tenfolds * np.log(10.0)) / self._shape
        return np.asarray(self._start + self._scale * excess)

    def _fit(self, some: slice) -> None:
        counts = self._counts[:, some]
        above = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
        total = np.asarray(above[..., 0], np.float64)
        wanted = np.maximum(_TAIL * total, np.minimum(_LEAST_PEAKS, 0.5 * total))
        first = (above > wanted[..., None]).sum(axis=-1)
        first = np.minimum(first, _BUCKETS - 1)
        # To the lowest peak, as nothing is known between it and the body, or to the highest score.
        later = (counts > 0) & (np.arange(_BUCKETS) >= first[..., None])
        highest = np.maximum((above > 0).sum(axis=-1) - 1, 0)
        first = np.where(later.any(axis=-1), later.argmax(axis=-1), highest)
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
            least = np.minimum(1.0 / np.maximum(peaks, 1e-9), 0.95)
            scale = np.where(shape > 0.0, 2.0 * mean * lower / spread, mean)
        usable = (peaks > 0) & (spread > 0) & np.isfinite(shape) & np.isfinite(scale)
        has_scale = (first > 0) & (peaks >= 2.0)
        # One bucket's width where all peaks lie together.
        width = start * (2.0 ** (1.0 / _PER_OCTAVE) - 1.0) + _EDGES[1]
        self._shape[:, some] = np.maximum(np.where(usable, shape, 0.0), least)
        self._most[:, some] = np.where(has_scale, np.inf, np.log10(total + 1.0))
        self._scale[:, some] = np.maximum(np.where(usable, scale, width), width / 8.0)
        self._start[:, some], self._total[:, some] = start, total
        self._share[:, some] = np.maximum(peaks, 1.0) / np.maximum(total, 1.0)
        share = (above - counts / 2.0) / np.maximum(total, 1.0)[..., None]
        self._survival[:, some] = -np.log10(np.clip(share, 1e-12, 1.0))


def _bucket(scores: Floats) -> npt.NDArray[np.intp]:
    place = np.floor((np.log2(np.maximum(scores, 1e-12)) - _LOWEST) * _PER_OCTAVE)
    return np.clip(place, 0, _BUCKETS - 1).astype(np.intp)
