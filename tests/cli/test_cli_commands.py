"""The command line as pipelines use it: exit codes, what goes to which stream, and clear errors."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tocsin.domain.clock import iso

START = datetime(2026, 11, 16, tzinfo=UTC)
HOURS = 9
OUTAGE = (8 * 60, 8 * 60 + 20)  # minutes after START

CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {displayName: Chat, team: cx}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: failures}
spec:
  service: chat
  use: count_scan
  indicator: {use: availability}
  severity: page
  with: {min_bad: 5}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: pager}
spec: {type: none}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: hook}
spec: {type: webhook, url: "https://hooks.example.com/x", secret: {secret: HOOK_SECRET}}
---
apiVersion: tocsin/v1
kind: EscalationPolicy
metadata: {name: now}
spec: {steps: [{after: 0m, notify: [hook]}]}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults:
    unmatched: {tier: 1, receivers: [hook]}
    on_rule_error: {tier: 1, receivers: [hook]}
  classify:
    - {name: pages, if: {severity: page}, set: {tier: 1}}
    - {name: rest, set: {tier: 3}, when_unset: true}
  routes:
    - {name: page, if: {tier: 1}, policy: now}
    - {name: rest, receivers: [pager]}
  tests:
    - name: failures page
      alert: {env: prod, service: chat, signal: error_rate, severity: page}
      expect: {tier: 1, policy: now}
"""


def tocsin(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | environment
    return subprocess.run(
        [sys.executable, "-c", "from tocsin.cli import main; main()", *map(str, words)],
        env={**env, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.mkdir()
    (path / "all.yaml").write_text(CONFIG)
    return path


def change(config: Path, old: str, new: str) -> None:
    text = (config / "all.yaml").read_text()
    assert old in text
    (config / "all.yaml").write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("history") / "counts.csv"
    with path.open("w") as file:
        file.write("minute,service,good,bad\n")
        for minute in range(HOURS * 60):
            calls = int(rng.poisson(20))
            share = 0.5 if OUTAGE[0] <= minute < OUTAGE[1] else 0.005
            bad = int(rng.binomial(calls, share))
            file.write(f"{iso(START + timedelta(minutes=minute))},chat,{calls - bad},{bad}\n")
    return path


@pytest.fixture(scope="module")
def calls(counts: Path) -> pa.Table:
    """The same counts as single calls."""
    table = pyarrow.csv.read_csv(counts)
    rows: list[dict[str, object]] = []
    for row in table.to_pylist():
        for number in range(row["good"] + row["bad"]):
            failed = number < row["bad"]
            rows.append({
                "ts": f"{row['minute']:%Y-%m-%dT%H:%M}:{number % 60:02d}Z",
                "service": "chat",
                "error_class": "timeout" if failed else None,
                "duration_ms": 900.0 + number,
                "truncated": False,
            })  # fmt: skip
    return pa.Table.from_pylist(rows)


def records(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


# --- backtest ---------------------------------------------------------------------------------


def test_a_backtest_over_counts_prints_every_decision_as_json_lines(
    config: Path, counts: Path
) -> None:
    run = tocsin("backtest", "--config", config, "--from", counts, "--output", "jsonl")
    assert run.returncode == 0, run.stderr
    found = records(run.stdout)
    assert [r["kind"] for r in found] == ["alert", "page", "alert", "resolve"]
    page = found[1]
    begin = iso(START + timedelta(minutes=OUTAGE[0]))
    assert begin < str(page["at"]) <= iso(START + timedelta(minutes=OUTAGE[0] + 4))
    assert page["receivers"] == ["hook"]
    assert page["tier"] == 1
    assert "calls failed" in str(page["reason"])
    assert list(page)[:2] == ["at", "kind"]


def test_the_same_calls_one_by_one_decide_the_same(
    config: Path, counts: Path, calls: pa.Table, tmp_path: Path
) -> None:
    jsonl, parquet = tmp_path / "calls.jsonl", tmp_path / "calls.parquet"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in calls.to_pylist()))
    pyarrow.parquet.write_table(calls, parquet)
    outputs = [
        tocsin("backtest", "--config", config, "--from", path).stdout
        for path in (counts, jsonl, parquet)
    ]
    assert outputs[0]
    assert outputs[1] == outputs[0]
    assert outputs[2] == outputs[0]


def test_a_backtest_says_what_it_did_not_judge(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    rows = [f"{1763251200 + n},{'chat' if n % 4 else 'chap'},server_error" for n in range(40)]
    path.write_text("ts,service,error\n" + "\n".join(rows) + "\n")
    run = tocsin("backtest", "--config", config, "--from", path)
    assert (run.returncode, run.stdout) == (0, "")
    assert "40 calls of 2 services, 40 failed" in run.stderr
    assert "server_error as server" in run.stderr
    assert "no Service document has the name: chap (10 calls)" in run.stderr
    assert "judged nothing in all the time: detector/" in run.stderr


def test_a_backtest_as_text_is_one_line_a_decision(config: Path, counts: Path) -> None:
    run = tocsin("backtest", "--config", config, "--from", counts, "--output", "text")
    lines = run.stdout.splitlines()
    assert len(lines) == 4
    assert "  page  " in lines[1]
    assert lines[1].startswith("2026-11-16T08:0")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("minute,service,good,bad\n1,chat,1,-1\n", "row 1: bad is negative"),
        ("a,b\n1,2\n", "needs minute, service, good, bad"),
        ("ts,service\nyesterday,chat\n", "write RFC 3339"),
        ("ts,service\n1e30,chat\n", "is no time"),
        ("ts,service,error\n1763251200000,chap,\n", "did you mean 'chat'?"),
        ("minute,service,good,bad\n1e300,chat,1,0\n", "column minute"),
        ("ts,service,duration_ms\n2026-01-01T00:00:00Z,chat,fast\n", "'fast'"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_fix(
    config: Path, tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(content)
    run = tocsin("backtest", "--config", config, "--from", path)
    assert run.returncode == 1
    assert str(path) in run.stderr.replace("\n", "")
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_a_backtest_without_its_file_or_configuration_says_so(
    config: Path, counts: Path, tmp_path: Path
) -> None:
    missing = tocsin("backtest", "--config", config, "--from", tmp_path / "no.csv")
    assert missing.returncode == 1
    assert "no.csv" in missing.stderr
    without = tocsin("backtest", "--from", counts)
    assert without.returncode == 1
    assert "--config" in without.stderr


# --- plan and apply ---------------------------------------------------------------------------


def test_plan_and_apply_tell_change_from_no_change_by_exit_code(
    config: Path, tmp_path: Path
) -> None:
    where = ("--config", config, "--data-dir", tmp_path / "data")
    first = tocsin("plan", *where)
    assert first.returncode == 2, first.stdout + first.stderr
    assert "+ Service/chat" in first.stdout
    assert not (tmp_path / "data" / "state.db").exists(), "a plan changes nothing"
    applied = tocsin("apply", *where, "--actor", "ana", "--reason", "first")
    assert applied.returncode == 0, applied.stderr
    assert "as ana" in applied.stdout
    assert tocsin("plan", *where).returncode == 0
    again = tocsin("apply", *where)
    assert again.returncode == 0
    assert "Nothing to apply" in again.stdout
    change(config, "min_bad: 5", "min_bad: 7")
    second = tocsin("plan", *where)
    assert second.returncode == 2
    assert "min_bad: 5 -> 7" in second.stdout


def test_plan_with_a_failing_test_is_exit_code_1_and_apply_refuses(
    config: Path, tmp_path: Path
) -> None:
    change(config, "expect: {tier: 1", "expect: {tier: 2")
    where = ("--config", config, "--data-dir", tmp_path / "data")
    run = tocsin("plan", *where)
    assert run.returncode == 1
    assert "failed: failures page" in run.stdout
    refused = tocsin("apply", *where)
    assert refused.returncode == 1
    assert "failed tests" in refused.stderr
    assert "tocsin plan" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert tocsin("plan", *where).returncode == 1


def test_every_error_names_its_file_and_line_in_one_run(config: Path) -> None:
    change(config, "use: count_scan", "use: count_scam")
    change(config, "type: webhook", "type: webhok")
    run = tocsin("plan", "--config", config)
    assert run.returncode == 1
    flat = run.stderr.replace("\n", "")
    lines = (config / "all.yaml").read_text().splitlines()
    for text in ("count_scam", "webhok"):
        line = next(n for n, each in enumerate(lines, 1) if text in each)
        assert f"{config / 'all.yaml'}:{line}" in flat, run.stderr
    assert "count_scan" in flat, "the nearest name is suggested"


def test_the_page_diff_counts_what_a_change_would_have_paged(
    config: Path, counts: Path, tmp_path: Path
) -> None:
    where = ("--config", config, "--data-dir", tmp_path / "data")
    change(config, "severity: page\n", "severity: ticket\n")
    tocsin("apply", *where)
    change(config, "severity: ticket\n", "severity: page\n")
    over = tocsin("plan", *where, "--from", counts, "--budget", "0")
    assert over.returncode == 3, over.stdout
    assert "1 added (budget 0), 0 removed" in over.stdout
    assert tocsin("plan", *where, "--from", counts, "--budget", "1").returncode == 2
    told = json.loads(tocsin("plan", *where, "--from", counts, "--output", "json").stdout)
    (page,) = told["pages"]["added"]
    assert page["service"] == "chat"
    assert page["receivers"] == ["hook"]
    assert told["exit_code"] == 2
    assert told["pages"]["removed"] == []


# --- doctor and flags -------------------------------------------------------------------------


def test_doctor_finds_this_machine_fit(config: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = tocsin(
        "doctor", "--output", "json", "--data-dir", tmp_path / "d", "--config", config,
        "--port", str(port),
    )  # fmt: skip
    found = {row["check"]: row for row in json.loads(run.stdout)}
    assert run.returncode == (1 if any(r["grade"] == "fail" for r in found.values()) else 0)
    for check in ("python", "data directory", "port", "access", "clock", "chdb", "configuration"):
        assert found[check]["grade"] == "ok", found[check]
    assert {"disk", "memory", "isal", "psycopg", "grpc", "OTLP/gRPC"} <= found.keys()
    assert not (tmp_path / "d").exists(), "looking changes nothing"


def test_doctor_fails_for_what_would_keep_it_from_running(tmp_path: Path) -> None:
    run = tocsin(
        "doctor", "--output", "json", "--host", "0.0.0.0", "--config", tmp_path / "nowhere",
        "--data-dir", tmp_path,
    )  # fmt: skip
    assert run.returncode == 1
    found = {row["check"]: row for row in json.loads(run.stdout)}
    assert found["access"]["grade"] == "fail"
    assert "TOCSIN_TOKEN" in found["access"]["fix"]
    assert found["configuration"]["grade"] == "fail"


def test_doctor_says_that_a_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = tocsin("doctor", "--data-dir", tmp_path, "--port", str(port), "--output", "json")
        own = tocsin(
            "doctor", "--data-dir", tmp_path, "--output", "json",
            TOCSIN_GRPC_PORT=str(port), TOCSIN_FLIGHT_PORT="0",
        )  # fmt: skip
    found = {row["check"]: row for row in json.loads(run.stdout)}
    assert found["port"]["grade"] == "warn"
    found = {row["check"]: row for row in json.loads(own.stdout)}
    assert found["OTLP/gRPC"]["grade"] == "warn"
    assert "TOCSIN_GRPC_PORT" in found["OTLP/gRPC"]["fix"]
    assert found["Arrow Flight"]["found"] == "off (TOCSIN_FLIGHT_PORT=0)"


def test_doctor_as_text_says_what_to_do(tmp_path: Path) -> None:
    run = tocsin("doctor", "--data-dir", tmp_path, "--host", "0.0.0.0")
    assert run.returncode == 1
    assert "set TOCSIN_TOKEN" in run.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serve", "--port", "many"), "'--port'"),
        (("backtest",), "Missing option '--from'"),
        (("plan", "--output", "xml"), "'xml' is not one of"),
        (("frobnicate",), "No such command"),
        (("demo", "--days"), "--days"),
    ],
)
def test_wrong_flags_have_an_exit_code_of_their_own_with_the_reason(
    words: tuple[str, ...], said: str
) -> None:
    run = tocsin(*words)
    assert run.returncode == 64
    assert said in " ".join(run.stderr.replace("│", " ").split())
    assert "Traceback" not in run.stderr


def test_a_wrong_environment_variable_is_named(tmp_path: Path) -> None:
    run = tocsin("doctor", "--data-dir", tmp_path, TOCSIN_PORT="http")
    assert run.returncode == 1
    assert "TOCSIN_PORT='http' is not a whole number" in run.stderr


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (("serve", "--port", "70000"), {}, "--port 70000 is not a port"),
        (("serve",), {"TOCSIN_PORT": "99999"}, "TOCSIN_PORT='99999' must be at most 65535"),
        (("serve",), {"TOCSIN_LATENESS_S": "9" * 15}, "TOCSIN_LATENESS_S"),
        (("serve", "--port", "0", "--data-dir", "{file}"), {}, "cannot be made"),
        (("serve", "--port", "0", "--data-dir", "{file}/below"), {}, "cannot be made"),
        (("apply", "--config", "{config}", "--data-dir", "{file}"), {}, "cannot be made"),
        (
            ("serve", "--port", "0", "--config", "{secretive}"),
            {"TOCSIN_SECRETS_COMMAND": "/nonexistent/command"},
            "TOCSIN_SECRETS_COMMAND cannot be run for TOCSIN_LEDGER_KEY: FileNotFoundError",
        ),
    ],
)
def test_what_cannot_be_started_is_told_in_words(
    config: Path, tmp_path: Path, words: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "secretive.yaml").write_text(
        "apiVersion: tocsin/v1\nkind: Receiver\nmetadata: {name: hook}\n"
        "spec: {type: webhook, url: {secret: URL}, secret: {secret: KEY}}\n"
    )
    places = {
        "file": tmp_path / "file", "config": config, "secretive": tmp_path / "secretive.yaml",
    }  # fmt: skip
    run = tocsin(
        *(word.format(**places) for word in words),
        **{"TOCSIN_DATA": str(tmp_path / "data"), **variables},
    )
    assert run.returncode == 1, run.stderr
    assert said in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr


def test_what_was_applied_is_in_the_ledger(config: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    tocsin("apply", "--config", config, "--data-dir", data, "--actor", "ana", "--reason", "go")
    with sqlite3.connect(data / "state.db") as database:
        text = "\n".join(database.iterdump())
    database.close()
    assert "config.applied" in text
    assert "ana" in text
    assert "HOOK_SECRET" in text, "a secret is kept as a reference"


def test_prices_are_shown_for_a_day_with_who_says_so(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(
        "apiVersion: tocsin/v1\nkind: PriceBook\nmetadata: {name: ours}\nspec:\n  prices:\n"
        "    - {provider: openai, model: gpt-4o, from: 2026-05-01, to: 2026-05-31,"
        " inputPerMtok: 1, outputPerMtok: 2}\n"
    )
    for day, source, dollars in (
        ("2026-05-31", "override", 1.0),
        ("2026-06-01", "genai-prices", 2.5),
    ):
        shown = tocsin(
            "prices", "gpt-4o", "--provider", "openai", "--on", day, "--config", tmp_path,
            "--output", "json",
        )  # fmt: skip
        assert shown.returncode == 0, shown.stderr
        [exact] = [row for row in json.loads(shown.stdout) if row["model"] == "gpt-4o"]
        assert (exact["source"], exact["input_per_mtok"]) == (source, dollars)
    missing = tocsin("prices", "gpt-4oh")
    assert missing.returncode == 1
    assert "its calls cost unknown" in missing.stderr
