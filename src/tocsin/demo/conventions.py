"""How six real instrumentations spell a call, so that the demo exercises every dialect of intake.

A `Shape` says which attributes a span of one kind has and where its numbers go. The shapes follow
recorded requests of the libraries whose scope names they carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.demo.spans import AGENT, CHAIN, EMBEDDING, LLM, RETRIEVER, TOOL
from tocsin.demo.wire import Value

INTERNAL, CLIENT = 1, 3
UNSET, OK, ERROR = 0, 1, 2

Words = Mapping[str, str]

_PLAIN_WORDS: Words = {}
_ANTHROPIC_WORDS: Words = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
    "content_filter": "refusal",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """How one kind of span is written down.

    name, attributes: texts may contain {model}, {provider}, {tenant}, {tier}, {prompt}; what comes
    out empty is left out. numbers: (column of SPAN or "total", attribute), present when known.
    texts: (session | user | response, attribute, prefix). first_token: an attribute in seconds
    ("attribute", key), or an event ("event", name). finish: (attribute, as an array or as text,
    the provider's words). typed: error.type on failures. named: the class before the message in the
    status. raised: an exception event. documents: ids and scores of what was retrieved.
    """

    scope: str
    version: str
    name: str
    kind: int = INTERNAL
    status: int = OK
    attributes: tuple[tuple[str, Value], ...] = ()
    numbers: tuple[tuple[str, str], ...] = ()
    texts: tuple[tuple[str, str, str], ...] = ()
    first_token: tuple[str, str] | None = None
    finish: tuple[str, bool] | None = None
    words: Words = field(default_factory=dict)
    typed: bool = False
    named: bool = False
    raised: bool = False
    documents: bool = False


Shapes = Mapping[tuple[str, int], Shape]
ANY_SERVICE = "*"

_WHO: tuple[tuple[str, Value], ...] = (
    ("tocsin.segment.tenant", "{tenant}"),
    ("tocsin.segment.tier", "{tier}"),
    ("llm.prompt_template.version", "{prompt}"),
)
_IDS = (("session", "session.id", "sess-"), ("user", "user.id", "user-"))
_USAGE = (
    ("input", "gen_ai.usage.input_tokens"),
    ("output", "gen_ai.usage.output_tokens"),
    ("cached", "gen_ai.usage.cache_read.input_tokens"),
    ("reasoning", "gen_ai.usage.reasoning.output_tokens"),
)
_COUNTS = (
    ("input", "llm.token_count.prompt"),
    ("output", "llm.token_count.completion"),
    ("total", "llm.token_count.total"),
    ("cached", "llm.token_count.prompt_details.cache_read"),
)

# Traceloop's OpenAI instrumentation, current: new gen_ai.* names, chunk events.
_TRACELOOP_CHAT = Shape(
    "opentelemetry.instrumentation.openai.v1", "0.62.4", "openai.chat", CLIENT,
    attributes=(
        ("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "{provider}"),
        ("gen_ai.request.model", "{model}"), ("gen_ai.request.temperature", 0.3),
        ("gen_ai.is_streaming", True), *_WHO,
    ),
    numbers=(*_USAGE[:3], ("total", "gen_ai.usage.total_tokens")),
    texts=(*_IDS, ("response", "gen_ai.response.id", "chatcmpl-")),
    first_token=("event", "gen_ai.content.completion.chunk"),
    finish=("gen_ai.response.finish_reasons", True), words=_PLAIN_WORDS,
    typed=True, raised=True,
)  # fmt: skip

_CHAT_TOOL = Shape(
    "support-assistant", "", "execute_tool lookup_order", INTERNAL, UNSET,
    attributes=(
        ("gen_ai.operation.name", "execute_tool"), ("gen_ai.tool.name", "lookup_order"), *_WHO,
    ),
    texts=_IDS, typed=True, raised=True,
)  # fmt: skip

# OpenInference's OpenAI instrumentation: a stream that dies half-way ends with status OK.
_OPENINFERENCE_CHAT = Shape(
    "openinference.instrumentation.openai", "0.1.66", "ChatCompletion",
    attributes=(
        ("openinference.span.kind", "LLM"), ("llm.system", "openai"),
        ("llm.model_name", "{model}"),
        ("llm.invocation_parameters",
         '{"model": "{model}", "stream": true, "stream_options": {"include_usage": true}}'),
        *_WHO,
    ),
    numbers=_COUNTS, texts=_IDS,
    first_token=("event", "First Token Stream Event"),
    finish=("llm.finish_reason", False), words=_PLAIN_WORDS,
    named=True, raised=True,
)  # fmt: skip

# Traceloop of spring 2025: old token names, finish reason of the first completion, no error.type.
_OLD_TRACELOOP_CHAT = Shape(
    "opentelemetry.instrumentation.openai.v1", "0.38.12", "openai.chat", CLIENT,
    attributes=(
        ("llm.request.type", "chat"), ("gen_ai.system", "{provider}"),
        ("gen_ai.request.model", "{model}"), ("gen_ai.response.model", "{model}"),
        ("gen_ai.request.max_tokens", 512), ("llm.is_streaming", False),
        ("gen_ai.openai.api_base", "http://vllm.internal:8000/v1/"), *_WHO,
    ),
    numbers=(
        ("input", "gen_ai.usage.prompt_tokens"), ("output", "gen_ai.usage.completion_tokens"),
        ("total", "llm.usage.total_tokens"),
    ),
    texts=(*_IDS, ("response", "gen_ai.response.id", "chatcmpl-")),
    finish=("gen_ai.completion.0.finish_reason", False), words=_PLAIN_WORDS,
)  # fmt: skip

# A LangChain application under OpenInference, whose model client is instrumented too.
_CHAIN = Shape(
    "openinference.instrumentation.langchain", "0.1.80", "RunnableSequence",
    attributes=(("openinference.span.kind", "CHAIN"), *_WHO), texts=_IDS, raised=True,
)  # fmt: skip
_RETRIEVER = Shape(
    "openinference.instrumentation.langchain", "0.1.80", "VectorStoreRetriever",
    attributes=(("openinference.span.kind", "RETRIEVER"), *_WHO), texts=_IDS, raised=True,
    documents=True,
)  # fmt: skip
_EMBEDDING = Shape(
    "openinference.instrumentation.openai", "0.1.66", "CreateEmbeddings",
    attributes=(
        ("openinference.span.kind", "EMBEDDING"), ("llm.system", "openai"),
        ("embedding.model_name", "{model}"), *_WHO,
    ),
    numbers=(("input", "llm.token_count.prompt"), ("input", "llm.token_count.total")), texts=_IDS,
)  # fmt: skip
_OPENINFERENCE_MESSAGES = Shape(
    "openinference.instrumentation.anthropic", "3.1.0", "messages.create",
    attributes=(
        ("openinference.span.kind", "LLM"), ("llm.provider", "anthropic"),
        ("llm.system", "anthropic"), ("llm.request.model_name", "{model}"),
        ("llm.model_name", "{model}"), ("llm.invocation_parameters", '{"max_tokens": 4096}'),
        *_WHO,
    ),
    numbers=_COUNTS, texts=_IDS, finish=("llm.finish_reason", False), words=_ANTHROPIC_WORDS,
    raised=True,
)  # fmt: skip

# OpenTelemetry's own OpenAI instrumentation with the current semantic conventions.
_OTEL_CHAT = Shape(
    "opentelemetry.util.genai.handler", "0.4b0", "chat {model}", CLIENT, UNSET,
    attributes=(
        ("gen_ai.operation.name", "chat"), ("gen_ai.request.model", "{model}"),
        ("gen_ai.provider.name", "{provider}"), ("server.address", "api.openai.com"),
        ("gen_ai.request.max_tokens", 1024), ("gen_ai.response.model", "{model}"), *_WHO,
    ),
    numbers=_USAGE[:2], texts=(*_IDS, ("response", "gen_ai.response.id", "chatcmpl-")),
    finish=("gen_ai.response.finish_reasons", True), words=_PLAIN_WORDS, typed=True,
)  # fmt: skip

_TRACELOOP_MESSAGES = Shape(
    "opentelemetry.instrumentation.anthropic", "0.62.4", "anthropic.chat", CLIENT,
    attributes=(
        ("gen_ai.provider.name", "anthropic"), ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "{model}"), ("gen_ai.response.model", "{model}"),
        ("gen_ai.request.max_tokens", 8192), *_WHO,
    ),
    numbers=(*_USAGE, ("total", "gen_ai.usage.total_tokens")),
    texts=(*_IDS, ("response", "gen_ai.response.id", "msg_")),
    finish=("gen_ai.response.finish_reasons", True), words=_PLAIN_WORDS,
    typed=True, raised=True,
)  # fmt: skip
_AGENT = Shape(
    "code-review", "", "invoke_agent reviewer", INTERNAL, UNSET,
    attributes=(
        ("gen_ai.operation.name", "invoke_agent"), ("gen_ai.agent.name", "reviewer"), *_WHO,
    ),
    texts=_IDS, typed=True,
)  # fmt: skip
_AGENT_TOOL = Shape(
    "code-review", "", "execute_tool read_file", INTERNAL, UNSET,
    attributes=(
        ("gen_ai.operation.name", "execute_tool"), ("gen_ai.tool.name", "read_file"), *_WHO,
    ),
    texts=_IDS, typed=True, raised=True,
)  # fmt: skip

FLEET_SHAPES: Shapes = {
    ("support-assistant", LLM): _TRACELOOP_CHAT,
    ("support-assistant", TOOL): _CHAT_TOOL,
    ("voice-agent", LLM): _OPENINFERENCE_CHAT,
    ("claims-triage", LLM): _OLD_TRACELOOP_CHAT,
    ("contract-search", LLM): _OPENINFERENCE_MESSAGES,
    ("contract-search", CHAIN): _CHAIN,
    ("contract-search", RETRIEVER): _RETRIEVER,
    ("contract-search", EMBEDDING): _EMBEDDING,
    ("email-drafts", LLM): _OTEL_CHAT,
    ("code-review", LLM): _TRACELOOP_MESSAGES,
    ("code-review", AGENT): _AGENT,
    ("code-review", TOOL): _AGENT_TOOL,
}

# What a replayed trace becomes: nothing but what the file says, in current names.
REPLAY_SHAPES: Shapes = {
    (ANY_SERVICE, LLM): Shape(
        "tocsin.replay", "", "chat {model}", CLIENT, UNSET,
        attributes=(
            ("gen_ai.operation.name", "chat"), ("gen_ai.request.model", "{model}"),
            ("gen_ai.provider.name", "{provider}"), *_WHO,
        ),
        numbers=_USAGE,
        first_token=("attribute", "gen_ai.response.time_to_first_chunk"),
        finish=("gen_ai.response.finish_reasons", True), words=_PLAIN_WORDS, typed=True,
    ),
}  # fmt: skip
