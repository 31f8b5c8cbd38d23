"""What a call costs: a dated price book in the database, from the offline data of `genai-prices`.

`price_rows` flattens it to one row per name a model goes by and period its price was valid;
`install` makes and fills the table and the dictionary over it; `rates_of` is the SQL expression
that looks a call up and `cost_of` the one that multiplies. An operator's own prices are rows with
the same key that replace the packaged ones.

A model nobody has a price for costs *unknown*, never 0. Not modelled: batch, priority and flex
tariffs (spans do not carry them), prices by time of day (the last one listed is taken), and cache
writes (no instrumentation reports them as a part of input in a way two providers agree on).
"""

# ruff: noqa: S608 (SQL text is put together from names of this package and escaped literals)

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from genai_prices import data_snapshot
from genai_prices.types import ModelPrice, StartDateConstraint, TieredPrices

from tocsin.store.clickhouse import ClickHouse
from tocsin.store.ddl import engine_of
from tocsin.store.layout import ONE_NODE, Layout
from tocsin.store.sqltext import quoted

_TABLE = """
CREATE TABLE IF NOT EXISTS tocsin.prices{everywhere} (
  provider LowCardinality(String), model String, valid_from Date, valid_to Date,
  input Float64, cached Float64, output Float64,
  long_from UInt32, long_input Float64, long_cached Float64, long_output Float64,
  maker LowCardinality(String), source LowCardinality(String)
) ENGINE = {engine} ORDER BY (provider, model, valid_from)
"""
_BOOK = """
CREATE OR REPLACE DICTIONARY tocsin.price_book{everywhere} (
  provider String, model String, valid_from Date, valid_to Date,
  input Float64, cached Float64, output Float64,
  long_from UInt32, long_input Float64, long_cached Float64, long_output Float64,
  known UInt8, maker String
) PRIMARY KEY provider, model
SOURCE(CLICKHOUSE(QUERY 'SELECT provider, model, valid_from, valid_to, input, cached, output,
  long_from, long_input, long_cached, long_output, toUInt8(1) AS known, maker
  FROM tocsin.prices'))
LAYOUT(COMPLEX_KEY_RANGE_HASHED()) RANGE(MIN valid_from MAX valid_to) LIFETIME(0)
"""

PRICE_COLUMNS = (
    "provider", "model", "valid_from", "valid_to", "input", "cached", "output",
    "long_from", "long_input", "long_cached", "long_output", "maker", "source",
)  # fmt: skip

_BEGINNING, _END = date(2000, 1, 1), date(2149, 1, 1)

# What instrumentations call a provider, where it differs from the name in the price data.
_ALIASES = {
    "aws": ("aws.bedrock", "bedrock", "amazon-bedrock", "aws_bedrock", "amazon"),
    "azure": ("azure.ai.openai", "azure.ai.inference", "az.ai.openai", "az.ai.inference",
              "azure_openai", "azure-openai"),
    "google": ("gcp.vertex_ai", "gcp.gemini", "gcp.gen_ai", "vertex_ai", "vertexai", "gemini",
               "google.vertex", "google_genai"),
    "mistral": ("mistral_ai", "mistralai"),
    "x-ai": ("xai", "x_ai"),
    "moonshotai": ("moonshot_ai",),
    "together": ("together_ai", "togetherai"),
    "fireworks": ("fireworks_ai",),
}  # fmt: skip

# Whose price stands for a model when the span names no provider, or one that lists no prices.
_MAKERS = ("openai", "anthropic", "google", "mistral", "cohere", "deepseek", "x-ai", "meta")

# A release date, a "latest" or "preview" mark, a Bedrock revision: what a model name ends with
# without being another model; and what routers put in front of it.
_SUFFIX = (
    r"([-@]?(latest|preview(-[0-9]{2}-[0-9]{2,4})?|20[0-9]{2}-?[0-9]{2}-?[0-9]{2}))?"
    r"(-v[0-9]+(:[0-9]+)?)?(:free)?$"
)
_PREFIX = r"^(.*/)?((us|eu|apac|global)\.)?(anthropic\.|meta\.|mistral\.)?"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per token of one model from one day to another (exclusive).

    Above `long_from` input tokens the long prices hold for the whole call; 0 means never.
    """

    provider: str
    model: str
    input: float
    output: float
    cached: float
    valid_from: date = _BEGINNING
    valid_to: date = _END
    long_from: int = 0
    long_input: float = 0.0
    long_cached: float = 0.0
    long_output: float = 0.0
    source: str = "override"

    @property
    def maker(self) -> str:
        """The provider this price was published for, under whatever name it is looked up."""
        return self.provider

    def row(self) -> tuple[Any, ...]:
        """The values of `PRICE_COLUMNS`."""
        return tuple(getattr(self, column) for column in PRICE_COLUMNS)


def ddl(layout: Layout = ONE_NODE) -> tuple[str, str]:
    """The price table and its dictionary; on a cluster every node has both, whole."""
    engine = engine_of("prices", "MergeTree", layout)
    names = {"everywhere": layout.everywhere, "engine": engine}
    return _TABLE.format(**names), _BOOK.format(**names)


def install(engine: ClickHouse, overrides: Iterable[Price] = ()) -> None:
    """Make the price table and its dictionary, and fill them when they hold other prices.

    Must have run before a segment of traces is loaded: their SELECT asks the dictionary. The table
    is empty for a moment while it is filled; the dictionary is not, it changes from old to new.
    """
    for statement in ddl(engine.layout):
        engine.execute(statement)
    rows = ", ".join(f"({', '.join(map(_literal, row))})" for row in price_rows(overrides))
    digest = hashlib.sha256(rows.encode()).hexdigest()[:16]
    everywhere, table = engine.layout.everywhere, engine.layout.pieces("prices")
    held = engine.rows(
        "SELECT comment FROM system.tables WHERE database = 'tocsin' AND name = 'prices'"
    )
    if held[0][0] != digest:
        engine.execute(f"TRUNCATE TABLE {table}")
        engine.execute(f"INSERT INTO tocsin.prices ({', '.join(PRICE_COLUMNS)}) VALUES {rows}")
        engine.catch_up("prices")
        engine.execute(f"ALTER TABLE {table} MODIFY COMMENT {quoted(digest)}")
    engine.execute(f"SYSTEM RELOAD DICTIONARY{everywhere} tocsin.price_book")


def _literal(value: object) -> str:
    return repr(value) if isinstance(value, int | float) else quoted(str(value))


def price_rows(overrides: Iterable[Price] = ()) -> list[tuple[Any, ...]]:
    """Rows of `tocsin.prices`: packaged prices under every name, overridden by `overrides`.

    Besides its provider's rows, every model has rows under provider '' for calls whose provider is
    not known; the maker's price is taken for these.
    """
    book: dict[tuple[str, str], list[Price]] = {}
    for price in _packaged():
        book.setdefault((price.provider, price.model), []).append(price)
    for (provider, model), prices in sorted(book.items(), key=_maker_first):
        if ("", model) not in book:
            book["", model] = prices
        for alias in _ALIASES.get(provider, ()):
            book.setdefault((alias, model), prices)
    for override in overrides:
        book[override.provider, override.model.lower()] = [override]
    return [
        (provider, model, *price.row()[2:])
        for (provider, model), prices in sorted(book.items())
        for price in prices
    ]


def provider_named(name: str) -> str:
    """A provider as the price book calls it, by what instrumentations call it."""
    plain = name.lower()
    return next((one for one, aliases in _ALIASES.items() if plain in aliases), plain)


def bare_model(model: str) -> str:
    """SQL: the name of a model without release date, revision, region and router."""
    return f"replaceRegexpOne(replaceRegexpOne(lower({model}), '{_PREFIX}', ''), '{_SUFFIX}', '')"


_RATES = (
    "input", "cached", "output", "long_from", "long_input", "long_cached", "long_output", "known",
)  # fmt: skip


def rates_of(provider: str, model: str, day: str) -> str:
    """SQL: rates of a model as a tuple of `_RATES`, all zeros when the book has none.

    provider, model, day: SQL; provider '' asks for the price of the model's maker.
    """
    names = ", ".join(map(quoted, _RATES))
    nothing = ", ".join(["0"] * len(_RATES))
    return (
        f"dictGetOrDefault('tocsin.price_book', ({names}), ({provider}, {model}), {day},"
        f" ({nothing}))"
    )


def is_known(rates: str) -> str:
    """SQL condition: the book had these rates."""
    return f"{rates}.{len(_RATES)} = 1"


def maker_of(model: str, day: str) -> str:
    """SQL: the provider that makes the bare `model`, '' when unknown."""
    return f"dictGetOrDefault('tocsin.price_book', 'maker', ('', {model}), {day}, '')"


def cost_of(rates: str, input_tokens: str, cached_tokens: str, output_tokens: str) -> str:
    """SQL: US dollars at `rates`; input includes cached tokens."""
    counts = (
        f"toFloat64({input_tokens}) - {cached_tokens}",
        f"toFloat64({cached_tokens})",
        f"toFloat64({output_tokens})",
    )
    base, long = (
        " + ".join(
            f"{rates}.{_RATES.index(prefix + part) + 1} * ({count})"
            for part, count in zip(("input", "cached", "output"), counts, strict=True)
        )
        for prefix in ("", "long_")
    )
    start = f"{rates}.{_RATES.index('long_from') + 1}"
    return f"if({start} > 0 AND {input_tokens} > {start}, {long}, {base})"


def _maker_first(item: tuple[tuple[str, str], Any]) -> tuple[int, str, str]:
    provider, model = item[0]
    rank = _MAKERS.index(provider) if provider in _MAKERS else len(_MAKERS)
    return rank, provider, model


def _packaged() -> Iterator[Price]:
    """Every dated price of the snapshot, under every exact name or name prefix of its model."""
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            periods = list(_periods(model.prices))
            for name in sorted({model.id.lower(), *_exact_names(model.match)}):
                for start, end, price in periods:
                    yield from _price(provider.id, name, start, end, price)


def _exact_names(clause: Any) -> Iterator[str]:
    """Names a match clause accepts as they stand: equality, and prefixes cut at a separator."""
    for part in getattr(clause, "or_", ()):
        yield from _exact_names(part)
    if name := getattr(clause, "equals", None):
        yield name.lower()
    if prefix := getattr(clause, "starts_with", None):
        yield prefix.lower().rstrip("-@:")


def _periods(prices: Any) -> Iterator[tuple[date, date, ModelPrice]]:
    """(first day, last day, price), in order, last one open."""
    if isinstance(prices, ModelPrice):
        yield _BEGINNING, _END, prices
        return
    starts: dict[date, ModelPrice] = {}
    for entry in prices:
        dated = isinstance(entry.constraint, StartDateConstraint)
        starts[entry.constraint.start_date if dated else _BEGINNING] = entry.prices
    days = sorted(starts)
    for first, following in zip(days, [*days[1:], _END], strict=True):
        last = following if following == _END else date.fromordinal(following.toordinal() - 1)
        yield first, last, starts[first]


def _price(provider: str, name: str, start: date, end: date, price: ModelPrice) -> Iterator[Price]:
    if price.input_mtok is None:
        return
    cached = price.cache_read_mtok if price.cache_read_mtok is not None else price.input_mtok
    parts = (price.input_mtok, cached, price.output_mtok or 0)
    base = [_per_token(part) for part in parts]
    long_from, long = _long(parts)
    yield Price(
        provider=provider, model=name, valid_from=start, valid_to=end,
        input=base[0], cached=base[1], output=base[2],
        long_from=long_from, long_input=long[0], long_cached=long[1], long_output=long[2],
        source="genai-prices",
    )  # fmt: skip


def _per_token(price: Any) -> float:
    return float(price.base if isinstance(price, TieredPrices) else price) / 1e6


def _long(parts: tuple[Any, ...]) -> tuple[int, list[float]]:
    """The first long-context tier: where it starts and its prices per token."""
    tiers = [part.tiers[0] for part in parts if isinstance(part, TieredPrices) and part.tiers]
    if not tiers:
        return 0, [0.0, 0.0, 0.0]
    long = [
        float(part.tiers[0].price) / 1e6 if isinstance(part, TieredPrices) else _per_token(part)
        for part in parts
    ]
    return int(tiers[0].start), long
