"""Outcomes: which messages, timers, cancellations and ledger lines a change leads to."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from routing_build import ONCALL, PAGE, policy

from tocsin.delivery.effects import guard_failure
from tocsin.domain.findings import Alert, AlertState, Decision, Incident, IncidentState
from tocsin.routing.escalation import snapshot
from tocsin.routing.outcome import (
    Happening,
    Outcome,
    alert_event,
    believing,
    depends_on_messages,
    outcome,
    refusal_event,
)
from tocsin.routing.policy import Digest

NOW = datetime(2024, 1, 3, 12, tzinfo=UTC)
RULES = policy()
TAKEN = snapshot(PAGE, ONCALL, NOW)


def memory(**kept: Any) -> dict[str, Any]:
    return {"memory": {"round": 1, **kept}}


def incident(**given: Any) -> Incident:
    fields: dict[str, Any] = {
        "id": "k-1", "group_key": "k", "episode": 1, "state": IncidentState.TRIGGERED,
        "title": "bot: errors", "labels": {"service": "bot"}, "tier": 1, "opened": NOW,
        "updated": NOW, "alerts": ("f",), "policy": TAKEN, "step": 1, "reason": "errors",
        "decided": {"f": (1, "r", "")},
        "evidence": memory(round=1, heard=["pd", "slack"]),
    }  # fmt: skip
    return Incident(**{**fields, **given})


def two(tier: int = 2, **given: Any) -> Incident:
    evidence = memory(**given.pop("evidence", {}))
    standard = {"receivers": ("slack", "mail"), "policy": None, "step": 0}
    fields = {**standard, **given, "evidence": evidence}
    return incident(tier=tier, **fields)


def happening(
    before: Incident | None, after: Incident, event: str, tell: str, **given: Any
) -> Happening:
    return Happening(before, after, event, f"because {event}", tell, **given)


def go(what: Happening, rules: Any = RULES) -> Outcome:
    return outcome(rules, what, NOW)


def keys(found: Outcome) -> list[str]:
    return [effect.key for effect in found.effects]


def test_a_page_goes_at_once_to_the_first_step_and_sets_the_timer_of_the_second() -> None:
    found = go(happening(None, incident(), "opened", "trigger"))
    assert keys(found) == ["k-1:0:pd:trigger", "k-1:0:slack:trigger", "k-1:1:escalate:trigger"]
    first, _, timer = found.effects
    assert (first.due, first.lane, first.kind) == (NOW, 1, "notify")
    assert first.guard == {"episode": 1, "state": "triggered"}
    assert first.payload["resolved_who"] == ["ana"]
    assert (timer.kind, timer.due) == ("escalate", NOW + timedelta(minutes=15))
    assert timer.guard == {"state": "triggered", "episode": 1, "step": 1}
    assert found.cancellations == ()
    json.dumps([effect.payload for effect in found.effects])


def test_tiers_two_and_three_wait_for_company() -> None:
    found = go(happening(None, two(), "opened", "trigger"))
    assert keys(found) == ["k-1:0:slack:trigger", "k-1:0:mail:trigger"]
    assert {effect.due for effect in found.effects} == {NOW + timedelta(seconds=20)}
    assert found.effects[0].guard == {"episode": 1}


def test_a_receiver_in_the_route_and_in_the_policy_is_told_once() -> None:
    found = go(happening(None, incident(receivers=("slack", "jira")), "opened", "trigger"))
    assert sorted(e.receiver for e in found.effects if e.kind == "notify") == [
        "jira",
        "pd",
        "slack",
    ]


def test_a_pager_without_a_policy_is_not_rung_after_an_acknowledgement() -> None:
    found = go(happening(None, two(receivers=("pd",)), "opened", "trigger"))
    assert found.effects[0].guard == {"episode": 1, "state": "triggered"}


def test_receivers_that_only_show_are_sent_nothing() -> None:
    found = go(happening(None, two(3, receivers=("board",)), "opened", "trigger"))
    assert found.effects == ()
    assert len(found.events) == 1


def test_a_later_round_has_keys_of_its_own_and_cancels_the_former() -> None:
    before = incident(state=IncidentState.ACKNOWLEDGED)
    after = incident(evidence=memory(round=2))
    found = go(happening(before, after, "ack_expired", "trigger"))
    assert keys(found) == [
        "k-1:0:pd:trigger:2", "k-1:0:slack:trigger:2", "k-1:1:escalate:trigger:2",
    ]  # fmt: skip
    assert found.cancellations[0].kinds == ("notify", "escalate")


def test_the_same_change_gives_the_same_keys() -> None:
    what = happening(None, incident(), "opened", "trigger")
    assert go(what) == go(what)


def test_newcomers_are_told_and_only_they() -> None:
    before = two(evidence={"heard": ["slack", "mail"]})
    after = two(receivers=("slack", "mail", "jira"), evidence={"heard": ["slack", "mail", "jira"]})
    assert keys(go(happening(before, after, "joined", "join"))) == ["k-1:0:jira:trigger"]


def test_a_pager_that_joins_what_somebody_has_in_hand_is_rung() -> None:
    """Whoever acknowledged it did so before the other team's alert joined."""
    before = incident(state=IncidentState.ACKNOWLEDGED, acknowledged_by="ana", policy=None)
    after = replace(before, receivers=("slack", "pd"), evidence=memory(heard=["slack", "pd"]))
    what = happening(replace(before, evidence=memory(heard=["slack"])), after, "joined", "join")
    (page,) = go(what).effects
    assert (page.receiver, guard_failure(page.guard, after)) == ("pd", "")
    assert not guard_failure(page.guard, replace(after, state=IncidentState.TRIGGERED))
    assert guard_failure(page.guard, replace(after, state=IncidentState.RESOLVED))


def test_beside_a_newcomer_the_pager_of_what_somebody_has_in_hand_stays_silent() -> None:
    before = incident(state=IncidentState.ACKNOWLEDGED, policy=None, receivers=("pd",),
                      suppressed_by="silence:s", evidence=memory(heard=["pd"]))  # fmt: skip
    after = replace(before, suppressed_by="", receivers=("pd", "slack"),
                    evidence=memory(round=2, heard=["pd", "slack"]))  # fmt: skip
    found = go(happening(before, after, "unsuppressed", "join", messages=())).effects
    failing = {each.receiver: bool(guard_failure(each.guard, after)) for each in found}
    assert failing == {"pd": True, "slack": False}


def test_the_ticket_of_an_incident_that_a_person_closes_is_written_whatever_happens_first() -> None:
    regulated = incident(evidence=memory(heard=["pd", "slack"], auto_resolve=False))
    guards = {
        e.receiver: e.guard for e in go(happening(None, regulated, "opened", "trigger")).effects
    }
    recovered = replace(regulated, state=IncidentState.RECOVERED)
    assert not guard_failure(guards["slack"], recovered)
    assert guard_failure(guards["pd"], recovered), "nobody is woken for what has recovered"
    ended = go(happening(regulated, recovered, "recovered", "update", messages=()))
    assert [c.kinds for c in ended.cancellations] == [("escalate",)]


def test_small_news_goes_only_where_a_message_can_be_changed() -> None:
    before = two(evidence={"heard": ["slack", "mail"]})
    after = two(evidence={"heard": ["slack", "mail"], "updates": 4})
    assert keys(go(happening(before, after, "updated", "update"))) == ["k-1:0:slack:update:4"]
    assert keys(go(happening(before, after, "reminded", "update"))) == [
        "k-1:0:slack:update:4", "k-1:0:mail:update:4",
    ]  # fmt: skip


def test_a_resolve_reaches_everybody_told_also_by_escalation() -> None:
    before = incident(step=2)
    after = incident(step=2, state=IncidentState.RESOLVED, resolved=NOW)
    found = go(happening(before, after, "resolved", "resolve"))
    assert keys(found) == ["k-1:0:pd:resolve", "k-1:0:slack:resolve", "k-1:0:mail:resolve"]
    assert found.cancellations[0].kinds == ("notify", "escalate")
    assert {effect.due for effect in found.effects} == {NOW}


def test_an_acknowledgement_stops_escalation_and_is_shown_in_place() -> None:
    before = incident(step=2)
    after = incident(step=2, state=IncidentState.ACKNOWLEDGED, acknowledged_by="ana")
    found = go(happening(before, after, "acknowledged", "acknowledge", actor="ana"))
    assert keys(found) == ["k-1:0:pd:acknowledge:0", "k-1:0:slack:acknowledge:0"]
    assert [c.kinds for c in found.cancellations] == [("escalate",)]
    assert found.events[0].actor == "ana"


def test_a_silent_re_open_tells_nobody_but_escalates_if_nobody_looks() -> None:
    before = incident(state=IncidentState.RESOLVED)
    after = incident(tier=2, evidence=memory(round=2, heard=["pd"]))
    found = go(happening(before, after, "reopened", "", decisions=((alert(), decision(2)),)))
    assert keys(found) == ["k-1:1:escalate:trigger:2"]
    assert found.effects[0].due == NOW + timedelta(minutes=15, seconds=20)
    assert found.spared == {"cooldown": 1}


def test_a_silent_re_open_tells_those_whom_the_first_message_never_reached() -> None:
    before = two(state=IncidentState.RESOLVED, evidence={"heard": ["slack", "mail"]})
    after = two(evidence={"round": 2, "heard": ["slack", "mail"]})
    sent = (("mail", "trigger"), ("mail", "resolve"))
    assert keys(go(happening(before, after, "reopened", "", messages=sent))) == [
        "k-1:0:slack:trigger:2"
    ]


def test_a_silent_re_open_is_shown_to_the_public_who_were_told_that_it_is_over() -> None:
    before = two(state=IncidentState.RESOLVED, evidence={"heard": ["slack", "mail"]})
    after = two(evidence={"round": 2, "heard": ["slack", "mail"]})
    public = replace(RULES, receivers={"slack": "slack", "mail": "statuspage"})
    sent = (("slack", "trigger"), ("mail", "trigger"), ("slack", "resolve"))
    for messages, told in ((sent, []), ((*sent, ("mail", "resolve")), ["k-1:0:mail:trigger:2"])):
        what = happening(before, after, "reopened", "", messages=messages)
        assert keys(go(what, public)) == told


def test_an_end_reaches_whom_a_message_reached_that_was_taken_for_unsent() -> None:
    """A minute that is judged late does not know what was sent meanwhile."""
    before = two(evidence={"heard": ["slack", "mail"]})
    after = two(state=IncidentState.RESOLVED, evidence={"heard": []})
    for messages, told in (
        ((("slack", "trigger"),), ["k-1:0:slack:resolve"]),
        ((), []),
        (None, []),
    ):
        assert keys(go(happening(before, after, "resolved", "", messages=messages))) == told
    assert depends_on_messages("", "resolved")


@pytest.mark.parametrize(
    ("event", "tell"), [("reopened", ""), ("reopened", "join"), ("eased", "join"),
                        ("unsuppressed", "")]
)  # fmt: skip
def test_whoever_decides_is_given_the_messages_where_they_decide_whom_to_tell(
    event: str, tell: str
) -> None:
    before = two(evidence={"heard": ["slack", "mail"]})
    after = two(evidence={"round": 2, "heard": ["slack", "mail"]})
    sent = (("slack", "trigger"), ("mail", "trigger"))
    assert keys(go(happening(before, after, event, tell, messages=sent))) == []
    assert keys(go(happening(before, after, event, tell, messages=()))) != []
    assert depends_on_messages(tell, event)


def test_suppression_cancels_what_is_under_way_and_sends_nothing() -> None:
    after = incident(suppressed_by="silence:s")
    found = go(happening(incident(), after, "suppressed", ""))
    assert found.effects == ()
    assert found.cancellations[0].kinds == ("notify", "escalate")


def alert(name: str = "f") -> Alert:
    return Alert(name, {"service": "bot"}, AlertState.FIRING, NOW, NOW, "page", value=0.2)


def decision(tier: int = 1, **given: Any) -> Decision:
    fields: dict[str, Any] = {
        "receivers": ("slack",) if tier > 1 else (), "policy": "page" if tier == 1 else "",
        "route": "r", "reason": "tier by rule; route r",
    }  # fmt: skip
    return Decision(tier, **{**fields, **given})


def test_every_alert_has_its_ledger_line_suppressed_or_not() -> None:
    what = happening(
        None, incident(), "opened", "trigger",
        decisions=((alert(), decision()), (alert("g"), decision(suppressed_by="silence:s"))),
    )  # fmt: skip
    kinds = [(event.kind, event.subject) for event in go(what).events]
    assert kinds == [("incident.opened", "k-1"), ("alert.routed", "f"), ("alert.suppressed", "g")]
    assert go(what).events[2].data["suppressed_by"] == "silence:s"


def test_messages_that_were_spared_are_counted_under_their_reason() -> None:
    def count(by: str) -> dict[str, int]:
        what = happening(
            None, incident(suppressed_by=by), "opened", "",
            decisions=((alert(), decision(suppressed_by=by)),),
        )  # fmt: skip
        return dict(go(what).spared)

    assert count("silence:s") == {"silenced": 2}
    assert count("inhibition:i") == {"inhibited": 2}
    assert count("maintenance:m") == {"maintenance": 2}
    assert count("mode:observe") == {"observed": 2}


def test_company_counts_as_grouped_once() -> None:
    three = tuple((alert(name), decision()) for name in "fgh")
    assert go(happening(None, incident(), "opened", "trigger", decisions=three)).spared == {
        "grouped": 4
    }
    joining = happening(
        incident(), incident(), "updated", "", decisions=((alert("g"), decision()),)
    )
    assert go(joining).spared == {"grouped": 2}
    known = happening(incident(), incident(), "rerouted", "", decisions=((alert("f"), decision()),))
    assert go(known).spared == {}


def test_a_digested_incident_becomes_a_line_of_the_next_issue() -> None:
    after = two(3, receivers=("board",), evidence={"digest": "daily", "heard": ["board"]})
    found = go(happening(None, after, "opened", "trigger"))
    (effect,) = found.effects
    assert (effect.kind, effect.receiver, effect.incident_id) == ("digest", "daily", "")
    assert effect.key == "digest:daily:2024-01-04T08:00:00Z"
    assert effect.payload["to"] == ["mail"]
    (entry,) = found.digest_entries
    assert (entry.digest, entry.fingerprint) == ("daily", "k-1")
    assert entry.text.startswith("bot: errors, tier 3")
    assert found.spared == {"digested": 1}
    ended = go(
        happening(after, replace(after, state=IncidentState.RESOLVED), "resolved", "resolve")
    )
    assert keys(ended) == [effect.key]


def test_a_digest_leaves_out_what_it_does_not_include_and_what_is_suppressed() -> None:
    rules = policy(digests={"daily": Digest("daily", "0 8 * * *", ("mail",), include={"tier": 3})})
    evidence = {"digest": "daily"}
    assert not go(
        happening(None, two(2, evidence=evidence), "opened", "trigger"), rules
    ).digest_entries
    hidden = two(3, evidence=evidence, suppressed_by="silence:s")
    assert not go(happening(None, hidden, "opened", ""), rules).digest_entries


def test_what_was_over_before_it_was_told_counts_as_spared() -> None:
    before = two(evidence={"heard": ["slack", "mail"]})
    found = go(happening(before, replace(before, state=IncidentState.RESOLVED), "resolved", ""))
    assert found.effects == ()
    assert found.spared == {"resolved_first": 2}
    assert found.cancellations[0].kinds == ("notify", "escalate")


def test_the_outbox_knows_best_who_believes_that_it_is_going_on() -> None:
    sent = [("pd", "trigger"), ("mail", "trigger"), ("pd", "resolve"), ("slack", "acknowledge")]
    assert believing(sent) == ("mail", "slack")
    assert believing([]) == ()
    ended = happening(incident(), incident(), "resolved", "resolve", messages=sent)
    assert [effect.receiver for effect in go(ended).effects] == ["mail", "slack"]


def test_a_policy_of_a_vendor_sets_no_timer() -> None:
    owned = snapshot(replace(PAGE, owner="pagerduty"), ONCALL, NOW)
    found = go(happening(None, incident(policy=owned), "opened", "trigger"))
    assert {effect.kind for effect in found.effects} == {"notify"}


def test_alert_changes_and_refusals_have_ledger_lines() -> None:
    event = alert_event(alert(), "pending", "it lasted 5 min", NOW)
    assert (event.kind, event.subject, event.data["from"]) == ("alert.firing", "f", "pending")
    refused = refusal_event("k-1", "ana", "it is closed already", NOW)
    assert (refused.kind, refused.actor, refused.subject) == ("incident.refused", "ana", "k-1")
