"""False alerts and faults found on made-up series that are unlike each other, by shape and fault.

Nothing was chosen by them but mechanisms: a shape that rings says what the committee assumes and
should not. Every shape has its own pool of series under its own budget, which is harder than a
fleet of many shapes; faults are put into one series of each shape, all under one budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.engine.detecting import detect
from tocsin.engine.value_files import ValueSeries

Floats = npt.NDArray[np.float64]
Shape = Callable[[np.random.Generator, Floats, int], Floats]

DAY = 86_400
BEGIN = 1_700_000_000 // DAY * DAY
GRIDS = ((60, 14), (300, 28), (3600, 28))  # seconds of a step, days
SERIES, BUDGET = 10, 5.0


def run() -> dict[str, Any]:
    """Of the second half of every series: the first is there to be learned."""
    return {
        "what": "alerts of `tocsin detect --budget 5` on series of many shapes",
        "false_a_week_over_10_series": {f"{step} s": _calm(step, days) for step, days in GRIDS},
        "faults_found": {f"{step} s": _faults(step, days) for step, days in GRIDS},
    }


def _calm(step_s: int, days: int) -> dict[str, float]:
    found = {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        rng = np.random.default_rng([step_s, number])
        series = [_series(f"{name}-{i}", shape, rng, step_s, days) for i in range(SERIES)]
        half = BEGIN + days * DAY // 2
        alerts = sum(alert.start_epoch >= half for alert in detect(series, budget=BUDGET))
        found[name] = alerts / (days / 14)
    return found


def _faults(step_s: int, days: int) -> dict[str, Any]:
    found = {}
    for number, (name, fault) in enumerate(FAULTS.items()):
        rng = np.random.default_rng([step_s, 1000 + number])
        series, windows = [], {}
        for shape_name, shape in SHAPES.items():
            one = _series(shape_name, shape, rng, step_s, days)
            at = int(len(one.values) * rng.uniform(0.6, 0.9))
            stop = fault(rng, one.values, at, step_s)
            windows[shape_name] = range(BEGIN + at * step_s, BEGIN + (stop + 1) * step_s)
            series.append(one)
        half = BEGIN + days * DAY // 2
        rang = [a for a in detect(series, budget=BUDGET) if a.start_epoch >= half]
        hits = {a.series for a in rang if a.start_epoch in windows[a.series]}
        false = sum(a.start_epoch not in windows[a.series] for a in rang)
        found[name] = {
            "found": round(len(hits) / len(SHAPES), 2),
            "false_a_week": false / (days / 14),
            "missed": sorted(set(SHAPES) - hits),
        }
    return found


def _series(
    name: str, shape: Shape, rng: np.random.Generator, step_s: int, days: int
) -> ValueSeries:
    seconds = BEGIN + step_s * np.arange(days * DAY // step_s)
    return ValueSeries(name, seconds, shape(rng, seconds.astype(np.float64), step_s))


# --- shapes -------------------------------------------------------------------------------------


def _hanging(rng: np.random.Generator, count: int, keeps: float) -> Floats:
    """Standard normals, each of which keeps so much of the one before."""
    found = np.zeros(count)
    noise = np.sqrt(1.0 - keeps**2) * rng.standard_normal(count)
    for i in range(1, count):
        found[i] = keeps * found[i - 1] + noise[i]
    return found


def _day(rng: np.random.Generator, seconds: Floats) -> Floats:
    turn = 2.0 * np.pi * (seconds % DAY) / DAY + rng.uniform(0.0, 2.0 * np.pi)
    return np.asarray(1.0 + 0.5 * np.sin(turn) + 0.15 * np.sin(2.0 * turn))


def _week(rng: np.random.Generator, seconds: Floats) -> Floats:
    weekend = seconds // DAY % 7 >= 5
    return np.asarray(_day(rng, seconds) * np.where(weekend, 0.6, 1.0))


def _counts(per_minute: float) -> Shape:
    def shape(rng: np.random.Generator, seconds: Floats, step_s: int) -> Floats:
        rate = per_minute * step_s / 60.0 * _day(rng, seconds)
        return rng.poisson(rate).astype(np.float64)

    return shape


def _levels(rng: np.random.Generator, seconds: Floats, step_s: int) -> Floats:
    values = 100.0 + 5.0 * rng.standard_normal(len(seconds))
    values += 25.0 * np.cumsum(
        rng.standard_normal(len(seconds)) * (rng.random(len(seconds)) < step_s / (5 * DAY))
    )
    return values


def _job(rng: np.random.Generator, seconds: Floats, step_s: int) -> Floats:
    values = 20.0 + rng.standard_normal(len(seconds))
    values[(seconds - rng.integers(DAY)) % DAY < max(step_s, 1800)] += 60.0
    return values


def _bursts(rng: np.random.Generator, seconds: Floats, step_s: int) -> Floats:
    values = 20.0 + rng.standard_normal(len(seconds))
    values[rng.random(len(seconds)) < 4.0 * step_s / DAY] += 300.0
    return values


def _holes(rng: np.random.Generator, seconds: Floats, step_s: int) -> Floats:
    values = 1000.0 * _day(rng, seconds) + 30.0 * rng.standard_normal(len(seconds))
    values[rng.random(len(seconds)) < 0.1] = np.nan
    for begin in rng.integers(0, len(seconds), 10).tolist():
        values[begin : begin + 6 * 3600 // step_s] = np.nan
    return values


SHAPES: Mapping[str, Shape] = {
    "flat": lambda rng, t, _: 100.0 + 5.0 * rng.standard_normal(len(t)),
    "hanging together": lambda rng, t, _: 100.0 + 5.0 * _hanging(rng, len(t), 0.95),
    "daily": lambda rng, t, _: 1000.0 * _day(rng, t) + 30.0 * rng.standard_normal(len(t)),
    "weekly": lambda rng, t, _: 1000.0 * _week(rng, t) + 30.0 * rng.standard_normal(len(t)),
    "2 a minute": _counts(2.0),
    "20,000 a minute": _counts(20_000.0),
    "log-normal": lambda rng, t, _: np.exp(5.0 + 0.5 * rng.standard_normal(len(t))),
    "Student, 3 degrees": lambda rng, t, _: 200.0 + 10.0 * rng.standard_t(3, len(t)),
    "Pareto 2.5": lambda rng, t, _: 50.0 * (1.0 + rng.pareto(2.5, len(t))),
    "percent, mostly 100": lambda rng, t, _: np.clip(
        99.8 + 0.4 * rng.standard_normal(len(t)), 0, 100
    ),
    "mostly 0": lambda rng, t, _: rng.exponential(5.0, len(t)) * (rng.random(len(t)) < 0.02),
    "constant": lambda _rng, t, _: np.full(len(t), 7.0),
    "below 0": lambda rng, t, _: -50.0 + 20.0 * _day(rng, t) + 3.0 * rng.standard_normal(len(t)),
    "rising": lambda rng, t, _: 100.0 + 3.0 * (t - t[0]) / DAY + 5.0 * rng.standard_normal(len(t)),
    "new levels": _levels,
    "whole numbers": lambda rng, t, _: np.round(3.0 + 0.7 * rng.standard_normal(len(t))),
    "gaps": _holes,
    "a job each night": _job,
    "square wave": lambda _rng, t, _: np.where(t % DAY < 9 * 3600, 80.0, 20.0),
    "bursts at any time": _bursts,
}


# --- faults: each changes values from `at` on in place, and says where it ends ------------------


def _stop(at: int, seconds: int, step_s: int) -> int:
    return at + max(seconds // step_s, 3)


def _spread(values: Floats, at: int) -> float:
    return float(np.nanstd(values[:at])) + 1.0


def _spike(_: np.random.Generator, values: Floats, at: int, step_s: int) -> int:
    stop = _stop(at, 600, step_s)
    values[at:stop] += 6.0 * _spread(values, at)
    return stop


def _step(_: np.random.Generator, values: Floats, at: int, step_s: int) -> int:
    stop = _stop(at, 6 * 3600, step_s)
    values[at:stop] += 4.0 * _spread(values, at)
    return stop


def _dropout(_: np.random.Generator, values: Floats, at: int, step_s: int) -> int:
    stop = _stop(at, 3600, step_s)
    values[at:stop] = 0.0
    return stop


def _leak(_: np.random.Generator, values: Floats, at: int, step_s: int) -> int:
    stop = _stop(at, 12 * 3600, step_s)
    values[at:stop] += np.linspace(0.0, 6.0, len(values[at:stop])) * _spread(values, at)
    return stop


def _unrest(rng: np.random.Generator, values: Floats, at: int, step_s: int) -> int:
    stop = _stop(at, 3 * 3600, step_s)
    noise = rng.standard_normal(len(values[at:stop]))
    values[at:stop] += 4.0 * _spread(values, at) * noise
    return stop


def _another_time(_: np.random.Generator, values: Floats, at: int, step_s: int) -> int:
    stop, half = _stop(at, 6 * 3600, step_s), DAY // 2 // step_s
    values[at:stop] = values[at - half : at - half + len(values[at:stop])]
    return stop


FAULTS: Mapping[str, Callable[[np.random.Generator, Floats, int, int], int]] = {
    "spike of 10 minutes": _spike,
    "step of 6 hours": _step,
    "0 for an hour": _dropout,
    "rise over 12 hours": _leak,
    "unrest of 3 hours": _unrest,
    "6 hours of another time of day": _another_time,
}
