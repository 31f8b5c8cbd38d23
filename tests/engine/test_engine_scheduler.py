"""The heartbeat of one of several processes: what another decided is not decided again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from outside_build import CONFIG, NOW, Bench, empty

from tocsin.domain.clock import ManualClock, to_minute
from tocsin.engine.conductor import Conductor
from tocsin.engine.house import LAST_MINUTE, House
from tocsin.engine.scheduler import Scheduler
from tocsin.engine.tick import Decided
from tocsin.spec.desired import load_text
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

MINUTE = timedelta(minutes=1)
PAGE = {
    "version": "4",
    "alerts": [
        {
            "status": "firing", "startsAt": "2026-11-20T11:59:00Z", "fingerprint": "a",
            "labels": {"alertname": "Down", "service": "chat", "severity": "page"},
        },
    ],
}  # fmt: skip


class Pair:
    """Two processes with one state database: `other` is only its conductor, `mine` beats too."""

    def __init__(self, path: Path, telemetry: Telemetry) -> None:
        self.clock, self.now_s = ManualClock(NOW), 0.0
        self.state = StateStore.open(path / "state.db")
        self.other, self.mine = self.joined("other"), self.joined("mine")
        self.house = House(
            telemetry, self.state, self.clock, load_text(CONFIG), lateness=timedelta(0),
            conductor=self.mine,
        )  # fmt: skip
        self.scheduler = Scheduler(
            self.house, interval=MINUTE, lateness=timedelta(0), wake=lambda: None
        )

    def joined(self, name: str) -> Conductor:
        return Conductor(
            self.state, self.clock, name=name, is_alone=False, monotonic=lambda: self.now_s
        )

    def others_minutes(self, number: int) -> None:
        """The other one takes over if it does not conduct, decides, and stops."""
        self.now_s += 60
        assert self.other.step()
        self.clock.advance(number * MINUTE)
        with self.other.deciding() as tx:
            tx.set_meta(LAST_MINUTE, to_minute(self.clock.now()) - 1)
        self.other.give_back()


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telemetry]:
    made = empty(tmp_path_factory.mktemp("telemetry"))
    yield made
    made.close()


@pytest.fixture
def pair(tmp_path: Path, telemetry: Telemetry) -> Iterator[Pair]:
    made = Pair(tmp_path, telemetry)
    yield made
    made.state.close()


@pytest.fixture
def decided(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """When `mine` decided about a minute, as it does so."""
    found: list[datetime] = []
    tick = pair.house.tick

    def watched(now: datetime) -> Decided:
        found.append(now)
        return tick(now)

    monkeypatch.setattr(pair.house, "tick", watched)
    return found


def test_who_takes_over_follows_first_also_when_that_fails_once(
    pair: Pair, decided: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pair.other.step()
    assert not pair.mine.step()
    pair.scheduler.beat()
    pair.others_minutes(5)
    assert pair.mine.step()

    def fails(*_: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(pair.house, "follow", fails)
        pair.scheduler.beat()
    assert pair.house.pulse.failures == 1
    pair.scheduler.beat()
    assert decided == []
    pair.clock.advance(MINUTE)
    pair.scheduler.beat()
    assert decided == [pair.clock.now()]


def test_who_was_paused_and_conducts_again_follows_what_was_decided_meanwhile(
    pair: Pair, decided: list[datetime]
) -> None:
    assert pair.mine.step()
    pair.clock.advance(MINUTE)
    pair.scheduler.beat()
    assert decided == [pair.clock.now()]
    pair.other.step()
    pair.others_minutes(5)
    pair.scheduler.beat()
    assert not pair.mine.conducts
    assert len(decided) == 2, "it finds out as it decides, and writes nothing"
    assert pair.mine.step()
    pair.scheduler.beat()
    assert len(decided) == 2
    pair.clock.advance(MINUTE)
    pair.scheduler.beat()
    assert decided[2:] == [pair.clock.now()]


def test_what_holds_until_a_time_ends_then_and_not_with_the_next_minute(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    bench = Bench(tmp_path, telemetry)
    woken: list[datetime] = []
    scheduler = Scheduler(
        bench.house, interval=MINUTE, lateness=timedelta(0),
        wake=lambda: woken.append(bench.clock.now()),
    )  # fmt: skip

    def at(second: float) -> str:
        """What the incident is like at so many seconds after twelve, after a look."""
        bench.clock.set(NOW + timedelta(seconds=second))
        scheduler.look()
        (incident,) = bench.incidents()
        return incident.suppressed_by.partition(":")[0] or incident.state.value

    bench.tell("alertmanager", PAGE)
    span = (NOW + timedelta(seconds=10), NOW + timedelta(seconds=20))
    bench.house.arranging.silence("silence", {"service": "chat"}, span, "ana", "a change", NOW)
    assert [at(9.9), at(10), at(19.9), at(20)] == ["triggered", "silence", "silence", "triggered"]
    bench.house.acknowledge(bench.incidents()[0].id, "ana")
    assert bench.state.acknowledgements() == [NOW + timedelta(hours=2, seconds=20)]
    assert [at(7_219.9), at(7_220), at(7_221)] == ["acknowledged", "triggered", "triggered"]
    assert woken == [NOW + timedelta(seconds=second) for second in (10, 20, 7_220)]
    bench.close()


def test_the_heartbeat_looks_between_two_beats(tmp_path: Path, telemetry: Telemetry) -> None:
    bench = Bench(tmp_path, telemetry)
    bench.tell("alertmanager", PAGE)
    bench.house.acknowledge(bench.incidents()[0].id, "ana")

    async def beats() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        scheduler = Scheduler(
            bench.house, interval=timedelta(hours=3), lateness=timedelta(0),
            wake=lambda: loop.call_soon_threadsafe(stop.set),
        )  # fmt: skip
        heart = asyncio.create_task(scheduler.run(stop))
        await asyncio.sleep(0.1)
        assert not stop.is_set()
        bench.later(hours=2)
        await asyncio.wait_for(heart, 10)

    asyncio.run(beats())
    assert bench.incidents()[0].state == "triggered"
    bench.close()


def test_a_minute_that_is_judged_late_brings_no_silence_back(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    bench = Bench(tmp_path, telemetry)
    scheduler = Scheduler(
        bench.house, interval=MINUTE, lateness=timedelta(0), wake=lambda: None
    )  # fmt: skip
    span = (NOW, NOW + timedelta(seconds=90))
    bench.house.arranging.silence("silence", {"service": "chat"}, span, "ana", "a change", NOW)
    bench.later(seconds=100)  # the heart is held up: by a lock, or a slow query
    bench.tell("alertmanager", PAGE)
    for _ in range(3):
        scheduler.beat()
        bench.later(minutes=1)
    (incident,) = bench.incidents()
    kinds = [each.kind for each in bench.state.entries_about(incident.id)]
    assert kinds == ["incident.opened"]
    bench.close()
