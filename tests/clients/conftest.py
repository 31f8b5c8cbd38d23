"""One server with every door open, and one provider, for all real clients of a module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "intake"))
from client_run import Tocsin
from fake_provider import FakeProvider, fake_provider
from intake_build import bench
from intake_doors import serving

from tocsin.domain.clock import SystemClock
from tocsin.intake.intake import Intake


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with fake_provider() as running:
        yield running


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider) -> Iterator[Tocsin]:
    pytest.importorskip("grpc", reason="the extra grpc is not installed")
    with bench(tmp_path_factory.mktemp("clients")) as made:
        made.intake = Intake(made.store.writer, SystemClock())
        with serving(made) as addresses:
            yield Tocsin(addresses, provider.url, made)
