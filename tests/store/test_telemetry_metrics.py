"""Metric points as differences per minute: against a slow model, and case by case."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from metric_build import MINUTE, POINT_ROWS, Point, row, slow_differences, store_points
from telemetry_build import FOREVER, Where, clock

from tocsin.domain.clock import from_minute
from tocsin.indicators.distributions import Explicit, Exponential
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.metrics import MOST_SERIES, MetricRead, MetricSeries
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.telemetry import Telemetry


@dataclass
class Shelf:
    """The points of one service in a store that the tests of this file share."""

    store: Telemetry
    service: str

    def put(self, points: Iterable[Mapping[str, Any]]) -> None:
        store_points(self.store, self.service, points)

    def read(self, start: int, stop: int, step: int = 1) -> MetricRead:
        """Over minutes from NOW."""
        return self.store.metrics.read(
            self.service, "requests", MINUTE + start, MINUTE + stop, step
        )

    def one(self, start: int, stop: int) -> MetricSeries:
        """The only series."""
        read = self.read(start, stop)
        assert len(read.series) == 1
        return read.series[0]


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, place: ClickHouse | None
) -> Iterator[Telemetry]:
    path = tmp_path_factory.mktemp("metrics")
    kinds = [*KINDS, POINT_ROWS]
    with Telemetry.open(
        path, clock(), kinds=kinds, tables=TABLES, retention=FOREVER, dsn=Where.dsn,
        layout=Where.layout,
    ) as opened:  # fmt: skip
        yield opened


@pytest.fixture
def shelf(store: Telemetry, request: pytest.FixtureRequest) -> Shelf:
    return Shelf(store, request.node.name)


def known(series: MetricSeries, first: int) -> dict[int, float]:
    return {
        first + place: float(value)
        for place, value in enumerate(series.count)
        if not np.isnan(value)
    }


def random_life(rng: random.Random, start_s: float) -> list[Point]:
    """A counter that restarts, is silent, repeats itself and may not know since when."""
    points: list[Point] = []
    at, value = start_s, 0.0
    since: float | None = rng.choice([None, start_s])
    for _ in range(rng.randrange(5, 60)):
        at += rng.choice([1, 15, 15, 60, 60, 200, 3600])
        value += rng.choice([0, 0, 1, 7, 1000])
        event = rng.random()
        if event < 0.05:  # a restart that is told
            since, value = at - rng.choice([0, 1, 10]), float(rng.choice([0, 3]))
        elif event < 0.1:  # one that is not
            value = float(rng.choice([0, 2]))
        points.append(Point(at, value, since))
        if event > 0.9:
            points.append(points[-1])
    rng.shuffle(points)
    return points


@pytest.mark.parametrize("seed", range(12))
def test_differences_are_those_of_a_slow_model_however_the_time_is_cut(
    shelf: Shelf, seed: int
) -> None:
    rng = random.Random(seed)
    points = random_life(rng, -6 * 3600.0)
    half = rng.randrange(len(points))
    for batch in (points[:half], points[half:]):  # late ones come in a second segment
        if batch:
            shelf.put([row(point) for point in batch])
    last = int(max(point.at_s for point in points) // 60) + 1
    cuts = sorted({-360, *(rng.randrange(-360, last) for _ in range(4)), last})
    pieces: dict[int, float] = {}
    for start, stop in pairwise(cuts):
        for series in shelf.read(start, stop).series:
            pieces |= known(series, start)
    expected = slow_differences(points, -360 * 60, last * 60)
    assert pieces == expected
    whole = shelf.one(-360, last)
    assert known(whole, -360) == expected
    hours = shelf.read(-360, last, 60).series[0]
    assert np.nansum(hours.count) == sum(expected.values())


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param(
            [Point(10, 5, -50), Point(70, 9, -50), Point(70, 9, -50)], {0: 5, 1: 4}, id="repeated"
        ),
        pytest.param([Point(10, 5, -50), Point(70, 5, -50)], {0: 5, 1: 0}, id="unchanged"),
        pytest.param([Point(10, 5, -50), Point(250, 9, -50)], {0: 5, 4: 4}, id="gap"),
        pytest.param([Point(10, 5, -50), Point(70, 2, -50)], {0: 5, 1: 2}, id="untold reset"),
        pytest.param([Point(10, 5, -50), Point(70, 7, 30)], {0: 5, 1: 7}, id="told reset"),
        pytest.param([Point(10, 5, None), Point(70, 9, None)], {1: 4}, id="start unknown"),
        pytest.param([Point(10, 5, 10), Point(70, 9, 10)], {1: 4}, id="start is the first point"),
        pytest.param([Point(10, 5, -90_000), Point(70, 9, -90_000)], {1: 4}, id="old start"),
        pytest.param([Point(70, 9, -50), Point(10, 5, -50)], {0: 5, 1: 4}, id="out of order"),
        pytest.param([Point(60, 5, -50), Point(120, 9, -50)], {0: 5, 1: 4}, id="on the minute"),
        pytest.param(
            [Point(10, 5, -50), Point(20, 1, -50), Point(50, 4, -50)], {0: 9}, id="inside"
        ),
    ],
)
def test_a_case(shelf: Shelf, points: list[Point], expected: dict[int, float]) -> None:
    shelf.put([row(point) for point in points])
    assert known(shelf.one(0, 6), 0) == expected


def test_a_difference_after_silence_says_how_long_it_spans(shelf: Shelf) -> None:
    shelf.put([row(Point(30, 5, -30)), row(Point(330, 35, -30))])
    series = shelf.one(0, 6)
    assert series.covered_s[5] == 300
    assert series.rate_per_s[5] == pytest.approx(0.1)
    assert np.isnan(series.rate_per_s[1:5]).all()


def test_two_processes_of_one_name_are_added_and_cover_one_minute(shelf: Shelf) -> None:
    points = [Point(60 * m, 10 * m, since) for m in (1, 2) for since in (0, -1)]
    shelf.put([row(point) for point in points])
    series = shelf.one(0, 2)
    assert series.count.tolist() == [20, 20]
    assert series.covered_s.tolist() == [61, 60]


def test_what_differs_in_a_label_or_the_resource_is_another_series(shelf: Shelf) -> None:
    shelf.put(
        [
            row(Point(30, 1, -30), attrs={"model": "a", "route": "x"}),
            row(Point(30, 2, -30), attrs={"route": "y", "model": "a"}),
            row(Point(30, 4, -30), attrs={"route": "x", "model": "a"}, res={"pod": "2"}),
            row(Point(90, 8, -30), attrs={"route": "x", "model": "a"}),
        ],
    )
    found = shelf.read(0, 2).series
    assert [(s.labels["route"], s.resource.get("pod"), np.nansum(s.count)) for s in found] == [
        ("x", None, 8), ("x", "2", 4), ("y", None, 2)
    ]  # fmt: skip
    names = shelf.store.metrics.names(shelf.service, MINUTE, MINUTE + 2)
    assert [(n.metric, n.type, n.series) for n in names] == [("requests", "sum", 3)]


def test_delta_points_pass_and_a_repeated_one_counts_once(shelf: Shelf) -> None:
    points = [Point(30, 5, 0), Point(60, 2, 30), Point(60, 2, 30), Point(90, 1, 60)]
    shelf.put([row(point, temporality=1) for point in points])
    series = shelf.one(0, 3)
    assert known(series, 0) == {0: 7, 1: 1}
    assert series.covered_s.tolist() == [60, 30, 0]


def test_a_delta_or_a_level_that_is_told_anew_is_corrected(shelf: Shelf) -> None:
    later = {"recv": "2026-11-20T12:01:00Z"}
    gauge = {"type": "gauge", "temporality": 0, "monotonic": 0}
    deltas = [row(Point(30, 9, 0), temporality=1), row(Point(30, 4, 0), temporality=1, **later)]
    shelf.put(deltas)
    assert known(shelf.one(0, 1), 0) == {0: 4}
    shelf.put([row(Point(90, 9), **gauge, **later), row(Point(90, 11), **gauge)])
    levels = shelf.read(1, 2).series
    assert [series.last[0] for series in levels] == [9]


def test_a_level_has_the_last_and_the_range_of_each_minute(shelf: Shelf) -> None:
    values = [(0, 3.0), (20, 9.0), (40, 1.0), (59, 4.0), (150, 7.0)]
    gauge = {"type": "gauge", "temporality": 0, "monotonic": 0}
    rows = [row(Point(at, value), **gauge) for at, value in values]
    shelf.put([*rows, row(Point(45, 0), **{**gauge, "value": "nan"})])
    series = shelf.one(0, 3)
    assert series.reading == "level"
    assert (series.last[0], series.lowest[0]) == (4.0, 1.0)
    assert (series.highest[0], series.mean[0]) == (9.0, 4.25)
    assert np.isnan(series.last[1])
    assert series.last[2] == 7.0


def test_a_sum_that_can_fall_is_a_level(shelf: Shelf) -> None:
    shelf.put([row(Point(10, 5, -50), monotonic=0), row(Point(20, 3, -50), monotonic=0)])
    series = shelf.one(0, 1)
    assert (series.reading, series.last[0], series.highest[0]) == ("level", 3, 5)


def test_points_without_temporality_are_shown_and_not_read(shelf: Shelf) -> None:
    shelf.put([row(Point(10, 5, -50), temporality=0)])
    series = shelf.one(0, 1)
    assert series.reading == "unreadable"
    assert np.isnan(series.count).all()


def histogram(at: float, counts: list[int], total: float, **more: object) -> dict[str, object]:
    return row(
        Point(at, total, -30),
        **{"type": "histogram", "monotonic": 0, "count": sum(counts), "counts": counts,
           "bounds": [1.0, 2.0, 4.0], **more},
    )  # fmt: skip


def test_histograms_subtract_bucket_by_bucket(shelf: Shelf) -> None:
    shelf.put([histogram(30, [1, 2, 0, 1], 9), histogram(90, [1, 5, 0, 2], 19.5)])
    series = shelf.one(0, 2)
    assert series.count.tolist() == [4, 4]
    assert series.total.tolist() == [9, 10.5]
    second = series.distributions[1]
    assert isinstance(second, Explicit)
    assert second.counts.tolist() == [0, 3, 0, 1]


def test_a_histogram_that_lost_in_one_bucket_began_anew_although_it_counts_more(
    shelf: Shelf,
) -> None:
    shelf.put([histogram(30, [9, 1, 0, 0], 9), histogram(90, [2, 10, 0, 0], 22)])
    series = shelf.one(0, 2)
    assert series.count.tolist() == [10, 12]
    assert series.resets == 1


def test_exponential_histograms_subtract_across_a_change_of_scale(shelf: Shelf) -> None:
    def point(at: float, scale: int, offset: int, counts: list[int], zeros: int) -> dict:
        return histogram(
            at, counts, 1.0, type="exponential", bounds=[], scale=scale, offset=offset,
            zeros=zeros, count=sum(counts) + zeros,
        )  # fmt: skip

    shelf.put([point(30, 1, -1, [1, 2, 3, 4], 1), point(90, 0, -1, [2, 6, 5, 7], 3)])
    fresh = shelf.one(0, 2).distributions[1]
    assert isinstance(fresh, Exponential)
    # at scale 0, buckets (-1), (0, 1) and (2) of the earlier one are 1, 2 + 3 and 4
    assert (fresh.scale, fresh.offset, fresh.zeros) == (0, -1, 2)
    assert fresh.counts.tolist() == [1, 1, 1, 7]


def test_summaries_subtract_their_counts_and_pass_their_quantiles(shelf: Shelf) -> None:
    rows = [
        row(Point(at, total, -30), type="summary", monotonic=0, count=count,
            quantiles=[0.5, 0.99], quantile_values=values)
        for at, total, count, values in ((30, 3.0, 3, [1.0, 2.0]), (90, 9.0, 5, [2.0, "nan"]))
    ]  # fmt: skip
    shelf.put(rows)
    series = shelf.one(0, 2)
    assert (series.count.tolist(), series.total.tolist()) == ([3, 2], [3, 6])
    assert series.quantiles[0.5].tolist() == [1, 2]
    assert series.quantiles[0.99][0] == 2
    assert np.isnan(series.quantiles[0.99][1])


def test_more_series_than_a_read_holds_are_said_to_be_partial(shelf: Shelf) -> None:
    shelf.put([row(Point(30, 1, -30), attrs={"n": str(n)}) for n in range(MOST_SERIES + 5)])
    read = shelf.read(0, 1)
    assert (len(read.series), read.is_partial) == (MOST_SERIES, True)
    assert read.series[0].start == from_minute(MINUTE)
