"""Two `tocsin serve` on one PostgreSQL: alerts come to both, and the one that decides is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from test_cli_store import PAUSE, command, environment, free_port

from tocsin.store.state import StateStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "store"))
from state_build import POSTGRES, postgres_schema

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not POSTGRES, reason="TOCSIN_TEST_POSTGRES names no database"),
]
ALERTS = 24
CONFIG = """
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: hook}
spec: {type: webhook, url: {secret: HOOK_URL}, secret: {secret: HOOK_SECRET}, allow_private: true}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults:
    unmatched: {tier: 1, receivers: [hook]}
    on_rule_error: {tier: 1, receivers: [hook]}
  routes: [{name: all, receivers: [hook]}]
"""
SECRET = "whsec_" + "dG9jc2luIGJlbmNobWFyayBrZXkgMDEyMw=="


@pytest.fixture
def told() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A receiver: its address, and (key, incident, action) of what it took."""
    taken: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]
            taken.append((self.headers["webhook-id"], data["title"], data["action"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/", taken
    server.shutdown()
    server.server_close()
    serving.join()


class Replica:
    def __init__(self, path: Path, state: str, hook: str) -> None:
        (path / "config").mkdir(parents=True)
        (path / "config" / "all.yaml").write_text(CONFIG)
        self.port = free_port()
        self.log = path / "log"
        given = {
            "TOCSIN_STATE": state, "TOCSIN_LEASE_S": "3", "HOOK_URL": hook, "HOOK_SECRET": SECRET,
        }  # fmt: skip
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                command("serve", "--data-dir", path / "data", "--config", path / "config",
                        "--port", str(self.port)),
                env=environment(**given), stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5).is_success
        except httpx.TransportError:
            return False

    def push(self, number: int) -> None:
        labels = {"alertname": "Down", "service": f"s{number}", "severity": "critical"}
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/api/v1/alerts/alertmanager",
            json={"version": "4", "alerts": [{"status": "firing", "labels": labels,
                                              "startsAt": "2026-11-20T12:00:00Z"}]},
            timeout=20,
        )  # fmt: skip
        assert answer.status_code == 202

    def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.wait(30)


def wait(good: threading.Event, what: str, check: object) -> None:
    for _ in range(450):
        if check():  # type: ignore[operator]
            return
        good.wait(0.1)
    raise AssertionError(f"{what} did not come about")


def test_alerts_come_to_both_and_the_one_that_decides_is_killed(
    tmp_path: Path, told: tuple[str, list[tuple[str, str, str]]]
) -> None:
    hook, taken = told
    with postgres_schema() as state:
        store = StateStore.open(state)
        replicas = [Replica(tmp_path / str(n), state, hook) for n in range(2)]
        try:
            wait(PAUSE, "both", lambda: all(each.is_up() for each in replicas))
            for number in range(ALERTS // 2):
                replicas[number % 2].push(number)
            wait(PAUSE, "half", lambda: len({t for _, t, _ in taken}) >= ALERTS // 4)
            (decides,) = [e.actor for e in store.ledger_entries() if e.kind == "conductor.taken"]
            conductor = next(r for r in replicas if decides.endswith(f"-{r.process.pid}"))
            other = next(r for r in replicas if r is not conductor)
            conductor.end(signal.SIGKILL)
            for number in range(ALERTS // 2, ALERTS):
                other.push(number)
            wait(PAUSE, "all", lambda: len({t for _, t, _ in taken}) == ALERTS)
            other.end(signal.SIGTERM)
            assert "Traceback" not in other.log.read_text()
        finally:
            for each in replicas:
                if each.process.poll() is None:
                    os.kill(each.process.pid, signal.SIGKILL)
                    each.process.wait()
        keys = Counter(key for key, _, _ in taken)
        assert len(keys) == ALERTS, "an alert is told under one key, whoever tells it"
        assert sum(keys.values()) <= ALERTS + 8, "only what was under way is told again"
        actors = [e.actor for e in store.ledger_entries(limit=5000) if e.kind == "conductor.taken"]
        assert actors == [decides, f"{decides.rpartition('-')[0]}-{other.process.pid}"]
        received = Counter(e.subject for e in store.ledger_entries(limit=5000)
                           if e.kind == "alert.received")  # fmt: skip
        assert set(received.values()) == {1}, "each alert was decided by one process"
        assert store.verify_ledger() is None
        store.close()
