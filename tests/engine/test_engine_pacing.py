"""A day's budget is spent over the day, and what it thins is still an honest sample."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from judge_build import MINUTE, configured, document

from tocsin.engine.pacing import MOST_WAITING, is_spent, paced
from tocsin.store.judging import DayOfJudging

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
RUN = "type: length\nmax_words: 3\nsample: {rate: 0.5}\nbudget: {calls: 2000}"
JUDGE = configured(document(RUN), "chat").evaluators["faithful"]


def test_a_budget_lasts_all_day_and_weights_undo_what_it_thins() -> None:
    """Traffic and quality change through the day: 2,000 of 200,000 answers, busy by day, better by
    night. The plain share of what was judged is off, the weighted one is not."""
    hours = np.arange(24 * 60) / 60
    calls = (80 + 120 * np.exp(-(((hours - 14) / 4) ** 2))).astype(int)
    share = 0.95 - 0.15 * np.exp(-(((hours - 14) / 4) ** 2))
    truth = float((calls * share).sum() / calls.sum())
    plain, weighted, rng = [], [], np.random.default_rng(5)
    for _ in range(40):
        spent, good, rates = DayOfJudging(), [], []
        for minute in range(24 * 60):
            now = MIDNIGHT + timedelta(minutes=minute)
            rate = paced(JUDGE, {0: int(calls[minute])}, spent, now, MINUTE).by_stratum[0]
            chosen = int(rng.binomial(calls[minute], rate))
            spent = replace(spent, chosen=spent.chosen + chosen, judged=spent.judged + chosen)
            good += [*(rng.random(chosen) < share[minute])]
            rates += [rate] * chosen
            assert rate > 0, "every call has a chance"
        weight = 1 / np.array(rates)
        plain.append(np.mean(good))
        weighted.append(float((weight * good).sum() / weight.sum()))
        assert 1_700 <= spent.chosen <= 2_050
    assert np.mean(weighted) == pytest.approx(truth, abs=0.004)
    assert abs(np.mean(plain) - truth) > 0.01


def test_what_is_not_judged_as_fast_as_it_comes_is_thinned_before_it_is_chosen() -> None:
    unlimited = replace(JUDGE, daily_calls=None)
    noon, spent = MIDNIGHT + timedelta(hours=12), DayOfJudging()
    assert paced(unlimited, {0: 1000}, spent, noon, MINUTE).by_stratum == (0.5,)
    assert paced(unlimited, {0: 1000}, spent, noon, MINUTE, MOST_WAITING - 50).by_stratum == (0.05,)
    assert paced(unlimited, {0: 1000}, spent, noon, MINUTE, MOST_WAITING + 1).by_stratum == (0.0,)


def test_a_request_that_could_go_over_the_budget_is_not_made() -> None:
    both = replace(JUDGE, daily_calls=10, daily_usd=1.0)
    assert is_spent(both, DayOfJudging(asked=9, usd=0.5), 0.5) == ""
    assert "10 requests" in is_spent(both, DayOfJudging(asked=10), 0.0)
    assert "1 US dollars" in is_spent(both, DayOfJudging(asked=1, usd=0.6), 0.5)
