"""Fixtures of the SDK's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sdk_build import Listener, Tocsin

import tocsin_sdk


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def tocsin(tmp_path: Path) -> Iterator[Tocsin]:
    """A real server that is not started yet."""
    made = Tocsin(tmp_path / "data")
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def no_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test begins in a process that has not heard of a server."""
    for name in ("TOCSIN_URL", "TOCSIN_TOKEN", "TOCSIN_SERVICE", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tocsin_sdk, "_client", None)
    yield
    if tocsin_sdk._client is not None:
        tocsin_sdk._client.shutdown(0.2)
