"""`tocsin why`: the decision behind a page is derived again, and a changed one is noticed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from tick_build import CONFIG, T0, Clockwork

from tocsin.engine.rederive import rederive
from tocsin.engine.why import NothingKnown, why


def paged() -> Clockwork:
    made = Clockwork()
    made.breaching[("chat", "error_rate")] = "page"
    made.play(20)
    made.acknowledge(made.incident())
    made.play(2)
    return made


def test_a_page_is_explained_from_the_verdict_to_the_answer() -> None:
    made = paged()
    incident = made.incident()
    found = why(made.state, incident.id)
    assert (found.answer, found.chain) == ("same", ""), found.answer_why
    (alert,) = found.alerts
    assert alert.verdict is not None
    assert (alert.verdict.value, alert.verdict.score) == (0.25, 9.0)
    assert alert.verdict.reason == "error_rate is bad"
    (decision,) = alert.decisions
    assert decision.config == made.desired.digest
    assert (decision.route, decision.policy, decision.tier) == ("page", "page-15m", 1)
    assert [(t.rule, t.matched) for t in decision.again.tried] == [
        ("page is tier 1", True), ("ticket is tier 2", False), ("page", True),
    ]  # fmt: skip
    assert [(c.people, c.receivers) for c in found.calls] == [
        (("ana",), ("pager",)), (("ana", "boss"), ("pager", "boss")),
    ]  # fmt: skip
    assert found.calls_again is not None
    assert found.calls_again.answer == "same"
    assert [(m.receiver, m.action, m.outcome) for m in found.messages] == [
        ("pager", "trigger", "delivered"), ("pager", "trigger", "delivered"),
        ("boss", "trigger", "delivered"), ("pager", "acknowledge", "delivered"),
    ]  # fmt: skip
    assert [(a.kind, a.actor) for a in found.answers] == [("acknowledged", "ana")]
    assert [(c.digest, c.actor, c.at) for c in found.configs] == [(made.desired.digest, "ana", T0)]
    by_alert = why(made.state, alert.fingerprint)
    by_beginning = why(made.state, incident.id[:8])
    assert by_alert == by_beginning == found


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"tier": 1', '"tier": 3', "tier: recorded 3, derived 1"),
        ('"route": "page"', '"route": "review"', "route: recorded review, derived page"),
        ('"severity": "page"', '"severity": "ticket"', "tier: recorded 1, derived 2"),
    ],
)
def test_a_decision_that_was_changed_afterwards_does_not_follow(
    old: str, new: str, says: str
) -> None:
    made = paged()
    with made.state.transaction() as tx:
        row = sa.text("SELECT seq, data FROM ledger WHERE kind = 'alert.routed'")
        seq, data = tx.connection.execute(row).one()
        text = json.dumps(json.loads(data))
        assert old in text
        tx.connection.execute(
            sa.text("UPDATE ledger SET data = :data WHERE seq = :seq"),
            {"data": text.replace(old, new), "seq": seq},
        )
    found = why(made.state, made.incident().id)
    assert found.answer == "differs"
    assert says in found.alerts[0].decisions[0].again.differences
    assert f"ledger entry {seq}: was altered" in found.chain


def test_inhibition_is_derived_from_what_else_was_firing() -> None:
    made = Clockwork()
    made.breaching[("chat", "endpoint_down")] = "page"
    made.play(3)
    made.breaching[("chat", "error_rate")] = "page"
    made.breaching[("claims", "error_rate")] = "page"
    made.play(3)
    held = why(made.state, made.incident("chat").id)
    assert held.suppressed_by == "inhibition:outage explains"
    assert held.answer == "same", held.alerts[0].decisions[0].again
    assert held.messages == ()
    assert why(made.state, made.incident("claims").id).answer == "same"
    del made.breaching[("chat", "endpoint_down")]
    made.play(10)
    again = why(made.state, made.incident("chat").id)
    assert [bool(d.suppressed_by) for d in again.alerts[0].decisions] == [True, False]
    assert again.answer == "same", again.alerts[0].decisions


def test_what_cannot_be_derived_says_why() -> None:
    made = paged()
    with made.state.transaction() as tx:
        tx.connection.execute(sa.text("DELETE FROM config_version"))
    found = why(made.state, made.incident().id)
    assert found.answer == "unknown"
    assert "not among those that were recorded" in found.alerts[0].decisions[0].again.why
    assert why(made.state, made.incident().id, made.desired).answer == "same"


def test_a_later_configuration_does_not_change_what_was_decided() -> None:
    made = paged()
    made.clock.advance(timedelta(hours=1))
    other = Clockwork(CONFIG.replace("policy: page-15m}", "policy: review-1h}"), made.state)
    assert other.desired.digest != made.desired.digest
    found = why(made.state, made.incident().id)
    assert (found.answer, found.policy) == ("same", "page-15m")


@pytest.mark.parametrize("name", ["nothing", ""])
def test_a_name_that_is_nothing_is_told(name: str) -> None:
    with pytest.raises(NothingKnown, match="there is no incident and no alert"):
        why(Clockwork().state, name)


@pytest.mark.parametrize(("fires", "answer"), [(True, "same"), (False, "differs")])
def test_a_folded_alert_follows_from_a_cause_that_was_firing(fires: bool, answer: str) -> None:
    made = paged()
    (routed,) = [e for e in made.state.ledger_entries() if e.kind == "alert.routed"]
    held = "inhibition:dependency/openai"
    folded = replace(routed, kind="alert.suppressed", data={**routed.data, "suppressed_by": held})
    labels = {"source": "tocsin", "monitor": "dependency/openai", "service": "openai"}
    cause = replace(routed, kind="alert.firing", subject="cause", data={"labels": labels})
    found = rederive(folded, made.rules, (), lambda: [cause] if fires else [])
    assert found.answer == answer, found
    of_cause = replace(routed, data={**routed.data, "labels": labels})
    assert rederive(of_cause, made.rules, (), list).answer == "unknown"
