"""Escalation: the snapshot an incident keeps, and the step that comes next."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from routing_build import HOUR, ONCALL, PAGE

from tocsin.routing.escalation import next_step, snapshot, snapshots, timetable, told_by
from tocsin.routing.policy import EscalationPolicy, EscalationStep, OnCallSchedule

NOW = datetime(2024, 1, 3, 12, tzinfo=UTC)  # ana's week


def test_the_snapshot_is_plain_json_with_names_delays_and_people() -> None:
    taken = snapshot(PAGE, ONCALL, NOW)
    assert json.loads(json.dumps(taken)) == taken
    assert taken == {
        "name": "page",
        "owner": "tocsin",
        "steps": [
            {"after_s": 0, "receivers": ["pd", "slack"], "who": ["oncall/primary"],
             "resolved_who": ["ana"]},
            {"after_s": 900, "receivers": ["pd", "mail"], "who": ["user/boss"],
             "resolved_who": ["boss"]},
            {"after_s": 1800, "repeat": 2},
        ],
        "ack_expires_s": 7200,
    }  # fmt: skip


def test_people_are_those_on_call_when_the_step_comes_due() -> None:
    before_handoff = datetime(2024, 1, 8, 8, 30, tzinfo=UTC)
    taken = snapshot(HOUR, ONCALL, before_handoff)
    assert taken["steps"][1]["resolved_who"] == ["bo"]


def test_a_gap_tells_the_fallback_and_says_why() -> None:
    empty = {"primary": OnCallSchedule("primary", ())}
    step = snapshot(PAGE, empty, NOW, fallback=("ops",))["steps"][0]
    assert step["receivers"] == ["pd", "slack", "ops"]
    assert step["gap"] == "oncall/primary has nobody then"
    lost = snapshot(PAGE, {}, NOW, fallback=("ops",))["steps"][0]
    assert "not a known schedule" in lost["gap"]
    wrong = {"primary": replace(ONCALL["primary"], tz="Nowhere/At_All")}
    assert "not a time zone" in snapshot(PAGE, wrong, NOW)["steps"][0]["gap"]


def test_a_vendor_that_escalates_leaves_us_the_first_step_only() -> None:
    taken = snapshot(replace(PAGE, owner="pagerduty"), ONCALL, NOW)
    assert len(taken["steps"]) == 1
    assert next_step(taken, 1) is None


def test_steps_come_in_order_with_the_time_between_them() -> None:
    taken = snapshot(PAGE, ONCALL, NOW)
    first, second = next_step(taken, 0), next_step(taken, 1)
    assert first is not None
    assert second is not None
    assert (first.delay_s, first.receivers, first.who) == (0.0, ("pd", "slack"), ("ana",))
    assert (second.delay_s, second.number, second.who) == (900.0, 1, ("boss",))


def test_a_policy_repeats_from_its_first_step_as_often_as_it_says() -> None:
    taken = snapshot(PAGE, ONCALL, NOW)
    steps = [next_step(taken, number) for number in range(8)]
    assert [step.delay_s for step in steps if step] == [0.0, 900.0] + [900.0] * 4
    assert [step.who for step in steps if step] == [("ana",), ("boss",)] * 3
    assert steps[6:] == [None, None]


def test_nothing_comes_after_the_last_step() -> None:
    taken = snapshot(HOUR, ONCALL, NOW)
    assert next_step(taken, 2) is None
    assert next_step(taken, -1) is None
    assert next_step({"steps": []}, 0) is None


def test_who_was_told_are_the_receivers_of_the_steps_that_ran() -> None:
    taken = snapshot(PAGE, ONCALL, NOW)
    assert told_by(taken, 0) == ()
    assert told_by(taken, 1) == ("pd", "slack")
    assert told_by(taken, 3) == ("pd", "slack", "mail")


def test_policies_without_steps_have_no_snapshot() -> None:
    only_repeat = EscalationPolicy("r", (EscalationStep(after=timedelta(minutes=1), repeat=3),))
    of = snapshots({"page": PAGE, "r": only_repeat, "e": EscalationPolicy("e", ())}, ONCALL, NOW)
    assert of("r") is None
    assert of("e") is None
    assert of("unknown") is None
    assert (of("page") or {})["name"] == "page"


def test_the_timetable_says_what_an_incident_goes_through() -> None:
    early = replace(PAGE, steps=(*PAGE.steps[:2], EscalationStep(timedelta(minutes=5), repeat=2)))
    for policy in (PAGE, HOUR, early, replace(early, steps=(*early.steps, PAGE.steps[1]))):
        taken, after, gone = snapshot(policy, ONCALL, NOW), 0.0, dict[timedelta, set[str]]()
        for step in filter(None, (next_step(taken, number) for number in range(9))):
            after += step.delay_s
            gone.setdefault(timedelta(seconds=after), set()).update(step.receivers)
        assert {at: set(names) for at, names in timetable(policy).items()} == gone
