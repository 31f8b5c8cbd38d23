"""`phoenix.otel.register()` as the environment says, by PROTOCOL (grpc, http)."""

import os

from phoenix.otel import register

os.environ["PHOENIX_PROJECT_NAME"] = os.environ["SERVICE"]
os.environ["PHOENIX_COLLECTOR_ENDPOINT"] = os.environ["HTTP"]
if os.environ["PROTOCOL"] == "grpc":  # what register() does unless it is told otherwise
    os.environ["PHOENIX_COLLECTOR_ENDPOINT"] = "http://127.0.0.1"
    os.environ["PHOENIX_GRPC_PORT"] = os.environ["GRPC_PORT"]
    provider = register(verbose=False)
else:
    provider = register(protocol="http/protobuf", verbose=False)
with provider.get_tracer("app").start_as_current_span("chat gpt-4o-mini") as span:
    span.set_attribute("openinference.span.kind", "LLM")
    span.set_attribute("llm.model_name", "gpt-4o-mini")
    span.set_attribute("llm.token_count.prompt", 48)
    span.set_attribute("llm.token_count.completion", 30)
provider.shutdown()
