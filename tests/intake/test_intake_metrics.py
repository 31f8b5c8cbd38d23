"""Real OpenTelemetry metric exporters into a real store, read back as what happened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from intake_build import PROTOBUF, Bench, put, served, span_request
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource

from tocsin.domain.clock import to_minute
from tocsin.indicators.distributions import Distribution, Explicit, Exponential
from tocsin.store.metrics import MetricSeries

CUMULATIVE, DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
BOUNDS = [0.1, 0.5, 1.0, 2.5, 5.0]
FORMS = {
    "explicit": ExplicitBucketHistogramAggregation(BOUNDS),
    "exponential": ExponentialBucketHistogramAggregation(max_size=16),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, str]]:
    with served(tmp_path_factory.mktemp("metrics")) as made:
        yield made


class Application:
    """One life of an application that measures its calls as the GenAI conventions say."""

    def __init__(
        self, url: str, service: str, temporality: AggregationTemporality, form: str
    ) -> None:
        exporter = OTLPMetricExporter(
            endpoint=f"{url}/v1/metrics",
            preferred_temporality={Counter: temporality, Histogram: temporality},
        )
        # Not by itself within a test, but once more at the end.
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        self.provider = MeterProvider(
            [reader],
            Resource({"service.name": service}),
            views=[
                View(instrument_name="gen_ai.client.operation.duration", aggregation=FORMS[form])
            ],
        )
        meter = self.provider.get_meter("opentelemetry.instrumentation.openai_v2")
        self.duration = meter.create_histogram("gen_ai.client.operation.duration", "s")
        self.tokens = meter.create_counter("tokens")
        meter.create_observable_gauge("queue", [lambda _: [Observation(self.queue)]])
        self.queue = 0

    def call(self, *seconds: float) -> None:
        for each in seconds:
            self.duration.record(each, {"gen_ai.request.model": "gpt-4o-mini"})
            self.tokens.add(10)

    def export(self) -> None:
        self.provider.force_flush()


def read(made: Bench, service: str, metric: str) -> MetricSeries:
    made.query("SELECT 1")
    now = datetime.now(UTC)
    start = to_minute(now - timedelta(minutes=10))
    found = made.store.metrics.read(service, metric, start, to_minute(now) + 2, 1).series
    assert len(found) == 1
    return found[0]


def whole(series: MetricSeries) -> Distribution:
    held = [each for each in series.distributions if each is not None and each.total]
    total = held[0]
    for each in held[1:]:
        total = total.plus(each)
    return total


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temporality", [CUMULATIVE, DELTA], ids=["cumulative", "delta"])
def test_every_call_is_counted_once_however_often_it_is_exported(
    house: tuple[Bench, str], temporality: AggregationTemporality, form: str
) -> None:
    made, url = house
    service = f"app-{temporality.name}-{form}"
    values = np.random.default_rng(4).lognormal(-0.5, 1.0, 90).round(6).tolist()
    first = Application(url, service, temporality, form)
    first.call(*values[:20])
    first.export()
    first.export()  # nothing happened since
    first.call(*values[20:50])
    first.queue = 7
    first.provider.shutdown()  # exports once more
    second = Application(url, service, temporality, form)  # the process began anew
    second.call(*values[50:])
    second.export()
    second.provider.shutdown()

    series = read(made, service, "gen_ai.client.operation.duration")
    assert np.nansum(series.count) == len(values)
    assert np.nansum(series.total) == pytest.approx(sum(values))
    assert series.labels == {"gen_ai.request.model": "gpt-4o-mini"}
    held = whole(series)
    assert held.total == len(values)
    if isinstance(held, Explicit):
        expected = np.bincount(np.searchsorted(BOUNDS, values), minlength=len(BOUNDS) + 1)
        assert held.counts.tolist() == expected.tolist()
    else:
        assert isinstance(held, Exponential)
        index = np.ceil(np.log2(values) * 2.0**held.scale).astype(int) - 1
        assert (
            held.counts.tolist()
            == np.bincount(index - held.offset, minlength=len(held.counts)).tolist()
        )
    for q in (0.5, 0.95):
        estimate = held.quantile(q)
        assert estimate is not None
        assert estimate.low <= sorted(values)[int(np.ceil(q * 90)) - 1] <= estimate.high
    assert np.nansum(read(made, service, "tokens").count) == 10 * len(values)
    queue = read(made, service, "queue")
    assert queue.reading == "level"
    assert np.nanmax(queue.highest) == 7


def test_metrics_are_never_added_to_calls(house: tuple[Bench, str]) -> None:
    made, url = house
    application = Application(url, "both", CUMULATIVE, "explicit")
    application.call(*[0.2] * 40)
    application.export()
    now_ns = int(datetime.now(UTC).timestamp()) * 1_000_000_000
    spans = span_request(3, service="both", start_ns=now_ns - 2_000_000_000, first_id=900)
    made.post("/v1/traces", spans.SerializeToString(), {"content-type": PROTOBUF})
    application.provider.shutdown()
    series = read(made, "both", "gen_ai.client.operation.duration")
    assert np.nansum(series.count) == 40
    now = to_minute(datetime.now(UTC))
    rows = {row.service: row for row in made.store.reads.fleet(now - 10, now + 2)}
    assert rows["both"].calls == 3
    rolled = made.query("SELECT sum(n) AS n FROM tocsin.calls_1m WHERE service = 'both'")
    assert rolled == [{"n": 3}]


def test_a_point_that_says_nothing_was_recorded_is_not_a_zero(house: tuple[Bench, str]) -> None:
    made, _ = house
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    put(resource.resource.attributes, {"service.name": "stale"})
    metric = resource.scope_metrics.add().metrics.add()
    metric.name = "queue"
    now_ns = int(datetime.now(UTC).timestamp()) * 1_000_000_000
    for at, value, flags in ((now_ns - 9_000_000_000, 4.0, 0), (now_ns - 8_000_000_000, 0.0, 1)):
        point = metric.gauge.data_points.add()
        point.time_unix_nano, point.as_double, point.flags = at, value, flags
    made.post("/v1/metrics", request.SerializeToString(), {"content-type": PROTOBUF})
    series = read(made, "stale", "queue")
    assert np.nanmin(series.lowest) == 4.0
