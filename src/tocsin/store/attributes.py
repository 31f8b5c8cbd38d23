"""Which attribute of which instrumentation means what: one table for every dialect of GenAI spans.

OpenTelemetry GenAI (old and new), OpenInference, Traceloop, Vercel AI SDK and LiteLLM name the same
thing differently. `FIELDS` lists, per field of a call, the names in the order in which they are
believed; names in the same inner tuple mean exactly the same and the first on the span is taken.

Every name gets a small integer code, so that the engine looks a name up once per attribute (one
hash) and afterwards compares bytes. `moved` fields leave the attribute map because a typed column
holds their value, `usage` fields do so on calls; the others stay there as well, because their
column is a digest of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.store.sqltext import quoted

SEGMENT_PREFIX = "tocsin.segment."
SEGMENT_CODE = 255


@dataclass(frozen=True, slots=True)
class Names:
    """The attribute names of one field, most believed first."""

    ranks: tuple[tuple[str, ...], ...]
    moved: bool = False
    usage: bool = False

    @property
    def place(self) -> int:
        """Order of the codes: moved, then usage, then the rest."""
        return 0 if self.moved else 1 if self.usage else 2


def _names(*ranks: str | tuple[str, ...], moved: bool = False, usage: bool = False) -> Names:
    return Names(tuple((r,) if isinstance(r, str) else r for r in ranks), moved, usage)


FIELDS: dict[str, Names] = {
    "a_oi_kind": _names("openinference.span.kind", moved=True),
    "a_operation": _names("gen_ai.operation.name", moved=True),
    "a_ai_operation": _names("ai.operationId"),
    "a_traceloop_kind": _names("traceloop.span.kind"),
    "a_request_type": _names("llm.request.type"),
    "a_provider": _names(
        "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"
    ),
    "a_request_model": _names(("gen_ai.request.model", "llm.request.model_name"), moved=True),
    "a_model": _names(("llm.model_name", "embedding.model_name"), "ai.model.id"),
    "a_response_model": _names(
        ("gen_ai.response.model", "llm.response.model_name"), "ai.response.model", moved=True
    ),
    "a_response_id": _names("gen_ai.response.id", "ai.response.id", moved=True),
    "a_parameters": _names(("llm.invocation_parameters", "embedding.invocation_parameters")),
    "a_input_tokens": _names(
        ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        "llm.token_count.prompt",
        ("ai.usage.promptTokens", "ai.usage.inputTokens", "ai.usage.tokens"),
        usage=True,
    ),
    "a_output_tokens": _names(
        ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        "llm.token_count.completion",
        ("ai.usage.completionTokens", "ai.usage.outputTokens"),
        usage=True,
    ),
    "a_cached_tokens": _names(
        (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
            "ai.usage.cachedInputTokens",
        ),
        usage=True,
    ),
    "a_written_tokens": _names(
        (
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "llm.token_count.prompt_details.cache_write",
        ),
    ),
    "a_reasoning_tokens": _names(
        (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
            "ai.usage.reasoningTokens",
        ),
        usage=True,
    ),
    "a_finish": _names(
        "gen_ai.response.finish_reasons",
        ("gen_ai.completion.0.finish_reason", "llm.finish_reason", "ai.response.finishReason"),
    ),
    "a_error_type": _names("error.type", moved=True),
    "a_http_status": _names(("http.response.status_code", "http.status_code")),
    "a_ttft_s": _names(
        ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"), moved=True
    ),
    "a_ttft_ms": _names("ai.response.msToFirstChunk", moved=True),
    "a_cost": _names("llm.cost.total", ("gen_ai.usage.cost", "gen_ai.cost.total_cost"), usage=True),
    "a_streaming": _names(
        ("llm.is_streaming", "gen_ai.is_streaming", "gen_ai.request.stream"), moved=True
    ),
    "a_session": _names(
        "session.id",
        ("gen_ai.conversation.id", "ai.telemetry.metadata.sessionId"),
        "traceloop.association.properties.session_id",
        moved=True,
    ),
    "a_user": _names(
        ("user.id", "enduser.id", "ai.telemetry.metadata.userId"),
        "traceloop.association.properties.user_id",
        moved=True,
    ),
    "a_prompt_version": _names(
        ("llm.prompt_template.version", "gen_ai.prompt.version"), moved=True
    ),
    "a_metadata": _names("metadata"),
    "a_region": _names("cloud.region"),
    "a_input": _names(
        "gen_ai.input.messages",
        "input.value",
        ("ai.prompt.messages", "ai.prompt", "traceloop.entity.input"),
        moved=True,
    ),
    "a_output": _names(
        "gen_ai.output.messages",
        "output.value",
        ("ai.response.text", "traceloop.entity.output"),
        moved=True,
    ),
}

# Spans of these scopes are calls of a provider and never wrap one another, so that a segment of
# nothing else needs no search for wrappers. Frameworks are what the second pattern takes out again.
PLAIN_SCOPES = (
    r"^(openinference\.instrumentation\.|@arizeai/openinference-instrumentation-"
    r"|opentelemetry\.instrumentation\.|@opentelemetry/instrumentation-"
    r"|@traceloop/instrumentation-|opentelemetry\.util\.genai\.|tocsin\.)"
)
FRAMEWORKS = (
    r"langchain|llama[-_]?index|haystack|crewai|agno|agents|autogen|dspy|smolagents|pydantic[-_]?ai"
    r"|litellm|mcp|guardrails|instructor|beeai|strands|portkey|google[-_]adk|semantic[-_]kernel"
)
_PROVIDERS = (
    r"openai|anthropic|bedrock|vertex[-_]?ai|google[-_]gen|mistral|groq|cohere|ollama|together"
    r"|replicate|sagemaker|watsonx|alephalpha|azure|util\.genai|^tocsin\."
)


def is_provider(scope: str) -> str:
    """SQL condition: the scope in column `scope` is an instrumentation of a provider's client."""
    return (
        f"match({scope}, {quoted(PLAIN_SCOPES)}) AND match({scope}, {quoted(_PROVIDERS)})"
        f" AND NOT match({scope}, {quoted(FRAMEWORKS)})"
    )


@dataclass(frozen=True, slots=True)
class Codebook:
    """The codes of every known name.

    codes[field] are the codes of the field's ranks. Codes up to `last_moved` belong to moved
    fields, those after it up to `last_usage` to usage fields.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    codes: dict[str, tuple[int, ...]]
    last_moved: int
    last_usage: int


def codebook(extra: Mapping[str, Names] | None = None) -> Codebook:
    """Number the names of `FIELDS` and of `extra` fields."""
    names: list[str] = []
    numbers: list[int] = []
    codes: dict[str, tuple[int, ...]] = {}
    last = {0: 0, 1: 0, 2: 0}
    following = 1
    fields = {**FIELDS, **(extra or {})}
    for field, entry in sorted(fields.items(), key=lambda item: item[1].place):
        codes[field] = tuple(range(following, following + len(entry.ranks)))
        for code, rank in zip(codes[field], entry.ranks, strict=True):
            names.extend(rank)
            numbers.extend([code] * len(rank))
        following += len(entry.ranks)
        last[entry.place] = following - 1
    if following > SEGMENT_CODE:
        raise ValueError("more attribute names than one byte can number")
    return Codebook(tuple(names), tuple(numbers), codes, last[0], last[1])
