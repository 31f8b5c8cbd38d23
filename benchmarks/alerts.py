"""Alerts a second through classify, route and commit, beside a real Alertmanager; and how long a
page takes from its acceptance to the receiver's 2xx, alone and in the middle of a storm.

Both are sent the same requests, as Prometheus sends them (`POST /api/v2/alerts`, 64 alerts of one
service each, four connections), and tell the same webhook. An alert counts for Tocsin when its
decision is committed to disk, for Alertmanager when its dispatcher has put it into a group, in
memory. Both group by service and signal. Without Alertmanager its half is skipped.

Who is not done after a quarter of an hour is given up, and only what was decided by then counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import shutil
import sqlite3
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from benchmarks.running import answers, cpu_seconds, free_ports, memory_mb, running, tocsin

STORM = int(os.environ.get("BENCH_ALERTS", "100000"))
GROUPS, BATCH, CONNECTIONS = 100, 64, 4
QUIET_PAGES, STORM_PAGES = 200, 20
GIVE_UP_S = 900
SECRET = "whsec_" + "dG9jc2luIGJlbmNobWFyayBrZXkgMDEyMw=="
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@dataclass(frozen=True, slots=True)
class System:
    """A running system: where it takes alerts, its process, how many it has decided about."""

    url: str
    pid: int
    decided: Callable[[], int]


def run() -> dict[str, Any]:
    """Tocsin and Alertmanager, one after the other."""
    with contextlib.closing(_Receiver()) as receiver:
        ours = _measured(_tocsin, receiver)
    if ALERTMANAGER is None:
        return {"storm": STORM, "tocsin": ours, "skipped": "Alertmanager is not installed"}
    with contextlib.closing(_Receiver()) as receiver:
        theirs = _measured(_alertmanager, receiver)
    return {
        "what": "alerts decided a second; seconds from a page's acceptance to the receiver's 2xx",
        "storm": STORM,
        "groups": GROUPS,
        "tocsin": ours,
        "alertmanager": theirs,
        "times_alertmanager": {
            "alerts_per_s": _times(ours, theirs, "alerts_per_s"),
            "alerts_per_cpu_s": _times(ours, theirs, "alerts_per_cpu_s"),
        },
    }


# --- one system ----------------------------------------------------------------------------------

Start = Callable[[Path, "_Receiver"], contextlib.AbstractContextManager[System]]


def _measured(start: Start, receiver: _Receiver) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name,
        start(Path(name), receiver) as system,
    ):
        quiet = asyncio.run(_quiet(system, receiver))
        cpu = cpu_seconds(system.pid)
        known = system.decided()
        began = time.perf_counter()
        sent_s, stormy = asyncio.run(_storm(system, receiver))
        wanted = known + STORM + STORM_PAGES
        while (decided := system.decided()) < wanted and time.perf_counter() - began < GIVE_UP_S:
            time.sleep(0.2)
        took = time.perf_counter() - began
        cpu = cpu_seconds(system.pid) - cpu
        decided -= known
        return {
            "decided": decided,
            "undecided_when_given_up": wanted - known - decided,
            "seconds": round(took, 1),
            "alerts_per_s": round(decided / took),
            "alerts_per_cpu_s": round(decided / cpu),
            "accepted_per_s": round(STORM / sent_s),
            "page_s": _spread([page.since_accepted for page in quiet]),
            "page_in_the_storm_s": _spread([page.since_accepted for page in stormy]),
            "page_in_the_storm_since_sent_s": _spread([page.since_sent for page in stormy]),
            "pages_never_told": sum(page.since_sent == math.inf for page in (*quiet, *stormy)),
            "messages_about_the_storm": receiver.others,
            "peak_rss_mb": round(memory_mb(system.pid, "VmHWM")),
        }


@dataclass(frozen=True, slots=True)
class Page:
    """Seconds until the receiver's 2xx to a page, since its request was sent, and answered."""

    since_sent: float
    since_accepted: float


async def _quiet(system: System, receiver: _Receiver) -> list[Page]:
    """One page after the other, each of its own service, while nothing else happens."""
    async with httpx.AsyncClient(timeout=60) as http:
        return [
            await _page(http, system, receiver, f"quiet-{number}") for number in range(QUIET_PAGES)
        ]


async def _storm(system: System, receiver: _Receiver) -> tuple[float, list[Page]]:
    """Seconds until all alerts were accepted, and how long pages took that came in between."""
    numbers = iter(range(0, STORM, BATCH))
    sent = 0

    async def send() -> None:
        nonlocal sent
        for first in numbers:
            batch = [_alert(n) for n in range(first, min(first + BATCH, STORM))]
            await _post(http, system, batch)
            sent += len(batch)

    async def pages() -> list[Page]:
        told = []
        for number in range(STORM_PAGES):
            while sent < STORM * (number + 0.5) / STORM_PAGES:
                await asyncio.sleep(0.01)
            told.append(asyncio.create_task(_page(http, system, receiver, f"storm-{number}")))
        return list(await asyncio.gather(*told))

    async with httpx.AsyncClient(timeout=120) as http:
        began = time.perf_counter()
        paging = asyncio.create_task(pages())
        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
        took = time.perf_counter() - began
        return took, await paging


async def _page(http: httpx.AsyncClient, system: System, receiver: _Receiver, service: str) -> Page:
    alert = {"labels": {"alertname": "Down", "service": service, "severity": "critical"}}
    sent = time.perf_counter()
    await _post(http, system, [alert])
    accepted = time.perf_counter()
    while service not in receiver.told:
        if time.perf_counter() - accepted > GIVE_UP_S:
            return Page(math.inf, math.inf)
        await asyncio.sleep(0.002)
    told = receiver.told[service]
    return Page(told - sent, max(told - accepted, 0.0))


async def _post(http: httpx.AsyncClient, system: System, alerts: list[dict[str, Any]]) -> None:
    for _ in range(100):
        answer = await http.post(f"{system.url}/api/v2/alerts", json=alerts)
        if answer.status_code not in (429, 503):
            answer.raise_for_status()
            return
        await asyncio.sleep(0.2)
    raise RuntimeError("a request was put off a hundred times")


def _alert(number: int) -> dict[str, Any]:
    """As Prometheus tells it: labels, annotations, when it began and until when it holds."""
    now = time.time()
    return {
        "labels": {
            "alertname": "HighLatency", "service": f"service-{number // BATCH % GROUPS}",
            "severity": "warning", "instance": f"10.0.{number // 250 % 250}.{number % 250}",
            "pod": f"pod-{number}", "job": "llm", "region": "eu-west-1", "cluster": "a",
        },
        "annotations": {"summary": "p95 above 4 s", "runbook_url": "https://runbooks.test/latency"},
        "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 60)),
        "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 3600)),
        "generatorURL": "http://prometheus:9090/graph?g0.expr=latency",
    }  # fmt: skip


# --- the two systems -----------------------------------------------------------------------------


@contextlib.contextmanager
def _tocsin(directory: Path, receiver: _Receiver) -> Iterator[System]:
    config = directory / "config"
    config.mkdir()
    (config / "all.yaml").write_text("\n---\n".join(json.dumps(d) for d in _documents()))
    environment = {"HOOK_URL": receiver.url, "HOOK_SECRET": SECRET}
    with tocsin(directory / "data", config=config, environment=environment) as server:
        state = sqlite3.connect(f"file:{directory}/data/state.db?mode=ro", uri=True)
        # An alert is written together with its decision. Counted by an index: the storm must not
        # wait for its being counted.
        query = "SELECT count(*) FROM alert WHERE state = 'firing'"
        yield System(
            f"http://127.0.0.1:{server.port}", server.pid,
            lambda: int(state.execute(query).fetchone()[0]),
        )  # fmt: skip
        state.close()


def _documents() -> list[dict[str, Any]]:
    hook = {
        "type": "webhook", "url": {"secret": "HOOK_URL"}, "secret": {"secret": "HOOK_SECRET"},
        "allow_private": True,
    }  # fmt: skip
    routing = {
        "defaults": {"group_by": ["service", "signal"],
                     "unmatched": {"tier": 2, "receivers": ["hook"]}},
        "classify": [
            {"if": {"severity": "page"}, "set": {"tier": 1}},
            {"if": {"severity": "critical"}, "set": {"tier": 1}},
            {"if": {"severity": "warning"}, "set": {"tier": 2}},
        ],
        "routes": [
            {"name": "page", "if": {"tier": 1}, "receivers": ["hook"]},
            {"name": "tell", "receivers": ["hook"]},
        ],
    }  # fmt: skip
    return [_doc("Receiver", "hook", hook), _doc("Routing", "bench", routing)]


def _doc(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tocsin/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@contextlib.contextmanager
def _alertmanager(directory: Path, receiver: _Receiver) -> Iterator[System]:
    assert ALERTMANAGER is not None
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    hook = {"webhook_configs": [{"url": receiver.url, "max_alerts": 10}]}
    config = directory / "alertmanager.yml"
    config.write_text(json.dumps({
        "route": {
            "receiver": "hook", "group_by": ["service", "alertname"], "group_wait": "20s",
            "routes": [{"matchers": ['severity="critical"'], "receiver": "hook",
                        "group_wait": "0s"}],
        },
        "receivers": [{"name": "hook", **hook}],
    }))  # fmt: skip
    command = [ALERTMANAGER, f"--config.file={config}", f"--storage.path={directory}/data",
               f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]  # fmt: skip

    def decided() -> int:
        name = "alertmanager_dispatcher_alert_processing_duration_seconds_count"
        with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
            lines = reply.read().decode().splitlines()
        return int(float(next(line for line in lines if line.startswith(name)).split()[-1]))

    log = directory / "alertmanager.log"
    with running(command, dict(os.environ), log, lambda: answers(f"{url}/-/ready")) as process:
        yield System(url, process.pid, decided)


class _Receiver:
    """A webhook that notes when it was told of each page, and counts everything else."""

    def __init__(self) -> None:
        told = self.told = dict[str, float]()
        self.others = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(204)
                self.end_headers()
                data = body.get("data") or {}
                service = data.get("service") or body.get("commonLabels", {}).get("service", "")
                if service.startswith("service-"):
                    receiver.others += 1
                else:
                    told.setdefault(service, time.perf_counter())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _spread(seconds: list[float]) -> dict[str, float]:
    """Of those that ended."""
    ordered = sorted(s for s in seconds if s < math.inf)
    if not ordered:
        return {}
    return {
        "p50": round(ordered[len(ordered) // 2], 3),
        "p99": round(ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)], 3),
        "max": round(ordered[-1], 3),
    }


def _times(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> float:
    return round(ours[name] / theirs[name], 2)
