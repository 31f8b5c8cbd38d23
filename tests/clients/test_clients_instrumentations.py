"""What instrumented applications send: every kind of call, once and for what it was."""

from __future__ import annotations

from typing import Any

import pytest
from client_run import Tocsin

LATEST = {
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
}
USAGE, UNKNOWN, EMBEDDED = (48, 30), None, (6, 0)

# What apps/openai_calls.py does, in order: error class, usage, finish reason, truncated.
CHAT, FAILED_429, FAILED_503 = (
    ("", USAGE, "stop", False),
    ("rate_limit", UNKNOWN, "", False),
    ("overloaded", UNKNOWN, "", False),
)
STREAM, STREAM_WITHOUT_USAGE = ("", USAGE, "stop", False), ("", UNKNOWN, "stop", False)
BROKEN_STREAM = ("", UNKNOWN, "", True)
EMBEDDING, RESPONSE = ("", EMBEDDED, "", False), ("", USAGE, "stop", False)
EVERYTHING = [
    CHAT, FAILED_429, FAILED_503, STREAM, STREAM_WITHOUT_USAGE, BROKEN_STREAM, EMBEDDING, RESPONSE,
]  # fmt: skip
# It never tells how a stream ended, so that a broken one looks like any other; and it does not
# instrument the Responses API.
OPENAI_V2 = [
    CHAT, FAILED_429, FAILED_503, ("", USAGE, "", False), ("", UNKNOWN, "", False),
    ("", UNKNOWN, "", False), EMBEDDING,
]  # fmt: skip


def outcome(call: dict[str, Any]) -> tuple[Any, ...]:
    usage = (call["input_tokens"], call["output_tokens"]) if call["usage_known"] else None
    return call["error_class"], usage, call["finish_reason"], bool(call["truncated"])


@pytest.mark.parametrize(
    ("environment", "instrumentation", "variables", "expected"),
    [
        pytest.param("python", "openinference", {}, EVERYTHING, id="openinference"),
        pytest.param("python", "openllmetry", {}, EVERYTHING, id="openllmetry"),
        pytest.param("openai-v2", "openai-v2", {}, OPENAI_V2, id="openai-v2"),
        pytest.param("openai-v2", "openai-v2", LATEST, OPENAI_V2, id="openai-v2-latest"),
    ],
)
def test_every_call_is_counted_once_and_for_what_it_was(
    tocsin: Tocsin,
    request: pytest.FixtureRequest,
    environment: str,
    instrumentation: str,
    variables: dict[str, str],
    expected: list[tuple[Any, ...]],
) -> None:
    service = f"calls-{request.node.callspec.id}"
    tocsin.run(
        environment, "openai_calls.py", service, INSTRUMENTATION=instrumentation, **variables
    )
    calls = tocsin.calls(service, "kind IN ('llm', 'embedding')")
    assert [outcome(call) for call in calls] == expected
    assert {call["model"] for call in calls} == {"gpt-4o-mini", "text-embedding-3-small"}
    assert {call["provider"] for call in calls} == {"openai"}
    answered = [call["response_id"] for call in calls if call["response_id"]]
    assert len(answered) == len(set(answered)) >= 3


@pytest.mark.parametrize("batch", ["", "1"], ids=["span by span", "in batches"])
def test_a_framework_around_a_client_is_counted_once(
    tocsin: Tocsin, request: pytest.FixtureRequest, batch: str
) -> None:
    service = f"twice-{'batch' if batch else 'single'}"
    tocsin.run("python", "langchain_openai_twice.py", service, BATCH=batch)
    told = tocsin.calls(service, "1")
    calls = tocsin.calls(service)
    assert [outcome(call) for call in calls] == [CHAT, FAILED_429, STREAM, STREAM_WITHOUT_USAGE]
    assert {call["scope"] for call in calls} == {"openinference.instrumentation.openai"}
    wrappers = [c for c in told if c["attrs"].get("tocsin.wrapper")]
    assert len(wrappers) == len(calls)


def test_the_wrappers_of_the_vercel_ai_sdk_are_not_calls(tocsin: Tocsin) -> None:
    tocsin.run("js", "vercel_ai.mjs", "vercel")
    calls = tocsin.calls("vercel", "kind IN ('llm', 'embedding')")
    assert [(call["name"], *outcome(call)[:2]) for call in calls] == [
        ("ai.generateText.doGenerate", "", USAGE),
        ("ai.streamText.doStream", "", USAGE),
        ("ai.generateText.doGenerate", "rate_limit", UNKNOWN),
        ("ai.embed.doEmbed", "", EMBEDDED),
    ]
    assert len(tocsin.calls("vercel", "kind = 'chain'")) == 4
