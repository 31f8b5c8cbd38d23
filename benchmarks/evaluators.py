"""What cheap evaluators and a few labels say about answers that people have judged already.

RefChecker: 1,310 answers of seven models, each with the share of its claims that people found
entailed; good is 80 % or more. Its passages are not in the file, so that what other models answered
to the same question, under the same conditions, stands in for them: agreement with others, not
groundedness in a source. HaluEval: 3,002 answers of one model with people's "hallucinated: yes or
no" and no documents at all, so that groundedness cannot be judged; the question stands in, which
makes a judge that knows nothing, on purpose.

Simulated: a graded judge that is right far more often, a tenth of the users judged ten times as
often and worse served, so that what is judged and what is labelled are both uneven samples.

A run on the files draws 1,000 answers with repetition, judges them, lets people label some as the
page offers them, and asks whether the 95 % interval holds the share of good answers of the file.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.stats import beta, rankdata

from tocsin.assess.calibration import Estimate, Sample, agreement, even, post_stratified
from tocsin.intake.evaluator import CannotJudge
from tocsin.intake.evaluators.groundedness import GroundednessConfig, covered
from tocsin.store.evaluations import LEAST_WORTH

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RUNS, CALLS, LABELS = 500, 1000, (50, 100, 200)
USUAL = GroundednessConfig()
GOOD = 0.8  # share of the claims that are entailed

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def run() -> dict[str, Any]:
    """Both files; what is not there is said."""
    return {
        "what": "coverage of 95 % intervals in per cent of runs, and their median width in points",
        "runs": RUNS,
        "calls": CALLS,
        "simulated": {labels: simulated(labels) for labels in LABELS},
        "refchecker": measured(*refchecker()) if _path("refchecker_human") else "not there",
        "halueval": measured(*halueval()) if _path("halueval_general") else "not there",
    }


def measured(score: Floats, good: Bools) -> dict[str, Any]:
    """One file, judged by the evaluator as it is set by default."""
    passes = score >= USUAL.grounded
    rng = np.random.default_rng(20)
    by_labels = {}
    for labels in LABELS:
        found = [one_run(rng, score, good, labels) for _ in range(RUNS)]
        by_labels[labels] = {
            name: _summary([f[name] for f in found])
            for name in ("judge alone", "people alone", "judge and people")
        }
    sides = [(float(good[s].sum()), float(s.sum())) for s in (passes, ~passes)]
    whole = agreement(Sample(float(passes.mean()), good.size, *sides))
    return {
        "answers": good.size,
        "good": round(float(good.mean()), 3),
        "judge_passes": round(float(passes.mean()), 3),
        "auc": round(auc(score, good), 3),
        "kappa": [round(n, 2) for n in (whole.kappa, whole.low, whole.high)],
        "by_labels": by_labels,
    }


def simulated(labels: int) -> dict[str, Any]:
    """Of 20,000 answers: with the weights that are recorded, and without them."""
    rng = np.random.default_rng(labels)
    found: dict[str, list[tuple[bool, float]]] = {"weighted": [], "unweighted": []}
    for _ in range(RUNS):
        gold = rng.random(20_000) < 0.1
        good = rng.random(gold.size) < np.where(gold, 0.8, 0.95)
        score = np.clip(rng.normal(np.where(good, 0.85, 0.35), 0.2), 0.0, 1.0)
        truth, chance = good.mean(), np.where(gold, 0.5, 0.05)
        judged = rng.random(good.size) < chance
        good, score, chance = good[judged], score[judged], chance[judged]
        passes, worth = score >= 0.5, _worth(score, 0.5)
        mine = _labelled(rng, worth, labels)
        sides = (mine & passes, mine & ~passes)
        for name, first, second in (
            ("weighted", 1 / chance, 1 / (chance * worth)),
            ("unweighted", np.ones(good.size), np.ones(good.size)),
        ):
            k, n = _even(passes, first)
            both = post_stratified(
                Sample(k / n, n, *(_even(good[s], second[s]) for s in sides)), draws=1000
            )
            found[name].append((bool(both.low <= truth <= both.high), both.high - both.low))
    return {name: _summary(runs) for name, runs in found.items()}


def one_run(
    rng: np.random.Generator, score: Floats, good: Bools, labels: int
) -> dict[str, tuple[bool, float]]:
    """Whether the interval holds the truth, and its width: of the judge alone, of people alone (an
    even draw), and of both (drawn as the page offers them)."""
    truth = good.mean()
    drawn = rng.integers(0, good.size, CALLS)
    score, good = score[drawn], good[drawn]
    passes = score >= USUAL.grounded
    worth = _worth(score, USUAL.grounded)
    mine = _labelled(rng, worth, labels)
    sides = [_even(good[s], 1 / worth[s]) for s in (mine & passes, mine & ~passes)]
    both = post_stratified(Sample(float(passes.mean()), CALLS, *sides), draws=1000)
    plain = good[rng.choice(CALLS, labels, replace=False)]
    intervals = {
        "judge alone": _share(int(passes.sum()), CALLS),
        "people alone": _share(int(plain.sum()), labels),
        "judge and people": both,
    }
    return {n: (bool(i.low <= truth <= i.high), i.high - i.low) for n, i in intervals.items()}


def refchecker() -> tuple[Floats, Bools]:
    """Scores, and what people say."""
    rows = [r for r in _rows("refchecker_human") if r["faithfulness"] is not None]
    others = defaultdict(list)
    for row in rows:
        others[row["setting"], row["example_id"]].append(row)
    pairs = []
    for row in rows:
        same = others[row["setting"], row["example_id"]]
        sources = [one["response"] for one in same if one["model"] != row["model"]]
        score = _score(row["response"], sources)
        if score is not None:
            pairs.append((score, row["faithfulness"] >= GOOD))
    return _arrays(pairs)


def halueval() -> tuple[Floats, Bools]:
    """Scores, and what people say."""
    pairs = []
    for row in _rows("halueval_general"):
        score = _score(row["response"], [row["user_query"]])
        if score is not None:
            pairs.append((score, not row["hallucinated"]))
    return _arrays(pairs)


def auc(score: Floats, good: Bools) -> float:
    """How often a good answer scores above a bad one; ties count half."""
    ranks, n = rankdata(score), int(good.sum())
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * (good.size - n)))


def _worth(score: Floats, least: float) -> Floats:
    """With which probability an answer is offered, as the page does it."""
    sure = 1 - (score - least) / (1 - least)
    return np.where(score >= least, np.maximum(LEAST_WORTH, sure), 1.0)


def _labelled(rng: np.random.Generator, worth: Floats, labels: int) -> Bools:
    """Which answers people label, from the top of an even order of what is offered."""
    queue = np.flatnonzero(rng.random(worth.size) < worth)
    mine = np.zeros(worth.size, bool)
    mine[rng.permutation(queue)[:labels]] = True
    return mine


def _even(good: Bools, weight: Floats) -> tuple[float, float]:
    return even(float(weight[good].sum()), float(weight.sum()), float((weight**2).sum()))


def _summary(runs: list[tuple[bool, float]]) -> dict[str, float]:
    return {
        "covers": round(100 * float(np.mean([covers for covers, _ in runs])), 1),
        "width": round(100 * float(np.median([width for _, width in runs])), 1),
    }


def _share(k: int, n: int) -> Estimate:
    low, high = beta.ppf((0.025, 0.975), k + 0.5, n - k + 0.5)
    return Estimate(k / n, float(low), float(high))


def _score(text: str, sources: list[str]) -> float | None:
    try:
        return covered(text, sources, USUAL.covered)[0]
    except CannotJudge:
        return None


def _arrays(pairs: list[tuple[float, bool]]) -> tuple[Floats, Bools]:
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def _path(name: str) -> Path | None:
    path = DATA / f"{name}.parquet"
    return path if path.exists() else None


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(DATA / f"{name}.parquet").to_pylist()
    return rows
