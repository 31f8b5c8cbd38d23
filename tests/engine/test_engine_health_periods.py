"""A health score over days is what pages showed: samples added up, and no other formula."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.domain.health import HealthSample
from tocsin.engine.health_periods import period_of

START = 29_000_000


def sample(at: int, score: float | None, state: str, **body: Any) -> HealthSample:
    lost = 0.0 if score is None else 100.0 - score
    whole = {"weights": {"errors": 0.5, "cost": 0.5}, "coverage": 1.0, "low": score,
             "scores": {"errors": 100.0 - 2 * lost, "cost": 100.0}}  # fmt: skip
    return HealthSample("chat", START + at, "chat", "f", state, score, {**whole, **body})  # type: ignore[arg-type]


def test_minutes_count_as_they_were_shown_and_gaps_count_as_nothing() -> None:
    least = {"since": START + 6, "score": 55.0, "low": 50.0, "coverage": 1.0}
    samples = [
        sample(-5, 90.0, "ok"), sample(5, 90.0, "ok"), sample(10, 70.0, "warning", least=least),
        sample(15, None, "unknown"), sample(20, 90.0, "ok"), sample(60, 90.0, "ok"),
    ]  # fmt: skip
    found = period_of(samples, START, START + 65)
    # From 20 on ten minutes are spoken for, not forty.
    assert found.past.minutes == {"ok": 25, "warning": 5, "unknown": 5}
    assert found.past.mean == pytest.approx((25 * 90 + 5 * 70) / 30)
    assert found.lowest == 55.0, "between two samples"
    assert list(found.lost) == ["errors", "cost"]
    assert found.lost["errors"] == pytest.approx((25 * 10 + 5 * 30) / 30)
    assert period_of([], START, START + 5).past.mean is None
