"""What telemetry leaves out, from what clients sent to what the API says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from intake_build import NOW, NOW_NS, PROTOBUF, Bench, bench, span_request

from tocsin.domain.clock import to_minute
from tocsin.domain.series import SeriesId
from tocsin.indicators.catalogue import COMPLETENESS
from tocsin.web.data_quality_reading import view
from tocsin.web.data_quality_views import DataQualityView, FieldQuality, ServiceQuality

MINUTE_NS = 60_000_000_000
USAGE = {"llm.token_count.prompt": 10, "llm.token_count.completion": 5}
STREAM = {**USAGE, "llm.is_streaming": True, "gen_ai.response.time_to_first_chunk": 0.1}


def post(tocsin: Bench, first_id: int, spans: int, start_ns: int, attributes: dict[str, Any],
         version: str = "1.0", model: str = "gpt-4o-mini") -> None:  # fmt: skip
    made = span_request(
        spans, first_id=first_id, start_ns=start_ns,
        attributes={**attributes, "llm.model_name": model},
    )  # fmt: skip
    scoped = made.resource_spans[0].scope_spans[0]
    scoped.scope.version = version
    for span in scoped.spans:
        for pair in [p for p in span.attributes if p.key == "llm.model_name"][:-1]:
            span.attributes.remove(pair)
    answer = tocsin.post("/v1/traces", made.SerializeToString(), {"content-type": PROTOBUF})
    assert answer.status_code == 200


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("quality")) as made:
        yield made


@pytest.fixture(scope="module")
def found(tocsin: Bench) -> DataQualityView:
    """A day of whole telemetry, then an hour in which the sender changed."""
    for hours in range(2, 22):  # NOW is in a minute of the sample: 05:00
        post(tocsin, hours * 100, 20, NOW_NS - hours * 60 * MINUTE_NS, {**STREAM, "app.team": "x"})
    recent = NOW_NS - 20 * MINUTE_NS
    post(tocsin, 5000, 30, recent, STREAM, version="2.0")
    post(tocsin, 5100, 30, recent, {"app.tenant.3.name": "y"}, version="2.0")
    post(tocsin, 5200, 5, recent, USAGE, version="2.0", model="nobody-knows-1")
    post(tocsin, 5000, 4, recent, STREAM, version="2.0")  # of those above, in another batch
    post(tocsin, 5300, 3, NOW_NS + 2 * MINUTE_NS, STREAM, version="2.0")
    ancient = span_request(2, first_id=6000, start_ns=1).SerializeToString()
    tocsin.post("/v1/traces", ancient, {"content-type": PROTOBUF})
    scores = b'{"name": "judge", "value": 1, "span_id": "%016x", "service": "shop"}' % 5000
    scores += b'\n{"name": "judge", "value": 1, "span_id": "ffffffffffffffff", "project": "shop"}'
    assert tocsin.post("/api/v1/scores", scores).status_code == 200
    tocsin.store.flush()
    return view(tocsin.store, NOW + timedelta(seconds=1), 1)


@pytest.fixture
def service(found: DataQualityView) -> ServiceQuality:
    [service] = [each for each in found.services if each.calls]
    return service


def test_what_calls_leave_out_is_counted_and_a_rise_is_told(service: ServiceQuality) -> None:
    fields: dict[str, FieldQuality] = {field.indicator: field for field in service.fields}
    assert service.calls == 72
    assert (fields["usage_told"].missing, fields["usage_told"].calls) == (30, 72)
    assert (fields["usage_told"].before, fields["usage_told"].state) == (0.0, "risen")
    assert (fields["price_known"].missing, fields["price_known"].calls) == (5, 42)
    assert fields["model_named"].missing == 0
    assert fields["first_token_told"].calls == 37
    assert service.has_changed


def test_conventions_that_came_and_went_are_named(service: ServiceQuality) -> None:
    scope = "openinference.instrumentation.openai"
    assert (service.new_scopes, service.vanished_scopes) == ((f"{scope} 2.0",), (f"{scope} 1.0",))
    assert service.new_attributes == ("app.tenant.#.name",)
    assert service.vanished_attributes == ("app.team",)


def test_clocks_scores_and_what_was_set_aside(
    found: DataQualityView, service: ServiceQuality
) -> None:
    assert (service.ahead, service.late, service.repeated) == (3, 69, 4)
    assert sum(each.scores for each in found.services) == 2
    assert sum(each.unplaced for each in found.services) == 1
    [row] = found.set_aside
    assert (row.source, row.items) == ("otlp traces", 2)
    assert row.reason == "it starts more than # days ago; check the sender's clock"


def test_a_detector_counts_what_the_page_shows(tocsin: Bench, service: ServiceQuality) -> None:
    series = {SeriesId("shop", each.name): each.ratio for each in COMPLETENESS}
    stop = to_minute(NOW) + 1
    block = tocsin.store.minutes(series, (), stop - 60, stop)
    shown = {field.indicator: (field.missing, field.calls) for field in service.fields}
    for row, (sid, _) in enumerate(series.items()):
        counted = (int(block.bad[row].sum()), int(block.total[row].sum()))
        missing, calls = shown[sid.indicator]
        assert counted == (missing, calls - 3), "those that are ahead count in their own minute"
