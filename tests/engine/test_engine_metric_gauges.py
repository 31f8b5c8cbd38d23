"""Detectors over metrics that a service reports: from a scraped page to a verdict."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from source_build import NOW, Answer, Yard, pages, yard

from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.window import Window
from tocsin.domain.clock import to_minute
from tocsin.domain.errors import SpecError
from tocsin.domain.findings import Judgement
from tocsin.domain.series import SHARE, Metric, Ratio, SeriesId
from tocsin.spec.desired import load_text

PAGE = """# TYPE queue gauge
queue{pod="a"} %d
queue{pod="b"} %d
# TYPE done_total counter
done_total %d
# TYPE wait_seconds histogram
wait_seconds_bucket{pod="a",le="1"} %d
wait_seconds_bucket{pod="a",le="10"} %d
wait_seconds_bucket{pod="a",le="+Inf"} %d
wait_seconds_count{pod="a"} %d
wait_seconds_sum{pod="a"} 9
wait_seconds_bucket{pod="b",le="1"} 0
wait_seconds_bucket{pod="b",le="10"} %d
wait_seconds_bucket{pod="b",le="+Inf"} %d
wait_seconds_count{pod="b"} %d
wait_seconds_sum{pod="b"} 9
"""
DETECTOR = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: source}
spec: {team: t}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: queue}
spec: {service: source, use: static_threshold, %s, with: {%s}}
"""


def told(place: Yard, metric: Metric, minutes: int = 4) -> list[float]:
    place.store.flush()
    start = to_minute(NOW)
    series = {SeriesId(place.name, "m"): Ratio("metric", metric=metric)}
    block = place.store.minutes(series, (), start, start + minutes)
    assert set(block.total[0].tolist()) <= {0, SHARE}
    return np.where(block.total[0] > 0, block.bad[0] / SHARE, np.nan).tolist()


def test_a_metric_is_a_number_a_minute_and_a_detector_judges_it(tmp_path: Path) -> None:
    count = 0

    def page(*_: object) -> Answer:
        nonlocal count
        count += 1
        return Answer(PAGE % (count, 10, 6 * count, *[4 * count] * 4, *[count] * 3))

    with pages(page) as server, yard(tmp_path) as place:
        place.use(f"type: prometheus\ntargets: ['{server.url}/metrics']\nallow_private: true")
        place.poll(12, timedelta(seconds=15))  # three minutes
        # It begins at half past: two polls, then four, four and two.
        assert told(place, Metric("queue"), 5) == pytest.approx(
            [12, 16, 20, 22, float("nan")], nan_ok=True
        )
        assert told(place, Metric("queue", across="highest")) == [10, 10, 10, 12]
        assert told(place, Metric("queue", labels=(("pod", "a"),))) == [2, 6, 10, 12]
        assert told(place, Metric("queue", "mean", labels=(("pod", "a"),)))[0] == 1.5
        rates = told(place, Metric("done_total", "rate"))[1:3]
        assert rates == pytest.approx([0.4, 0.4])
        # Four of five waited up to a second, whichever pod they waited at.
        assert 0 < told(place, Metric("wait_seconds", "p50"))[1] <= 1
        assert 1 < told(place, Metric("wait_seconds", "p95"))[1] <= 10
        assert np.isnan(told(place, Metric("queue", "p95"))).all()
        assert np.isnan(told(place, Metric("nothing"))).all()

        desired = load_text(DETECTOR % ("metric: {name: queue}", "limit: 20, over: 1"))
        monitors = desired.monitors
        window, compiled = Window(monitors), compile_monitors(monitors)
        start = to_minute(NOW)
        series = {m.series: m.ratio for m in monitors if m.series and m.ratio}
        window.advance(place.store.minutes(series, ("source",), start, start + 4))
        [verdict] = judge(compiled, window, start + 3)
        assert (verdict.judgement, verdict.value) == (Judgement.BREACH, 22)
        assert verdict.reason.startswith("queue (last) 22 over 1 min")
        assert judge(compiled, window, start + 2) == []


def test_what_makes_no_sense_of_a_metric_is_refused() -> None:
    for spec, settings, words in (
        ("metric: {name: queue}", "measure: p95", "remove measure"),
        ("metric: {name: queue}, value: cost_usd", "limit: 2", "not of calls"),
        ("metric: {name: queue, take: p42}", "limit: 2", "take"),
    ):
        with pytest.raises(SpecError, match=words):
            load_text(DETECTOR % (spec, settings))
    with pytest.raises(SpecError, match="does not judge the values of a metric"):
        load_text((DETECTOR % ("metric: {name: q}", "")).replace("static_threshold", "count_scan"))
