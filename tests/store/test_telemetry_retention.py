"""What is kept for how long, driven by old rows and the engine's own expiry."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from telemetry_build import BATCHES, Where, batch
from test_telemetry_loading import assert_rollups_equal_raw

from tocsin.domain.clock import SystemClock, to_minute
from tocsin.domain.errors import StoreError
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.otlp_kinds import TABLES as SIGNAL_TABLES
from tocsin.store.schema import CALLS, CALLS_1H, CALLS_1M, Retention
from tocsin.store.telemetry import Telemetry

# The engine expires rows by its own wall clock, so these rows move with it; noon keeps every call
# away from midnight, where a day of raw rows ends.
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
KEEP = Retention(raw_days=30, minutes_days=60, hours_days=0)


def minute(days_ago: float) -> int:
    return to_minute(NOON - timedelta(days=days_ago))


@pytest.fixture(autouse=True)
def everywhere(fresh: ClickHouse | None) -> None:
    """Every test runs on every kind of ClickHouse."""


def open_store(path: Path, keep: Retention | None = KEEP) -> Telemetry:
    return Telemetry.open(
        path, SystemClock(), kinds=[BATCHES], tables=SIGNAL_TABLES, retention=keep, dsn=Where.dsn,
        layout=Where.layout,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Telemetry]:
    with open_store(tmp_path) as made:
        yield made


def expire(store: Telemetry, *tables: str) -> None:
    """Let the engine drop what is too old now instead of at its leisure."""
    for table in tables or ("calls", "calls_1m"):
        piece = Where.layout.piece(table)
        store.engine.execute(f"ALTER TABLE {piece} MATERIALIZE TTL SETTINGS mutations_sync = 2")
        store.engine.execute(f"OPTIMIZE TABLE {piece} FINAL")


def counts(store: Telemetry) -> list[int]:
    """Calls in the raw table, the minutes and the hours."""
    row = store.engine.rows(
        "SELECT (SELECT count() FROM tocsin.calls),"
        " (SELECT sum(n) FROM tocsin.calls_1m WHERE sk = ''),"
        " (SELECT sum(n) FROM tocsin.calls_1h WHERE sk = '')"
    )[0]
    return [int(value) for value in row]


def load(store: Telemetry, numbers: range, days_ago: float) -> None:
    store.writer.append_now(BATCHES, [batch(numbers, minute=minute(days_ago))])
    store.flush()


def test_calls_go_first_then_minutes_and_hours_stay(store: Telemetry) -> None:
    for start, days_ago in ((0, 1), (100, 20), (200, 25)):
        load(store, range(start, start + 100), days_ago)
    assert counts(store) == [300, 300, 300]
    store.keeping.apply(Retention(raw_days=15, minutes_days=60, hours_days=0))
    expire(store)
    assert counts(store) == [100, 300, 300]
    store.keeping.apply(Retention(raw_days=15, minutes_days=22, hours_days=0))
    expire(store)
    assert counts(store) == [100, 200, 300]


def test_content_goes_before_its_call(store: Telemetry) -> None:
    store.keeping.apply(Retention(raw_days=30, content_days=7))
    times = [NOON - timedelta(days=days) for days in (1, 10)]
    store.add_calls(pa.table({
        "ts": pa.array(times, pa.timestamp("us", tz="UTC")),
        "service": ["a", "a"], "input": ["new", "old"], "output": ["new", "old"],
        "attrs": pa.array([[("k", "v")]] * 2, pa.map_(pa.string(), pa.string())),
        "span_id": ["new", "old"],
    }))  # fmt: skip
    store.flush()
    expire(store, "calls")
    rows = store.engine.rows(
        "SELECT span_id, input, output, attrs FROM tocsin.calls ORDER BY span_id"
    )
    assert [tuple(row) for row in rows] == [("new", "new", "new", {"k": "v"}), ("old", "", "", {})]
    assert counts(store)[1:] == [2, 2]


def test_late_calls_count_in_their_old_minute_and_hour(store: Telemetry) -> None:
    load(store, range(100), 1)
    load(store, range(100, 150), 29)
    load(store, range(150, 160), 29)
    assert_rollups_equal_raw(store)
    rows = store.engine.rows(
        "SELECT toUnixTimestamp(t), sum(n) FROM tocsin.calls_1m WHERE sk = '' GROUP BY t ORDER BY t"
    )
    assert [(int(at) // 60, int(n)) for at, n in rows] == [(minute(29), 60), (minute(1), 100)]


def test_a_late_segment_does_not_erase_an_hour_whose_calls_have_expired(tmp_path: Path) -> None:
    """Settling rebuilds the hours a segment touches from raw calls; these are not all there."""
    with open_store(tmp_path) as store:
        load(store, range(100), 20)
    with open_store(tmp_path) as store:  # that segment is long gone
        store.keeping.apply(Retention(raw_days=15, minutes_days=60, hours_days=0))
        expire(store)
        assert counts(store) == [0, 100, 100]
        store.keeping.apply(KEEP)  # longer again: what expired stays gone
        store.writer.append_now(BATCHES, [batch(range(100, 110), minute=minute(20))])
        store.writer.append_now(BATCHES, [batch(range(200, 230), minute=minute(2))])
        store.flush()
        kept = [shutil.copy(path, tmp_path) for path in (tmp_path / "wal").glob("*.ready")]
        assert counts(store) == [40, 140, 140]
    assert kept
    for path in kept:
        shutil.move(path, tmp_path / "wal")
    with open_store(tmp_path) as store:
        assert {settled.action for settled in store.settled} == {"skip"}
        assert counts(store) == [40, 140, 140]


def test_an_hour_that_is_all_there_is_still_repaired(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        load(store, range(100), 5)
        kept = [shutil.copy(path, tmp_path) for path in (tmp_path / "wal").glob("*.ready")]
        store.engine.execute(f"TRUNCATE TABLE {Where.layout.piece('calls_1h')}")
    for path in kept:
        shutil.move(path, tmp_path / "wal")
    with open_store(tmp_path) as store:
        assert counts(store) == [100, 100, 100]


def test_retention_is_changed_only_where_it_differs(
    store: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.keeping.apply(KEEP) == []
    said: list[str] = []
    real = ClickHouse.execute

    def spy(engine: ClickHouse, sql: str, *args: object, **kwargs: object) -> None:
        said.append(sql)
        real(engine, sql, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ClickHouse, "execute", spy)
    assert store.keeping.apply(KEEP) == []
    assert said == []
    longer = Retention(raw_days=30, minutes_days=60, hours_days=700, content_days=9, logs_days=3)
    assert store.keeping.apply(longer) == ["calls", "billing", "calls_1h", "logs"]
    assert [store.keeping.days(table) for table in (CALLS, CALLS_1M, CALLS_1H)] == [30, 60, 700]
    content = {column.name: store.keeping.content_days(CALLS, column) for column in CALLS.columns}
    assert {name for name, days in content.items() if days == 9} == {
        "input", "output", "attrs", "ev_attrs",
    }  # fmt: skip
    assert store.keeping.apply(longer) == []
    assert store.keeping.apply(KEEP) == ["calls", "billing", "calls_1h", "logs"]
    assert not any(store.keeping.content_days(CALLS, column) for column in CALLS.columns)
    assert store.keeping.days(CALLS_1H) == 0


def test_opening_without_retention_leaves_what_is_there(tmp_path: Path) -> None:
    """A server started with no configuration must not shorten what somebody has chosen."""
    with open_store(tmp_path, Retention(raw_days=400, minutes_days=0, hours_days=0)):
        pass
    with open_store(tmp_path, None) as store:
        assert store.keeping.raw_days == 400
        assert store.keeping.days(CALLS_1M) == 0


def test_calls_that_would_expire_at_once_are_refused_in_bulk(store: Telemetry) -> None:
    times = [NOON - timedelta(days=days) for days in (1, 31, 90)]
    calls = pa.table({"ts": pa.array(times, pa.timestamp("us", tz="UTC")), "service": ["a"] * 3})
    with pytest.raises(StoreError, match=r"2 of 3 calls began more than 30 days ago"):
        store.add_calls(calls)
    store.flush()
    assert counts(store)[0] == 0
