"""Real processes that are killed all the time, and a receiver that fails in every way there is.

Two couriers deliver from one database to a receiver on loopback; every second or so one of them is
killed by `kill -9` and another one takes its place. A third of the incidents is acknowledged while
that goes on. In the end nothing is lost, nothing came after an acknowledgement, and what came twice
came under one key.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chaos_child import deliver

from tocsin.alerts.responder import Refused, acknowledge
from tocsin.domain.clock import SystemClock, monotonic_s
from tocsin.domain.findings import Alert, AlertState, EffectState, Incident
from tocsin.engine.commit import respond
from tocsin.engine.rules import compile_desired
from tocsin.engine.tick import settle
from tocsin.spec.desired import load_text
from tocsin.store.state import StateStore

CONFIG = """
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: first}
spec: {type: webhook, url: {secret: A}, secret: {secret: B}}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: second}
spec: {type: webhook, url: {secret: A}, secret: {secret: B}}
---
apiVersion: tocsin/v1
kind: EscalationPolicy
metadata: {name: page}
spec: {steps: [{after: 0s, notify: [first]}, {after: 4s, notify: [second]}], ack_expires: 2h}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults:
    unmatched: {tier: 1, receivers: [first]}
    on_rule_error: {tier: 1, receivers: [first]}
  routes: [{name: all, policy: page}]
"""
RULES = compile_desired(load_text(CONFIG))
INCIDENTS, WITHIN_S, WORKERS = 45, 5.0, 2
# From the claim to the receiver's socket, on a machine that is busy with other things.
UNDER_WAY = timedelta(seconds=1)
PAUSE = threading.Event()  # never set: `wait` is a pause
# How the receiver fails, of a hundred requests: it refuses, asks for patience, takes the message
# and hangs up, takes it and never answers.
FAULTS = ["500"] * 5 + ["429"] * 3 + ["drop"] * 2 + ["hang"]


@dataclass
class Sink:
    """What the receiver took: when, which receiver, its key, its incident, and what about it."""

    taken: list[tuple[datetime, str, str, str, str]] = field(default_factory=list)
    url: str = ""

    def of(self, incident: str, action: str = "trigger") -> dict[str, list[datetime]]:
        found: dict[str, list[datetime]] = {}
        for at, receiver, _, about, what in self.taken:
            if (about, what) == (incident, action):
                found.setdefault(receiver, []).append(at)
        return found


@contextmanager
def receiver(seed: int) -> Iterator[Sink]:
    sink, rng, clock = Sink(), random.Random(seed), SystemClock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            number = rng.randrange(100)
            fault = FAULTS[number] if number < len(FAULTS) else ""
            if fault not in ("500", "429"):
                data = body["data"]
                sink.taken.append((clock.now(), self.path[1:], self.headers["webhook-id"],
                                   data["id"], data["action"]))  # fmt: skip
            if fault in ("drop", "hang"):
                PAUSE.wait(1.5 if fault == "hang" else 0)
                self.close_connection = True
                return
            self.send_response(int(fault or 204))
            if fault == "429":
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.url = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


class Yard:
    """The processes. They are forked from one that has everything imported."""

    def __init__(self, state: str, url: str) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["chaos_child"])
        self._state, self._url = state, url
        self.kills = 0
        self._born = 0
        self.running = [self._start() for _ in range(WORKERS)]

    def _start(self) -> Any:
        self._born += 1
        process = self._context.Process(
            target=deliver, args=(self._state, self._url, f"worker-{self._born}"), daemon=True
        )
        process.start()
        return process

    def kill_one(self, number: int) -> None:
        self._end(self.running[number])
        self.kills += 1
        self.running[number] = self._start()

    def close(self) -> None:
        for process in self.running:
            self._end(process)

    def _end(self, process: Any) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.join()


def _alert(number: int, now: datetime) -> Alert:
    labels = {"source": "test", "service": f"s{number}", "signal": "errors", "severity": "page"}
    return Alert(f"a{number}", labels, AlertState.FIRING, now, now, "page", reason="it fails")


def test_couriers_are_killed_and_the_receiver_fails_and_nobody_notices(shared: str) -> None:
    rng, clock = random.Random(4), SystemClock()
    store = StateStore.open(shared)
    acknowledged: dict[str, datetime] = {}
    opens = sorted(rng.uniform(0, WITHIN_S) for _ in range(INCIDENTS))
    with receiver(seed=5) as sink:
        yard = Yard(shared, sink.url)
        began = monotonic_s()
        todo = [(at, "open", number) for number, at in enumerate(opens)]
        todo += [(at + rng.uniform(0.2, 3.8), "ack", n) for n, at in enumerate(opens) if n % 3 == 0]
        kills = [rng.uniform(0.4, 1.2) for _ in range(12)]
        todo += [(sum(kills[: n + 1]), "kill", n % WORKERS) for n in range(len(kills))]
        for at, what, number in sorted(todo):
            PAUSE.wait(max(began + at - monotonic_s(), 0))
            now = clock.now()
            if what == "kill":
                yard.kill_one(number)
            elif what == "open":
                with store.transaction() as tx:
                    tx.put_alert(_alert(number, now))
                settle(RULES, None, store, now)
            else:
                key = _incident(store, number).id
                answer = respond(
                    store, RULES.policy, lambda key=key: store.incident(key),  # type: ignore[misc,return-value]
                    lambda found, now=now: acknowledge(found, "ana", now), "ana", now,  # type: ignore[misc]
                )  # fmt: skip
                assert not isinstance(answer, Refused)
                acknowledged[key] = clock.now()
        while store.counts()["effects"].keys() & {"ready", "leased"}:
            assert monotonic_s() < began + 55, store.counts()
            PAUSE.wait(0.1)
        yard.close()
    assert yard.kills == len(kills)

    lost, late = [], []
    for number in range(INCIDENTS):
        key = _incident(store, number).id
        told, since = sink.of(key), acknowledged.get(key)
        if since is None:
            lost += [(key, name) for name in ("first", "second") if name not in told]
        else:
            late += [(key, at - since) for ats in told.values() for at in ats
                     if at > since + UNDER_WAY]  # fmt: skip
    assert lost == []
    assert late == []
    keys = Counter((name, key) for _, name, key, _, _ in sink.taken)
    messages = {(name, about, action) for _, name, _, about, action in sink.taken}
    assert len(keys) == len(messages), "what came twice came under one key"
    assert not store.list_effects(10, EffectState.DEAD)
    assert store.verify_ledger() is None
    store.close()


def _incident(store: StateStore, number: int) -> Incident:
    found = store.incidents().values()
    return next(i for i in found if i.labels["service"] == f"s{number}")
