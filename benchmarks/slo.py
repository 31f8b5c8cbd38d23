"""A thousand objectives evaluated every minute, beside Prometheus evaluating the same rules.

Tocsin holds 30 days of 10 million calls and judges each new minute: reading it, six windows of
every objective, guards, state. The same again with a tenth of the history says what growth costs.
In the same run a real Prometheus evaluates the rules that `tocsin export prometheus` writes for the
same objectives, over one day of counters that are scraped once a minute, which is all that these
rules look at. Both are measured in processor time, so that other work weighs on both alike.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import yaml

from tocsin.domain.clock import ManualClock, from_minute
from tocsin.engine.house import House
from tocsin.spec.desired import Desired, load_text
from tocsin.spec.prometheus.names import BAD_EVENTS, EVENTS, slo_name
from tocsin.spec.prometheus.rules import rules
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

SERVICES, CALLS, DAYS = 250, 10_000_000, 30
TICKS = 15
CHUNK = 500_000
NOW = datetime(2026, 11, 1, tzinfo=UTC)
COUNTED = (
    "ratioMetric: {good: {metricSource: {type: Tocsin, spec: {use: availability}}}}",
    "ratioMetric: {good: {metricSource: {type: Tocsin, spec: {count: not error}}}}",
    "ratioMetric: {good: {metricSource: {type: Tocsin, spec: {count: not truncated}}}}",
    "thresholdMetric: {metricSource: {type: Tocsin, spec: {value: latency_ms}}}",
)
POLICY = """
apiVersion: tocsin/v1
kind: BurnRatePolicy
metadata: {name: six-windows}
spec:
  guards: {minBad: 0, evidence: 0, minEvents: 0}
  steps:
    - {severity: page, budget: 0.02, long: 1h, short: 5m}
    - {severity: page, budget: 0.05, long: 6h, short: 30m}
    - {severity: ticket, budget: 0.10, long: 1d, short: 2h}
"""


def run() -> dict[str, Any]:
    """Both, and the ratios between them."""
    large = _apart(DAYS, CALLS)
    small = _apart(DAYS // 10, CALLS // 10)
    objectives = SERVICES * len(COUNTED)
    found: dict[str, Any] = {
        "what": "one evaluation of every burn-rate rule for one minute",
        "objectives": objectives,
        "windows_each": 6,
        "tocsin": large,
        "tocsin_tenth_of_history": small,
        "times_when_history_grows_10_fold": _over(large, small, "tick_cpu_s"),
    }
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        return {**found, "skipped": "needs prometheus and promtool (Debian package prometheus)"}
    theirs = _prometheus(configuration())
    ratio = theirs["cpu_ms_per_objective"] * objectives / 1000 / large["tick_cpu_s"]
    return {**found, "prometheus": theirs, "prometheus_over_tocsin_cpu": round(ratio, 1)}


def configuration() -> Desired:
    """Services with four objectives each, all under one policy of three steps."""
    documents = [POLICY]
    for number in range(SERVICES):
        name = f"service-{number:03d}"
        documents.append(
            f"apiVersion: tocsin/v1\nkind: Service\nmetadata: {{name: {name}}}\n"
            "spec: {team: bench}\n"
        )
        for place, metric in enumerate(COUNTED):
            limit = ", op: lt, value: 2000" if "threshold" in metric else ""
            documents.append(
                "apiVersion: openslo/v1\nkind: SLO\n"
                f"metadata: {{name: {name}-{place}}}\nspec:\n  service: {name}\n"
                f"  indicator: {{metadata: {{name: i}}, spec: {{{metric}}}}}\n"
                "  timeWindow: [{duration: 30d, isRolling: true}]\n"
                f"  budgetingMethod: Occurrences\n  objectives: [{{target: 0.95{limit}}}]\n"
            )
    return load_text("---\n".join(documents))


# --- Tocsin ------------------------------------------------------------------------------------


def _apart(days: int, calls: int) -> dict[str, Any]:
    """Filling and judging in processes of their own, so that memory is that of judging alone."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        for work in (_fill, _judge):
            with context.Pool(1) as pool:
                found = pool.apply(work, (Path(name), days, calls))
    assert found is not None
    return found


def _telemetry(folder: Path, clock: ManualClock) -> Telemetry:
    return Telemetry.open(folder, clock, kinds=KINDS, tables=TABLES, retention=Retention(0, 0, 0))


def _fill(folder: Path, days: int, calls: int) -> None:
    rng = np.random.default_rng(1)
    first = int(NOW.timestamp()) // 60 - days * 1440
    with _telemetry(folder, ManualClock(NOW)) as telemetry:
        for begin in range(0, calls, CHUNK):
            size = min(CHUNK, calls - begin)
            start = first + begin * days * 1440 // calls
            stop = first + (begin + size) * days * 1440 // calls
            telemetry.add_calls(_calls(rng, size, start, stop))
        telemetry.flush(600.0)


def _judge(folder: Path, days: int, calls: int) -> dict[str, Any]:
    rng, clock = np.random.default_rng(2), ManualClock(NOW)
    state = StateStore.open(folder / "state.db")
    with _telemetry(folder, clock) as telemetry:
        began, cpu = time.monotonic(), time.process_time()
        house = House(telemetry, state, clock, configuration(), lateness=timedelta(0))
        warm = {"warm_up_s": time.monotonic() - began, "warm_up_cpu_s": _since(cpu)}
        ticks, walls = [], []
        per_minute = calls // (days * 1440)
        now = int(NOW.timestamp()) // 60
        for minute in range(now, now + TICKS):
            telemetry.add_calls(_calls(rng, per_minute, minute, minute + 1))
            telemetry.flush()
            clock.set(from_minute(minute + 1))
            began, cpu = time.monotonic(), time.process_time()
            house.tick(clock.now())
            walls.append(time.monotonic() - began)
            ticks.append(_since(cpu))
        cpu = time.process_time()
        house.statuses()
        told = _since(cpu)
        memory = _rss_mb(os.getpid())
    state.close()
    return {
        "days": days,
        "calls": calls,
        "tick_cpu_s": round(statistics.median(ticks), 4),
        "tick_s": round(statistics.median(walls), 4),
        "tick_s_highest": round(max(walls), 4),
        "all_statuses_cpu_s": round(told, 4),
        **{what: round(seconds, 2) for what, seconds in warm.items()},
        "rss_mb": memory,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _calls(rng: np.random.Generator, n: int, start: int, stop: int) -> pa.Table:
    """Calls that begin in epoch minutes [start, stop), one in fifty of them bad."""
    ts = np.sort(rng.integers(start * 60_000_000, stop * 60_000_000, n))
    failed = rng.random(n) < 0.01
    return pa.table({
        "project": pa.array(np.full(n, "default")),
        "ts": pa.array(ts, pa.timestamp("us", tz="UTC")),
        "trace_id": pa.array([f"{at:032x}" for at in ts.tolist()]),
        "span_id": pa.array([f"{at:016x}" for at in rng.integers(0, 1 << 62, n).tolist()]),
        "service": pa.array([f"service-{s:03d}" for s in rng.integers(0, SERVICES, n).tolist()]),
        "kind": pa.array(np.full(n, "llm")),
        "model": pa.array(np.full(n, "gpt-4o-mini")),
        "error_class": pa.array(np.where(failed, "server", "")),
        "truncated": pa.array((rng.random(n) < 0.005).astype(np.uint8)),
        "duration_us": pa.array(rng.lognormal(13.2, 0.6, n).astype(np.uint64)),
    })  # fmt: skip


# --- Prometheus --------------------------------------------------------------------------------


def _prometheus(desired: Desired) -> dict[str, Any]:
    monitors = desired.monitors
    now = int(time.time()) // 60
    start, stop = now - 1450, now + 30  # it judges by the wall clock: counters reach a bit ahead
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        folder = Path(name)
        _counters(folder / "counters.txt", [slo_name(m) for m in monitors],
                  [m.service for m in monitors], start, stop)  # fmt: skip
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics",
             folder / "counters.txt", folder / "tsdb"],
            check=True, capture_output=True,
        )  # fmt: skip
        (folder / "counters.txt").unlink()
        text = rules(monitors, "plain")
        (folder / "rules.yml").write_text(text)
        each = len(yaml.safe_load(text)["groups"][0]["rules"])
        with _running(folder) as (url, pid):
            before = _evaluations(url), _cpu_s(pid)
            until = time.monotonic() + 90
            while time.monotonic() < until and _evaluations(url) < before[0] + len(monitors) * each:
                time.sleep(1)
            after = _evaluations(url), _cpu_s(pid)
            memory = _rss_mb(pid)
        evaluated = (after[0] - before[0]) / each
        return {
            "version": _version(),
            "rules_each": each,
            "objectives_evaluated": round(evaluated),
            "cpu_ms_per_objective": round(1000 * (after[1] - before[1]) / evaluated, 3),
            "rss_mb": memory,
        }


def _counters(path: Path, slos: list[str], services: list[str], start: int, stop: int) -> None:
    """Both counters of every objective, scraped at every minute of [start, stop)."""
    rng = np.random.default_rng(2)
    times = [f" {minute * 60}\n" for minute in range(start, stop)]
    with path.open("w") as file:
        for metric, rate in ((BAD_EVENTS, 0.02), (EVENTS, 1.0)):
            file.write(f"# TYPE {metric} counter\n")
            for slo, service in zip(slos, services, strict=True):
                values = np.cumsum(rng.poisson(rate, len(times))).tolist()
                head = f'{metric}_total{{slo="{slo}",service="{service}"}} '
                file.write("".join(f"{head}{v}{at}" for v, at in zip(values, times, strict=True)))
        file.write("# EOF\n")


@contextmanager
def _running(folder: Path) -> Iterator[tuple[str, int]]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    (folder / "prometheus.yml").write_text(
        f"global: {{evaluation_interval: 1m}}\nrule_files: [{folder / 'rules.yml'}]\n"
    )
    process = subprocess.Popen(
        ["prometheus", f"--config.file={folder / 'prometheus.yml'}",
         f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                if httpx.get(f"{url}/-/ready").status_code == 200 and _evaluations(url) > 0:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def _evaluations(url: str) -> float:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    found = re.findall(r"^prometheus_rule_evaluations_total\{.*\} (\S+)$", text, re.M)
    return sum(map(float, found))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


def _version() -> str:
    said = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    return (said.stdout + said.stderr).split()[2]


def _since(cpu: float) -> float:
    return time.process_time() - cpu


def _over(one: dict[str, Any], other: dict[str, Any], what: str) -> float:
    return round(one[what] / other[what], 2)
