"""The PriceBook document: what models cost an operator, on which days.

A price holds on its days for its model, under every name the model and its provider go by; on all
other days the packaged price holds. The documents of one configuration are one book.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from tocsin.domain.errors import Problem
from tocsin.spec.shape import Shape, Text
from tocsin.spec.yaml import Located
from tocsin.store.prices import BEGINNING, END, MOST_TIERS, Price, Tier

_MILLION = 1e6


def _read_day(text: object) -> date:
    if isinstance(text, str):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise ValueError(f"must be a day such as 2026-07-01, not {text!r}")


Day = Annotated[
    date, BeforeValidator(_read_day), WithJsonSchema({"type": "string", "format": "date"})
]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TierShape(Shape):
    """What holds instead, for the whole call, above some input."""

    above_input_tokens: Annotated[int, Field(gt=1)]
    input_per_mtok: Dollars
    output_per_mtok: Dollars = 0.0
    cached_per_mtok: Dollars | None = None
    cache_write_per_mtok: Dollars | None = None

    def build(self, request: float) -> Tier:
        """The same, per token."""
        return _tier(self, self.above_input_tokens, request)


def _check_tiers(tiers: tuple[TierShape, ...]) -> tuple[TierShape, ...]:
    starts = [tier.above_input_tokens for tier in tiers]
    if len(tiers) > MOST_TIERS:
        raise ValueError(f"at most {MOST_TIERS} tiers, not {len(tiers)}")
    if starts != sorted(set(starts)):
        raise ValueError("tiers must rise: each above more input tokens than the one before it")
    return tiers


class PriceShape(Shape):
    """What one model costs from one day to another."""

    provider: Annotated[Text, Field(description="as spans name it, such as openai or vllm")]
    model: Annotated[Text, Field(description="as spans name it; case does not matter")]
    first: Annotated[
        Day, Field(alias="from", description="the first day; by default ever since")
    ] = BEGINNING
    last: Annotated[Day, Field(alias="to", description="the last day; by default for ever")] = END
    input_per_mtok: Annotated[Dollars, Field(description="US dollars for a million input tokens")]
    output_per_mtok: Annotated[
        Dollars, Field(description="for a million output tokens, reasoning included")
    ] = 0.0
    cached_per_mtok: Annotated[
        Dollars | None, Field(description="for input read from a cache; by default as input")
    ] = None
    cache_write_per_mtok: Annotated[
        Dollars | None, Field(description="for input written to a cache; by default as input")
    ] = None
    per_thousand_calls: Annotated[Dollars, Field(description="beside the tokens")] = 0.0
    tiers: Annotated[
        tuple[TierShape, ...],
        AfterValidator(_check_tiers),
        Field(description="prices of calls with long input, lowest first"),
    ] = ()

    def build(self) -> Price:
        """The same, per token."""
        request = self.per_thousand_calls / 1000
        return Price(
            self.provider.lower(),
            self.model.lower(),
            _tier(self, 0, request),
            self.first,
            self.last,
            tuple(tier.build(request) for tier in self.tiers),
        )


class PriceBookShape(Shape):
    """Prices of your own: a contract, a discount, models you host. They go before packaged ones."""

    prices: tuple[PriceShape, ...]


def prices_of(books: Iterable[tuple[PriceBookShape, Located]]) -> tuple[list[Price], list[Problem]]:
    """The prices of all documents, and what is wrong: two for one model on one day."""
    found: list[Price] = []
    problems = []
    where: dict[int, str] = {}
    for book, located in books:
        for number, shape in enumerate(book.prices):
            price, place = shape.build(), ("spec", "prices", number)
            if price.valid_to < price.valid_from:
                message = f"its last day {price.valid_to} is before its first {price.valid_from}"
                problems.append(located.problem((*place, "to"), message))
            for i, other in enumerate(found):
                if _meet(price, other):
                    message = f"{price.provider} {price.model} has a price on these days already"
                    fix = f"at {where[i]}; end one before the other begins"
                    problems.append(located.problem(place, message, fix))
            where[len(found)] = f"{located.file}:{located.line_at(place)}"
            found.append(price)
    return found, problems


def _meet(one: Price, other: Price) -> bool:
    same = (one.provider, one.model) == (other.provider, other.model)
    return same and one.valid_from <= other.valid_to and other.valid_from <= one.valid_to


def _tier(shape: PriceShape | TierShape, above: int, request: float) -> Tier:
    plain, cached, written = shape.input_per_mtok, shape.cached_per_mtok, shape.cache_write_per_mtok
    return Tier(
        input=plain / _MILLION,
        cached=(plain if cached is None else cached) / _MILLION,
        written=(plain if written is None else written) / _MILLION,
        output=shape.output_per_mtok / _MILLION,
        above=above,
        request=request,
    )
