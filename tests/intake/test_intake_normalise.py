"""Rules of the normaliser that no recording shows, and promises between the rooms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from intake_build import NOW_NS, PROTOBUF, Bench, bench, span_request

from tocsin.domain.failures import failure_class
from tocsin.intake import scopes
from tocsin.intake.envelope import envelope_head, varint
from tocsin.store import attributes, prices
from tocsin.store.normalise import NEVER_TELL_A_FINISH
from tocsin.store.otlp import LOGS_ENVELOPE, METRICS_ENVELOPE, TRACES_ENVELOPE
from tocsin.store.otlp_kinds import KINDS, traces
from tocsin.store.prices import Price, Tier, price_rows
from tocsin.store.sqltext import derived

UNKNOWN_COST = (0, 0.0)


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("normalise")) as made:
        yield made


_ids = iter(range(10_000, 20_000))


def one(tocsin: Bench, values: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The call that a span with these attributes becomes."""
    number = next(_ids)
    request = span_request(1, service=f"s{number}", first_id=number, attributes=values, **more)
    body = request.SerializeToString()
    assert tocsin.post("/v1/traces", body, {"content-type": PROTOBUF}).status_code == 200
    (call,) = tocsin.calls(f"service = 's{number}'")
    return call


def test_front_and_store_agree_on_scopes() -> None:
    assert scopes.PLAIN_SCOPES == attributes.PLAIN_SCOPES
    assert scopes.FRAMEWORKS == attributes.FRAMEWORKS
    assert scopes.SILENT_SCOPE in NEVER_TELL_A_FINISH


@pytest.mark.parametrize("envelope", [TRACES_ENVELOPE, LOGS_ENVELOPE, METRICS_ENVELOPE])
def test_front_and_store_agree_on_the_envelope(envelope: Any) -> None:
    numbers = {field.name: field.number for field in envelope.fields}
    assert numbers == {"project": 1, "recv": 2, "request": 4}
    head = envelope_head("p", 1, 300)
    assert head == b"\x0a\x01p" + b"\x11" + (1).to_bytes(8, "little") + b"\x22" + varint(300)


def test_names_of_segment_kinds_are_what_a_file_name_can_hold() -> None:
    assert all(kind.name.isalnum() and kind.name.islower() for kind in KINDS)


@pytest.mark.parametrize(
    ("message", "error_type", "expected"),
    [
        ("Error code: 429 - quota", "", "rate_limit"),
        ("Error code: 529 - {'type': 'overloaded_error'}", "", "overloaded"),
        ("Error code: 500 - timeout upstream", "", "server"),
        ("Error code: 401 - invalid key", "", "auth"),
        ("Error code: 400 - content_filter triggered", "", "content_filter"),
        ("Request timed out.", "", "timeout"),
        ("Connection error.", "APIConnectionError", "connection"),
        ("", "429", "rate_limit"),
        ("", "ThrottlingException", "rate_limit"),
        ("", "BadRequestError", "bad_request"),
        ("", "timeout", "timeout"),
        ("something odd", "", "other"),
    ],
)
def test_failures_have_a_class(tocsin: Bench, message: str, error_type: str, expected: str) -> None:
    number = next(_ids)
    values = {"error.type": error_type} if error_type else {}
    request = span_request(1, service=f"s{number}", first_id=number, attributes=values)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.status.code, span.status.message = 2, message
    body = request.SerializeToString()
    assert tocsin.post("/v1/traces", body, {"content-type": PROTOBUF}).status_code == 200
    (call,) = tocsin.calls(f"service = 's{number}'")
    assert call["error_class"] == expected
    assert failure_class(error_type, 0, message) == expected, "files are read alike"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"gen_ai.provider.name": "aws.bedrock"}, "aws.bedrock"),
        ({"gen_ai.system": "openai.chat"}, "openai"),
        ({"gen_ai.system": "Anthropic"}, "anthropic"),
        ({"llm.provider": "azure", "llm.system": "openai"}, "azure"),
        ({"gen_ai.system": "Langchain"}, "openai"),
        ({}, "openai"),
    ],
)
def test_providers_are_named_alike(tocsin: Bench, values: dict[str, Any], expected: str) -> None:
    assert one(tocsin, values)["provider"] == expected


USED = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}


@pytest.mark.parametrize(
    ("values", "dollars"),
    [
        ({"gen_ai.request.model": "gpt-4o-mini"}, 0.00021),
        ({"gen_ai.response.model": "gpt-4o-mini-2031-01-01"}, 0.00021),
        ({"gen_ai.response.model": "openrouter/openai/gpt-4o-mini"}, 0.00021),
        ({"gen_ai.provider.name": "azure.ai.openai", "gen_ai.response.model": "gpt-4o"}, 0.0035),
        ({"gen_ai.usage.cached": 1, "gen_ai.usage.cost": 0.5}, 0.5),
        ({"gen_ai.usage.cost": 0.0}, 0.0),
        ({"gen_ai.usage.cost": -1.0}, 0.00021),
        ({"gen_ai.usage.cost": 1.7e308}, 0.00021),
    ],
)
def test_cost_is_the_spans_own_or_the_books(
    tocsin: Bench, values: dict[str, Any], dollars: float
) -> None:
    call = one(tocsin, {**USED, **values})
    assert (call["cost_known"], call["cost_usd"]) == (1, pytest.approx(dollars))


SONNET = {"gen_ai.provider.name": "anthropic", "gen_ai.response.model": "claude-sonnet-4-5"}


@pytest.mark.parametrize(
    ("counts", "input_tokens", "dollars"),
    [
        ({"input_tokens": 1000}, 1000, 0.003),
        ({"input_tokens": 1000, "cache_read.input_tokens": 800}, 1000, 0.0006 + 0.00024),
        ({"input_tokens": 1000, "cache_creation.input_tokens": 800}, 1000, 0.0006 + 0.003),
        (  # as Anthropic counts: what was cached is no part of the input
            {
                "input_tokens": 10,
                "cache_read.input_tokens": 800,
                "cache_creation.input_tokens": 200,
            },
            1010,
            0.00003 + 0.00024 + 0.00075,
        ),
    ],
)
def test_every_input_token_is_paid_for_once_at_its_own_price(
    tocsin: Bench, counts: dict[str, int], input_tokens: int, dollars: float
) -> None:
    told = {"output_tokens": 0, **counts}
    usage = {f"gen_ai.usage.{name}": count for name, count in told.items()}
    call = one(tocsin, {**SONNET, **usage})
    assert (call["input_tokens"], call["cost_known"]) == (input_tokens, 1)
    assert call["cost_usd"] == pytest.approx(dollars)


@pytest.mark.parametrize(
    "half",
    [
        {"input_tokens": 1000},
        {"output_tokens": 100},
        {"input_tokens": 1000, "output_tokens": -1},
        {"input_tokens": 1000, "output_tokens": 1 << 32},
    ],
)
def test_half_of_the_usage_is_not_taken_for_all_of_it(tocsin: Bench, half: dict[str, int]) -> None:
    usage = {f"gen_ai.usage.{name}": count for name, count in half.items()}
    call = one(tocsin, {**SONNET, **usage})
    assert (call["usage_known"], call["cost_known"]) == (0, 0)
    assert (call["input_tokens"], call["output_tokens"], call["cost_usd"]) == (0, 0, 0.0)
    assert {name: str(count) for name, count in usage.items()}.items() <= call["attrs"].items()


def test_reasoning_is_a_part_of_the_output_and_paid_for_once(tocsin: Bench) -> None:
    plain = one(tocsin, {**USED, "gen_ai.request.model": "o3-mini"})
    reasoned = {**USED, "gen_ai.usage.reasoning.output_tokens": 80}
    thought = one(tocsin, {**reasoned, "gen_ai.request.model": "o3-mini"})
    assert (thought["output_tokens"], thought["reasoning_tokens"]) == (100, 80)
    assert thought["cost_usd"] == plain["cost_usd"] > 0


def test_a_model_without_a_price_costs_unknown_not_nothing(tocsin: Bench) -> None:
    values = {**USED, "gen_ai.response.model": "our-own-7b", "gen_ai.request.model": "our-own-7b"}
    call = one(tocsin, values)
    assert (call["cost_known"], call["cost_usd"]) == UNKNOWN_COST
    assert call["usage_known"] == 1


def test_input_includes_cached_tokens_even_where_the_provider_counts_them_apart(
    tocsin: Bench,
) -> None:
    values = {**USED, "gen_ai.usage.cache_read.input_tokens": 4000}
    call = one(tocsin, values)
    assert (call["input_tokens"], call["cached_tokens"]) == (5000, 4000)


def test_usage_of_an_agent_stays_an_attribute(tocsin: Bench) -> None:
    call = one(tocsin, {**USED, "openinference.span.kind": "AGENT"})
    assert (call["kind"], call["input_tokens"], call["cost_known"]) == ("agent", 0, 0)
    assert call["attrs"]["gen_ai.usage.input_tokens"] == "1000"


def test_a_filtered_answer_is_an_error_of_its_own_class(tocsin: Bench) -> None:
    call = one(tocsin, {"gen_ai.response.finish_reasons": '["content_filter"]'})
    assert (call["finish_reason"], call["error_class"]) == ("content_filter", "content_filter")


def test_a_stream_that_never_finished_is_truncated(tocsin: Bench) -> None:
    values = {"gen_ai.request.stream": True}
    scope = "opentelemetry.instrumentation.anthropic"
    assert one(tocsin, values, scope=scope)["truncated"] == 1
    ended = {**values, "gen_ai.response.finish_reasons": "end_turn"}
    assert one(tocsin, ended, scope=scope)["truncated"] == 0
    silent = "opentelemetry.instrumentation.openai_v2"
    assert one(tocsin, values, scope=silent)["truncated"] == 0


def test_declared_dimensions_are_read_from_attributes_and_metadata(tmp_path: Any) -> None:
    kind = traces({"tier": "metadata.tier", "tenant": "app.tenant"})
    assert "'app.tenant'" in kind.select
    assert "JSONExtractString" in kind.select


def test_overrides_replace_packaged_prices() -> None:
    mine = Price("openai", "GPT-4o-mini", Tier(input=1.0, cached=0.5, written=1.0, output=2.0))
    rows = [row for row in price_rows([mine]) if row[:2] == ("openai", "gpt-4o-mini")]
    assert [row[4] for row in rows] == [[1.0, 1.0, 0.5, 1.0, 2.0, 0.0]]


def test_prices_follow_their_dates() -> None:
    rows = [row for row in price_rows() if row[:2] == ("anthropic", "claude-sonnet-4-6")]
    assert len(rows) == 2
    assert rows[0][3] < rows[1][2]
    assert (rows[0][4][6], len(rows[1][4])) == (200_000, 6)


def test_every_price_is_a_price() -> None:
    for row in price_rows():
        named = dict(zip(prices.PRICE_COLUMNS, row, strict=True))
        assert named["model"] == named["model"].lower()
        assert min(named["rates"]) >= 0
        assert named["rates"][1] < 0.01, "dollars per token, not per million"


def test_a_derived_select_has_as_few_layers_as_its_longest_chain() -> None:
    named = {"b": "a + 1", "c": "b + 1", "d": "a + 2", "unused": "c"}
    sql = derived("numbers_of", ["a"], named, ["c", "d"])
    assert sql.count("SELECT") == 2
    assert "unused" not in sql
    assert sql.index("b + 1") < sql.index("a + 1")


def test_a_cycle_of_names_is_an_error() -> None:
    with pytest.raises(RecursionError):
        derived("t", ["x"], {"a": "b", "b": "a"}, ["a"])


def test_spans_far_in_the_past_within_the_limit_are_stored(tocsin: Bench) -> None:
    call = one(tocsin, {}, start_ns=NOW_NS - 399 * 86_400_000_000_000)
    assert call["ts"].year == 2025
