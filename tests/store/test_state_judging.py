"""The queue of evaluators is the same on every database: nothing lost, nothing twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from state_build import BACKENDS, T0, at, opened

from tocsin.store import judging
from tocsin.store.evaluations import Chosen
from tocsin.store.judging import DayOfJudging, day_of

CALLS = [Chosen(f"t{n:03}", f"s{n:03}", at(n), 0.25) for n in range(450)]  # in three statements
OUTCOME = {"label": "good", "score": 1.0, "explanation": "It says \u2028 so, and \\u0000."}


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_are_queued_asked_about_kept_with_their_verdict_and_forgotten(
    backend: str, tmp_path: Path
) -> None:
    with opened(backend, tmp_path) as (store, _):
        with store.transaction() as tx:
            assert judging.add(tx, "faithful", "faithful@1", [*CALLS, CALLS[0]], T0) == 450
            assert judging.add(tx, "faithful", "faithful@1", CALLS, at(60)) == 0
            assert judging.add(tx, "faithful", "faithful@2", CALLS[:1], at(60)) == 1
            assert judging.waiting(tx, "faithful") == (451, T0)
            first, second, *_ = judging.due(tx, "faithful", T0, 10)
            assert [first.span_id, second.span_id] == ["s000", "s001"]
            judging.begin(tx, "faithful", first, T0, at(300), 0.02)
            judging.begin(tx, "faithful", second, T0, at(300), 0.02)
            judging.decided(tx, first, OUTCOME, at(5))
            judging.again(tx, second, at(900), "too many\x00 requests", attempts=1)
            judging.count(tx, "faithful", day_of(T0), judged=1, usd=-0.01)
        with store.transaction() as tx:
            due = judging.due(tx, "faithful", at(10), 1000)
            [decided] = [one for one in due if one.outcome is not None]
            assert (decided.span_id, decided.outcome, decided.attempts) == ("s000", OUTCOME, 1)
            assert "s001" not in {one.span_id for one in due}
            [later] = [one for one in judging.due(tx, "faithful", at(900), 1000) if one.reason]
            assert (later.span_id, later.chosen, later.propensity) == ("s001", T0, 0.25)
            assert "\x00" not in later.reason
            [today] = judging.days(tx, "faithful", day_of(T0)).values()
            assert today == DayOfJudging(judged=1, asked=2, usd=pytest.approx(0.03))
            judging.forget(tx, "faithful@1", [one.call for one in due if one.series[-1] == "1"])
            assert judging.abandon(tx, "faithful", "faithful@1") == 1
            assert judging.waiting(tx, "faithful") == (1, T0)
            judging.count(tx, "faithful", day_of(T0 + timedelta(days=500)), judged=1)
            assert len(judging.days(tx, "faithful", 0)) == 1, "old days go"
