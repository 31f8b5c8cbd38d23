"""Drift: false alarms at every window size, power, and the price beside `evidently`.

Windows of sentence-like vectors (topics that overlap, unit length, 384 dimensions) and of numbers
and categories, against a reference of 2,000 rows. An alarm is a verdict at level 0.05. The rival is
read in the same run with its defaults: `__cache__/evidently` is its environment (`python -m venv
__cache__/evidently && __cache__/evidently/bin/pip install evidently==0.7.23 "pandas<3"`), or
BENCH_EVIDENTLY names its Python; without one it is skipped.

Times are processor times of comparing two tables that are in memory, 100,000 rows each, in one
thread: threads of a linear algebra library that wait for each other take processor time as well.
Each side has a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.assess.drift.centroid import centroid
from tocsin.assess.drift.clusters import cluster_shares
from tocsin.assess.drift.comparison import Feature, categories, numbers
from tocsin.assess.drift.energy import energy
from tocsin.engine.drift_files import drift_of_tables

Floats = npt.NDArray[np.float64]

HERE = Path(__file__).parent
RIVAL = Path(
    os.environ.get("BENCH_EVIDENTLY", HERE.parent / "__cache__" / "evidently" / "bin" / "python")
)
WINDOWS = (50, 100, 200, 500, 1000, 2000, 5000)
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2)
REFERENCE, LOOKS, ROWS, WIDTH = 2000, 200, 100_000, 384


def run() -> dict[str, Any]:
    """False alarms by window, power by share of a new topic, and processor times."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            "what": "drift of numbers, categories and embeddings",
            "looks": LOOKS,
            "false_alarms": {str(window): _false_alarms(window) for window in WINDOWS},
            "power_at_window_500": {str(share): _power(share) for share in SHARES},
            **_beside_the_rival(Path(folder)),
        }


# --- accuracy -----------------------------------------------------------------------------------


def sentences(rng: np.random.Generator, rows: int, new: float = 0.0) -> Floats:
    """Vectors of twelve topics, and a share of a thirteenth that nobody asked about before."""
    topics = np.random.default_rng(7).normal(size=(13, WIDTH))
    topic = rng.integers(0, 12, rows)
    topic[: round(new * rows)] = 12
    found = topics[topic] * 0.35 + rng.normal(size=(rows, WIDTH))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def _false_alarms(window: int) -> dict[str, float]:
    kinds: dict[str, Callable[[np.random.Generator], float | None]] = {
        "number": lambda rng: _p(
            numbers("x", rng.lognormal(5, 1, REFERENCE), rng.lognormal(5, 1, window), rng)
        ),
        "tokens": lambda rng: _p(
            numbers("x", *(rng.poisson(4, n).astype(float) for n in (REFERENCE, window)), rng)
        ),
        "category": lambda rng: _p(
            categories(
                "x", *(rng.geometric(0.1, n) % 50 for n in (REFERENCE, window)),
                [str(n) for n in range(50)], rng,
            )
        ),
        "centroid": lambda rng: centroid(
            sentences(rng, REFERENCE), sentences(rng, window), rng
        ).p,
    }  # fmt: skip
    found = {}
    for number, (name, look) in enumerate(kinds.items()):
        looks = LOOKS if name != "centroid" else LOOKS // 2
        seen = [look(np.random.default_rng([window, number, seed])) for seed in range(looks)]
        found[name] = sum(p is not None and p <= 0.05 for p in seen) / looks
    return found


def _p(feature: Feature) -> float | None:
    return feature.primary.p if feature.primary else None


def _power(share: float, looks: int = 40) -> dict[str, float]:
    alarms = {"centroid": 0, "energy": 0, "clusters": 0}
    for seed in range(looks):
        rng = np.random.default_rng([seed, round(share * 100)])
        a, b = sentences(rng, REFERENCE), sentences(rng, 500, share)
        alarms["centroid"] += centroid(a, b, rng).p <= 0.05
        alarms["energy"] += energy(a, b, rng).p <= 0.05
        alarms["clusters"] += cluster_shares(a, b, rng).measured.p <= 0.05
    return {name: count / looks for name, count in alarms.items()}


# --- price --------------------------------------------------------------------------------------


def _beside_the_rival(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    for name in ("reference", "current"):
        table = pa.table({
            **{f"n{i}": rng.lognormal(5, 1, ROWS) for i in range(10)},
            **{f"c{i}": [f"v{v}" for v in rng.integers(0, 10 + i, ROWS)] for i in range(5)},
        })  # fmt: skip
        rows = rng.standard_normal((ROWS, WIDTH), np.float32)
        pq.write_table(table, folder / f"{name}.parquet")
        np.save(folder / f"{name}.npy", rows)
    ours = _measured([sys.executable, "-m", "benchmarks.drift", str(folder)])
    if "skipped" in ours:
        raise RuntimeError(ours["skipped"])
    rival = _rival(folder)
    result = {"cpu_s": {"tocsin": ours, "evidently": rival}}
    if "skipped" not in rival:
        result["times_as_fast"] = {
            "columns": round(rival["columns"] / ours["columns"], 1),
            "embeddings_by_default": round(rival["embedding_model"] / ours["centroid"], 1),
            "embeddings_distance": round(rival["embedding_distance"] / ours["centroid"], 1),
            "embeddings_all": round(
                sum(v for k, v in rival.items() if k.startswith("embedding_"))
                / (ours["centroid"] + ours["energy"] + ours["clusters"]), 1,
            ),
        }  # fmt: skip
    return result


def own(folder: Path) -> dict[str, float]:
    """Processor seconds of our comparisons of the tables and vectors in `folder`."""
    names = ("reference", "current")
    columns = [pq.read_table(folder / f"{name}.parquet") for name in names]
    vectors = [np.load(folder / f"{name}.npy") for name in names]
    draw = np.random.default_rng(0)
    return {
        "columns": _cpu(lambda: drift_of_tables(columns[0], columns[1], Path("current"))),
        "centroid": _cpu(lambda: centroid(vectors[0], vectors[1], draw)),
        "energy": _cpu(lambda: energy(vectors[0], vectors[1], draw)),
        "clusters": _cpu(lambda: cluster_shares(vectors[0], vectors[1], draw)),
    }


def _cpu(work: Callable[[], object], rounds: int = 3) -> float:
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return round(min(spent), 3)


def _rival(folder: Path) -> dict[str, Any]:
    if not RIVAL.is_file():
        return {"skipped": f"no {RIVAL.name} with evidently; see benchmarks/drift.py"}
    return _measured([str(RIVAL), str(HERE / "drift_rival.py"), str(folder)])


def _measured(command: list[str]) -> dict[str, Any]:
    """What a process of its own prints as its last line."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" or "-m" in command}
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env | one)
    if done.returncode:
        return {"skipped": f"{command[0]} failed: {done.stderr.strip().splitlines()[-1]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(own(Path(sys.argv[1]))))
