"""A store that an older Tocsin made is opened, keeps every row, and counts as before."""

from __future__ import annotations

from pathlib import Path

import pytest
from telemetry_build import BATCHES, FOREVER, MINUTE, batch, clock
from test_telemetry_loading import assert_rollups_equal_raw, leave_segment, numbers

from tocsin.domain.errors import StoreError
from tocsin.store import upgrades
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.facts import Facts
from tocsin.store.otlp_kinds import TABLES as SIGNAL_TABLES
from tocsin.store.telemetry import Telemetry
from tocsin.store.writers import Writers

FIRST = Path(__file__).with_name("golden") / "tables_1.sql"
OLD_ROWS = 60


def make_old_store(path: Path) -> None:
    """A data directory as the first version left it, with calls over two hours in one segment."""
    engine = ClickHouse.embedded(path / "clickhouse", memory_bytes=1_000_000_000)
    for statement in FIRST.read_text("utf-8").split(";\n"):
        if statement.strip():
            engine.execute(statement)
    engine.execute(
        "INSERT INTO tocsin.calls (project, ts, service, kind, duration_us, span_id, dims, seg)"
        " SELECT 'shop', fromUnixTimestamp64Micro(toInt64({start:Int64} * 60000000 + number"
        " * 60000000), 'UTC'), 'assistant', 'llm', number, toString(number),"
        f" map('tier', 'free'), 1 << 32 FROM numbers({OLD_ROWS})".replace(
            "1 << 32", str((1 << 32) + 1)
        ),
        {"start": MINUTE - 90},
    )
    engine.execute("OPTIMIZE TABLE tocsin.calls_1m FINAL")
    engine.close()
    (path / "wal").mkdir()
    (path / "wal" / "epoch").write_text("1")


def open_store(path: Path) -> Telemetry:
    return Telemetry.open(path, clock(), kinds=[BATCHES], tables=SIGNAL_TABLES, retention=FOREVER)


def test_a_store_of_the_first_version_is_upgraded_and_goes_on(tmp_path: Path) -> None:
    make_old_store(tmp_path)
    with open_store(tmp_path) as store:
        assert Facts(store._engine, clock()).number("tables") == upgrades.LATEST
        assert numbers(store) == list(range(OLD_ROWS))
        assert_rollups_equal_raw(store)
        store.writer.append_now("batches", [batch(range(100, 150), minute=MINUTE - 80)])
        store.flush()
        assert_rollups_equal_raw(store)
        for table in ("calls_1m", "calls_1h"):
            rows = store._engine.rows(
                "SELECT sorting_key FROM system.tables WHERE name = {t:String}", {"t": table}
            )
            assert rows[0][0].endswith("writer")
    with open_store(tmp_path) as store:
        assert numbers(store) == [*range(OLD_ROWS), *range(100, 150)]
        assert_rollups_equal_raw(store)


def test_a_segment_of_the_first_version_is_settled_by_this_one(tmp_path: Path) -> None:
    """It was killed while it loaded: some rows are there, and the rollups are half done."""
    make_old_store(tmp_path)
    leave_segment(tmp_path, (1 << 32) + 2, [batch(range(200, 260), minute=MINUTE - 70)])
    engine = ClickHouse.embedded(tmp_path / "clickhouse", memory_bytes=1_000_000_000)
    engine.execute("TRUNCATE TABLE tocsin.calls_1h")
    engine.close()
    with open_store(tmp_path) as store:
        assert [each.action for each in store.settled] == ["replay"]
        hour = store._engine.rows("SELECT sum(n) FROM tocsin.calls_1m WHERE sk = ''")
        assert hour == [(OLD_ROWS + 60,)]
        assert_rollups_equal_raw_in_touched_hour(store)


def assert_rollups_equal_raw_in_touched_hour(store: Telemetry) -> None:
    at = (MINUTE - 70) * 60
    counted = store._engine.rows(
        "SELECT (SELECT sum(n) FROM tocsin.calls_1h WHERE sk = '' AND t = toStartOfHour("
        "toDateTime({at:Int64}, 'UTC'))), (SELECT count() FROM tocsin.calls WHERE"
        " toStartOfHour(ts + toIntervalMicrosecond(duration_us)) = toStartOfHour("
        "toDateTime({at:Int64}, 'UTC')))",
        {"at": at},
    )
    assert counted[0][0] == counted[0][1] > 60


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        Facts(store._engine, clock()).put("tables", str(upgrades.LATEST + 1))
    with pytest.raises(StoreError, match=r"made by a newer Tocsin"):
        open_store(tmp_path)


def test_numbers_of_writers_are_never_given_twice(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        writers = Writers(store._engine, clock())
        claimed = [writers.claim(f"process {n}") for n in range(50)]
        assert len(set(claimed)) == 50
        assert all(0 < number < 1 << 16 for number in claimed)
        assert writers.identity() == writers.identity()
