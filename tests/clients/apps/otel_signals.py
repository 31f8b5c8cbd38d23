"""One span, one log record, a counter and a histogram, over PROTOCOL (grpc, http), COMPRESSION."""

import logging
import os

from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if os.environ["PROTOCOL"] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{os.environ['GRPC_PORT']}"
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = os.environ["HTTP"]
if os.environ["COMPRESSION"] == "gzip":
    os.environ["OTEL_EXPORTER_OTLP_COMPRESSION"] = "gzip"

resource = Resource.create({"service.name": os.environ["SERVICE"]})
traces = TracerProvider(resource=resource)
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
metrics = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)

meter = metrics.get_meter("app")
meter.create_counter("orders").add(3, {"region": "eu"})
meter.create_histogram("gen_ai.client.operation.duration").record(0.25)
with traces.get_tracer("app").start_as_current_span("chat gpt-4o-mini") as span:
    span.set_attribute("gen_ai.operation.name", "chat")
    span.set_attribute("gen_ai.request.model", "gpt-4o-mini")
    span.set_attribute("gen_ai.usage.input_tokens", 48)
    span.set_attribute("gen_ai.usage.output_tokens", 30)
    logging.getLogger("app").addHandler(LoggingHandler(logger_provider=logs))
    logging.getLogger("app").warning("asked about a parcel")
for provider in (traces, logs, metrics):
    provider.shutdown()
