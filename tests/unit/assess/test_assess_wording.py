"""Numbers and sentences as people read them."""

from __future__ import annotations

import pytest

from tocsin.assess.wording import counted, duration
from tocsin.domain.figures import percent
from tocsin.domain.series import Ratio


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"), (0.004, "0.4 %"), (9 / 61, "15 %"), (0.00021, "0.021 %"), (1.0, "100 %"),
        (0.9999, "99.99 %"), (0.5, "50 %"), (1e-6, "0.0001 %"), (0.1, "10 %"),
    ],
)  # fmt: skip
def test_percentages_have_two_significant_digits(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("ms", "text"), [(850, "850 ms"), (2000, "2 s"), (9180, "9.2 s"), (12_400, "12 s"), (7, "7 ms")]
)
def test_durations_are_short(ms: float, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Ratio("failed"), "3 of 1,200 calls failed"),
        (Ratio("failed", kind="retriever"), "3 of 1,200 retrievals failed"),
        (Ratio("error"), "3 of 1,200 calls ended in an error"),
        (Ratio("truncated"), "3 of 1,200 calls were cut off"),
        (Ratio("feedback_negative"), "3 of 1,200 calls were rated badly"),
        (Ratio("empty_result", kind="retriever"), "3 of 1,200 retrievals found nothing"),
        (Ratio("duration_ms", "ge", 2000), "3 of 1,200 calls took 2 s or more"),
        (Ratio("duration_ms", "gt", 500), "3 of 1,200 calls took more than 500 ms"),
        (Ratio("ttft_ms", "ge", 800), "3 of 1,200 calls waited 800 ms for the first token or more"),
        (Ratio("cost_usd", "gt", 0.03), "3 of 1,200 calls cost more than $0.03"),
        (Ratio("output_tokens", "ge", 1500), "3 of 1,200 calls had 1500 output tokens or more"),
        (Ratio("failed", kind="reranker"), "3 of 1,200 reranker calls failed"),
        (None, "3 of 1,200 calls were bad"),
    ],
)
def test_counts_begin_a_sentence(ratio: Ratio | None, text: str) -> None:
    assert counted(3, 1200, ratio) == text
