"""The doors of a bench on real ports of the loopback: HTTP, OTLP/gRPC and Arrow Flight."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from intake_build import Bench

from tocsin.engine.settings import Settings
from tocsin.intake.credentials import Admit, admission
from tocsin.web.doors import open_doors


@dataclass(frozen=True)
class Addresses:
    """Where a bench listens."""

    http: str
    grpc: int
    flight: int


@contextmanager
def serving(made: Bench, admit: Admit | None = None) -> Iterator[Addresses]:
    """Serve a bench from a thread with an event loop of its own."""
    started: list[Addresses] = []
    failed: list[BaseException] = []
    ready = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(made.app, log_config=None, lifespan="off"))
    settings = Settings(data_dir=Path(), grpc_port=free_port(), flight_port=free_port())

    async def run() -> None:
        async with open_doors(settings, made.intake, admit or admission(None)) as doors:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            started.append(Addresses(url, doors.grpc, doors.flight))
            ready.set()
            await server.serve(sockets=[listener])

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=main)
    thread.start()
    ready.wait(20)
    try:
        if failed:
            raise failed[0]
        yield started[0]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def free_port() -> int:
    """A port on which nobody listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
