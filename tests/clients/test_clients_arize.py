"""Arize's and Phoenix's clients, unchanged but for where they send to."""

from __future__ import annotations

from typing import Any

import pytest
from client_run import Tocsin


def scores(tocsin: Tocsin, where: str) -> list[tuple[Any, ...]]:
    """Project, name, label, value (None when it is no number), call, source."""
    rows = tocsin.query(
        "SELECT project, name, label, if(isNaN(value), NULL, value), call_id, source"
        f" FROM tocsin.scores WHERE {where} ORDER BY name, call_id"
    )
    return [tuple(row.values()) for row in rows]


def test_the_sdk_of_version_8_sends_spans_judgements_and_predictions(tocsin: Tocsin) -> None:
    tocsin.run("python", "arize8.py", "arize8")
    calls = tocsin.calls("arize8")
    assert [c["error_class"] for c in calls] == ["", "", "", "rate_limit"]
    assert {c["span_id"]: c["input_tokens"] for c in calls if c["usage_known"]} == {
        f"{n:016x}": 48 for n in (1, 2, 3)
    }
    assert {c["duration_us"] for c in calls} == {1_000_000}
    assert {c["input"] for c in calls} == {"Where is my parcel?"}
    one, two = f"{1:016x}", f"{2:016x}"
    assert scores(tocsin, "project = 'arize8'") == [
        ("arize8", "logged", "good", 1.0, one, "evaluator"),
        ("arize8", "logged", "bad", 0.0, two, "evaluator"),
        ("arize8", "metadata", "patched", None, one, "metadata"),
        ("arize8", "quality", "good", 1.0, one, "human"),
        ("arize8", "tone", "rude", 0.2, two, "human"),
        ("arize8", "updated", "good", 1.0, one, "evaluator"),
        ("arize8", "updated", "bad", 0.0, two, "evaluator"),
    ]
    predictions = tocsin.calls("arize8-ml", "1")
    assert [c["kind"] for c in predictions] == ["chain"] * 3
    assert {c["response_id"]: c["duration_us"] for c in predictions} == {
        "ticket-1": 40_000, "ticket-2": 0, "ticket-3": 0,
    }  # fmt: skip
    assert [row[1:5] for row in scores(tocsin, "project = 'arize8-ml'")] == [
        ("actual", "refund", None, "ticket-1"),
        ("actual", "delivery", None, "ticket-2"),
        ("prediction", "refund", 0.8, "ticket-1"),
        ("prediction", "refund", 0.7, "ticket-2"),
        ("prediction", "delivery", 0.9, "ticket-3"),
    ]


def test_the_sdk_of_version_7_sends_records_tables_spans_and_evaluations(tocsin: Tocsin) -> None:
    tocsin.run("older", "arize7.py", "arize7")
    [call] = tocsin.calls("arize7", "1")
    told = ("kind", "response_id", "model", "input_tokens", "output_tokens", "duration_us",
            "session_id", "input", "output")  # fmt: skip
    assert [call[name] for name in told] == [
        "llm", "conversation-17", "gpt-4o-mini", 48, 30, 1_250_000,
        "s-1", "Where is my parcel?", "Your parcel arrives tomorrow.",
    ]  # fmt: skip
    assert call["dims"] == {"region": "eu"}
    assert scores(tocsin, "project = 'arize7'") == [
        ("arize7", "actual", "resolved", None, "conversation-17", "model")
    ]
    assert {c["response_id"] for c in tocsin.calls("arize7-table", "1")} == {"ticket-2", "ticket-3"}
    assert [row[1:4] for row in scores(tocsin, "project = 'arize7-table'")] == [
        ("prediction", "refund", 0.7), ("prediction", "delivery", 0.9),
    ]  # fmt: skip
    [span] = tocsin.calls("arize7-spans")
    assert scores(tocsin, "project = 'arize7-spans'") == [
        ("arize7-spans", "late", "good", 0.75, span["span_id"], "evaluator")
    ]


@pytest.mark.parametrize(
    ("environment", "transport", "path"),
    # Over HTTP it cannot run beside the newest OpenTelemetry.
    [("python", "grpc", ""), ("older", "http", "/v1/traces"), ("older", "http", "/v1")],
)
def test_arize_otel_exports_over_either_transport(
    tocsin: Tocsin, environment: str, transport: str, path: str
) -> None:
    service = f"arize-otel-{transport}{path.replace('/', '-')}"
    tocsin.run(environment, "arize_otel.py", service, TRANSPORT=transport, URL_PATH=path)
    [call] = tocsin.calls(service)
    assert (call["project"], call["input_tokens"], call["output_tokens"]) == (service, 48, 30)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_phoenix_otel_exports_over_either_protocol(tocsin: Tocsin, protocol: str) -> None:
    service = f"phoenix-otel-{protocol}"
    tocsin.run("python", "phoenix_otel.py", service, PROTOCOL=protocol)
    [call] = tocsin.calls(service)
    assert (call["project"], call["input_tokens"], call["output_tokens"]) == (service, 48, 30)


def test_the_phoenix_client_sends_spans_and_annotations(tocsin: Tocsin) -> None:
    tocsin.run("python", "phoenix_client.py", "phoenix-client")
    [call] = tocsin.calls("phoenix-client")
    assert (call["project"], call["input_tokens"], call["output_tokens"]) == (
        "phoenix-client", 48, 30,
    )  # fmt: skip
    found = scores(tocsin, "call_id = '00000000000000f1'")
    assert [row[1:] for row in found] == [
        ("feedback", "thumbs_up", 1.0, call["span_id"], "human"),
        ("phoenix-relevance", "relevant", 0.5, call["span_id"], "llm"),
    ]
