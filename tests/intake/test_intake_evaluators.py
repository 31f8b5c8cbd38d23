"""Evaluators that ask nobody: what they say, and when they say that they cannot tell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tocsin.domain.evaluation import Answer, Passage
from tocsin.intake.evaluator import CannotJudge, Evaluator, Opinion
from tocsin.intake.evaluators import EVALUATORS
from tocsin.intake.evaluators.llm_judge import LlmJudgeConfig, rendered


def judged(kind: str, output: str, settings: dict[str, Any] | None = None, **more: Any) -> Opinion:
    made: Evaluator = EVALUATORS[kind](EVALUATORS[kind].Config(**(settings or {})))
    at = datetime(2026, 11, 21, tzinfo=UTC)
    answer = Answer("t", "s", "", "chat", at, output=output, **more)
    assert made.most_usd(answer) == 0.0
    return asyncio.run(made.judge(answer))


DOCS = (Passage("Returns are accepted within 30 days. Shipping is free.", vector=(1.0, 0.0)),
        Passage("We have 12 shops.", score=0.4, vector=(0.0, 1.0)))  # fmt: skip
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("kind", "output", "settings", "label", "score"),
    [
        ("format", '{"a": 1}', {"expect": "json"}, "json", 1.0),
        ("format", 'Here: {"a": 1}', {"expect": "json"}, "prose", 0.0),
        ("format", "Call 555 now", {"forbids": r"\d{3}"}, "prose", 0.0),
        ("json_schema", '{"n": 3}', {"fits": SCHEMA}, "valid", 1.0),
        ("json_schema", '```json\n{"n": 3}\n```', {"fits": SCHEMA}, "valid", 1.0),
        ("json_schema", '{"n": "3"}', {"fits": SCHEMA}, "invalid", 0.0),
        ("json_schema", "three", {"fits": SCHEMA}, "not json", 0.0),
        ("refusal", "I’m sorry, but I can’t help with that.", {}, "refused", 0.0),
        ("refusal", "Es tut mir leid, dabei kann ich nicht helfen.", {}, "refused", 0.0),
        ("refusal", "Sorry for the wait! Your parcel left today.", {}, "answered", 1.0),
        ("refusal", "This is above my pay grade.", {"phrases": ("above my pay",)}, "refused", 0.0),
        ("language", "Wir haben die Bestellung gefunden, sie ist nicht da.", {"expect": ("de",)},
         "de", 1.0),
        ("language", "The order is on its way to you now.", {"expect": ("de",)}, "en", 0.0),
        ("language", "ご注文の商品は本日発送されました。", {"expect": ("ja",)}, "ja", 1.0),
        ("length", "one two three", {"max_words": 2}, "too long", 0.0),
        ("length", "one", {"min_chars": 10}, "too short", 0.0),
        ("length", "one two", {"max_words": 2}, "fits", 1.0),
    ],
)  # fmt: skip
def test_what_it_says(
    kind: str, output: str, settings: dict[str, Any], label: str, score: float
) -> None:
    found = judged(kind, output, settings)
    assert (found.label, found.score) == (label, score)


def test_an_answer_is_grounded_as_far_as_its_sentences_stand_in_the_documents() -> None:
    said = "Returns are accepted within 30 days. We have 14 shops."
    found = judged("groundedness", said, {}, context=DOCS)
    assert (found.label, found.score) == ("ungrounded", 0.5)
    assert "14 shops" in found.explanation, "a number that no document has"
    assert judged("groundedness", "Shipping is free.", {}, context=DOCS).score == 1.0
    near = judged("groundedness", "x", {"by": "vectors"}, context=DOCS,
                  vectors={"output": (0.6, 0.8)})  # fmt: skip
    assert (near.label, near.score) == ("grounded", pytest.approx(0.8))


def test_what_was_retrieved_is_as_relevant_as_its_best_document() -> None:
    near = judged("retrieval_relevance", "x", {}, context=DOCS, vectors={"input": (0.1, 0.2)})
    assert near.score == pytest.approx(2 / 5**0.5)
    told = judged("retrieval_relevance", "x", {"by": "scores"}, context=DOCS)
    assert (told.score, told.label) == (0.4, "irrelevant")


@pytest.mark.parametrize(
    ("kind", "output", "settings", "more", "why"),
    [
        ("length", "  ", {"max_words": 2}, {}, "no answer text"),
        ("language", "Ok.", {"expect": ("en",)}, {}, "cannot be told"),
        ("groundedness", "Yes.", {}, {}, "nothing was retrieved"),
        ("groundedness", "Yes.", {}, {"context": (Passage(""),)}, "without their texts"),
        ("groundedness", "Yes.", {"by": "vectors"}, {"context": DOCS}, "no vector of the output"),
        ("retrieval_relevance", "x", {}, {"context": DOCS, "vectors": {"input": (1.0,)}},
         "different models"),
        ("retrieval_relevance", "x", {"by": "scores"}, {"context": (Passage("a"),)}, "no scores"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_no_verdict(
    kind: str, output: str, settings: dict[str, Any], more: dict[str, Any], why: str
) -> None:
    with pytest.raises(CannotJudge, match=why):
        judged(kind, output, settings, **more)


@pytest.mark.parametrize(
    ("kind", "settings", "why"),
    [
        ("length", {}, "at least one limit"),
        ("format", {"matches": "("}, "not a regular expression"),
        ("json_schema", {"fits": {"type": "integr"}}, "fits: type"),
        ("language", {"expect": ("xx",)}, "cannot be told"),
        ("llm_judge", {"rubric": "Is it good?"}, "does not show the answer"),
        ("llm_judge", {"rubric": "{{output}} {{answer}}"}, "no variable answer"),
        ("llm_judge", {"choices": {"good": 2.0, "bad": 0.0}}, "from 0"),
        ("llm_judge", {"choices": {"good": 1.0, "Good": 0.0}}, "upper and lower case"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    kind: str, settings: dict[str, Any], why: str
) -> None:
    usual: dict[str, Any] = {}
    if kind == "llm_judge":
        usual = {"model": "m", "rubric": "{{output}}", "choices": {"good": 1.0, "bad": 0.0}}
    with pytest.raises(ValueError, match=why):
        EVALUATORS[kind].Config(**(usual | settings))


def test_a_rubric_is_filled_in_and_long_texts_are_cut_where_it_shows() -> None:
    config = LlmJudgeConfig("m", "{{ context }}|{{output}}|{{metadata.tier}}|{{metadata.none}}",
                            {"good": 1.0, "bad": 0.0}, most_chars=100)  # fmt: skip
    answer = Answer("t", "s", "", "chat", datetime(2026, 11, 21, tzinfo=UTC), output="x" * 500,
                    context=DOCS, metadata={"tier": "gold"})  # fmt: skip
    context, output, tier, none = rendered(config, answer).split("|")
    assert "[1] Returns are accepted" in context
    assert "400 characters are left out here" in output
    assert "\ngold\n" in tier
    assert "(unknown)" in none
