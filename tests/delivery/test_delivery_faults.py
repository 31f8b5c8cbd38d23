"""Faults of machines and networks, one test each; lives full of them: `test_delivery_machine`."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from delivery_build import POLICY, T0, Scripted, World, incident, message
from test_delivery_channels import CASES

from tocsin.delivery.channel import Channel
from tocsin.delivery.channels.webhook import Webhook, WebhookConfig
from tocsin.delivery.claiming import PAGES, CourierLimits
from tocsin.delivery.http import client
from tocsin.delivery.outcome import Outcome, Retry
from tocsin.delivery.worker import Courier, DrainReport
from tocsin.domain.clock import SystemClock
from tocsin.domain.errors import StoreError
from tocsin.domain.findings import EffectState, NewEffect
from tocsin.store.state import StateStore


def test_a_courier_that_was_paused_past_its_lease_sends_nothing() -> None:
    """SIGSTOP, a machine that slept: in between somebody acknowledged and another one took over."""
    world = World()
    found = world.open(incident(), receivers=["primary"])
    (claim,) = world.courier._claimer.claim(T0, PAGES, 1).claims
    world.clock.advance(timedelta(minutes=10))
    world.acknowledge(found.id)
    asyncio.run(world.courier._carry_out(claim, world.clock.now, DrainReport()))
    assert world.receivers["primary"].seen == []


def test_a_courier_killed_in_the_middle_of_a_digest_tells_each_line_once() -> None:
    class Deadly(Scripted):
        async def send(self, told: Any, http: httpx.AsyncClient) -> Outcome:
            raise KeyboardInterrupt

    world = World()
    with world.store.transaction() as tx:
        tx.add_digest_item("daily", T0, "a", "one")
        payload = {"digest": "daily", "to": ["chat", "manager"], "title": "Daily"}
        tx.add_effect(NewEffect("d1", "digest", "daily", "", "trigger", T0, 3, payload))
    well, world.receivers["chat"] = world.receivers["chat"], Deadly()
    world.courier = world.new_courier("worker-1")
    with pytest.raises(KeyboardInterrupt):
        world.drain()
    world.receivers["chat"] = well
    world.courier = world.new_courier("worker-2")
    world.advance(seconds=31, every=31)
    for name in ("chat", "manager"):
        keys = {each.key for each in world.receivers[name].seen}
        assert keys == {f"d1:{name}"}
        assert {each.items for each in world.receivers[name].seen} == {("one",)}


def test_receivers_that_are_exchanged_during_an_escalation_get_its_next_step() -> None:
    """A configuration was applied: the incident keeps its steps, messages take the new ways."""
    world = World()
    world.open()
    world.drain()
    old, new = world.receivers["secondary"], Scripted()
    changed: Mapping[str, Channel] = {**world.receivers, "secondary": new}
    world.courier.use(changed)
    world.advance(minutes=15)
    assert (old.told, new.told) == ([], ["trigger"])


def test_a_clock_that_leaps_ahead_tells_everybody_once_and_loses_nobody() -> None:
    world = World()
    found = world.open()
    world.drain()
    world.clock.advance(timedelta(hours=1))
    world.drain()
    world.drain()
    assert world.receivers["primary"].told == ["trigger"]
    assert world.receivers["secondary"].told == ["trigger"]
    assert found.policy == POLICY


def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    """It ran an hour ahead; what was timed by it comes when it was meant to."""
    world = World()
    ahead = T0 + timedelta(hours=1)
    world.clock.set(ahead)
    found = world.open()
    with world.store.transaction() as tx:
        tx.add_effect(NewEffect("d", "digest", "daily", "", "trigger", ahead, 3, {}))

    class Settable:
        at = ahead

        def now(self) -> datetime:
            return self.at

    clock = Settable()
    channels: Mapping[str, Channel] = world.receivers
    courier = Courier(world.store, channels, httpx.AsyncClient(), clock, rng=random.Random(1))

    class Unheard:
        """The first commit takes place, and its outcome is lost on the way back."""

        def __init__(self) -> None:
            self.lost = False

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        @contextmanager
        def transaction(self) -> Iterator[Any]:
            with world.store.transaction() as tx:
                yield tx
            if not self.lost:
                self.lost = True
                raise StoreError("the connection broke")

    async def story() -> None:
        await courier._mind_the_clock()
        clock.at = T0
        courier._outbox = Unheard()
        with pytest.raises(StoreError):
            await courier._mind_the_clock()
        await courier._mind_the_clock()
        await courier._mind_the_clock()
        (timer,) = (e for e in world.store.effects(found.id) if e.kind == "escalate")
        assert abs(timer.due - T0 - timedelta(minutes=15)) < timedelta(seconds=5), "moved once"
        await courier.drain(T0)
        assert world.receivers["primary"].told == ["trigger"]
        await courier.drain(T0 + timedelta(minutes=15))
        assert world.receivers["secondary"].told == ["trigger"]

    asyncio.run(story())
    (digest,) = world.store.effects("")
    assert digest.due == ahead, "eight in the morning is still eight in the morning"
    assert "delivery.clock_set_back" in world.kinds()


@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_a_copy_of_a_torn_write_ahead_log_opens_with_an_unbroken_ledger(
    share: float, tmp_path: Path
) -> None:
    """A power cut, or a backup of the files of a running server."""
    (tmp_path / "copy").mkdir()
    world = World(StateStore.open(tmp_path / "state.db"))
    for number in range(8):
        world.open(incident(id=f"g{number}-1", group_key=f"g{number}"), receivers=["primary"])
        world.drain()
    shutil.copy(tmp_path / "state.db", tmp_path / "copy" / "state.db")
    log = (tmp_path / "state.db-wal").read_bytes()
    (tmp_path / "copy" / "state.db-wal").write_bytes(log[: int(len(log) * share)])
    copy = World(StateStore.open(tmp_path / "copy" / "state.db"))
    assert copy.store.verify_ledger() is None
    kept = copy.store.list_incidents(100)
    for each in kept:
        assert [e.key for e in copy.store.effects(each.id)] == [f"{each.id}:0:primary:trigger"]
    copy.advance(minutes=1)
    assert not copy.store.list_effects(100, EffectState.READY)
    assert len(kept) == 8 or share < 1


def test_a_receiver_that_answers_a_byte_at_a_time_is_given_up() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def told() -> None:
        server = await asyncio.start_server(dribble, "127.0.0.1", 0)
        world = World(limits=CourierLimits(send_timeout_s=0.3))
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        case = CASES["pagerduty"]
        channels: Mapping[str, Channel] = {"primary": case.build(url)}
        world.courier.use(channels)
        found = world.open(incident(), receivers=["primary"])
        async with client() as http:
            world.courier._http = http
            await world.courier.drain(T0)
        (effect,) = world.store.effects(found.id)
        assert effect.last_outcome == "ambiguous"
        assert "no answer within" in effect.reason
        server.close()

    asyncio.run(told())


def expired(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that was good until last year, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(T0 - timedelta(days=800))
        .not_valid_after(T0 - timedelta(days=400))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "c.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "k.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder / "c.pem", folder / "k.pem"


def test_a_certificate_that_has_expired_and_a_name_nobody_knows_took_nothing(
    tmp_path: Path,
) -> None:
    certificate, key = expired(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def told() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        async with client() as http:
            target = CASES["pagerduty"].build(f"https://127.0.0.1:{port}")
            assert isinstance(await target.send(message(), http), Retry)
            config = WebhookConfig(
                "https://no-such-host.invalid/",
                CASES["webhook"].settings("https://x")["secret"],
            )  # type: ignore[arg-type]
            assert isinstance(await Webhook(config).send(message(), http), Retry)
        server.close()

    asyncio.run(told())


@pytest.mark.postgres
@pytest.mark.skipif(
    "TOCSIN_TEST_POSTGRES" not in os.environ, reason="TOCSIN_TEST_POSTGRES names no database"
)
def test_a_database_that_drops_every_connection_again_and_again_loses_no_page() -> None:
    """A restart or a failover, in the middle of claims and of what is written after a send."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "store"))
    from state_build import postgres_schema

    with postgres_schema() as url:
        store, limits = StateStore.open(url), CourierLimits(poll_s=0.02, error_pause_s=0.05,
                                                            lease=timedelta(seconds=1))  # fmt: skip
        primary = Scripted()
        channels: Mapping[str, Channel] = {"primary": primary}
        courier = Courier(store, channels, httpx.AsyncClient(), SystemClock(),
                          rng=random.Random(1), limits=limits, offload=True)  # fmt: skip
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        now = SystemClock().now()
        with store.transaction() as tx:
            for number in range(150):
                tx.add_effect(NewEffect(f"k{number}", "notify", "primary", "", "digest", now, 1,
                                        {"items": ["x"], "digest": "d"}))  # fmt: skip

        async def run() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(courier.run(stop))
            cut = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                          "WHERE pid <> pg_backend_pid() AND query LIKE '%effect%'")  # fmt: skip
            for round_ in range(400):
                await asyncio.sleep(0.05)
                if round_ < 40:
                    with admin.connect() as connection:
                        connection.execute(cut)
                elif len({each.key for each in primary.seen}) == 150 and not busy():
                    break
            stop.set()
            await running

        def busy() -> bool:
            return bool({"ready", "leased"} & store.counts()["effects"].keys())

        asyncio.run(run())
        assert {each.key for each in primary.seen} == {f"k{n}" for n in range(150)}
        assert store.counts()["effects"] == {"done": 150}
        assert store.verify_ledger() is None
        store.close()
        admin.dispose()
