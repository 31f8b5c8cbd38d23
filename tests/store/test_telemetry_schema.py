"""One definition, two texts: executed on one node, parsed by the engine for a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from telemetry_build import BATCHES, FOREVER, clock

from tocsin.domain.errors import StoreError
from tocsin.domain.redaction import Policy, Redactions
from tocsin.store import ddl, prices, schema, upgrades
from tocsin.store.clickhouse import ClickHouse, EngineError, literal
from tocsin.store.layout import ONE_NODE, Layout
from tocsin.store.otlp_kinds import TABLES as SIGNAL_TABLES
from tocsin.store.redaction import BUILT_IN
from tocsin.store.retention import Keeping
from tocsin.store.row_kinds import segment_kinds
from tocsin.store.schema import Retention
from tocsin.store.telemetry import Telemetry

MEMORY = 1_000_000_000
GOLDEN = Path(__file__).with_name("golden")
OFF = Redactions(otherwise=Policy("off", mode="off"))
EVERY_TABLE = (*schema.TABLES, *SIGNAL_TABLES)


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


def make(engine: ClickHouse, retention: Retention | None = None) -> None:
    ddl.install(engine, retention=retention)
    ddl.refresh_views(engine)


def test_creating_twice_is_creating_once(engine: ClickHouse) -> None:
    for _ in range(2):
        make(engine)
        for table in schema.TABLES:
            assert columns(engine, table.name) == [column.name for column in table.columns]


@pytest.mark.parametrize("redactions", [BUILT_IN, OFF], ids=["redacted", "as sent"])
def test_every_kind_tells_what_its_selects_yield(
    engine: ClickHouse, redactions: Redactions
) -> None:
    make(engine)
    prices.install(engine, ())
    for kind in segment_kinds(redactions):
        planning = ", ".join(
            f"{name} = {literal(str(value))}"
            for name, value in kind.settings.items()
            if not name.startswith(("format_", "input_format_"))
        )
        for select in filter(None, (kind.select, kind.careful_select)):
            text = select.replace("{source}", f"null({literal(kind.structure)})")
            described = engine.rows(
                f"DESCRIBE ({text.replace('{seg}', '0')})"
                + f" SETTINGS {planning}" * bool(planning)
            )
            assert tuple(row[0] for row in described) == kind.columns, kind.name
            assert set(kind.columns) <= {
                n for t in EVERY_TABLE if t.name == kind.table for n in t.names
            }


def test_a_column_that_a_newer_version_knows_is_added(engine: ClickHouse) -> None:
    make(engine)
    engine.execute("ALTER TABLE tocsin.scores DROP COLUMN comment")
    make(engine)
    assert "comment" in columns(engine, "scores")


def test_views_are_those_of_this_version(engine: ClickHouse) -> None:
    make(engine, FOREVER)
    engine.execute("DROP VIEW tocsin.calls_1m_view")
    engine.execute(
        "CREATE MATERIALIZED VIEW tocsin.calls_1m_view TO tocsin.calls_1m AS"
        " SELECT toDateTime(0, 'UTC') AS t FROM tocsin.calls"
    )
    made = engine.rows("SELECT uuid FROM system.tables WHERE name = 'calls_1m_view'")
    make(engine)
    assert engine.rows("SELECT uuid FROM system.tables WHERE name = 'calls_1m_view'") == made
    engine.execute("INSERT INTO tocsin.calls (ts, service) VALUES (1700000000, 'a')")
    assert engine.rows("SELECT service, sum(n) FROM tocsin.calls_1m GROUP BY service") == [("a", 1)]


def test_a_view_that_is_right_is_not_touched(
    engine: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(engine)
    real, said = ClickHouse.execute, list[str]()

    def spy(self: ClickHouse, sql: str, *args: Any, **kwargs: Any) -> None:
        said.append(sql)
        real(self, sql, *args, **kwargs)

    monkeypatch.setattr(ClickHouse, "execute", spy)
    ddl.refresh_views(engine)
    assert said == []


def test_no_call_is_missing_from_a_rollup_while_its_view_is_changed(engine: ClickHouse) -> None:
    """A process that starts changes the view while another one inserts."""
    make(engine, FOREVER)
    stop, sent = threading.Event(), [0]

    def insert() -> None:
        while not stop.is_set():
            engine.execute("INSERT INTO tocsin.calls (ts, service) VALUES (1700000000, 'a')")
            sent[0] += 1

    other = replace(schema.VIEWS[0], select=schema.VIEWS[0].select.replace("AS n,", "+ 0 AS n,"))
    thread = threading.Thread(target=insert)
    thread.start()
    try:
        for _ in range(10):
            for view in (other, schema.VIEWS[0]):
                ddl.refresh_views(engine, [view])
    finally:
        stop.set()
        thread.join()
    assert sent[0] > 0
    assert engine.rows("SELECT sum(n) FROM tocsin.calls_1m") == [(sent[0],)]


CLUSTER = Layout("main")


@pytest.mark.parametrize(
    ("file", "layout"),
    [("one_node.sql", ONE_NODE), ("cluster.sql", CLUSTER)],
    ids=["one node", "cluster"],
)
def test_the_statements_are_those_of_the_golden_file(file: str, layout: Layout) -> None:
    """Run this module as a script to write the files anew, and read the difference."""
    assert golden_text(layout) == (GOLDEN / file).read_text("utf-8")


def golden_text(layout: Layout) -> str:
    return ";\n\n".join(ddl.ddl(EVERY_TABLE, layout=layout)) + ";\n"


def test_every_statement_for_a_cluster_is_understood_by_the_engine(engine: ClickHouse) -> None:
    statements = [*ddl.ddl(EVERY_TABLE, layout=CLUSTER), *prices.ddl(CLUSTER)]
    for statement in statements:
        assert engine.rows(f"EXPLAIN AST {statement}")
        assert "ON CLUSTER main" in statement


def test_changes_of_tables_on_a_cluster_are_understood_by_the_engine(
    engine: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is only ever run on a cluster: upgrades, retention, deletion, waiting for replicas."""
    make(engine)
    said: list[str] = []
    monkeypatch.setattr(engine, "layout", CLUSTER)
    monkeypatch.setattr(ClickHouse, "execute", lambda self, sql, *a, **k: said.append(sql))
    monkeypatch.setattr(ddl, "columns_of", lambda *_: frozenset())
    upgrades.writers_apart(engine)
    Keeping(engine, clock(), EVERY_TABLE).apply(Retention(3, 5, 0, content_days=1))
    engine.delete("calls", "seg = 1")
    engine.catch_up("calls")
    engine.make_database()
    monkeypatch.setattr(engine, "is_embedded", False)
    engine.end(Path("0001-traces.ready"))
    monkeypatch.undo()
    assert len(said) > 15
    for statement in said:
        assert engine.rows(f"EXPLAIN AST {statement}"), statement
        assert "ON CLUSTER main" in statement


def test_rows_are_spread_by_trace_and_never_by_chance() -> None:
    keys = {table.name: table.sharding for table in EVERY_TABLE}
    for name in ("calls", "scores", "logs"):
        assert keys[name] == "cityHash64(if(trace_id = '', toString(ts), trace_id))"
    assert not any("rand" in key for key in keys.values())


def test_raw_rows_minutes_hours_and_content_have_their_own_retention() -> None:
    keep = Retention(raw_days=30, minutes_days=5, hours_days=0, content_days=3, scores_days=90)
    texts = {s.split("tocsin.")[1].split(" ")[0]: s for s in ddl.ddl(views=(), retention=keep)}
    assert "TTL toDateTime(ts) + INTERVAL 30 DAY\n" in texts["calls"]
    assert "input String CODEC(ZSTD(1)) TTL toDateTime(ts) + INTERVAL 3 DAY" in texts["calls"]
    assert "TTL toDateTime(ts) + INTERVAL 90 DAY" in texts["scores"]
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


def test_a_second_store_on_the_same_engine_path_is_refused_clearly(tmp_path: Path) -> None:
    with (
        Telemetry.open(tmp_path, clock(), kinds=[BATCHES]),
        pytest.raises(StoreError, match="another Tocsin process uses"),
    ):
        Telemetry.open(tmp_path / "other", clock())


if __name__ == "__main__":
    for name, layout in (("one_node.sql", ONE_NODE), ("cluster.sql", CLUSTER)):
        (GOLDEN / name).write_text(golden_text(layout), "utf-8")
