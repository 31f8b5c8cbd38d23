"""What single records and names of Arize's clients become."""

from __future__ import annotations

import base64
import json
from typing import Any

import pyarrow as pa
import pytest
from intake_build import NOW, NOW_NS
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tocsin.domain.clock import ManualClock
from tocsin.intake import arize
from tocsin.intake.front import routes
from tocsin.intake.intake import Intake
from tocsin.intake.records import SpanRecord


def log(**parts: Any) -> arize.Parsed:
    """A body of /v1/log with these members, parsed."""
    return arize.read_log({"model_id": "shop", "prediction_id": "p-1", **parts}, NOW_NS)


def prediction(label: Any = None, **tags: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"tags": {name: {"string": value} for name, value in tags.items()}}
    if label is not None:
        found["prediction_label"] = {"score_categorical": {"category": {"category": label}}}
    return found


def only(parsed: arize.Parsed) -> SpanRecord:
    [span] = parsed.spans
    return span


def test_a_prediction_with_a_prompt_is_a_call_of_a_language_model() -> None:
    parsed = log(
        prediction=prediction(
            "Tomorrow.", user_query="When?", model="gpt-4o", prompt_tokens="9", output_tokens="2"
        )
    )
    found = only(parsed).attributes
    assert (found["openinference.span.kind"], found["gen_ai.request.model"]) == ("LLM", "gpt-4o")
    assert (found["input.value"], found["output.value"]) == ("When?", "Tomorrow.")
    assert found["gen_ai.usage.input_tokens"] == "9"
    assert found["gen_ai.usage.output_tokens"] == "2"
    assert parsed.scores == []  # its label is the answer, not a judgement


def test_another_prediction_keeps_its_label_as_a_score() -> None:
    parsed = log(prediction=prediction("refund", latency_ms="40", region="eu"))
    span = only(parsed)
    assert span.attributes["openinference.span.kind"] == "CHAIN"
    assert (span.end_ns - span.start_ns, span.attributes["cloud.region"]) == (40_000_000, "eu")
    assert [(s["name"], s["label"], s["call_id"]) for s in parsed.scores] == [
        ("prediction", "refund", "p-1")
    ]


def test_measurements_among_the_importances_are_read() -> None:
    parsed = log(
        prediction=prediction("Tomorrow.", query="When?"),
        feature_importances={"feature_importances": {"latency_ms": 900.0, "total_tokens": 11.0}},
    )
    span = only(parsed)
    assert span.end_ns - span.start_ns == 900_000_000
    assert span.attributes["total_tokens"] == 11.0


def test_truth_that_comes_alone_is_a_score_and_no_call() -> None:
    label = {"score_categorical": {"category": {"category": "resolved"}}}
    parsed = log(actual={"actual_label": label})
    assert parsed.spans == []
    assert [(s["name"], s["label"], s["call_id"]) for s in parsed.scores] == [
        ("actual", "resolved", "p-1")
    ]


def test_annotations_are_filed_under_the_project_that_the_id_names() -> None:
    note = {"record_id": "00f1", "values": [{"name": "tone", "label": "rude"}]}
    for given, project in ((arize.id_of("Project", "shop: é"), "shop: é"), ("shop", "shop")):
        rows = arize.read_annotations({"project_id": given, "annotations": [note]}).scores
        assert [(row["project"], row["name"]) for row in rows] == [(project, "tone")]


@pytest.mark.parametrize(("member", "kind"), [("projects", "Project"), ("spaces", "Space")])
def test_every_name_has_an_id(member: str, kind: str) -> None:
    class Nowhere:
        async def append(self, *_: Any, **__: Any) -> bool:
            return True

    app = Starlette(routes=routes(Intake(Nowhere(), ManualClock(NOW))))
    with TestClient(app) as client:
        found = client.get(f"/v2/{member}", params={"name": "shop"}).json()
        nothing = client.get(f"/v2/{member}").json()
    assert found == {
        member: [{"id": arize.id_of(kind, "shop"), "name": "shop"}],
        "pagination": {"has_more": False},
    }
    assert json.loads(json.dumps(nothing))[member] == []


def test_vectors_of_a_table_stay_vectors() -> None:
    schema = base64.b64encode(b"\x0a\x06\x0a\x04shop\x22\x05\x0a\x03pid")
    table = pa.table({
        "pid": ["a", "b"],
        "user_query": ["When?", "Where?"],
        "query_vector": pa.array([[0.5, -1.25], None], pa.list_(pa.float32())),
    }).replace_schema_metadata({b"arize-schema": schema})  # fmt: skip
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    spans = arize.read_table(sink.getvalue().to_pybytes(), NOW_NS).spans
    assert [span.attributes.get("query_vector") for span in spans] == [[0.5, -1.25], None]


def test_an_embedding_is_its_text_and_its_vector_however_it_is_spelled() -> None:
    whole = {"vector": [0.5, 2], "raw_data": {"token_array": {"tokens": ["two", "words"]}}}
    found = only(log(prediction={"features": {
        "prompt": {"embedding": whole}, "image": {"embedding": {"vector": [1.0]}},
        "empty": {"embedding": {}},
    }})).attributes  # fmt: skip
    assert (found["input.value"], found["prompt.vector"]) == ("two words", [0.5, 2])
    assert found["image.vector"] == [1.0]
    assert "empty" not in found
