"""The listeners beside HTTP, OTLP/gRPC and Arrow Flight: which are opened, and on which port.

A port that was asked for must be had, or the server does not start. The usual one is taken when it
is free; when it is not, or a library is missing, the log says so once and the server goes on: it
is most likely another Tocsin or a collector on the same machine.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from tocsin.domain.errors import StoreError
from tocsin.engine.settings import FLIGHT_PORT, GRPC_PORT, Settings
from tocsin.intake.credentials import Admit
from tocsin.intake.intake import Intake

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenDoors:
    """The ports that are open, 0 where none is."""

    grpc: int = 0
    flight: int = 0


@asynccontextmanager
async def open_doors(settings: Settings, intake: Intake, admit: Admit) -> AsyncIterator[OpenDoors]:
    """Open for as long as the block lasts. StoreError when a port that was asked for is taken."""
    async with AsyncExitStack() as stack:
        grpc = flight = 0
        if settings.grpc_port != 0 and _has_grpc(settings):
            grpc = await _opened(
                stack, settings, "OTLP/gRPC", "TOCSIN_GRPC_PORT", settings.grpc_port, GRPC_PORT,
                lambda: importlib.import_module("tocsin.intake.otlp_grpc").OtlpGrpc(intake, admit),
            )  # fmt: skip
        if settings.flight_port != 0:
            flight = await _opened(
                stack, settings, "Arrow Flight", "TOCSIN_FLIGHT_PORT", settings.flight_port,
                FLIGHT_PORT,
                lambda: importlib.import_module("tocsin.intake.flight").FlightDoor(intake, admit),
            )  # fmt: skip
        yield OpenDoors(grpc, flight)


async def _opened(
    stack: AsyncExitStack,
    settings: Settings,
    name: str,
    variable: str,
    asked: int | None,
    usual: int,
    make: Callable[[], Any],
) -> int:
    """The port of a door that is open, 0 when it could not be opened."""
    door = make()
    try:
        await door.start(settings.host, usual if asked is None else asked)
    except StoreError as error:
        if asked is not None:
            raise StoreError(f"{error}; choose another {variable}, or 0 for none") from None
        log.warning("port_taken", door=name, port=usual, fix=f"set {variable} to a free port")
        return 0
    stack.push_async_callback(door.stop)
    port: int = door.port
    return port


def _has_grpc(settings: Settings) -> bool:
    if importlib.util.find_spec("grpc") is not None:
        return True
    fix = "pip install 'tocsin[grpc]', or set TOCSIN_GRPC_PORT=0"
    if settings.grpc_port is not None:
        raise StoreError(f"OTLP/gRPC needs grpcio, which is not installed: {fix}")
    log.warning("grpc_not_installed", fix=fix)
    return False
