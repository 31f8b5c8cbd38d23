"""Whatever door it comes in by, nobody's data reaches a table; and what a document says, holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.json_format import MessageToJson
from intake_build import NOW_NS, PROTOBUF, Bench, bench, put, span_request
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tocsin.domain.redaction import derived_key, hashed
from tocsin.intake.intake import Intake
from tocsin.spec.desired import load_text
from tocsin.store.row_kinds import segment_kinds

JSON = {"content-type": "application/json"}
PROTO = {"content-type": PROTOBUF}
EMAIL, CARD, KEY = "jane.doe@example.com", "4111 1111 1111 1111", "sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12"
SECRETS = (EMAIL, CARD, KEY)
TOLD = f"I am {EMAIL}, my card is {CARD}, my key {KEY}."
SAFE = "I am [email], my card is [card], my key [key]."


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def traces(first_id: int, **attributes: str) -> Any:
    request = span_request(
        first_id=first_id,
        attributes={
            "input.value": TOLD, "output.value": json.dumps({"content": TOLD}),
            "user.id": EMAIL, "llm.input_messages.0.message.content": TOLD,
            "gen_ai.response.id": "chatcmpl-8a1c9d7e6f5a4b3c2d1e0f9a8b7c6d5e",
            "tocsin.segment.customer": EMAIL, **attributes,
        },
    )  # fmt: skip
    put(request.resource_spans[0].resource.attributes, {"process.command_line": f"run --key {KEY}"})
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.name = f"chat with {EMAIL}"
    span.status.code = 2
    span.status.message = f"no mail to {EMAIL}"
    event = span.events.add(name="exception", time_unix_nano=NOW_NS)
    put(event.attributes, {"exception.message": TOLD, "exception.type": "Refused"})
    return request


def logs() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.time_unix_nano = NOW_NS
    record.body.string_value = TOLD
    put(record.attributes, {"gen_ai.input.messages": TOLD, "count": 4111111111111111})
    return request


def metrics() -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="calls")
    point = metric.sum.data_points.add(time_unix_nano=NOW_NS, as_int=1)
    put(point.attributes, {"enduser": EMAIL})
    return request


def everything(store: Bench) -> dict[str, str]:
    """Every row of every table as text, by table."""
    tables = [
        row["name"]
        for row in store.query(
            "SELECT name FROM system.tables WHERE database = 'tocsin' AND engine LIKE '%MergeTree'"
        )
    ]
    return {
        name: "\n".join(
            row["line"]
            for row in store.query(f"SELECT formatRow('JSONEachRow', *) AS line FROM tocsin.{name}")
        )
        for name in tables
    }


def test_nobodys_data_reaches_a_table_by_any_door(house: Bench) -> None:
    timeless = span_request(first_id=7, start_ns=1, attributes={"input.value": TOLD})
    call = {
        "ts": "2026-11-21T04:59:00Z", "service": "shop", "model": "gpt-4o", "input": TOLD,
        "output": TOLD, "user_id": EMAIL, "attributes": {"note": TOLD}, "dims": {"who": EMAIL},
    }  # fmt: skip
    score = {"name": "helpful", "value": 1, "call_id": "00000001", "comment": TOLD}
    annotation = {
        "data": [
            {
                "span_id": "0000000000000001", "name": "note", "annotator_kind": "HUMAN",
                "result": {"label": "good", "score": 1, "explanation": TOLD},
            }
        ]
    }  # fmt: skip
    requests = [
        ("/v1/traces", traces(1).SerializeToString(), PROTO),
        ("/v1/traces", MessageToJson(traces(2)).encode(), JSON),
        ("/v1/traces", timeless.SerializeToString(), PROTO),
        ("/v1/logs", logs().SerializeToString(), PROTO),
        ("/v1/metrics", metrics().SerializeToString(), PROTO),
        ("/api/v1/calls", json.dumps(call).encode(), JSON),
        ("/api/v1/scores", json.dumps(score).encode(), JSON),
        ("/v1/span_annotations", json.dumps(annotation).encode(), JSON),
    ]
    assert [answer.status_code for answer in house.post_all(requests)] == [200] * len(requests)
    when = pa.array([datetime(2026, 11, 21, 4, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    text = pa.map_(pa.string(), pa.string())
    house.store.add_calls(
        pa.table({
            "ts": when, "service": ["replayed"], "kind": ["llm"], "input": [TOLD],
            "user_id": [EMAIL], "attrs": pa.array([[("note", TOLD)]], text),
        })
    )  # fmt: skip

    found = everything(house)

    for name, rows in found.items():
        assert not [secret for secret in SECRETS if secret in rows], name
    assert found["calls"].count(SAFE) >= 8
    for table in ("logs", "scores", "quarantine"):
        assert SAFE in found[table], table
    assert "[email]" in found["metric_points"]
    assert "4111111111111111" not in found["logs"]


def test_ids_and_what_is_measured_stay_as_they_came(house: Bench) -> None:
    house.post("/v1/traces", traces(1).SerializeToString(), PROTO)
    [call] = house.calls()
    assert call["trace_id"] == f"{1:032x}"
    assert call["span_id"] == f"{1:016x}"
    assert call["response_id"] == "chatcmpl-8a1c9d7e6f5a4b3c2d1e0f9a8b7c6d5e"
    assert call["model"] == "gpt-4o-mini"
    assert call["duration_us"] == 250_000
    assert call["name"] == "chat with [email]"
    assert call["status_message"] == "no mail to [email]"
    assert call["dims"] == {"customer": "[email]"}
    assert call["res"]["process.command_line"] == "run --key [key]"
    assert call["ev_attrs"] == [{"exception.message": SAFE, "exception.type": "Refused"}]


DOCUMENTS = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: shop}
spec: {team: shop}
---
apiVersion: tocsin/v1
kind: Redaction
metadata: {name: shop}
spec:
  services: [shop]
  exclude: [card]
  salt: {secret: SALT}
  fields:
    - {field: user_id, action: hash}
    - {field: input, action: drop}
    - {field: attributes.note, action: mask}
    - {field: attributes.raw.*, action: keep}
    - {field: dims.customer, action: drop}
---
apiVersion: tocsin/v1
kind: Redaction
metadata: {name: everybody-else}
spec: {mode: "off"}
"""


def test_a_document_rules_over_the_fields_of_its_service_only(house: Bench) -> None:
    desired = load_text(DOCUMENTS, secrets={"SALT": "pepper"}.get)
    house.store.use(segment_kinds(desired.redactions))
    house.post("/v1/traces", traces(1, note=TOLD, **{"raw.mail": EMAIL}).SerializeToString(), PROTO)
    other = traces(2)
    other.resource_spans[0].resource.attributes[0].value.string_value = "other"
    house.post("/v1/traces", other.SerializeToString(), PROTO)

    [shop] = house.calls("service = 'shop'")
    assert shop["input"] == ""
    assert shop["user_id"] == hashed(EMAIL, derived_key("pepper"))
    assert (
        json.loads(shop["output"])["content"] == f"I am [email], my card is {CARD}, my key [key]."
    )
    assert "llm.input_messages.0.message.content" not in shop["attrs"]
    assert shop["attrs"]["note"] == "[masked]"
    assert shop["attrs"]["raw.mail"] == EMAIL
    assert shop["dims"] == {}
    [untouched] = house.calls("service = 'other'")
    assert untouched["input"] == TOLD
    assert untouched["dims"] == {"customer": EMAIL}


def test_the_same_user_has_the_same_stand_in_everywhere(house: Bench) -> None:
    desired = load_text(DOCUMENTS, secrets={"SALT": "pepper"}.get)
    house.store.use(segment_kinds(desired.redactions))
    for number in (1, 2, 3):
        house.post("/v1/traces", traces(number).SerializeToString(), PROTO)
    users = house.query("SELECT user_id, count() AS n FROM tocsin.calls GROUP BY user_id")
    assert [row["n"] for row in users] == [3]


def test_redaction_changes_no_count(house: Bench) -> None:
    request = span_request(50, attributes={"input.value": TOLD})
    house.post("/v1/traces", request.SerializeToString(), PROTO)
    [found] = house.query("SELECT count() AS n, uniqExact(span_id) AS ids FROM tocsin.calls")
    [minute] = house.query("SELECT sum(n) AS n FROM tocsin.calls_1m WHERE sk = ''")
    assert (found["n"], found["ids"], minute["n"]) == (50, 50, 50)


class Disk:
    """A writer that keeps the bytes it would write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    async def append(
        self, kind: str, chunks: Any, *, digest: bytes = b"", careful: bool = False
    ) -> bool:
        self.written.append(b"".join(chunks))
        return True


STRICT = DOCUMENTS.replace("exclude: [card]", "mode: strict")


def test_strict_keeps_it_off_the_disk_and_gives_the_same_rows(house: Bench) -> None:
    desired = load_text(STRICT, secrets={"SALT": "pepper"}.get)
    disk = Disk()
    front = Bench(
        house.store, Intake(disk, house.clock, redactions=lambda: desired.redactions), house.clock
    )
    requests = [
        ("/v1/traces", traces(1, note=TOLD).SerializeToString(), PROTO),
        ("/v1/traces", MessageToJson(traces(2)).encode(), JSON),
        ("/v1/traces", span_request(start_ns=1, attributes={"x": TOLD}).SerializeToString(), PROTO),
        ("/v1/metrics", metrics().SerializeToString(), PROTO),
    ]
    assert all(answer.status_code == 200 for answer in front.post_all(requests))
    shop, sent_as_json, set_aside, other = disk.written  # the policy of other services is off
    assert EMAIL.encode() in other
    for body in (shop, sent_as_json, set_aside):
        assert not [secret for secret in SECRETS if secret.encode() in body]

    house.store.use(segment_kinds(desired.redactions))
    strict = Intake(house.store.writer, house.clock, redactions=lambda: desired.redactions)
    Bench(house.store, strict, house.clock).post(*requests[0])
    house.post("/v1/traces", traces(3, note=TOLD).SerializeToString(), PROTO)
    before, after = house.calls("service = 'shop'")
    same = (
        "input",
        "output",
        "user_id",
        "name",
        "status_message",
        "attrs",
        "dims",
        "res",
        "ev_attrs",
    )
    assert {name: before[name] for name in same} == {name: after[name] for name in same}
