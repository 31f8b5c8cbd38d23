"""From an acknowledged record to rows, exactly once, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from telemetry_build import (
    BATCHES,
    FOREVER,
    MINUTE,
    Where,
    assert_rollups_equal_raw,
    batch,
    clock,
    frame,
    table,
)

from tocsin.domain.errors import StoreError
from tocsin.domain.series import Change
from tocsin.store.clickhouse import ClickHouse, EngineError
from tocsin.store.frames import encode
from tocsin.store.kinds import SegmentKind
from tocsin.store.segments import Limits, SegmentFile
from tocsin.store.telemetry import CHANGE_ROWS, SCORE_ROWS, Telemetry

LIMITS = Limits(segment_age_s=60, min_free_bytes=0)
ROLLUP_SUMS = ("n", "errors", "failed", "truncated", "duration_us", "input_tokens", "cost_known")


def open_store(path: Path, *kinds: SegmentKind, limits: Limits = LIMITS) -> Telemetry:
    return Telemetry.open(
        path,
        clock(),
        kinds=kinds or (BATCHES,),
        limits=limits,
        retention=FOREVER,
        dsn=Where.dsn,
        layout=Where.layout,
    )


@pytest.fixture(autouse=True)
def everywhere(fresh: ClickHouse | None) -> None:
    """Every test runs on every kind of ClickHouse."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Telemetry]:
    with open_store(tmp_path) as made:
        yield made


def ask(store: Telemetry, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in store._engine.rows(sql)]


def numbers(store: Telemetry) -> list[int]:
    return [row[0] for row in ask(store, "SELECT duration_us FROM tocsin.calls ORDER BY 1")]


def leave_segment(
    path: Path, seg: int, records: list[bytes], *, state: str = "ready"
) -> SegmentFile:
    """A segment as a process leaves it that was killed."""
    file = SegmentFile.named(path / "wal", seg, BATCHES.name, careful=False, state=state)
    file.path.write_bytes(
        b"".join(b"".join(encode(BATCHES.format, [record])) for record in records)
    )
    return file


def test_an_accepted_record_can_be_queried_after_a_flush(store: Telemetry) -> None:
    for start in range(0, 300, 100):
        store.writer.append_now("batches", [batch(range(start, start + 100))])
    assert store.stats().backlog_bytes > 0
    store.flush()
    assert numbers(store) == list(range(300))
    stats = store.stats()
    assert (stats.rows["calls"], stats.backlog_bytes, stats.loader.lag_s) == (300, 0, 0.0)
    assert stats.loader.loaded_segments == 1
    assert_rollups_equal_raw(store)


def start_of(store: Telemetry) -> int:
    """The number before the first segment of a store that was opened for the first time."""
    writer = ask(store, "SELECT toUInt16(substring(name, 8)) FROM tocsin.meta"
                        " WHERE startsWith(name, 'writer/')")  # fmt: skip
    return (writer[0][0] if writer else 0) << 48 | 1 << 32


def test_every_row_carries_the_number_of_its_segment(store: Telemetry) -> None:
    for start in (0, 100):
        store.writer.append_now("batches", [batch(range(start, start + 100))])
        store.flush()
    start = start_of(store)
    first, second = start + 1, start + 2
    assert ask(store, "SELECT seg, count() FROM tocsin.calls GROUP BY seg ORDER BY seg") == [
        (first, 100),
        (second, 100),
    ]


def test_bulk_calls_scores_and_changes_arrive(store: Telemetry) -> None:
    calls = frame(5000)
    store.add_calls(table(calls))
    store.add_rows(
        SCORE_ROWS,
        [{"ts": "2026-11-20T11:55:00Z", "service": "search", "name": "feedback", "value": -1,
          "dims": {"tier": "pro"}, "recv": "2026-11-20T11:55:01Z"}],
    )  # fmt: skip
    change = Change(MINUTE - 3, "search", "deploy", "v2 'quoted'\n\t\\", {"sha": "abc"})
    store.add_change(change)
    store.flush()
    assert ask(store, "SELECT count(), sum(duration_us) FROM tocsin.calls") == [
        (5000, int(calls["duration_us"].sum()))
    ]
    assert ask(store, "SELECT name, value, dims FROM tocsin.scores") == [
        ("feedback", -1.0, {"tier": "pro"})
    ]
    assert store.changes(MINUTE - 10, MINUTE) == [change]
    assert store.changes(MINUTE - 2, MINUTE) == []
    assert_rollups_equal_raw(store)


def test_an_unknown_column_is_named(store: Telemetry) -> None:
    calls = table(frame(3)).append_column("colour", [["red"] * 3])
    with pytest.raises(StoreError, match="no column colour"):
        store.add_calls(calls)


def test_the_careful_select_is_used_for_marked_segments(tmp_path: Path) -> None:
    careful = BATCHES.select.replace("'shop'", "'careful'")
    kind = replace(BATCHES, careful_select=careful)
    with open_store(tmp_path, kind) as store:
        store.writer.append_now("batches", [batch(range(10))])
        store.writer.append_now("batches", [batch(range(10, 15))], careful=True)
        store.flush()
        assert ask(store, "SELECT project, count() FROM tocsin.calls GROUP BY 1 ORDER BY 1") == [
            ("careful", 5),
            ("shop", 10),
        ]


def test_two_careful_segments_do_not_wait_for_one_that_is_behind_them(tmp_path: Path) -> None:
    """A plain segment may be made after careful ones and queued before them."""
    change = json.dumps({"ts": MINUTE * 60, "service": "a", "kind": "deploy", "title": "x"})
    with open_store(tmp_path) as store:
        with store._loader._gate.alone():  # both loaders have a segment, and stand before the gate
            for number in range(2):
                store.writer.append_now(BATCHES, [batch(range(number, number + 1))])
                store.writer.rotate()
            store.writer.append_now(BATCHES, [batch(range(2, 3))], careful=True)
            store.writer.append_now(CHANGE_ROWS, [change.encode() + b"\n"], careful=True)
            store.writer.append_now(BATCHES, [batch(range(3, 4))])
            store.writer.rotate()
        store.flush(25)
        assert numbers(store) == [0, 1, 2, 3]


def test_what_a_kind_rejects_on_purpose_is_quarantined_with_its_reason(tmp_path: Path) -> None:
    limit = "line.ts >= toUnixTimestamp64Micro(toDateTime64('2026-01-01', 6, 'UTC'))"
    kind = replace(
        BATCHES,
        select=f"{BATCHES.select} WHERE {limit}",
        rejects=(
            "SELECT toDateTime64('2026-11-20 12:00:00', 6, 'UTC') AS recv, 'traces' AS source,"
            " 'long ago' AS reason, 'shop' AS project, toString(line) AS body,"
            " toUInt64({seg}) AS seg"
            f" FROM {{source}} ARRAY JOIN lines AS line WHERE NOT {limit}"
        ),
    )
    with open_store(tmp_path, kind) as store:
        store.writer.append_now("batches", [batch(range(10))])
        store.writer.append_now("batches", [batch(range(10, 13), minute=1000)])
        store.flush()
        assert numbers(store) == list(range(10))
        assert [row["reason"] for row in store.reads.quarantined()] == ["long ago"] * 3
        assert store.stats().quarantined == 3


def test_a_frame_that_cannot_be_read_is_set_aside_and_the_rest_is_loaded(
    store: Telemetry, tmp_path: Path
) -> None:
    for start in range(0, 1000, 100):
        store.writer.append_now("batches", [batch(range(start, start + 100))])
        if start in (300, 700):
            store.writer.append_now("batches", [b"\x0a\xff\xff\xff\xff\x7fnot a batch"])
    store.flush()
    assert numbers(store) == list(range(1000))
    kept = sorted((tmp_path / "quarantine").glob("*.bin"))
    assert len(kept) == 2
    assert all(b"not a batch" in path.read_bytes() for path in kept)
    rows = store.reads.quarantined()
    assert {row["source"] for row in rows} == {"segment"}
    assert all(
        "not a batch" in row["body"] and "kept in quarantine/" in row["reason"] for row in rows
    )
    assert store.stats().loader.failures == 1
    assert_rollups_equal_raw(store)


def test_a_json_line_of_the_wrong_type_does_not_take_its_record_along(store: Telemetry) -> None:
    def line(value: object) -> bytes:
        row = {"ts": "2026-11-20T11:00:00Z", "name": "feedback", "value": value}
        return json.dumps(row).encode() + b"\n"

    store.writer.append_now(SCORE_ROWS, [line(1), line("much"), line(2)])
    store.writer.append_now(SCORE_ROWS, [line(3), line("most")])
    store.flush()
    assert ask(store, "SELECT value FROM tocsin.scores ORDER BY value") == [(1.0,), (2.0,), (3.0,)]
    bodies = sorted(row["body"] for row in store.reads.quarantined())
    assert ["most" in bodies[0], "much" in bodies[1]] == [True, True]
    assert store.stats().quarantined == 2


def test_a_segment_of_nothing_but_rubbish_is_set_aside_whole(store: Telemetry) -> None:
    store.writer.append_now("batches", [b"\x0a\xff\xff\xff\xff\x7frubbish"])
    store.flush()
    assert numbers(store) == []
    assert store.stats().quarantined == 1
    store.writer.append_now("batches", [batch(range(5))])
    store.flush()
    assert numbers(store) == list(range(5))


def test_a_passing_failure_of_the_engine_is_retried_without_doubling(
    store: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The insert arrives but reports out-of-memory: what a failing rollup looks like."""
    real, failures = ClickHouse.write_segment, iter([True, True])

    def flaky(engine: ClickHouse, sql: str, kind: SegmentKind, path: Path) -> None:
        real(engine, sql, kind, path)
        if "INSERT INTO tocsin.calls" in sql and next(failures, False):
            raise EngineError("Memory limit (total) exceeded", 241)

    monkeypatch.setattr(ClickHouse, "write_segment", flaky)
    store.writer.append_now("batches", [batch(range(100))])
    store.flush()
    assert numbers(store) == list(range(100))
    assert store.stats().loader.failures >= 1
    assert "Memory limit" in store.stats().loader.last_error
    assert_rollups_equal_raw(store)


def test_flush_says_so_when_loading_does_not_get_on(
    store: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise EngineError("no space left", 243)

    with monkeypatch.context() as patched:
        patched.setattr(ClickHouse, "write_segment", fail)
        store.writer.append_now("batches", [batch(range(100))])
        with pytest.raises(StoreError, match=r"not loaded after 0\.3 s: no space left"):
            store.flush(timeout_s=0.3)
        assert store.stats().loader.lag_s > 0
    store.flush()
    assert numbers(store) == list(range(100))


def test_a_loaded_segment_is_deleted_once_synced_and_its_digest_is_kept(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.writer.append_now("batches", [batch(range(10))], digest=b"q" * 16)
        store.flush()
        assert list((tmp_path / "wal").glob("*.ready"))
    assert not list((tmp_path / "wal").glob("*.ready"))
    with open_store(tmp_path) as store:
        assert not store.writer.append_now("batches", [batch(range(10))], digest=b"q" * 16)
        assert numbers(store) == list(range(10))


def test_opening_replays_a_segment_of_which_nothing_arrived(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    frames = encode("Protobuf", [batch(range(100))], b"l" * 16)
    frames += encode("Protobuf", [batch(range(100, 150))])
    file = leave_segment(tmp_path, 7, [])
    file.path.write_bytes(b"".join(frames))
    with open_store(tmp_path) as store:
        assert [(s.action, s.expected, s.found) for s in store.settled] == [("replay", 150, 0)]
        assert numbers(store) == list(range(150))
        assert store.writer.seen(b"l" * 16), "a retry after the restart must be recognised"
        assert_rollups_equal_raw(store)
    assert not list((tmp_path / "wal").glob("*.ready"))


def test_opening_skips_a_segment_that_had_arrived(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.writer.append_now("batches", [batch(range(100))], digest=b"k" * 16)
        store.flush()
        (file,) = (tmp_path / "wal").glob("*.ready")
        copy = file.read_bytes()
    file.write_bytes(copy)
    with open_store(tmp_path) as store:
        assert [(s.action, s.expected, s.found) for s in store.settled] == [("skip", 100, 100)]
        assert numbers(store) == list(range(100))
        assert store.writer.seen(b"k" * 16)
        assert_rollups_equal_raw(store)


def test_opening_completes_a_segment_of_which_some_partitions_arrived(tmp_path: Path) -> None:
    """Two days, two partitions, one of them lost: deleted and replayed, rollups rebuilt."""
    day = 24 * 60
    records = [batch(range(100)), batch(range(100, 200), minute=MINUTE - day)]
    file = leave_segment_after(tmp_path, records)
    with open_store(tmp_path) as store:
        piece = Where.layout.piece("calls")
        store._engine.execute(f"ALTER TABLE {piece} DROP PARTITION 20261119")
        assert numbers(store) == list(range(100))
    file.path.write_bytes(b"".join(b"".join(encode("Protobuf", [r])) for r in records))
    with open_store(tmp_path) as store:
        assert [(s.action, s.expected, s.found) for s in store.settled] == [("partial", 200, 100)]
        assert numbers(store) == list(range(200))
        assert_rollups_equal_raw(store)


def leave_segment_after(tmp_path: Path, records: list[bytes]) -> SegmentFile:
    with open_store(tmp_path) as store:
        for record in records:
            store.writer.append_now("batches", [record])
        store.flush()
        (path,) = (tmp_path / "wal").glob("*.ready")
    file = SegmentFile.parse(path)
    assert file is not None
    return file


def test_rollups_that_a_crash_left_half_done_are_rebuilt(tmp_path: Path) -> None:
    records = [batch(range(100))]
    file = leave_segment_after(tmp_path, records)
    with open_store(tmp_path) as store:
        store._engine.execute("TRUNCATE TABLE tocsin.calls_1h")
        store._engine.execute("INSERT INTO tocsin.calls_1m SELECT * FROM tocsin.calls_1m")
    file.path.write_bytes(b"".join(encode("Protobuf", records)))
    with open_store(tmp_path) as store:
        assert [s.action for s in store.settled] == ["skip"]
        assert_rollups_equal_raw(store)
        assert ask(store, "SELECT sum(n) FROM tocsin.calls_1h WHERE sk = ''") == [(100,)]


def test_a_torn_last_frame_is_cut_off_and_its_bytes_are_kept(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    file = leave_segment(tmp_path, 9, [batch(range(100)), batch(range(100, 200))], state="open")
    file.path.write_bytes(file.path.read_bytes()[:-40])
    with open_store(tmp_path) as store:
        assert numbers(store) == list(range(100))
        assert_rollups_equal_raw(store)
    assert not list((tmp_path / "wal").glob("*.open"))
    assert (tmp_path / "quarantine" / f"{9:016x}-batches.torn").stat().st_size > 0


def test_an_empty_segment_is_removed(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    leave_segment(tmp_path, 9, [], state="open")
    with open_store(tmp_path) as store:
        assert store.settled == []
    assert not list((tmp_path / "wal").glob("*.open"))


def test_a_frame_that_cannot_be_read_does_not_keep_the_store_from_opening(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    leave_segment(
        tmp_path, 9, [batch(range(50)), b"\x0a\xff\xff\xff\xff\x7fx", batch(range(50, 60))]
    )
    for _ in range(2):
        with open_store(tmp_path) as store:
            assert numbers(store) == list(range(60))
            assert store.stats().quarantined == 1
            assert_rollups_equal_raw(store)


def test_a_segment_of_an_unknown_kind_is_named_and_left_alone(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    path = tmp_path / "wal" / f"{5:016x}-future.ready"
    path.write_bytes(b"?")
    with pytest.raises(StoreError, match=r"kind 'future', which this version"):
        open_store(tmp_path)
    assert path.exists()


def test_losing_the_write_ahead_directory_does_not_reuse_numbers(tmp_path: Path) -> None:
    leave_segment_after(tmp_path, [batch(range(10))])
    for path in (tmp_path / "wal").iterdir():
        path.unlink()
    with open_store(tmp_path) as store:
        store.writer.append_now("batches", [batch(range(10, 20))])
        store.flush()
        segments = [row[0] for row in ask(store, "SELECT DISTINCT seg FROM tocsin.calls")]
        assert len(segments) == 2
        if not Where.dsn:  # elsewhere the directory has become another writer
            assert sorted(segments) == [(1 << 32) + 1, (2 << 32) + 1]


def test_json_records_of_an_open_segment_survive_a_torn_tail(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    rows = [{"ts": "2026-11-20T11:00:00Z", "title": str(n)} for n in range(3)]
    frames = [b"".join(encode("JSONEachRow", [json.dumps(row).encode()])) for row in rows]
    path = tmp_path / "wal" / f"{6:016x}-{CHANGE_ROWS.name}.open"
    path.write_bytes(b"".join(frames)[:-5])
    with open_store(tmp_path) as store:
        assert [change.title for change in store.changes(MINUTE - 100, MINUTE)] == ["0", "1"]
