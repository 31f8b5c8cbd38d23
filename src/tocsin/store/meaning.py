"""What the attributes of a span mean: kind, provider, outcome and end, as SQL over picked texts.

Every function returns an SQL expression over columns that `tocsin.store.normalise` has named; the
word lists are what the instrumentations recorded so far say.
"""

from __future__ import annotations

from tocsin.domain.calls import ERROR_CLASSES, KINDS
from tocsin.domain.failures import (
    ERROR_PATTERNS,
    FILTERED,
    FILTERED_ENDS,
    STATUS,
    STATUS_CLASSES,
    UNSAID_ENDS,
)
from tocsin.store.sqltext import first_known, mapped, one_of, quoted

_OPERATIONS = {
    "llm": (
        "chat", "text_completion", "completion", "acompletion", "generate_content", "responses",
        "aresponses", "message", "messages", "generate",
    ),
    "embedding": ("embeddings", "embedding", "aembedding", "embed"),
    "tool": ("execute_tool", "tool"),
    "agent": ("invoke_agent", "create_agent", "agent"),
    "retriever": ("retrieval", "retrieve", "vector_db_retrieve", "search"),
    "reranker": ("rerank", "reranking", "arerank"),
    "chain": ("execute_task", "invoke_workflow", "workflow", "task", "chain"),
    "guardrail": ("guardrail", "apply_guardrail", "moderation"),
    "evaluator": ("evaluate", "evaluation"),
}  # fmt: skip

_FINISH_REASONS = {
    "stop": ("stop", "end_turn", "complete", "completed", "stop_sequence", "end", "eos"),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "tool-calls", "function_call"),
    "length": ("length", "max_tokens", "max_output_tokens", "incomplete", "model_length"),
    "content_filter": FILTERED_ENDS,
    "": UNSAID_ENDS,
}  # fmt: skip

_FIRST_TOKEN_EVENTS = (
    "First Token Stream Event", "gen_ai.content.completion.chunk", "llm.content.completion.chunk",
    "ai.stream.firstChunk",
)  # fmt: skip

# Frameworks that name themselves where the provider belongs; the maker of the model is meant.
FRAMEWORK_PROVIDERS = ("", "langchain", "langgraph", "llamaindex", "llama_index", "litellm")


def count_from(text: str) -> str:
    """A count from text; NULL when it is unreadable, NaN, negative or absurd."""
    return f"accurateCastOrNull(round(toFloat64OrNull({text})), 'UInt32')"


def fitting(value: str) -> str:
    """A Float64 expression as UInt32; what does not fit is 0."""
    return f"accurateCastOrDefault(round({value}), 'UInt32')"


def operation_kind() -> str:
    """The kind that the name of the operation tells, '' when it tells none."""
    return mapped("lower(a_operation)", _OPERATIONS, "''")


def kind() -> str:
    """The kind of call (one of `domain.calls.KINDS`), given `declared` and `by_operation`.

    OpenInference says it outright; of Vercel's spans only the inner ones are calls.
    """
    vercel = (
        "multiIf(match(a_ai_operation, '[.]do(Generate|Stream)$'), 'llm',"
        " endsWith(a_ai_operation, '.doEmbed'), 'embedding',"
        " a_ai_operation = 'ai.toolCall', 'tool', 'chain')"
    )
    traced = mapped("lower(a_traceloop_kind)", _OPERATIONS, "'chain'")
    requested = mapped("lower(a_request_type)", _OPERATIONS, "'other'")
    return (
        f"multiIf({one_of('declared', KINDS)}, declared, a_ai_operation != '', {vercel},"
        f" by_operation != '', by_operation, a_traceloop_kind != '', {traced},"
        f" a_request_type != '', {requested}, concat(a_request_model, a_model) != '', 'llm',"
        " 'other')"
    )


def provider() -> str:
    """The provider as the span names it, lower-case, without the name of one of its APIs."""
    api = (
        r"\.(chat|completions?|responses|embeddings?|messages|image|speech|transcription"
        r"|generative-ai)$"
    )
    lower = "lower(a_provider)"
    return (
        f"if(position(a_provider, '.') > 0, replaceRegexpOne({lower}, {quoted(api)}, ''), {lower})"
    )


def finish_reason() -> str:
    """Why generation ended, in one vocabulary; '' when nobody was told.

    The words are those of the span, else of the provider's answer in its output.
    """
    said = first_known(
        "a_finish", "answer.choices[1].finish_reason", "answer.stop_reason", "answer.status"
    )
    return mapped(f"lower(extract({said}, '[A-Za-z_-]+'))", _FINISH_REASONS)


def first_token_event() -> str:
    """Which event marks the first token, 0 when none does."""
    return f"arrayFirstIndex(n -> {one_of('n', _FIRST_TOKEN_EVENTS)}, events)"


def first_token_us() -> str:
    """Microseconds to the first token, given `first_token_event`; 0 when nothing says when."""
    return fitting(
        "multiIf(a_ttft_s != '', toFloat64OrZero(a_ttft_s) * 1e6,"
        " a_ttft_ms != '', toFloat64OrZero(a_ttft_ms) * 1e3, first_token_event > 0,"
        " (toFloat64(event_times[first_token_event]) - toFloat64(t0)) / 1e3, 0)"
    )


def failed() -> str:
    """The span reports a failure: by status, error type, HTTP status, or how generation ended."""
    return (
        "status = 2 OR a_error_type != '' OR finish_reason IN ('content_filter', 'error')"
        " OR (own_kind IN ('llm', 'embedding') AND toUInt16OrZero(a_http_status) >= 400)"
    )


def failure_text() -> str:
    """All the words and codes there are about a failure, lower-case."""
    return (
        "lower(concat('http:', a_http_status, ' status:', a_error_type, ' ',"
        " exception['exception.type'], ' ', substring(status_text, 1, 500), ' ',"
        " substring(exception['exception.message'], 1, 200)))"
    )


def _failure_code(text: str) -> str:
    """The HTTP status behind a failure, 0 when none is told."""
    return f"toUInt16OrZero(extract({text}, {quoted(STATUS)}))"


def documents_found() -> str:
    """How many documents a retriever returned, as text; '' when it does not say.

    OpenInference writes one group of attributes per document; no group and an empty output is an
    empty result, no group and no output is silence.
    """
    names = "arrayFilter(k -> startsWith(k, 'retrieval.documents.'), names)"
    count = f"arrayUniq(arrayMap(k -> extract(k, '[.]([0-9]+)[.]'), {names}))"
    empty = "match(a_output, '^([[][]]|[{]\"documents\": ?[[][]])')"
    return f"multiIf(own_kind != 'retriever', '', {count} > 0, toString({count}), {empty}, '0', '')"


def failure_class(texts: str) -> str:
    """The class of a failure (one of `domain.calls.ERROR_CLASSES`), '' without one.

    texts: an array with what `failure_text` says of it, empty where nothing failed. Inside, t is
    that text and c its code.
    """
    tests = [
        f"c = {codes[0]}" if len(codes) == 1 else f"c IN ({', '.join(map(str, codes))})"
        for codes, _ in STATUS_CLASSES
    ]
    named = [quoted(name) for _, name in STATUS_CLASSES]
    by_code = ", ".join(
        f"{test}, {name}"
        for test, name in zip(
            (*tests, "c >= 500", "c >= 400"), (*named, "'server'", "'bad_request'"), strict=True
        )
    )
    by_text = ", ".join(f"match(t, {quoted(p)}), {quoted(c)}" for c, p in ERROR_PATTERNS)
    told = (
        f"multiIf({one_of('a_error_type', ERROR_CLASSES)}, a_error_type,"
        f" finish_reason = 'content_filter' OR match(t, {quoted(FILTERED)}), 'content_filter',"
        f" {by_code}, {by_text}, 'other')"
    )
    codes = f"arrayMap(t -> {_failure_code('t')}, {texts})"
    return f"arrayMap((t, c) -> {told}, {texts}, {codes})[1]"
