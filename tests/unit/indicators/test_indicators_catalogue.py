"""Indicators by the names people write."""

from __future__ import annotations

import pytest

from tocsin.domain.series import Ratio
from tocsin.indicators.catalogue import (
    IndicatorError,
    cost_under,
    first_token_under,
    indicator_from,
    latency_under,
    parse_milliseconds,
    parse_usd,
)


@pytest.mark.parametrize(
    ("mapping", "ratio", "signal"),
    [
        ({"use": "availability"}, Ratio("failed"), "error_rate"),
        ({"use": "errors"}, Ratio("error"), "error_rate"),
        ({"use": "truncation"}, Ratio("truncated"), "error_rate"),
        ({"use": "feedback"}, Ratio("feedback_negative"), "feedback"),
        ({"use": "retrieval"}, Ratio("failed", kind="retriever"), "retrieval_failure"),
        ({"use": "latency", "under": "2 s"}, Ratio("duration_ms", "ge", 2000), "latency_p95"),
        ({"use": "first_token", "under": "800ms"}, Ratio("ttft_ms", "ge", 800), "latency_p95"),
        ({"use": "cost", "under": 0.03}, Ratio("cost_usd", "ge", 0.03), "cost"),
    ],
)
def test_a_mapping_names_a_ratio_and_its_signal(mapping, ratio, signal) -> None:
    indicator = indicator_from(mapping)
    assert (indicator.ratio, indicator.signal) == (ratio, signal)


def test_indicators_with_different_limits_have_different_names() -> None:
    names = {
        latency_under(2000).name, latency_under(5000).name, first_token_under(2000).name,
        cost_under(0.03).name, cost_under(0.3).name,
    }  # fmt: skip
    assert names == {
        "latency_under_2000ms", "latency_under_5000ms", "first_token_under_2000ms",
        "cost_under_0.03usd", "cost_under_0.3usd",
    }  # fmt: skip
    assert latency_under(1500).title == "Calls under 1.5s"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"use": "speed"}, "unknown indicator 'speed'; known: availability, cost,"),
        ({}, "unknown indicator ''"),
        ({"use": "latency"}, "needs a limit, for example `under: 2 s`"),
        ({"use": "cost"}, "needs a limit, for example `under: 0.03 USD`"),
        ({"use": "availability", "under": "2 s"}, "has no limit; remove `under`"),
        ({"use": "latency", "over": "2 s"}, "unknown key 'over'"),
        ({"use": "latency", "under": 2}, "2 is not a duration; write a number and ms, s or min"),
        ({"use": "latency", "under": "-2 s"}, "is not a duration"),
        ({"use": "latency", "under": "0 s"}, "must be above 0"),
        ({"use": "cost", "under": "cheap"}, "is not an amount of money"),
        ({"use": "cost", "under": True}, "is not an amount of money"),
        ({"use": "cost", "under": float("nan")}, "must be above 0"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(mapping, message) -> None:
    with pytest.raises(IndicatorError, match=message):
        indicator_from(mapping)


def test_durations_and_money_are_read_as_written() -> None:
    assert [parse_milliseconds(t) for t in ("850 ms", "2s", "1.5 s", "2 min", ".5s")] == [
        850, 2000, 1500, 120_000, 500,
    ]  # fmt: skip
    assert [parse_usd(t) for t in (0.03, "0.03", "$0.03", "0.03 USD", 1)] == [
        0.03, 0.03, 0.03, 0.03, 1,
    ]  # fmt: skip
