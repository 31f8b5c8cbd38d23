"""`tocsin gate check` as a pipeline uses it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from tocsin.cli import app, main

GATE = """
apiVersion: tocsin/v1
kind: Gate
metadata: {name: prompt-promotion}
spec:
  arms: {by: prompt_version}
  burnIn: {requests: 200, minutes: 20}
  metrics:
    - {name: errors, rate: "error_class != ''", margin: 0.01, critical: true}
    - {name: slow, rate: "elapsed >= 2s", margin: 0.02}
    - {name: cost, mean: cost_usd, scale: log, margin: 10%}
    - {name: relevance, mean: score('relevance'), direction: higher_is_better, margin: 0.02}
"""


def calls(errors: float = 0.02, relevance: float = 0.8, count: int = 30_000) -> pa.Table:
    rng = np.random.default_rng(1)
    is_new = rng.random(count) < 0.5
    failed = rng.random(count) < np.where(is_new, errors, 0.02)
    score = rng.normal(0.8, 0.1, count) + np.where(is_new, relevance - 0.8, 0)
    return pa.table({
        "ts": np.sort(rng.uniform(1.79e9, 1.79e9 + 6 * 3600, count)),
        "prompt_version": np.where(is_new, "v8", "v7"),
        "error_class": pa.array(np.where(failed, "timeout", None)),
        "duration_ms": rng.lognormal(6.5, 0.6, count),
        "cost_usd": rng.lognormal(-4, 0.5, count),
        "score.relevance": score.clip(0, 1),
        "session_id": [f"s{n}" for n in rng.integers(0, count // 2, count)],
    })  # fmt: skip


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    (tmp_path / "gate.yaml").write_text(GATE)
    return tmp_path / "gate.yaml"


def check(gate: Path, table: pa.Table, *options: str) -> Result:
    path = gate.with_name("calls.parquet")
    pyarrow.parquet.write_table(table, path)
    arguments = ["--config", str(gate), "--from", str(path), "--candidate", "v8", *options]
    return CliRunner().invoke(app, ["gate", "check", *arguments])


def test_an_equal_candidate_passes(gate: Path) -> None:
    done = check(gate, calls(), "--output", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["verdict"], found["candidate"], found["baseline"]) == ("pass", "v8", "v7")
    assert {one["standing"] for one in found["metrics"]} == {"pass"}


def test_a_worse_candidate_fails_with_a_junit_report(gate: Path, tmp_path: Path) -> None:
    report = tmp_path / "gate.xml"
    done = check(gate, calls(errors=0.06), "--junit", str(report))
    assert done.exit_code == 1
    assert "errors: worse than the baseline" in done.output
    suite = ElementTree.parse(report).getroot()
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["errors", "verdict"]
    assert suite.get("failures") == "2"


def test_too_little_is_3_and_not_proven_is_2(gate: Path) -> None:
    assert check(gate, calls(count=300)).exit_code == 3
    assert check(gate, calls(count=3000)).exit_code == 2


def test_sessions_are_the_units_where_they_are_named(gate: Path) -> None:
    gate.write_text(GATE.replace("arms:", "unit: session_id\n  arms:"))
    found = json.loads(check(gate, calls(), "--output", "json").stdout)
    assert found["verdict"] == "pass"
    whole = json.loads(check(gate, calls(errors=0.08), "--output", "json").stdout)
    assert whole["verdict"] == "fail"


def test_csv_is_read_alike(gate: Path, tmp_path: Path) -> None:
    table = calls(errors=0.06)
    pyarrow.csv.write_csv(table, tmp_path / "calls.csv")
    done = CliRunner().invoke(
        app,
        ["gate", "check", "--config", str(gate), "--from", str(tmp_path / "calls.csv"),
         "--candidate", "v8"],
    )  # fmt: skip
    assert done.exit_code == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("error_class != ''", "error_class", "takes a truth value"),
        ("error_class != ''", "failed > error", "has no order"),
        ("error_class != ''", "drop table", "there is no field"),
        ("error_class != ''", "attributes['eror_class'] != ''", "did you mean 'error_class'"),
        ("mean: cost_usd", "mean: session_id", "is a text where a number"),
        ("mean: cost_usd", "mean: relevance", "attributes['relevance']"),
        ("by: prompt_version", "by: model", "there is no such column"),
        ("by: prompt_version", "by: cost_usd", "where a text goes"),
        ("margin: 10%", "margin: ten", "per cent such as 10%"),
        ("name: slow", "name: errors", "two metrics are named"),
        ("kind: Gate", "kind: Receiver", "there is no Gate"),
    ],
)
def test_what_cannot_be_read_is_4_with_its_reason(
    gate: Path, old: str, new: str, words: str
) -> None:
    gate.write_text(GATE.replace(old, new))
    done = check(gate, calls(count=1000))
    assert done.exit_code == 4
    assert words in " ".join(done.output.split())


def test_an_arm_may_be_written_with_what_tells_it(gate: Path) -> None:
    done = check(gate, calls(count=1000), "--candidate", "prompt_version=v8")
    assert done.exit_code == 2, done.output


def test_without_a_file_a_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_URL", raising=False)
    # Of this very process, where other tests read what is logged.
    monkeypatch.setattr(sys.modules["tocsin.cli.gate"], "logs", lambda _: None)
    ask = ["gate", "check", "promotion"]
    assert "running server (--url) or over a file" in CliRunner().invoke(app, ask).output
    away = CliRunner().invoke(app, [*ask, "--url", "http://127.0.0.1:9"])
    assert (away.exit_code, "does not answer" in away.output) == (4, True)
    odd = CliRunner().invoke(app, [*ask, "--url", "http://127.0.0.1:9", "--wait", "soon"])
    assert (odd.exit_code, "--wait must be a time" in odd.output) == (4, True)


def test_an_unknown_arm_is_named(gate: Path) -> None:
    done = check(gate, calls(count=1000), "--baseline", "v6")
    assert done.exit_code == 4
    assert "there is no call with 'v6'" in " ".join(done.output.split())


def test_a_file_shorter_than_a_unit_is_followed_decides_nothing(gate: Path) -> None:
    gate.write_text(GATE.replace("  burnIn", "  unit: session_id\n  burnIn"))
    table = calls(count=300)
    short = table.set_column(0, "ts", pa.array(np.linspace(1.79e9, 1.79e9 + 420, 300)))
    done = check(gate, short)
    assert done.exit_code == 3, done.output
    assert "a unit counts once it was followed for 30 minutes" in done.output


def test_an_interval_agrees_with_the_failure_beside_it(gate: Path) -> None:
    done = check(gate, calls(errors=0.06), "--output", "json")
    (errors,) = [one for one in json.loads(done.stdout)["metrics"] if one["name"] == "errors"]
    assert errors["standing"] == "fail"
    assert errors["low"] > 0


ANSWERS = Path(__file__).resolve().parents[3] / "shared" / "data" / "refchecker_human.parquet"


@pytest.mark.parametrize(
    ("setting", "code"), [("accurate_context", 2), ("noisy_context", 1), ("zero_context", 1)]
)
def test_answers_of_a_retrieval_that_got_worse_are_caught(
    gate: Path, setting: str, code: int
) -> None:
    """RefChecker's human labels: answers to the right passages against others; two halves of the
    same answers are no finding, and too few for a pass."""
    if not ANSWERS.exists():
        pytest.skip("the shared data refchecker_human is not beside this checkout")
    gate.write_text(
        "apiVersion: tocsin/v1\nkind: Gate\nmetadata: {name: retrieval}\n"
        "spec:\n  arms: {by: prompt_version}\n  burnIn: {requests: 100, minutes: 10}\n"
        "  metrics: [{name: faithful, mean: score('faithfulness'), margin: 0.03, critical: true,"
        " direction: higher_is_better}]\n"
    )
    labelled = [
        (row["setting"], row["faithfulness"])
        for row in pyarrow.parquet.read_table(ANSWERS).to_pylist()
        if row["faithfulness"] is not None
    ]
    rng = np.random.default_rng(1)
    right = rng.permutation([value for where, value in labelled if where == "accurate_context"])
    other = rng.permutation([value for where, value in labelled if where == setting])
    if setting == "accurate_context":
        right, other = np.array_split(right, 2)
    size = min(len(right), len(other))
    at = 1.79e9 + 12 * np.arange(size)
    rows = pa.table({
        "ts": np.concatenate([at, at]),
        "prompt_version": ["v7"] * size + ["v8"] * size,
        "score.faithfulness": np.concatenate([right[:size], other[:size]]),
    })  # fmt: skip
    done = check(gate, rows, "--baseline", "v7")
    assert done.exit_code == code, done.output


def test_neither_a_wrong_option_nor_a_fault_is_a_verdict(
    gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (["gate", "check", "--cofig", "x"], ["gat"], ["--nothing"]):
        assert CliRunner().invoke(app, wrong).exit_code == 64
    monkeypatch.setattr(
        "sys.argv", ["tocsin", "gate", "check", "--config", str(gate), "--from", "x"]
    )
    monkeypatch.setattr("tocsin.engine.gates.check_file", lambda *_: 1 / 0)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 70
