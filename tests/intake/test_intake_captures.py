"""The acceptance test of intake: bodies that real clients sent, against what really happened.

The truth of every recording is the log of the provider that the clients talked to. Where a client
does not tell what happened, the blind spot is listed here by name with its reason, and the test
fails as well when one of them disappears.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from intake_build import FIXTURES, SHARED, Bench, bench, content_headers, manifest, path_of

CLASSES = {"429": "rate_limit", "500": "server", "529": "overloaded", "400": "bad_request"}

NO_SPAN_ON_REJECTION = "the JS instrumentations emit no span when the call rejects"
NO_SPAN = "the instrumentation does not trace this call"
NO_EMBEDDING_SPANS = "langchain instrumentations do not trace embeddings"
NO_USAGE = "the stream carried no usage, or the instrumentation does not read it"
NO_EMBEDDING_USAGE = "the instrumentation reports no tokens of embeddings"
NO_STREAM_MARK = "nothing on the span says that the answer was streamed"
NO_FIRST_TOKEN = "the instrumentation does not time the first token"
NO_ID = "the instrumentation does not keep the provider's response id"
GAVE_UP = "the client gave up before the provider reported its usage"

# label -> what of the truth is not in the payload -> why.
BLIND: dict[str, dict[str, str]] = {
    "js-oi-openai__embed": {"input": NO_EMBEDDING_USAGE},
    "js-oi-openai__stream": {
        "input": NO_USAGE, "output": NO_USAGE, "ids": NO_ID, "ttft": NO_FIRST_TOKEN,
    },
    "js-tl-openai__stream": {
        "input": NO_USAGE, "output": NO_USAGE, "streamed": NO_STREAM_MARK, "ttft": NO_FIRST_TOKEN,
    },
    "litellm__stream": {"ttft": NO_FIRST_TOKEN},
    "oi-anthropic__stream": {"ttft": NO_FIRST_TOKEN},
    "oi-anthropic__stream_helper": {"ttft": NO_FIRST_TOKEN},
    "oi-langchain__rag_stream": {
        "embedding": NO_EMBEDDING_SPANS, "input": NO_EMBEDDING_SPANS, "models": NO_EMBEDDING_SPANS,
        "ids": NO_ID, "streamed": NO_STREAM_MARK, "ttft": NO_FIRST_TOKEN,
    },
    "oi-llamaindex__rag": {"input": NO_EMBEDDING_USAGE, "ids": NO_ID},
    "oi-llamaindex__retrieve": {"input": NO_EMBEDDING_USAGE},
    "oi-openai__err_timeout": {"input": GAVE_UP, "output": GAVE_UP},
    "oi-openai__stream": {"input": NO_USAGE, "output": NO_USAGE},
    "oi-openai__stream_abandon": {"input": NO_USAGE, "output": NO_USAGE},
    "oi-openai__stream_drop": {"input": NO_USAGE, "output": NO_USAGE},
    "old-tl-anthropic__stream": {
        "input": NO_USAGE, "output": NO_USAGE, "ttft": NO_FIRST_TOKEN,
    },
    "old-tl-langchain__rag_err": {
        "embedding": NO_EMBEDDING_SPANS, "errors": NO_EMBEDDING_SPANS, "input": NO_EMBEDDING_SPANS,
        "models": NO_EMBEDDING_SPANS, "providers": NO_EMBEDDING_SPANS,
    },
    "old-tl-openai__stream": {"input": NO_USAGE, "output": NO_USAGE},
    "otel-openai-v2__async": {"streamed": NO_STREAM_MARK, "ttft": NO_FIRST_TOKEN},
    "otel-openai-v2__err_timeout": {"input": GAVE_UP, "output": GAVE_UP},
    "otel-openai-v2__stream": {
        "input": NO_USAGE, "output": NO_USAGE, "streamed": NO_STREAM_MARK, "ttft": NO_FIRST_TOKEN,
    },
    "tl-anthropic__stream": {
        "output": "the instrumentation counts one token more than the provider billed",
        "ttft": NO_FIRST_TOKEN,
    },
    "tl-langchain__rag": {
        "embedding": NO_EMBEDDING_SPANS, "input": NO_EMBEDDING_SPANS, "models": NO_EMBEDDING_SPANS,
    },
}  # fmt: skip

# Labels whose clients sent no traces at all.
SILENT = {
    "js-oi-openai__err_429": NO_SPAN_ON_REJECTION,
    "js-tl-openai__err_429": NO_SPAN_ON_REJECTION,
    "js-tl-openai__embed": NO_SPAN,
    "old-tl-llamaindex__rag": NO_SPAN,
    "old-tl-llamaindex__rag_err": NO_SPAN,
    "otel-openai-v2-latest__responses": NO_SPAN,
}

MANIFESTS = {"fixtures": FIXTURES, "recordings": SHARED}
TRUTHS = [
    pytest.param(name, label, id=f"{name}-{label}")
    for name, path in MANIFESTS.items()
    if (path / "manifest.json").exists()
    for label in sorted(manifest(path)["truth"])
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Every recording, sent to a project named after where it is kept and its label."""
    with bench(tmp_path_factory.mktemp("captures")) as made:
        for name, directory in MANIFESTS.items():
            if (directory / "manifest.json").exists():
                _send_all(made, name, directory)
        made.store.flush(300)  # all recordings at once take a busy machine minutes
        yield made


def _send_all(made: Bench, name: str, directory: Path) -> None:
    captures = manifest(directory)["captures"]
    requests = [
        (
            path_of(capture),
            (directory / capture["file"]).read_bytes(),
            {**content_headers(capture), "x-project-name": f"{name}-{capture['label']}"},
        )
        for capture in captures
    ]
    for capture, response in zip(captures, made.post_all(requests), strict=True):
        assert response.status_code == 200, (capture["file"], response.text)


def test_all_recordings_are_read_when_they_are_at_hand() -> None:
    if not (SHARED / "manifest.json").exists():
        pytest.skip("the recordings in ../shared/otlp are not at hand; the fixtures are tested")
    assert len(manifest(SHARED)["captures"]) == 192


def test_nothing_of_the_recordings_is_set_aside_or_refused(filled: Bench) -> None:
    assert filled.query("SELECT reason FROM tocsin.quarantine") == []
    assert not [name for name in filled.intake.counts if name.startswith("refused")]


@pytest.mark.parametrize(("name", "label"), TRUTHS)
def test_calls_tell_what_the_provider_logged(filled: Bench, name: str, label: str) -> None:
    truth = manifest(MANIFESTS[name])["truth"][label]
    calls = filled.calls(f"project = '{name}-{label}' AND kind IN ('llm', 'embedding')")
    if label in SILENT:
        assert calls == [], SILENT[label]
        return
    found, real = _found(calls), _real(truth)
    blind = BLIND.get(label, {})
    assert {key: found[key] for key in real if key not in blind} == {
        key: value for key, value in real.items() if key not in blind
    }
    assert {key for key in real if found[key] != real[key]} == set(blind), "a blind spot is gone"
    for call in calls:
        assert call["ttft_us"] <= call["duration_us"]
        assert call["usage_known"] == (call["input_tokens"] + call["output_tokens"] > 0)


def _found(calls: list[dict[str, Any]]) -> dict[str, Any]:
    def total(column: str) -> int:
        return sum(call[column] for call in calls)

    return {
        "llm": sum(call["kind"] == "llm" for call in calls),
        "embedding": sum(call["kind"] == "embedding" for call in calls),
        "errors": _counted(call["error_class"] for call in calls if call["error_class"]),
        "truncated": total("truncated"),
        "input": total("input_tokens"),
        "output": total("output_tokens"),
        "streamed": total("streamed"),
        "ttft": sum(call["ttft_us"] > 0 for call in calls),
        "ids": {call["response_id"] for call in calls if call["response_id"]},
        "models": {call["model"] for call in calls},
        "providers": {call["provider"] for call in calls},
    }


def _real(truth: Mapping[str, Any]) -> dict[str, Any]:
    requests = truth["provider_requests"]
    errors = {CLASSES[code]: n for code, n in truth["errors"].items()}
    if truth["timeouts"]:
        errors["timeout"] = truth["timeouts"]
    # A client that leaves a stream has seen its id already; one that times out has not.
    answered = [r for r in requests if r["status"] == 200 and not r.get("hang")]
    streams = sum(request["stream"] for request in requests)
    return {
        "llm": truth["llm_calls"],
        "embedding": truth["embedding_calls"],
        "errors": errors,
        "truncated": truth["dropped_streams"],
        # Billed input of Anthropic leaves cached tokens out; a call's input includes them.
        "input": truth["input_tokens_billed"]
        + sum(r.get("cache_read_tokens", 0) for r in requests if "/messages" in r["path"]),
        "output": truth["output_tokens_billed"],
        "streamed": streams,
        "ttft": streams,
        "ids": {r["response_id"] for r in answered if r.get("response_id")},
        "models": {request["model"] for request in requests},
        "providers": {
            "anthropic" if "/messages" in request["path"] else "openai" for request in requests
        },
    }


def _counted(words: Iterator[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def test_cost_is_known_wherever_usage_and_a_priced_model_are(filled: Bench) -> None:
    calls = filled.calls("usage_known AND project LIKE 'fixtures-%'")
    assert calls
    for call in calls:
        assert call["cost_known"] == 1, (call["provider"], call["model"])
        assert call["cost_usd"] > 0
    cached = next(call for call in calls if call["project"].endswith("chat_cache"))
    # claude-sonnet-4-5: 207 fresh input at 3, 1,024 cached at 0.30, 19 output at 15 $ per million.
    assert cached["cost_usd"] == pytest.approx((207 * 3 + 1024 * 0.3 + 19 * 15) / 1e6)


def test_an_abandoned_stream_is_not_a_truncated_one(filled: Bench) -> None:
    (call,) = filled.calls("project = 'fixtures-oi-openai__stream_abandon'")
    assert (call["streamed"], call["truncated"]) == (1, 0)
    assert call["attrs"]["tocsin.abandoned"] == "true"


def test_wrappers_say_why_they_do_not_count(filled: Bench) -> None:
    rows = filled.query(
        "SELECT name, kind, attrs['tocsin.wrapper'] AS why, input_tokens, cost_known"
        " FROM tocsin.calls WHERE project = 'fixtures-arize-otel-auto-langchain' AND why != ''"
    )
    assert rows == [{
        "name": "ChatOpenAI", "kind": "chain", "why": "another span has the same response id",
        "input_tokens": 0, "cost_known": 0,
    }]  # fmt: skip


def test_retrievers_say_how_many_documents_they_found(filled: Bench) -> None:
    rows = filled.query(
        "SELECT attrs['retrieval.documents.count'] AS n FROM tocsin.calls"
        " WHERE kind = 'retriever' AND project = 'fixtures-arize-otel-auto-langchain'"
    )
    assert rows == [{"n": "2"}]


def test_arize_tables_become_calls_and_scores(filled: Bench) -> None:
    calls = filled.calls("project = 'fixtures-arize-spans-log'")
    assert len(calls) == 6
    assert {call["model"] for call in calls} == {"gpt-4o-mini"}
    assert {call["session_id"] for call in calls} >= {"s0"}
    scores = filled.query(
        "SELECT call_id, name, value, label, source FROM tocsin.scores"
        " WHERE name = 'hallucination' AND project = 'fixtures-arize-spans-log'"
    )
    assert {score["call_id"] for score in scores} == {call["span_id"] for call in calls}


def test_a_logged_prediction_becomes_a_call_with_its_latency(filled: Bench) -> None:
    (call,) = filled.calls("project = 'fixtures-arize-ml-stream'")
    assert call["duration_us"] == 812_500
    assert call["response_id"] == "p-1"
    assert call["dims"]["region"] == "eu-west-1"


def test_phoenix_annotations_become_scores(filled: Bench) -> None:
    rows = filled.query(
        "SELECT DISTINCT name, value, label, source, comment FROM tocsin.scores"
        " WHERE call_id = '67f6740bbe1ddc3f' AND source IN ('human', 'llm') AND comment != 'late'"
        " ORDER BY name"
    )
    assert rows == [
        {"name": "correctness", "value": 1.0, "label": "correct", "source": "llm", "comment": ""},
        {
            "name": "feedback", "value": 0.0, "label": "thumbs-down", "source": "human",
            "comment": "wrong order",
        },
    ]  # fmt: skip
