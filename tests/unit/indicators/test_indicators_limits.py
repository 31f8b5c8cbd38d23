"""Limits as people say them become shares of calls."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.domain.expressions import Condition
from tocsin.domain.series import Ratio
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.parser import parse
from tocsin.indicators.limits import PRESETS, limit_of


@pytest.mark.parametrize(
    ("text", "ratio", "over"),
    [
        ("p95(latency) > 2s", Ratio("duration_ms", "gt", 2000), 0.05),
        ("p99.9(ttft)>=800ms", Ratio("ttft_ms", "ge", 800), 0.001),
        ("share(error) > 10%", Ratio("error"), 0.1),
        ("p50(total_tokens) > 1.5k",
         Ratio("condition", condition=Condition(parse("total_tokens > 1500"), None,
                                                "had total_tokens > 1.5k")), 0.5),
        ("share(ttft > 1s or error) > 0.25",
         Ratio("condition", condition=Condition(parse("ttft > 1s or error"), None,
                                                "met ttft > 1s or error")), 0.25),
    ],
)  # fmt: skip
def test_a_limit_is_a_share_of_calls(text: str, ratio: Ratio, over: float) -> None:
    limit = limit_of(text)
    assert (limit.indicator.ratio, limit.over) == (ratio, over)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency > 2s", "column 1: this is no limit (write p95(latency) > 2s"),
        ("", "column 1: this is no limit"),
        ("p95(latency) > 2", "column 15: a duration has no such limit"),
        ("p95(latncy) > 2s", "column 5: there is no field 'latncy'"),
        ("share(error) > 10", "column 14: a share is > 0% to below 100%"),
        ("share(error) >= 10%", "column 14: a share is > 0% to below 100%"),
        ("share(latency) > 10%", "column 7: an indicator takes a truth value"),
        ("p95(model) > 'a'", "this is no limit"),
        ("p95(latency) > ttft", "column 15: a limit is a value that is written out"),
    ],
)
def test_what_is_no_limit_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        limit_of(text)
    assert message in str(caught.value)


def test_a_quantile_above_a_limit_is_a_share_above_another() -> None:
    """Nearest rank, any size: p95 > T exactly when more than 5 % of the values are above T."""
    rng = np.random.default_rng(3)
    for n in range(1, 400):
        values = rng.exponential(1.0, n).round(1)  # with ties at the limit
        for limit in (1.0, 2.5, 3.0):
            p95 = np.sort(values)[int(np.ceil(0.95 * n - 1e-9)) - 1]
            assert (p95 > limit) == ((values > limit).sum() > 0.05 * n + 1e-9)


def test_presets_have_limits_that_differ_in_name() -> None:
    for preset in PRESETS.values():
        names = [limit.indicator.name for limit in preset.limits.values()]
        assert len(names) == len(set(names)) > 0
        assert preset.about
