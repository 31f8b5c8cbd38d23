"""Bills beside the price book: what matches, and why the rest is unknown."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tocsin.reports.costs import Charge, CostLine, Spent, bare, reconcile

DAY = date(2026, 11, 20)
KNOWN = ("gpt-4", "gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "claude-3-5-sonnet", "gemini-2.0-flash")


def spent(model: str = "gpt-4o", provider: str = "openai", **more: Any) -> Spent:
    values = {"calls": 10, "priced": 10, "book_usd": 4.0, **more}
    return Spent(DAY, provider, model, **values)


def charge(*texts: str, provider: str = "OpenAI", **more: Any) -> Charge:
    values = {"billed": 5.0, "effective": 4.5, "currency": "USD", "tags": {}, **more}
    return Charge(DAY, provider, texts, **values)


def lines(*sides: Spent | Charge, since: date = date(2026, 1, 1)) -> list[CostLine]:
    calls = [side for side in sides if isinstance(side, Spent)]
    charges = [side for side in sides if isinstance(side, Charge)]
    return reconcile(calls, charges, KNOWN, since)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("gpt-4o-2024-08-06, input", "gpt-4o"),
        ("Azure OpenAI gpt 4o 0806 Inp glbl Tokens", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18 cached input", "gpt-4o-mini"),
        ("GPT4 Turbo output tokens", "gpt-4-turbo"),
        ("gpt-4-0613, output", "gpt-4"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20241022-v2:0",
         "claude-3-5-sonnet"),
        ("USE1-Claude3.5Sonnet-input-tokens", "claude-3-5-sonnet"),
        ("Gemini 2.0 Flash Text Input - Predictions", "gemini-2.0-flash"),
        ("c6g.large instance hours", None),
        ("whisper audio", None),
    ],
)  # fmt: skip
def test_the_longest_known_model_in_the_words_of_a_bill_is_meant(
    text: str, model: str | None
) -> None:
    assert [line.model for line in lines(charge(text))] == [model]


def test_both_sides_of_a_day_are_one_line_with_a_difference() -> None:
    (line,) = lines(
        spent("gpt-4o-2024-08-06"), charge("gpt-4o input"),
        charge("gpt-4o output", billed=1.0, effective=0.5),
    )  # fmt: skip
    assert (line.book_usd, line.billed, line.effective) == (4.0, 6.0, 5.0)
    assert line.difference_usd == pytest.approx(1.0)
    assert (line.model, line.note) == ("gpt-4o", "")


@pytest.mark.parametrize(
    ("sides", "note"),
    [
        ((spent(),), "no bill for this day"),
        ((spent(), charge("gpt-4 x")), "not on the bill"),
        ((charge("gpt-4o"),), "no such calls"),
        ((charge("gpt-4o"), spent(priced=7)), "3 of 10 calls have no price"),
        ((charge("gpt-4o", currency="EUR"), spent()), "the bill is in EUR"),
        ((charge("servers"),), "no known model is named on the bill"),
    ],
)
def test_what_is_unknown_says_why_and_is_not_zero(
    sides: tuple[Spent | Charge, ...], note: str
) -> None:
    line = next(line for line in lines(*sides) if line.note == note)
    assert line.difference_usd is None


def test_a_cost_that_a_bill_leaves_out_makes_the_sum_unknown() -> None:
    (line,) = lines(spent(), charge("gpt-4o", billed=None), charge("gpt-4o", effective=None))
    assert (line.billed, line.effective, line.difference_usd) == (None, None, None)


def test_calls_without_any_price_have_no_book_cost() -> None:
    (line,) = lines(spent(priced=0, book_usd=0.0), charge("gpt-4o"))
    assert line.book_usd is None


def test_calls_that_are_no_longer_kept_are_not_missing_calls() -> None:
    (line,) = lines(charge("gpt-4o"), since=date(2026, 11, 21))
    assert line.note == "calls of this day are no longer kept"


def test_a_tag_says_more_than_the_words() -> None:
    (line,) = lines(charge("gpt-4o", tags={"model": "my-own-model"}))
    assert line.model == "my-own-model"


def test_one_model_of_two_providers_is_two_lines() -> None:
    found = lines(spent(), spent(provider="azure"), charge("gpt-4o", provider="Microsoft"))
    assert [(line.provider, line.note) for line in found] == [
        ("azure", ""), ("openai", "not on the bill"),
    ]  # fmt: skip


def test_names_lose_what_is_not_the_model() -> None:
    assert bare("us.anthropic.claude-3-5-sonnet-20241022-v2:0") == "claude-3-5-sonnet"
    assert bare("openai/gpt-4o-2024-08-06") == "gpt-4o"
    assert bare("gpt-3.5-turbo") == "gpt-3.5-turbo"
