"""Whatever arrives is taken or refused in a documented way, and nothing that was taken is lost.

A short run of `python tests/intake/fuzz`, the same at every run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from fuzz_hostile import HOSTILE
from fuzz_readers import readers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_build import PROTOBUF, Bench, bench

READERS = readers()
FOUND = sorted((Path(__file__).parent / "found").iterdir())


@pytest.mark.parametrize("name", READERS)
def test_a_good_body_is_read(name: str) -> None:
    for body in READERS[name].seeds:
        READERS[name].read(body)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_found_once_stays_found(path: Path) -> None:
    READERS[path.stem.rpartition(".")[0]].read(path.read_bytes())


@pytest.mark.parametrize("name", READERS)
def test_a_spoiled_body_is_taken_or_refused_and_nothing_is_lost(name: str) -> None:
    reader = READERS[name]

    @settings(max_examples=60, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.randoms(use_true_random=False))
    def holds(rng: Random) -> None:
        reader.read(reader.body(rng))

    holds()


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_every_record_that_was_taken_is_in_the_engine(signal: str, tmp_path: Path) -> None:
    reader = READERS[f"otlp-{signal}"]
    table = {"traces": "calls", "logs": "logs"}[signal]
    with bench(tmp_path) as tocsin:
        for seed in range(200):
            body = reader.body(Random(seed))
            tocsin.post(f"/v1/{signal}", body, {"content-type": PROTOBUF})
        counts = tocsin.intake.counts
        assert counts[f"accepted.{signal}"] > 100
        assert _rows(tocsin, table) == counts[f"accepted.{signal}"]
        assert _rows(tocsin, "quarantine") >= counts[f"rejected.{signal}"]
        assert tocsin.store.stats().loader.waiting_segments == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_read_within_its_allowance(name: str, told: dict[str, str]) -> None:
    assert name in told, "the process ended here: it took more memory or time than it may"


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """What a process with an allowance said of each hostile body, up to where it ended."""
    script = Path(__file__).with_name("fuzz_hostile.py")
    command = [sys.executable, "-W", "ignore", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line for line in lines}


def _rows(tocsin: Bench, table: str) -> int:
    return int(tocsin.query(f"SELECT count() AS n FROM tocsin.{table}")[0]["n"])
