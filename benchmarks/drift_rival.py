"""Run by evidently's own Python: its defaults over the tables of `benchmarks.drift`."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

warnings.filterwarnings("ignore")


def cpu(work: Callable[[], object], rounds: int = 2) -> float:
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            work()
        spent.append(time.process_time() - began)
    return round(min(spent), 3)


def main(folder: Path) -> None:
    import numpy as np
    import pandas as pd
    from evidently import Report, __version__
    from evidently.legacy.metrics.data_drift import embedding_drift_methods as methods
    from evidently.presets import DataDriftPreset

    before, after = (pd.read_parquet(folder / f"{n}.parquet") for n in ("reference", "current"))
    vectors = [pd.DataFrame(np.load(folder / f"{n}.npy")) for n in ("current", "reference")]
    found: dict[str, object] = {
        "version": __version__,
        "columns": cpu(lambda: Report([DataDriftPreset()]).run(after, before).dict()),
    }
    for name in ("distance", "model", "ratio"):  # mmd holds a matrix of all pairs
        method = getattr(methods, name)()
        found[f"embedding_{name}"] = cpu(lambda m=method: m(*vectors), 1)  # type: ignore[misc]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
