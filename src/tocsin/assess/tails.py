"""Exact tail probabilities of counts: how surprising are k bad calls out of n."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc, betaln, gammaln, ndtr

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LN10 = float(np.log(10.0))
_HEAD = 64  # terms summed one by one before the rest of the tail is integrated
_FIRST_PANEL = 24.0  # widest first panel of that integral, in counts
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_RHO_MIN, _RHO_MAX = 1e-8, 1.0 / 3.0  # up to 1/3 the mixing density has at most one pole
_NEGLIGIBLE = np.log(1e-8)
_STEP, _FROM, _TO = 0.25, -4.0, 9.0  # of standard deviations: how a log-normal rate is summed up


def surprise(
    bad: npt.ArrayLike, total: npt.ArrayLike, rate: npt.ArrayLike, rho: npt.ArrayLike
) -> Floats:
    """-log10 P(K >= bad), K beta-binomial with mean `rate` and intra-minute correlation `rho`.

    Elementwise over broadcast arguments. rho is clipped to [1e-8, 1/3]; towards 0 the distribution
    becomes the binomial. The first 64 terms of the tail are summed, the rest integrated between
    half-integers (midpoint rule read backwards), so the cost does not grow with n. The
    result is right to 1e-4.
    """
    k, n, p, r = (
        np.asarray(x, np.float64).ravel() for x in np.broadcast_arrays(bad, total, rate, rho)
    )
    shape = np.broadcast_shapes(*(np.shape(x) for x in (bad, total, rate, rho)))
    r = np.clip(r, _RHO_MIN, _RHO_MAX)
    p = np.clip(p, 1e-12, 1.0 - 1e-12)
    alpha, beta = p * (1.0 - r) / r, (1.0 - p) * (1.0 - r) / r
    # Below the mean, and where the mass piles up at n, one minus the lower tail is the smooth sum.
    below = (k <= n * p) & (alpha >= 2.0)
    flip = (k > 0) & (k <= n) & (below | ((beta < 1.0) & (alpha >= 1.0)))
    log_tail = _log_upper_tail(
        np.where(flip, n - k + 1.0, k),
        n,
        np.where(flip, beta, alpha),
        np.where(flip, alpha, beta),
    )
    with np.errstate(divide="ignore"):
        log_tail = np.where(flip, np.log1p(-np.exp(np.minimum(log_tail, -1e-16))), log_tail)
    log_tail = np.where(k <= 0, 0.0, log_tail)
    return np.asarray(np.maximum(-log_tail / _LN10, 0.0).reshape(shape), np.float64)


def surprise_if_log_normal(
    bad: npt.ArrayLike, total: npt.ArrayLike, rate: npt.ArrayLike, rho: npt.ArrayLike
) -> Floats:
    """-log10 P(K >= bad) as `surprise` has it, but of calls whose rate is log-normal.

    Mean and variance of the rate are those of the beta-binomial; its tail is heavier, which counts
    where calls are many and the rate, not chance, decides. Elementwise, of one-dimensional
    arguments of one shape; right to 0.1 up to 16.
    """
    k, n, p, r = (np.asarray(x, np.float64) for x in (bad, total, rate, rho))
    p = np.clip(p, 1e-12, 1.0 - 1e-12)
    sigma = np.sqrt(np.log1p(np.clip(r, _RHO_MIN, _RHO_MAX) * (1.0 - p) / p))
    # Many calls make the tail a step in the rate; an edge lies on it, so that none is cut in two.
    step = (np.log(np.maximum(k - 0.5, 0.5) / np.maximum(n, 1.0) / p) + sigma**2 / 2.0) / sigma
    edges = np.arange(_FROM, _TO + _STEP, _STEP) + np.mod(step, _STEP)[:, None]
    weight = ndtr(-edges[:, :-1]) - ndtr(-edges[:, 1:])
    weight[:, 0] += ndtr(edges[:, 0])
    middle = (edges[:, :-1] + edges[:, 1:]) / 2.0
    spread = sigma[:, None]
    each = np.minimum(p[:, None] * np.exp(spread * middle - spread**2 / 2.0), 1.0)
    tail = bdtrc(np.floor(k)[:, None] - 1.0, n.astype(np.int64)[:, None], each)
    total_tail = (weight * tail).sum(axis=1) + ndtr(-edges[:, -1])
    found = np.where(k <= 0, 0.0, -np.log10(np.clip(total_tail, 1e-300, 1.0)))
    return np.asarray(found, np.float64)


def _log_pmf(x: Floats, n: Floats, alpha: Floats, beta: Floats) -> Floats:
    """Logarithm of the beta-binomial probability, extended smoothly between integers."""
    choose = gammaln(n + 1.0) - gammaln(x + 1.0) - gammaln(n - x + 1.0)
    return np.asarray(choose + betaln(x + alpha, n - x + beta) - betaln(alpha, beta), np.float64)


def _log_upper_tail(k: Floats, n: Floats, alpha: Floats, beta: Floats) -> Floats:
    """Natural log of P(K >= k), where the terms from k on fall or are smooth."""
    possible = k <= n
    start = np.minimum(k, n)
    j = start[:, None] + np.arange(_HEAD)
    last = n[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.log((last - j) / (j + 1.0)) + np.log(
            (alpha[:, None] + j) / (beta[:, None] + last - j - 1.0)
        )
    # Term j+1 from term j; beyond n there are no terms.
    step = np.where(j < last, step, -np.inf)
    head = np.concatenate([np.zeros((len(k), 1)), np.cumsum(step[:, :-1], axis=1)], axis=1)
    summed = _log_sum(head)
    total = _log_pmf(start, n, alpha, beta) + summed
    left = np.log(np.maximum(n - start, 1.0)) + head[:, -1] - summed
    longer = np.flatnonzero(possible & (n - k >= _HEAD) & (left > _NEGLIGIBLE))
    if longer.size:
        rest = _log_integral(start[longer], n[longer], alpha[longer], beta[longer])
        total[longer] = np.logaddexp(total[longer], rest)
    return np.where(possible, np.minimum(total, 0.0), -np.inf)


def _log_sum(logs: Floats) -> Floats:
    """Log of the sum of exponentials along the last axis, each row with a finite term."""
    largest = logs.max(axis=-1)
    total: Floats = largest + np.log(np.exp(logs - largest[..., None]).sum(axis=-1))
    return total


def _log_integral(k: Floats, n: Floats, alpha: Floats, beta: Floats) -> Floats:
    """Log of the sum of terms k+64 … n as an integral, on panels that double in width."""
    low = k + _HEAD - 0.5
    length = n + 0.5 - low
    panels = int(max(np.ceil(np.log2(length.max() / _FIRST_PANEL)), 1))
    growth = (np.exp2(np.arange(panels + 1)) - 1.0) / (2.0**panels - 1.0)
    edges = low[:, None] + length[:, None] * growth
    half = np.diff(edges, axis=1)[:, :, None] / 2.0
    middle = (edges[:, :-1, None] + edges[:, 1:, None]) / 2.0
    x = np.minimum(middle + half * _NODES, n[:, None, None])
    shape = (len(k), 1, 1)
    log_f = _log_pmf(x, n.reshape(shape), alpha.reshape(shape), beta.reshape(shape))
    return _log_sum((log_f + np.log(half * _WEIGHTS)).reshape(len(k), -1))
