"""A real OpenTelemetry SDK, over a real socket, into a real store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from intake_build import Bench, served
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, str]]:
    with served(tmp_path_factory.mktemp("exporter")) as made:
        yield made


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_sdk_exports_to_us_unchanged(
    house: tuple[Bench, str], compression: Compression
) -> None:
    made, url = house
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", compression=compression)
    resource = Resource({"service.name": "exported", "service.version": "3"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("opentelemetry.instrumentation.openai_v2")
    with (
        tracer.start_as_current_span("agent"),
        tracer.start_as_current_span("chat gpt-4o-mini") as span,
    ):
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-4o-mini",
                "gen_ai.usage.input_tokens": 1000,
                "gen_ai.usage.output_tokens": 100,
                "gen_ai.response.finish_reasons": ["stop"],
                "tocsin.segment.tier": "pro",
            }
        )
        span.set_status(Status(StatusCode.ERROR, "Error code: 503 - busy"))
    provider.shutdown()
    rows = made.calls("service = 'exported'")
    assert [row["kind"] for row in sorted(rows, key=lambda row: row["name"])] == ["other", "llm"]
    call = next(row for row in rows if row["kind"] == "llm")
    assert call["parent_id"] == next(row["span_id"] for row in rows if row["kind"] == "other")
    assert (call["release"], call["dims"]) == ("3", {"tier": "pro"})
    assert (call["error_class"], call["finish_reason"]) == ("overloaded", "stop")
    assert call["cost_usd"] == pytest.approx(1000 * 0.15e-6 + 100 * 0.6e-6)
