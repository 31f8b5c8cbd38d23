"""What goes wrong on the way: damaged files, failing disks, a failing engine. Nothing is lost."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from telemetry_build import (
    BATCHES,
    FOREVER,
    MINUTE,
    NOW,
    assert_rollups_equal_raw,
    batch,
    clock,
    rows_of,
)

from tocsin.domain.clock import ManualClock
from tocsin.domain.errors import IntakeError, StoreError
from tocsin.store import digests, loader
from tocsin.store.clickhouse import ClickHouse, EngineError
from tocsin.store.digests import DigestMemory
from tocsin.store.frames import encode, scan
from tocsin.store.kinds import Format
from tocsin.store.owner import Owner
from tocsin.store.quarantine import Quarantine
from tocsin.store.segments import Limits, SegmentFile, next_epoch
from tocsin.store.telemetry import CHANGE_ROWS, Telemetry

LIMITS = Limits(segment_age_s=60, min_free_bytes=0)
FULL = OSError(errno.ENOSPC, "No space left on device")
DAY = 24 * 60


def open_store(path: Path) -> Telemetry:
    return Telemetry.open(path, clock(), kinds=[BATCHES], limits=LIMITS, retention=FOREVER)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Telemetry]:
    with open_store(tmp_path) as made:
        yield made


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A data directory with tables in it."""
    with open_store(tmp_path):
        pass
    return tmp_path


def numbers(store: Telemetry) -> list[int]:
    return [row[0] for row in rows_of(store, "SELECT duration_us FROM tocsin.calls ORDER BY 1")]


def leave(path: Path, seg: int, *records: bytes, state: str = "ready") -> Path:
    """A segment of a former process."""
    file = SegmentFile.named(path / "wal", seg, BATCHES.name, careful=False, state=state).path
    file.write_bytes(b"".join(b"".join(encode(BATCHES.format, [each])) for each in records))
    return file


# --- damaged files ---

PROTOBUF_RECORDS = [batch(range(n, n + 3)) for n in range(0, 15, 3)]
JSON_RECORDS = [b'{"title":"%d","n":1}\n{"title":"%d"}' % (n, n + 1) for n in range(0, 10, 2)]
LAYOUTS = pytest.mark.parametrize(
    ("form", "records"), [("Protobuf", PROTOBUF_RECORDS), ("JSONEachRow", JSON_RECORDS)]
)


def framed(form: Format, records: list[bytes]) -> list[bytes]:
    return [
        b"".join(encode(form, [record], bytes([n]) * 16)) for n, record in enumerate(records, 1)
    ]


def whole(form: Format, data: bytes) -> list[bytes]:
    return [data[f.start : f.stop] for f in scan(form, data) if f.whole]


@LAYOUTS
def test_a_file_cut_at_any_byte_keeps_every_whole_frame(form: Format, records: list[bytes]) -> None:
    frames = framed(form, records)
    ends = [sum(map(len, frames[:n])) for n in range(len(frames) + 1)]
    data = b"".join(frames)
    for cut in range(len(data) + 1):
        complete = sum(end <= cut for end in ends) - 1
        for tail in (b"", b"\0" * 200, bytes(random.Random(cut).randbytes(100))):
            if tail and cut in ends[1:]:
                continue  # garbage right behind a whole frame is looked at below
            assert whole(form, data[:cut] + tail) == frames[:complete]


@LAYOUTS
def test_what_stands_behind_the_last_frame_costs_nothing(
    form: Format, records: list[bytes]
) -> None:
    frames = framed(form, records)
    for tail in (b"\0" * 4096, b"\n\n", b"\xad\x06" * 50, b'{"a":1}', os.urandom(300)):
        assert whole(form, b"".join(frames) + tail) == frames


@LAYOUTS
def test_a_flipped_bit_costs_the_frame_it_is_in_and_no_other(
    form: Format, records: list[bytes]
) -> None:
    frames = framed(form, records)
    data = b"".join(frames)
    starts = [sum(map(len, frames[:n])) for n in range(len(frames))]
    for at in range(len(data)):
        hit = sum(start <= at for start in starts) - 1
        others = frames[:hit] + frames[hit + 1 :]
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            found = whole(form, bytes(damaged))
            # A digest is not covered by the checksum: such a frame is kept, under another digest.
            assert [frame for frame in found if frame in others] == others


def test_a_damaged_frame_in_the_middle_of_an_open_segment_costs_only_itself(made: Path) -> None:
    records = [batch(range(n, n + 50)) for n in range(0, 200, 50)]
    path = leave(made, 9, *records, state="open")
    data = bytearray(path.read_bytes())
    data[len(b"".join(encode("Protobuf", [records[0]])))] ^= 0x40  # the length of the second
    path.write_bytes(data)
    with open_store(made) as store:
        assert numbers(store) == [*range(50), *range(100, 200)]
        assert_rollups_equal_raw(store)
    assert (made / "quarantine" / f"{9:016x}-batches.torn").stat().st_size > 100


@pytest.mark.parametrize("text", ["", "x1", "\0\0\0\0"])
def test_an_unreadable_count_of_starts_does_not_reuse_numbers(made: Path, text: str) -> None:
    with open_store(made) as store:
        store.writer.append_now("batches", [batch(range(10))])
    leave(made, 7 << 32 | 5, batch(range(10, 20)))
    (made / "wal" / "epoch").write_text(text)
    with open_store(made) as store:
        store.writer.append_now("batches", [batch(range(20, 30))])
        store.flush()
        assert rows_of(store, "SELECT uniq(seg), max(seg) FROM tocsin.calls") == [
            (3, (8 << 32) + 1)
        ]
        assert numbers(store) == list(range(30))


def test_a_leftover_that_cannot_be_read_does_not_keep_the_others_out(made: Path) -> None:
    """A link to itself: no permission and a bad sector look the same to whoever opens it."""
    leave(made, 7, batch(range(10)))
    broken = made / "wal" / f"{8:016x}-batches.ready"
    broken.symlink_to(broken)
    leave(made, 9, batch(range(10, 20)))
    with open_store(made) as store:
        assert numbers(store) == list(range(20))
        assert store.stats().loader.waiting_segments == 1
        store.writer.append_now("batches", [batch(range(20, 30))])
        store.writer.rotate()
        wait_until(lambda: len(numbers(store)) == 30)
        assert "symbolic links" in store.stats().loader.last_error
        broken.unlink()
        leave(made, 8, batch(range(30, 40)))
        store.flush()
        assert numbers(store) == list(range(40))
        assert_rollups_equal_raw(store)


def wait_until(true: Any) -> None:
    pause = threading.Event()
    for _ in range(600):
        if true():
            return
        pause.wait(0.05)
    raise AssertionError("it never came true")


# --- the memory of digests ---


def test_a_failed_append_to_the_journal_leaves_no_half_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "journal", clock()
    memory = DigestMemory(path, now)
    memory.journal([b"a" * 16])
    real = digests._write

    def fill_up(file: Any, data: bytes) -> None:
        real(file, data[:10])
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(digests, "_write", fill_up)
        with pytest.raises(OSError, match="No space"):
            memory.journal([b"b" * 16])
    memory.journal([b"c" * 16])
    again = DigestMemory(path, now)
    assert [each * 16 in again for each in (b"a", b"b", b"c")] == [True, False, True]


def test_a_full_disk_does_not_keep_the_memory_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "journal", clock()
    DigestMemory(path, now).journal([b"a" * 16])
    path.write_bytes(path.read_bytes() + b"torn")

    def refuse(*_: object) -> None:
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(digests, "_write", refuse)
        memory = DigestMemory(path, now)
    memory.journal([b"b" * 16])
    again = DigestMemory(path, now)
    assert [each * 16 in again for each in (b"a", b"b")] == [True, True]


def test_a_clock_that_is_set_back_over_a_restart_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    DigestMemory(path, ManualClock(NOW + timedelta(days=1))).journal([b"a" * 16])
    now = clock()
    memory = DigestMemory(path, now)
    assert b"a" * 16 in memory
    now.advance(timedelta(minutes=16))
    assert b"a" * 16 not in memory


# --- the disk while running ---


def test_a_segment_that_cannot_be_closed_is_closed_later(
    store: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.writer.append_now("batches", [batch(range(10))])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(FULL))
        store.writer.rotate()
        assert numbers(store) == []
    store.flush()
    assert numbers(store) == list(range(10))
    assert store.stats().backlog_bytes == 0


def test_a_refused_record_that_cannot_be_cut_off_is_not_loaded(
    store: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.writer.append_now("batches", [batch(range(10))])

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        patched.setattr(os, "ftruncate", fail)
        with pytest.raises(IntakeError, match="Input/output error"):
            store.writer.append_now("batches", [batch(range(10, 20))], digest=b"d" * 16)
    assert store.writer.append_now("batches", [batch(range(10, 20))], digest=b"d" * 16)
    store.flush()
    assert numbers(store) == list(range(20))


def test_loaded_segments_are_deleted_when_the_journal_can_be_written_again(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "SYNC_EVERY_S", 0.02)
    failures = []
    real = DigestMemory.journal

    def full_at_first(memory: DigestMemory, found: list[bytes]) -> None:
        if len(failures) < 3:
            failures.append(1)
            raise FULL
        real(memory, found)

    with open_store(made) as store:
        monkeypatch.setattr(DigestMemory, "journal", full_at_first)
        store.writer.append_now("batches", [batch(range(10))], digest=b"d" * 16)
        store.flush()
        wait_until(lambda: not list((made / "wal").glob("*.ready")))
    assert len(failures) == 3


def test_two_owners_of_one_directory_are_refused_whatever_the_engine(tmp_path: Path) -> None:
    first = Owner(tmp_path)
    with pytest.raises(StoreError, match="another Tocsin process uses"):
        Owner(tmp_path)
    first.close()
    Owner(tmp_path).close()


def test_the_count_of_starts_is_never_taken_back(tmp_path: Path) -> None:
    assert [next_epoch(tmp_path) for _ in range(3)] == [1, 2, 3]
    (tmp_path / "epoch").unlink()
    assert next_epoch(tmp_path, lambda: 9) == 10


# --- the engine ---


def test_calls_of_more_days_than_the_engine_likes_do_not_stop_the_loader(store: Telemetry) -> None:
    for day in range(150):
        store.writer.append_now("batches", [batch(range(day, day + 1), minute=MINUTE - day * DAY)])
    store.flush()
    assert numbers(store) == list(range(150))
    assert store.stats().loader.failures == 0


def test_a_rollup_that_fails_is_made_good_and_the_raw_rows_are_there_once(
    store: Telemetry,
) -> None:
    """The insert gets as far as one view lets it: raw rows and one rollup may be there already."""
    [(ddl,)] = rows_of(store, "SHOW CREATE TABLE tocsin.calls_1h_view")
    store.writer.append_now("batches", [batch(range(100))])
    store.flush()
    store._engine.execute("DROP VIEW tocsin.calls_1h_view SYNC")
    store._engine.execute(ddl.replace("count() AS n", "throwIf(count() > 0) + count() AS n"))
    for day in range(3):
        numbers_of_day = range(100 + 100 * day, 200 + 100 * day)
        store.writer.append_now("batches", [batch(numbers_of_day, minute=MINUTE - day * DAY)])
    store.flush()
    assert store.stats().loader.failures == 1
    assert numbers(store) == list(range(400))
    assert store.stats().quarantined == 0
    assert_rollups_equal_raw(store)


def test_a_rebuild_that_fails_while_opening_is_finished_by_the_loader(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(made, 7, batch(range(100)), batch(range(100, 200), minute=MINUTE - DAY))
    real, failures = ClickHouse.execute, []

    def full(engine: ClickHouse, sql: str, *rest: Any) -> None:
        if sql.startswith("INSERT INTO tocsin.calls_1h") and len(failures) < 2:
            failures.append(sql)
            raise EngineError("Cannot reserve 1.00 MiB, not enough space", 243)
        real(engine, sql, *rest)

    monkeypatch.setattr(ClickHouse, "execute", full)
    with open_store(made) as store:
        store.flush()
        assert numbers(store) == list(range(200))
        assert_rollups_equal_raw(store)
    assert len(failures) == 2
    assert not list((made / "wal").glob("*.ready"))


def test_nobody_sees_an_hour_whose_rollup_is_being_computed_anew(
    store: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick that read it then would find a service that has fallen silent, and page for it."""
    store.writer.append_now("batches", [batch(range(100))])
    store.flush()
    real, inside, reads = ClickHouse.execute, threading.Event(), []

    def slow(engine: ClickHouse, sql: str, *rest: Any) -> None:
        real(engine, sql, *rest)
        if sql.startswith("DELETE FROM tocsin.calls_1"):
            inside.set()
            reader.join(0.2)  # it must still be waiting then

    def read() -> None:
        inside.wait(30)
        reads.append(rows_of(store, "SELECT sum(n) FROM tocsin.calls_1m WHERE sk = ''"))

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.setattr(ClickHouse, "execute", slow)
    failing = iter([True])
    insert = ClickHouse.write_segment

    def fail_once(engine: ClickHouse, sql: str, *rest: Any) -> None:
        if next(failing, False):
            raise EngineError("Memory limit (total) exceeded", 241)
        insert(engine, sql, *rest)

    monkeypatch.setattr(ClickHouse, "write_segment", fail_once)
    store.writer.append_now("batches", [batch(range(100, 200))])
    store.flush()
    reader.join(30)
    assert reads == [[(200,)]]
    assert_rollups_equal_raw(store)


def test_what_is_set_aside_twice_from_one_segment_keeps_both_pieces(
    store: Telemetry, tmp_path: Path
) -> None:
    poison = [b"\x0a\xff\xff\xff\xff\x7ffirst", b"\x0a\xff\xff\xff\xff\x7fsecond"]
    quarantine: Quarantine = store._quarantine
    for record in poison:  # the second time the segment has lost what stood at its start
        path = leave(tmp_path, 77, record, batch(range(5)))
        file = SegmentFile.parse(path)
        assert file is not None
        select = BATCHES.select.replace("{seg}", "77")
        assert quarantine.sift(file, BATCHES, select, "no reason").set_aside == 1
        assert quarantine.sift(file, BATCHES, select, "no reason").set_aside == 0
        path.unlink()
    kept = [path.read_bytes() for path in (tmp_path / "quarantine").glob("*.bin")]
    assert sorted(b"second" in each for each in kept) == [False, True]
    assert store.stats().quarantined == 2


def test_a_record_of_nothing_but_bad_lines_does_not_hold_the_loader_for_hours(
    store: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin.store import quarantine

    monkeypatch.setattr(quarantine, "_MOST_PROBES", 20)
    line = b'{"ts":"2026-11-20T11:00:00Z","title":{"not":"a text"},"labels":7}\n'
    store.writer.append_now(CHANGE_ROWS, [line * 500])
    store.writer.append_now(CHANGE_ROWS, [b'{"ts":"2026-11-20T11:00:00Z","title":"good"}'])
    store.flush()
    assert store.stats().quarantined == 500
    assert [change.title for change in store.changes(MINUTE - 100, MINUTE)] == ["good"]
