"""The language of indicators: what it takes, what it refuses, and how it says so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.domain.errors import TocsinError
from tocsin.domain.expressions import Apply, Condition, Constant, Field
from tocsin.domain.series import Ratio
from tocsin.indicators.catalogue import IndicatorError
from tocsin.indicators.custom import ratio_of, written
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.parser import parse
from tocsin.indicators.language.vocabulary import ENTRIES, FIELDS, FUNCTIONS, LOOKUPS, WORDS
from tocsin.store.expressions import FIELD_SQL

LATENCY = Field("latency", "duration")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("error or failed and truncated", "error or (failed and truncated)"),
        ("not error and failed", "(not error) and failed"),
        ("not latency < 2s", "not (latency < 2s)"),
        ("1 + 2 * 3 < 4 - 5 - 6", "(1 + (2 * 3)) < ((4 - 5) - 6)"),
        ("-cost_usd * 2 < 0", "((-cost_usd) * 2) < 0"),
        ("latency < 2s", "latency<2000ms"),
        ("latency <= 1.5min", "latency <= 90s"),
        ("input_tokens > 2k", "input_tokens > 2000"),
        ("cost_usd < 3%", "cost_usd < 0.03"),
        ("model not in ('a', 'b')", "not (model in ('a', 'b'))"),
        ('model == "it\'s"', "model = 'it''s'"),
        ("name not matches '^a'", "not name matches '^a'"),
    ],
)
def test_operators_bind_as_people_expect(text: str, same: str) -> None:
    assert parse(text) == parse(same)


def test_a_tree_has_types_and_durations_in_milliseconds() -> None:
    assert parse("latency < 2s") == Apply("<", (LATENCY, Constant(2000.0, "duration")), "truth")
    assert parse("latency / 2 + ttft", None).type == "duration"
    assert parse("ttft / latency", None).type == "number"
    assert parse("coalesce(label('a'), 'none')", None).type == "text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: there is nothing here (write a condition: latency < 2s)"),
        ("latency < 2", "column 11: compares a duration with a number (give the number a unit:"
         " 2s, 500ms)"),
        ("latency", "column 1: an indicator takes a truth value, not a duration"
         " (compare it: ... < 2s)"),
        ("latncy < 2s", "column 1: there is no field 'latncy' (did you mean 'latency'?)"),
        ("tier = 'gold'", "column 1: there is no field 'tier' (a text stands in quotes; an"
         " attribute is attributes['tier'])"),
        ("latency < 2m", "column 12: there is no unit 'm' (write min for minutes, or M for"
         " millions)"),
        ("1 < documents < 3", "column 15: comparisons do not chain (write 1 < x and x < 2)"),
        ("error && failed", "column 7: '&' means nothing here (write `and`)"),
        ("(error", "column 7: ')' belongs here (close the bracket)"),
        ("error failed", "column 7: 'failed' does not belong here (put an operator before it:"
         " and, or, =, <, in, ...)"),
        ("error or", "column 9: the expression ends too early"),
        ("model < 'a'", "column 1: a text has no order (use = or !=, or number(...))"),
        ("model in ()", "column 7: an empty list holds nothing (list at least one value)"),
        ("model in ('a', 2)", "column 16: a number in a list for a text"),
        ("model in (name)", "column 11: a list holds values that are written out"),
        ("name matches '('", "column 14: not a regular expression: missing ) ( (RE2 syntax)"),
        ("length(error) > 1", "column 8: length takes a text here, not a truth value"),
        ("lower(name, name) = 'a'", "column 1: lower takes 1 argument, not 2"),
        ("sleep(1) = 1", "column 1: there is no function 'sleep' (known: coalesce, contains,"
         " ends_with, known, label, length, lower, number, score, starts_with)"),
        ("score(judge) > 1", "column 7: a name in quotes belongs here (score takes a name in"
         " quotes: score('faithfulness'))"),
        ("model = 'a", "column 9: a text that does not end (close it with ')"),
        ("cost_usd + latency < 1", "column 1: `+` of a number and a duration means nothing"),
        ("'a' = 1", "column 7: compares a text with a number (write number(...) for the number"
         " that a text is, or quote the other)"),
        ("error; drop table calls", "column 6: ';' means nothing here (an expression ends where"
         " its text ends)"),
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_with_its_place_and_what_to_write(
    text: str, message: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == message


def test_a_terminal_sees_where() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("not failed\nand latency < 2")
    line, mark = caught.value.shown().splitlines()
    assert line == "and latency < 2"
    assert mark.startswith("              ^ column 26: compares a duration with a number")


@pytest.mark.parametrize(
    "text", ["(" * 100_000, "not " * 1000 + "error", "error" + " or error" * 400, "-" * 900 + "1"]
)
def test_size_and_depth_are_bounded(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(
    ["(", ")", "[", "]", ",", "and", "or", "not", "in", "=", "<", "-", "1", "2s", "'a'", "model",
     "error", "latency", "score", "attributes", "known", "matches", "'('"]
), max_size=14).map(" ".join)))  # fmt: skip
@settings(max_examples=500, derandomize=True, database=None, deadline=None)
def test_any_text_is_an_expression_or_a_fault_within_it(text: str) -> None:
    fault = None
    try:
        parse(text, None)
    except ExpressionError as error:
        fault = error
    if fault is not None:
        assert 1 <= fault.column <= len(text) + 1
        assert fault.shown()


def test_every_field_has_sql_and_no_name_means_two_things() -> None:
    assert set(FIELD_SQL) == set(FIELDS)
    names = [*FIELDS, *ENTRIES, *FUNCTIONS, *LOOKUPS, *WORDS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("good", "ratio"),
    [
        ("not failed", Ratio("failed")),
        ("latency < 2s", Ratio("duration_ms", "ge", 2000)),
        ("latency_ms <= 2000", Ratio("duration_ms", "gt", 2000)),
        ("not ttft >= 1s", Ratio("ttft_ms", "ge", 1000)),
        ("cost_usd < 3%", Ratio("cost_usd", "ge", 0.03)),
    ],
)
def test_what_a_column_says_as_well_is_counted_by_the_column(good: str, ratio: Ratio) -> None:
    assert written(good=good).ratio == ratio


def test_what_only_a_condition_says_stays_one() -> None:
    for good in ("failed", "latency > 2s", "elapsed < 2s", "latency < 2s and not error"):
        assert written(good=good).ratio.column == "condition"
    total = written(good="latency < 2s", total="env = 'prod'").ratio
    assert total.condition == Condition(
        parse("not latency < 2s"), parse("env = 'prod'"), "did not meet latency < 2s"
    )
    assert ratio_of(Condition(parse("failed"))) == Ratio("failed")
    assert written(good="score('a') > 1 and label('b') = 'x'").ratio.scores == {"a", "b"}


def test_an_indicator_has_one_side_a_known_kind_and_a_signal_of_what_it_speaks() -> None:
    for wrong in ({}, {"good": "error", "bad": "error"}, {"good": "error", "kind": "llms"}):
        with pytest.raises(IndicatorError):
            written(**wrong)
    signals = {"score('x') > 0.5": "quality", "cost_usd < 1": "cost", "ttft < 1s": "latency_p95",
               "not error": "error_rate", "documents > 0": "retrieval_failure",
               "model = 'a'": "custom"}  # fmt: skip
    assert {good: written(good=good).signal for good in signals} == signals
    with pytest.raises(TocsinError):
        written(good="error and")
