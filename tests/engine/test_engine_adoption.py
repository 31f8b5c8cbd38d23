"""What a running server adopts holds from then on: redaction, and prices of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.domain.clock import ManualClock
from tocsin.engine.house import House
from tocsin.intake.envelope import envelope_head
from tocsin.spec.desired import Desired, load_text
from tocsin.store.otlp_kinds import TABLES
from tocsin.store.row_kinds import segment_kinds
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry
from tocsin.web.server import NOTHING, open_stores

NOW = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
EMAIL = "jane@example.com"
SERVICE = "apiVersion: tocsin/v1\nkind: Service\nmetadata: {name: shop}\nspec: {team: shop}\n---\n"
DROPPED = load_text(
    SERVICE
    + "apiVersion: tocsin/v1\nkind: Redaction\nmetadata: {name: r}\n"
    + "spec: {services: [shop], fields: [{field: input, action: drop}]}\n"
)
PRICED = load_text(
    "apiVersion: tocsin/v1\nkind: PriceBook\nmetadata: {name: p}\n"
    "spec: {prices: [{provider: openai, model: gpt-4o, inputPerMtok: 1000000}]}\n"
)


@contextmanager
def opened(path: Path) -> Iterator[House]:
    clock = ManualClock(NOW)
    telemetry = Telemetry.open(
        path, clock, kinds=segment_kinds(), tables=TABLES, retention=Retention(0, 0, 0)
    )
    state = StateStore.open(path / "state.db")
    made = House(telemetry, state, clock, NOTHING, lateness=timedelta(seconds=2))
    yield made
    telemetry.close()
    state.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as made:
        yield made


def span(number: int) -> list[bytes]:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    made = resource.scope_spans.add().spans.add(
        name="chat", trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"),
        start_time_unix_nano=int(NOW.timestamp()) * 10**9,
        end_time_unix_nano=int(NOW.timestamp()) * 10**9 + 1000,
    )  # fmt: skip
    texts = {
        "openinference.span.kind": "LLM", "gen_ai.system": "openai", "input.value": f"I am {EMAIL}",
        "gen_ai.response.model": "gpt-4o",
    }  # fmt: skip
    for key, value in texts.items():
        made.attributes.add(key=key).value.string_value = value
    made.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 1
    made.attributes.add(key="gen_ai.usage.output_tokens").value.int_value = 0
    body = request.SerializeToString()
    return [envelope_head("", int(NOW.timestamp()) * 10**9, len(body)), body]


def calls(telemetry: Telemetry, columns: str) -> list[tuple[Any, ...]]:
    telemetry.flush()
    found = telemetry._engine.rows(f"SELECT {columns} FROM tocsin.calls ORDER BY span_id")
    return [tuple(row) for row in found]


def test_an_adopted_redaction_holds_for_what_is_loaded_from_then_on(house: House) -> None:
    house.telemetry.writer.append_now("traces", span(1))
    assert calls(house.telemetry, "input") == [("I am [email]",)]
    house.adopt(DROPPED)
    house.telemetry.writer.append_now("traces", span(2))
    assert calls(house.telemetry, "input") == [("I am [email]",), ("",)]
    house.adopt(NOTHING)
    house.telemetry.writer.append_now("traces", span(3))
    assert [row[0] for row in calls(house.telemetry, "input")][2] == "I am [email]"


def test_adopted_prices_hold_for_what_is_loaded_from_then_on(house: House) -> None:
    for number, desired in enumerate((NOTHING, PRICED, NOTHING), start=1):
        house.adopt(desired)
        house.telemetry.writer.append_now("traces", span(number))
        house.telemetry.flush()
    costs = [cost for cost, known in calls(house.telemetry, "cost_usd, cost_known") if known]
    assert costs == pytest.approx([2.5e-6, 1.0, 2.5e-6])


def test_segments_of_a_former_process_are_loaded_by_what_is_configured(tmp_path: Path) -> None:
    """They hold texts as sent, and the documents are known before they are read."""
    former, left = tmp_path / "former", tmp_path / "left"
    (left / "wal").mkdir(parents=True)
    with opened(former) as house:
        house.telemetry.writer.append_now("traces", span(1))
        (segment,) = (former / "wal").glob("*-traces*.open")
        shutil.copy(segment, left / "wal" / segment.name)
    asked: list[Desired] = []

    def configured(_: StateStore) -> Desired:
        asked.append(DROPPED)
        return DROPPED

    stores = open_stores(left, ManualClock(NOW), memory_bytes=1 << 30, configured=configured)
    try:
        assert calls(stores.telemetry, "service, input") == [("shop", "")]
        assert asked == [DROPPED]
        assert stores.desired is DROPPED
    finally:
        stores.close()
