"""kill -9 at any moment, two hundred times: what was acknowledged is there, and it is there once.

A real server takes real requests of ten kinds over HTTP and is killed: at random moments, while it
opens with what the kill before left behind, and at chosen points of the protocol. What was not
acknowledged is sent to the next process again, as an exporter does. In the end every table must
hold exactly the rows of the requests that were acknowledged, and both rollups what these say.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kill_bodies import expected, request
from kill_child import LIMITS
from telemetry_build import FOREVER, assert_rollups_equal_raw, clock

from tocsin.domain.clock import monotonic_s
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.telemetry import Telemetry

KILLS = 104  # for each of two data directories, of which one is worked on by each core
AT_MOST_S = 900.0
CHILD = Path(__file__).with_name("kill_child.py")

# Where a process kills itself, at which time it gets there (at most), how long after (at most).
# Those of the first group lie in the opening of a store that has something to settle.
OPENING = (
    ("DROP VIEW", 2, 0.01),
    ("CREATE MATERIALIZED VIEW", 2, 0.01),
    ("INSERT INTO tocsin.calls ", 3, 0.03),
    ("DELETE FROM tocsin.calls_1m", 2, 0.02),
    ("INSERT INTO tocsin.calls_1m", 2, 0.02),
    ("DELETE FROM tocsin.calls_1h", 2, 0.02),
    ("INSERT INTO tocsin.calls_1h", 2, 0.02),
    ("DELETE FROM tocsin.calls WHERE", 1, 0.02),
    ("replace", 4, 0.001),
    ("rename", 2, 0.001),
    ("unlink", 4, 0.0005),
)
RUNNING = (
    ("INSERT INTO tocsin.calls ", 8, 0.03),
    ("INSERT INTO tocsin.quarantine", 3, 0.01),
    ("INSERT INTO tocsin.logs", 3, 0.01),
    ("INSERT INTO tocsin.metric_points", 3, 0.01),
    ("INSERT INTO tocsin.scores", 3, 0.01),
    ("INSERT INTO FUNCTION null", 6, 0.01),
    ("DELETE FROM tocsin.calls_1m", 3, 0.02),
    ("INSERT INTO tocsin.calls_1h", 3, 0.02),
    ("fdatasync", 60, 0.002),
    ("fsync", 10, 0.001),
    ("sync", 2, 0.02),
    ("rename", 12, 0.0005),
    ("unlink", 8, 0.0005),
)
QUERIES = {
    "calls": "SELECT concat(kind, ' ', span_id) FROM tocsin.calls",
    "logs": "SELECT body FROM tocsin.logs",
    "metric_points": "SELECT concat(metric, ' ', toString(value)) FROM tocsin.metric_points",
    "scores": "SELECT call_id FROM tocsin.scores",
    "changes": "SELECT title FROM tocsin.changes",
    "quarantine": "SELECT body FROM tocsin.quarantine",
}


@dataclass
class Victim:
    """A data directory, and the servers that are killed over it."""

    path: Path
    rng: random.Random
    number: int = 0  # of the request that is not acknowledged yet
    kills: Counter[str] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    failure: str = ""

    def run(self) -> None:
        """Start and kill servers, and fail where a thread's exception would be lost."""
        try:
            self._run()
        except BaseException as error:
            self.failure = f"{type(error).__name__}: {error}"

    def _run(self) -> None:
        with subprocess.Popen(
            [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as zygote:
            try:
                for turn in range(KILLS):
                    self._one_life(zygote, turn)
            finally:
                zygote.kill()

    def _one_life(self, zygote: subprocess.Popen[str], turn: int) -> None:
        early = turn % 3 == 1
        order: dict[str, Any] = {"path": str(self.path), "point": "", "nth": 0, "after_s": 0.0}
        if turn % 5 != 4:
            point, nth, after_s = self.rng.choice(OPENING if early else RUNNING)
            order |= {"point": point, "nth": self.rng.randint(1, nth)}
            order["after_s"] = self.rng.uniform(0, after_s)
        print(json.dumps(order), file=zygote.stdin, flush=True)
        life = Life(self.rng.uniform(0.1, 0.6) if early and not order["point"] else None)
        for line in zygote.stdout or ():
            word, *rest = line.split()
            life.tells(word, rest)
            if word == "port":
                life.kill_after(2.0 if order["point"] else self.rng.uniform(0.05, 0.5))
                self._send(int(rest[0]))
            if word == "dead":
                break
        assert life.exit == -signal.SIGKILL, f"the server ended by itself: {life.exit}"
        self.settled.update(life.settled or ())
        self.kills["while opening" if life.settled is None else "while running"] += 1
        self.kills[life.how] += 1

    def _send(self, port: int) -> None:
        """Send a few requests, or until nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            for _ in range(self.rng.randint(3, 12)):
                sent = request(self.number)
                connection.request("POST", sent.path, sent.body, dict(sent.headers))
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, f"request {self.number}: {answer.status}"
                self.number += 1
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


@dataclass
class Life:
    """What one server said, and what killed it. early_s: when to kill it, from its birth."""

    early_s: float | None
    pid: int = 0
    settled: list[str] | None = None
    how: str = "time"
    exit: int | None = None
    timer: threading.Timer | None = None

    def tells(self, word: str, rest: list[str]) -> None:
        """Take in one line."""
        if word == "pid":
            self.pid = int(rest[0])
            if self.early_s is not None:
                self.kill_after(self.early_s)
        elif word == "open":
            self.settled = rest
        elif word == "hit":
            self.how = " ".join(rest)
        elif word == "dead":
            self.exit = int(rest[0])
            if self.timer is not None:
                self.timer.cancel()

    def kill_after(self, seconds: float) -> None:
        """Unless a time was set already."""
        if self.timer is None:
            self.timer = threading.Timer(seconds, _kill, [self.pid])
            self.timer.start()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def found_in(store: Telemetry) -> dict[str, Counter[str]]:
    found = {}
    for table, sql in QUERIES.items():
        texts = [str(row[0]) for row in store._engine.rows(sql)]
        if table == "quarantine":
            texts = [re.findall(r"(?:rejected|poison) \d+\.", text)[0] for text in texts]
        found[table] = Counter(texts)
    return found


def test_two_hundred_kills_lose_nothing_and_double_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victims = [Victim(tmp_path / str(n), random.Random(20261120 + n)) for n in range(2)]
    threads = [threading.Thread(target=victim.run) for victim in victims]
    started = monotonic_s()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AT_MOST_S)
    took_s = monotonic_s() - started
    assert [victim.failure for victim in victims] == ["", ""]
    kills, settled = victims[0].kills + victims[1].kills, victims[0].settled + victims[1].settled
    for victim in victims:
        assert_exact(victim)
    total = kills["while opening"] + kills["while running"]
    with capsys.disabled():
        print(f"\n{total} kills in {took_s:.0f} s, {sum(v.number for v in victims)} requests"
              f" acknowledged; settled {dict(settled)}; killed {dict(kills)}")  # fmt: skip
    assert total == 2 * KILLS >= 200
    assert kills["while opening"] >= KILLS / 4
    assert min(settled[action] for action in ("replay", "skip")) > 0


def assert_exact(victim: Victim) -> None:
    """Every acknowledged row once; of the last request, which was not, all or nothing."""
    with Telemetry.open(
        victim.path, clock(), kinds=KINDS, tables=TABLES, limits=LIMITS, retention=FOREVER
    ) as store:
        victim.settled.update(settled.action for settled in store.settled)
        found = found_in(store)
        wanted = expected(range(victim.number))
        for table, texts in wanted.items():
            assert not texts - found[table], f"{table}: acknowledged rows are missing"
        extra = {
            t: found[t] - wanted.get(t, Counter())
            for t in found
            if found[t] - wanted.get(t, Counter())
        }
        last = {table: Counter(texts) for table, texts in request(victim.number).rows.items()}
        assert all(not rows - last.get(table, Counter()) for table, rows in extra.items()), extra
        assert_rollups_equal_raw(store)
