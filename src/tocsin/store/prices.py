"""What a call costs: a dated price book in the database, from the offline data of `genai-prices`.

`price_rows` flattens it to one row per name a model goes by and period its price was valid, with an
operator's own prices in place of the packaged ones on the days they name; `install` makes and fills
the table and the dictionary over it; `rates_of` is the SQL expression that looks a call up and
`cost_of` the one that multiplies.

A model nobody has a price for costs *unknown*, never 0. Input includes what was read from a cache
and what was written to one, output includes reasoning: each token is paid for once, at its own
price where it has one. Not modelled: batch, priority and flex tariffs (spans do not carry them),
prices by the hour of the day (that of most hours is taken), and what is paid for beside tokens of
text: searches, pages, pictures, seconds of sound.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package and escaped literals)

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from genai_prices import data_snapshot
from genai_prices.types import ModelPrice, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from tocsin.store.clickhouse import ClickHouse
from tocsin.store.ddl import engine_of
from tocsin.store.layout import ONE_NODE, Layout
from tocsin.store.sqltext import quoted

# Rows of one filling share `made` and `book`, the hash of their text. The last filling holds; an
# older one is removed after the dictionary has read the new one, so that at no moment, and after no
# crash, there is a dictionary without prices.
_TABLE = """
CREATE TABLE IF NOT EXISTS tocsin.prices{everywhere} (
  provider LowCardinality(String), model String, valid_from Date, valid_to Date,
  rates Array(Float64), maker LowCardinality(String), source LowCardinality(String),
  made UInt32, book String
) ENGINE = {engine} PARTITION BY (made, book) ORDER BY (provider, model, valid_from)
"""
_BOOK = """
CREATE OR REPLACE DICTIONARY tocsin.price_book{everywhere} (
  provider String, model String, valid_from Date, valid_to Date, rates Array(Float64),
  maker String
) PRIMARY KEY provider, model
SOURCE(CLICKHOUSE(QUERY 'SELECT provider, model, valid_from, valid_to, rates, maker
  FROM tocsin.prices WHERE (made, book) = (SELECT max((made, book)) FROM tocsin.prices)'))
LAYOUT(COMPLEX_KEY_RANGE_HASHED()) RANGE(MIN valid_from MAX valid_to) LIFETIME(0)
"""

PRICE_COLUMNS = ("provider", "model", "valid_from", "valid_to", "rates", "maker", "source")
BEGINNING, END = date(2000, 1, 1), date(2149, 1, 1)
MOST_TIERS = 2
_PARTS = 5  # prices of a tier: input, cached, written, output, request
_DAY = timedelta(days=1)

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
class Tier:
    """US dollars per token of a call with more than `above` input tokens.

    cached, written: of input tokens read from a cache, and written to one. request: for the call
    itself, whatever its size.
    """

    input: float
    cached: float
    written: float
    output: float
    above: int = 0
    request: float = 0.0


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs from one day to another, both included.

    base: for any call. longer: what holds instead, for the whole call, above some input; ascending.
    """

    provider: str
    model: str
    base: Tier
    valid_from: date = BEGINNING
    valid_to: date = END
    longer: tuple[Tier, ...] = ()
    source: str = "override"

    @property
    def maker(self) -> str:
        """The provider this price was published for, under whatever name it is looked up."""
        return self.provider

    @property
    def rates(self) -> list[float]:
        """1, the base prices, and for each further tier where it starts and its prices."""
        first = replace(self.base, above=1)
        return [
            float(number)
            for tier in (first, *self.longer[:MOST_TIERS])
            for number in (
                tier.above,
                tier.input,
                tier.cached,
                tier.written,
                tier.output,
                tier.request,
            )
        ]

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

    Must have run before a segment of traces is loaded: their SELECT asks the dictionary. May run
    while segments are loaded; each of them finds the old prices or the new ones.
    """
    everywhere, table = engine.layout.everywhere, engine.layout.pieces("prices")
    _forget_older_layout(engine)
    for statement in ddl(engine.layout):
        engine.execute(statement)
    rows = [", ".join(map(_literal, row)) for row in price_rows(overrides)]
    digest = hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
    fillings = [
        (int(made), str(book))
        for made, book in engine.rows("SELECT DISTINCT made, book FROM tocsin.prices ORDER BY 1, 2")
    ]
    last, held = fillings[-1] if fillings else (0, "")
    if held != digest:
        names = ", ".join((*PRICE_COLUMNS, "made", "book"))
        values = ", ".join(f"({row}, {last + 1}, {quoted(digest)})" for row in rows)
        engine.execute(f"INSERT INTO tocsin.prices ({names}) VALUES {values}")
        engine.catch_up("prices")
    engine.execute(f"SYSTEM RELOAD DICTIONARY{everywhere} tocsin.price_book")
    for made, book in fillings if held != digest else fillings[:-1]:
        engine.execute(f"ALTER TABLE {table} DROP PARTITION ({made}, {quoted(book)})")


def _forget_older_layout(engine: ClickHouse) -> None:
    """Drop a price table of another shape; what it held is in the package."""
    everywhere = engine.layout.everywhere
    names = {
        row[0]
        for row in engine.rows(
            "SELECT name FROM system.columns WHERE database = 'tocsin' AND table = 'prices'"
        )
    }
    if names and "made" not in names:
        engine.execute(f"DROP DICTIONARY IF EXISTS tocsin.price_book{everywhere}")
        engine.execute(f"DROP TABLE tocsin.prices{everywhere} SYNC")


def _literal(value: object) -> str:
    return repr(value) if isinstance(value, int | float | list) else quoted(str(value))


def price_rows(overrides: Iterable[Price] = ()) -> list[tuple[Any, ...]]:
    """Rows of `tocsin.prices`: packaged prices under every name, `overrides` on their days.

    Besides its provider's rows, every model has rows under provider '' for calls whose provider is
    not known; the maker's price is taken for these.
    """
    return [
        (provider, model, *price.row()[2:])
        for (provider, model), prices in sorted(price_book(overrides).items())
        for price in prices
    ]


def price_book(overrides: Iterable[Price] = ()) -> dict[tuple[str, str], list[Price]]:
    """(provider, model) -> prices in the order of their days, no two of which share a day.

    An override of a model by the name it has in the package holds under all its names, and under
    all names of its provider.
    """
    book: dict[tuple[str, str], list[Price]] = {}
    names: dict[tuple[str, str], set[str]] = {}
    for model_id, price in _packaged():
        book.setdefault((price.provider, price.model), []).append(price)
        names.setdefault((price.provider, model_id), set()).add(price.model)
    for override in overrides:
        provider = provider_named(override.provider)
        model = override.model.lower()
        for name in sorted(names.get((provider, model), {model})):
            own = replace(override, provider=provider, model=name)
            book[provider, name] = _carved(book.get((provider, name), []), own)
    for (provider, model), prices in sorted(book.items(), key=_maker_first):
        if ("", model) not in book:
            book["", model] = prices
        for alias in _ALIASES.get(provider, ()):
            book.setdefault((alias, model), prices)
    return book


def _carved(prices: Sequence[Price], override: Price) -> list[Price]:
    """`prices` with `override` in their place on its days."""
    kept = [override]
    for price in prices:
        if price.valid_from < override.valid_from:
            last = min(price.valid_to, override.valid_from - _DAY)
            kept.append(replace(price, valid_to=last))
        if price.valid_to > override.valid_to:
            first = max(price.valid_from, override.valid_to + _DAY)
            kept.append(replace(price, valid_from=first))
    return sorted(kept, key=lambda price: price.valid_from)


def provider_named(name: str) -> str:
    """A provider as the price book calls it, by what instrumentations call it."""
    plain = name.lower()
    return _CANONICAL.get(plain, plain)


def bare_model(model: str) -> str:
    """SQL: the name of a model without release date, revision, region and router."""
    return f"replaceRegexpOne(replaceRegexpOne(lower({model}), '{_PREFIX}', ''), '{_SUFFIX}', '')"


def rates_of(provider: str, model: str, day: str) -> str:
    """SQL: rates of a model as an array that starts with 1, empty when the book has none.

    provider, model, day: SQL; provider '' asks for the price of the model's maker.
    """
    return (
        "dictGetOrDefault('tocsin.price_book', 'rates',"
        f" ({provider}, {model}), {day}, CAST([], 'Array(Float64)'))"
    )


def maker_of(model: str, day: str) -> str:
    """SQL: the provider that makes the bare `model`, '' when unknown."""
    return f"dictGetOrDefault('tocsin.price_book', 'maker', ('', {model}), {day}, '')"


def cost_of(
    rates: str, input_tokens: str, cached_tokens: str, written_tokens: str, output_tokens: str
) -> str:
    """SQL: US dollars at `rates`; input includes what was read from a cache and written to one."""
    size = _PARTS + 1
    # The highest tier whose start is passed, asked from the highest down; no tier starts at 0.
    starts = [size * number + 1 for number in range(MOST_TIERS, 0, -1)]
    tests = ", ".join(
        f"{rates}[{start}] > 0 AND {input_tokens} > {rates}[{start}], {start + 1}"
        for start in starts
    )
    plain = f"toFloat64({input_tokens}) - {cached_tokens} - {written_tokens}"
    counts = (
        f"[{plain}, toFloat64({cached_tokens}), toFloat64({written_tokens}),"
        f" toFloat64({output_tokens}), 1.]"
    )
    tier = f"arrayResize(arraySlice({rates}, multiIf({tests}, 2), {_PARTS}), {_PARTS})"
    return f"arrayDotProduct({tier}, {counts})"


_CANONICAL = {alias: provider for provider, aliases in _ALIASES.items() for alias in aliases}


def _maker_first(item: tuple[tuple[str, str], Any]) -> tuple[int, str, str]:
    provider, model = item[0]
    rank = _MAKERS.index(provider) if provider in _MAKERS else len(_MAKERS)
    return rank, provider, model


def _packaged() -> Iterator[tuple[str, Price]]:
    """Every dated price of the snapshot, under every exact name or name prefix of its model.

    With each, the name of the model in the snapshot.
    """
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            periods = list(_periods(model.prices))
            model_id = model.id.lower()
            for name in sorted({model_id, *_exact_names(model.match)}):
                for start, end, price in periods:
                    if price.input_mtok is not None:
                        yield model_id, _price(provider.id, name, start, end, price)


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
        yield BEGINNING, END, prices
        return
    starts: dict[date, ModelPrice] = {}
    latest = BEGINNING
    for entry in prices:
        constraint = entry.constraint
        if isinstance(constraint, StartDateConstraint):
            latest = constraint.start_date
            starts[latest] = entry.prices
        elif not isinstance(constraint, TimeOfDateConstraint):
            starts[BEGINNING] = entry.prices
        elif _hours(constraint) > 12:
            starts[latest] = entry.prices
    days = sorted(starts)
    for first, following in zip(days, [*days[1:], END], strict=True):
        last = following if following == END else following - _DAY
        yield first, last, starts[first]


def _hours(constraint: TimeOfDateConstraint) -> float:
    """How many hours of a day a price by the time of day holds."""
    start, end = constraint.start_time, constraint.end_time
    minutes = (end.hour - start.hour) * 60 + end.minute - start.minute
    return minutes % (24 * 60) / 60


def _price(provider: str, name: str, start: date, end: date, price: ModelPrice) -> Price:
    plain = price.input_mtok
    parts = (
        plain,
        plain if price.cache_read_mtok is None else price.cache_read_mtok,
        plain if price.cache_write_mtok is None else price.cache_write_mtok,
        price.output_mtok or 0,
    )
    starts = {t.start for part in parts if isinstance(part, TieredPrices) for t in part.tiers}
    fee = price.requests_kcount
    request = float(fee.base if isinstance(fee, TieredPrices) else fee or 0) / 1000
    base, *longer = (_tier(parts, above, request) for above in (0, *sorted(starts)))
    return Price(provider, name, base, start, end, tuple(longer), "genai-prices")


def _tier(parts: Sequence[Any], above: int, request: float) -> Tier:
    """The prices per token of a call with just more than `above` input tokens."""
    per_million = []
    for part in parts:
        if isinstance(part, TieredPrices):
            passed = [tier.price for tier in part.tiers if tier.start <= above] if above else []
            part = passed[-1] if passed else part.base
        per_million.append(float(part))
    plain, cached, written, output = (price / 1e6 for price in per_million)
    return Tier(plain, cached, written, output, above, request)
