"""Every recipe of docs/guides/send-telemetry.md works as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from client_run import Tocsin, snippets

# Recipe -> the environment that has its client.
RECIPES = {
    "opentelemetry": "python",
    "openai-v2": "openai-v2",
    "openinference": "python",
    "langchain": "python",
    "openllmetry": "python",
    "litellm": "openai-v2",
    "opentelemetry-js": "js",
    "vercel-ai": "js",
    "arize-otel": "python",
    "arize8": "python",
    "arize7": "older",
    "phoenix-otel": "python",
    "phoenix-client": "python",
}
WITHOUT_CALLS = ("arize7", "arize8", "phoenix-client")  # or with more than calls; see below
SCORES = "SELECT name, label, value, call_id FROM tocsin.scores WHERE "


def test_every_recipe_is_run() -> None:
    assert set(snippets()) == set(RECIPES)


@pytest.mark.parametrize("name", [n for n in RECIPES if n not in WITHOUT_CALLS])
def test_a_recipe_gives_one_call_with_its_tokens(tocsin: Tocsin, name: str, tmp_path: Path) -> None:
    service = f"guide-{name}"
    tocsin.run_snippet(RECIPES[name], name, service, tmp_path)
    call = assert_one_call(tocsin, service)
    if not name.startswith("opentelemetry"):  # those send no texts
        told = tocsin.detail(call)
        assert "Where is my parcel?" in told.input
        assert "arrives tomorrow" in told.output
        assert told.content_from == ("log records" if name == "openai-v2" else "span")


def test_the_recipe_of_the_arize_sdk_evaluates_its_span(tocsin: Tocsin, tmp_path: Path) -> None:
    service = "guide-evaluated"
    tocsin.run_snippet("python", "arize8", service, tmp_path)
    call = assert_one_call(tocsin, service)
    [score] = tocsin.query(f"{SCORES} service = '{service}'")
    assert score == {
        "name": "faithfulness", "label": "faithful", "value": 0.9, "call_id": call["span_id"],
    }  # fmt: skip


def test_the_recipe_of_the_older_arize_sdk_logs_a_prediction(
    tocsin: Tocsin, tmp_path: Path
) -> None:
    tocsin.run_snippet("older", "arize7", "guide-arize7", tmp_path)
    [call] = tocsin.calls("guide-arize7", "1")
    assert call["duration_us"] == 1_250_000
    assert call["response_id"] == "conversation-17"


def test_the_recipe_of_the_phoenix_client_annotates_a_span(tocsin: Tocsin, tmp_path: Path) -> None:
    tocsin.run_snippet("python", "phoenix-client", "guide-annotated", tmp_path)
    found = tocsin.query(f"{SCORES} name = 'feedback' AND source = 'human'")
    assert found == [
        {"name": "feedback", "label": "thumbs_down", "value": 0.0, "call_id": "00f067aa0ba902b7"}
    ]


def assert_one_call(tocsin: Tocsin, service: str) -> dict[str, Any]:
    [call] = tocsin.calls(service)
    assert (call["provider"], call["model"]) == ("openai", "gpt-4o-mini")
    assert (call["usage_known"], call["input_tokens"], call["output_tokens"]) == (1, 48, 30)
    assert call["cost_known"]
    return call
