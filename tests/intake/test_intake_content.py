"""One call with what arrived about it elsewhere, whatever came first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from intake_build import NOW, NOW_NS, PROTOBUF, Bench, bench, put, span_request
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tocsin.store.call_detail import CallDetail, Note, content

QUESTION, ANSWER = "Where is my parcel?", "It arrives tomorrow."


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("detail")) as made:
        yield made


def ids(number: int) -> tuple[str, str]:
    return number.to_bytes(16, "big").hex(), number.to_bytes(8, "big").hex()


def log_body(record: Any, body: Any) -> None:
    for name, value in body.items():
        pair = record.body.kvlist_value.values.add(key=name)
        if isinstance(value, dict):
            put(pair.value.kvlist_value.values, value)
        else:
            pair.value.string_value = value


def logs_of(number: int, *events: tuple[str, dict[str, Any], dict[str, Any]]) -> bytes:
    """A request with an event (name, body, attributes) each, of the span of this number."""
    request = ExportLogsServiceRequest()
    scoped = request.resource_logs.add().scope_logs.add()
    for place, (name, body, attributes) in enumerate(events):
        record = scoped.log_records.add(event_name=name, time_unix_nano=NOW_NS - 1000 + place)
        record.trace_id, record.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
        if body:
            log_body(record, body)
        put(record.attributes, attributes)
    return request.SerializeToString()


def spans_of(number: int, **attributes: Any) -> bytes:
    request = span_request(
        1, first_id=number, scope="opentelemetry.instrumentation.openai_v2",
        attributes={"gen_ai.response.id": f"chatcmpl-{number}", **attributes},
    )  # fmt: skip
    return request.SerializeToString()


MESSAGES = (
    ("gen_ai.system.message", {"content": "Be kind."}, {}),
    ("gen_ai.user.message", {"content": QUESTION}, {}),
    ("gen_ai.choice", {"finish_reason": "stop",
                       "message": {"role": "assistant", "content": ANSWER}}, {}),
)  # fmt: skip
DETAILS = (
    (
        "gen_ai.client.inference.operation.details",
        {},
        {
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [QUESTION]}]),
            "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [ANSWER]}]),
        },
    ),
)


def send(tocsin: Bench, *requests: tuple[str, bytes]) -> None:
    """Send one after the other, each loaded before the next."""
    for path, body in requests:
        assert tocsin.post(path, body, {"content-type": PROTOBUF}).status_code == 200
        tocsin.store.flush()


def detail(tocsin: Bench, number: int) -> CallDetail:
    found = tocsin.store.call(*ids(number))
    assert found is not None
    return found


Order = Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]


@pytest.mark.parametrize("order", [list, lambda two: two[::-1]], ids=["span first", "log first"])
@pytest.mark.parametrize("events", [MESSAGES, DETAILS], ids=["messages", "details"])
def test_texts_in_log_records_are_those_of_their_call(
    tocsin: Bench, request: pytest.FixtureRequest, order: Order, events: Any
) -> None:
    number = 10 + 2 * (events is DETAILS) + (order is list)
    both = [("/v1/traces", spans_of(number)), ("/v1/logs", logs_of(number, *events))]
    send(tocsin, *order(both))
    found = detail(tocsin, number)
    assert found.content_from == "log records"
    assert QUESTION in found.input
    assert ANSWER in found.output
    assert ANSWER not in found.input
    assert [note.name for note in found.logs] == [name for name, _, _ in events]
    if events is MESSAGES:
        assert json.loads(found.input) == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": QUESTION},
        ]


def test_texts_of_the_span_itself_win(tocsin: Bench) -> None:
    send(
        tocsin,
        ("/v1/traces", spans_of(20, **{"input.value": "asked", "output.value": "said"})),
        ("/v1/logs", logs_of(20, *MESSAGES)),
    )
    found = detail(tocsin, 20)
    assert (found.input, found.output, found.content_from) == ("asked", "said", "span")
    assert len(found.logs) == 3


def test_texts_that_are_spread_over_attributes_are_put_together(tocsin: Bench) -> None:
    parts = {
        "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be kind.",
        "gen_ai.prompt.10.role": "user", "gen_ai.prompt.10.content": QUESTION,
        "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": ANSWER,
    }  # fmt: skip
    send(tocsin, ("/v1/traces", spans_of(25, **parts)))
    found = detail(tocsin, 25)
    assert [m["content"] for m in json.loads(found.input)] == ["Be kind.", QUESTION]
    assert json.loads(found.output) == [{"role": "assistant", "content": ANSWER}]
    assert found.content_from == "span"


def test_a_call_without_texts_says_so(tocsin: Bench) -> None:
    send(tocsin, ("/v1/traces", spans_of(30)))
    found = detail(tocsin, 30)
    assert (found.input, found.output, found.content_from) == ("", "", "")
    assert (found.logs, found.scores) == ([], [])
    assert found.resource["service.name"] == "shop"


def test_log_records_of_other_spans_are_not_shown(tocsin: Bench) -> None:
    send(tocsin, ("/v1/traces", spans_of(40)), ("/v1/logs", logs_of(41, *MESSAGES)))
    assert detail(tocsin, 40).logs == []


def test_scores_of_the_span_and_of_its_response_are_shown_as_they_hold(tocsin: Bench) -> None:
    send(tocsin, ("/v1/traces", spans_of(50)))
    _, span = ids(50)
    for row in (
        {"name": "tone", "value": 0.2, "call_id": span, "source": "human"},
        {"name": "tone", "value": 0.9, "call_id": span, "source": "human"},
        {"name": "faithful", "label": "unsure", "call_id": "chatcmpl-50"},
    ):
        assert tocsin.post("/api/v1/scores", json.dumps(row).encode()).status_code == 200
        tocsin.clock.advance(timedelta(seconds=1))
    tocsin.store.flush()
    found = [(s.name, s.value, s.label) for s in detail(tocsin, 50).scores]
    assert found == [("faithful", None, "unsure"), ("tone", 0.9, "")]


def test_what_does_not_exist_is_none(tocsin: Bench) -> None:
    assert tocsin.store.call("00" * 16, "11" * 8) is None
    assert tocsin.store.call("'; DROP TABLE tocsin.calls", "") is None


def test_a_body_that_is_no_json_is_a_message_as_it_is() -> None:
    notes = [Note(NOW, "gen_ai.user.message", "plain", {}), Note(NOW, "app.log", "else", {})]
    assert content(notes) == ('["plain"]', "")
