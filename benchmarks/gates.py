"""How often gates are wrong when one looks after every batch, beside a z-test that does the same.

Every run is a candidate and a baseline with known error rates, 25 requests each a minute, looked at
every minute. After a twentieth of them the process is restarted: what a gate remembers goes
through JSON and back.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import ndtri

from tocsin.assess.gates.evidence import Sums
from tocsin.assess.gates.gate import Batch, Gate, Metric, Running, advance, judge
from tocsin.assess.gates.memory import recalled, remembered

SEEDS, LOOKS, PER_LOOK, MARGIN = 2000, 800, 25, 0.01
PAIRS = {"equal": (0.02, 0.02), "worse by the margin": (0.02, 0.03), "2 % to 5 %": (0.02, 0.05)}
GATE = Gate((Metric("errors", MARGIN, critical=True),), max_minutes=LOOKS)


def run() -> dict[str, Any]:
    """Both methods on the same requests."""
    return {
        "what": "verdicts in per cent of runs; looks after every 25 requests an arm",
        "seeds": SEEDS,
        "margin": MARGIN,
        "runs": {name: compare(*rates) for name, rates in PAIRS.items()},
    }


def compare(baseline: float, candidate: float) -> dict[str, Any]:
    """One pair of error rates."""
    ours: Counter[str] = Counter()
    naive: Counter[str] = Counter()
    units = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        counts = rng.binomial(PER_LOOK, [candidate, baseline], (LOOKS, 2))
        verdict, looks = gated(counts)
        ours[verdict] += 1
        units.append(looks * PER_LOOK)
        naive[z_tested(counts)] += 1
    return {
        "tocsin": shares(ours),
        "tocsin_requests_per_arm": round(float(np.mean(units))),
        "z_test": shares(naive),
    }


def gated(counts: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[str, int]:
    """Our gate, restarted on the way. Returns the verdict and after how many looks."""
    running = Running()
    for look, batch in enumerate(batches(counts)):
        if look == LOOKS // 20:
            running = restarted(running)
        running = advance(GATE, running, batch)
        result = judge(GATE, running)
        if result.is_final:
            return result.verdict, look + 1
    return result.verdict, LOOKS


def batches(counts: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[Batch]:
    for minute, (c, b) in enumerate(counts.tolist()):
        yield Batch(minute, {"errors": (Sums(PER_LOOK, c, c), Sums(PER_LOOK, b, b))})


def restarted(running: Running) -> Running:
    """What is left after a restart."""
    return recalled(json.loads(json.dumps(remembered(running))))


def z_tested(counts: np.ndarray[Any, np.dtype[np.int64]]) -> str:
    """The textbook: fail when worse at 5 %, pass when the interval lies below the margin."""
    n = PER_LOOK * np.arange(1, LOOKS + 1)
    p = counts.cumsum(axis=0) / n[:, None]
    d = p[:, 0] - p[:, 1]
    sd = np.sqrt((p * (1 - p)).sum(axis=1) / n)
    z = -ndtri(0.025)
    ready = n >= 200
    failed, passed = ready & (d > z * sd) & (sd > 0), ready & (d + z * sd < MARGIN) & (sd > 0)
    first = [int(np.argmax(x)) if x.any() else math.inf for x in (failed, passed)]
    if first == [math.inf, math.inf]:
        return "inconclusive"
    return "fail" if first[0] <= first[1] else "pass"


def shares(found: Counter[str]) -> dict[str, float]:
    """Per cent by verdict."""
    return {name: round(100 * count / SEEDS, 2) for name, count in sorted(found.items())}
