"""The price book: what a call costs is what genai-prices says, or what an operator says instead."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from genai_prices import Usage, calc_price, data_snapshot
from genai_prices.types import ModelPrice, TimeOfDateConstraint

from tocsin.store import fitness, prices
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.prices import MOST_TIERS, Price, Tier, cost_of, install, price_book, rates_of

UNLIKE = ("output_reasoning_mtok", "output_citation_mtok", "input_text_mtok")  # told by no span


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    path = tmp_path_factory.mktemp("prices") / "clickhouse"
    made = ClickHouse.embedded(path, memory_bytes=1 << 30)
    fitness.make_database(made)
    install(made)
    yield made
    made.close()


def costs(engine: ClickHouse, calls: list[tuple[Any, ...]]) -> list[float | None]:
    """Dollars of (provider, model, day, input, cached, written, output), None for unknown."""
    values = ", ".join(
        f"({i}, '{p}', '{m}', '{d}', {n})"
        for i, (p, m, d, *counts) in enumerate(calls)
        for n in [", ".join(map(str, counts))]
    )
    shape = (
        "i UInt32, provider String, model String, day Date, a UInt32, c UInt32, w UInt32, o UInt32"
    )
    sql = (
        f"SELECT if(empty(rates), NULL, {cost_of('rates', 'a', 'c', 'w', 'o')}) FROM"
        f" (SELECT *, {rates_of('provider', 'model', 'day')} AS rates"
        f" FROM values('{shape}', {values})) ORDER BY i"
    )
    return [row[0] for row in engine.rows(sql)]


def packaged_models() -> list[tuple[str, str]]:
    """(provider, model) whose price depends on nothing but the day and tokens of text."""
    found = []
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            listed = model.prices
            dated = [] if isinstance(listed, ModelPrice) else listed
            if any(isinstance(entry.constraint, TimeOfDateConstraint) for entry in dated):
                continue
            held = [listed] if isinstance(listed, ModelPrice) else [e.prices for e in dated]
            if not any(getattr(price, name, None) for price in held for name in UNLIKE):
                found.append((provider.id, model.id))
    return found


def alike(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)


def test_costs_are_those_of_genai_prices_for_any_usage_on_any_day(engine: ClickHouse) -> None:
    rng = Random(2026)
    models = packaged_models()
    calls, expected = [], []
    while len(calls) < 800:
        provider, model = rng.choice(models)
        day = date.fromordinal(
            rng.randint(date(2023, 1, 1).toordinal(), date(2026, 12, 31).toordinal())
        )
        whole = int(10 ** rng.uniform(0, 6))
        cached = rng.choice((0, 0, rng.randint(0, whole)))
        written = rng.choice((0, 0, rng.randint(0, whole - cached)))
        output = int(10 ** rng.uniform(0, 4.5))
        usage = Usage(
            input_tokens=whole, cache_read_tokens=cached, cache_write_tokens=written,
            output_tokens=output,
        )  # fmt: skip
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        try:
            said = calc_price(usage, model, provider_id=provider, genai_request_timestamp=noon)
        except LookupError:
            continue
        if said.model.id != model:
            continue  # its own name leads to another model there
        calls.append((provider, model.lower(), day, whole, cached, written, output))
        has_price = said.model_price.input_mtok is not None
        expected.append(float(said.total_price) if has_price else None)

    found = costs(engine, calls)

    wrong = [
        (call, ours, theirs)
        for call, ours, theirs in zip(calls, found, expected, strict=True)
        if not alike(ours, theirs)
    ]
    assert not wrong, (len(wrong), wrong[:5])
    assert sum(cost is not None for cost in found) > 600


def test_no_two_prices_of_a_name_share_a_day() -> None:
    for key, listed in price_book().items():
        for first, second in pairwise(listed):
            assert first.valid_to < second.valid_from, key
        assert all(len(price.longer) <= MOST_TIERS for price in listed), key
        assert all(price.valid_from <= price.valid_to for price in listed), key


MINE = Tier(1e-6, 5e-7, 2e-6, 4e-6)


def test_an_override_holds_on_its_days_and_the_package_on_all_others(engine: ClickHouse) -> None:
    may = Price("openai", "GPT-4o", MINE, date(2026, 5, 1), date(2026, 5, 31))
    july = Price("openai", "gpt-4o", MINE, date(2026, 7, 1), date(2026, 7, 31))
    days = ["2026-04-30", "2026-05-01", "2026-05-31", "2026-06-15", "2026-07-31", "2026-08-01"]
    calls = [("openai", "gpt-4o", day, 1_000_000, 0, 0, 0) for day in days]
    package = costs(engine, calls)[0]
    install(engine, [may, july])
    try:
        assert costs(engine, calls) == pytest.approx([package, 1.0, 1.0, package, 1.0, package])
    finally:
        install(engine)
    assert costs(engine, calls) == pytest.approx([package] * 6)


def test_an_override_holds_under_every_name_of_its_model_and_provider() -> None:
    book = price_book([Price("azure.ai.openai", "gpt-4o", MINE), Price("mistral", "own-7b", MINE)])
    for key in (("azure", "gpt-4o"), ("azure.ai.openai", "gpt-4o"), ("azure_openai", "gpt-4o")):
        assert [price.base for price in book[key]] == [MINE], key
    assert book["openai", "gpt-4o"][0].base != MINE
    for key in (("mistral", "own-7b"), ("mistral_ai", "own-7b"), ("", "own-7b")):
        assert [price.base for price in book[key]] == [MINE], key
    everywhere = price_book([Price("openai", "gpt-4o", MINE)])
    assert everywhere["openai", "gpt-4o-2024-08-06"][0].base == MINE
    assert everywhere["", "gpt-4o"][0].base == MINE


def test_tiers_hold_for_the_whole_call_above_where_they_start(engine: ClickHouse) -> None:
    longer = (
        Tier(2e-6, 1e-6, 2e-6, 4e-6, above=100),
        Tier(3e-6, 1e-6, 3e-6, 4e-6, above=1000),
    )
    install(engine, [Price("vllm", "own", MINE, longer=longer)])
    try:
        calls = [("vllm", "own", "2026-01-01", n, 0, 0, 0) for n in (100, 101, 1000, 1001)]
        assert costs(engine, calls) == pytest.approx([100e-6, 202e-6, 2000e-6, 3003e-6])
    finally:
        install(engine)


def test_a_model_nobody_prices_costs_unknown(engine: ClickHouse) -> None:
    assert costs(engine, [("openai", "no-such-model", "2026-01-01", 10, 0, 0, 10)]) == [None]


def test_the_book_is_at_no_moment_empty_while_it_changes(engine: ClickHouse) -> None:
    call = [("openai", "gpt-4o", "2026-05-15", 1_000_000, 0, 0, 0)]
    seen: list[float | None] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            seen.extend(costs(engine, call))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for dollars in (1e-6, 2e-6, 3e-6):
            install(engine, [Price("openai", "gpt-4o", Tier(dollars, 0, 0, 0))])
    finally:
        done.set()
        asking.join()
        install(engine)
    assert None not in seen
    assert {1.0, 2.0} & {round(cost, 6) for cost in seen if cost is not None}


def test_a_filling_that_was_broken_off_is_made_up_for(engine: ClickHouse) -> None:
    """The old filling is still there when a process ends between insert and reload."""
    [[rows]] = engine.rows("SELECT count() FROM tocsin.prices")
    engine.execute(
        f"INSERT INTO tocsin.prices ({', '.join(prices.PRICE_COLUMNS)}, made, book)"
        " SELECT provider, model, valid_from, valid_to, rates, maker, source, made + 1, 'half'"
        " FROM tocsin.prices LIMIT 10"
    )
    install(engine)
    assert engine.rows("SELECT count() FROM tocsin.prices") == [(rows,)]
    assert costs(engine, [("openai", "gpt-4o", "2026-05-15", 1, 0, 0, 0)]) != [None]


def test_a_table_of_an_older_shape_is_made_anew(engine: ClickHouse) -> None:
    engine.execute("DROP DICTIONARY tocsin.price_book")
    engine.execute("DROP TABLE tocsin.prices SYNC")
    engine.execute("CREATE TABLE tocsin.prices (provider String) ENGINE = MergeTree ORDER BY ()")
    install(engine)
    assert costs(engine, [("openai", "gpt-4o", "2026-05-15", 1, 0, 0, 0)]) != [None]
