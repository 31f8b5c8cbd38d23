"""`tocsin store` and the switch, as processes: two on one store, a copy, a backup put back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

TOKEN = "token-of-the-served-store"
PAUSE = threading.Event()  # never set: `wait` is a pause


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from tocsin.cli import main; main()", *map(str, words)]


def environment(**given: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "OTEL_"))}
    return {**kept, "TOCSIN_GRPC_PORT": "0", "TOCSIN_FLIGHT_PORT": "0", **given}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(*words: str | Path, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env=environment(**given), capture_output=True, text=True, timeout=120
    )


def told(*words: str | Path, **given: str) -> Any:
    done = run(*words, "--output", "json", **given)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Process:
    """A server that runs until it is stopped."""

    def __init__(self, log: Path, *words: str | Path, **given: str) -> None:
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                command(*words), env=environment(**given), stdout=out, stderr=subprocess.STDOUT
            )

    def wait_for(self, url: str) -> None:
        for _ in range(600):
            assert self.process.poll() is None, self.log.read_text()
            try:
                if httpx.get(url, timeout=10).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            PAUSE.wait(0.1)
        raise AssertionError(f"{url} never answered: {self.log.read_text()}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log.read_text()


def send(port: int, first: int, count: int) -> None:
    now = datetime.now(UTC).isoformat()
    rows = [
        {"ts": now, "service": "chat", "model": "gpt-4o", "call_id": f"{first + n:016x}",
         "input_tokens": 10, "output_tokens": 5, "duration_ms": 100}
        for n in range(count)
    ]  # fmt: skip
    answer = httpx.post(f"http://127.0.0.1:{port}/api/v1/calls", json=rows, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"] == count


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    running: list[Process] = []
    yield running
    for one in reversed(running):
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def rows_of(status: Any, table: str) -> int:
    return next(one["rows"] for one in status["tables"] if one["table"] == table)


def test_two_servers_share_the_store_of_the_first(tmp_path: Path, started: list[Process]) -> None:
    ports, store = (free_port(), free_port()), free_port()
    first = Process(
        tmp_path / "first.log", "serve", "--data-dir", tmp_path / "first", "--port",
        str(ports[0]), TOCSIN_STORE_PORT=str(store), TOCSIN_STORE_TOKEN=TOKEN,
    )  # fmt: skip
    started.append(first)
    first.wait_for(f"http://127.0.0.1:{ports[0]}/healthz")
    switch = {
        "TOCSIN_CLICKHOUSE": f"http://tocsin@127.0.0.1:{store}",
        "TOCSIN_CLICKHOUSE_PASSWORD": TOKEN,
    }
    second = Process(
        tmp_path / "second.log", "serve", "--data-dir", tmp_path / "second", "--port",
        str(ports[1]), **switch,
    )  # fmt: skip
    started.append(second)
    second.wait_for(f"http://127.0.0.1:{ports[1]}/healthz")
    send(ports[0], 0, 30)
    send(ports[1], 100, 50)
    second.stop()
    for _ in range(100):
        status = told("store", "status", "--data-dir", tmp_path / "none", **switch)
        if rows_of(status, "calls") == 80:
            break
        PAUSE.wait(0.2)
    assert rows_of(status, "calls") == 80
    assert status["store"] == f"http://127.0.0.1:{store}"
    listed = httpx.get(f"http://127.0.0.1:{ports[0]}/api/v1/calls?service=chat", timeout=60)
    assert len(listed.json()["items"]) == 80
    first.stop()
    for one in (first, second):
        assert TOKEN not in one.log.read_text()


def test_a_directory_is_copied_into_a_served_store(tmp_path: Path, started: list[Process]) -> None:
    source, port, store = tmp_path / "source", free_port(), free_port()
    server = Process(tmp_path / "s.log", "serve", "--data-dir", source, "--port", str(port))
    started.append(server)
    server.wait_for(f"http://127.0.0.1:{port}/healthz")
    send(port, 0, 40)
    server.stop()
    target = Process(
        tmp_path / "t.log", "store", "serve", "--data-dir", tmp_path / "target", "--port",
        str(store), TOCSIN_STORE_TOKEN=TOKEN,
    )  # fmt: skip
    started.append(target)
    target.wait_for(f"http://127.0.0.1:{store}/ping")
    to = f"http://tocsin:{TOKEN}@127.0.0.1:{store}"
    for hours_sent in (1, 0):
        done = {one["table"]: one for one in told("store", "copy", "--from", source, "--to", to)}
        assert (done["calls"]["rows"], done["calls"]["hours_sent"]) == (40, hours_sent)
        assert done["calls"]["input_tokens"] == 400
    text = run("store", "copy", "--from", source, "--to", to)
    assert text.returncode == 0
    assert "calls: 40 rows in 1 hours equal" in text.stdout
    target.stop()


def test_a_backup_is_put_back_with_state_and_telemetry(
    tmp_path: Path, started: list[Process]
) -> None:
    data, port = tmp_path / "data", free_port()
    server = Process(tmp_path / "s.log", "serve", "--data-dir", data, "--port", str(port))
    started.append(server)
    server.wait_for(f"http://127.0.0.1:{port}/healthz")
    send(port, 0, 25)
    busy = run("store", "backup", tmp_path / "backup", "--data-dir", data)
    assert busy.returncode == 1
    assert "another Tocsin process" in busy.stderr.replace("\n", " ")
    assert not (tmp_path / "backup").exists()
    busy = run("store", "status", "--data-dir", data)
    assert busy.returncode == 1
    assert "TOCSIN_CLICKHOUSE" in busy.stderr
    server.stop()
    before = told("store", "status", "--data-dir", data)
    made = run("store", "backup", tmp_path / "backup", "--data-dir", data)
    assert made.returncode == 0, made.stderr
    assert run("store", "backup", tmp_path / "backup", "--data-dir", data).returncode == 1
    fresh = tmp_path / "fresh"
    put = run("store", "restore", tmp_path / "backup", "--data-dir", fresh)
    assert put.returncode == 0, put.stderr
    assert run("store", "restore", tmp_path / "backup", "--data-dir", fresh).returncode == 1
    after = told("store", "status", "--data-dir", fresh)
    counted = [
        {k: one[k] for k in ("table", "rows", "oldest", "newest")} for one in before["tables"]
    ]
    assert counted == [
        {k: one[k] for k in ("table", "rows", "oldest", "newest")} for one in after["tables"]
    ]
    assert rows_of(after, "calls") == 25
    again = Process(tmp_path / "a.log", "serve", "--data-dir", fresh, "--port", str(port))
    started.append(again)
    again.wait_for(f"http://127.0.0.1:{port}/healthz")
    send(port, 100, 5)
    again.stop()
    assert rows_of(told("store", "status", "--data-dir", fresh), "calls") == 30


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "cannot be reached"),
        ("http://tocsin:wrong-password-here@127.0.0.1:{port}", "does not let user 'tocsin' in"),
        ("ftp://host", "neither http nor https"),
        ("http://host:port", "is not a number"),
        ("http://host/mydb", "leave it out"),
        ("http://host?colour=red", "unknown option 'colour'"),
    ],
    ids=["unreachable", "wrong token", "scheme", "port", "database", "option"],
)
def test_a_server_that_cannot_be_used_is_told_in_words_without_the_password(
    tmp_path: Path, started: list[Process], url: str, words: str
) -> None:
    port = free_port()
    if "{port}" in url:
        served = Process(
            tmp_path / "t.log", "store", "serve", "--data-dir", tmp_path / "target", "--port",
            str(port), TOCSIN_STORE_TOKEN=TOKEN,
        )  # fmt: skip
        started.append(served)
        served.wait_for(f"http://127.0.0.1:{port}/ping")
    given = url.format(port=port)
    done = run(
        "serve", "--data-dir", tmp_path / "data", "--port", str(free_port()),
        TOCSIN_CLICKHOUSE=given,
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stderr.replace("\n", " ")
    assert "wrong-password-here" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
