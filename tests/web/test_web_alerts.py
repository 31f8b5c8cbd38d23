"""A real Prometheus and a real Alertmanager point at a running server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: board}
spec: {type: none}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults:
    group_by: [source, service, signal]
    unmatched: {tier: 3, receivers: [board]}
    on_rule_error: {tier: 3, receivers: [board]}
  classify:
    - {if: {severity: page}, set: {tier: 1}}
    - {if: {}, set: {tier: 3}, when_unset: true}
  routes:
    - {name: all, receivers: [board]}
"""
RULES = """
groups:
  - name: chat
    rules:
      - alert: TooManyErrors
        expr: vector(%d) > 0
        labels: {service: chat, severity: critical}
        annotations: {summary: one call in four fails}
"""
WITHIN_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(log: Path, *arguments: str | Path) -> Iterator[None]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "OTEL_"))}
    with log.open("wb") as out:
        process = subprocess.Popen(list(map(str, arguments)), stdout=out, stderr=out, env=clean)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def until(url: str, good: Any) -> Any:
    """The first answer that is good."""
    last: Any = None
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        try:
            last = httpx.get(url, timeout=5)
            if last.status_code == 200 and good(last):
                return last
        except httpx.TransportError as error:
            last = error
        time.sleep(0.2)
    pytest.fail(f"{url} never came good: {getattr(last, 'text', last)}")


@dataclass(frozen=True, slots=True)
class World:
    """A server at `url`, and the Prometheus and Alertmanager that point at it."""

    url: str
    prometheus: str
    rules: Path

    def set(self, value: int) -> None:
        """The alert fires while this is above 0."""
        self.rules.write_text(RULES % value)
        httpx.post(f"{self.prometheus}/-/reload").raise_for_status()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if PROMETHEUS is None or ALERTMANAGER is None:
        pytest.skip("no Prometheus or Alertmanager (Debian: prometheus, prometheus-alertmanager)")
    place = tmp_path_factory.mktemp("alerts")
    (place / "config").mkdir()
    (place / "config" / "all.yaml").write_text(CONFIG)
    ours, theirs, metrics = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{ours}"
    (place / "alertmanager.yml").write_text(
        "route: {receiver: tocsin, group_wait: 1s, group_interval: 1s}\n"
        "receivers:\n  - name: tocsin\n    webhook_configs:\n"
        f"      - url: {url}/api/v1/alerts/alertmanager\n"
    )
    (place / "rules.yml").write_text(RULES % 1)
    (place / "prometheus.yml").write_text(
        "global: {evaluation_interval: 1s}\n"
        "rule_files: [rules.yml]\n"
        "alerting:\n  alertmanagers:\n"
        f"    - static_configs: [{{targets: ['127.0.0.1:{ours}']}}]\n"
        f"    - static_configs: [{{targets: ['127.0.0.1:{theirs}']}}]\n"
    )
    with ExitStack() as stack:
        serve = [sys.executable, "-c", "from tocsin.cli import main; main()", "serve"]
        options = ["--data-dir", place / "data", "--config", place / "config", "--port", ours]
        stack.enter_context(running(place / "serve.log", *serve, *options))
        until(f"{url}/readyz", lambda _: True)
        stack.enter_context(
            running(
                place / "alertmanager.log", ALERTMANAGER,
                f"--config.file={place / 'alertmanager.yml'}", f"--storage.path={place / 'am'}",
                f"--web.listen-address=127.0.0.1:{theirs}", "--cluster.listen-address=",
            )
        )  # fmt: skip
        stack.enter_context(
            running(
                place / "prometheus.log", PROMETHEUS,
                f"--config.file={place / 'prometheus.yml'}",
                f"--storage.tsdb.path={place / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{metrics}", "--rules.alert.resend-delay=2s",
                "--web.enable-lifecycle",
            )
        )  # fmt: skip
        yield World(url, f"http://127.0.0.1:{metrics}", place / "rules.yml")


def states(answer: httpx.Response) -> list[str]:
    return [one["state"] for one in answer.json()["items"]]


def test_both_raise_and_both_end_their_alert(world: World) -> None:
    found = until(f"{world.url}/api/v1/incidents", lambda a: states(a) == ["triggered"] * 2)
    for one in found.json()["items"]:
        assert (one["service"], one["signal"], one["tier"]) == ("chat", "too_many_errors", 1)
        whole = httpx.get(f"{world.url}/api/v1/incidents/{one['id']}").json()
        assert whole["what"] == "one call in four fails"
        assert whole["source"] in ("prometheus", "alertmanager")
        assert whole["link"].startswith("http")
        page = httpx.get(f"{world.url}/incidents/{one['id']}").text
        assert f"Raised by {whole['source']}" in page
    world.set(0)
    until(f"{world.url}/api/v1/incidents", lambda a: states(a) == ["resolved"] * 2)


def test_a_webhook_that_cannot_be_read_is_kept_and_shown(world: World) -> None:
    answer = httpx.post(f"{world.url}/api/v1/alerts/grafana", content=b"not json")
    assert answer.status_code == 202
    kept = answer.json()["kept"]
    shown = until(f"{world.url}/api/v1/inbox", lambda a: a.json()["total"] == 1).json()["items"][0]
    assert (shown["id"], shown["source"], shown["body"]) == (kept, "grafana", "not json")
    assert httpx.post(f"{world.url}/api/v1/alerts/nobody", json={}).status_code == 404
    assert (
        httpx.post(f"{world.url}/api/v1/alerts/generic", content=b" " * (5 << 20)).status_code
        == 413
    )
