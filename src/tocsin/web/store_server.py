"""Listens for the store's HTTP front: beside a server, or for its own sake (`tocsin store serve`).

It listens on its own port and in the same event loop; statements run in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import structlog
import uvicorn
from starlette.types import ASGIApp

from tocsin.domain.clock import Clock
from tocsin.domain.errors import StoreError
from tocsin.engine.settings import Settings
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.served import Bounds
from tocsin.store.telemetry import Telemetry
from tocsin.web.store_front import Doorkeeper, StoreFront

log = structlog.get_logger(__name__)
USUAL_PORT = 8123


class _Listener(uvicorn.Server):
    """Leaves signals to whoever runs the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served_store(settings: Settings, telemetry: Telemetry) -> AsyncIterator[str]:
    """Serve the embedded store for as long as the block lasts; its address, "" when it is off."""
    if not settings.store_port:
        yield ""
        return
    door = Doorkeeper.for_bind(
        settings.store_host, settings.store_token or None, settings.store_read_token or None
    )
    bound = _bind(settings.store_host, settings.store_port)
    served = await asyncio.to_thread(telemetry.served, bounds_for(settings.memory_bytes))
    listener = _listener(StoreFront(served, door).app())
    task = asyncio.create_task(listener.serve(sockets=[bound]), name="store-front")
    url = f"http://{settings.store_host}:{settings.store_port}"
    log.info("store_served", url=url, tokens=len(door.tokens))
    try:
        yield url
    finally:
        listener.should_exit = True
        await task
        await asyncio.to_thread(served.close)


def bounds_for(memory_bytes: int) -> Bounds:
    """A statement from outside may take half of what the engine may use."""
    return Bounds(memory_bytes=memory_bytes // 2, result_bytes=memory_bytes // 4)


async def serve_store(settings: Settings, clock: Clock, stop: asyncio.Event) -> None:
    """Own the store of a data directory and serve it, until `stop`; nothing is judged.

    What a former process left in the write-ahead directory is loaded first.
    """
    if settings.clickhouse:
        raise StoreError("TOCSIN_CLICKHOUSE is set: there is no embedded store to serve; unset it")
    telemetry = await asyncio.to_thread(
        Telemetry.open, settings.data_dir, clock, kinds=KINDS, tables=TABLES,
        memory_bytes=settings.memory_bytes,
    )  # fmt: skip
    try:
        async with served_store(settings, telemetry):
            await stop.wait()
    finally:
        await asyncio.to_thread(telemetry.close)


def make_private(data_dir: Path) -> None:
    """Make a data directory, readable by its owner only. StoreError when that fails."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(
            f"the data directory {data_dir} cannot be made: {error.strerror}"
        ) from None


def _listener(app: ASGIApp) -> _Listener:
    return _Listener(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
        )
    )


def _bind(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen()
    except OSError as error:
        bound.close()
        raise StoreError(
            f"cannot serve the store on {host}:{port}: {error.strerror}; choose another"
            " TOCSIN_STORE_PORT, or stop what listens there"
        ) from None
    return bound
