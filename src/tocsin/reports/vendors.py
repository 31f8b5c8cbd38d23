"""Providers and models held against each other at the same work, and against what they promised.

Traffic differs: who gets the long prompts looks slow. Every measure is therefore standardised
directly: computed per stratum (workload, and for answered calls the size of prompt and answer),
and mixed by the shares that all compared vendors together have. A stratum counts when every one of
them has enough calls in it; how much of the traffic that is, is `coverage`. A vendor whose work is
too unlike that of the others is not compared, and says so.

A call that failed reports no tokens, so that failures are compared per workload only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from scipy.special import chdtri, ndtri

LEAST = 20  # calls of a stratum, in every compared vendor
ENOUGH = 50  # calls of a vendor
COVERED = 0.5  # share of the calls that a comparison should rest on: the odd ones are left out
ALIKE = 0.1  # and the least that it has to: with less there is none

Stratum = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Strand:
    """Calls of one vendor in one stratum of one workload.

    workload: the service. sizes: buckets of prompt and answer, () of calls that reported none.
    eligible: calls the vendor answers for, the caller's own errors left out; failed: those it did
    not answer; limited: those it refused for their rate. log_*: sums of natural logarithms of the
    time to the first token and of the whole, in seconds, of answered calls, with their squares.
    """

    vendor: str
    workload: str
    sizes: tuple[int, ...]
    eligible: int = 0
    failed: int = 0
    limited: int = 0
    first_n: int = 0
    first_log: float = 0.0
    first_log2: float = 0.0
    whole_n: int = 0
    whole_log: float = 0.0
    whole_log2: float = 0.0
    priced: int = 0
    cost: float = 0.0
    cost2: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One vendor in a comparison. value, low, high: None where it is not compared; `why` says it.

    calls: of it, that are counted at all. raw: the same without standardising.
    """

    vendor: str
    calls: int
    value: float | None
    low: float | None
    high: float | None
    raw: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure over all vendors, the best first, those that are not compared last.

    coverage: share of the compared vendors' calls that lie in strata that count. strata: how many.
    """

    measure: str
    standings: tuple[Standing, ...]
    coverage: float
    strata: int


@dataclass(frozen=True, slots=True)
class _Sample:
    """n values with their mean and the variance of one; of counts, the mean is a share."""

    n: int
    mean: float
    variance: float


def compare(strands: Sequence[Strand]) -> tuple[Comparison, ...]:
    """Every measure: share of failed and of refused calls, seconds to the first token and in all
    (geometric means), dollars a call."""
    return (
        _shares("failed", strands, lambda s: s.failed),
        _shares("limited", strands, lambda s: s.limited),
        _means("first_token", strands, _logs("first"), math.exp),
        _means("duration", strands, _logs("whole"), math.exp),
        _means("cost", strands, _costs, float),
    )


def standardised_interval(
    counts: Sequence[tuple[int, int, float]], confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of a directly standardised share of counts (events, calls, weight).

    M. P. Fay and E. J. Feuer, "Confidence intervals for directly standardized rates: a method based
    on the gamma distribution", Statistics in Medicine 16 (1997); it holds for few events and none.
    Weights add up to 1.
    """
    per = [(x, w / n) for x, n, w in counts]
    rate = sum(x * w for x, w in per)
    variance = sum(x * w * w for x, w in per)
    largest = max(w for _, w in per)
    tail = (1 - confidence) / 2
    low = 0.0
    if rate > 0:
        low = variance / (2 * rate) * float(chdtri(2 * rate**2 / variance, 1 - tail))
    above, spread = rate + largest, variance + largest**2
    high = spread / (2 * above) * float(chdtri(2 * above**2 / spread, tail))
    return low, min(high, 1.0)


# --- private -----------------------------------------------------------------------------------


Samples = Mapping[str, Mapping[Stratum, _Sample]]  # vendor -> stratum -> what was measured


def _logs(which: str) -> Callable[[Strand], _Sample | None]:
    def read(s: Strand) -> _Sample | None:
        n = getattr(s, f"{which}_n")
        return _moments(n, getattr(s, f"{which}_log"), getattr(s, f"{which}_log2")) if n else None

    return read


def _costs(s: Strand) -> _Sample | None:
    return _moments(s.priced, s.cost, s.cost2) if s.priced else None


def _moments(n: int, total: float, squares: float) -> _Sample:
    mean = total / n
    variance = max(squares / n - mean * mean, 0.0) * n / (n - 1) if n > 1 else 0.0
    return _Sample(n, mean, variance)


def _shares(name: str, strands: Sequence[Strand], count: Callable[[Strand], int]) -> Comparison:
    sums: dict[str, dict[Stratum, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for s in strands:
        cell = sums[s.vendor][(s.workload,)]
        cell[0] += count(s)
        cell[1] += s.eligible
    samples = {
        vendor: {key: _Sample(n, x / n, 0.0) for key, (x, n) in cells.items() if n}
        for vendor, cells in sums.items()
    }

    def of(vendor: str, weights: Mapping[Stratum, float]) -> tuple[float, float, float]:
        cells = sums[vendor]
        value = sum(w * cells[key][0] / cells[key][1] for key, w in weights.items())
        return (value, *standardised_interval([(*cells[k], w) for k, w in weights.items()]))  # type: ignore[misc]

    return _compared(name, samples, of, float)


def _means(
    name: str,
    strands: Sequence[Strand],
    read: Callable[[Strand], _Sample | None],
    back: Callable[[float], float],
) -> Comparison:
    samples: dict[str, dict[Stratum, _Sample]] = defaultdict(dict)
    for s in strands:
        found = read(s)
        if found is not None and s.sizes:
            samples[s.vendor][(s.workload, *map(str, s.sizes))] = found

    def of(vendor: str, weights: Mapping[Stratum, float]) -> tuple[float, float, float]:
        cells = samples[vendor]
        value = sum(w * cells[key].mean for key, w in weights.items())
        error = math.sqrt(sum(w * w * cells[k].variance / cells[k].n for k, w in weights.items()))
        reach = float(ndtri(0.975)) * error
        return back(value), max(back(value - reach), 0.0), back(value + reach)

    return _compared(name, samples, of, back)


def _compared(
    name: str,
    samples: Samples,
    of: Callable[[str, Mapping[Stratum, float]], tuple[float, float, float]],
    back: Callable[[float], float],
) -> Comparison:
    calls = {vendor: sum(s.n for s in cells.values()) for vendor, cells in samples.items()}
    why = {vendor: f"{n} calls, {ENOUGH} are needed" for vendor, n in calls.items() if n < ENOUGH}
    chosen = [vendor for vendor in sorted(samples) if vendor not in why]
    if len(chosen) < 2:
        why |= dict.fromkeys(chosen, "there is no other to compare it with")
        chosen = []
    shared, coverage = _shared(samples, chosen)
    while len(chosen) > 2 and coverage < COVERED:
        # Whoever's work is most unlike that of the others makes room for a comparison of these.
        odd = max(chosen, key=lambda v: (_shared(samples, [c for c in chosen if c != v])[1], v))
        why[odd] = "its work is too unlike that of the others"
        chosen = [vendor for vendor in chosen if vendor != odd]
        shared, coverage = _shared(samples, chosen)
    if chosen and coverage < ALIKE:
        said = f"only {coverage:.0%} of their work is alike" if shared else "no work in common"
        why |= dict.fromkeys(chosen, f"{said}, with {LEAST} calls of each")
        chosen, shared = [], ()
    pooled = {key: sum(samples[v][key].n for v in chosen) for key in shared}
    whole = sum(pooled.values())
    weights = {key: n / whole for key, n in pooled.items()}
    found = [Standing(v, calls[v], *of(v, weights), _raw(samples[v], back)) for v in chosen]
    found.sort(key=lambda s: (s.value or 0.0, s.vendor))
    left = [
        Standing(v, calls[v], None, None, None, _raw(samples[v], back), why[v]) for v in sorted(why)
    ]
    return Comparison(name, (*found, *left), coverage if chosen else 0.0, len(shared))


def _shared(samples: Samples, vendors: Sequence[str]) -> tuple[tuple[Stratum, ...], float]:
    """Strata of which all `vendors` have enough, and the share of their calls that lie in them."""
    if not vendors:
        return (), 0.0
    common = set.intersection(
        *({key for key, s in samples[v].items() if s.n >= LEAST} for v in vendors)
    )
    inside = sum(samples[v][key].n for v in vendors for key in common)
    return tuple(sorted(common)), inside / sum(s.n for v in vendors for s in samples[v].values())


def _raw(cells: Mapping[Stratum, _Sample], back: Callable[[float], float]) -> float:
    n = sum(s.n for s in cells.values())
    return back(sum(s.mean * s.n for s in cells.values()) / n)


# --- what was promised --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tier:
    """`percent` of the fee is owed when the availability lies below `below`."""

    below: float
    percent: float


@dataclass(frozen=True, slots=True)
class Terms:
    """What a provider promised, in the provider's own way of counting.

    committed: availability, a share. slot_minutes: availability is counted in slots of time, of
    which one is bad when more than `bad_share` of its calls failed; 0 counts calls. least: slots
    with fewer calls are not counted. fee_usd: of a period, None takes what its calls cost.
    """

    name: str
    title: str
    provider: str
    committed: float
    credits: tuple[Tier, ...]
    slot_minutes: int = 0
    bad_share: float = 0.0
    least: int = 1
    fee_usd: float | None = None
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Contract:
    """An agreement over one of its periods [since, until).

    is_over: False while the period still runs. bad, total: slots or calls. low, high: the exact
    interval of the availability, None of slots, which hang together. credit_percent: by the point
    value, as contracts count. fee_usd: what credits are a share of. incomplete: why calls of the
    period may be missing, which leaves all of it unknown, or "".
    """

    terms: Terms
    since: datetime
    until: datetime
    is_over: bool
    bad: int
    total: int
    calls: int
    low: float | None
    high: float | None
    fee_usd: float | None
    fee_from: str
    incomplete: str = ""

    @property
    def availability(self) -> float | None:
        """As the contract counts it; None when nothing was counted, or not all of it."""
        return 1 - self.bad / self.total if self.total and not self.incomplete else None

    @property
    def credit_percent(self) -> float | None:
        """The largest credit whose limit was missed; 0 when none was, None when unknown."""
        if self.availability is None:
            return None
        missed = [t.percent for t in self.terms.credits if self.availability < t.below]
        return max(missed, default=0.0)

    @property
    def owed_usd(self) -> float | None:
        """The credit in money, None when the fee or the credit is unknown."""
        if self.credit_percent is None or (self.fee_usd is None and self.credit_percent):
            return None
        return (self.fee_usd or 0.0) * self.credit_percent / 100


def availability_of(slots: Iterable[tuple[int, int]], terms: Terms) -> tuple[int, int]:
    """(bad, total) of (failed, calls) per slot, or of all calls when terms count these."""
    bad = total = 0
    for failed, calls in slots:
        if terms.slot_minutes == 0:
            bad, total = bad + failed, total + calls
        elif calls >= terms.least:
            bad, total = bad + (failed > terms.bad_share * calls), total + 1
    return bad, total
