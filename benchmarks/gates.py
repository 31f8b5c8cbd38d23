"""How often gates are wrong when one looks after every batch, beside a z-test that does the same.

Every run is a candidate and a baseline with known error rates, 25 requests each a minute, looked at
every minute. After a twentieth of them the process is restarted: what a gate remembers goes
through JSON and back.

And one experiment of which people said what is true: answers of seven models with the right
passages, with passages among others, and with none (RefChecker's human labels, where
`../shared/data` has them): the share of an answer's claims that are entailed, five answers a
minute and arm in an order of their own.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.special import ndtri

from tocsin.assess.gates.evidence import Sums
from tocsin.assess.gates.gate import Batch, Gate, Metric, Running, advance, judge
from tocsin.assess.gates.memory import recalled, remembered

SEEDS, LOOKS, PER_LOOK, MARGIN = 2000, 800, 25, 0.01
PAIRS = {"equal": (0.02, 0.02), "worse by the margin": (0.02, 0.03), "2 % to 5 %": (0.02, 0.05)}
GATE = Gate((Metric("errors", MARGIN, critical=True),), max_minutes=LOOKS)
ANSWERS = Path(__file__).resolve().parents[2] / "shared" / "data" / "refchecker_human.parquet"
ORDERS, A_MINUTE = 1000, 5
FAITHFUL = Gate(
    (Metric("faithfulness", 0.03, is_rate=False, bad="lower", critical=True),),
    least_units=100, max_minutes=LOOKS,
)  # fmt: skip


def run() -> dict[str, Any]:
    """Both methods on the same requests."""
    return {
        "retrieval": degraded() if ANSWERS.exists() else "not there",
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


def degraded() -> dict[str, Any]:
    """Retrieval that got worse, and one that did not: two halves of the same answers."""
    rows = pq.read_table(ANSWERS).to_pylist()
    by: dict[str, list[float]] = {}
    for row in rows:
        if row["faithfulness"] is not None:
            by.setdefault(row["setting"], []).append(row["faithfulness"])
    right = np.array(by["accurate_context"])
    found = {
        name: _experiment(right, np.array(by[setting]))
        for name, setting in (("passages among others", "noisy_context"), ("none", "zero_context"))
    }
    return {"orders": ORDERS, "margin": 0.03, "the same": _experiment(right, None), **found}


def _experiment(
    right: np.ndarray[Any, np.dtype[np.float64]],
    other: np.ndarray[Any, np.dtype[np.float64]] | None,
) -> dict[str, Any]:
    """Verdicts over orders of the answers. other: None for halves of the same."""
    verdicts: Counter[str] = Counter()
    needed = []
    for seed in range(ORDERS):
        rng = np.random.default_rng(seed)
        baseline = rng.permutation(right)
        if other is None:
            candidate, baseline = np.array_split(baseline, 2)
        else:
            candidate = rng.permutation(other)
        running, result = Running(), judge(FAITHFUL, Running())
        for minute in range(min(len(candidate), len(baseline)) // A_MINUTE):
            part = slice(minute * A_MINUTE, (minute + 1) * A_MINUTE)
            arms = {"faithfulness": (_sums(candidate[part]), _sums(baseline[part]))}
            running = advance(FAITHFUL, running, Batch(minute, arms))
            result = judge(FAITHFUL, running)
            if result.is_final:
                break
        verdicts[result.verdict] += 1
        needed.append(result.units[0])
    return {
        "verdicts": {name: round(100 * n / ORDERS, 1) for name, n in sorted(verdicts.items())},
        "answers_per_arm": round(float(np.mean(needed))),
    }


def _sums(values: np.ndarray[Any, np.dtype[np.float64]]) -> Sums:
    return Sums(len(values), float(values.sum()), float((values * values).sum()))


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
