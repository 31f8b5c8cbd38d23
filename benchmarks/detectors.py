"""One evaluation of ten thousand gauges: processor time of a tick, of learning an hour, memory.

The window and the detectors of a server, fed as a server feeds them: history hour by hour,
then minute by minute. No store and no queries; `paging` measures those.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np

from tocsin.assess.detectors import CommitteeConfig, VolumeDropConfig
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

MONITORS = 10_000
START = 29_000_160
DAYS = (2, 10)
KINDS: dict[str, GaugeConfig] = {
    "committee": CommitteeConfig(measure="volume"),
    "volume_drop": VolumeDropConfig(),
}


def run() -> dict[str, Any]:
    """Every kind with ten thousand monitors, after two days and after ten."""
    return {
        "what": "processor seconds of one evaluation, in one thread",
        "monitors": MONITORS,
        **{kind: _measured(config) for kind, config in KINDS.items()},
    }


def _measured(config: GaugeConfig) -> dict[str, Any]:
    series = tuple(SeriesId(f"service-{i}", "availability") for i in range(MONITORS))
    monitors = [
        Monitor(f"detector/{i}", "", s.service, "volume", "ticket", s, Ratio("failed"), config)
        for i, s in enumerate(series)
    ]
    window, compiled = Window(monitors), compile_monitors(monitors)
    rng = np.random.default_rng(1)
    found: dict[str, Any] = {}
    minute = START
    for days in DAYS:
        while minute < START + days * 1440:
            window.advance(_block(series, minute, 60, rng))
            minute += 60
        ticks = []
        for _ in range(60):
            block = _block(series, minute, 1, rng)
            before = time.process_time()
            window.advance(block)
            judge(compiled, window, minute)
            ticks.append(time.process_time() - before)
            minute += 1
        found[f"after {days} days"] = {
            "tick_s": round(float(np.median(ticks)), 3),
            "slowest_tick_s": round(max(ticks), 3),  # the one that learns an hour
        }
    # Peak of the process so far, of which numpy and the interpreter take about 60 MB.
    found["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return found


def _block(
    series: tuple[SeriesId, ...], minute: int, width: int, rng: np.random.Generator
) -> MinuteBlock:
    total = rng.poisson(50.0, (len(series), width))
    return MinuteBlock(minute, series, np.zeros_like(total), total)
