"""`tocsin import` as people run it: beside a server and without one, killed half way, in memory."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_cli_serve import Server, command, environment, serve

from tocsin.domain.clock import SystemClock
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.telemetry import Telemetry

__all__ = ["serve"]
PAUSE = threading.Event()


def calls_csv(path: Path, rows: int, width: int = 0) -> Path:
    """Calls of the last hour, each with a number of its own."""
    start = datetime.now(UTC) - timedelta(minutes=50)
    filler = "x" * width
    with path.open("w") as file:
        file.write("ts,service,model,input_tokens,output_tokens,duration_ms,attributes.n,input\n")
        for n in range(rows):
            ts = (start + timedelta(milliseconds=n % 2_000_000)).isoformat()
            file.write(f"{ts},shop,gpt-4o-mini,{n % 900},{n % 70},{n % 3000},{n},{filler}\n")
    return path


def run(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=300, check=False,
        env={**environment(), **(env or {})},
    )  # fmt: skip


def held(data: Path) -> dict[str, Any]:
    """What a data directory holds: calls, and how many different ones."""
    with Telemetry.open(data, SystemClock(), kinds=KINDS, tables=TABLES) as store:
        store.flush()
        rows = store._engine.records(
            "SELECT count() AS n, uniqExact(attrs['n']) AS u FROM tocsin.calls"
        )
    return rows[0]


def written(data: Path, start: int) -> int:
    """Bytes of accepted batches in write-ahead segments that the `start`th process wrote."""
    sizes = []
    for path in data.glob(f"wal/{start:08x}*-traces.*"):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sum(sizes)


def test_an_import_that_is_killed_again_and_again_counts_every_call_once(tmp_path: Path) -> None:
    path, data = calls_csv(tmp_path / "calls.csv", 60_000, width=100), tmp_path / "data"
    words = command("import", path, "--data-dir", data, "--output", "json")
    for start, megabytes in enumerate((0, 2, 4), 1):
        process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL)
        while written(data, start) <= megabytes << 20 and process.poll() is None:
            PAUSE.wait(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    done = run("import", path, "--data-dir", data, "--output", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rows"] == told["accepted"] + told["known"] == 60_000
    assert held(data) == {"n": 60_000, "u": 60_000}
    again = json.loads(run("import", path, "--data-dir", data, "--output", "json").stdout)
    assert (again["accepted"], again["known"]) == (0, 60_000)


def test_an_import_into_a_running_server_survives_its_death(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    start = request.getfixturevalue("serve")
    server: Server = start()
    server.wait_for("/readyz", lambda answer: answer.status_code == 200)
    path = calls_csv(tmp_path / "calls.csv", 20_000)
    bad = tmp_path / "bad.csv"
    bad.write_text("ts,service,model\nnever,shop,m\n")
    env = {"TOCSIN_URL": server.url}
    first = run("import", path, bad, "--output", "json", env=env)
    assert first.returncode == 2, first.stderr
    told = [json.loads(line) for line in first.stdout.splitlines()]
    assert (told[0]["accepted"], told[1]["rejected"]) == (20_000, 1)
    server.kill()
    server = start()
    server.wait_for("/readyz", lambda answer: answer.status_code == 200)
    second = run("import", path, "--url", server.url, "--output", "json")
    assert json.loads(second.stdout)["known"] == 20_000
    answer = httpx.get(f"{server.url}/api/v1/calls?limit=1", timeout=30)
    assert answer.json()["total"] == 20_000


def test_a_directory_in_use_and_a_server_that_is_away_are_told_in_words(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    start = request.getfixturevalue("serve")
    server: Server = start()
    server.wait_for("/readyz", lambda answer: answer.status_code == 200)
    path = calls_csv(tmp_path / "calls.csv", 3)
    used = run("import", path, "--data-dir", tmp_path / "data")
    assert used.returncode == 1
    assert "--url" in used.stderr
    assert run("import", tmp_path / "none.csv", "--url", server.url).returncode == 1


CHILD = """
import sys
from pathlib import Path
from tocsin.domain.clock import SystemClock
from tocsin.engine.exchange.contents import Wishes
from tocsin.engine.exchange.importing import import_file

class Nowhere:
    calls = 0
    def knows(self, name): return False
    def spans(self, spans, name): self.calls += len(spans)
    def rows(self, door, rows, name): raise AssertionError
    def close(self): pass

target = Nowhere()
import_file(Path(sys.argv[1]), target, Wishes(SystemClock().now()))
# Not ru_maxrss: it still knows how large the process was that started this one.
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(target.calls, status["VmHWM"].split()[0])
"""


@pytest.mark.parametrize(("form", "most"), [("parquet", 1_000_000), ("csv", 200_000)])
def test_a_million_rows_need_hardly_more_memory_than_a_few_thousand(
    tmp_path: Path, form: str, most: int
) -> None:
    """One row group, so that nothing but reading it in pieces keeps it small."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    def peak(rows: int) -> int:
        rng = np.random.default_rng(3)
        start = int((datetime.now(UTC) - timedelta(minutes=50)).timestamp() * 1e6)
        table = pa.table({
            "ts": pa.array(start + np.arange(rows), pa.timestamp("us", "UTC")),
            "service": pa.array(["shop"] * rows),
            "input_tokens": rng.integers(0, 4000, rows),
            "session_id": pa.array([f"{n:032x}" for n in rng.integers(0, 2**60, rows)]),
        })  # fmt: skip
        path = tmp_path / f"{rows}.{form}"
        if form == "parquet":
            pa.parquet.write_table(table, path, row_group_size=rows)
        else:
            pa.csv.write_csv(table, path)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True,
            env={**environment(), "PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        calls, kilobytes = map(int, done.stdout.split())
        assert calls == rows
        return kilobytes

    few, many = peak(20_000), peak(most)
    assert many < 1.35 * few, f"{few} kB for 20,000 rows, {many} kB for {most:,}"
