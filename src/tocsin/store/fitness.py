"""Whether a ClickHouse server can hold Tocsin's store, asked before anything is made in it.

Each question has an answer that says what to do. The embedded engine is the one Tocsin was built
with and is not asked.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from tocsin.domain.errors import StoreError
from tocsin.store import failures
from tocsin.store.clickhouse import ClickHouse, EngineError, literal

# `input_format_protobuf_oneof_presence`, which says what kind of value an attribute has, is the
# newest thing that is used (see `system.settings_changes`).
OLDEST = (25, 9)
_FUNCTIONS = (
    "accurateCastOrDefault", "formatQuerySingleLine", "mapConcat", "mapFromArrays",
    "arrayDotProduct", "fromUnixTimestamp64Micro", "toJSONString", "dictGetOrDefault",
)  # fmt: skip
_SETTINGS = (
    "format_schema_source", "format_schema_message_name", "input_format_protobuf_oneof_presence",
    "input_format_max_block_size_bytes", "use_query_condition_cache", "optimize_and_compare_chain",
    "query_plan_merge_expressions", "short_circuit_function_evaluation",
)  # fmt: skip


def check(engine: ClickHouse) -> None:
    """StoreError with what is missing and what to do about it. Changes nothing."""
    if engine.is_embedded and not engine.layout.is_distributed:
        return
    try:
        _version(engine)
        if engine.layout.is_distributed:
            _cluster(engine)
        if engine.layout.everywhere:
            _replication(engine)
    except EngineError as error:
        raise failures.cannot_open(engine.address, error) from None


def make_database(engine: ClickHouse) -> None:
    """Make the database at a server. StoreError when its user may not."""
    if not engine.is_embedded:
        try:
            engine.make_database()
        except EngineError as error:
            raise failures.cannot_open(engine.address, error) from None


def _version(engine: ClickHouse) -> None:
    text = str(engine.rows("SELECT version()")[0][0])
    numbers = tuple(int(part) for part in text.split(".")[:2])
    oldest = ".".join(map(str, OLDEST))
    if numbers < OLDEST:
        raise StoreError(
            f"ClickHouse at {engine.address} is version {text}; Tocsin needs {oldest} or newer"
        )
    known = {
        row[0]
        for row in engine.rows(
            f"SELECT name FROM system.functions WHERE name IN ({_list(_FUNCTIONS)})"
            f" UNION ALL SELECT name FROM system.settings WHERE name IN ({_list(_SETTINGS)})"
        )
    }
    if missing := sorted({*_FUNCTIONS, *_SETTINGS} - known):
        raise StoreError(
            f"ClickHouse at {engine.address} (version {text}) lacks {', '.join(missing)}, which"
            f" Tocsin's SQL needs; use an official build of {oldest} or newer"
        )


def _cluster(engine: ClickHouse) -> None:
    known = [
        row[0] for row in engine.rows("SELECT DISTINCT cluster FROM system.clusters ORDER BY 1")
    ]
    if engine.layout.cluster not in known:
        raise StoreError(
            f"ClickHouse at {engine.address} knows no cluster {engine.layout.cluster!r}"
            f" (TOCSIN_CLICKHOUSE_CLUSTER); it knows {', '.join(known) or 'none'}. Clusters are"
            " configured under remote_servers on every node."
        )


def _replication(engine: ClickHouse) -> None:
    try:
        engine.rows("SELECT name FROM system.zookeeper WHERE path = '/' LIMIT 1")
    except EngineError as error:
        raise StoreError(
            f"ClickHouse at {engine.address} has no Keeper it can use, which replicated tables and"
            " ON CLUSTER need: configure <zookeeper> (ClickHouse Keeper or ZooKeeper) on every"
            f" node. It said: {str(error)[:200]}"
        ) from None
    rows = engine.rows(
        "SELECT macro FROM system.macros WHERE macro IN ('shard', 'replica') ORDER BY macro"
    )
    found = [row[0] for row in rows]
    if missing := [name for name in ("replica", "shard") if name not in found]:
        raise StoreError(
            f"ClickHouse at {engine.address} has no macro {' and no macro '.join(missing)}:"
            " <macros> with shard and replica tell a node which it is"
        )


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(map(literal, names))
