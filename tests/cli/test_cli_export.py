"""`tocsin export` beside a server and without one: files that open, in bounded memory."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet
import pytest
from test_cli_import import calls_csv, run
from test_cli_serve import Server, environment, serve

__all__ = ["serve"]


def test_a_running_server_exports_while_it_works(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue("serve")()
    server.wait_for("/readyz", lambda answer: answer.status_code == 200)
    assert run("import", calls_csv(tmp_path / "in.csv", 7000), "--url", server.url).returncode == 0
    server.wait_for("/api/v1/calls?limit=1", lambda answer: answer.json()["total"] == 7000)

    def export(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return run("export", "calls", *words, "--url", server.url)

    file = tmp_path / "out.parquet"
    done = export("--file", file)
    assert done.returncode == 0, done.stderr
    assert "7,000 rows" in done.stderr
    assert pa.parquet.read_table(file).num_rows == 7000
    zipped = tmp_path / "out.csv.gz"
    assert export("--file", zipped, "--service", "shop").returncode == 0
    assert gzip.decompress(zipped.read_bytes()).count(b"\n") == 7001
    lines = export("--format", "jsonl", "--service", "nobody")
    assert (lines.returncode, lines.stdout) == (0, "")
    refused = export("--dim", "tier")
    assert refused.returncode == 1
    assert "name=value" in refused.stderr

    answer = httpx.get(
        f"{server.url}/api/v1/export/minutes?format=jsonl", headers={"accept-encoding": "gzip"}
    )
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert sum(row["calls"] for row in rows) == 7000
    assert answer.headers["x-tocsin-rows"] == str(len(rows))
    wrong = httpx.get(f"{server.url}/api/v1/export/spans")
    assert (wrong.status_code, "use calls" in wrong.json()["detail"]) == (400, True)
    parquet = httpx.get(f"{server.url}/api/v1/export/calls?model=gpt-4o-mini")
    assert pa.parquet.read_table(io.BytesIO(parquet.content)).num_rows == 7000


def test_a_data_directory_exports_without_a_server_and_leaves_no_half_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run("import", calls_csv(tmp_path / "in.csv", 50), "--data-dir", data)
    done = run("export", "calls", "--format", "csv", "--data-dir", data)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 51
    book = run("costs", "--data-dir", data, "--output", "json")
    (line,) = json.loads(book.stdout)
    assert (line["model"], line["calls"], line["note"]) == (
        "gpt-4o-mini", 50, "no bill for this day",
    )  # fmt: skip
    assert line["difference_usd"] is None
    there = tmp_path / "none" / "out.csv"
    assert run("export", "calls", "--file", there, "--data-dir", data).returncode == 1
    assert run("export", "calls", "--data-dir", tmp_path / "empty").returncode == 1
    assert not list(tmp_path.rglob("*.part"))


CHILD = """
import sys
from pathlib import Path
from tocsin.domain.clock import SystemClock
from tocsin.engine.exchange.origins import from_directory
from tocsin.engine.exchange.wishes import ExportWish

def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return int(status["VmHWM"].split()[0])

wish = ExportWish("calls", "parquet", service=sys.argv[2])
with from_directory(Path(sys.argv[1]), SystemClock(), 1_000_000_000, wish) as (rows, pieces):
    size = sum(map(len, pieces))
print(rows, size, peak())
"""


def test_four_hundred_thousand_calls_go_out_in_little_more_memory_than_a_few(
    tmp_path: Path,
) -> None:
    from tocsin.domain.clock import SystemClock
    from tocsin.store.otlp_kinds import KINDS, TABLES
    from tocsin.store.telemetry import Telemetry

    start = int((datetime.now(UTC) - timedelta(hours=2)).timestamp() * 1e6)
    made = 0
    with Telemetry.open(tmp_path, SystemClock(), kinds=KINDS, tables=TABLES) as store:
        for service, rows in (("few", 20_000), *[("many", 20_000)] * 20):
            first = start + made * 15_000
            numbers = range(made, made + rows)
            store.add_calls(
                pa.table({
                    "ts": pa.array([first + n * 15_000 for n in range(rows)],
                                   pa.timestamp("us", tz="UTC")),
                    "service": [service] * rows,
                    "span_id": [f"{n:016x}" for n in numbers],
                    "session_id": [f"{n * 7919 % 99991:032x}" for n in numbers],
                })
            )  # fmt: skip
            made += rows
        store.flush()

    def export(service: str) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path), service], capture_output=True, text=True,
            check=True, env={**environment(), "PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        rows, _, kilobytes = map(int, done.stdout.split())
        return rows, kilobytes

    (few, small), (many, large) = export("few"), export("many")
    assert (few, many) == (20_000, 400_000)
    assert large < 1.5 * small, f"{small} kB for {few} rows, {large} kB for {many}"
