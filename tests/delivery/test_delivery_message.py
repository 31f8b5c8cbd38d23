"""Every page explains itself, whatever is known and whatever is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from delivery_build import EVIDENCE, T0, incident, message
from hypothesis import given
from hypothesis import strategies as st

from tocsin.delivery.message import render, render_digest, truncate, truncate_bytes
from tocsin.delivery.slack_blocks import blocks_of
from tocsin.domain.findings import example_calls
from tocsin.domain.secret import Secret, scrub

BASE = "https://tocsin.example.org/"


@dataclass(frozen=True)
class Occasion:
    key: str = "k"
    action: str = "trigger"
    receiver: str = "pager"
    payload: dict[str, Any] = field(default_factory=dict)


def test_a_page_answers_the_questions_of_whoever_is_woken() -> None:
    found = render(
        incident(receivers=("pager", "slack"), route="prod errors"),
        Occasion(payload={"resolved_who": ["ana"], "who": ["oncall/a"]}),
        BASE,
        at=T0,
        told=("mail",),
    )
    text = found.text()
    for answer in (
        "Firing: support: error rate",
        "one call in four fails",
        "Since: 2026-03-02T09:55:00Z",
        "Now: 25 %",
        "Expected: 1 %",
        "Mostly: region=eu (81 % of the failures)",
        "Provider or us: the provider reports no incident",
        "Error budget left: 40 %",
        "Burning: 14.4 times the sustainable rate",
        "Route: prod errors",
        "For: ana",
        "Also told: mail, slack",
        "  - 09:52 deploy support 4.2",
        "  - look at the deploy",
        "Runbook: https://runbooks.example.org/support",
        "Incident: https://tocsin.example.org/incidents/support%2Fprod%2Ferror_rate-1",
    ):
        assert answer in text, answer
    assert found.severity == "critical"


def test_calls_that_show_it_are_linked_until_it_is_over() -> None:
    evidence = {
        "features": [{"name": "output_tokens", "drifted": True, "examples": ["a1/b1", "a2/b2"]},
                     {"name": "model", "drifted": False, "examples": ["no/no"]}],
        "keys": [{"key": "loop", "example": "a3/b3"}, {"key": "other", "example": ""}],
    }  # fmt: skip
    assert example_calls(evidence) == ["a1/b1", "a2/b2", "a3/b3"]
    found = render(incident(evidence=evidence), Occasion(), BASE, at=T0)
    calls = [href for text, href in found.links if text == "A call that shows it"]
    assert calls == ["https://tocsin.example.org/calls/a1/b1",
                     "https://tocsin.example.org/calls/a2/b2"]  # fmt: skip
    over = render(incident(evidence=evidence), Occasion(action="resolve"), BASE, at=T0)
    assert not any("/calls/" in href for _, href in over.links)


def test_the_alert_that_leads_an_incident_speaks_for_it() -> None:
    lead = {
        "since": "2026-03-02T09:50:00Z", "value": 3.5, "expected": 2.0, "unit": "s",
        "reason": "slow", "evidence": {"burn_long": 6.0, "budget_remaining": 0.5},
    }  # fmt: skip
    found = render(incident(evidence={"lead": lead, "told": ["a"]}), Occasion(), BASE, at=T0)
    assert dict(found.evidence)["Now"] == "3.5 s"
    assert dict(found.evidence)["Burning"] == "6 times the sustainable rate"
    assert found.summary == "slow"
    assert found.since == T0 - timedelta(minutes=10)


def test_unknown_is_said_and_missing_is_left_out() -> None:
    found = render(incident(evidence={"value": None}), Occasion(), "", at=T0)
    assert found.evidence == (("Now", "unknown"),)
    assert (found.links, found.url, found.since) == ((), "", T0)


@pytest.mark.parametrize(
    ("changes", "action", "summary"),
    [
        ({"acknowledged_by": "ana"}, "acknowledge", "ana is looking at it."),
        ({"resolved": T0 + timedelta(minutes=42)}, "resolve", "Over after 42 min."),
        ({}, "resolve", "Over."),
        ({"evidence": {}, "reason": "why"}, "trigger", "why"),
        ({"evidence": {}}, "trigger", "support: error rate"),
        ({}, "update", "3 alerts are firing"),
    ],
)
def test_each_action_says_what_is_new(changes: Any, action: str, summary: str) -> None:
    occasion = Occasion(action=action, payload={"why": "3 alerts are firing"})
    assert render(incident(**changes), occasion, BASE, at=T0).summary == summary


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*EVIDENCE, "lead", "links"], anything)))
def test_no_evidence_however_odd_keeps_a_page_from_being_written(evidence: Any) -> None:
    found = render(incident(evidence=evidence), Occasion(), BASE, at=T0)
    assert found.text()
    assert found.markdown()
    assert blocks_of(found)


def test_a_digest_counts_what_it_lists() -> None:
    one = render_digest(Occasion(payload={"digest": "daily", "items": ["a"]}), BASE, at=T0)
    assert one.title == "daily: 1 finding"
    two = render_digest(Occasion(payload={"title": "Daily", "items": ["a", "b"]}), "", at=T0)
    assert (two.title, two.items, two.links) == ("Daily", ("a", "b"), ())


def test_markdown_of_others_is_not_interpreted() -> None:
    text = message(summary="[click](https://evil.example) *bold*").markdown()
    assert r"\[click\](https://evil.example) \*bold\*" in text


def test_texts_are_cut_between_characters_and_marked() -> None:
    assert truncate("abcdef", 4) == "abc…"
    assert truncate("abcd", 4) == "abcd"
    assert truncate_bytes("ééé", 5).encode() == "é…".encode()
    assert truncate_bytes("ééé", 6) == "ééé"


def test_a_secret_shows_itself_to_nobody() -> None:
    hidden = Secret("hunter2")
    for text in (str(hidden), repr(hidden), f"{hidden}", f"{[hidden]}", "%s" % hidden):  # noqa: UP031
        assert "hunter2" not in text
    assert hidden.reveal() == "hunter2"
    assert scrub("it said hunter2!", [hidden, None, Secret("")]) == "it said •••!"
    assert hidden == Secret("hunter2")
    assert not Secret("")
