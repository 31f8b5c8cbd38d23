"""Fixtures of the web tests: a desk, a client that looks like a browser on this machine."""

from __future__ import annotations

import pytest
from hypothesis import settings
from starlette.testclient import TestClient
from web_desk import NOW, MemoryDesk

from tocsin.domain.clock import ManualClock
from tocsin.web.app import create_app
from tocsin.web.auth import AuthPolicy

# How long an example takes says something about the machine, nothing about the code.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture
def desk() -> MemoryDesk:
    return MemoryDesk()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def client(desk: MemoryDesk, clock: ManualClock) -> TestClient:
    app = create_app(desk, auth=AuthPolicy.for_bind("127.0.0.1"), clock=clock)
    return TestClient(app, base_url="http://127.0.0.1:4318", raise_server_exceptions=False)
