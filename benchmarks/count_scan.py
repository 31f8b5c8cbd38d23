"""The count scan by traffic: false alarms a week, and errors found, beside two rules of thumb.

Services of two to twenty thousand calls a minute whose error rate wanders (a log-normal around 1 %
with a memory of half an hour) and flickers from minute to minute, so that calls are never
independent as the scan would have them. Some stay as they are for four weeks after one of
history; in the others the rate rises once, for an hour, after a week of history.

All three rules are the detectors of a server, judged minute by minute over one window: the count
scan and the z-score as their defaults and preset say, and 5 % errors over five minutes. The rules
of thumb are given every value, however few calls are behind it, as people write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri

from tocsin.assess.detectors import CountScanConfig, StaticThresholdConfig, ZScoreConfig
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LEVELS = (2, 20, 200, 2_000, 20_000)  # calls a minute
STEPS = (0.01, 0.02, 0.05, 0.2, 1.0)  # error rates of an hour; the first is no rise, but chance
USUAL, WANDERS, MEMORY_MIN, FLICKERS = 0.01, 0.4, 30.0, 0.3
CALM, EACH, WEEKS = 50, 50, 4  # series a level, series a level and step, weeks without a fault
LASTS_MIN, QUIET_MIN = 60, 60
RARE, MANY = 0.01, 100.0  # false alarms a week at the lower and the upper edge of the plot
WEEK, DAY, HOUR = 7 * 1440, 1440, 60
START = 29_000_160 // DAY * DAY
RULES: dict[str, DetectorConfig] = {
    "count_scan": CountScanConfig(),
    "over 5 % for 5 min": StaticThresholdConfig(measure="share", limit=0.05, over=5, min_calls=1),
    "3 sigma over 7 days": ZScoreConfig(measure="share", k=3.0, for_minutes=6, min_calls=1),
}
HERE = Path(__file__).resolve().parent


def run() -> dict[str, Any]:
    """False alarms of every rule at every level, and what it finds of every step, how soon."""
    found = {
        "what": "the count scan and two rules of thumb on errors of 1 % that wander",
        "false_alarms_a_week_and_service": calm(CALM, WEEKS),
        "found_within_an_hour": steps(EACH),
    }
    (HERE / "results" / "count_scan.svg").write_text(plot(found))
    return found


def calm(each: int, weeks: int) -> dict[str, Any]:
    """{calls a minute: {rule: alarms a week and service, with a 95 % Poisson interval}}."""
    fleet = _Fleet(np.repeat(LEVELS, each), np.random.default_rng(1))
    fleet.learn(WEEK)
    rang = np.zeros((len(RULES), len(LEVELS)), np.int64)
    last = np.full((len(RULES), len(LEVELS) * each), -QUIET_MIN - 1)
    for minute in range(weeks * WEEK):
        for rule, row in fleet.breaches():
            if minute - last[rule, row] > QUIET_MIN:
                rang[rule, row // each] += 1
            last[rule, row] = minute
    return {
        f"{level:,}": {
            name: _rate(int(rang[rule, place]), each * weeks) for rule, name in enumerate(RULES)
        }
        for place, level in enumerate(LEVELS)
    }


def steps(each: int) -> dict[str, Any]:
    """{calls a minute: {error rate: {rule: share found, median minutes until it rang}}}."""
    cells = [(level, step) for level in LEVELS for step in STEPS]
    fleet = _Fleet(np.repeat([level for level, _ in cells], each), np.random.default_rng(2))
    fleet.learn(WEEK)
    rises = np.repeat([step for _, step in cells], each)
    delays = np.full((len(RULES), len(rises)), np.nan)
    for minute in range(LASTS_MIN):
        for rule, row in fleet.breaches(rises):
            if np.isnan(delays[rule, row]):
                delays[rule, row] = minute + 1
    table: dict[str, Any] = {f"{level:,}": {} for level in LEVELS}
    for place, (level, step) in enumerate(cells):
        here = delays[:, place * each : (place + 1) * each]
        table[f"{level:,}"][f"{step:.0%}"] = {
            name: {
                "found": round(float(np.isfinite(here[rule]).mean()), 2),
                "delay_min": float(np.nanmedian(here[rule])) if np.isfinite(here[rule]).any()
                else None,
            }
            for rule, name in enumerate(RULES)
        }  # fmt: skip
    return table


def plot(found: dict[str, Any]) -> str:
    """False alarms a week, and the share found of every step, against calls a minute."""
    calm, steps = found["false_alarms_a_week_and_service"], found["found_within_an_hour"]
    panels = {"false alarms a week and service": {
        name: [row[name]["rate"] for row in calm.values()] for name in RULES
    }}  # fmt: skip
    for step in list(next(iter(steps.values())))[1:]:
        panels[f"found within an hour: errors rise to {step}"] = {
            name: [row[step][name]["found"] for row in steps.values()] for name in RULES
        }
    wide, high, gap = 250, 150, 50
    parts = []
    for place, (title, lines) in enumerate(panels.items()):
        left, top = gap + place % 2 * (wide + gap + 30), 30 + place // 2 * (high + 60)
        is_rate = place == 0
        parts.append(
            f'<rect x="{left}" y="{top}" width="{wide}" height="{high}" class="box"/>'
            f'<text x="{left}" y="{top - 8}" class="title">{title}</text>'
        )
        for share in (0.0, 0.5, 1.0):
            label = f"{RARE * (MANY / RARE) ** share:g}" if is_rate else f"{share:g}"
            y = top + (1.0 - share) * high
            parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" class="left">{label}</text>')
        xs = [left + (at + 0.5) / len(calm) * wide for at in range(len(calm))]
        for x, level in zip(xs, calm, strict=True):
            parts.append(f'<text x="{x:.1f}" y="{top + high + 15}" class="tick">{level}</text>')
        for number, line in reversed(list(enumerate(lines.values()))):
            shares = np.clip(line, RARE, MANY) if is_rate else np.array(line)
            shares = np.log(shares / RARE) / np.log(MANY / RARE) if is_rate else shares
            ys = (top + (1.0 - shares) * high).tolist()
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
            parts.append(f'<polyline points="{points}" class="line rule{number}"/>')
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 + number}" class="rule{number}"/>'
                for x, y in zip(xs, ys, strict=True)
            ]
    left, top = gap + len(panels) % 2 * (wide + gap + 30), 50 + len(panels) // 2 * (high + 60)
    for number, name in enumerate(RULES):
        parts.append(
            f'<circle cx="{left + 5}" cy="{top + 20 * number - 4}" r="4" class="rule{number}"/>'
            f'<text x="{left + 16}" y="{top + 20 * number}">{name}</text>'
        )
    parts.append(f'<text x="{left}" y="{top + 20 * len(RULES)}">against calls a minute</text>')
    style = (
        "text{font:11px system-ui,sans-serif;fill:#555}.title{font-weight:600}.box{fill:none;"
        "stroke:#bbb}.tick{text-anchor:middle}.left{text-anchor:end}.line{fill:none!important;"
        "stroke-width:1.5}.rule0{fill:#1763d1;stroke:#1763d1}.rule1{fill:#c2410c;stroke:#c2410c}"
        ".rule2{fill:#888;stroke:#888}"
    )
    rows = -(-(len(panels) + 1) // 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * (wide + gap + 30)} '
        f'{rows * (high + 60) + 20}"><style>{style}</style>'
        '<rect width="100%" height="100%" fill="#fff"/>' + "".join(parts) + "</svg>\n"
    )


class _Fleet:
    """Services with so many calls a minute each, and every rule on each of them."""

    def __init__(self, per_minute: npt.ArrayLike, rng: np.random.Generator) -> None:
        self._per_minute = np.asarray(per_minute, np.float64)
        self._rng = rng
        rows = len(self._per_minute)
        self._series = tuple(SeriesId(f"service-{row}", "availability") for row in range(rows))
        self._monitors = [
            Monitor(f"{rule}/{row}", "", series.service, "error_rate", "page", series,
                    Ratio("failed"), config)
            for rule, config in enumerate(RULES.values())
            for row, series in enumerate(self._series)
        ]  # fmt: skip
        self._window = Window(self._monitors)
        self._compiled = compile_monitors(self._monitors)
        self._level = rng.standard_normal(rows)
        self._turn = rng.uniform(0.0, DAY, rows)
        self._minute = START

    def learn(self, minutes: int) -> None:
        """Whole hours of history, which nobody judges."""
        for _ in range(minutes // HOUR):
            self._advance(HOUR, None)

    def breaches(self, rate: Floats | None = None) -> Sequence[tuple[int, int]]:
        """One minute more: (rule, row) of what rings. rate: of errors, instead of what is usual."""
        self._advance(1, rate)
        verdicts = judge(self._compiled, self._window, self._minute - 1)
        return [
            (int(rule), int(row))
            for verdict in verdicts
            if verdict.judgement is Judgement.BREACH
            for rule, row in [verdict.monitor.split("/")]
        ]

    def _advance(self, width: int, rate: Floats | None) -> None:
        at = self._minute + np.arange(width)[:, None]
        day = 1.0 + 0.6 * np.sin(2.0 * np.pi * (at - self._turn) / DAY)
        total = self._rng.poisson(self._per_minute * day)
        share = self._shares(width) if rate is None else np.broadcast_to(rate, total.shape)
        bad = self._rng.binomial(total, np.minimum(share, 1.0))
        self._window.advance(MinuteBlock(self._minute, self._series, bad.T, total.T))
        self._minute += width

    def _shares(self, width: int) -> Floats:
        keeps = np.exp(-1.0 / MEMORY_MIN)
        levels = np.empty((width, len(self._level)))
        for minute in range(width):
            noise = np.sqrt(1.0 - keeps**2) * self._rng.standard_normal(len(self._level))
            self._level = keeps * self._level + noise
            levels[minute] = self._level
        flicker = self._rng.gamma(FLICKERS**-2, FLICKERS**2, levels.shape)
        return np.asarray(USUAL * np.exp(WANDERS * levels - WANDERS**2 / 2.0) * flicker)


def _rate(count: int, weeks: float) -> dict[str, float]:
    """A rate with its exact 95 % interval (Garwood, 1936)."""
    low = chdtri(2 * count, 0.975) / 2.0 if count else 0.0
    high = chdtri(2 * count + 2, 0.025) / 2.0
    return {
        name: round(x / weeks, 3) for name, x in (("rate", count), ("low", low), ("high", high))
    }
