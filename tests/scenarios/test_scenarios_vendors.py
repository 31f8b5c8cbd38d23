"""A provider held to its agreement: what is counted, what is owed, and the calls that prove it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from world import CONFIG, T0, Phase, World

from tocsin.domain.clock import iso
from tocsin.spec.desired import load_text

AGREEMENTS = """
---
apiVersion: tocsin/v1
kind: VendorAgreement
metadata: {name: acme, displayName: Acme AI}
spec:
  provider: acme
  committed: 0.999
  feeUsd: 2000
  credits: [{below: 0.999, percent: 10}, {below: 0.95, percent: 30}]
---
apiVersion: tocsin/v1
kind: VendorAgreement
metadata: {name: acme-slots}
spec:
  provider: acme
  committed: 0.9
  slots: {length: 5m, badShare: 0.5}
  credits: [{below: 0.9, percent: 5}]
---
apiVersion: tocsin/v1
kind: Report
metadata: {name: vendors-of-drafts}
spec: {template: vendors, services: drafts}
"""
RANGE = {"from": "2026-11-16T00:00Z", "to": "2026-11-16T09:00Z", "as_of": "2026-11-16T09:10Z"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("vendors")
    config = path / "config.yaml"
    config.write_text(CONFIG.read_text() + AGREEMENTS)
    with World(path / "data", [Phase("drafts", -60, 5, 1)], config=config) as world:
        tell(world, "acme", good=380, failing=20)
        tell(world, "other", good=400, failing=1)
        world.play(10)
        yield world


def tell(world: World, provider: str, good: int, failing: int) -> None:
    call = {"service": "chat", "kind": "llm", "provider": provider, "model": "m",
            "duration_ms": 900, "input_tokens": 200, "output_tokens": 80}  # fmt: skip
    rows: list[dict[str, Any]] = []
    for n in range(good + failing):
        at = iso(T0 - timedelta(minutes=90) + timedelta(seconds=n))
        is_bad = n >= good  # the last ones: in a slot or two of their own
        rows.append({**call, "ts": at, **({"error_class": "server"} if is_bad else {})})
    rows.append({**call, "ts": iso(T0 - timedelta(minutes=80)), "error_class": "bad_request"})
    answer = world.web.post("/api/v1/calls", content="\n".join(json.dumps(r) for r in rows))
    assert answer.json()["accepted"] == len(rows), answer.text
    world.telemetry.flush()


def tables(world: World, report: str = "vendors") -> dict[str, list[dict[str, Any]]]:
    query = {**RANGE, "format": "json"}
    answer = world.web.get(f"/api/v1/reports/{report}/files", params=query).json()
    told = json.loads(base64.b64decode(answer["files"]["report.json"]))
    return {t["id"]: t["rows"] for s in told["sections"] for t in s["tables"]}


def table(world: World, name: str) -> list[dict[str, Any]]:
    return tables(world)[name]


def test_credits_are_owed_for_what_the_calls_show(made: World) -> None:
    found = {row["agreement"]["text"]: row for row in table(made, "agreements")}
    calls, slots = found["Acme AI"], found["acme-slots"]
    assert calls["counted"]["text"] == "20 bad of 400 calls; 400 calls"  # not the bad request
    assert calls["availability"]["value"] == pytest.approx(0.95)
    assert calls["availability"]["low"] < 0.95 < calls["availability"]["high"] < 0.999
    assert calls["standing"]["text"] == "broken so far"  # the month still runs
    assert (calls["credit"]["value"], calls["owed"]["value"]) == (0.1, 200.0)
    assert slots["counted"]["text"].endswith("2 slots of 5 min; 400 calls")
    assert slots["owed"]["unknown"] or slots["owed"]["value"] == 0


def test_providers_of_the_same_work_are_told_apart(made: World) -> None:
    best, other = table(made, "failed_by_provider")
    assert (best["provider"]["text"], other["provider"]["text"]) == ("other", "acme")
    assert best["apart"]["text"] == "better than acme"
    assert other["value"]["value"] == pytest.approx(0.05)
    by_time = {row["apart"]["text"] for row in table(made, "duration_by_provider")}
    assert by_time == {"not from the next", "–"}


def test_a_report_about_one_service_compares_its_calls_only(made: World) -> None:
    found = tables(made, "vendors-of-drafts")
    compared = {name: rows for name, rows in found.items() if name != "agreements"}
    assert "acme" not in str(compared)  # it answers chat
    assert {row["agreement"]["text"] for row in found["agreements"]} == {"Acme AI", "acme-slots"}


def test_evidence_holds_every_call_that_counts(made: World) -> None:
    path = "/api/v1/vendor-agreements/acme/evidence"
    answer = made.web.get(path, params=RANGE)
    assert answer.status_code == 200, answer.text
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    calls = pq.read_table(io.BytesIO(answer.content)).to_pylist()
    assert (len(calls), sum(call["is_failed"] for call in calls)) == (400, 20)
    assert all(call["provider"] == "acme" for call in calls)
    tell(made, "acme", good=3, failing=3)  # what came later is not in it
    assert made.web.get(path, params=RANGE).content == answer.content
    plain = made.web.get(path, params={**RANGE, "format": "csv"})
    assert pyarrow.csv.read_csv(io.BytesIO(plain.content)).num_rows == 400
    missing = made.web.get("/api/v1/vendor-agreements/acne/evidence", params=RANGE)
    assert (missing.status_code, "did you mean 'acme'" in missing.text) == (404, True)


def test_an_agreement_that_makes_no_sense_says_why() -> None:
    wrong = AGREEMENTS.replace("percent: 30", "percent: 3").replace("length: 5m", "length: 90s")
    with pytest.raises(Exception, match="a lower availability owes a higher percentage") as caught:
        load_text(wrong)
    assert "whole minutes" in str(caught.value)


def test_a_month_whose_calls_are_partly_gone_is_neither_kept_nor_broken(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = datetime(2026, 11, 10, tzinfo=UTC)  # the report begins later, the month before
    monkeypatch.setattr(made.telemetry.keeping, "complete_since", lambda *_: kept.timestamp())
    found = table(made, "agreements")
    assert len(found) == 2
    for row in found:
        assert row["standing"]["text"] == "unknown"
        for key in ("availability", "credit", "owed"):
            assert row[key]["value"] is None
            assert "before 2026-11-10 00:00 UTC are not kept" in row[key]["unknown"]
        assert row["counted"]["text"].startswith("of what is kept: ")
