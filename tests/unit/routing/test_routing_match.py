"""Conditions compile once, mean what they say, and never surprise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.routing.match import (
    MatchError,
    Unreadable,
    compile_condition,
    compile_or_unreadable,
    quantity,
)

ALERT = {"env": "prod", "signal": "error_rate", "tier": "1", "value": 0.05, "for": 300.0}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, True),
        ({"env": "prod"}, True),
        ({"env": "staging"}, False),
        ({"env": "!prod"}, False),
        ({"env": "!staging"}, True),
        ({"region": "!eu"}, True),
        ({"region": ""}, True),
        ({"region": None}, True),
        ({"region": "!"}, False),
        ({"env": "!"}, True),
        ({"env": ["staging", "prod"]}, True),
        ({"env": ["staging", "canary"]}, False),
        ({"env": ["!staging", "!canary"]}, True),
        ({"env": ["!staging", "!prod"]}, False),
        ({"env": ["prod", "!prod"]}, False),
        ({"tier": 1}, True),
        ({"tier": 2}, False),
        ({"tier": "<=2"}, True),
        ({"value": ">=0.05"}, True),
        ({"value": ">0.05"}, False),
        ({"value": ">=5%"}, True),
        ({"value": "< 1"}, True),
        ({"value": 0.05}, True),
        ({"change": ">=-1"}, False),
        ({"change": "<1"}, False),
        ({"for": ">=5m"}, True),
        ({"for": ">5m"}, False),
        ({"for": "<1h"}, True),
        ({"env": "prod", "value": "<0.01"}, False),
    ],
)
def test_a_condition_holds_exactly_when_all_its_entries_do(
    condition: dict[str, object], expected: bool
) -> None:
    assert compile_condition(condition).holds(ALERT) is expected


def test_a_missing_label_equals_an_empty_one() -> None:
    matcher = compile_condition({"segment": ""})
    assert matcher.holds({})
    assert matcher.holds({"segment": ""})
    assert not matcher.holds({"segment": "premium"})


def test_truth_values_and_numbers_match_the_text_a_label_has() -> None:
    assert compile_condition({"regulated": True}).holds({"regulated": "true"})
    assert compile_condition({"port": 8080}).holds({"port": "8080"})
    assert compile_condition({"tier": 2.0}).holds({"tier": "2"})


def test_not_a_number_satisfies_no_comparison() -> None:
    for text in (">=0", "<0", ">0", "<=0"):
        assert not compile_condition({"value": text}).holds({"value": math.nan})


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"value": ">=lots"}, "value: 'lots' is not a number"),
        ({"value": ">="}, "not a number"),
        ({"value": "!>=5"}, "turn the comparison round"),
        ({"env": []}, "empty list"),
        ({"env": {"not": "prod"}}, "expected text"),
        ({"env": [["prod"]]}, "expected text"),
    ],
)
def test_a_condition_that_cannot_be_read_says_which_entry_is_wrong(
    condition: dict[str, object], said: str
) -> None:
    with pytest.raises(MatchError, match="^" + next(iter(condition))) as error:
        compile_condition(condition)
    assert said in str(error.value)
    unreadable = compile_or_unreadable(condition)
    assert isinstance(unreadable, Unreadable)
    with pytest.raises(MatchError):
        unreadable.holds(ALERT)


def test_comparing_a_label_that_is_no_number_is_an_error_of_the_rule() -> None:
    with pytest.raises(MatchError, match="signal >= 1"):
        compile_condition({"signal": ">=1"}).holds(ALERT)


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("-0.3", -0.3), ("5%", 0.05), ("250ms", 0.25), ("5m", 300), ("2h", 7200),
     (".5", 0.5), ("1d", 86400), ("1e3", 1000), (" 90 s ", 90)],
)  # fmt: skip
def test_a_quantity_is_read_in_seconds_and_fractions(text: str, number: float) -> None:
    assert quantity(text) == pytest.approx(number)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([">=5", "<5%", "!x", "!", "", ">5m", ">="]),
)  # fmt: skip
conditions = st.dictionaries(
    st.sampled_from(["env", "value", "for", "signal"]), st.one_of(scalars, st.lists(scalars))
)
values = st.dictionaries(
    st.sampled_from(["env", "value", "for", "signal"]), st.one_of(st.text(max_size=8), st.floats())
)


@given(conditions, values)
def test_whatever_a_condition_says_it_holds_or_not_or_is_a_match_error(
    condition: dict[str, object], alert: dict[str, str | float]
) -> None:
    matcher = compile_or_unreadable(condition)
    try:
        first = matcher.holds(alert)
    except MatchError:
        return
    assert first is matcher.holds(alert)
