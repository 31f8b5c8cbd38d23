"""The courier keeps its promises when receivers, networks and other couriers do not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from delivery_build import T0, Scripted, World, incident

from tocsin.delivery.claiming import CourierLimits
from tocsin.delivery.effects import Persistence, guard_failure
from tocsin.delivery.limits import FAILURES_TO_OPEN, Breaker, Bucket
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Ambiguous, Delivered, Looked, Rejected, Retry
from tocsin.domain.clock import SystemClock
from tocsin.domain.errors import StoreError
from tocsin.domain.findings import ASIDE, EffectState, IncidentState, NewEffect
from tocsin.store.state import StateStore

LEASE = timedelta(seconds=30)


@pytest.fixture
def world() -> World:
    return World(fallbacks=("fallback",))


@pytest.fixture
def found(world: World) -> Any:
    return world.open(incident(), receivers=["primary"])


def take(store: StateStore, now: Any, worker: str, limit: int = 10) -> Any:
    return store.claim(now, lambda *_: True, worker=worker, lease=LEASE, limit=limit, lanes=(0, 9))


# --- at least once, under one key, by one worker --------------------------------------------------


def test_what_was_delivered_is_done_once_and_on_record(world: World, found: Any) -> None:
    report = world.drain()
    assert (report.delivered, report.by_receiver["primary"]) == (1, 1)
    assert world.drain().delivered == 0
    effect = world.effects(found)[f"{found.id}:0:primary:trigger"]
    assert (effect.state, effect.attempts, effect.last_outcome) == (
        EffectState.DONE,
        1,
        "delivered",
    )
    assert effect.remote_ref == {"ref": effect.key}
    assert [a.outcome for a in world.store.attempts(found.id)] == ["delivered"]
    assert world.kinds() == ["delivery.delivered"]
    assert world.store.verify_ledger() is None


def test_a_retry_uses_the_same_key_and_waits(world: World, found: Any) -> None:
    channel = world.receivers["primary"]
    channel.answers.extend([Retry("HTTP 503"), Ambiguous("timeout")])
    world.drain()
    effect = next(iter(world.effects(found).values()))
    assert effect.state is EffectState.READY
    assert T0 + timedelta(seconds=1) <= effect.due <= T0 + timedelta(seconds=2)
    world.advance(seconds=20, every=1)
    assert len({m.key for m in channel.seen}) == 1
    assert [a.outcome for a in world.store.attempts(found.id)] == [
        "retry",
        "ambiguous",
        "delivered",
    ]


def test_what_the_receiver_asks_for_is_waited(world: World, found: Any) -> None:
    world.receivers["primary"].answers.append(Retry("HTTP 429", timedelta(seconds=120)))
    world.drain()
    assert next(iter(world.effects(found).values())).due == T0 + timedelta(seconds=120)


def test_a_lapsed_lease_is_sent_again_under_the_same_key(world: World, found: Any) -> None:
    claimed = take(world.store, T0, "dead-worker")
    assert len(claimed) == 1
    world.clock.advance(LEASE - timedelta(seconds=1))
    assert world.drain().delivered == 0
    world.clock.advance(timedelta(seconds=1))
    assert world.drain().delivered == 1
    assert world.receivers["primary"].seen[0].key == claimed[0].effect.key
    assert [(a.worker, a.outcome) for a in world.store.attempts(found.id)] == [
        ("dead-worker", "ambiguous"),
        ("worker-1", "delivered"),
    ]


def test_a_zombie_with_an_old_fence_cannot_finish(world: World, found: Any) -> None:
    old = take(world.store, T0, "zombie")[0].effect
    new = take(world.store, T0 + LEASE, "successor")[0].effect
    assert new.fence == old.fence + 1
    with world.store.transaction() as tx:
        assert not tx.finish(old, EffectState.DONE, "delivered", reason="", now=T0 + LEASE)
    assert world.store.effects(found.id)[0].state is EffectState.LEASED
    with world.store.transaction() as tx:
        assert tx.finish(new, EffectState.DONE, "delivered", reason="", now=T0 + LEASE)
    with world.store.transaction() as tx:
        assert not tx.finish(new, EffectState.DONE, "delivered", reason="", now=T0 + LEASE)


def test_two_workers_never_both_hold_one_effect(shared: str) -> None:
    store = StateStore.open(shared)
    with store.transaction() as tx:
        for number in range(120):
            tx.add_effect(_page(number))
    taken: list[tuple[int, str]] = []

    def work(name: str) -> None:
        own = StateStore.open(shared)
        while claims := take(own, T0, name, limit=7):
            taken.extend((claim.effect.id, name) for claim in claims)
        own.close()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len({effect_id for effect_id, _ in taken}) == 120
    store.close()


def _page(number: int, **changes: Any) -> NewEffect:
    fields: dict[str, Any] = {
        "kind": "notify",
        "receiver": "primary",
        "incident_id": "",
        "action": "digest",
        "due": T0,
        "lane": 1,
        "payload": {"items": ["a"], "digest": "d"},
    }
    return NewEffect(key=f"k{number}", **{**fields, **changes})


KILLED = """
import asyncio, os, random, signal, sys
sys.path.insert(0, {tests!r})
from delivery_build import T0, Scripted
from tocsin.delivery.worker import Courier
from tocsin.domain.clock import ManualClock
from tocsin.store.state import StateStore
import httpx

class Deadly(Scripted):
    async def send(self, message, http):
        with open({seen!r}, "a") as file:
            file.write(message.key + "\\n")
            file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

store = StateStore.open({state!r})
courier = Courier(store, {{"primary": Deadly()}}, httpx.AsyncClient(), ManualClock(T0),
                  rng=random.Random(1))
asyncio.run(courier.drain(T0))
"""


def test_a_worker_killed_between_send_and_finish_loses_nothing(tmp_path: Path) -> None:
    state, seen = tmp_path / "state.db", tmp_path / "seen"
    world = World(StateStore.open(state))
    found = world.open(incident(), receivers=["primary"])
    script = KILLED.format(tests=str(Path(__file__).parent), seen=str(seen), state=str(state))
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode == -9
    key = f"{found.id}:0:primary:trigger"
    assert seen.read_text().split() == [key]
    assert world.effects(found)[key].state is EffectState.LEASED
    world.clock.advance(LEASE)
    assert world.drain().delivered == 1
    assert [m.key for m in world.receivers["primary"].seen] == [key]
    assert world.store.verify_ledger() is None


# --- order, and what is over ----------------------------------------------------------------------


def test_what_was_never_announced_is_not_resolved_either(world: World, found: Any) -> None:
    world.receivers["primary"].always = Retry("HTTP 503")
    world.drain()
    world.resolve(found.id)
    world.receivers["primary"].always = None
    world.advance(minutes=10)
    assert world.receivers["primary"].told == ["trigger"], "the refused try, and nothing more"
    assert world.states(found) == [EffectState.CANCELLED], "the end is not even planned"


def test_what_may_have_been_announced_is_resolved(world: World, found: Any) -> None:
    world.receivers["primary"].answers.extend([Ambiguous("reset"), Retry("HTTP 503")])
    world.advance(seconds=10, every=1)
    world.receivers["primary"].seen.clear()
    world = world
    world.resolve(found.id)
    world.advance(minutes=10)
    assert world.receivers["primary"].told[-1] == "resolve"


def test_nothing_is_sent_again_while_it_cannot_be_told_whether_it_arrived(
    world: World, found: Any
) -> None:
    looks: list[Looked] = [Retry("HTTP 429"), Ambiguous("HTTP 500"), Retry("HTTP 503")]

    class Lookable(Scripted):
        async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Looked:
            return looks.pop(0) if looks else Retry("HTTP 503")

    chat = world.receivers["primary"] = Lookable(is_idempotent=False)
    world.courier = world.new_courier("looking")
    chat.answers.append(Ambiguous("timeout"))
    world.advance(seconds=20, every=1)
    assert chat.told == ["trigger"]
    (first, *_, last) = world.store.attempts(found.id)
    assert (first.reason, last.reason) == (
        "timeout", "whether it arrived cannot be told now: HTTP 503",
    )  # fmt: skip
    world.advance(seconds=30, every=1)
    assert chat.told == ["trigger", "trigger"], "twice is better than never"


def test_an_ambiguous_page_that_waits_is_replaced_by_its_resolve(world: World, found: Any) -> None:
    world.receivers["primary"].answers.append(Ambiguous("reset"))
    world.drain()
    world.resolve(found.id)
    world.drain()
    assert world.receivers["primary"].told == ["trigger", "resolve"]


def test_a_resolve_never_overtakes_a_trigger_that_is_under_way(world: World, found: Any) -> None:
    take(world.store, T0, "slow-worker")
    world.resolve(found.id)
    assert world.drain().delivered == 0
    world.clock.advance(LEASE)
    world.drain()
    assert world.receivers["primary"].told == ["resolve"], "the lapsed trigger may have arrived"


def test_messages_to_one_receiver_about_one_incident_keep_their_order(
    world: World, found: Any
) -> None:
    world.receivers["primary"].answers.append(Retry("HTTP 503"))
    world.drain()
    world.add(world.effect("update", "primary", found))
    world.drain()
    assert world.receivers["primary"].told == ["trigger"], "the update waits for the trigger"
    world.advance(seconds=10, every=1)
    assert world.receivers["primary"].told == ["trigger", "trigger", "update"]


def test_updates_that_piled_up_are_told_as_one(world: World, found: Any) -> None:
    world.drain()
    for number in range(5):
        world.add(world.effect("update", "primary", found, key=f"u{number}"))
    world.drain()
    assert [m.key for m in world.receivers["primary"].seen][1:] == ["u4"]


def test_an_incident_that_came_back_is_not_called_resolved(world: World, found: Any) -> None:
    world.drain()
    world.resolve(found.id)
    world.change(found, state=IncidentState.TRIGGERED)
    world.drain()
    assert world.receivers["primary"].told == ["trigger"]


def test_an_acknowledgement_is_not_told_to_who_never_heard_of_it(world: World) -> None:
    found = world.open(incident(), receivers=["primary"])
    world.receivers["chat"].always = Retry("HTTP 503")
    world.add(world.effect("trigger", "chat", found, guard={"state": "triggered"}))
    world.drain()
    world.acknowledge(found.id)
    world.receivers["chat"].always = None
    world.advance(minutes=5)
    assert set(world.receivers["chat"].told) == {"trigger"}
    assert world.receivers["primary"].told == ["trigger", "acknowledge"]


@pytest.mark.parametrize(
    ("guard", "failure"),
    [
        ({}, ""),
        ({"state": "triggered", "episode": 1, "step": 2, "incident_version_max": 3}, ""),
        ({"state": ["open", "triggered"], "unacknowledged": True}, ""),
        ({"state": "acknowledged"}, "the incident is triggered, no longer acknowledged"),
        ({"episode": 2}, "the incident is at episode 1, no longer 2"),
        ({"step": 1}, "the incident is at step 2, no longer 1"),
        ({"incident_version_max": 2}, "the incident changed (version 3)"),
        ({"moon": "full"}, ""),
    ],
)
def test_a_guard_names_what_no_longer_holds(guard: dict[str, Any], failure: str) -> None:
    assert guard_failure(guard, incident(step=2, version=3)) == failure


def test_an_effect_of_an_unknown_incident_or_kind_ends_on_record(world: World) -> None:
    world.add(
        world.effect("trigger", "primary", incident(id="ghost-1")),
        _page(1, kind="teleport"),
    )
    world.drain()
    assert world.kinds() == ["delivery.cancelled", "delivery.dead"]
    assert world.store.effects("ghost-1")[0].reason == "there is no such incident"


# --- what cannot be delivered ---------------------------------------------------------------------


def test_a_page_that_is_refused_goes_to_the_fallback(world: World, found: Any) -> None:
    world.receivers["primary"].always = Rejected("HTTP 400: invalid event")
    report = world.drain()
    assert (report.dead, report.delivered) == (1, 1)
    sent = world.receivers["fallback"].seen[0]
    assert sent.action == "trigger"
    assert sent.note == "primary could not be reached (HTTP 400: invalid event)"
    assert "delivery.dead" in world.kinds()


def test_a_page_nobody_takes_for_15_minutes_goes_to_the_fallback(world: World, found: Any) -> None:
    world.receivers["primary"].always = Retry("HTTP 503")
    world.advance(minutes=14)
    assert world.receivers["fallback"].told == []
    world.advance(minutes=6)
    assert world.receivers["fallback"].told == ["trigger"]


def test_a_receiver_that_asks_for_too_long_a_wait_is_not_waited_for(
    world: World, found: Any
) -> None:
    world.receivers["primary"].always = Retry("HTTP 429", timedelta(hours=2))
    world.drain()
    assert world.receivers["fallback"].told == ["trigger"]


def test_a_dead_fallback_is_on_record(world: World, found: Any) -> None:
    world.receivers["primary"].always = Rejected("HTTP 403")
    world.receivers["fallback"].always = Rejected("HTTP 403")
    report = world.drain()
    assert report.dead == 2
    assert world.kinds() == ["delivery.dead", "delivery.dead"]


@pytest.mark.parametrize("hours", [1, 12])
def test_a_page_is_told_when_every_receiver_was_down_for_hours(
    world: World, found: Any, hours: int
) -> None:
    for name in ("primary", "fallback"):
        world.receivers[name].always = Retry("no connection")
    world.advance(minutes=60 * hours, every=60)
    tried = len(world.store.effects(found.id))
    assert tried <= 2 + 2 * 4 * hours, "one attempt afresh a quarter of an hour"
    for receiver in world.receivers.values():
        receiver.always = None
        receiver.seen.clear()
    world.advance(minutes=15, every=30)
    assert world.receivers["primary"].told == ["trigger"]
    assert len(world.receivers["fallback"].told) <= 1
    world.advance(minutes=60, every=60)
    assert world.receivers["primary"].told == ["trigger"]


def test_a_page_nobody_took_is_not_tried_again_once_somebody_has_the_incident(
    world: World, found: Any
) -> None:
    for name in ("primary", "fallback"):
        world.receivers[name].always = Rejected("HTTP 403")
    world.drain()
    world.acknowledge(found.id)
    for receiver in world.receivers.values():
        receiver.always = None
        receiver.seen.clear()
    world.advance(minutes=30, every=60)
    assert not world.receivers["primary"].told
    assert not world.receivers["fallback"].told


def test_a_page_its_fallback_took_is_not_sent_again(world: World, found: Any) -> None:
    world.receivers["primary"].always = Rejected("HTTP 403")
    world.drain()
    world.receivers["primary"].always = None
    world.receivers["primary"].seen.clear()
    world.advance(minutes=30, every=60)
    assert world.receivers["primary"].told == []
    assert world.receivers["fallback"].told == ["trigger"]


def test_what_can_wait_has_no_fallback(world: World) -> None:
    found = world.open(incident(tier=2), receivers=["primary"])
    world.receivers["primary"].always = Rejected("HTTP 403")
    assert world.drain().dead == 1
    assert world.receivers["fallback"].told == []
    assert world.states(found) == [EffectState.DEAD]


def test_an_unknown_receiver_is_a_page_to_the_fallback(world: World) -> None:
    found = world.open(incident(), receivers=["typo"])
    world.drain()
    assert (
        "no receiver 'typo' is configured"
        in world.effects(found)[f"{found.id}:0:typo:trigger"].reason
    )
    assert world.receivers["fallback"].told == ["trigger"]


def test_the_end_of_an_incident_is_told_for_hours(world: World, found: Any) -> None:
    world.drain()
    world.resolve(found.id)
    world.receivers["primary"].always = Retry("HTTP 503")
    world.advance(minutes=120)
    world.receivers["primary"].always = None
    world.advance(minutes=10)
    assert world.receivers["primary"].told[-1] == "resolve"
    assert EffectState.DEAD not in world.states(found)


def test_a_channel_with_a_defect_harms_nobody_else(world: World, found: Any) -> None:
    class Broken(Scripted):
        async def send(self, message: Any, http: Any) -> Any:
            raise RuntimeError("password=hunter2")

    world.receivers["primary"] = Broken()
    world.courier.use(world.receivers, ("fallback",))
    world.add(world.effect("trigger", "chat", found))
    with structlog.testing.capture_logs() as logs:
        world.drain()
    assert world.receivers["chat"].told == ["trigger"]
    attempt = next(a for a in world.store.attempts(found.id) if a.outcome == "ambiguous")
    assert attempt.reason == "the channel failed (RuntimeError)"
    assert "hunter2" not in str(logs) + str(world.store.ledger_entries())


# --- pages first ----------------------------------------------------------------------------------


def test_a_page_goes_before_digests_that_were_due_long_before() -> None:
    world = World(limits=CourierLimits(places=4, per_receiver=2))
    order: list[str] = []

    class Ordered(Scripted):
        async def send(self, message: Any, http: Any) -> Any:
            order.append(message.action)
            return Delivered()

    world.receivers["primary"] = Ordered()
    world.courier.use(world.receivers)
    world.add(*(_page(n, lane=3, due=T0 - timedelta(hours=1)) for n in range(40)))
    found = world.open(incident(), receivers=["primary"])
    assert world.drain().delivered == 41
    assert order[0] == "trigger"
    assert world.states(found) == [EffectState.DONE]


def test_a_page_does_not_wait_while_slow_digests_fill_their_places() -> None:
    async def story() -> None:
        release = asyncio.Event()

        class Slow(Scripted):
            async def send(self, message: Any, http: Any) -> Any:
                if message.action == "digest":
                    await release.wait()
                return await super().send(message, http)

        world = World(limits=CourierLimits(places=4, per_receiver=2, poll_s=0.01))
        world.receivers["primary"] = Slow()
        world.courier.use(world.receivers)
        world.add(*(_page(n, lane=3) for n in range(20)))
        stop = asyncio.Event()
        running = asyncio.create_task(world.courier.run(stop))
        await _until(lambda: world.store.counts()["effects"].get("leased", 0) >= 1)
        world.open(incident(), receivers=["primary", "chat"])
        world.courier.wake()
        await _until(lambda: len(world.receivers["primary"].seen) == 1)
        await _until(lambda: len(world.receivers["chat"].seen) == 1)
        assert world.receivers["primary"].told == ["trigger"]
        release.set()
        await _until(lambda: world.store.counts()["effects"] == {"done": 22})
        stop.set()
        await running

    asyncio.run(story())


async def _until(reached: Any) -> None:
    for _ in range(2_000):
        if reached():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize("offload", [False, True])
def test_the_server_loop_delivers_what_becomes_due_and_stops_cleanly(
    tmp_path: Path, offload: bool
) -> None:
    async def story() -> Counter[str]:
        world = World(StateStore.open(tmp_path / "state.db"))
        world.clock = SystemClock()  # type: ignore[assignment]
        world.courier = world.new_courier("live")
        world.courier._offload = offload
        stop = asyncio.Event()
        running = asyncio.create_task(world.courier.run(stop))
        await asyncio.sleep(0.01)
        for number in range(5):
            world.add(_page(number, due=world.clock.now()))
            world.courier.wake()
        await _until(lambda: world.courier.totals.delivered == 5)
        stop.set()
        await asyncio.wait_for(running, 5)
        world.store.close()
        return world.courier.totals.by_receiver

    assert asyncio.run(story()) == {"primary": 5}


def test_the_server_loop_outlives_a_store_that_fails() -> None:
    async def story() -> None:
        world = World(limits=CourierLimits(error_pause_s=0.01, poll_s=0.01))
        real, broken = world.store.next_due, [3]

        def next_due() -> Any:
            if broken[0]:
                broken[0] -= 1
                raise StoreError("the disk is full")
            return real()

        world.store.next_due = next_due  # type: ignore[method-assign]
        world.add(_page(1))
        stop = asyncio.Event()
        running = asyncio.create_task(world.courier.run(stop))
        await _until(lambda: world.courier.totals.delivered == 1)
        stop.set()
        await running

    with structlog.testing.capture_logs() as logs:
        asyncio.run(story())
    assert [e["error"] for e in logs if e["event"] == "delivery.claim_failed"] == [
        "the disk is full"
    ] * 3


def test_an_old_process_stops_claiming_after_a_newer_one_migrated(world: World) -> None:
    world.add(_page(1))
    world.store.set_meta("schema_epoch", 99)
    with pytest.raises(StoreError, match="upgrade this process"):
        world.drain()


# --- how fast a receiver is asked -----------------------------------------------------------------


def test_a_receiver_is_asked_no_faster_than_it_takes() -> None:
    world = World()
    world.receivers["slow"] = Scripted(rate_per_s=1.0)
    world.courier.use(world.receivers)
    world.add(*(_page(n, receiver="slow") for n in range(30)))
    assert world.drain().delivered == 10, "the burst"
    world.advance(seconds=5, every=1)
    assert len(world.receivers["slow"].seen) == 15
    world.advance(seconds=30, every=1)
    assert len(world.receivers["slow"].seen) == 30


def test_a_receiver_that_keeps_failing_is_left_alone_and_tried_again(world: World) -> None:
    world.receivers["primary"].always = Retry("HTTP 503")
    world.add(*(_page(n, lane=2) for n in range(50)))
    world.drain()
    tried = len(world.receivers["primary"].seen)
    assert tried <= FAILURES_TO_OPEN + 3
    world.drain()
    assert len(world.receivers["primary"].seen) == tried
    world.receivers["primary"].always = None
    world.advance(minutes=10, every=5)
    assert world.store.counts()["effects"] == {"done": 50}


def test_what_goes_another_way_opens_no_breaker_before_a_page(world: World) -> None:
    payload = {"digest": "status/public", "items": ["x"], "address": "a@example.org"}
    world.receivers["primary"].always = Retry("450 try later")
    world.add(
        *(
            NewEffect(f"mail {n}", "notify", "primary", "", "digest", T0, ASIDE, payload)
            for n in range(3 * FAILURES_TO_OPEN)
        )
    )
    world.drain()
    world.receivers["primary"].always = None
    world.open(incident(), receivers=["primary"])
    world.drain()
    assert "trigger" in world.receivers["primary"].told


def test_a_page_behind_an_open_breaker_still_goes_to_the_fallback(world: World) -> None:
    world.receivers["primary"].always = Retry("HTTP 503")
    world.add(*(_page(n, lane=2) for n in range(10)))
    world.drain()
    world.open(incident(), receivers=["primary"])
    world.advance(minutes=20)
    assert world.receivers["fallback"].told == ["trigger"]


def test_a_bucket_refills_with_time_and_a_breaker_closes_with_success() -> None:
    bucket = Bucket(2.0)
    assert bucket.available(T0) == 20
    for _ in range(20):
        bucket.take(T0)
    assert bucket.available(T0) == 0
    assert bucket.available(T0 + timedelta(seconds=3)) == 6
    assert bucket.available(T0 - timedelta(hours=1)) == 6, "a clock set back takes nothing away"
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(T0)
    assert breaker.allows(T0, 0) == 0
    later = T0 + timedelta(seconds=15)
    assert (breaker.allows(later, 0), breaker.allows(later, 1)) == (1, 0)
    breaker.failed(later)
    assert breaker.allows(later + timedelta(seconds=20), 0) == 0, "twice as long"
    breaker.succeeded()
    assert breaker.allows(later, 3) > 1


def test_pauses_grow_with_jitter_up_to_a_limit() -> None:
    import random

    persistence, rng = Persistence(), random.Random(7)
    pauses = [persistence.pause(n, None, rng).total_seconds() for n in range(1, 30)]
    assert 1 <= pauses[0] <= 2
    assert all(150 <= pause <= 300 for pause in pauses[10:])
    assert len(set(pauses[10:])) > 10


# --- digests --------------------------------------------------------------------------------------


def digest_effect(world: World, issue: int = 1) -> NewEffect:
    return NewEffect(
        key=f"digest:daily:{issue}",
        kind="digest",
        receiver="daily",
        incident_id="",
        action="trigger",
        due=world.clock.now(),
        lane=3,
        payload={"digest": "daily", "to": ["chat", "manager"]},
    )


def test_a_digest_tells_each_receiver_once_what_gathered(world: World) -> None:
    with world.store.transaction() as tx:
        for incident_id, text in (("a", "a began"), ("b", "b began"), ("a", "a is over")):
            tx.add_digest_item("daily", T0, incident_id, text)
        tx.add_effect(digest_effect(world))
    world.drain()
    for name in ("chat", "manager"):
        assert [m.items for m in world.receivers[name].seen] == [("a is over", "b began")]
    assert world.store.digest_items("daily") == []
    world.add(digest_effect(world, 2))
    world.drain()
    assert len(world.receivers["chat"].seen) == 1, "an issue without lines is not sent"
    assert world.kinds().count("digest.issued") == 2


def test_a_digest_that_one_receiver_refuses_still_reaches_the_other(world: World) -> None:
    world.receivers["chat"].answers.append(Retry("HTTP 503"))
    with world.store.transaction() as tx:
        tx.add_digest_item("daily", T0, "a", "a began")
        tx.add_effect(digest_effect(world))
    world.advance(seconds=10, every=1)
    assert [m.items for m in world.receivers["chat"].seen] == [("a began",)] * 2
    assert len(world.receivers["manager"].seen) == 1
