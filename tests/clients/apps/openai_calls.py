"""Calls of every kind to the provider, instrumented by INSTRUMENTATION."""

import contextlib
import os

import openai
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

ASKED = "Where is my parcel?"

os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = os.environ["HTTP"]
resource = Resource.create({"service.name": os.environ["SERVICE"]})
traces = TracerProvider(resource=resource)
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
set_logger_provider(logs)

kind = os.environ["INSTRUMENTATION"]
if kind == "openinference":
    from openinference.instrumentation.openai import OpenAIInstrumentor
elif kind == "openllmetry":
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor
else:
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
OpenAIInstrumentor().instrument(tracer_provider=traces, logger_provider=logs)

client = openai.OpenAI(max_retries=0)


def chat(content, **more):
    return client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": content}], **more
    )


chat(ASKED)
for status in (429, 503):
    with contextlib.suppress(openai.APIStatusError):
        chat(f"fail {status}")
list(chat(ASKED, stream=True, stream_options={"include_usage": True}))
list(chat(ASKED, stream=True))
with contextlib.suppress(Exception):
    list(chat("break", stream=True))
client.embeddings.create(model="text-embedding-3-small", input=ASKED)
client.responses.create(model="gpt-4o-mini", input=ASKED)
traces.shutdown()
logs.shutdown()
