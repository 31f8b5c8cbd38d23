"""A reader that is killed at any moment neither loses nor doubles what it reads."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from source_build import FOREVER

from tocsin.domain.clock import SystemClock
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.telemetry import Telemetry

pytest.importorskip("boto3", reason="boto3 is not installed")
from aws_fake import BEDROCK, Event, amazon

KILLS = 6
CHILD = Path(__file__).with_name("source_child.py")


def test_a_reader_that_is_killed_again_and_again_takes_every_event_once(tmp_path: Path) -> None:
    """kill -9 while pages are asked for, stored and remembered, with events that come meanwhile."""
    rng = random.Random(11)
    clock = SystemClock()
    start = clock.now()
    with amazon(start + timedelta(days=1)) as cloud:
        cloud.page = 100
        cloud.groups["/bedrock"] = []

        def happen(count: int) -> None:
            known = cloud.groups["/bedrock"]
            for n in range(len(known), len(known) + count):
                at = clock.now() - timedelta(seconds=rng.uniform(0, 40))
                stamp = at.isoformat(timespec="milliseconds")
                told = {**BEDROCK, "requestId": f"r{n}", "timestamp": stamp}
                known.append(Event(f"e{n}", at, json.dumps(told)))

        died = 0
        for number in range(KILLS + 1):
            happen(300)
            process = subprocess.Popen(
                [sys.executable, str(CHILD), str(tmp_path), cloud.url],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            assert process.stdout is not None
            assert any(line == "open\n" for line in process.stdout)
            is_last = number == KILLS
            timer = threading.Timer(rng.uniform(0.8, 3.0), process.kill)
            asked = len(cloud.asked)
            if not is_last:
                timer.start()
                process.wait()
                died += 1
            else:
                # Two whole rounds: the last answers have no page left to ask for.
                done = threading.Event()
                while not done.wait(0.1):
                    answered = [g for _, g in cloud.asked[asked:] if "nextToken" not in g]
                    if len(answered) >= 3:
                        done.set()
                process.terminate()
                process.wait(20)
            process.stdout.close()
        assert died == KILLS
        expected = {f"r{n}" for n in range(len(cloud.groups["/bedrock"]))}
    with Telemetry.open(tmp_path, clock, kinds=KINDS, tables=TABLES, retention=FOREVER) as store:
        rows = store._engine.rows("SELECT response_id, count() FROM tocsin.calls GROUP BY 1")
        counted = dict(rows)
        assert not {name for name, n in counted.items() if n > 1}, "taken twice"
        assert set(counted) == expected
        rolled = store._engine.rows("SELECT sum(n) FROM tocsin.calls_1m WHERE sk = ''")
        assert rolled[0][0] == len(expected)
