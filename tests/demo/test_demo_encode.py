"""What is written is what is read: bodies through the official protobuf classes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.demo import wire
from tocsin.demo.conventions import FLEET_SHAPES, REPLAY_SHAPES
from tocsin.demo.encode import Encoder
from tocsin.demo.spans import (
    CHAIN,
    EMBEDDING,
    FINISHES,
    LLM,
    RETRIEVER,
    TOOL,
    Failure,
    Names,
    Rows,
    blank,
)
from tocsin.demo.traffic import Traffic
from tocsin.domain.errors import TocsinError

T0 = 1_793_000_000_000_000_000


def value(any_value: Any) -> Any:
    which = any_value.WhichOneof("value")
    if which == "array_value":
        return [value(item) for item in any_value.array_value.values]
    return getattr(any_value, which)


def attributes(holder: Any) -> dict[str, Any]:
    found = {attribute.key: value(attribute.value) for attribute in holder.attributes}
    assert len(found) == len(holder.attributes), "an attribute was written twice"
    return found


def read(bodies: list[bytes]) -> list[tuple[dict[str, Any], str, Any]]:
    """(resource attributes, scope name, span) of every span."""
    found = []
    for body in bodies:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                found += [
                    (attributes(resource.resource), scope.scope.name, span) for span in scope.spans
                ]
    return found


def one(kind: int, service: str, names: Names, **columns: Any) -> Rows:
    row = blank(1)
    row["service"], row["kind"] = names.services.code(service), kind
    row["start"], row["end"] = T0, T0 + 2_500_000_000
    row["trace"], row["span"] = np.arange(16), np.arange(8) + 1
    row["session"], row["user"] = np.arange(6) + 10, 0xABCD
    row["tenant"] = names.tenants.code("northwind")
    names.tiers["northwind"] = "premium"
    row["region"] = names.regions.code("eu-west-1")
    row["release"] = names.releases.code("5.12.0")
    row["prompt"] = names.prompts.code("v42")
    for column, content in columns.items():
        row[column] = content
    return row


def single(row: Rows, names: Names, shapes: Any = FLEET_SHAPES) -> tuple[dict[str, Any], str, Any]:
    (found,) = read(Encoder(names, shapes).bodies(row))
    return found


def test_a_streamed_call_is_written_in_full() -> None:
    names = Names()
    row = one(
        LLM, "support-assistant", names, model=names.model("gpt-4o-mini", "openai"),
        ttft=400_000_000, input=1_234, output=56, cached=1_024, finish=FINISHES.index("stop"),
    )  # fmt: skip
    resource, scope, span = single(row, names)
    assert resource["service.name"] == "support-assistant"
    assert resource["service.version"] == "5.12.0"
    assert resource["deployment.environment.name"] == "prod"
    assert resource["cloud.region"] == "eu-west-1"
    assert scope == "opentelemetry.instrumentation.openai.v1"
    assert (span.name, span.kind, span.status.code) == ("openai.chat", 3, 1)
    assert span.trace_id == bytes(range(16))
    assert span.span_id == bytes(range(1, 9))
    assert span.parent_span_id == b""
    assert span.start_time_unix_nano == T0
    assert span.end_time_unix_nano == T0 + 2_500_000_000
    (event,) = span.events
    assert event.name == "gen_ai.content.completion.chunk"
    assert event.time_unix_nano == T0 + 400_000_000
    assert attributes(span) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini", "gen_ai.request.temperature": 0.3,
        "gen_ai.is_streaming": True, "gen_ai.response.id": "chatcmpl-01020304050607080001",
        "gen_ai.usage.input_tokens": 1_234, "gen_ai.usage.output_tokens": 56,
        "gen_ai.usage.total_tokens": 1_290, "gen_ai.usage.cache_read.input_tokens": 1_024,
        "gen_ai.response.finish_reasons": ["stop"],
        "session.id": "sess-0a0b0c0d0e0f", "user.id": "user-0000abcd",
        "tocsin.segment.tenant": "northwind", "tocsin.segment.tier": "premium",
        "llm.prompt_template.version": "v42",
    }  # fmt: skip


def test_what_is_unknown_is_not_written() -> None:
    names = Names()
    row = one(LLM, "support-assistant", names, model=names.model("gpt-4o-mini", "openai"),
              ttft=1_000_000)  # fmt: skip
    _, _, span = single(row, names)
    written = attributes(span)
    assert not [key for key in written if "usage" in key or "finish" in key]


def test_a_stream_that_died_has_status_ok_and_no_finish_reason() -> None:
    names = Names()
    row = one(LLM, "voice-agent", names, model=names.model("gpt-4o", "openai"), ttft=5_000_000)
    _, scope, span = single(row, names)
    assert scope == "openinference.instrumentation.openai"
    assert span.status.code == 1
    assert "llm.finish_reason" not in attributes(span)
    assert [event.name for event in span.events] == ["First Token Stream Event"]


def test_old_names_and_the_words_of_other_vendors() -> None:
    names = Names()
    llama = names.model("llama-3.1-70b-instruct", "vllm")
    old = attributes(
        single(one(LLM, "claims-triage", names, model=llama, input=104, output=9, finish=1), names)[
            2
        ]
    )
    assert old["gen_ai.usage.prompt_tokens"] == 104
    assert old["gen_ai.usage.completion_tokens"] == 9
    assert old["gen_ai.system"] == "vllm"
    assert old["gen_ai.completion.0.finish_reason"] == "stop"

    sonnet = names.model("claude-sonnet-4-20250514", "anthropic")
    row = one(LLM, "contract-search", names, model=sonnet, input=4_000, output=400, finish=1)
    new = attributes(single(row, names)[2])
    assert new["llm.finish_reason"] == "end_turn"
    assert new["llm.token_count.prompt"] == 4_000
    assert new["llm.token_count.total"] == 4_400


def test_a_failure_carries_the_body_of_its_vendor_and_its_own_request_id() -> None:
    names = Names()
    overloaded = Failure(
        "overloaded", "OverloadedError", "Error code: 529 - {'request_id': 'req_{id}'}", "anthropic"
    )
    row = one(
        LLM, "code-review", names, model=names.model("claude-opus-4-20250514", "anthropic"),
        outcome=names.outcome(overloaded),
    )  # fmt: skip
    _, _, span = single(row, names)
    assert span.status.code == 2
    assert span.status.message == "Error code: 529 - {'request_id': 'req_010203040506070800010203'}"
    written = attributes(span)
    assert written["error.type"] == "OverloadedError"
    assert "gen_ai.response.id" not in written
    (event,) = span.events
    assert event.name == "exception"
    assert event.time_unix_nano == span.end_time_unix_nano
    assert attributes(event)["exception.type"] == "anthropic.OverloadedError"


def test_openinference_puts_the_class_before_the_message() -> None:
    names = Names()
    limit = Failure("rate_limit", "RateLimitError", "Error code: 429 - {model}", "openai")
    row = one(LLM, "voice-agent", names, model=names.model("gpt-4o", "openai"),
              outcome=names.outcome(limit))  # fmt: skip
    assert single(row, names)[2].status.message == "RateLimitError: Error code: 429 - gpt-4o"


def test_retrievers_list_documents_and_embeddings_their_tokens() -> None:
    names = Names()
    found = attributes(single(one(RETRIEVER, "contract-search", names, documents=2), names)[2])
    assert found["openinference.span.kind"] == "RETRIEVER"
    assert found["retrieval.documents.1.document.id"] == "contract-1"
    assert found["retrieval.documents.0.document.score"] > 0.8
    assert "retrieval.documents.2.document.id" not in found
    nothing = attributes(single(one(RETRIEVER, "contract-search", names, documents=0), names)[2])
    assert not [key for key in nothing if key.startswith("retrieval.")]
    assert nothing["output.value"] == '{"documents": []}'
    silence = attributes(single(one(RETRIEVER, "contract-search", names), names)[2])
    assert "output.value" not in silence
    row = one(EMBEDDING, "contract-search", names, input=22,
              model=names.model("text-embedding-3-small", "openai"))  # fmt: skip
    embedding = attributes(single(row, names)[2])
    assert embedding["embedding.model_name"] == "text-embedding-3-small"
    assert embedding["llm.token_count.prompt"] == embedding["llm.token_count.total"] == 22


def test_children_name_their_parent() -> None:
    names = Names()
    row = one(CHAIN, "contract-search", names)
    assert single(row, names)[2].parent_span_id == b""
    row["parent"] = np.arange(8) + 50
    assert single(row, names)[2].parent_span_id == bytes(range(50, 58))


def test_an_unknown_duration_is_said_and_a_first_token_is_in_seconds() -> None:
    names = Names()
    row = one(LLM, "anything", names, timed=False, ttft=250_000_000, input=5, finish=1)
    row["end"] = row["start"]
    _, scope, span = single(row, names, REPLAY_SHAPES)
    written = attributes(span)
    assert scope == "tocsin.replay"
    assert written["tocsin.duration.unknown"] is True
    assert written["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.25)
    assert "gen_ai.request.model" not in written
    assert span.name == "chat"


def test_a_service_without_a_convention_is_an_error_that_names_it() -> None:
    names = Names()
    with pytest.raises(TocsinError, match="unheard-of"):
        Encoder(names, FLEET_SHAPES).bodies(one(TOOL, "unheard-of", names))


def test_one_process_per_body_and_at_most_so_many_spans() -> None:
    names = Names()
    row = one(LLM, "email-drafts", names, model=names.model("gpt-4o-mini", "openai"))
    rows = np.repeat(row, 1_100)
    rows["release"][::2] = names.releases.code("4.1.0")
    rows["end"] += np.arange(1_100)
    bodies = Encoder(names, FLEET_SHAPES).bodies(rows, limit=200)
    seen = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    sizes = [sum(len(s.spans) for r in b.resource_spans for s in r.scope_spans) for b in seen]
    assert sizes == [200, 200, 200, 200, 150, 150] or sorted(sizes) == [
        150,
        150,
        200,
        200,
        200,
        200,
    ]
    for request in seen:
        (resource,) = request.resource_spans
        spans = resource.scope_spans[0].spans
        ends = [span.end_time_unix_nano for span in spans]
        assert ends == sorted(ends)


def test_no_spans_make_no_bodies() -> None:
    assert Encoder(Names(), FLEET_SHAPES).bodies(blank(0)) == []


def test_every_number_of_real_traffic_survives() -> None:
    traffic = Traffic(11, datetime(2026, 11, 2, tzinfo=UTC), days=0.5, scale=0.5)
    rows = np.concatenate([spans for spans, _ in traffic.rows(12)])
    by_id = {bytes(row["span"]): row for row in rows}
    keys = {
        "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens",
                  "llm.token_count.prompt"),
        "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens",
                   "llm.token_count.completion"),
        "cached": ("gen_ai.usage.cache_read.input_tokens",
                   "llm.token_count.prompt_details.cache_read"),
    }  # fmt: skip
    names = traffic.names
    spans = read(Encoder(names, FLEET_SHAPES).bodies(rows))
    assert len(spans) == rows.size
    for resource, _, span in spans:
        row = by_id[span.span_id]
        written = attributes(span)
        assert resource["service.name"] == names.services[int(row["service"])]
        assert written["tocsin.segment.tenant"] == names.tenants[int(row["tenant"])]
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (row["start"], row["end"])
        assert (span.status.code == 2) == (row["outcome"] > 0)
        for column, spellings in keys.items():
            known = [written[key] for key in spellings if key in written]
            assert known in ([], [row[column]])
            if row["kind"] == LLM and column != "cached":
                assert bool(known) == (row[column] >= 0)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_383, 2_097_152, wire.MAX_INT])
def test_padded_varints_are_varints(number: int) -> None:
    (padded,) = wire.padded(np.array([number]))
    total = sum((int(byte) & 0x7F) << 7 * place for place, byte in enumerate(padded))
    assert total == number
    assert [int(b) >> 7 for b in padded] == [1, 1, 1, 0]


def test_a_number_beyond_the_width_is_cut_and_not_wrapped() -> None:
    assert wire.padded(np.array([wire.MAX_INT + 5])).tolist() == wire.padded(
        np.array([wire.MAX_INT])
    ).tolist()  # fmt: skip
