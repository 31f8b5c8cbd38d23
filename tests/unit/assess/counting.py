"""Builders for counts: series, monitors, blocks, and a window driven minute by minute."""

from __future__ import annotations

import numpy as np

from tocsin.assess.burn import presets
from tocsin.assess.detectors import CountScanConfig, PaceShiftConfig
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Guards, Monitor, Objective
from tocsin.assess.window import Window
from tocsin.domain.buckets import LATENCY, PACE, pace_us
from tocsin.domain.findings import Verdict
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

START = 29_000_160  # an epoch minute at midnight UTC
DAY = 1440
MONTH = 30 * DAY


def series(count: int = 1) -> tuple[SeriesId, ...]:
    return tuple(SeriesId(f"service-{i}", "availability") for i in range(count))


def objective(name: SeriesId, target: float = 0.99, period: int = MONTH, **more) -> Monitor:
    guards = more.pop("guards", Guards())
    steps = more.pop("steps", None) or presets(period)
    return Monitor(
        name=f"slo/{name.service}",
        title=f"{name.service} availability",
        service=name.service,
        signal="error_rate",
        severity="page",
        series=name,
        ratio=Ratio("failed"),
        method=Objective(target, period, steps, guards),
        labels={"team": "ai"},
    )


def scanner(name: SeriesId, **settings) -> Monitor:
    return Monitor(
        name=f"detector/{name.service}",
        title=f"{name.service} failures",
        service=name.service,
        signal="error_rate",
        severity="page",
        series=name,
        ratio=Ratio("failed"),
        method=CountScanConfig(**settings),
    )


def pacer(service: str, **settings) -> Monitor:
    return Monitor(
        name=f"detector/pace-{service}",
        title=f"{service} pace",
        service=service,
        signal="latency_p95",
        severity="page",
        series=None,
        ratio=None,
        method=PaceShiftConfig(**settings),
    )


def block(names, bad, total, start: int = START, stop: int | None = None, origin: int = START):
    """Minutes [start, stop) of whole arrays [series, minute] whose first column is `origin`."""
    bad, total = np.atleast_2d(np.asarray(bad)), np.atleast_2d(np.asarray(total))
    here = slice(start - origin, None if stop is None else stop - origin)
    return MinuteBlock(start, tuple(names), bad[:, here], total[:, here])


def verdicts_by_minute(
    monitors: list[Monitor], names, bad, total, warm: int = 0, overlap: int = 0
) -> dict[int, list[Verdict]]:
    """Feed the first `warm` minutes at once, then judge after every further minute."""
    window, compiled = Window(monitors), compile_monitors(monitors)
    bad, total = np.atleast_2d(np.asarray(bad)), np.atleast_2d(np.asarray(total))
    if warm:
        window.advance(block(names, bad, total, START, START + warm))
    found = {}
    for minute in range(START + warm, START + bad.shape[1]):
        first = max(minute - overlap, START)
        window.advance(block(names, bad, total, first, minute + 1))
        found[minute - START] = judge(compiled, window, minute)
    return found


def wandering(rng, rows: int, minutes: int, rate: float, cv2: float, hours: float = 3.0):
    """A rate [row, minute] that wanders slowly: log-normal AR(1) with squared variation `cv2`."""
    keep = np.exp(-1.0 / (60.0 * hours))
    sigma = np.sqrt(np.log1p(cv2))
    noise = sigma * rng.normal(size=(minutes, rows))
    level = noise[0]
    path = np.empty((minutes, rows))
    for minute in range(minutes):
        level = keep * level + np.sqrt(1 - keep * keep) * noise[minute]
        path[minute] = level
    return np.minimum(rate * np.exp(path - sigma * sigma / 2), 1.0).T


def latencies(rng, services: int, minutes: int, per_minute: float, *, slower=None, longer=None):
    """Histograms (latency, pace) [service, minute, bucket] of log-normal calls.

    slower, longer: factors per minute on the speed of the model, and on the length of the answers.
    """
    slower = np.ones(minutes) if slower is None else slower
    longer = np.ones(minutes) if longer is None else longer
    latency = np.zeros((services, minutes, LATENCY.count), np.int64)
    pace = np.zeros((services, minutes, PACE.count), np.int64)
    arrivals = rng.poisson(rng.gamma(2.0, per_minute / 2.0, (services, minutes)))
    for service in range(services):
        at = np.repeat(np.arange(minutes), arrivals[service])
        out = np.exp(rng.normal(5.0, 1.0, at.size)) * longer[at]
        inp = np.exp(rng.normal(6.5, 1.0, at.size))
        speed = np.exp(4.48 + 0.66 * rng.normal(size=at.size)) * slower[at]
        us = 1000.0 * speed * out**0.584 * inp**0.147
        np.add.at(latency[service], (at, LATENCY.bucket(us)), 1)
        np.add.at(pace[service], (at, PACE.bucket(pace_us(us, inp, out))), 1)
    return latency, pace


def paced_block(services, latency, pace, start: int, stop: int, origin: int = START):
    here = slice(start - origin, stop - origin)
    nothing = np.zeros((0, stop - start), np.int64)
    return MinuteBlock(
        start, (), nothing, nothing, tuple(services), latency[:, here], pace[:, here]
    )
