"""kill -9 at any moment, again and again: every acknowledged call is there once, none twice."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from telemetry_build import BATCHES, FOREVER, clock
from telemetry_child import LINES

from tocsin.domain.clock import monotonic_s
from tocsin.store import schema
from tocsin.store.telemetry import Telemetry

KILLS = 25
BATCHES_SENT = 1_000_000  # more than can be sent before the last kill
AT_MOST_S = 75.0
CHILD = Path(__file__).with_name("telemetry_child.py")


def run_until_killed(
    path: Path, first: int, after_s: float, *, from_start: bool
) -> tuple[int, list[str]]:
    """Start the child and kill it `after_s` after its start, or after it accepts telemetry.

    Returns the last batch it acknowledged and what it settled when it opened.
    """
    process = subprocess.Popen(
        [sys.executable, str(CHILD), str(path), str(first), str(BATCHES_SENT)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    timer = threading.Timer(after_s, process.kill)
    if from_start:
        timer.start()
    last, settled = first - 1, []
    for line in process.stdout:
        words = line.split()
        if line.endswith("\n") and words[0] == "done":
            last = int(words[1])
        elif words[0] == "open":
            settled = words[1:]
            if not from_start:
                timer.start()
    timer.cancel()
    assert process.wait() == -9, "the child ended by itself"
    process.stdout.close()
    return last, settled


def test_every_acknowledged_call_is_there_exactly_once_after_many_kills(tmp_path: Path) -> None:
    """What was not acknowledged is sent to the next process again, with the same digest."""
    rng = random.Random(20261120)
    started, kills, last = monotonic_s(), 0, -1
    actions: Counter[str] = Counter()
    while kills < KILLS and monotonic_s() - started < AT_MOST_S:
        early = kills % 4 == 3  # hit the opening, with what the kill before left behind
        after_s = rng.uniform(0.4, 1.4) if early else rng.uniform(0.0, 0.45)
        last, settled = run_until_killed(tmp_path, last + 1, after_s, from_start=early)
        actions.update(settled)
        kills += 1
    with Telemetry.open(tmp_path, clock(), kinds=[BATCHES], retention=FOREVER) as store:
        actions.update(each.action for each in store.settled)
        rows = store._engine.rows(
            "SELECT count(), uniqExact(duration_us), max(duration_us),"
            f" countIf(duration_us < {(last + 1) * LINES}) FROM tocsin.calls"
        )
        count, unique, highest, acknowledged = rows[0]
        assert count == unique, "a call is there twice"
        assert acknowledged == (last + 1) * LINES, "an acknowledged call is missing"
        assert highest < (last + 2) * LINES, "only one batch can have been on its way"
        for rollup, _ in schema.ROLLUPS:
            sums = store._engine.rows(
                "SELECT sum(n), sum(arraySum(mapValues(h))), sum(duration_us)"
                f" FROM tocsin.{rollup.name} WHERE sk = ''"
            )
            # The very first call has the number 0 for a duration, which is an unknown one.
            assert list(sums[0]) == [count, count - 1, sum_of(store)]
    print(f"{kills} kills, {last + 1} batches acknowledged, settled: {dict(actions)}")
    assert kills >= KILLS, f"only {kills} kills in {AT_MOST_S} s"
    assert last > 0


def sum_of(store: Telemetry) -> int:
    return int(store._engine.rows("SELECT sum(duration_us) FROM tocsin.calls")[0][0])
