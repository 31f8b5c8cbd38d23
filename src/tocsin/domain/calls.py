"""What one call of an LLM service is: kinds, classes of error, and the row every edge agrees on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

KINDS = (
    "llm", "embedding", "retriever", "tool", "agent", "chain",
    "reranker", "guardrail", "evaluator", "prompt", "other",
)  # fmt: skip

ERROR_CLASSES = (
    "rate_limit", "overloaded", "timeout", "server", "connection",
    "auth", "bad_request", "content_filter", "other",
)  # fmt: skip

# Failures the service owes its users an answer for. A malformed request or a policy refusal is the
# caller's: it is an error, shown and counted, but it spends no availability budget.
SYSTEM_FAILURES = frozenset(
    {"rate_limit", "overloaded", "timeout", "server", "connection", "auth", "other"}
)


@dataclass(frozen=True, slots=True)
class Call:
    """One LLM, embedding, retrieval, tool or agent span, normalised.

    Unknown is None, never 0: `duration_ms` of a span that begins and ends at once, `input_tokens`
    when the client saw no usage, `ttft_ms` when nothing was streamed or timed, `cost_usd` when no
    price is known. `error_class` is "" for success. `truncated` marks a stream that ended without
    a finish reason.
    """

    ts: datetime
    project: str
    service: str
    kind: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str = ""
    env: str = ""
    provider: str = ""
    model: str = ""
    response_id: str = ""
    duration_ms: float | None = None
    ttft_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usage_known: bool = False
    cost_usd: float | None = None
    error_class: str = ""
    status_message: str = ""
    finish_reason: str = ""
    truncated: bool = False
    session_id: str = ""
    user_id: str = ""
    release: str = ""
    prompt_version: str = ""
    dims: Mapping[str, str] = field(default_factory=dict)
