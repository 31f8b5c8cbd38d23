"""Which slice: how often the named one is the labelled one, and what naming it costs.

The labelled cases and their scorer are not ours and are not in the repository: `BENCH_PACKS` names
the directory that has `score.py` and `rca/` (beside the checkout: `../shared/detect`). RS cases are
incidents of a video service, errors and requests by minute before and after; they are told the
minute of the incident. B0 cases are real and predicted amounts. Nothing here is tuned by case.

Times are processor times of naming the slices, without reading the file.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tocsin.assess.breakdown.additive import causes
from tocsin.assess.breakdown.cells import Cells, Where
from tocsin.assess.breakdown.ratio import Counts, suspects

PACKS = Path(os.environ.get("BENCH_PACKS", Path(__file__).parents[2] / "shared" / "detect"))
CELLS = 20_000
SIZES = (20, 20, 10, 5)

Named = Sequence[dict[str, str]]


def run() -> dict[str, Any]:
    """Accuracy on the labelled cases, if they are there, and the cost of 20,000 cells."""
    return {
        "what": "root cause: the slice that explains a breach",
        "cases": _labelled(),
        f"ms_for_{CELLS}_cells": _speed(),
    }


def _labelled() -> dict[str, Any]:
    if not (PACKS / "score.py").is_file():
        return {"skipped": "the labelled cases are not here: set BENCH_PACKS"}
    truth = json.loads((PACKS / "rca" / "truth.json").read_text())
    scorer = _module(PACKS / "score.py")
    answers: dict[str, Named] = {}
    ms: dict[str, list[float]] = {"rs": [], "b0": []}
    for name, case in truth.items():
        columns = _columns(PACKS / "rca" / f"{name}.csv.gz")
        ask = _ratio(columns, case["at"]) if "at" in case else _amount(columns)
        began = time.process_time()
        found = ask()
        ms[name[:2]].append(1000 * (time.process_time() - began))
        answers[name] = [dict(where) for where in found]
    scores = scorer.rca(str(PACKS / "rca"), answers)
    b0 = [score["f1"] for name, score in scores.items() if name.startswith("b0")]
    return {
        "rs_top1": scores["rs"]["top1"],
        "rs_f1": scores["rs"]["f1"],
        "b0_f1": round(float(np.mean(b0)), 3),
        "b0_f1_by_setting": {n: s["f1"] for n, s in scores.items() if n.startswith("b0")},
        "cases": {"rs": len(ms["rs"]), "b0": len(ms["b0"])},
        "median_ms": {name: round(float(np.median(spent)), 2) for name, spent in ms.items()},
    }


def _ratio(columns: dict[str, Any], at: int) -> Callable[[], list[Where]]:
    minute = np.array(columns.pop("ts"), np.int64)
    bad, total = (np.array(columns.pop(name), float) for name in ("errors", "requests"))
    now, then = minute == at, minute < at
    cells = Cells.of(columns)
    counts = Counts(bad * now, total * now, bad * then, total * then)
    return lambda: [suspect.where for suspect in suspects(cells, counts)]


def _amount(columns: dict[str, Any]) -> Callable[[], list[Where]]:
    actual, expected = (np.array(columns.pop(name), float) for name in ("real", "predict"))
    cells = Cells.of(columns)
    return lambda: [cause.where for cause in causes(cells, actual, expected)]


def _speed() -> dict[str, float]:
    """Median processor time of 20 runs over a full grid of 20,000 cells of four dimensions."""
    rng = np.random.default_rng(7)
    codes = np.unravel_index(np.arange(CELLS), SIZES)
    cells = Cells.of({f"d{i}": [str(v) for v in column] for i, column in enumerate(codes)})
    total = rng.poisson(20, CELLS).astype(float)
    broken = (codes[0] == 3) & (codes[2] == 4)
    bad = rng.binomial(total.astype(int), np.where(broken, 0.4, 0.01)).astype(float)
    usual = rng.poisson(80, CELLS).astype(float)
    usual_bad = rng.binomial(usual.astype(int), 0.01).astype(float)
    expected = rng.lognormal(3, 1, CELLS)
    actual = expected * rng.lognormal(0, 0.05, CELLS) * np.where(broken, 2.0, 1.0)
    counts = Counts(bad, total, usual_bad, usual)
    return {
        "ratio": _median_ms(lambda: suspects(cells, counts)),
        "amount": _median_ms(lambda: causes(cells, actual, expected)),
    }


def _median_ms(work: Callable[[], object], rounds: int = 20) -> float:
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - began))
    return round(float(np.median(spent)), 2)


def _columns(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt", newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, zip(*rows, strict=True), strict=True))


def _module(path: Path) -> ModuleType:
    import sys

    sys.path.insert(0, str(path.parent))  # the scorer imports its neighbour
    try:
        spec = importlib.util.spec_from_file_location("neutral_score", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
