"""A store copied into another: all of it, exactly, however often it is cut off or repeated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from store_front_build import Front, front
from telemetry_build import BATCHES, FOREVER, MINUTE, NOW, batch, clock, frame, table

from tocsin.domain.clock import iso
from tocsin.domain.errors import StoreError
from tocsin.store import schema
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.copying import Copied, Copier, Progress
from tocsin.store.scores import current
from tocsin.store.telemetry import SCORE_ROWS, Telemetry

CHILD = Path(__file__).with_name("store_front_child.py")


class Source:
    """A front in a process of its own: one process holds one embedded engine."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.communicate()  # the end of its input is its end


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """Calls over a day and a half, scores with a correction, a change; from two writers."""
    path = tmp_path_factory.mktemp("source")
    served = Source(path / "served")
    for seed in (1, 2):
        with Telemetry.open(
            path / str(seed), clock(), kinds=[BATCHES], retention=FOREVER, dsn=served.url
        ) as store:
            store.add_calls(table(frame(4000, minutes=36 * 60, seed=seed)))
            rows = [
                {"ts": iso(NOW - timedelta(minutes=n)), "service": "search", "name": "feedback",
                 "value": n % 2, "call_id": f"{seed:08x}{n % 20:08x}", "line": n, "recv": iso(NOW)}
                for n in range(40)
            ]  # fmt: skip
            store.add_rows(SCORE_ROWS, rows)
            store.writer.append_now(BATCHES, [batch(range(50), minute=MINUTE - 5000 - seed)])
            store.flush()
    engine = ClickHouse(served.url)
    yield engine
    engine.close()
    served.close()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Front]:
    """Another store, in which somebody writes as well."""
    with front(tmp_path / "target") as made:
        yield made


def prepared(target: Front, path: Path) -> Telemetry:
    return Telemetry.open(path, clock(), kinds=[BATCHES], retention=FOREVER, dsn=target.url)


def copier(source: ClickHouse, target: ClickHouse) -> Copier:
    return Copier(source, target, clock(), schema.TABLES)


def sums(engine: ClickHouse, where: str = "1") -> list[object]:
    """What both sides are compared by, besides what the copy itself compares."""
    rows = engine.rows(
        "SELECT count(), sum(duration_us), sum(input_tokens), round(sum(cost_usd), 6),"
        f" groupBitXor(cityHash64(trace_id, span_id, dims, attrs)) FROM tocsin.calls WHERE {where}"
    )
    found: list[object] = [*rows[0]]
    for rollup in ("calls_1m", "calls_1h"):
        found += engine.rows(
            f"SELECT '{rollup}', sum(n), sum(errors), round(sum(cost_usd), 6),"
            f" sumMap(classes), sumMap(h), sumMap(p) FROM tocsin.{rollup} WHERE {where_of(where)}"
        )[0]
    return found


def where_of(where: str) -> str:
    return where.replace("bitShiftRight(seg, 48)", "writer")


def by_table(done: list[Copied]) -> dict[str, Copied]:
    return {one.table: one for one in done}


def test_everything_arrives_and_a_second_copy_has_nothing_to_do(
    source: ClickHouse, target: Front, tmp_path: Path
) -> None:
    with prepared(target, tmp_path / "own") as own:
        own.writer.append_now(BATCHES, [batch(range(77))])
        own.flush()
        seen: list[Progress] = []
        first = by_table(copier(source, own._engine).run(report=seen.append))
        assert first["calls"].rows == 8100
        assert first["calls"].hours_sent == first["calls"].hours > 30
        assert first["calls"].sums["input_tokens"] > 0
        assert seen[-1].hours == seen[-1].hours_total
        mine = own._engine.rows("SELECT value FROM tocsin.meta WHERE startsWith(name, 'copy/')")
        where = f"bitShiftRight(seg, 48) = {mine[0][0]}"
        assert sums(own._engine, where) == sums(source)
        assert own._engine.rows("SELECT count() FROM tocsin.calls")[0][0] == 8100 + 77
        again = copier(source, own._engine).run()
        assert [one.hours_sent for one in again] == [0] * len(again)
        assert sums(own._engine, where) == sums(source)


def test_scores_hold_as_they_held(source: ClickHouse, target: Front, tmp_path: Path) -> None:
    def held(engine: ClickHouse) -> list[object]:
        sql = f"SELECT key, value FROM ({current('1')}) ORDER BY key"
        return [tuple(row) for row in engine.rows(sql)]

    with prepared(target, tmp_path / "own") as own:
        copier(source, own._engine).run()
        assert held(own._engine) == held(source)
        assert len(held(source)) == 40


def test_a_copy_that_was_cut_off_goes_on(
    source: ClickHouse, target: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third block it dies, once with the block sent and once with half an hour missing."""
    with prepared(target, tmp_path / "own") as own:
        real, calls = ClickHouse.load, [0]

        def failing(engine: ClickHouse, *args: object) -> None:
            calls[0] += 1
            if calls[0] % 6 == 3:
                raise ConnectionError("cut off before")
            real(engine, *args)  # type: ignore[arg-type]
            if calls[0] % 6 == 0:
                raise ConnectionError("cut off after")

        monkeypatch.setattr(ClickHouse, "load", failing)
        tries = 0
        while True:
            tries += 1
            try:
                copier(source, own._engine).run()
                break
            except ConnectionError:
                assert tries < 100
        assert tries > 10
        monkeypatch.undo()
        assert sums(own._engine) == sums(source)


def test_only_some_hours_are_copied_when_asked(
    source: ClickHouse, target: Front, tmp_path: Path
) -> None:
    since, until = NOW - timedelta(hours=10), NOW - timedelta(hours=4)
    with prepared(target, tmp_path / "own") as own:
        done = by_table(copier(source, own._engine).run(since=since, until=until))
        assert done["calls"].hours == 6
        span = own._engine.rows("SELECT min(ts), max(ts) FROM tocsin.calls")[0]
        assert since.replace(tzinfo=None) <= span[0].replace(tzinfo=None)
        assert span[1].replace(tzinfo=None) < until.replace(tzinfo=None)
        minutes = own._engine.rows("SELECT min(t), max(t) FROM tocsin.calls_1m")[0]
        assert minutes[0].replace(tzinfo=None) >= since.replace(tzinfo=None)


def test_a_row_that_changed_on_the_way_is_noticed(
    source: ClickHouse, target: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with prepared(target, tmp_path / "own") as own:
        real = ClickHouse.load

        def lossy(engine: ClickHouse, name: str, columns: list[str], block: bytes) -> None:
            real(engine, name, columns, block)
            if name == "calls":
                hour = "(SELECT toStartOfHour(max(ts)) FROM tocsin.calls)"
                engine.delete("calls", f"ts >= {hour} AND rand() % 3 = 0")

        monkeypatch.setattr(ClickHouse, "load", lossy)
        with pytest.raises(StoreError, match=r"calls of 2026-.* differs after it was copied"):
            copier(source, own._engine).run()


def test_hours_whose_calls_are_gone_keep_their_rollups(
    source: ClickHouse, target: Front, tmp_path: Path
) -> None:
    """What is left of an hour after its raw calls expired is copied as it is."""
    before = source.rows("SELECT sum(n) FROM tocsin.calls_1h WHERE sk = ''")[0][0]
    source.execute("DELETE FROM tocsin.calls WHERE ts < toDateTime64('2026-11-19 12:00:00', 6)")
    assert source.rows("SELECT count() FROM tocsin.calls")[0][0] < before
    with prepared(target, tmp_path / "own") as own:
        copier(source, own._engine).run()
        assert own._engine.rows("SELECT sum(n) FROM tocsin.calls_1h WHERE sk = ''") == [(before,)]
