"""What was usual of a component is proposed by its page; written down, it scores in shadow."""

from __future__ import annotations

import pytest

from tocsin.domain.health import HealthSample
from tocsin.engine.health_baseline import LEAST, baselines
from tocsin.spec.health import ComponentShape, HealthScoreShape

COST = {"metric": "cost_per_conversation_usd", "weight": 0.5, "inverse": True}
ERRORS = {"metric": "error_rate", "weight": 0.5}


def sample(minute: int, cost: float | None) -> HealthSample:
    readings = {} if cost is None else {COST["metric"]: [cost, None, None, 10, 0.0]}
    return HealthSample("chat", minute, "chat", "f", "unknown", None, {"readings": readings})


def test_a_median_is_proposed_and_makes_a_curve_that_says_so() -> None:
    spec = HealthScoreShape.model_validate({"components": [COST, ERRORS]})
    costs = [0.01 * (1 + n % 5) for n in range(LEAST)]
    samples = [sample(n, cost) for n, cost in enumerate([*costs, None])]
    (found,) = baselines(spec.build(), samples)
    assert (found.metric, found.samples) == (COST["metric"], LEAST)
    assert found.median == pytest.approx(0.03)
    (few,) = baselines(spec.build(), samples[:50])
    assert few.median is None
    frozen = HealthScoreShape.model_validate(
        {"components": [{**COST, "baseline": found.median}, ERRORS]}
    )
    assert frozen.build().components[0].curve == ((0.03, 90.0), (0.09, 0.0))
    assert baselines(frozen.build(), samples) == []
    assert "scored by what was usual: 0.03 90 and 0.09 0" in frozen.remarks()[0]


def test_where_more_is_better_a_third_of_what_is_usual_counts_nothing() -> None:
    one = ComponentShape.model_validate({"metric": "answers", "weight": 1, "baseline": 30})
    assert one.build().curve == ((10.0, 0.0), (30.0, 90.0))
