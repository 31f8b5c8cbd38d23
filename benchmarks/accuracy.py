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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import pdtrc

from tocsin.assess.detectors import DETECTORS
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.engine.detecting import Alert, config_of, detect, detect_by
from tocsin.engine.value_files import ValueSeries

HERE = Path(__file__).resolve().parent
PACKS = ("kpi", "synth", "cloudmon", "nab")
BUDGETS = (1.0, 5.0, 20.0)
KINDS = sorted(
    kind
    for kind in DETECTORS
    if issubclass(DETECTORS[kind].config, GaugeConfig) and kind != "committee"
)
# What somebody has to state, see `as_given`; a budget means nothing on series of any unit.
STATED = {"static_threshold": {"limit": "1"}, "capacity": {"limit": "1"},
          "forecast": {"budget": "1000"}}  # fmt: skip
SIGMAS = 3.0  # above the mean of the first half: the limit that somebody would have set
COUNTED = ("precision", "recall", "delay_min", "false_per_week_all_monitors", "worst_week")
WEEK_S = 7 * 86_400


def run() -> dict[str, Any]:
    """Every pack: the committee at its default and at every budget, and every other kind."""
    packs = Path(os.environ.get("BENCH_PACKS", HERE.parents[1] / "shared" / "detect"))
    if not packs.is_dir():
        return {"skipped": f"no labelled series in {packs}; BENCH_PACKS names another place"}
    alerts = _scorer(packs)
    found: dict[str, Any] = {}
    for pack in PACKS:
        truth = json.loads((packs / pack / "truth.json").read_text())
        series = load(packs / pack)
        first = {one.name: int(truth[one.name]["test_from"]) for one in series}
        weeks = max(
            (len(one.values) - first[one.name]) * truth[one.name]["dt"] / WEEK_S for one in series
        )
        settings: dict[str, float | None] = {"default": None}
        settings |= {f"budget {b:g}": b for b in BUDGETS}
        found[pack] = {
            name: _counted(alerts(str(packs / pack), fires_of(detect(series, budget=b)), b), weeks)
            for name, b in settings.items()
        }
        for kind in KINDS:
            config = config_of(kind, STATED.get(kind, {}))
            judged = [given for one in series if (given := as_given(kind, one, first[one.name]))]
            if not judged:
                found[pack][kind] = {"skipped": "no series can be taken for counts of calls"}
                continue
            fires = fires_of(detect_by(judged, config))
            found[pack][kind] = {
                **({"series": len(judged), "of": len(series)} if len(judged) < len(series) else {}),
                **_counted(alerts(str(packs / pack), fires, None), weeks),
            }
    (HERE / "results" / "accuracy.svg").write_text(plot(found))
    return {"what": "alerts of `tocsin detect` against labels it has not seen", "packs": found}


def as_given(kind: str, series: ValueSeries, first: int) -> ValueSeries | None:
    """A series as a kind judges it, when somebody has seen its `first` values.

    For the two that need a limit, as multiples of one: three standard deviations above the mean of
    what was seen. None where there is none above 0, and for `volume_drop` what are no counts.
    """
    seen = series.values[:first][np.isfinite(series.values[:first])]
    if kind == "volume_drop":
        return series if bool(((seen >= 0) & (seen == np.round(seen))).all()) else None
    if kind not in ("static_threshold", "capacity"):
        return series
    limit = float(seen.mean() + SIGMAS * seen.std()) if len(seen) else 0.0
    return replace(series, values=series.values / limit) if limit > 0.0 else None


def plot(packs: dict[str, Any]) -> str:
    """Recall against false alerts a week (logarithmic): a panel a pack, a point a setting."""
    wide, high, gap = 300, 220, 60
    parts = []
    for place, (pack, rows) in enumerate(packs.items()):
        left, top = gap + place % 2 * (wide + 2 * gap), 30 + place // 2 * (high + 70)
        parts.append(
            f'<rect x="{left}" y="{top}" width="{wide}" height="{high}" class="box"/>'
            f'<text x="{left}" y="{top - 8}" class="title">{pack}: recall against false alerts a '
            "week</text>"
        )
        for decade in range(5):
            x = left + decade / 4 * wide
            label = f"{10**decade:,}"
            parts.append(f'<text x="{x}" y="{top + high + 16}" class="tick">{label}</text>')
        for share in (0.0, 0.5, 1.0):
            y = top + (1 - share) * high
            parts.append(f'<text x="{left - 8}" y="{y + 4}" class="left">{share:g}</text>')
        for name, row in rows.items():
            if "skipped" in row:
                continue
            false = min(max(float(row["false_per_week_all_monitors"]), 1.0), 1e4)
            x = left + np.log10(false) / 4 * wide
            y = top + (1 - float(row["recall"])) * high
            kind = "own" if name == "default" or name.startswith("budget") else "other"
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{kind}"/>'
                f'<text x="{x + 6:.1f}" y="{y - 4:.1f}" class="{kind}">{name}</text>'
            )
    style = (
        "text{font:11px system-ui,sans-serif;fill:#555}.title{font-weight:600}.box{fill:none;"
        "stroke:#bbb}.tick{text-anchor:middle}.left{text-anchor:end}circle.own{fill:#1763d1}"
        "text.own{fill:#1763d1;font-weight:600}circle.other{fill:#999}"
    )
    rows = -(-len(packs) // 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * (wide + 2 * gap)} '
        f'{rows * (high + 70) + 20}"><style>{style}</style>'
        '<rect width="100%" height="100%" fill="#fff"/>' + "".join(parts) + "</svg>\n"
    )


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


def _counted(scored: dict[str, Any], weeks: float) -> dict[str, Any]:
    kept = {name: scored[name] for name in COUNTED}
    if "budget" not in scored:
        return kept
    false, allowed = scored["false_total"], scored["budget"] * weeks
    chance = float(pdtrc(false - 1, allowed)) if false else 1.0
    return kept | {
        "false": false,
        "allowed": scored["allowed_total"],
        "p_if_budget_is_true": round(chance, 3),
        "within_budget": scored["within_budget"],
    }


def _scorer(packs: Path) -> Any:
    """The neutral scorer's `alerts(pack, fires, budget)`."""
    spec = importlib.util.spec_from_file_location("neutral_scorer", packs / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.alerts
