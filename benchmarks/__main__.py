"""Run the benchmarks and write their results: `python -m benchmarks [name …]`.

Every benchmark is a function without arguments that returns what it measured; its results are
written to `benchmarks/results/<name>.json` with the machine and the versions they came from.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import (
    accuracy,
    alerts,
    budgets,
    count_scan,
    detectors,
    drift,
    evaluators,
    gates,
    growth,
    ingest,
    outage,
    paging,
    paths,
    redaction,
    reports,
    rival,
    rootcause,
    sdk,
    slo,
    soak,
    unlike,
)

BENCHMARKS = {
    "accuracy": accuracy.run,
    "detectors": detectors.run,
    "ingest": ingest.run,
    "rival": rival.run,
    "paths": paths.run,
    "growth": growth.run,
    "soak": soak.run,
    "paging": paging.run,
    "alerts": alerts.run,
    "sdk": sdk.run,
    "redaction": redaction.run,
    "gates": gates.run,
    "rootcause": rootcause.run,
    "drift": drift.run,
    "slo": slo.run,
    "unlike": unlike.run,
    "count_scan": count_scan.run,
    "budgets": budgets.run,
    "outage": outage.run,
    "evaluators": evaluators.run,
    "reports": reports.run,
}
RESULTS = Path(__file__).with_name("results")


def machine() -> dict[str, object]:
    """Where the numbers come from."""
    return {
        "python": platform.python_version(),
        "chdb": version("chdb"),
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "system": platform.system(),
    }


def known(value: Any) -> Any:
    """A result as JSON can say it: what is not a number is null, not NaN."""
    if isinstance(value, dict):
        return {name: known(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(names: list[str]) -> int:
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    RESULTS.mkdir(exist_ok=True)
    for name in names or list(BENCHMARKS):
        where = machine()
        found = BENCHMARKS[name]()
        where["load_after"] = os.getloadavg()[0]
        result = {"benchmark": name, "machine": where, **found}
        text = json.dumps(known(result), indent=2, allow_nan=False) + "\n"
        (RESULTS / f"{name}.json").write_text(text)
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
