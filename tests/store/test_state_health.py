"""The last sample of every health score is found without reading months of minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from state_build import BACKENDS, opened

from tocsin.domain.health import HealthSample
from tocsin.store.state import StateStore

NAMES = ("billing", "chat", "chat 2", "Claims", "")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_of_every_score_is_found(backend: str, tmp_path: Path) -> None:
    with opened(backend, tmp_path) as (store, _):
        assert store.newest_health() == {}
        fill(store, minutes=range(5))
        found = store.newest_health()
        assert {name: one.minute for name, one in found.items()} == dict.fromkeys(NAMES, 4)
        assert found["chat"].body == {"minute": 4}


def test_no_step_of_it_reads_all_minutes(tmp_path: Path) -> None:
    with opened("memory", tmp_path) as (store, _):
        fill(store, minutes=range(3))
        asked: list[str] = []
        engine = store._database.engine
        sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        store.newest_health()
        [query] = [sql for sql in asked if "health_sample" in sql]
        with engine.connect() as connection:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    assert [row[3] for row in steps if row[3].startswith("SCAN health_sample")] == []


def fill(store: StateStore, minutes: range) -> None:
    with store.transaction() as tx:
        tx.put_health([
            HealthSample(name, minute, "chat", "f", "ok", 0.9, {"minute": minute})
            for name in NAMES for minute in minutes
        ])  # fmt: skip
