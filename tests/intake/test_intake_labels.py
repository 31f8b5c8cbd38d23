"""Judgements that come late, are corrected, come twice, or come before the call they are about."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from intake_build import NOW, PROTOBUF, Bench, bench, span_request

from tocsin.domain.clock import to_minute
from tocsin.domain.series import Ratio, SeriesId

JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
MINUTE = to_minute(NOW)
HOUR = timedelta(hours=1)


@pytest.fixture
def tocsin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def score(tocsin: Bench, **row: Any) -> None:
    answer = tocsin.post("/api/v1/scores", json.dumps({"name": "feedback", **row}).encode(), JSON)
    assert answer.status_code == 200, answer.text
    assert answer.json()["rejected"] == 0


def feedback(
    tocsin: Bench, service: str = "shop", segment: tuple[str, str] = ("", ""), reach: int = 3000
) -> dict[int, tuple[int, int]]:
    """minute -> (negative, all), as monitors see it; minutes count from NOW."""
    tocsin.store.flush()
    sid = SeriesId(service, "feedback", segment)
    block = tocsin.store.minutes(
        {sid: Ratio("feedback_negative")}, [], MINUTE - 60 * 24 * 30, MINUTE + reach
    )
    return {
        block.start + at - MINUTE: (int(block.bad[0, at]), int(block.total[0, at]))
        for at in block.total[0].nonzero()[0].tolist()
    }


def at(minutes: float) -> str:
    return (NOW + timedelta(minutes=minutes)).isoformat()


def test_a_correction_replaces_what_it_corrects_in_the_minute_where_that_counted(
    tocsin: Bench,
) -> None:
    score(tocsin, call_id="ab" * 8, value=0, service="shop")
    assert feedback(tocsin) == {0: (1, 1)}
    tocsin.clock.advance(26 * HOUR)
    score(tocsin, call_id="AB" * 8, value=1, service="shop")  # the same id, spelt otherwise
    assert feedback(tocsin) == {0: (0, 1)}
    score(tocsin, call_id="ab" * 8, value=1, service="shop", source="nightly")  # somebody else's
    assert feedback(tocsin) == {0: (0, 1), 26 * 60: (0, 1)}


def test_a_correction_that_names_a_time_moves_the_judgement_there(tocsin: Bench) -> None:
    score(tocsin, call_id="c" * 16, value=0, service="shop", ts=at(-10))
    tocsin.clock.advance(5 * HOUR)
    score(tocsin, call_id="c" * 16, value=0, service="shop", ts=at(-30))
    assert feedback(tocsin) == {-30: (1, 1)}
    tocsin.clock.advance(HOUR)
    score(tocsin, call_id="c" * 16, value=1, service="shop")
    assert feedback(tocsin) == {-30: (0, 1)}


VERSIONS = [
    {"value": 0, "version": 1},
    {"value": 1, "version": 2},
    {"value": 0, "version": 3, "ts": at(-7)},
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_highest_version_holds_in_whatever_order_they_arrive(
    tocsin: Bench, order: tuple[int, ...]
) -> None:
    for place in (*order, *order):  # and every one of them comes twice
        tocsin.clock.advance(timedelta(hours=1))
        score(tocsin, call_id="d" * 16, service="shop", **VERSIONS[place])
    assert feedback(tocsin) == {-7: (1, 1)}


def test_what_monitors_count_is_what_a_dictionary_of_labels_counts(tocsin: Bench) -> None:
    """300 judgements of 40 calls, in batches, some sent again, against a plain model of it."""
    rng = random.Random(7)
    held: dict[tuple[str, str], tuple[int, int]] = {}
    sent: list[bytes] = []
    for batch in range(30):
        tocsin.clock.advance(timedelta(minutes=7))
        minute = to_minute(tocsin.clock.now()) - MINUTE
        rows = []
        for _ in range(10):
            call, who, value = f"{rng.randrange(40):016x}", rng.choice("ab"), rng.randrange(2)
            rows.append({"name": "feedback", "call_id": call, "annotator": who, "value": value,
                         "service": "shop"})  # fmt: skip
            first = held.get((call, who), (minute, 0))[0]
            held[call, who] = (first, value)
        body = "\n".join(json.dumps(row) for row in rows).encode()
        sent.append(body)
        assert tocsin.post("/api/v1/scores", body, NDJSON).status_code == 200
        if batch % 5 == 4:  # a retry of what was just accepted
            assert tocsin.post("/api/v1/scores", sent[-1], NDJSON).json()["duplicate"]
    want: dict[int, tuple[int, int]] = {}
    for minute, value in held.values():
        bad, total = want.get(minute, (0, 0))
        want[minute] = (bad + (value == 0), total + 1)
    assert feedback(tocsin) == want


def test_a_label_by_span_id_alone_counts_for_the_service_and_segment_of_its_call(
    tocsin: Bench,
) -> None:
    request = span_request(3, first_id=50, attributes={"tocsin.segment.tier": "pro"})
    tocsin.post("/v1/traces", request.SerializeToString(), {"content-type": PROTOBUF})
    tocsin.store.flush()
    annotate(tocsin, 50, label="thumbs_down")
    assert feedback(tocsin) == {0: (1, 1)}
    assert feedback(tocsin, segment=("tier", "pro")) == {0: (1, 1)}
    tocsin.clock.advance(20 * HOUR)
    annotate(tocsin, 50, label="thumbs_up")
    annotate(tocsin, 51, label="thumbs_up")
    assert feedback(tocsin) == {0: (0, 1), 20 * 60: (0, 1)}


def annotate(tocsin: Bench, span: int, **result: Any) -> None:
    """As Phoenix's client does."""
    note = {"span_id": f"{span:016x}", "name": "user feedback", "annotator_kind": "HUMAN",
            "result": result}  # fmt: skip
    answer = tocsin.post("/v1/span_annotations", json.dumps({"data": [note]}).encode(), JSON)
    assert answer.status_code == 200


def test_a_label_that_comes_before_its_call_finds_it_when_it_comes(tocsin: Bench) -> None:
    annotate(tocsin, 60, label="thumbs_down")
    annotate(tocsin, 61, label="thumbs_down")
    assert feedback(tocsin) == {}
    tocsin.clock.advance(timedelta(minutes=5))
    assert tocsin.store.placer.run(at_once=True) == 0
    request = span_request(1, first_id=60)
    tocsin.post("/v1/traces", request.SerializeToString(), {"content-type": PROTOBUF})
    tocsin.store.flush()
    assert tocsin.store.placer.run(at_once=True) == 1
    assert feedback(tocsin) == {0: (1, 1)}
    assert tocsin.store.placer.run(at_once=True) == 0, "what is placed waits no more"
    tocsin.clock.advance(HOUR)
    annotate(tocsin, 60, label="thumbs_up")  # a correction of what was placed late
    assert feedback(tocsin) == {0: (0, 1)}


@pytest.mark.parametrize("told", ["response_id", "prediction_id", "trace_id", "call_id"])
def test_any_id_of_a_call_finds_it(tocsin: Bench, told: str) -> None:
    call = {"ts": at(-2), "service": "shop", "model": "gpt-4o-mini", "span_id": "my own id",
            "trace_id": "my trace", "response_id": "resp-17", "dims": {"tier": "pro"}}  # fmt: skip
    assert tocsin.post("/api/v1/calls", json.dumps(call).encode(), JSON).status_code == 200
    tocsin.store.flush()
    value = {"trace_id": "my trace", "call_id": "my own id"}.get(told, "resp-17")
    score(tocsin, **{told: value}, value=0)
    assert feedback(tocsin, segment=("tier", "pro")) == {0: (1, 1)}


def test_equal_prediction_ids_of_two_services_are_two_predictions(tocsin: Bench) -> None:
    for service, value in (("shop", 0), ("desk", 1)):
        score(tocsin, prediction_id="1", service=service, value=value)
    assert feedback(tocsin, "shop") == {0: (1, 1)}
    assert feedback(tocsin, "desk") == {0: (0, 1)}


@pytest.mark.parametrize("project", ["one", "two"])
def test_a_score_that_names_its_project_is_never_placed_in_another(
    tocsin: Bench, project: str
) -> None:
    for own in ("one", "two", "three"):
        call = {"ts": at(-2), "service": f"of-{own}", "project": own, "response_id": "ticket-1",
                "span_id": own, "dims": {"of": own}}  # fmt: skip
        assert tocsin.post("/api/v1/calls", json.dumps(call).encode(), JSON).status_code == 200
    tocsin.store.flush()
    score(tocsin, prediction_id="ticket-1", project=project, value=0)
    score(tocsin, prediction_id="ticket-1", project="four", value=0)
    assert feedback(tocsin, f"of-{project}", segment=("of", project)) == {0: (1, 1)}
    assert tocsin.query("SELECT service, project FROM tocsin.scores ORDER BY project") == [
        {"service": "four", "project": "four"},
        {"service": f"of-{project}", "project": project},
    ]


def test_two_judgements_that_name_no_call_are_two_unless_they_have_one_id(tocsin: Bench) -> None:
    same = {"name": "feedback", "value": 0, "service": "shop"}
    body = json.dumps([same, same, {**same, "id": "r1"}, {**same, "id": "r1", "value": 1}]).encode()
    assert tocsin.post("/api/v1/scores", body, JSON).json()["accepted"] == 4
    assert feedback(tocsin) == {0: (2, 3)}


def test_a_label_whose_number_nobody_knows_is_not_counted(tocsin: Bench) -> None:
    score(tocsin, call_id="e" * 16, label="so so", service="shop")
    assert feedback(tocsin) == {}


def test_a_store_made_before_there_were_versions_counts_what_it_holds(tmp_path: Path) -> None:
    with bench(tmp_path) as old:
        score(old, call_id="f" * 16, value=0, service="shop")
        assert feedback(old) == {0: (1, 1)}
        old.store._engine.execute("TRUNCATE TABLE tocsin.score_versions")
    with bench(tmp_path) as anew:
        assert feedback(anew) == {0: (1, 1)}


def good_and_bad() -> tuple[bytes, Mapping[str, str]]:
    lines = [
        b'{"name": "feedback", "value": 1, "service": "shop", "call_id": "1"}',
        b'{"name": "feedback", "service": "shop"}',
        b"",
        b'{"name": "feedback", "value": ',
        b"[]",
        b'{"name": "feedback", "value": 0, "service": "shop", "call_id": "2", "ts": "soon"}',
        b'{"name": "feedback", "value": 0, "service": "shop", "call_id": "3"}',
    ]
    return b"\n".join(lines), NDJSON


def test_one_bad_line_does_not_cost_the_others_and_is_named(tocsin: Bench) -> None:
    body, headers = good_and_bad()
    answer = tocsin.post("/api/v1/scores", body, headers).json()
    assert (answer["accepted"], answer["rejected"]) == (2, 4)
    assert [error.split(":")[0] for error in answer["errors"]] == [
        "line 2", "line 4", "line 5 is not a JSON object", "line 6",
    ]  # fmt: skip
    assert feedback(tocsin) == {0: (1, 2)}
    kept = tocsin.query("SELECT source, reason, body FROM tocsin.quarantine ORDER BY reason")
    assert [row["source"] for row in kept] == ["scores"] * 4
    assert kept[0]["body"] == '{"name": "feedback", "service": "shop"}'
    again = tocsin.post("/api/v1/scores", body, headers).json()
    assert again["duplicate"]
    assert len(tocsin.query("SELECT * FROM tocsin.quarantine")) == 4, "a retry sets nothing aside"


def test_bad_calls_among_good_ones_are_named_by_their_line(tocsin: Bench) -> None:
    rows = [{"ts": at(-1), "service": "shop"}, {"ts": at(-1)}, {"ts": at(-1), "service": "desk"}]
    body = "\n".join(json.dumps(row) for row in rows).encode()
    answer = tocsin.post("/api/v1/calls", body, NDJSON).json()
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    assert answer["errors"] == ["line 2: call: service is missing"]
    assert sorted(row["service"] for row in tocsin.calls()) == ["desk", "shop"]


def test_nothing_is_taken_when_every_line_is_bad(tocsin: Bench) -> None:
    answer = tocsin.post("/api/v1/changes", b'{"kind": "deploy"}\n{"kind": "deploy"}\n', NDJSON)
    assert answer.status_code == 400
    assert "line 1: change: service is missing" in answer.json()["error"]["message"]
    assert tocsin.store.writer.appended == 0


def test_a_batch_of_a_file_counts_once_for_good(tmp_path: Path) -> None:
    name = (b"file" + bytes(12)).hex()
    body = b'{"name": "feedback", "value": 0, "service": "shop"}'
    for _ in range(3):  # a process each, days apart
        with bench(tmp_path) as tocsin:
            known = tocsin.post("/api/v1/scores", body, {**JSON, "x-tocsin-batch": name})
            assert known.status_code == 200
            tocsin.store.flush()
            assert tocsin.intake.has_batch(bytes.fromhex(name))
    with bench(tmp_path) as tocsin:
        assert len(tocsin.query("SELECT * FROM tocsin.scores")) == 1
        refused = tocsin.post("/api/v1/scores", body, {**JSON, "x-tocsin-batch": "abc"})
        assert refused.status_code == 400
