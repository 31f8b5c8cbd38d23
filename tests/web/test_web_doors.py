"""Which doors open beside HTTP, and what is said when one cannot."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tocsin.domain.clock import ManualClock
from tocsin.domain.errors import StoreError
from tocsin.engine.settings import Settings
from tocsin.intake.credentials import admission
from tocsin.intake.intake import Intake
from tocsin.web import doors
from tocsin.web.doors import OpenDoors, open_doors

pytest.importorskip("grpc", reason="the extra grpc is not installed")


class Nowhere:
    """A writer that keeps nothing."""

    async def append(self, *_: Any, **__: Any) -> bool:
        return True


def nothing() -> Intake:
    return Intake(Nowhere(), ManualClock(datetime(2026, 11, 21, tzinfo=UTC)))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def opened(**ports: int | None) -> OpenDoors:
    """The doors that these settings open; they are closed again."""

    async def run() -> OpenDoors:
        settings = Settings(data_dir=Path(), **ports)  # type: ignore[arg-type]
        async with open_doors(settings, nothing(), admission(None)) as found:
            for port in filter(None, (found.grpc, found.flight)):
                socket.create_connection(("127.0.0.1", port), 5).close()
            return found

    return asyncio.run(run())


def test_zero_is_no_door() -> None:
    assert opened(grpc_port=0, flight_port=0) == OpenDoors(0, 0)


@pytest.mark.parametrize("name", ["grpc_port", "flight_port"])
def test_a_port_that_was_asked_for_must_be_free(taken: int, name: str) -> None:
    ports = {"grpc_port": 0, "flight_port": 0, name: taken}
    with pytest.raises(StoreError, match=rf"cannot listen on 127.0.0.1:{taken} .*choose another"):
        opened(**ports)


@pytest.mark.parametrize(
    ("usual", "own", "other"),
    [("GRPC_PORT", "grpc_port", "flight_port"), ("FLIGHT_PORT", "flight_port", "grpc_port")],
)
def test_a_usual_port_that_is_taken_is_said_once_and_does_not_stop_the_server(
    taken: int, monkeypatch: pytest.MonkeyPatch, usual: str, own: str, other: str
) -> None:
    monkeypatch.setattr(doors, usual, taken)
    with capture_logs() as logs:
        assert opened(**{own: None, other: 0}) == OpenDoors(0, 0)
    assert [(log["event"], log["port"]) for log in logs] == [("port_taken", taken)]


def test_two_servers_never_share_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seen: list[OpenDoors] = []
    monkeypatch.setattr(doors, "GRPC_PORT", port)

    async def run() -> None:
        settings = Settings(data_dir=Path(), flight_port=0)
        async with (
            open_doors(settings, nothing(), admission(None)) as first,
            open_doors(settings, nothing(), admission(None)) as second,
        ):
            seen.extend((first, second))

    asyncio.run(run())
    assert seen == [OpenDoors(port, 0), OpenDoors(0, 0)]


def test_without_grpcio_the_server_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with capture_logs() as logs:
        assert opened(flight_port=0) == OpenDoors(0, 0)
    assert [log["event"] for log in logs] == ["grpc_not_installed"]
    assert "tocsin[grpc]" in logs[0]["fix"]
    with pytest.raises(StoreError, match="grpcio"):
        opened(grpc_port=1234, flight_port=0)
