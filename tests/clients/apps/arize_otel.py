"""`arize.otel.register()` over TRANSPORT (grpc, http), from the environment where it can."""

import os

from arize.otel import Transport, register

os.environ["ARIZE_SPACE_ID"], os.environ["ARIZE_API_KEY"] = "any", "any"
os.environ["ARIZE_PROJECT_NAME"] = os.environ["SERVICE"]
if os.environ["TRANSPORT"] == "grpc":
    os.environ["ARIZE_COLLECTOR_ENDPOINT"] = f"http://127.0.0.1:{os.environ['GRPC_PORT']}"
    provider = register(verbose=False)
else:
    # Posts to the address as it is given.
    endpoint = f"{os.environ['HTTP']}{os.environ['URL_PATH']}"
    provider = register(endpoint=endpoint, transport=Transport.HTTP, verbose=False)
with provider.get_tracer("app").start_as_current_span("chat gpt-4o-mini") as span:
    span.set_attribute("openinference.span.kind", "LLM")
    span.set_attribute("llm.model_name", "gpt-4o-mini")
    span.set_attribute("llm.token_count.prompt", 48)
    span.set_attribute("llm.token_count.completion", 30)
provider.shutdown()
