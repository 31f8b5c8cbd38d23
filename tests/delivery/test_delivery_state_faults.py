"""Faults of the state database and of who works on it: full disk, lost commits, races, silence."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog
from delivery_build import T0, Scripted, World, incident
from state_proxy import cutting
from test_delivery_channels import CASES
from test_delivery_worker import LEASE, _page, take

from tocsin.delivery.channel import Channel
from tocsin.delivery.claiming import CourierLimits
from tocsin.delivery.http import client
from tocsin.delivery.worker import Courier
from tocsin.domain.clock import SystemClock
from tocsin.domain.errors import StoreError
from tocsin.domain.findings import EffectState, LedgerEvent, NewEffect
from tocsin.store.state import StateStore

PLENTY = 2**31
IMPATIENT = CourierLimits(poll_s=0.02, error_pause_s=0.02, lease=timedelta(seconds=1))


async def deliver(store: StateStore, primary: Scripted, until: Callable[[], bool]) -> None:
    """Let a courier run against the wall clock until something is reached."""
    channels: Mapping[str, Channel] = {"primary": primary}
    courier = Courier(
        store, channels, httpx.AsyncClient(), SystemClock(), rng=random.Random(1),
        limits=IMPATIENT, offload=True,
    )  # fmt: skip
    stop = asyncio.Event()
    running = asyncio.create_task(courier.run(stop))
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(until):
            await asyncio.sleep(0.02)
    stop.set()
    await running


def write_pages(store: StateStore, count: int) -> set[str]:
    now = SystemClock().now()
    with store.transaction() as tx:
        for number in range(count):
            tx.add_effect(_page(number, due=now))
    return {f"k{number}" for number in range(count)}


def is_done(store: StateStore, count: int) -> bool:
    try:
        return store.counts()["effects"] == {"done": count}
    except StoreError:
        return False


def write_both(store: StateStore, effect: NewEffect, event: LedgerEvent) -> None:
    with store.transaction() as tx:
        tx.add_effect(effect)
        tx.append(event)


# --- a full disk ----------------------------------------------------------------------------------


@contextmanager
def disk() -> Iterator[dict[str, int]]:
    """How many pages every SQLite file may have: 1 is as many as it has now, as on a full disk."""
    room = {"pages": PLENTY}

    @sa.event.listens_for(sa.Engine, "begin")
    def limit(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {room['pages']}")

    try:
        yield room
    finally:
        sa.event.remove(sa.Engine, "begin", limit)


def test_a_transaction_that_a_full_disk_refuses_leaves_no_half(tmp_path: Path) -> None:
    with disk() as room:
        store = StateStore.open(tmp_path / "state.db")
        write_pages(store, 1)
        room["pages"] = 1
        filling = LedgerEvent(T0, "fill", "test", "x", "", {"text": "x" * 200_000})
        with pytest.raises(StoreError, match="is full") as caught:
            write_both(store, NewEffect("lost", "notify", "primary", "", "digest", T0, 1), filling)
        assert "xxx" not in str(caught.value), "no values in what is logged"
        assert store.effects_named(["lost"]) == []
        assert store.ledger_head().seq == 0
        store.close()


def test_a_disk_that_fills_up_while_pages_are_sent_loses_none(tmp_path: Path) -> None:
    """Nothing is claimed that cannot be written down; what was sent meanwhile keeps its key."""
    with disk() as room:
        store = StateStore.open(tmp_path / "state.db")
        with closing(sqlite3.connect(tmp_path / "state.db")) as plain:
            plain.execute("VACUUM")  # migrations left pages behind that would be used first
        keys = write_pages(store, 120)

        class Filling(Scripted):
            async def send(self, message: Any, http: httpx.AsyncClient) -> Any:
                if len(self.seen) >= 10:
                    room["pages"] = 1
                return await super().send(message, http)

        primary = Filling()
        with structlog.testing.capture_logs() as logs:
            asyncio.run(deliver(store, primary, lambda: len(logs) > 10))
        assert not is_done(store, 120)
        assert {each["event"] for each in logs} <= {"delivery.claim_failed", "delivery.lost_track"}
        room["pages"] = PLENTY
        asyncio.run(deliver(store, Scripted(seen=primary.seen), lambda: is_done(store, 120)))
        assert {each.key for each in primary.seen} == keys
        assert store.verify_ledger() is None
        store.close()


# --- a commit whose answer is lost ----------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.skipif(
    "TOCSIN_TEST_POSTGRES" not in os.environ, reason="TOCSIN_TEST_POSTGRES names no database"
)
def test_a_connection_that_is_cut_in_the_middle_of_a_commit_loses_and_doubles_nothing() -> None:
    """A failover: some commits never came, some were carried out and nobody said so."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "store"))
    from state_build import postgres_schema

    with postgres_schema() as url, cutting(url) as proxy:
        direct, through = StateStore.open(url), StateStore.open(proxy.url(url))
        primary = Scripted()
        keys = write_pages(direct, 60)
        proxy.cut = 0.3

        def is_over() -> bool:
            if proxy.before >= 5 and proxy.after >= 5:
                proxy.cut = 0.0
            return is_done(direct, 60)

        asyncio.run(deliver(through, primary, is_over))
        assert proxy.before >= 3
        assert proxy.after >= 3
        assert {each.key for each in primary.seen} == keys
        done = [e for e in direct.ledger_entries() if e.kind == "delivery.delivered"]
        assert Counter(e.data["key"] for e in done) == Counter(keys), "each is told to be done once"
        assert direct.verify_ledger() is None
        through.close()
        direct.close()


# --- two workers ----------------------------------------------------------------------------------


def test_two_workers_that_race_for_a_lapsed_lease_are_one(shared: str) -> None:
    store = StateStore.open(shared)
    with store.transaction() as tx:
        for number in range(30):
            tx.add_effect(_page(number))
    dead = {claim.effect.id: claim.effect for claim in take(store, T0, "dead", limit=30)}
    ready = threading.Barrier(3)
    taken: list[Any] = []

    def work(name: str) -> None:
        own = StateStore.open(shared)
        ready.wait()
        while claims := take(own, T0 + LEASE, name, limit=3):
            taken.extend(claims)
        own.close()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.effect.id for claim in taken) == sorted(dead)
    assert all(claim.effect.fence == dead[claim.effect.id].fence + 1 for claim in taken)
    assert all(claim.is_uncertain for claim in taken), "the dead one may have sent it"
    with store.transaction() as tx:
        for effect in dead.values():  # and if it was only slow, it finishes nothing any more
            assert not tx.finish(effect, EffectState.DONE, "delivered", reason="", now=T0 + LEASE)
    store.close()


# --- a receiver that is not there any more --------------------------------------------------------


def test_a_receiver_whose_connections_are_half_open_holds_up_nobody_else() -> None:
    """The kernel at the other end answers, and no process does: connected, and then nothing."""
    world = World(limits=CourierLimits(send_timeout_s=0.3), fallbacks=("fallback",))
    with socket.create_server(("127.0.0.1", 0), backlog=50) as deaf:
        case = CASES["pagerduty"].build(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        channels: Mapping[str, Channel] = {**world.receivers, "primary": case}
        world.courier.use(channels, ("fallback",))
        found = [
            world.open(incident(id=f"g{n}-1", group_key=f"g{n}"), receivers=["primary", "chat"])
            for n in range(4)
        ]

        async def told() -> None:
            async with client() as http:
                world.courier._http = http
                await world.courier.drain(T0)

        asyncio.run(told())
    assert len(world.receivers["chat"].seen) == 4
    for each in found:
        effects = {effect.receiver: effect for effect in world.store.effects(each.id)}
        assert effects["chat"].state is EffectState.DONE
        assert effects["primary"].last_outcome == "ambiguous"
        assert "no answer within" in effects["primary"].reason
    world.advance(minutes=20, every=30)
    assert len(world.receivers["fallback"].seen) == 4, "then somebody else is told"
