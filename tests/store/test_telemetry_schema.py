"""One definition, two texts: executed on one node, parsed by the engine for a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from telemetry_build import FOREVER

from tocsin.domain.errors import StoreError
from tocsin.store import schema
from tocsin.store.clickhouse import ClickHouse, EngineError, literal

MEMORY = 1_000_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClickHouse]:
    made = ClickHouse.embedded(tmp_path / "clickhouse", memory_bytes=MEMORY)
    yield made
    made.close()


def columns(engine: ClickHouse, table: str) -> list[str]:
    rows = engine.rows(
        "SELECT name FROM system.columns WHERE database = 'tocsin' AND table = {t:String}"
        " ORDER BY position",
        {"t": table},
    )
    return [row[0] for row in rows]


def test_creating_twice_is_creating_once(engine: ClickHouse) -> None:
    for _ in range(2):
        schema.create(engine)
        for table in schema.TABLES:
            assert columns(engine, table.name) == [column.name for column in table.columns]


def test_a_column_that_a_newer_version_knows_is_added(engine: ClickHouse) -> None:
    schema.create(engine)
    engine.execute("ALTER TABLE tocsin.scores DROP COLUMN comment")
    schema.create(engine)
    assert "comment" in columns(engine, "scores")


def test_views_are_those_of_this_version(engine: ClickHouse) -> None:
    schema.create(engine, retention=FOREVER)
    engine.execute("DROP VIEW tocsin.calls_1m_view")
    engine.execute(
        "CREATE MATERIALIZED VIEW tocsin.calls_1m_view TO tocsin.calls_1m AS"
        " SELECT toDateTime(0, 'UTC') AS t FROM tocsin.calls"
    )
    schema.create(engine)
    engine.execute("INSERT INTO tocsin.calls (ts, service) VALUES (1700000000, 'a')")
    assert engine.rows("SELECT service, sum(n) FROM tocsin.calls_1m GROUP BY service") == [("a", 1)]


def test_every_statement_for_a_cluster_is_understood_by_the_engine(engine: ClickHouse) -> None:
    statements = list(schema.ddl(cluster="main"))
    assert len(statements) == 2 * len(schema.TABLES) + len(schema.VIEWS)
    for statement in statements:
        assert engine.rows(f"EXPLAIN AST {statement}")
        assert "ON CLUSTER main" in statement
    text = "\n".join(statements)
    assert "ReplicatedMergeTree('/clickhouse/tables/{shard}/tocsin/calls', '{replica}')" in text
    assert "ReplicatedAggregatingMergeTree(" in text
    assert "Distributed(main, tocsin, calls_local, rand())" in text
    assert "FROM tocsin.calls_local AS calls" in text
    assert "TO tocsin.calls_1m_local" in text


def test_a_cluster_has_the_columns_order_and_partitions_of_one_node() -> None:
    def shape(statement: str) -> str:
        kept = statement.replace("_local ON CLUSTER main", "")
        return "\n".join(line for line in kept.splitlines() if not line.startswith("ENGINE"))

    plain = [shape(s) for s in schema.ddl()][: len(schema.TABLES)]
    replicated = [shape(s) for s in schema.ddl(cluster="main") if "Distributed(" not in s]
    assert replicated[: len(schema.TABLES)] == plain


def test_raw_rows_minutes_and_hours_have_their_own_retention() -> None:
    keep = schema.Retention(raw_days=3, minutes_days=5, hours_days=0)
    texts = {s.split("tocsin.")[1].split(" ")[0]: s for s in schema.ddl(views=(), retention=keep)}
    assert "TTL toDateTime(ts) + INTERVAL 3 DAY" in texts["calls"]
    assert "TTL t + INTERVAL 5 DAY" in texts["calls_1m"]
    assert "TTL" not in texts["calls_1h"]
    assert "PARTITION BY toYYYYMMDD(ts)" in texts["calls"]
    assert "PARTITION BY toYYYYMM(t)" in texts["calls_1h"]


def test_rollups_read_raw_rows_and_never_each_other() -> None:
    assert {view.source for view in schema.VIEWS} == {"calls", "scores"}


def test_an_error_of_the_engine_has_its_code_and_the_statement(engine: ClickHouse) -> None:
    with pytest.raises(EngineError, match="refused `SELECT nonsense`") as refused:
        engine.rows("SELECT nonsense")
    assert refused.value.code == 47
    assert refused.value.blames_data
    assert not EngineError("memory", 241).blames_data


def test_text_becomes_a_literal_and_back(engine: ClickHouse) -> None:
    for text in ("it's", "back\\slash", "line\nbreak", "ü", "\\'", ""):
        assert engine.rows(f"SELECT {literal(text)}") == [(text,)]


def test_a_directory_with_blanks_can_be_opened(tmp_path: Path) -> None:
    engine = ClickHouse.embedded(tmp_path / "my data & more", memory_bytes=MEMORY)
    assert engine.rows("SELECT 1") == [(1,)]
    engine.close()
    assert list((tmp_path / "my data & more").iterdir())


def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    engine = ClickHouse.embedded(tmp_path / "clickhouse", memory_bytes=MEMORY)
    engine.close()
    with pytest.raises(StoreError, match="is closed"):
        engine.rows("SELECT 1")
