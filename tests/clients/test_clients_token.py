"""A server with an access token, as a process: clients come in with it, on every door."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from client_run import Tocsin
from fake_provider import FakeProvider
from intake_doors import Addresses, free_port

TOKEN = "a-token-of-sixteen-characters"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
PAUSE = threading.Event()  # never set: `wait` is a pause


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider) -> Iterator[Tocsin]:
    data = tmp_path_factory.mktemp("guarded")
    http, grpc, flight = free_port(), free_port(), free_port()
    words = [sys.executable, "-c", "from tocsin.cli import main; main()", "serve"]
    words += ["--data-dir", str(data / "data"), "--port", str(http)]
    variables = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "OTEL_"))},
        "TOCSIN_TOKEN": TOKEN,
        "TOCSIN_GRPC_PORT": str(grpc),
        "TOCSIN_FLIGHT_PORT": str(flight),
    }
    url = f"http://127.0.0.1:{http}"
    with (data / "log").open("w") as log:
        server = subprocess.Popen(words, env=variables, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until_healthy(server, url, data / "log")
            yield Tocsin(Addresses(url, grpc, flight), provider.url)
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 0
        finally:
            if server.poll() is None:
                server.kill()
                server.wait(10)
    text = (data / "log").read_text()
    assert f"otlp_grpc={grpc}" in text
    assert f"arrow_flight={flight}" in text
    assert "Traceback" not in text


def wait_until_healthy(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/healthz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        PAUSE.wait(0.1)
    raise AssertionError(log.read_text())


def calls(guarded: Tocsin, service: str, at_least: int) -> int:
    """How many calls of a service there are, once there are some."""
    found = 0
    for _ in range(300):
        answer = httpx.get(
            f"{guarded.addresses.http}/api/v1/calls", params={"service": service}, headers=HEADERS
        )
        found = answer.json()["total"]
        if found >= at_least:
            break
        PAUSE.wait(0.1)
    return found


@pytest.mark.parametrize("recipe", ["opentelemetry", "arize8", "phoenix-otel"])
def test_a_client_with_the_token_comes_in(guarded: Tocsin, tmp_path: Path, recipe: str) -> None:
    guarded.run_snippet("python", recipe, f"with-{recipe}", tmp_path, token=TOKEN)
    assert calls(guarded, f"with-{recipe}", 1) == 1


def test_clients_without_it_are_told_so_and_nothing_is_stored(
    guarded: Tocsin, tmp_path: Path
) -> None:
    guarded.run_snippet("python", "opentelemetry", "without", tmp_path)  # only its log says so
    with pytest.raises(AssertionError, match="401"):
        guarded.run_snippet("python", "arize8", "without", tmp_path)
    guarded.run_snippet("python", "opentelemetry", "after", tmp_path, token=TOKEN)
    assert calls(guarded, "after", 1) == 1
    assert calls(guarded, "without", 0) == 0
