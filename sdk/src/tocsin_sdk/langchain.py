"""LangChain through OpenInference: its instrumentation, exported to Tocsin over OTLP/HTTP."""

from __future__ import annotations

from typing import Any

from tocsin_sdk.settings import read_settings


class MissingExtra(ImportError):
    """A library that this needs is not installed; the text says how to get it."""


def instrument(
    endpoint: str | None = None,
    token: str | None = None,
    service: str | None = None,
    environment: str | None = None,
    **options: Any,
) -> Any:
    """Trace every chain, model, tool and retriever of LangChain; returns the tracer provider.

    What is not given comes from the environment, as with `tocsin_sdk.init`. options: for
    `LangChainInstrumentor.instrument`. The provider is OpenTelemetry's: `force_flush()` and
    `shutdown()` are its own, and it is not made the global one. Raises MissingExtra when a library
    is missing, ValueError for an endpoint that is no URL.
    """
    try:
        from openinference.instrumentation.langchain import LangChainInstrumentor
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtra(
            f"{error.name or error} is not installed; LangChain is traced with "
            '`pip install "tocsin-sdk[langchain]"`'
        ) from error
    settings = read_settings(
        {"endpoint": endpoint, "token": token, "service": service, "environment": environment}
    )
    known = {
        "service.name": settings.service or "langchain",
        "deployment.environment.name": settings.environment,
    }
    provider = TracerProvider(
        resource=Resource.create({name: value for name, value in known.items() if value})
    )
    exporter = OTLPSpanExporter(settings.url("/v1/traces"), headers=settings.headers)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    LangChainInstrumentor().instrument(tracer_provider=provider, **options)
    return provider
