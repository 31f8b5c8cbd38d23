"""What a provider's bill says beside what the price book says, per day, provider and model.

A line of a bill names a product, not a model: the longest known model name in its tags, resource
and description is taken. What cannot be told apart stays on a line of its own. Nothing that is
missing counts as 0: a day without a bill, a currency that is not the book's, a call without a price
make the difference unknown, and the line says which it was.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

CURRENCY = "USD"  # of the price book
_TAGS = ("model", "tocsin:model", "gen_ai.request.model")
_PROVIDERS = {
    "amazon web services": "aws", "amazon": "aws", "microsoft": "azure", "microsoft azure": "azure",
    "google cloud": "google", "google cloud platform": "google", "gcp": "google",
    "mistral ai": "mistral", "xai": "x-ai",
}  # fmt: skip
_TOKEN = re.compile(r"\d+[a-z]?(?![a-z])|[a-z]+|\d+")
_PREFIX = re.compile(r"^(?:[a-z]+[./])+")
_SUFFIX = re.compile(r"(?:[-@]?(?:20\d{6}|20\d\d-\d\d-\d\d))?(?:-v\d+(?::\d+)?)?$")


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls of a day cost by the price book. book_usd: of the priced ones among `calls`."""

    day: date
    provider: str
    model: str
    calls: int
    priced: int
    book_usd: float


@dataclass(frozen=True, slots=True)
class Charge:
    """What a bill says of a day about one product. None is unknown."""

    day: date
    provider: str
    texts: Sequence[str]
    tags: Mapping[str, str]
    billed: float | None
    effective: float | None
    currency: str


@dataclass(frozen=True, slots=True)
class CostLine:
    """One day, provider and model. None is unknown, and `note` says why.

    billed, effective: of the bill, in `currency`. difference_usd: effective cost, else billed, less
    the book's; known only where both sides are complete.
    """

    day: date
    provider: str
    model: str | None
    calls: int | None
    priced: int | None
    book_usd: float | None
    billed: float | None
    effective: float | None
    currency: str
    difference_usd: float | None
    note: str = ""


@dataclass(slots=True)
class _Bill:
    billed: list[float | None] = field(default_factory=list)
    effective: list[float | None] = field(default_factory=list)
    currencies: set[str] = field(default_factory=set)


def reconcile(
    spent: Iterable[Spent], charges: Iterable[Charge], known: Collection[str], kept_since: date
) -> list[CostLine]:
    """Both sides of every day, sorted.

    known: model names that may be meant, beside those of `spent`. kept_since: calls before that day
    are no longer there.
    """
    calls = {(each.day, each.provider, bare(each.model)): each for each in _joined(spent)}
    named = {
        tokens: bare(name)
        for name in [*known, *(each.model for each in calls.values())]
        if (tokens := _tokens(bare(name)))
    }
    bills: dict[tuple[date, str, str], _Bill] = defaultdict(_Bill)
    for charge in charges:
        bill = bills[charge.day, provider_id(charge.provider), _model(charge, named)]
        bill.billed.append(charge.billed)
        bill.effective.append(charge.effective)
        bill.currencies.add(charge.currency)
    days = {day for day, _, _ in bills}
    keys = sorted(calls.keys() | bills.keys())
    return [_line(key, calls.get(key), bills.get(key), days, kept_since) for key in keys]


def provider_id(name: str) -> str:
    """A provider as the price book calls it."""
    plain = name.strip().lower()
    return _PROVIDERS.get(plain, plain)


def bare(model: str) -> str:
    """The name of a model without vendor, region, date and revision."""
    return _SUFFIX.sub("", _PREFIX.sub("", model.strip().lower()))


def _joined(spent: Iterable[Spent]) -> Iterable[Spent]:
    """Revisions of one model added up."""
    sums: dict[tuple[date, str, str], Spent] = {}
    for each in spent:
        key = (each.day, each.provider, bare(each.model))
        held = sums.get(key)
        sums[key] = Spent(
            each.day, each.provider, key[2],
            each.calls + (held.calls if held else 0),
            each.priced + (held.priced if held else 0),
            each.book_usd + (held.book_usd if held else 0.0),
        )  # fmt: skip
    return sums.values()


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text.lower()))


def _model(charge: Charge, named: Mapping[tuple[str, ...], str]) -> str:
    """The model a charge is about, "" when no known name is in it."""
    for tag in _TAGS:
        if charge.tags.get(tag):
            return bare(charge.tags[tag])
    best: tuple[str, ...] = ()
    for text in charge.texts:
        tokens = _tokens(text)
        for start in range(len(tokens)):
            for stop in range(len(tokens), start + len(best), -1):
                if tokens[start:stop] in named:
                    best = tokens[start:stop]
                    break
    return named.get(best, "")


def _line(
    key: tuple[date, str, str], calls: Spent | None, bill: _Bill | None, days: Collection[date],
    kept_since: date,
) -> CostLine:  # fmt: skip
    day, provider, model = key
    billed, effective, currency = _sums(bill)
    note = _note(day, model, calls, bill, days, kept_since)
    charged = effective if effective is not None else billed
    book = calls.book_usd if calls is not None and calls.priced else None
    known = not note and charged is not None and book is not None
    return CostLine(
        day, provider, model or None,
        calls.calls if calls else None,
        calls.priced if calls else None,
        book, billed, effective, currency,
        charged - book if known and charged is not None and book is not None else None,
        note,
    )  # fmt: skip


def _sums(bill: _Bill | None) -> tuple[float | None, float | None, str]:
    if bill is None:
        return None, None, ""
    mixed = len(bill.currencies) > 1
    sums = [
        None if mixed or any(cost is None for cost in costs) else sum(c for c in costs if c)
        for costs in (bill.billed, bill.effective)
    ]
    return sums[0], sums[1], "mixed" if mixed else next(iter(bill.currencies))


def _note(
    day: date, model: str, calls: Spent | None, bill: _Bill | None, days: Collection[date],
    kept_since: date,
) -> str:  # fmt: skip
    """Why the difference of a line is unknown, "" when it is known."""
    if bill is None:
        return "not on the bill" if day in days else "no bill for this day"
    if not model:
        return "no known model is named on the bill"
    if calls is None:
        return "calls of this day are no longer kept" if day < kept_since else "no such calls"
    if bill.currencies != {CURRENCY}:
        return f"the bill is in {' and '.join(sorted(bill.currencies))}"
    if calls.priced < calls.calls:
        return f"{calls.calls - calls.priced} of {calls.calls} calls have no price"
    return ""
