"""PriceBook documents: an operator's own prices, each on its days."""

from __future__ import annotations

from datetime import date

import pytest

from tocsin.domain.errors import SpecError
from tocsin.spec.desired import load_text
from tocsin.store.prices import BEGINNING, END, Price, Tier


def document(*prices: str, name: str = "ours") -> str:
    listed = "\n".join(f"    - {{{price}}}" for price in prices)
    head = f"apiVersion: tocsin/v1\nkind: PriceBook\nmetadata: {{name: {name}}}\nspec:\n  prices:\n"
    return f"{head}{listed}\n"


def test_prices_are_read_a_million_tokens_and_kept_a_token() -> None:
    text = document(
        "provider: OpenAI, model: GPT-4o, from: 2026-05-01, to: 2026-05-31, inputPerMtok: 2,"
        " outputPerMtok: 8, cachedPerMtok: 0.5, perThousandCalls: 5",
        "provider: vllm, model: llama-3.3-70b, inputPerMtok: 0.2, outputPerMtok: 0.4,"
        " tiers: [{aboveInputTokens: 32000, inputPerMtok: 0.4, outputPerMtok: 0.4}]",
    )
    low, high = 0.2 / 1e6, 0.4 / 1e6
    assert load_text(text).prices == (
        Price(
            "openai", "gpt-4o", Tier(2e-6, 5e-7, 2e-6, 8e-6, request=0.005),
            date(2026, 5, 1), date(2026, 5, 31),
        ),
        Price(
            "vllm", "llama-3.3-70b", Tier(low, low, low, high), BEGINNING, END,
            (Tier(high, high, high, high, above=32000),),
        ),
    )  # fmt: skip


def test_several_periods_of_a_model_may_stand_in_several_documents() -> None:
    first = document("provider: a, model: m, to: 2026-05-31, inputPerMtok: 1")
    second = document("provider: a, model: m, from: 2026-06-01, inputPerMtok: 2", name="june")
    assert len(load_text(f"{first}---\n{second}").prices) == 2


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (
            ("provider: a, model: m, inputPerMtok: 1", "provider: a, model: M, inputPerMtok: 2"),
            "a m has a price on these days already",
        ),
        (
            ("provider: a, model: m, from: 2026-06-02, to: 2026-06-01, inputPerMtok: 1",),
            "its last day 2026-06-01 is before its first 2026-06-02",
        ),
        (("provider: a, model: m, from: June, inputPerMtok: 1",), "must be a day such as"),
        (("provider: a, model: m, inputPerMtok: -1",), "inputPerMtok"),
        (("provider: a, model: m",), "inputPerMtok"),
        (("provider: '', model: m, inputPerMtok: 1",), "provider"),
        (
            (
                "provider: a, model: m, inputPerMtok: 1, tiers: [{aboveInputTokens: 9,"
                " inputPerMtok: 1}, {aboveInputTokens: 9, inputPerMtok: 2}]",
            ),
            "tiers must rise",
        ),
    ],
)
def test_what_is_wrong_is_said(prices: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_text(document(*prices))
    assert message in str(caught.value)
