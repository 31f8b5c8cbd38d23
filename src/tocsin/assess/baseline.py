"""What is usual: the share of bad calls of each series over a week, and how unsteady it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.assess.ring import MINUTES_PER_HOUR, Counts, Rows
from tocsin.assess.scan import LATEST, WIDTHS, Bools, Floats, Limits, scan

HOURS_PER_DAY = 24
BASELINE_DAYS = 7
LEARN_AFTER = 15  # minutes after an hour's end before it is learned
MIN_CALLS = 200
MIN_HOURS = 6

# An hour's minutes are left out when their counts are this surprising against the hours before
# them (-log10 p), so that an incident does not become part of what is usual. Wide windows need
# less: what smoulders is told after an hour or more, and by then is what it would be compared with.
_UNUSUAL = Limits(
    threshold=np.where(np.array(WIDTHS) <= LATEST, 5.0, 3.0)[:, None, None],
    min_bad=3,
    min_ratio=1.5,
)
# A new normal: after a whole day of mostly unusual hours the old baseline is given up.
_GIVE_UP_HOURS = 24
# Prior of the over-dispersion: the failure rate of a service wanders by 70 % of itself.
_PRIOR_WANDER = 0.5
_PRIOR_RHO_MAX = 0.02
_PRIOR_WEIGHT = 5.0
# Minutes before an hour that windows ending in it reach back to, and minutes after it whose windows
# are looked at: more are not there yet when it is learned.
BEFORE, AFTER = max(WIDTHS) - 1, LATEST - 1
_N, _K, _NN, _NK, _KK = range(5)


@dataclass(frozen=True, slots=True)
class Usual:
    """The baseline of some rows: rate [row], rho [width, row], calls [row], hours [row]."""

    rate: Floats
    rho: Floats
    calls: Floats
    hours: npt.NDArray[np.int64]

    @property
    def is_known(self) -> Bools:
        """Whether a row has seen enough calls over enough hours to be judged."""
        return np.asarray((self.calls >= MIN_CALLS) & (self.hours >= MIN_HOURS), np.bool_)

    def at_least(self, floor: npt.ArrayLike) -> Usual:
        """The same with no rate below `floor`."""
        return Usual(np.maximum(self.rate, floor), self.rho, self.calls, self.hours)

    def of(self, rows: Rows) -> Usual:
        """The same for some rows only."""
        return Usual(self.rate[rows], self.rho[:, rows], self.calls[rows], self.hours[rows])


class Baseline:
    """Sufficient statistics of a beta-binomial per row, over the last seven to eight days.

    Hours are learned one by one, fifteen minutes after they end. Sums of n, k, n^2, n k and k^2
    over blocks of each width of the scan give the rate and, by moments, the correlation of calls
    within a block at each width: a rate that wanders slowly is as unsteady over twelve minutes as
    over one, one that flickers is not. `version` changes whenever an hour was learned.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.version = 0
        self._days = np.zeros((BASELINE_DAYS + 1, len(WIDTHS), 5, rows), np.float64)
        self._sums = np.zeros(self._days.shape[1:], np.float64)
        self._day_hours = np.zeros((BASELINE_DAYS + 1, rows), np.int64)
        self._hours = np.zeros(rows, np.int64)
        self._unusual_hours = np.zeros(rows, np.int64)
        self._day = 0

    def begin(self, minute: int) -> None:
        """Forget everything; the first minute to be learned is `minute` or later."""
        for held in (self._days, self._sums, self._day_hours, self._hours, self._unusual_hours):
            held[:] = 0
        self._day = minute // (MINUTES_PER_HOUR * HOURS_PER_DAY)
        self.version += 1

    def learn(self, hour: int, cumulative: Counts, prior: Usual) -> tuple[Bools, Bools]:
        """Learn one hour; says for which rows it was normal, and which rows begin anew with it.

        cumulative: running totals [131, (bad, total), row] after each minute from an hour before
        the hour to the eleventh after it. prior: what was usual before; rows it does not know
        learn everything.
        """
        unusual = _unusual_minutes(cumulative, prior)
        minutes = np.diff(cumulative[BEFORE : BEFORE + MINUTES_PER_HOUR + 1], axis=0)
        busy = minutes[:, 1] > 0
        normal = 2 * (busy & unusual).sum(axis=0) <= busy.sum(axis=0)
        self._unusual_hours = np.where(normal, 0, self._unusual_hours + 1)
        anew = self._unusual_hours >= _GIVE_UP_HOURS
        self._turn_to(hour // HOURS_PER_DAY)
        if anew.any():
            self._forget(anew)
            unusual = unusual & ~anew
            normal = normal | anew
        self._add(minutes, ~unusual)
        self.version += 1
        return np.asarray(normal, np.bool_), np.asarray(anew, np.bool_)

    def usual(
        self,
        prior_rate: npt.ArrayLike = 0.5,
        prior_calls: npt.ArrayLike = 1.0,
        rows: Rows | None = None,
    ) -> Usual:
        """What is usual now, of all rows or of some, seen with a prior worth `prior_calls` calls.

        The default is Jeffreys' prior. rho holds the over-dispersion and the uncertainty of the
        rate itself, so that k of n under it is the predictive distribution.
        """
        sums = self._sums if rows is None else self._sums[..., rows]
        hours = self._hours if rows is None else self._hours[rows]
        n, k = sums[0, _N], sums[0, _K]
        weight = np.asarray(prior_calls, np.float64)
        rate = (k + weight * np.asarray(prior_rate, np.float64)) / (n + weight)
        rho = _over_dispersion(sums, rate, hours)
        widest = sums[-1]
        per_block = widest[_NN] / np.maximum(widest[_N], 1.0)
        effective = n / (1.0 + np.maximum(per_block - 1.0, 0.0) * rho[-1])
        return Usual(rate, rho + 1.0 / (effective + weight + 1.0), n.copy(), hours.copy())

    def _add(self, minutes: Counts, kept: Bools) -> None:
        today = self._days[self._day % len(self._days)]
        for index, width in enumerate(WIDTHS):
            shape = (MINUTES_PER_HOUR // width, width)
            whole = kept.reshape(*shape, self.rows).all(axis=1)
            blocks = minutes.reshape(*shape, 2, self.rows).sum(axis=1)
            n = np.where(whole, blocks[:, 1], 0).astype(np.float64)
            k = np.where(whole, blocks[:, 0], 0).astype(np.float64)
            added = np.stack(
                [n.sum(axis=0), k.sum(axis=0)]
                + [(a * b).sum(axis=0) for a, b in ((n, n), (n, k), (k, k))]
            )
            today[index] += added
            self._sums[index] += added
        had_calls = ((minutes[:, 1] > 0) & kept).any(axis=0)
        self._day_hours[self._day % len(self._days)] += had_calls
        self._hours += had_calls

    def _turn_to(self, day: int) -> None:
        while self._day < day:
            self._day += 1
            slot = self._day % len(self._days)
            self._days[slot] = 0.0
            self._day_hours[slot] = 0
            # Summed anew rather than subtracted, so that no rounding error can pile up.
            self._sums = self._days.sum(axis=0)
            self._hours = self._day_hours.sum(axis=0)

    def _forget(self, rows: Bools) -> None:
        self._days[..., rows] = 0.0
        self._sums[..., rows] = 0.0
        self._day_hours[:, rows] = 0
        self._hours[rows] = 0
        self._unusual_hours[rows] = 0


def _over_dispersion(sums: Floats, rate: Floats, hours: npt.NDArray[np.int64]) -> Floats:
    """Moment estimate of rho [width, row], drawn to a prior by how much it rests on.

    The information is the expected number of pairs of bad calls in one block, and half the
    number of hours: below either the estimate is noise. Hours, not blocks, because a rate that
    wanders takes hours to do so, and a short history has seen little of it.
    """
    p = sums[:, _K] / np.maximum(sums[:, _N], 1.0)
    variance = p * (1.0 - p)
    pairs = np.maximum(sums[:, _NN] - sums[:, _N], 0.0)
    spread = sums[:, _KK] - 2.0 * p * sums[:, _NK] + p * p * sums[:, _NN]
    excess = spread - variance * sums[:, _N]
    raw = np.divide(excess, variance * pairs, out=np.zeros_like(p), where=variance * pairs > 0)
    expected = p * p * pairs / 2.0
    information = expected * hours / np.maximum(hours + 2.0 * expected, 1e-9)
    odds = np.minimum(rate, 0.5) / np.maximum(1.0 - rate, 0.5)
    prior = np.minimum(_PRIOR_WANDER * odds, _PRIOR_RHO_MAX)
    shrunk = (information * raw + _PRIOR_WEIGHT * prior) / (information + _PRIOR_WEIGHT)
    return np.asarray(np.clip(shrunk, 0.0, 0.3), np.float64)


def _unusual_minutes(cumulative: Counts, prior: Usual) -> Bools:
    """Which minutes [60, row] of the hour belong to a window of surprising counts."""
    marked = np.zeros((MINUTES_PER_HOUR, cumulative.shape[2]), np.bool_)
    known = prior.is_known
    if not known.any():
        return marked
    ends = MINUTES_PER_HOUR + AFTER
    first = BEFORE + 1
    counts = np.stack(
        [
            cumulative[first : first + ends] - cumulative[first - w : first - w + ends]
            for w in WIDTHS
        ]
    )
    found = scan(counts[:, :, 0], counts[:, :, 1], prior.rate, prior.rho[:, None], _UNUSUAL)
    if not found.is_breach.any():
        return marked
    breach = np.zeros((len(WIDTHS), ends, cumulative.shape[2]), np.bool_)
    breach[found.breaching] = True
    breach &= known
    for index, width in enumerate(WIDTHS):
        for later in range(width):
            ended = breach[index, later : later + MINUTES_PER_HOUR]
            marked[: len(ended)] |= ended
    return marked
