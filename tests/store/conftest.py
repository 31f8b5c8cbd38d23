"""Tests of the telemetry store run on every kind of ClickHouse there is.

embedded    in the test's own process
pieces      the same with Distributed tables over pieces: a cluster of one shard, as far as the
            embedded engine goes
front       another process's embedded engine, over its HTTP front
server      a ClickHouse server, when TOCSIN_TEST_CLICKHOUSE names one (its database `tocsin` is
            dropped and made anew!)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_front_build import front
from telemetry_build import Where

from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.layout import ONE_NODE, Layout

SERVER = os.environ.get("TOCSIN_TEST_CLICKHOUSE", "")
PLACES: list[object] = ["embedded", "pieces", "front"]
if SERVER:
    PLACES.append(pytest.param("server", marks=pytest.mark.clickhouse))


@pytest.fixture(scope="module", params=PLACES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClickHouse | None]:
    """The engine that the stores of a module share; None when each has its own."""
    if request.param == "embedded":
        yield None
    elif request.param == "pieces":
        Where.layout = Layout("one", is_replicated=False)
        yield None
        Where.layout = ONE_NODE
    elif request.param == "front":
        with front(Path(tmp_path_factory.mktemp("front"))) as served:
            Where.dsn = served.url
            yield served.engine
            Where.dsn = ""
    else:
        engine = ClickHouse(SERVER)
        Where.dsn = SERVER
        yield engine
        Where.dsn = ""
        engine.close()


@pytest.fixture
def fresh(place: ClickHouse | None) -> ClickHouse | None:
    """As `place`, with nothing in it."""
    if place is not None:
        place.execute(f"DROP DATABASE IF EXISTS {DATABASE} SYNC")
        place.make_database()
    return place
