"""What the doors say to bad input, and that the rest of a batch survives it."""

from __future__ import annotations

import gzip
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from intake_build import NOW_NS, PROTOBUF, Bench, bench, put, span_request, zipped
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.requests import Request

from tocsin.domain.batches import batch_name
from tocsin.domain.errors import IntakeError
from tocsin.domain.samples import Wish
from tocsin.intake import front
from tocsin.intake.bodies import BodyLimits
from tocsin.intake.intake import Intake
from tocsin.intake.json_requests import to_protobuf
from tocsin.intake.records import moment_ns

PB = {"content-type": PROTOBUF}
JSON = {"content-type": "application/json"}
DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def open_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("front")) as made:
        yield made


@pytest.fixture
def tocsin(open_bench: Bench) -> Bench:
    """The shared bench with fresh counters."""
    open_bench.intake = Intake(open_bench.store.writer, open_bench.clock)
    return open_bench


def count(tocsin: Bench, service: str) -> int:
    (row,) = tocsin.query(f"SELECT count() AS n FROM tocsin.calls WHERE service = '{service}'")
    return int(row["n"])


def status_message(body: bytes) -> str:
    """The message of a `google.rpc.Status`."""
    assert body[:1] == b"\x08"
    return body[body.index(b"\x12") + 1 :].split(b"\n")[0].decode("utf-8", "replace")


def test_an_accepted_request_is_answered_with_an_export_response(tocsin: Bench) -> None:
    answer = tocsin.post("/v1/traces", span_request(service="plain").SerializeToString(), PB)
    assert (answer.status_code, answer.headers["content-type"]) == (200, PROTOBUF)
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()
    assert count(tocsin, "plain") == 1


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics", "/v1"])
def test_a_body_that_is_not_otlp_is_400_and_says_so(tocsin: Bench, path: str) -> None:
    answer = tocsin.post(path, b"\xff\xff\xff hello, I am no protobuf", PB)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == PROTOBUF
    assert "not an OTLP" in status_message(answer.content)
    assert tocsin.intake.counts["refused.400"] == 1


def test_json_that_is_not_otlp_is_400_in_json(tocsin: Bench) -> None:
    for body in (b"{", b"[]", b'{"resourceSpans": 7}', b"\xff", b"[" * 5000, b'{"a":' * 3000):
        answer = tocsin.post("/v1/traces", body, JSON)
        assert answer.status_code == 400, body[:20]
        assert answer.json()["code"] == 3
        assert answer.json()["message"]


def test_an_empty_body_is_an_empty_request(tocsin: Bench) -> None:
    assert tocsin.post("/v1/traces", b"", PB).status_code == 200


def test_a_truncated_or_damaged_gzip_is_400(tocsin: Bench) -> None:
    whole = zipped(span_request(50, service="gzip").SerializeToString())
    headers = {**PB, "content-encoding": "gzip"}
    for body in (whole[:-9], whole[:15], b"", whole[:20] + b"\0\0\0\0" + whole[24:]):
        answer = tocsin.post("/v1/traces", body, headers)
        assert answer.status_code == (200 if body == b"" else 400), body[:8]
    assert "truncated" in status_message(tocsin.post("/v1/traces", whole[:-9], headers).content)
    assert count(tocsin, "gzip") == 0
    assert tocsin.post("/v1/traces", whole, headers).status_code == 200
    assert count(tocsin, "gzip") == 50


def test_a_body_that_is_not_gzip_at_all_is_not_called_truncated(tocsin: Bench) -> None:
    headers = {**PB, "content-encoding": "gzip"}
    plain = span_request(3, service="no-gzip").SerializeToString()
    assert "it is no gzip" in tocsin.post("/v1/traces", plain, headers).text
    followed = tocsin.post("/v1/traces", zipped(plain) + b"junk", headers)
    assert (followed.status_code, "what follows is no gzip" in followed.text) == (400, True)
    assert count(tocsin, "no-gzip") == 0


def test_deflate_is_read_too(tocsin: Bench) -> None:
    body = zlib.compress(span_request(service="deflate").SerializeToString())
    answer = tocsin.post("/v1/traces", body, {**PB, "content-encoding": "deflate"})
    assert answer.status_code == 200
    assert count(tocsin, "deflate") == 1


def test_a_body_of_50_mb_is_413_and_names_the_limit(tocsin: Bench) -> None:
    answer = tocsin.post("/v1/traces", bytes(50 << 20), PB)
    assert answer.status_code == 413
    assert "16777216 bytes (16 MiB)" in status_message(answer.content)


def test_a_gzip_bomb_is_given_up_at_the_limit(tocsin: Bench) -> None:
    bomb = gzip.compress(bytes(300 << 20), compresslevel=1)
    answer = tocsin.post("/v1/traces", bomb, {**PB, "content-encoding": "gzip"})
    assert answer.status_code == 413
    assert "unpacks to more than" in status_message(answer.content)


def test_a_wrong_content_type_or_encoding_is_415(tocsin: Bench) -> None:
    body = span_request().SerializeToString()
    assert tocsin.post("/v1/traces", body, {"content-type": "text/html"}).status_code == 415
    assert tocsin.post("/v1/traces", body, {**PB, "content-encoding": "br"}).status_code == 415
    answer = tocsin.post("/api/v1/scores", b"{}", {"content-type": "application/xml"})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["error"]["message"]


def test_a_duplicate_delivery_is_accepted_and_stored_once(tocsin: Bench) -> None:
    body = span_request(3, service="twice", first_id=900).SerializeToString()
    for _ in range(3):
        assert tocsin.post("/v1/traces", body, PB).status_code == 200
    assert count(tocsin, "twice") == 3
    assert tocsin.intake.counts["duplicates"] == 2


def mixed_batch() -> ExportTraceServiceRequest:
    """Four good spans around four that may not be stored."""
    request = span_request(8, service="mixed", first_id=1000)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[1].start_time_unix_nano = NOW_NS - 3000 * DAY_NS
    spans[1].end_time_unix_nano = NOW_NS - 3000 * DAY_NS
    spans[3].start_time_unix_nano = spans[3].end_time_unix_nano = NOW_NS + 3650 * DAY_NS
    spans[4].trace_id = bytes(16)
    spans[6].span_id = b"\x01"
    return request


def test_spans_of_broken_clocks_are_set_aside_and_the_rest_is_stored(tocsin: Bench) -> None:
    answer = tocsin.post("/v1/traces", mixed_batch().SerializeToString(), PB)
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 4
    assert "400 days" in partial.error_message
    assert count(tocsin, "mixed") == 4
    rows = tocsin.query(
        "SELECT reason, body, source FROM tocsin.quarantine WHERE body LIKE '%\"mixed\"%'"
    )
    assert len(rows) == 4
    assert {row["source"] for row in rows} == {"otlp traces"}
    assert json.loads(rows[0]["body"])["name"] == "ChatCompletion"
    assert tocsin.intake.counts["rejected.traces"] == 4


def test_a_partial_success_in_json_is_answered_in_json(tocsin: Bench) -> None:
    span = {
        "traceId": "0" * 31 + "9", "spanId": "0" * 15 + "9", "name": "x",
        "startTimeUnixNano": "1", "endTimeUnixNano": "2",
    }  # fmt: skip
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    answer = tocsin.post("/v1/traces", json.dumps(body).encode(), JSON)
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"


def test_a_span_that_ends_before_it_starts_is_kept_without_duration(tocsin: Bench) -> None:
    request = span_request(2, service="backwards", first_id=1100, duration_ns=-5_000_000_000)
    assert tocsin.post("/v1/traces", request.SerializeToString(), PB).status_code == 200
    calls = tocsin.calls("service = 'backwards'")
    assert [call["duration_us"] for call in calls] == [0, 0]
    assert "before it starts" in calls[0]["attrs"]["tocsin.repaired"]


def test_numbers_that_are_none_are_unknown_and_the_call_is_kept(tocsin: Bench) -> None:
    values = {
        "gen_ai.usage.input_tokens": float("nan"),
        "gen_ai.usage.output_tokens": -7,
        "llm.cost.total": float("inf"),
        "gen_ai.response.time_to_first_chunk": float("-inf"),
        "llm.token_count.total": float("nan"),
    }
    request = span_request(1, service="nan", first_id=1200, attributes=values)
    assert tocsin.post("/v1/traces", request.SerializeToString(), PB).status_code == 200
    (call,) = tocsin.calls("service = 'nan'")
    assert (call["usage_known"], call["cost_known"], call["ttft_us"]) == (0, 0, 0)
    assert call["attrs"]["llm.token_count.total"] == "nan"


def test_unknown_attributes_of_every_shape_are_kept(tocsin: Bench) -> None:
    request = span_request(1, service="shapes", first_id=1300, attributes={"my.own": "kept"})
    attributes = request.resource_spans[0].scope_spans[0].spans[0].attributes
    deep = attributes.add(key="deep").value.kvlist_value.values.add(key="a")
    deep.value.array_value.values.add().kvlist_value.values.add(key="b").value.int_value = 3
    attributes.add(key="raw").value.bytes_value = b"\xff\x00"
    nested = attributes.add(key="nested").value.array_value.values.add()
    nested.array_value.values.add().double_value = 1.5
    attributes.add(key="flags").value.array_value.values.add().bool_value = True
    attributes.add(key="empty")
    assert tocsin.post("/v1/traces", request.SerializeToString(), PB).status_code == 200
    (call,) = tocsin.calls("service = 'shapes'")
    kept = {name: call["attrs"][name] for name in ("my.own", "deep", "raw", "nested", "flags")}
    assert kept == {
        "my.own": "kept", "deep": '{"a": [{"b": 3}]}', "raw": "/wA=", "nested": "[[1.5]]",
        "flags": "[true]",
    }  # fmt: skip
    assert call["attrs"]["empty"] == ""


def test_text_that_is_not_utf8_is_mended_not_refused(tocsin: Bench) -> None:
    body = span_request(2, service="latin", first_id=1400, attributes={"city": "Zürich"})
    raw = body.SerializeToString().replace("Zürich".encode(), b"Z\xfcrich!")
    assert tocsin.post("/v1/traces", raw, PB).status_code == 200
    assert [c["attrs"]["city"] for c in tocsin.calls("service = 'latin'")] == ["Z\ufffdrich!"] * 2


def test_bodies_of_logs_are_kept_as_json(tocsin: Bench) -> None:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    put(resource.resource.attributes, {"service.name": "logger"})
    record = resource.scope_logs.add().log_records.add()
    record.time_unix_nano = NOW_NS
    record.event_name = "gen_ai.choice"
    record.body.kvlist_value.values.add(key="finish_reason").value.string_value = "stop"
    assert tocsin.post("/v1/logs", request.SerializeToString(), PB).status_code == 200
    rows = tocsin.query("SELECT event, body FROM tocsin.logs WHERE service = 'logger'")
    assert rows == [{"event": "gen_ai.choice", "body": '{"finish_reason": "stop"}'}]


def test_the_project_header_wins_over_the_resource(tocsin: Bench) -> None:
    request = span_request(1, service="headed", first_id=1500)
    headers = {**PB, "x-project-name": "from%20header"}
    assert tocsin.post("/v1/traces", request.SerializeToString(), headers).status_code == 200
    assert [call["project"] for call in tocsin.calls("service = 'headed'")] == ["from header"]


def test_a_grpc_body_is_read_framed_and_bare(tocsin: Bench) -> None:
    path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    bare = span_request(1, service="grpc", first_id=1600).SerializeToString()
    framed = span_request(1, service="grpc", first_id=1601).SerializeToString()
    grpc = {"content-type": "application/grpc"}
    assert tocsin.post(path, bare, grpc).status_code == 200
    framed = b"\x00" + struct.pack(">I", len(framed)) + framed
    assert tocsin.post(path, framed, grpc).status_code == 200
    assert count(tocsin, "grpc") == 2


def test_whoever_is_not_let_in_gets_401_before_the_body_is_read(tocsin: Bench) -> None:
    def refuse(_: Request) -> None:
        raise IntakeError(401, "no token")

    tocsin.intake = Intake(tocsin.store.writer, tocsin.clock, authenticate=refuse)
    assert tocsin.post("/v1/traces", b"\xff", PB).status_code == 401
    assert tocsin.post("/api/v1/calls", b"\xff", JSON).status_code == 401


def test_a_full_store_answers_429_with_retry_after(tocsin: Bench) -> None:
    class Full:
        async def append(self, *_: Any, **__: Any) -> bool:
            raise IntakeError(429, "too far behind", retry_after_s=5)

    tocsin.intake = Intake(Full(), tocsin.clock)
    answer = tocsin.post("/v1/traces", span_request().SerializeToString(), PB)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")


def test_a_defect_is_answered_500_and_counted(tocsin: Bench) -> None:
    class Broken:
        async def append(self, *_: Any, **__: Any) -> bool:
            raise ZeroDivisionError

    tocsin.intake = Intake(Broken(), tocsin.clock)
    answer = tocsin.post("/v1/traces", span_request().SerializeToString(), PB)
    assert answer.status_code == 500
    assert tocsin.intake.counts["refused.500"] == 1


def test_limits_are_configurable(tocsin: Bench) -> None:
    tocsin.intake = Intake(tocsin.store.writer, tocsin.clock, limits=BodyLimits(100, 100))
    assert tocsin.post("/v1/traces", bytes(101), PB).status_code == 413


CALL = {
    "ts": "2026-11-21T04:59:00Z", "service": "rest", "kind": "llm", "provider": "openai",
    "model": "gpt-4o-mini", "duration_ms": 812.5, "ttft_ms": 90, "input_tokens": 100,
    "output_tokens": 10, "finish_reason": "stop", "session_id": "s", "dims": {"tier": "pro"},
    "env": "production", "release": "1.2",
}  # fmt: skip


def test_calls_over_rest_are_normalised_like_spans(tocsin: Bench) -> None:
    failed = {
        **CALL, "error_class": "rate_limit", "span_id": "0123456789abcdef", "input_token": 7,
    }  # fmt: skip
    lines = "\n".join(json.dumps(row) for row in (CALL, failed)).encode()
    answer = tocsin.post("/api/v1/calls", lines, JSON)
    assert answer.json() == {"accepted": 2, "rejected": 0, "reason": ""}
    first, second = tocsin.calls("service = 'rest' ORDER BY error_class --")
    assert (first["kind"], first["provider"], first["model"]) == ("llm", "openai", "gpt-4o-mini")
    assert (first["duration_us"], first["ttft_us"]) == (812_500, 90_000)
    assert first["cost_usd"] == pytest.approx(100 * 0.15e-6 + 10 * 0.6e-6)
    assert (first["dims"], first["env"], first["release"]) == ({"tier": "pro"}, "production", "1.2")
    assert (second["error_class"], second["span_id"]) == ("rate_limit", "0123456789abcdef")
    assert second["attrs"]["input_token"] == "7"  # no member of a call, and not lost


def test_calls_of_a_file_may_be_older_than_calls_are_kept(tocsin: Bench) -> None:
    """They count in the totals per hour; those of a live sender are set aside."""
    tocsin.intake._kept_days = lambda: 35  # as of a server
    old = span_request(1, service="old", first_id=1400, start_ns=NOW_NS - 50 * DAY_NS)
    body = old.SerializeToString()
    named = tocsin.post("/v1/traces", body, {**PB, "x-tocsin-batch": batch_name("old").hex()})
    assert (named.status_code, named.content) == (200, b"")
    (row,) = tocsin.query("SELECT sum(n) AS n FROM tocsin.calls_1h WHERE service = 'old'")
    assert row["n"] == 1
    answer = ExportTraceServiceResponse.FromString(tocsin.post("/v1/traces", body, PB).content)
    assert "calls are kept for 35 days" in answer.partial_success.error_message


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/v1/calls", b"", "empty"),
        ("/api/v1/calls", b"[1]", "element 1 is not a JSON object"),
        ("/api/v1/calls", b'{"service": "x"}', "element 1: call: ts"),
        ("/api/v1/calls", b'{"ts": "yesterday", "service": "x"}', "is not a time"),
        ("/api/v1/calls", b'{"ts": 1, "service": "x", "kind": "poem"}', "is not one of"),
        ("/api/v1/calls", b'{"ts": 1}', "service is missing"),
        ("/api/v1/calls", b'{"a": 1}\n{"a":', "line 1: call: ts"),
        ("/api/v1/calls", b'{"ts": 1, "service": "x", "dims": 4}', "dims must be an object"),
        ("/api/v1/scores", b'{"value": 1}', "name is missing"),
        ("/api/v1/scores", b'{"name": "x"}', "neither a finite value nor a label"),
        ("/api/v1/changes", b'{"service": "x", "kind": "deploy"}', "title is missing"),
        ("/v1/log", b"[]", "prediction_id"),
        ("/v2/spans/annotate", b'{"annotations": [{}]}', "record_id"),
        ("/v1/span_annotations", b'{"data": 1}', "data"),
        ("/v1/projects/p/spans", b'{"data": [{}]}', "context.span_id"),
        ("/v1/pandas_arrow", b"no arrow", "Arrow IPC"),
    ],
)
def test_bad_rows_are_400_and_say_what_is_wrong(
    tocsin: Bench, path: str, body: bytes, words: str
) -> None:
    headers = {} if path.endswith("arrow") else JSON
    answer = tocsin.post(path, body, headers)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_scores_and_changes_are_stored(tocsin: Bench) -> None:
    scores = [
        {"name": "user_feedback", "label": "thumbs_down", "call_id": "c1", "service": "rest"},
        {"name": "tone", "label": "formal", "call_id": "c1", "service": "rest"},
        {"name": "relevance", "value": 0.5, "call_id": "c1", "service": "rest"},
    ]
    answer = tocsin.post("/api/v1/scores", json.dumps(scores).encode(), JSON)
    assert answer.json() == {"accepted": 3, "rejected": 0, "reason": ""}
    rows = tocsin.query("SELECT name, value FROM tocsin.scores WHERE call_id = 'c1' ORDER BY name")
    assert [row["name"] for row in rows] == ["feedback", "relevance", "tone"]
    assert [row["value"] for row in rows[:2]] == [0.0, 0.5]
    assert rows[2]["value"] != rows[2]["value"]
    change = {"service": "rest", "kind": "deploy", "title": "v7", "ts": 1795236000}
    assert tocsin.post("/api/v1/changes", json.dumps(change).encode(), JSON).status_code == 200
    (row,) = tocsin.query("SELECT title, ts FROM tocsin.changes WHERE service = 'rest'")
    assert (row["title"], row["ts"].isoformat()[:10]) == ("v7", "2026-11-21")


def test_embeddings_of_arize_are_vectors_that_drift_compares(tocsin: Bench) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(20, 1536))
    for number, vector in enumerate(vectors):
        embedding = {"vector": vector.tolist(), "linkToData": "",
                     "rawData": {"tokenArray": {"tokens": ["When does it arrive?"]}}}  # fmt: skip
        body = {
            "model_id": "arize-vectors", "prediction_id": f"v{number}",
            "prediction": {
                "timestamp": 1795236000 + number, "features": {"prompt": {"embedding": embedding}},
                "tags": {"llm_model_name": {"string": "gpt"}},
            },
        }  # fmt: skip
        assert tocsin.post("/v1/log", json.dumps(body).encode(), JSON).status_code == 200
    tocsin.query("SELECT 1")  # waits for what was sent
    wish = Wish("arize-vectors", ("embedding:prompt.vector", "input_chars"), "llm", 60, 60, 60, 50)
    found = tocsin.store.sample(wish, 1795236000 // 60 - 1, 1795236000 // 60 + 2)
    assert len(found) == 20
    told = np.array(found.columns["embedding:prompt.vector"])
    np.testing.assert_allclose(np.sort(told[:, 0]), np.sort(vectors[:, 0]), rtol=1e-9)
    assert told.shape == vectors.shape
    assert set(found.columns["input_chars"]) == {20.0}


def test_a_prediction_without_a_time_is_stored_once_however_often_it_comes(tocsin: Bench) -> None:
    body = b'{"model_id": "router", "prediction_id": "p9", "prediction": {}}'
    for _ in range(2):
        assert tocsin.post("/v1/log", body, JSON).status_code == 200
        tocsin.clock.advance(timedelta(seconds=7))
    assert count(tocsin, "router") == 1


@pytest.mark.parametrize(
    "value", [1795236000, 1795236000.0, 1795236000000, 1795236000000000, "2026-11-21T04:40:00Z"]
)
def test_a_time_may_be_an_epoch_number_of_any_unit(value: float | str) -> None:
    assert moment_ns(value, "ts") == 1795236000 * 10**9


def test_a_time_beyond_every_calendar_is_no_defect(tocsin: Bench) -> None:
    for ts in ("1" + "0" * 400, "-1" + "0" * 400):
        body = f'[{{"ts": {ts}, "service": "shop"}}]'.encode()
        answer = tocsin.post("/api/v1/calls", body, {"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
        assert "is not a time" in answer.text


def test_a_large_body_is_read_aside_and_stored_like_any_other(
    tocsin: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()

    def noted(*args: Any) -> Any:
        threads.add(threading.current_thread().name)
        return to_protobuf(*args)

    monkeypatch.setattr(front, "to_protobuf", noted)
    spans = [
        {"traceId": f"{n:032x}", "spanId": f"{n:016x}", "name": "chat " + "x" * 3000,
         "startTimeUnixNano": str(NOW_NS - 10**9), "endTimeUnixNano": str(NOW_NS)}
        for n in range(1, 101)
    ]  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "aside"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    answer = tocsin.post(
        "/v1/traces", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    assert len(tocsin.calls("service = 'aside'")) == 100
    assert threading.main_thread().name not in threads
