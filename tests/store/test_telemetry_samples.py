"""Samples of calls: which calls, which features, and the same ones each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest
from telemetry_build import FOREVER, MINUTE, NOW, Where, clock

from tocsin.domain.clock import iso
from tocsin.domain.samples import FEATURES, Sample, Wish
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.samples import VECTOR
from tocsin.store.telemetry import SCORE_ROWS, Telemetry

N = 400
ANSWERS = (
    "The parcel arrives on Monday.", '{"status": "ok"}', "Do:\n- one\n- two", "```py\nx = 1\n```",
    "I'm sorry, but I can't help with that.",
    json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "# Title\nText"}]}]),
    json.dumps([{"role": "assistant", "content": "I cannot assist with this."}]), "",
)  # fmt: skip
FORMATS = ("prose", "json", "list", "code", "prose", "heading", "prose", None)
REFUSALS = ("no", "no", "no", "no", "yes", "no", "yes", None)


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, place: ClickHouse | None
) -> Iterator[Telemetry]:
    start = int(NOW.timestamp() * 1e6) - 30 * 60_000_000
    text = pa.map_(pa.string(), pa.string())
    rows = pa.table({
        "project": ["shop"] * N,
        "service": ["samples"] * N,
        "kind": ["llm"] * N,
        "ts": pa.array([start + i * 1_000_000 for i in range(N)], pa.timestamp("us", tz="UTC")),
        "trace_id": [f"{i:032x}" for i in range(N)],
        "span_id": [f"{i:016x}" for i in range(N)],
        "session_id": [f"s{i // 2}" if i < 100 else "" for i in range(N)],
        "model": ["gpt"] * N,
        "duration_us": pa.array([2_000_000] * N, pa.uint64()),
        "ttft_us": pa.array([500_000 if i % 2 else 0 for i in range(N)], pa.uint32()),
        "usage_known": pa.array([1] * N, pa.uint8()),
        "input_tokens": pa.array(range(N), pa.uint32()),
        "output_tokens": pa.array([100] * N, pa.uint32()),
        "error_class": ["timeout" if i == 7 else "" for i in range(N)],
        "output": [ANSWERS[i % len(ANSWERS)] for i in range(N)],
        "dims": pa.array([[("tenant", f"t{i % 3}")] for i in range(N)], text),
        "attrs": pa.array([
            [(VECTOR, f"[{i},0.5]" if i % 5 else "broken"), ("top_k", str(i % 4)),
             ("llm.prompt_template.template", "Answer {question}")] for i in range(N)
        ], text),
    })  # fmt: skip
    path = tmp_path_factory.mktemp("samples")
    with Telemetry.open(
        path, clock(), retention=FOREVER, dsn=Where.dsn, layout=Where.layout
    ) as made:
        made.add_calls(rows)
        made.add_rows(SCORE_ROWS, [
            {"ts": iso(NOW), "project": "shop", "service": "samples", "call_id": f"{i:016x}",
             "name": "faithfulness", "value": i / N, "recv": iso(NOW), "version": 1}
            for i in range(0, N, 4)
        ])  # fmt: skip
        made.flush()
        yield made


def taken(store: Telemetry, *features: str, most: int = 1000) -> Sample:
    wish = Wish("samples", features, "llm", 60, 60, 60, most)
    return store.sample(wish, MINUTE - 60, MINUTE)


def number(sample: Sample) -> list[int]:
    return [int(span, 16) for _, span in sample.calls]


def test_only_calls_with_the_scores_that_are_asked_for_are_taken(store: Telemetry) -> None:
    wish = Wish("samples", ("score:faithfulness", "input_tokens"), "llm", 60, 60, 60, 50,
                scored=("faithfulness",))  # fmt: skip
    found = store.sample(wish, MINUTE - 60, MINUTE)
    assert len(found) == 50
    assert None not in found.columns["score:faithfulness"]
    assert all(tokens % 4 == 0 for tokens in found.columns["input_tokens"])


def test_totals_of_keys_are_those_of_their_calls_the_largest_first(store: Telemetry) -> None:
    amounts = ("total_tokens", "calls", "errors", "policy_violations", "cost_usd")
    wish = Wish("samples", amounts, "llm", 60, 60, 60, 3, per="session_id")
    found = store.sample(wish, MINUTE - 60, MINUTE)
    assert found.population == 50
    assert found.columns["key"] == ("s49", "s48", "s47")
    assert found.columns["calls"] == (2.0, 2.0, 2.0)
    assert found.columns["total_tokens"][0] == 98 + 99 + 200
    assert found.calls[0] == (f"{99:032x}", f"{99:016x}")
    by_tenant = replace(wish, per="dimension:tenant", most=100, window_minutes=1)
    minutes = store.sample(by_tenant, MINUTE - 60, MINUTE)
    assert minutes.population == len(minutes) == 21  # 400 s touch seven minutes, of three tenants
    assert sum(minutes.columns["errors"]) == 1.0


def test_a_sample_is_the_same_each_time_and_has_one_call_of_a_session(store: Telemetry) -> None:
    few = taken(store, "input_tokens", most=50)
    assert few == taken(store, "input_tokens", most=50)
    assert len(few) == 50
    everything = taken(store, "input_tokens")
    assert len(everything) == 50 + 300
    assert few.calls == everything.calls[:50], "a smaller sample is part of a larger one"
    assert [int(v) for v in everything.columns["input_tokens"]] == number(everything)
    assert len(store.sample(Wish("nobody", ("model",), "llm", 60, 60, 60, 9), 0, MINUTE)) == 0


def test_every_feature_that_can_be_named_can_be_read(store: Telemetry) -> None:
    sample = taken(store, *FEATURES)
    assert set(sample.columns) == set(FEATURES)
    at = {call: row for row, call in enumerate(number(sample))}
    row = at[101]

    def told(name: str):
        return sample.columns[name][row]

    assert (told("ms_per_output_token"), told("first_token_share")) == (20.0, 0.25)
    assert (told("duration_ms"), told("ttft_ms"), told("model")) == (2000.0, 500.0, "gpt")
    assert (told("cost_usd"), told("release"), told("error_class")) == (None, None, "")
    assert told("embedding") == (101.0, 0.5)
    assert sample.columns["embedding"][at[105]] is None, "what is no vector is unknown"
    assert sample.columns["ttft_ms"][at[102]] is None


def test_formats_and_refusals_are_told_from_answers(store: Telemetry) -> None:
    sample = taken(store, "output_format", "refusal", "output_chars", "embedded:output")
    at = {call: row for row, call in enumerate(number(sample))}
    rows = [at[104 + i] for i in range(len(ANSWERS))]
    assert tuple(sample.columns["output_format"][row] for row in rows) == FORMATS
    assert tuple(sample.columns["refusal"][row] for row in rows) == REFUSALS
    assert sample.columns["output_chars"][rows[5]] == len("# Title\nText")
    assert sample.columns["output_chars"][rows[7]] is None
    assert sample.columns["embedded:output"][rows[5]] == "# Title\nText"


def test_people_name_features_of_their_own(store: Telemetry) -> None:
    names = ("dimension:tenant", "attribute:llm.prompt_template.template", "number:top_k",
             "score:faithfulness", f"embedding:{VECTOR}", "attribute:it's")  # fmt: skip
    sample = taken(store, *names)
    for row, call in enumerate(number(sample)):
        tenant, template, top_k, score, vector, none = (sample.columns[n][row] for n in names)
        assert (tenant, template) == (f"t{call % 3}", "Answer {question}")
        assert (top_k, none) == (call % 4, None)
        assert score == (call / N if call % 4 == 0 else None)
        assert (vector is None) == (call % 5 == 0)


def test_what_sends_telemetry_can_be_sampled(store: Telemetry) -> None:
    found = taken(store, "schema", "instrumentation").columns
    vector = VECTOR.replace(".0.", ".#.")
    assert set(found["schema"]) == {f"{vector} llm.prompt_template.template top_k"}
    assert set(found["instrumentation"]) == {" "}
