"""Nobody who should know stays in the dark, and nobody is told who need not be: a story each."""

from __future__ import annotations

from datetime import timedelta

import pytest
from delivery_build import POLICY, T0, World

from tocsin.delivery.escalation import step_of
from tocsin.domain.findings import EffectState


@pytest.fixture
def world() -> World:
    return World()


def test_unacknowledged_page_reaches_secondary_after_15_minutes(world: World) -> None:
    found = world.open()
    world.drain()
    assert world.receivers["primary"].told == ["trigger"]

    world.advance(minutes=14)
    assert world.receivers["secondary"].told == []

    world.advance(minutes=1)
    assert world.receivers["secondary"].told == ["trigger"]
    assert world.receivers["manager"].told == ["trigger"]
    assert world.receivers["secondary"].seen[0].who == ("bo",)
    assert world.store.incident(found.id).step == 2  # type: ignore[union-attr]
    assert "incident.escalated" in world.kinds()


def test_acknowledged_page_is_not_escalated(world: World) -> None:
    found = world.open()
    world.advance(minutes=14)
    world.acknowledge(found.id)
    world.advance(minutes=60)
    assert world.receivers["secondary"].told == []
    assert world.receivers["primary"].told == ["trigger", "acknowledge"]


def test_acknowledgement_wins_even_when_the_timer_is_due_already(world: World) -> None:
    found = world.open()
    world.drain()
    world.clock.advance(timedelta(minutes=15))
    world.acknowledge(found.id)
    world.drain()
    assert world.receivers["secondary"].told == []


def test_a_page_that_waits_for_a_retry_is_cancelled_by_the_acknowledgement(world: World) -> None:
    from tocsin.delivery.outcome import Retry

    found = world.open()
    world.drain()
    world.receivers["secondary"].always = Retry("HTTP 503")
    world.advance(minutes=15)
    world.acknowledge(found.id)
    world.receivers["secondary"].always = None
    world.advance(minutes=5)
    assert set(world.receivers["secondary"].told) == {"trigger"}
    last = [e for e in world.store.effects(found.id) if e.receiver == "secondary"]
    assert {e.state for e in last} == {EffectState.CANCELLED}


def test_a_policy_repeats_as_often_as_it_says_and_then_stops(world: World) -> None:
    found = world.open()
    world.drain()
    world.advance(minutes=240)
    assert world.receivers["primary"].told == ["trigger"] * 3
    assert world.receivers["secondary"].told == ["trigger"] * 3
    pages = [m.at - T0 for m in world.receivers["secondary"].seen]
    assert pages == [timedelta(minutes=m) for m in (15, 45, 75)]
    assert EffectState.READY not in world.states(found)


def test_after_an_outage_of_ours_people_get_their_time_back(world: World) -> None:
    world.open()
    world.drain()
    world.clock.advance(timedelta(hours=3))
    world.drain()
    assert world.receivers["secondary"].told == ["trigger"]
    assert world.receivers["primary"].told == ["trigger"], "the next round is not made up at once"
    world.advance(minutes=15)
    assert world.receivers["primary"].told == ["trigger", "trigger"]


def test_a_resolved_incident_is_not_escalated(world: World) -> None:
    found = world.open()
    world.drain()
    world.resolve(found.id)
    world.advance(minutes=60)
    assert world.receivers["primary"].told == ["trigger", "resolve"]
    assert world.receivers["secondary"].told == []


def test_a_timer_of_an_earlier_round_does_nothing(world: World) -> None:
    found = world.open()
    world.drain()
    world.change(found, step=5)
    world.advance(minutes=20)
    assert world.receivers["secondary"].told == []
    timer = next(e for e in world.store.effects(found.id) if e.kind == "escalate")
    assert timer.state is EffectState.CANCELLED
    assert "step 5" in timer.reason


def test_an_incident_triggered_afresh_runs_the_same_steps_again(world: World) -> None:
    found = world.open()
    world.drain()
    world.advance(minutes=15)
    again = world.change(found, step=1)
    from tocsin.delivery.escalation import escalation

    timer = escalation(again, world.clock.now())
    assert timer is not None
    with world.store.transaction() as tx:
        tx.cancel_effects(found.id, reason="triggered afresh", kinds=("escalate",))
        tx.add_effect(timer)
    world.advance(minutes=15)
    assert world.receivers["secondary"].told == ["trigger", "trigger"]


def test_steps_are_numbered_through_all_repetitions() -> None:
    found = [step_of(POLICY, number) for number in range(7)]
    assert [step.after.total_seconds() if step else None for step in found] == [
        0, 900, 1800, 2700, 3600, 4500, None,
    ]  # fmt: skip
    assert step_of(None, 0) is None
    assert step_of({"steps": [{"after_s": 5, "repeat": 3}]}, 0) is None
