"""Vendors counted from stored calls; published measurements come out in their published order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from telemetry_build import FOREVER, MINUTE, NOW, clock

from tocsin.reports.vendors import Comparison, compare
from tocsin.store.otlp_kinds import TABLES
from tocsin.store.telemetry import Telemetry

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def published(name: str) -> list[dict[str, Any]]:
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{name}.parquet lies beside the repository only")
    return pq.read_table(path).to_pylist()


def calls(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as the store takes them. seconds, first: None is unknown."""
    ends = int(NOW.timestamp() * 1e6) - 600_000_000
    micros = [round((r["seconds"] or 0) * 1e6) for r in rows]
    return pa.table({
        "project": ["p"] * len(rows),
        "ts": pa.array([ends - us for us in micros], pa.timestamp("us", tz="UTC")),
        "trace_id": [f"{n:032x}" for n in range(len(rows))],
        "span_id": [f"{n:016x}" for n in range(len(rows))],
        "kind": ["llm"] * len(rows),
        "service": [r["workload"] for r in rows],
        "provider": [r["provider"] for r in rows],
        "model": [r["model"] for r in rows],
        "error_class": [r["error"] for r in rows],
        "duration_us": pa.array(micros, pa.uint64()),
        "ttft_us": pa.array([round((r["first"] or 0) * 1e6) for r in rows], pa.uint32()),
        "usage_known": pa.array([int(r["output"] is not None) for r in rows], pa.uint8()),
        "input_tokens": pa.array([r["input"] or 0 for r in rows], pa.uint32()),
        "output_tokens": pa.array([r["output"] or 0 for r in rows], pa.uint32()),
    })  # fmt: skip


def compared(path: Path, rows: Sequence[dict[str, Any]]):
    with Telemetry.open(path, clock(), tables=TABLES, retention=FOREVER) as store:
        store.add_calls(calls(rows))
        store.flush()
        known = store.periods(NOW).vendors.strands(MINUTE - 60, MINUTE)
    return {one.measure: one for one in compare(known)}


def order(found: Comparison) -> list[str]:
    return [one.vendor for one in found.standings if one.value is not None]


def test_llmperf_comes_out_in_its_published_order(tmp_path: Path) -> None:
    """Means of the time to the first token, tokens a second and refusals, of 19 December 2023:
    https://github.com/ray-project/llmperf-leaderboard."""
    rows = [
        {
            "workload": r["model"], "provider": r["provider"], "model": r["model"],
            "error": {None: "", "429": "rate_limit"}.get(r["error_code"], "bad_request"),
            "seconds": r["e2e_s"] if not r["error_code"] else 0.1,
            "first": r["ttft_s"] if not r["error_code"] else None,
            "input": r["input_tokens"],
            "output": r["output_tokens"] if not r["error_code"] else None,
        }
        for r in published("llmperf_2023_12")
    ]  # fmt: skip
    big = compared(tmp_path / "70b", [r for r in rows if r["model"] == "llama2-70b"])
    assert order(big["first_token"]) == ["anyscale", "bedrock", "perplexity", "fireworks"]
    assert order(big["duration"]) == ["anyscale", "fireworks", "perplexity", "bedrock"]
    few = {one.vendor: one.why for one in big["first_token"].standings if one.value is None}
    assert few == {"lepton": "20 calls, 50 are needed"}  # 130 of its 150 were refused
    refused = {one.vendor: one for one in big["limited"].standings}
    assert refused["lepton"].low > 0.7 > 0.05 > refused["perplexity"].high
    first, second, *_ = big["first_token"].standings
    assert first.high < second.low
    assert second.high > big["first_token"].standings[2].low  # 0.41 and 0.42 s: not told apart
    small = compared(tmp_path / "7b", [r for r in rows if r["model"] == "llama2-7b"])
    assert order(small["first_token"]) == ["fireworks", "together", "replicate"]
    middle = compared(tmp_path / "13b", [r for r in rows if r["model"] == "llama2-13b"])
    assert order(middle["first_token"]) == ["anyscale", "bedrock", "together", "replicate"]


def test_recorded_calls_are_compared_as_far_as_they_are_alike(tmp_path: Path) -> None:
    """Server times that providers' own answers carried. Medians as published: OpenAI well below
    Gemini; of the others there are too few, and little of the work is alike."""
    rows = [
        {
            "workload": "cassettes", "provider": r["provider"], "model": r["request_model"],
            "error": "", "seconds": r["server_ms"] / 1000, "first": None,
            "input": r["input_tokens"] or 1, "output": r["output_tokens"],
        }
        for r in published("provider_calls")
        if r["http_status"] == 200 and r["server_ms"] and r["output_tokens"]
    ]  # fmt: skip
    found = compared(tmp_path, rows)["duration"]
    assert order(found) == ["openai", "gcp.gemini"]
    best, other = found.standings[:2]
    assert best.high < other.low
    assert 0.1 < found.coverage < 0.2
    few = {one.vendor: one.why for one in found.standings if one.value is None}
    assert few["anthropic"] == "25 calls, 50 are needed"


def test_only_what_a_vendor_answers_for_counts_against_it(tmp_path: Path) -> None:
    classes = ["", "server", "timeout", "overloaded", "connection", "rate_limit", "bad_request",
               "auth", "content_filter"]  # fmt: skip
    rows = [
        {"workload": "w", "provider": "v", "model": "m", "error": name, "seconds": 1.0,
         "first": None, "input": 10, "output": None if name else 20}
        for name in classes for _ in range(10)
    ]  # fmt: skip
    with Telemetry.open(tmp_path, clock(), tables=TABLES, retention=FOREVER) as store:
        store.add_calls(calls(rows))
        store.flush()
        reads = store.periods(NOW).vendors
        strands = reads.strands(MINUTE - 60, MINUTE)
        assert sum(s.eligible for s in strands) == 60
        assert (sum(s.failed for s in strands), sum(s.limited for s in strands)) == (40, 10)
        assert reads.slots(MINUTE - 60, MINUTE, "v", (), 5) == [(40, 60)]
        assert reads.slots(MINUTE - 60, MINUTE, "v", ("other",), 5) == []
        proof = reads.proof(MINUTE - 60, MINUTE, "v", ())
        assert (proof.num_rows, np.sum(proof["is_failed"].to_numpy())) == (60, 40)
