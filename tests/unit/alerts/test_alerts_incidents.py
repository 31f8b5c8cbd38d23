"""Incidents: stories from the first alert to the close."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from alerts_build import PAGE, REVIEW, World, at, muted, routed

from tocsin.alerts.changes import IncidentChange, IncidentConfig, Tell
from tocsin.alerts.incidents import fold_incidents
from tocsin.alerts.memory import Memory
from tocsin.alerts.responder import Refused, acknowledge, mitigate, resolve
from tocsin.domain.findings import AlertState, IncidentState


def ack(world: World, by: str = "ana") -> IncidentChange:
    change = acknowledge(world.incident, by, world.now)
    assert isinstance(change, IncidentChange)
    world.apply(change)
    return change


def test_a_first_alert_opens_the_first_episode_and_tells() -> None:
    world = World()
    change = world.one(routed())
    incident = change.after
    assert (change.event, change.tell, change.before) == ("opened", Tell.TRIGGER, None)
    assert incident.state is IncidentState.TRIGGERED
    assert incident.id == f"{incident.group_key}-1"
    assert incident.title == "bot: error rate"
    assert (incident.tier, incident.policy, incident.step) == (1, PAGE, 1)
    assert incident.reason == "a is too high"
    assert change.decided == incident.alerts
    json.dumps(incident.evidence)
    json.dumps({k: v for k, v in asdict(incident).items() if k not in ("opened", "updated")})


def test_an_incident_that_stays_as_it_is_changes_nothing() -> None:
    world = World()
    world.tick(routed())
    for _ in range(30):
        assert world.tick(routed()) == []


def test_alerts_learn_which_incident_they_belong_to() -> None:
    changes = fold_incidents(
        {}, [routed("a"), routed("b")], at(0), IncidentConfig(), lambda _: None
    )
    (incident,) = {change.after.id for change in changes.changes}
    assert [alert.incident_id for alert in changes.assigned] == [incident, incident]
    assert len(changes.changes) == 1


def test_groups_that_differ_in_a_label_are_different_incidents() -> None:
    other = routed("b", labels={"service": "bot", "env": "prod", "signal": "cost"})
    world = World()
    assert len(world.tick(routed("a"), other)) == 2


def test_company_is_grouped_and_told_at_most_every_group_interval() -> None:
    world = World()
    world.tick(routed("a"))
    joined = world.one(routed("a"), routed("b"))
    assert (joined.event, joined.tell, len(joined.after.alerts)) == ("updated", Tell.NOTHING, 2)
    assert [world.tick(routed("a"), routed("b")) for _ in range(3)] == [[], [], []]
    told = world.one(routed("a"), routed("b"))
    assert (told.event, told.tell) == ("updated", Tell.UPDATE)
    assert world.tick(routed("a"), routed("b")) == []


def test_an_alert_that_joins_with_receivers_of_its_own_reaches_them_at_once() -> None:
    world = World()
    world.tick(routed("a", 2))
    joined = world.one(routed("a", 2), routed("b", 2, receivers=("jira",)))
    assert (joined.event, joined.tell) == ("joined", Tell.JOIN)
    assert joined.after.receivers == ("slack", "jira")


def test_the_first_step_of_another_policy_is_told_beside_the_one_that_runs() -> None:
    world = World()
    world.tick(routed("a", 1))
    joined = world.one(routed("a", 1), routed("b", 2, receivers=(), policy="review"))
    assert (joined.event, joined.tell) == ("joined", Tell.JOIN)
    assert joined.after.receivers == ("legal",)
    assert joined.after.policy == PAGE
    together = World()
    opened = together.one(routed("a", 1), routed("b", 2, receivers=(), policy="review"))
    assert (opened.after.policy, opened.after.receivers) == (PAGE, ("legal",))


def test_a_page_that_joins_runs_its_own_policy_where_only_a_ticket_escalated() -> None:
    world = World()
    theirs = routed("a", 1, policy="", receivers=("other",))
    ticket = routed("t", 2, policy="review")
    assert world.one(theirs, ticket).after.policy == REVIEW
    ack(world)
    raised = world.one(theirs, ticket, routed("b", 1))
    assert (raised.event, raised.tell, raised.after.policy) == ("raised", Tell.TRIGGER, PAGE)


def test_what_is_triggered_afresh_is_as_urgent_as_what_fires_by_then() -> None:
    world = World()
    world.tick(routed("a", 1), routed("b", 2))
    ack(world)
    world.tick(routed("b", 2))
    expired = world.one(routed("b", 2), minutes=120)
    assert (expired.event, expired.after.tier, expired.after.policy) == ("ack_expired", 2, None)


def test_severity_raised_triggers_again_even_after_an_acknowledgement() -> None:
    world = World()
    world.tick(routed("a", 2))
    ack(world)
    raised = world.one(routed("a", 1))
    assert (raised.event, raised.tell) == ("raised", Tell.TRIGGER)
    assert raised.after.state is IncidentState.TRIGGERED
    assert (raised.after.tier, raised.after.policy, raised.after.acknowledged_by) == (1, PAGE, "")
    assert world.tick(routed("a", 2))[0].event == "rerouted"
    assert world.incident.tier == 1, "an episode never becomes less serious by itself"


def test_an_acknowledgement_expires_and_everybody_is_told_again() -> None:
    world = World()
    world.tick(routed())
    change = ack(world)
    assert change.tell is Tell.ACKNOWLEDGE
    assert world.incident.acknowledged_until == world.now + timedelta(hours=2)
    assert world.tick(routed(), minutes=119) == []
    again = world.one(routed(), minutes=1)
    assert (again.event, again.tell) == ("ack_expired", Tell.TRIGGER)
    assert Memory.of(again.after).round == 2
    assert again.after.step == 1


def test_an_acknowledgement_without_expiry_never_expires() -> None:
    world = World()
    world.tick(routed())
    endless = replace(world.incident, policy={**PAGE, "ack_expires_s": None})
    world.incidents[endless.group_key] = endless
    ack(world)
    assert world.incident.acknowledged_until is None
    assert world.tick(routed(), minutes=100_000) == []


def test_clear_resolves_and_tells_those_who_know() -> None:
    world = World()
    world.tick(routed())
    over = world.one()
    assert (over.event, over.tell) == ("resolved", Tell.RESOLVE)
    assert over.after.resolved == world.now
    assert world.tick() == []
    closed = world.one(minutes=31)
    assert (closed.event, closed.tell) == ("closed", Tell.NOTHING)
    assert world.tick() == []


def test_what_is_over_inside_the_group_wait_is_told_to_nobody() -> None:
    world = World(IncidentConfig(group_wait=timedelta(minutes=3)))
    world.tick(routed(tier=2))
    over = world.one(minutes=2)
    assert (over.event, over.tell) == ("resolved", Tell.NOTHING)
    assert "before anybody had been told" in over.reason
    assert world.one(routed(tier=2)).tell is Tell.TRIGGER, "nobody knows of it, so it is news"
    page = World(IncidentConfig(group_wait=timedelta(minutes=3)))
    page.tick(routed(tier=1))
    assert page.one(minutes=2).tell is Tell.RESOLVE, "a page does not wait"


def test_back_within_the_cooldown_is_the_same_episode_silent_above_tier_one() -> None:
    world = World()
    world.tick(routed(tier=2))
    world.tick(minutes=10)
    back = world.one(routed(tier=2), minutes=30)
    assert (back.event, back.tell, back.after.episode) == ("reopened", Tell.NOTHING, 1)
    assert back.after.state is IncidentState.TRIGGERED
    assert "not told again" in back.reason
    assert back.decided, "it is recorded all the same"


def test_tier_one_back_within_the_cooldown_always_tells() -> None:
    world = World()
    world.tick(routed())
    world.tick()
    back = world.one(routed())
    assert (back.event, back.tell, back.after.episode) == ("reopened", Tell.TRIGGER, 1)
    assert Memory.of(back.after).round == 2


def test_back_after_the_cooldown_is_a_new_episode() -> None:
    world = World()
    world.tick(routed())
    world.tick()
    closed, opened = world.tick(routed(), minutes=31)
    assert (closed.event, closed.after.state) == ("closed", IncidentState.CLOSED)
    assert (opened.event, opened.after.episode, opened.before) == ("opened", 2, None)
    assert opened.after.id != closed.after.id


def test_a_regulated_incident_waits_for_a_person() -> None:
    world = World()
    world.tick(routed(auto_resolve=False))
    recovered = world.one()
    assert (recovered.event, recovered.tell) == ("recovered", Tell.UPDATE)
    assert recovered.after.state is IncidentState.RECOVERED
    for _ in range(3):
        assert world.tick(minutes=600) == []
    done = resolve(world.incident, "ana", "checked", world.now)
    assert isinstance(done, IncidentChange)
    world.apply(done)
    assert (done.tell, done.actor) == (Tell.RESOLVE, "ana")
    assert done.reason == "ana resolved it: checked"
    assert world.incident.state is IncidentState.RESOLVED


def test_a_regulated_incident_that_comes_back_is_triggered_again() -> None:
    world = World()
    world.tick(routed(auto_resolve=False))
    world.tick()
    assert world.one(routed(auto_resolve=False)).event == "reopened"
    assert world.one().after.state is IncidentState.RECOVERED


def test_a_mitigated_incident_waits_for_a_person_too() -> None:
    world = World()
    world.tick(routed())
    change = mitigate(world.incident, "playbook/shift", "50 % to the fallback", world.now)
    assert isinstance(change, IncidentChange)
    world.apply(change)
    assert world.incident.state is IncidentState.MITIGATING
    assert world.one().after.state is IncidentState.RECOVERED


def test_a_suppressed_alert_opens_an_incident_that_nobody_hears_of() -> None:
    world = World()
    opened = world.one(muted(routed()))
    assert (opened.event, opened.tell) == ("opened", Tell.NOTHING)
    assert opened.after.state is IncidentState.OPEN
    assert opened.after.suppressed_by == "silence:s"
    assert opened.decided
    over = world.one()
    assert (over.event, over.tell) == ("resolved", Tell.NOTHING)


def test_when_a_silence_ends_and_it_still_fires_it_is_told() -> None:
    world = World()
    world.tick(muted(routed()))
    for _ in range(10):
        assert world.tick(muted(routed())) == []
    told = world.one(routed())
    assert (told.event, told.tell) == ("unsuppressed", Tell.TRIGGER)
    assert (told.after.state, told.after.suppressed_by) == (IncidentState.TRIGGERED, "")
    assert told.reason.startswith("silence:s ended and it still fires")


def test_silencing_an_incident_stops_it_and_unsilencing_tells_again() -> None:
    world = World()
    world.tick(routed())
    stopped = world.one(muted(routed()))
    assert (stopped.event, stopped.tell) == ("suppressed", Tell.NOTHING)
    assert world.one(muted(routed(), "maintenance:m")).after.suppressed_by == "maintenance:m"
    again = world.one(routed())
    assert (again.event, again.tell, Memory.of(again.after).round) == (
        "unsuppressed",
        Tell.TRIGGER,
        2,
    )


def test_unsilencing_an_incident_somebody_has_in_hand_tells_nobody() -> None:
    world = World()
    world.tick(routed())
    ack(world)
    world.tick(muted(routed()))
    change = world.one(routed())
    assert (change.event, change.tell) == ("unsuppressed", Tell.NOTHING)
    assert change.after.state is IncidentState.ACKNOWLEDGED


def test_another_teams_alert_is_told_in_spite_of_a_silence_and_whoever_has_it_in_hand() -> None:
    """It was silenced from the beginning, so that nobody had heard of it."""
    theirs = routed("b", policy="", receivers=("pd2",))
    world = World()
    world.tick(muted(routed("a")))
    ack(world)
    told = world.one(muted(routed("a")), theirs)
    assert (told.event, told.tell) == ("unsuppressed", Tell.JOIN)
    assert (told.after.state, told.after.receivers) == (IncidentState.ACKNOWLEDGED, ("pd2",))
    assert world.tick(muted(routed("a")), theirs) == []


def test_what_becomes_urgent_beside_silenced_alerts_calls_at_once() -> None:
    world = World()
    world.tick(muted(routed("a", 2)))
    ack(world)
    told = world.one(muted(routed("a", 2)), routed("b", 1))
    assert (told.event, told.tell, told.after.suppressed_by) == ("raised", Tell.TRIGGER, "")
    assert told.after.state is IncidentState.TRIGGERED


def test_unsilencing_what_somebody_has_in_hand_beside_others_tells_nobody_either() -> None:
    world = World()
    world.tick(routed("a", 1), routed("b", 2))
    ack(world)
    told = world.tick(muted(routed("a", 1)), routed("b", 2)) + world.tick(
        routed("a", 1), routed("b", 2)
    )
    assert {change.tell for change in told} == {Tell.NOTHING}
    assert (world.incident.state, world.incident.tier) == (IncidentState.ACKNOWLEDGED, 1)
    world.tick(muted(routed("a", 1)), routed("b", 2))
    back = world.one(muted(routed("a", 1)), routed("b", 2), minutes=120)
    assert (back.event, back.after.tier, back.after.policy) == ("ack_expired", 2, None)


def test_one_loud_alert_is_enough_and_the_loud_ones_decide() -> None:
    world = World()
    opened = world.one(muted(routed("a", 1)), routed("b", 2))
    assert (opened.tell, opened.after.tier, opened.after.policy) == (Tell.TRIGGER, 2, None)
    assert len(opened.after.alerts) == 2
    assert opened.after.reason == "b is too high"
    raised = world.one(routed("a", 1), routed("b", 2))
    assert (raised.event, raised.after.tier) == ("raised", 1)


def test_an_incident_whose_urgent_alert_is_silenced_goes_on_as_what_is_left() -> None:
    world = World()
    world.tick(routed("a", 1), routed("b", 2))
    eased = world.one(muted(routed("a", 1)), routed("b", 2, policy="review"))
    assert (eased.event, eased.tell) == ("eased", Tell.JOIN)
    assert (eased.after.tier, eased.after.policy, eased.after.step) == (2, REVIEW, 1)
    assert Memory.of(eased.after).heard[-1] == "legal"
    assert world.tick(muted(routed("a", 1)), routed("b", 2, policy="review")) == []
    raised = world.one(routed("a", 1), routed("b", 2, policy="review"))
    assert (raised.event, raised.after.tier, raised.after.policy) == ("raised", 1, PAGE)


def test_a_page_that_flaps_beside_a_silenced_one_is_told_once() -> None:
    world = World()
    others = muted(routed("b", 1)), routed("c", 2)
    assert world.one(routed("a", 1), *others).event == "opened"
    told = []
    for _ in range(3):
        told += [(c.event, c.tell) for c in world.tick(*others)]
        assert world.incident.tier == 1
        told += [(c.event, c.tell) for c in world.tick(routed("a", 1), *others)]
    assert {event for event, _ in told} == {"updated"}
    assert Tell.TRIGGER not in {tell for _, tell in told}
    eased = world.one(muted(routed("a", 1)), *others)
    assert (eased.event, eased.after.tier) == ("eased", 2)


def test_a_stale_incident_is_shown_told_if_it_pages_and_never_resolved() -> None:
    world = World()
    member = routed()
    world.tick(member)
    stale = replace(member, alert=replace(member.alert, state=AlertState.STALE))
    change = world.one(stale)
    assert (change.event, change.tell) == ("stale", Tell.UPDATE)
    for _ in range(10):
        assert world.tick(stale) == []
    assert world.incident.state is IncidentState.TRIGGERED
    back = world.one(member)
    assert (back.reason, back.tell) == ("its source is back", Tell.NOTHING)


def test_an_incident_nobody_acknowledges_is_remembered() -> None:
    world = World()
    world.tick(routed())
    assert world.tick(routed(), minutes=239) == []
    reminder = world.one(routed())
    assert (reminder.event, reminder.tell) == ("reminded", Tell.UPDATE)
    ack(world)
    assert world.one(routed(), minutes=240).event == "ack_expired"


def test_an_incident_that_flaps_is_held_open_until_it_is_quiet() -> None:
    world = World()
    heard = []
    for _ in range(6):
        heard += [(c.event, c.tell) for c in world.tick(routed())]
        heard += [(c.event, c.tell) for c in world.tick()]
    assert heard[:5] == [
        ("opened", "trigger"), ("resolved", "resolve"), ("reopened", "trigger"),
        ("resolved", "resolve"), ("reopened", "trigger"),
    ]  # fmt: skip
    assert {event for event, _ in heard[5:]} == {"held", "flapping"}
    assert {tell for _, tell in heard[5:]} == {Tell.NOTHING}
    assert world.incident.state is IncidentState.TRIGGERED
    assert world.tick(minutes=29) == []
    over = world.one()
    assert (over.event, over.tell, over.reason) == ("resolved", Tell.RESOLVE, "it stopped flapping")


def test_flap_detection_can_be_switched_off() -> None:
    world = World(IncidentConfig(flap_changes=0))
    events = [
        c.event for _ in range(10) for members in ([routed()], []) for c in world.tick(*members)
    ]
    assert set(events) == {"opened", "resolved", "reopened"}


def test_what_a_person_resolved_stays_resolved_while_the_same_alerts_fire() -> None:
    world = World()
    world.tick(routed())
    done = resolve(world.incident, "ana", "known issue", world.now)
    assert isinstance(done, IncidentChange)
    world.apply(done)
    for _ in range(30):
        assert world.tick(routed()) == []
    closed, opened = world.tick(routed())
    assert (closed.event, opened.event, opened.after.episode) == ("closed", "opened", 2)


def test_a_silent_re_open_tells_those_whom_it_newly_concerns() -> None:
    world = World()
    world.tick(routed("a", 2))
    world.tick()
    again = world.one(routed("b", 2, receivers=(), policy="review"))
    assert (again.event, again.tell) == ("reopened", Tell.JOIN)
    assert Memory.of(again.after).heard == ("slack", "legal")


def test_what_a_person_resolved_re_opens_when_it_becomes_more_urgent() -> None:
    world = World()
    world.tick(routed("a", 2))
    done = resolve(world.incident, "ana", "known issue", world.now)
    assert isinstance(done, IncidentChange)
    world.apply(done)
    assert world.tick(routed("a", 2)) == []
    change = world.one(routed("a", 1))
    assert (change.event, change.tell, change.after.tier) == ("reopened", Tell.TRIGGER, 1)


def test_a_new_alert_re_opens_what_a_person_resolved_although_the_clock_was_set_back() -> None:
    world = World()
    world.tick(routed("a"))
    done = resolve(world.incident, "ana", "", world.now)
    assert isinstance(done, IncidentChange)
    world.apply(done)
    world.advance(-60)
    assert world.tick(routed("a")) == []
    (change,) = world.tick(routed("a"), routed("b", since=world.now))
    assert (change.event, change.tell) == ("reopened", Tell.TRIGGER)


def test_a_new_alert_re_opens_what_a_person_resolved() -> None:
    world = World()
    world.tick(routed())
    done = resolve(world.incident, "ana", "", world.now)
    assert isinstance(done, IncidentChange)
    world.apply(done)
    assert world.one(routed(), routed("b", since=at(2)), minutes=2).event == "reopened"


@pytest.mark.parametrize("state", [IncidentState.RESOLVED, IncidentState.CLOSED])
def test_a_request_that_comes_too_late_is_refused_with_a_reason(state: IncidentState) -> None:
    world = World()
    world.tick(routed())
    late = replace(world.incident, state=state)
    for answer in (
        acknowledge(late, "ana", at(5)),
        resolve(late, "ana", "", at(5)),
        mitigate(late, "ana", "x", at(5)),
    ):
        assert isinstance(answer, Refused)
        assert state in answer.reason


def test_an_acknowledgement_can_be_taken_over() -> None:
    world = World()
    world.tick(routed())
    ack(world, "ana")
    ack(world, "bo")
    assert world.incident.acknowledged_by == "bo"


def test_a_policy_that_joins_late_begins_to_escalate() -> None:
    world = World()
    world.tick(routed("a", 2))
    change = world.one(routed("a", 2), routed("b", 2, policy="page"))
    assert (change.event, change.tell, change.after.policy) == ("raised", Tell.TRIGGER, PAGE)


def test_the_order_of_alerts_does_not_matter() -> None:
    members = [routed("a", 2), routed("b", 1), muted(routed("c", 1))]
    one, two = World(), World()
    assert one.tick(*members) == two.tick(*reversed(members))


def test_memory_survives_json() -> None:
    world = World()
    world.tick(routed(digest="daily", run=("fix",), auto_resolve=False))
    world.tick()
    memory = Memory.of(world.incident)
    through = json.loads(json.dumps(world.incident.evidence))
    assert Memory.of(replace(world.incident, evidence=through)) == memory
    assert (memory.digest, memory.run, memory.auto_resolve) == ("daily", ("fix",), False)
    assert Memory.of(replace(world.incident, evidence={})) == Memory()
