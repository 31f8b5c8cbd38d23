"""Benchmarks of detection measure what they say, on as little as shows it; results can be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks.__main__ import RESULTS, known

from benchmarks import accuracy, budgets, count_scan, outage
from tocsin.engine.value_files import ValueSeries


def series(values: list[float]) -> ValueSeries:
    return ValueSeries("one", np.arange(len(values)) * 60, np.array(values))


def test_committed_results_are_strict_json() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    for path in RESULTS.glob("*.json"):
        assert json.loads(path.read_text(), parse_constant=refuse)["benchmark"] == path.stem


def test_what_is_no_number_is_written_as_null() -> None:
    found = known({"a": [1.5, float("nan")], "b": {"c": float("inf")}, "d": (True, None)})
    assert found == {"a": [1.5, None], "b": {"c": None}, "d": [True, None]}


def test_a_limit_is_set_by_what_was_seen_before_the_test() -> None:
    one = series([9.0, 11.0, 9.0, 11.0, 500.0, 26.0])  # mean 10, deviation 1
    given = accuracy.as_given("static_threshold", one, 4)
    assert given is not None
    assert given.values[-1] == pytest.approx(2.0)
    assert accuracy.as_given("capacity", series([-9.0, -11.0, 0.0]), 2) is None
    assert accuracy.as_given("zscore", one, 4) is one


def test_only_whole_numbers_are_taken_for_calls() -> None:
    for values, are_counts in (([3, 0, 7.5], True), ([3, 0.5, 7], False), ([3, -1, 7], False)):
        given = accuracy.as_given("volume_drop", series(values), 2)
        assert (given is not None) == are_counts


def test_the_count_scan_finds_an_outage_at_any_traffic_and_nothing_where_nothing_is() -> None:
    found = count_scan.steps(each=2)
    scan = {level: {step: row[step]["count_scan"] for step in row} for level, row in found.items()}
    assert all(row["1%"]["found"] == 0.0 and row["100%"]["found"] == 1.0 for row in scan.values())
    assert scan["20,000"]["100%"]["delay_min"] == 1.0


def test_outages_are_told_once_they_are_and_not_before() -> None:
    found = outage.measured(each=1, history=420)
    busy = found["errors"]["600"]
    assert busy["found"] == 1
    assert 0.0 < busy["max_s"] <= 62.0
    assert found["false_incidents_in_the_history"] == 0


def test_a_page_budget_is_held_against_evidence_of_nothing() -> None:
    rng = np.random.default_rng(1)
    # Evidence of pure chance: an hour of a monitor reaches e once in 10^(e - 1) hours.
    found = [
        budgets.Found("count_scan", row, 60 * hour, 1.0 - np.log10(rng.uniform()))
        for hour in range(5 * 168)
        for row in range(20)
    ]
    found = [one for one in found if one.score >= budgets.FLOOR]
    fault = budgets.Fault("count_scan", 3, 2 * budgets.WEEK, 2 * budgets.WEEK + 60, 9.0)
    found.append(budgets.Found("count_scan", 3, fault.start + 4, 12.0))
    found.sort(key=lambda one: one.minute)
    paged = budgets.paged(["count_scan"], 5.0, [fault], found, services=20, weeks=5)
    assert paged["p_if_budget_is_true"] > 0.05
    assert paged["false_a_week"] > 0.0
    assert (paged["faults"], paged["recall"], paged["delay_min"]) == (1, 1.0, 5.0)
