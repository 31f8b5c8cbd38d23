"""The alertmanager receiver against a real Alertmanager, as Debian packages it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from delivery_build import message

from tocsin.delivery.channels.alertmanager import Alertmanager, AlertmanagerConfig
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Delivered

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if PROGRAM is None:
        pytest.skip("no Alertmanager here (Debian: prometheus-alertmanager)")
    place: Path = tmp_path_factory.mktemp("alertmanager")
    (place / "config.yml").write_text(CONFIG)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [
        PROGRAM, f"--config.file={place / 'config.yml'}", f"--storage.path={place}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                if httpx.get(f"{address}/-/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            pytest.fail((place / "log").read_text())
        yield address
    finally:
        process.terminate()
        process.wait(10)


def alerts(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{url}/api/v2/alerts").json()
    return found


def test_an_incident_lives_and_ends_there(url: str) -> None:
    channel = Alertmanager(AlertmanagerConfig((url,)))
    now = datetime.now(UTC)
    fire = message(at=now, since=now - timedelta(minutes=5), labels={"http.route": "/ask"})

    async def tell(*messages: Message) -> list[Any]:
        async with httpx.AsyncClient() as http:
            return [await channel.send(each, http) for each in messages]

    first, again = asyncio.run(tell(fire, fire))
    assert isinstance(first, Delivered)
    assert again == first
    (alert,) = alerts(url)
    assert alert["status"]["state"] in {"active", "unprocessed"}
    assert alert["labels"]["http_route"] == "/ask"
    assert alert["annotations"]["summary"] == "support: error rate: one call in four fails"
    assert alert["generatorURL"] == "https://tocsin.example.org/incidents/support-1"

    severer = replace(fire, severity="warning", action="update", thread=first.remote_ref)
    (second,) = asyncio.run(tell(severer))
    (alert,) = alerts(url)
    assert alert["labels"]["severity"] == "warning", "the other one is over"

    over = replace(severer, action="resolve", thread=second.remote_ref)
    asyncio.run(tell(over))
    assert alerts(url) == []
