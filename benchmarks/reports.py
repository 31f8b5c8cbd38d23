"""A month of a million calls reported: how long each report takes, and what memory that needs.

25 services with two objectives each, an agreement with a provider, a million calls over November.
Every report is made in a process of its own that has opened the store before the clock starts, so
that its peak is what a server would grow by at most.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bodies import MODELS, SERVICES, TIERS
from tocsin.domain.clock import ManualClock
from tocsin.engine.house import House
from tocsin.engine.reporting.making import file, lay_out
from tocsin.engine.reporting.ordering import order
from tocsin.engine.reporting.pdf import as_pdf, is_there
from tocsin.engine.settings import Settings
from tocsin.spec.desired import load_text
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

CALLS = 1_000_000
MEASURED = ("executive", "sla", "vendors")  # each reads what its template needs
SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 1, 7, 0, tzinfo=UTC)
_SERVICE = """
apiVersion: tocsin/v1
kind: Service
metadata: {{name: {name}}}
spec: {{team: team-{team}, provider: openai, dimensions: [tier]}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {name}-availability}}
spec:
  service: {name}
  indicator:
    metadata: {{name: {name}-success}}
    spec:
      ratioMetric:
        good: {{metricSource: {{type: Tocsin, spec: {{use: availability}}}}}}
        total: {{metricSource: {{type: Tocsin, spec: {{count: all}}}}}}
  timeWindow: [{{duration: 28d, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{target: 0.99}}]
---
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {name}-latency}}
spec:
  service: {name}
  indicator:
    metadata: {{name: {name}-speed}}
    spec:
      thresholdMetric: {{metricSource: {{type: Tocsin, spec: {{value: latency_ms}}}}}}
  timeWindow: [{{duration: 28d, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{op: lt, value: 4000, target: 0.9}}]
"""
_AGREEMENT = """
apiVersion: tocsin/v1
kind: VendorAgreement
metadata: {name: openai}
spec: {provider: openai, committed: 0.99, slots: {badShare: 0.05}, feeUsd: 1000}
"""


def run() -> dict[str, Any]:
    """Seconds, processor seconds, megabytes and file sizes."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        with _telemetry(Path(name)) as store:
            _fill(store)
        made = {template: _measured(name, template) for template in MEASURED}
        again = _measured(name, "executive")
    return {
        "calls": CALLS,
        "objectives": 2 * SERVICES,
        "reports": made,
        "same_bytes_again": again["sha256"] == made["executive"]["sha256"],
    }


def _measured(directory: str, template: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.reports", directory, template]
    done = subprocess.run(command, capture_output=True, check=True, timeout=600)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _make(directory: Path, template: str) -> dict[str, Any]:
    """One report, in this process."""
    import hashlib

    services = [f"svc-{number:02}" for number in range(SERVICES)]
    parts = [_SERVICE.format(name=name, team=at % 5) for at, name in enumerate(services)]
    desired = load_text("---".join([*parts, _AGREEMENT]))
    clock = ManualClock(NOW)
    with _telemetry(directory) as store:
        state = StateStore.open(directory / f"{template}.db")
        lateness = Settings(directory).lateness
        house = House(store, state, clock, desired, lateness=lateness)
        before = _peak_mb()
        began, cpu = time.monotonic(), time.process_time()
        report = lay_out(house, order(desired, template, NOW, since=SINCE, until=UNTIL))
        gathered = time.monotonic() - began
        files = {name: file(report, name) for name in ("html", "json", "csv")}
        took, used = time.monotonic() - began, time.process_time() - cpu
        after = _peak_mb()
        found: dict[str, Any] = {
            "seconds": round(took, 2),
            "of_which_writing_files": round(took - gathered, 3),
            "cpu_s": round(used, 2),
            "peak_mb_before": round(before),
            "peak_mb": round(after),
            "bytes": {name: len(body) for name, body in files.items()},
            "sha256": hashlib.sha256(files["html"]).hexdigest(),
        }
        if is_there():
            began = time.monotonic()
            found["bytes"]["pdf"] = len(as_pdf(files["html"]))
            found["pdf_s"] = round(time.monotonic() - began, 2)
        state.close()
    return found


def _telemetry(directory: Path) -> Telemetry:
    return Telemetry.open(
        directory, ManualClock(NOW), kinds=KINDS, tables=TABLES, retention=Retention(0, 0, 0)
    )


def _fill(store: Telemetry) -> None:
    """A million calls by SQL, spread over the month; one in eighty fails."""
    span_us = int((UNTIL - SINCE).total_seconds() * 1e6)
    store.engine.execute(
        f"""
        INSERT INTO tocsin.calls (project, ts, service, seg, recv, trace_id, span_id, env, kind,
          name, model, provider, error_class, duration_us, ttft_us, input_tokens, output_tokens,
          usage_known, cost_usd, cost_known, dims)
        WITH cityHash64(number) AS r
        SELECT 'bench',
          fromUnixTimestamp64Micro({int(SINCE.timestamp() * 1e6)} + number * {span_us // CALLS}) AS
            ts, concat('svc-', leftPad(toString(r % {SERVICES}), 2, '0')), 1,
          ts + INTERVAL 5 SECOND, lower(hex(sipHash128(number))), lower(hex(r)), 'production',
          'llm', 'chat', {list(MODELS)}[1 + intDiv(r, 64) % {len(MODELS)}],
          ['openai', 'anthropic'][1 + intDiv(r, 524288) % 2],
          if(intDiv(r, 4096) % 80 = 0, 'server', ''), 300000 + intDiv(r, 1048576) % 4000000,
          100000 + intDiv(r, 1048576) % 900000, 1 + intDiv(r, 512) % 6000,
          1 + intDiv(r, 8192) % 1200, 1, 0.001 + (intDiv(r, 8192) % 1200) * 1e-5, 1,
          map('tier', {list(TIERS)}[1 + intDiv(r, 16384) % {len(TIERS)}])
        FROM numbers({CALLS})
        """
    )


def _peak_mb() -> float:
    """Of this program: `ru_maxrss` is inherited from whoever started it, this is not."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    print(json.dumps(_make(Path(sys.argv[1]), sys.argv[2])))
