"""The code of the seeds, as it is printed there apart from its import lines, against a real Tocsin.

The pages lost the line breaks of their code. `broken_into_lines` puts them back by the grammar; the
words of the comments have to be told, because nothing else says where a comment ends.
"""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sdk_build import ROOT, Listener, Tocsin, stored

import tocsin_sdk
from tocsin_sdk import arize

SEEDS = ROOT / ".." / "shared" / "seeds"
needs_seeds = pytest.mark.skipif(not SEEDS.is_dir(), reason="the seeds are not beside the checkout")

COMMENTS = (
    "# Initialize the client", "# After an LLM call, log the prediction", "# Log to Arize",
    "# Example for an OpenAI chat completion", "# Log performance metrics",
    "# 2 seconds in milliseconds", "# Define the composite health score",
    "# Higher relevance is better", "# Lower latency is better", "# Lower cost is better",
    "# Create the score via API",
)  # fmt: skip
LITERALS = {tokenize.STRING, tokenize.NUMBER, getattr(tokenize, "FSTRING_END", tokenize.STRING)}
OPERATORS = {"and", "or", "not", "in", "is", "if", "else", "for", "as", "lambda", "await"}
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: drafts}
spec: {team: other}
"""


def seed(name: str) -> str:
    (path,) = SEEDS.glob(f"*{name}*.txt")
    return path.read_text()


def snippet(name: str, start: str, end: str) -> str:
    """The code of a page from `start` to the first `end` after it, with line breaks again."""
    text = seed(name)
    at = text.index(start)
    return broken_into_lines(text[at : text.index(end, at) + len(end)])


def broken_into_lines(code: str) -> str:
    """A statement a line. Two operands in a row cannot be one statement outside of brackets."""
    for comment in COMMENTS:
        code = code.replace(comment, " ")
    assert "#" not in re.sub(r"\"[^\"]*\"|'[^']*'", "", code), "a comment that is not told"
    lines, line, depth = [], list[str](), 0
    ended = False  # whether the token before could end a statement
    for token in tokenize.generate_tokens(io.StringIO(" ".join(code.split())).readline):
        if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER):
            continue
        text = token.string
        starts = token.type == tokenize.NAME and text not in OPERATORS
        if text == "import":
            starts = line[:1] != ["from"] or "import" in line
        elif text == "from":
            starts = "import" in line
        if starts and ended and depth == 0 and line:
            lines.append(" ".join(line))
            line = []
        line.append(text)
        depth += (text in "([{") - (text in ")]}") if token.type == tokenize.OP else 0
        is_word = token.type == tokenize.NAME and not (keyword.iskeyword(text) and text.islower())
        ended = is_word or token.type in LITERALS or text in (")", "]", "}")
    return "\n".join([*lines, " ".join(line)])


def with_imports(code: str, imports: str) -> str:
    """The same with its import lines replaced."""
    kept = [line for line in code.splitlines() if not line.startswith(("import ", "from "))]
    assert len(kept) < len(code.splitlines())
    return "\n".join([imports, *kept])


def run(code: str, **names: Any) -> dict[str, Any]:
    import os
    import uuid

    scope: dict[str, Any] = {"os": os, "uuid": uuid, **names}
    exec(compile(code, "snippet", "exec"), scope)
    return scope


@pytest.fixture
def server(tocsin: Tocsin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tocsin]:
    tocsin.start()
    monkeypatch.setenv("TOCSIN_URL", tocsin.url)
    monkeypatch.setenv("ARIZE_API_KEY", "an-arize-api-key")
    monkeypatch.setenv("ARIZE_SPACE_KEY", "a-space")
    yield tocsin
    for recorder in list(arize._recorders.values()):
        recorder.shutdown(1)
    arize._recorders.clear()


def test_line_breaks_are_put_back_where_statements_end() -> None:
    code = 'import a from a.b import C, D x = C(k="v w") # Log to Arize '
    code += 'y = x.f( p=1, q={"r": 2} ) print(f"{y}")'
    assert broken_into_lines(code).replace(" ", "").splitlines() == [
        "importa", "froma.bimportC,D", 'x=C(k="vw")', 'y=x.f(p=1,q={"r":2})', 'print(f"{y}")',
    ]  # fmt: skip


@needs_seeds
def test_every_python_snippet_of_the_seeds_is_run_here() -> None:
    texts = [path.read_text() for path in sorted(SEEDS.glob("*.txt"))]
    printed = sum(len(re.findall(r"^python(?:import|from|$)", text, re.M)) for text in texts)
    assert printed == 4


@needs_seeds
def test_predictions_ground_truth_and_an_objective_as_the_seeds_write_them(
    server: Tocsin, capsys: pytest.CaptureFixture[str]
) -> None:
    log = with_imports(
        snippet("anomaly", "import arize from arize.utils", '"total_tokens": 450 } )'),
        "from tocsin_sdk import arize\nfrom tocsin_sdk.arize import ModelTypes, Environments",
    )
    scope = run(
        log, llm_response="Your order is on its way.", user_message="Where is it?", session_id="s-1"
    )
    assert scope["response"].status_code == 202
    assert scope["client"].flush(20)

    server.calls(1)
    slo = with_imports(
        snippet("service_levels", "import arize from arize.api", "['id']}\")"),
        "from tocsin_sdk.arize import SLOClient",
    )
    made = run(slo)["response"]
    assert (made["id"], made["status"]) == ("prod-gpt-4-turbo-latency-p95", "created")
    assert (made["service"], made["evaluated"]) == ("support-chatbot-v2", True)
    assert "SLO created with ID: prod-gpt-4-turbo-latency-p95" in capsys.readouterr().out

    faq = snippet("anomaly", "# Example for an OpenAI", "response.usage.total_tokens} )")
    completion = SimpleNamespace(
        choices=[SimpleNamespace(message=SimpleNamespace(content="It will rain."))],
        usage=SimpleNamespace(total_tokens=321),
    )
    completions = SimpleNamespace(create=lambda *_: completion)
    client = arize.Client(api_key="an-arize-api-key", space_key="a-space")
    run(
        faq, openai=SimpleNamespace(chat=SimpleNamespace(completions=completions)),
        arize_client=client, user_query="Will it rain?", latency=640.5,
    )  # fmt: skip
    client.log_bulk(
        [{"prediction_id": f"bulk-{n}", "prediction_label": "x", "tags": {"latency_ms": n}}
         for n in range(1, 4)],
        model_id="batch-job", environment="VALIDATION",
    )  # fmt: skip
    client.log(prediction_id="bulk-1", model_id="batch-job",
               actual_label={"ticket_resolved": True, "user_thumbs_up": False})  # fmt: skip
    assert client.flush(20)
    assert client.stats().errors == 0
    server.calls(5)
    assert run(slo)["response"]["status"] == "unchanged"  # though another service calls the model

    score = with_imports(
        snippet("health", "from arize.api import Client", 'status_code}")'),
        "from tocsin_sdk.arize import Client",
    )
    answer = run(score)["response"]
    assert answer.status_code == 201
    assert answer.json()["evaluated"] is False
    assert "Health score created: 201" in capsys.readouterr().out

    # The heartbeat adopts what was defined, and judges the calls that were logged.
    shown = server.get(
        "/api/v1/objectives",
        lambda found: [item["total"] for item in found.json()["items"]] == [1],
    ).json()["items"]
    assert (shown[0]["name"], shown[0]["bad"]) == ("prod-gpt-4-turbo-latency-p95", 0)
    server.stop()
    check_what_was_stored(server.data)


def check_what_was_stored(data: Path) -> None:
    calls = {row["service"]: row for row in stored(data, "SELECT * FROM tocsin.calls")}
    support = calls["support-chatbot-v2"]
    expected = {
        "kind": "llm", "env": "production", "model": "gpt-4-turbo", "duration_us": 1_250_000,
        "input": "Where is it?", "output": "Your order is on its way.", "session_id": "s-1",
        "error_class": "", "usage_known": 0, "cost_known": 0,
    }  # fmt: skip
    assert {name: support[name] for name in expected} == expected
    assert support["attrs"]["gen_ai.usage.total_tokens"] == "450"
    assert support["dims"] == {"model_version": "gpt-4-turbo"}
    assert len(support["response_id"]) == 36  # the prediction id, a UUID

    asked = calls["unknown"]  # the seed names no model: its service is whatever `init` says
    expected = {
        "env": "prod", "model": "gpt-4-turbo", "duration_us": 640_500, "input": "Will it rain?",
        "output": "It will rain.",
    }  # fmt: skip
    assert {name: asked[name] for name in expected} == expected
    assert asked["dims"] == {"environment": "prod", "workflow": "support_agent"}
    assert asked["attrs"]["gen_ai.usage.total_tokens"] == "321"

    bulk = stored(
        data, "SELECT * FROM tocsin.calls WHERE service = 'batch-job' ORDER BY duration_us"
    )
    assert [row["duration_us"] for row in bulk] == [1000, 2000, 3000]
    assert {row["env"] for row in bulk} == {"validation"}
    scores = stored(data, "SELECT * FROM tocsin.scores ORDER BY name")
    told = [(row["name"], row["value"], row["call_id"], row["service"]) for row in scores]
    assert told == [
        ("feedback", 0.0, "bulk-1", "batch-job"), ("ticket_resolved", 1.0, "bulk-1", "batch-job"),
    ]  # fmt: skip


def test_a_definition_that_is_refused_says_why(server: Tocsin) -> None:
    client = arize.SLOClient(api_key="k", space_key="s")
    definition = {
        "name": "cost", "metric": "cost_per_query", "threshold": 0.03,
        "threshold_type": "less_than", "window": "rolling_24h", "evaluation": "average",
    }  # fmt: skip
    with pytest.raises(arize.Refused, match="write percentile_95") as refused:
        client.create_slo(definition)
    assert refused.value.status == 422
    assert refused.value.problem["errors"][0]["where"] == "evaluation"
    score = arize.Client(api_key="k").create_composite_score(config={"score_name": "x"})
    assert (score.status_code, score.ok) == (422, False)
    with pytest.raises(arize.Refused, match="404"):
        client.get_slo("nobody")
    with pytest.raises(arize.Refused, match="404"):
        client.delete_slo("nobody")


def test_without_a_server_telemetry_is_quiet_and_definitions_are_loud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOCSIN_URL", "http://127.0.0.1:9")
    client = arize.Client(api_key="k", space_key="s")
    assert client.log(prediction_id="p", prediction_label="x").status_code == 202
    with pytest.raises(arize.Refused) as refused:
        arize.SLOClient(api_key="k").create_slo({"name": "x"})
    assert refused.value.status == 0
    assert client.create_composite_score(config={}).status_code == 0
    client._recorder.shutdown(0.1)


# --- how a prediction is read ---


def row_of(listener: Listener, **prediction: Any) -> dict[str, Any]:
    tocsin_sdk.init(listener.url, service="own", linger=0.02)
    client = arize.Client(api_key="k" * 20)
    client.log(**prediction)
    assert client.flush(10)
    client._recorder.shutdown(1)
    assert client.stats().errors == 0
    (row,) = listener.rows()
    return row


def test_metrics_dimensions_and_attributes_are_told_apart(listener: Listener) -> None:
    row = row_of(
        listener, prediction_id="p", prediction_label="answer",
        features={"prompt": "q", "topic_vector": [1.0, 2.0], "region": "eu"},
        tags={"user_tier": "gold", "is_trial": True, "temperature": 0.3, "cost": 0.02,
              "input_tokens": "120", "http_status_code": 429, "service_name": "tagged",
              "model_name": "gpt-4", "model_version": "2024-04-09", "prompt_version": "v7"},
        shap_values={"total_tokens": 200, "inference_latency": 1.5},
    )  # fmt: skip
    expected = {
        "input": "q", "output": "answer", "service": "tagged", "model": "gpt-4", "cost_usd": 0.02,
        "input_tokens": 120, "output_tokens": 80, "http_status": 429, "duration_ms": 1500.0,
        "prompt_version": "v7", "response_id": "p",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["dims"] == {
        "user_tier": "gold", "is_trial": "True", "model_version": "2024-04-09",
        "prompt_version": "v7",
    }  # fmt: skip
    kept = {"topic_vector": [1.0, 2.0], "region": "eu", "temperature": 0.3}
    assert row["attributes"] == {**kept, "gen_ai.usage.total_tokens": 200}
    assert listener.requests[0].headers["authorization"] == "Bearer " + "k" * 20


def test_an_error_flag_is_a_failure_and_a_time_is_the_prediction_s(listener: Listener) -> None:
    row = row_of(listener, prediction_id="p", prediction_timestamp=1_700_000_000,
                 tags={"error": True, "error_message": "timed out"})  # fmt: skip
    assert (row["ts"], row["error_type"], row["status_message"]) == (
        1_700_000_000, "error", "timed out",
    )  # fmt: skip
    assert row["service"] == "own"


def test_numbers_are_scores_and_not_answers(listener: Listener) -> None:
    row = row_of(listener, prediction_id="p", prediction_label=("spam", 0.9), actual_label="ham")
    assert "output" not in row
    scores = [(s["name"], s.get("value"), s.get("label")) for s in listener.rows("scores")]
    assert scores == [("prediction", 0.9, None), ("ground_truth", None, "ham")]


def test_a_data_frame_is_logged_row_by_row(listener: Listener) -> None:
    class Frame:
        def to_dict(self, orient: str) -> list[dict[str, Any]]:
            assert orient == "records"
            return [{"prediction_id": "a", "prediction_label": "x"}] * 2

    tocsin_sdk.init(listener.url, service="own", linger=0.02)
    client = arize.Client()
    answer = client.log_bulk(Frame(), model_id="job")
    assert answer.json() == {"queued": 2, "records": 2}
    assert answer.result() is answer
    assert client.flush(10)
    assert [row["service"] for row in listener.rows()] == ["job", "job"]
