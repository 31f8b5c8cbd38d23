"""Which instrumentation scopes never wrap a call that another span reports as well.

A body with spans of no other scope is read the plain way; any other scope, unknown ones included,
makes the store look for wrappers (`tocsin.store.wrappers`). The patterns are the store's.
"""

from __future__ import annotations

import re
from functools import lru_cache

PLAIN_SCOPES = (
    r"^(openinference\.instrumentation\.|@arizeai/openinference-instrumentation-"
    r"|opentelemetry\.instrumentation\.|@opentelemetry/instrumentation-"
    r"|@traceloop/instrumentation-|opentelemetry\.util\.genai\.|tocsin\.)"
)
# Calls from where it is not written down how their streams ended; the store takes none of them for
# cut off (`store.normalise.NEVER_TELL_A_FINISH`).
SILENT_SCOPE = "tocsin.replay"
FRAMEWORKS = (
    r"langchain|llama[-_]?index|haystack|crewai|agno|agents|autogen|dspy|smolagents|pydantic[-_]?ai"
    r"|litellm|mcp|guardrails|instructor|beeai|strands|portkey|google[-_]adk|semantic[-_]kernel"
)


@lru_cache(maxsize=4096)
def is_plain(scope: str) -> bool:
    """Whether spans of this scope are calls of their own, or no calls at all."""
    return re.match(PLAIN_SCOPES, scope) is not None and re.search(FRAMEWORKS, scope) is None
