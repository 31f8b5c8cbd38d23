"""The store's HTTP front over an embedded engine of its own, on a free port of this machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from tocsin.store.clickhouse import ClickHouse
from tocsin.store.served import Bounds, Served
from tocsin.web.store_front import Doorkeeper, StoreFront

MEMORY = 1_500_000_000
TOKEN, READ_TOKEN = "write-token-for-tests-0001", "read-token-for-tests-00001"


class Front:
    """A running front: its address and the engine behind it."""

    def __init__(self, engine: ClickHouse, served: Served, port: int) -> None:
        self.engine = engine
        self.served = served
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def as_(self, token: str) -> str:
        """The address with a token."""
        return f"http://tocsin:{token}@127.0.0.1:{self.port}"


@contextmanager
def front(path: Path, *, tokens: bool = False, bounds: Bounds | None = None) -> Iterator[Front]:
    """Serve an engine whose files are under `path`, for as long as the block lasts."""
    engine = ClickHouse.embedded(path / "clickhouse", memory_bytes=MEMORY)
    served = Served(path / "clickhouse", bounds)
    door = Doorkeeper.for_bind("127.0.0.1", *((TOKEN, READ_TOKEN) if tokens else (None, None)))
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    bound.listen()
    config = uvicorn.Config(
        StoreFront(served, door).app(), log_config=None, access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[bound])), name="front", daemon=True
    )
    thread.start()
    try:
        yield Front(engine, served, bound.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        bound.close()
        served.close()
        engine.close()
