"""`tocsin score` as a pipeline uses it: two files in, a number and its reasons out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tocsin.cli import app

# The dictionary of seed document 003, word for word in its fields.
SEED = {
    "score_name": "support_chatbot_health",
    "display_name": "Support Chatbot Health Score",
    "description": "Overall health score for the LLM-powered support agent.",
    "formula": {
        "components": [
            {"metric_name": "response_relevance_score", "weight": 0.5, "inverse": False},
            {"metric_name": "p95_latency_seconds", "weight": 0.3, "inverse": True},
            {"metric_name": "cost_per_conversation_usd", "weight": 0.2, "inverse": True},
        ],
        "aggregation": "weighted_sum",
    },
    "thresholds": {"critical": 0.6, "warning": 0.8},
}
DOCUMENT = """
apiVersion: tocsin/v1
kind: HealthScore
metadata: {name: rag, displayName: Retrieval}
spec:
  aggregation: {method: weighted_sum, criticalHeadroom: 20}
  components:
    - {metric: relevance, weight: 0.4}
    - {metric: p95_latency_ms, weight: 0.4, critical: true}
    - {metric: budget, weight: 0.2, fromSLO: rag-availability}
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def written(name: str, content: object) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return written


def test_the_seed_dictionary_runs_as_it_is(file: Any) -> None:
    now = {"response_relevance_score": 0.9, "p95_latency_seconds": 3.0,
           "cost_per_conversation_usd": 0.04}  # fmt: skip
    before = {**now, "p95_latency_seconds": 1.0}
    done = run("--config", file("c.json", SEED), "--values", file("v.json", now),
               "--before", file("b.json", before), "--output", "json")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    # relevance 90 and latency 50, weighted 5 : 3; what a conversation should cost nobody says
    assert found["score"] == pytest.approx(75)
    assert (found["state"], found["coverage"]) == ("warning", pytest.approx(0.8))
    assert found["components"][2]["score"] is None
    assert "cost_per_conversation_usd" in found["warnings"][0]
    assert found["change"]["total"] == pytest.approx(-18.75)
    assert sum(found["change"]["components"].values()) == pytest.approx(-18.75)
    assert found["change"]["components"]["p95_latency_seconds"] == pytest.approx(-18.75)


def test_a_document_with_usual_curves_a_budget_and_a_cap(file: Any) -> None:
    values = {"relevance": 1.0, "p95_latency_ms": 9000, "budget": 0.5}
    done = run("--config", file("c.yaml", DOCUMENT), "--values", file("v.yaml", json.dumps(values)),
               "--output", "json")  # fmt: skip
    found = json.loads(done.stdout)
    assert [part["score"] for part in found["components"]] == [100, 0, 80]
    assert (found["score"], found["state"], found["capped_by"]) == (
        20,
        "critical",
        "p95_latency_ms",
    )


def test_a_changed_formula_is_a_term_of_its_own(file: Any) -> None:
    heavier = json.loads(json.dumps(SEED))
    heavier["formula"]["components"][1]["weight"] = 0.8
    values = {"response_relevance_score": 0.9, "p95_latency_seconds": 3.0}
    done = run("--config", file("c.json", heavier), "--before-config", file("o.json", SEED),
               "--values", file("v.json", values), "--before", file("b.json", values),
               "--output", "json")  # fmt: skip
    found = json.loads(done.stdout)["change"]
    assert found["config"] == pytest.approx(found["total"])
    assert found["total"] == pytest.approx(90 * 5 / 13 + 50 * 8 / 13 - 75)


def test_people_get_a_table(file: Any) -> None:
    values = {"response_relevance_score": {"value": 0.9, "low": 0.85, "high": 0.93, "events": 40},
              "p95_latency_seconds": 3.0, "latency": 1}  # fmt: skip
    done = run("--config", file("c.json", SEED), "--values", file("v.json", values))
    assert done.exit_code == 0
    assert "75.0 (71.9 to 76.9) warning" in done.output
    assert "latency is no component of support-chatbot-health" in done.output


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (SEED, "{response_relevance_score: high}", "must be a number or null, not 'high'"),
        (SEED, "{p95_latency_seconds: {value: 1, hihg: 2}}", "unknown field 'hihg'"),
        (SEED, "{p95_latency_seconds: {value: 1, low: 3, high: 2}}", "low 3 lies above high 2"),
        (SEED, "[1, 2]", "must be an object"),
        (SEED, "{a: 1", "not valid YAML"),
        ({"kind": "SLO"}, "{a: 1}", "there is no health score in this file"),
        ({**SEED, "formula": {"components": []}}, "{a: 1}", "one component or more"),
        (DOCUMENT + "---" + DOCUMENT.replace("rag,", "rag2,"), "{a: 1}", "choose with --name"),
        (DOCUMENT.replace("weight: 0.4}", "weight: 0.4, curve: [[2, 1], [1, 2]]}"), "{a: 1}",
         "rising values"),
        (DOCUMENT.replace("weight: 0.4}", "weight: 0.4, inverse: true, curve: [[1, 1], [2, 2]]}"),
         "{a: 1}", "the curve must fall"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_place(
    file: Any, config: object, values: str, words: str
) -> None:
    done = run("--config", file("c.yaml", config), "--values", file("v.yaml", values))
    assert done.exit_code == 1
    assert words in " ".join(done.output.split())


def test_missing_files_are_named(tmp_path: Path, file: Any) -> None:
    done = run("--config", file("c.json", SEED), "--values", tmp_path / "nothing.json")
    assert done.exit_code == 1
    assert "nothing.json" in done.output.replace("\n", "")
    assert "No such file" in done.output
