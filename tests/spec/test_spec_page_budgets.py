"""PageBudget documents: who shares one, and what is wrong with them."""

from __future__ import annotations

import pytest

from tocsin.domain.errors import SpecError
from tocsin.spec.desired import Desired, load_text

HEAD = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx}
---
apiVersion: tocsin/v1
kind: Service
metadata: {name: drafts}
spec: {team: growth}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: failures}
spec: {services: "*", use: count_scan, indicator: {use: availability}, severity: SEVERITY}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: slow}
spec: {service: chat, use: committee, with: {threshold: 4.5}}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: silence}
spec: {services: "*", use: volume_drop, severity: page}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: limit}
spec: {service: chat, use: static_threshold, severity: page, with: {limit: 9000.0}}
"""


def loaded(*specs: str, severity: str = "page") -> Desired:
    made = [
        f"---\napiVersion: tocsin/v1\nkind: PageBudget\nmetadata: {{name: b{i}}}\n"
        f"spec: {{{spec}}}\n"
        for i, spec in enumerate(specs)
    ]
    return load_text(HEAD.replace("SEVERITY", severity) + "".join(made))


def test_the_detectors_of_a_team_share_it_unless_their_evidence_is_no_probability() -> None:
    (found,) = loaded("team: cx, pagesPerWeek: 2").budgets
    assert (found.pages_per_week, found.tickets_per_week) == (2.0, 20.0)
    assert {n: (m.least, m.pages) for n, m in found.members.items()} == {
        "detector/failures/chat": (3.0, True),
        "detector/slow": (4.5, False),  # stated in its document, and asks for a ticket
    }


def test_every_service_may_share_one() -> None:
    (found,) = loaded('services: "*", pagesPerWeek: 2, ticketsPerWeek: 5').budgets
    assert sorted(found.members) == [
        "detector/failures/chat", "detector/failures/drafts", "detector/slow",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["pagesPerWeek: 2"], "give either team: NAME or services"),
        (["team: cx, pagesPerWeek: 0"], "pagesPerWeek"),
        (["team: cx, pagesPerWeek: 30"], "ticketsPerWeek is at least pagesPerWeek"),
        (["team: cxx, pagesPerWeek: 2"], "no service has the team 'cxx'"),
        (["services: [chatt], pagesPerWeek: 2"], "there is no Service 'chatt'"),
        (
            ["team: cx, pagesPerWeek: 2", "services: [chat], pagesPerWeek: 1"],
            "service 'chat' shares PageBudget/b0 already",
        ),
    ],
)
def test_what_is_wrong_is_said(specs: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        loaded(*specs)


def test_a_budget_that_changes_nothing_is_told_so() -> None:
    found = loaded("team: cx, pagesPerWeek: 2", severity="ticket").warnings
    assert "it changes no page" in str(found[0])


def test_pages_by_rules_of_thumb_are_told_to_be_outside() -> None:
    limit = "use: static_threshold, severity: page, with: {limit: 9000.0}"
    text = HEAD.replace("SEVERITY", "page").replace(limit, "use: zscore, severity: page")
    budget = "{apiVersion: tocsin/v1, kind: PageBudget, metadata: {name: b}, spec: {team: cx, "
    (warning,) = load_text(f"{text}---\n{budget}pagesPerWeek: 2}}}}\n").warnings
    assert "detector/limit pages outside of the budget" in warning.message
    by_model = "use: committee, value: cost_usd, with: {measure: mean}, "
    by_model += "segments: {by: model, severity: page}"
    text = HEAD.replace("SEVERITY", "page").replace(limit, by_model)
    (warning,) = load_text(f"{text}---\n{budget}pagesPerWeek: 2}}}}\n").warnings
    assert "detector/limit/segments pages outside of the budget: segments" in warning.message
    assert loaded("team: cx, pagesPerWeek: 2").warnings == (), "a limit somebody chose may page"
