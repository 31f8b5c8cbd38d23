"""Precision, recall, delay and false alerts a week of every detector, on labelled series.

The labelled packs and the neutral scorer lie beside the checkout (`../shared/detect`, or where
BENCH_PACKS says) and are never part of it. Alerts come from the very code behind `tocsin detect`;
only the second half of each series counts, and nothing is told about its labels.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tocsin.engine.detecting import Alert, detect
from tocsin.engine.value_files import ValueSeries

HERE = Path(__file__).resolve().parent
PACKS = ("kpi", "synth", "cloudmon", "nab")
BUDGETS = (1.0, 5.0, 20.0)
COUNTED = ("precision", "recall", "delay_min", "false_per_week_all_monitors", "worst_week")


def run() -> dict[str, Any]:
    """Every pack at default settings and at every budget."""
    packs = Path(os.environ.get("BENCH_PACKS", HERE.parents[1] / "shared" / "detect"))
    if not packs.is_dir():
        return {"skipped": f"no labelled series in {packs}; BENCH_PACKS names another place"}
    alerts = _scorer(packs)
    found: dict[str, Any] = {}
    for pack in PACKS:
        series = load(packs / pack)
        settings: dict[str, float | None] = {"default": None}
        settings |= {f"budget {b:g}": b for b in BUDGETS}
        found[pack] = {
            name: _counted(alerts(str(packs / pack), fires_of(detect(series, budget=b)), b))
            for name, b in settings.items()
        }
    return {"what": "alerts of `tocsin detect` against labels it has not seen", "packs": found}


def load(pack: Path) -> list[ValueSeries]:
    """The series of a pack."""
    held = np.load(pack / "series.npz")
    names = json.loads((pack / "truth.json").read_text())
    return [
        ValueSeries(name, held[f"{name}|ts"], held[f"{name}|x"].astype(np.float64))
        for name in names
    ]


def fires_of(alerts: Iterable[Alert]) -> dict[str, list[int]]:
    """Seconds since 1970 at which each series rang, as the scorer takes them."""
    fires: dict[str, list[int]] = {}
    for alert in alerts:
        fires.setdefault(alert.series, []).append(alert.start_epoch)
    return fires


def _counted(scored: dict[str, Any]) -> dict[str, Any]:
    kept = {name: scored[name] for name in COUNTED}
    return kept | ({"within_budget": scored["within_budget"]} if "budget" in scored else {})


def _scorer(packs: Path) -> Any:
    """The neutral scorer's `alerts(pack, fires, budget)`."""
    spec = importlib.util.spec_from_file_location("neutral_scorer", packs / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.alerts
