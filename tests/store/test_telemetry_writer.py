"""Acknowledged means on disk: groups, rotation, limits, repeats."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from telemetry_build import BATCHES, batch, clock

from tocsin.domain.errors import IntakeError
from tocsin.store.digests import DigestMemory
from tocsin.store.frames import scan
from tocsin.store.segments import Limits, SegmentFile, SegmentWriter, next_epoch
from tocsin.store.telemetry import CALL_ROWS, CHANGE_ROWS

RELAXED = Limits(segment_age_s=60, min_free_bytes=0)


class World:
    """A writer in a directory of its own, and what it handed over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = clock()
        self.ready: list[tuple[SegmentFile, int]] = []
        self.writers: list[SegmentWriter] = []

    def writer(self, limits: Limits = RELAXED) -> SegmentWriter:
        digests = DigestMemory(self.directory / "digests.journal", self.clock)
        kinds = {kind.name: kind for kind in (BATCHES, CHANGE_ROWS, CALL_ROWS)}
        made = SegmentWriter(
            self.directory, kinds, digests, lambda file, size: self.ready.append((file, size)),
            epoch=next_epoch(self.directory), limits=limits,
        )  # fmt: skip
        self.writers.append(made)
        return made

    def frames(self) -> int:
        return sum(
            len(list(scan(BATCHES.format, path.read_bytes())))
            for path in self.directory.glob("*-batches*")
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for writer in made.writers:
        writer.close()


def count_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    real = os.fdatasync

    def spy(descriptor: int) -> None:
        calls.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", spy)
    return calls


def test_many_callers_share_one_sync_and_all_are_on_disk_when_they_return(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = count_syncs(monkeypatch)
    writer = world.writer(Limits(segment_age_s=60, linger_s=0.05, min_free_bytes=0))

    async def many() -> None:
        await asyncio.gather(
            *(writer.append("batches", [batch(range(i, i + 3))]) for i in range(200))
        )

    asyncio.run(many())
    assert len(syncs) <= 3
    assert world.frames() == 200
    assert writer.appended == 200


def test_the_record_is_synced_before_the_caller_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = count_syncs(monkeypatch)
    writer = world.writer()
    for count in range(1, 4):
        writer.append_now(BATCHES, [batch(range(count))])
        assert len(syncs) == count
        assert world.frames() == count


def test_a_segment_is_named_by_start_number_kind_and_care(world: World) -> None:
    writer = world.writer()
    writer.append_now(BATCHES, [batch(range(1))])
    writer.append_now(BATCHES, [batch(range(1))], careful=True)
    names = sorted(path.name for path in world.directory.glob("*.open"))
    assert names == ["0000000100000001-batches.open", "0000000100000002-batches-careful.open"]
    writer.rotate()
    assert [(f.seg, f.kind, f.careful, f.is_ready) for f, _ in world.ready] == [
        ((1 << 32) + 1, "batches", False, True),
        ((1 << 32) + 2, "batches", True, True),
    ]
    assert all(SegmentFile.parse(file.path) == file for file, _ in world.ready)


def test_numbers_are_never_used_twice_over_restarts(world: World) -> None:
    for _ in range(3):
        writer = world.writer()
        writer.append_now(BATCHES, [batch(range(1))])
        writer.close()
    numbers = [file.seg for file, _ in world.ready]
    assert numbers == [(n << 32) + 1 for n in (1, 2, 3)]


def test_a_segment_is_closed_by_size_and_by_age(world: World) -> None:
    writer = world.writer(Limits(segment_bytes=1000, segment_age_s=0.05, min_free_bytes=0))
    for _ in range(5):
        writer.append_now(BATCHES, [batch(range(20))])
    waited = threading.Event()
    for _ in range(100):
        if not list(world.directory.glob("*.open")):
            break
        waited.wait(0.02)
    assert len(world.ready) >= 2
    assert sum(size for _, size in world.ready) == sum(
        f.path.stat().st_size for f, _ in world.ready
    )
    assert not list(world.directory.glob("*.open"))


def test_arrow_streams_get_a_segment_each(world: World) -> None:
    writer = world.writer()
    writer.append_now(CALL_ROWS, [b"one"])
    writer.append_now(CALL_ROWS, [b"two"])
    writer.rotate()
    assert [file.path.read_bytes() for file, _ in world.ready] == [b"one", b"two"]


def test_too_much_backlog_is_refused_with_a_time_to_come_back(world: World) -> None:
    writer = world.writer(Limits(segment_age_s=60, backlog_bytes=500, min_free_bytes=0))
    writer.append_now(BATCHES, [batch(range(10))])
    with pytest.raises(IntakeError) as refused:
        writer.append_now(BATCHES, [batch(range(30))])
    assert refused.value.status == 429
    assert refused.value.retry_after_s
    assert world.frames() == 1
    writer.add_backlog(-writer.backlog_bytes)
    writer.append_now(BATCHES, [batch(range(30))])
    assert world.frames() == 2


def test_a_single_record_larger_than_the_backlog_still_gets_through(world: World) -> None:
    writer = world.writer(Limits(segment_age_s=60, backlog_bytes=10, min_free_bytes=0))
    writer.append_now(BATCHES, [batch(range(10))])
    assert world.frames() == 1


def test_a_nearly_full_disk_is_refused_before_it_is_full(world: World) -> None:
    writer = world.writer(Limits(min_free_bytes=1 << 60))
    with pytest.raises(IntakeError, match="MB are free") as refused:
        writer.append_now(BATCHES, [batch(range(10))])
    assert refused.value.status == 503
    assert writer.backlog_bytes == 0
    assert not list(world.directory.glob("*.open"))


def test_a_failed_sync_leaves_nothing_of_its_group_and_the_writer_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = world.writer()
    writer.append_now(BATCHES, [batch(range(10))])
    real = os.fdatasync

    def fail(descriptor: int) -> None:
        monkeypatch.setattr(os, "fdatasync", real)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(IntakeError, match="No space left") as refused:
        writer.append_now(BATCHES, [batch(range(10))], digest=b"d" * 16)
    assert refused.value.status == 503
    assert world.frames() == 1
    assert not writer.seen(b"d" * 16)
    assert writer.append_now(BATCHES, [batch(range(10))], digest=b"d" * 16)
    assert world.frames() == 2


def test_a_repeat_is_recognised_for_fifteen_minutes(world: World) -> None:
    writer = world.writer()
    digest = b"x" * 16
    assert not writer.seen(digest)
    assert writer.append_now(BATCHES, [batch(range(3))], digest=digest)
    assert writer.seen(digest)
    world.clock.advance(timedelta(minutes=14))
    assert not writer.append_now(BATCHES, [batch(range(3))], digest=digest)
    assert world.frames() == 1
    world.clock.advance(timedelta(minutes=2))
    assert writer.append_now(BATCHES, [batch(range(3))], digest=digest)
    assert world.frames() == 2


def test_twins_in_flight_are_written_once_and_both_wait_for_the_disk(world: World) -> None:
    writer = world.writer(Limits(segment_age_s=60, linger_s=0.05, min_free_bytes=0))

    async def twins() -> list[bool]:
        return await asyncio.gather(
            *(writer.append("batches", [batch(range(3))], digest=b"t" * 16) for _ in range(5))
        )

    assert sorted(asyncio.run(twins())) == [False] * 4 + [True]
    assert world.frames() == 1


def test_a_caller_that_goes_away_does_not_undo_the_write(world: World) -> None:
    writer = world.writer(Limits(segment_age_s=60, linger_s=0.05, min_free_bytes=0))

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.append("batches", [batch(range(3))]), 0.001)

    asyncio.run(impatient())
    writer.rotate()
    assert world.frames() == 1


def test_after_closing_records_are_refused_not_lost(world: World) -> None:
    writer = world.writer()
    writer.close()
    with pytest.raises(IntakeError, match="shutting down"):
        writer.append_now(BATCHES, [batch(range(3))])


def test_the_journal_of_digests_survives_a_torn_tail_and_stays_small(tmp_path: Path) -> None:
    path, now = tmp_path / "journal", clock()
    memory = DigestMemory(path, now, most=10)
    for n in range(100):
        digest = n.to_bytes(16, "big")
        memory.add([digest])
        memory.journal([digest])
    assert path.stat().st_size <= 24 * 22
    path.write_bytes(path.read_bytes() + b"torn")
    again = DigestMemory(path, now, most=10)
    assert [n for n in range(100) if n.to_bytes(16, "big") in again] == list(range(90, 100))
    assert path.stat().st_size == 24 * 10
    now.advance(timedelta(minutes=16))
    assert (99).to_bytes(16, "big") not in again
    assert (99).to_bytes(16, "big") not in DigestMemory(path, now, most=10)


def test_a_loader_that_falls_behind_gets_fewer_segments_and_then_more_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("tocsin.store.segments.monotonic_s", lambda: now[0])
    writer = world.writer(Limits(segment_age_s=0.1, min_free_bytes=0))

    def closes_after(ages: float) -> bool:
        """Whether a segment is closed that old; the writer looks every quarter of an age."""
        ready, was = len(world.ready), now[0]
        if not list(world.directory.glob("*.open")):
            writer.append_now(BATCHES, [batch(range(1))])
        now[0] = was + ages * 0.1
        for _ in range(8):
            threading.Event().wait(0.025)
            if len(world.ready) > ready:
                return True
        return False

    assert all(closes_after(9) for _ in range(5))
    assert not closes_after(3.5)  # five wait, two of them are being loaded
    assert closes_after(1)
    for _, size in world.ready:
        writer.add_backlog(-size, -1)
    assert writer.backlog_bytes == 0
    assert closes_after(1.5)
