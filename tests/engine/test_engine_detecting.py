"""`tocsin detect` over files: what rings, what a bad file is told, and never a look ahead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from tocsin.cli import app
from tocsin.domain.errors import SpecError
from tocsin.engine.detecting import detect
from tocsin.engine.value_files import ValueSeries, read_values

START, STEP, POINTS = 1_790_000_400, 300, 2016 * 2
SPIKE, OUTAGE = 3000, 3500  # rows


def rows(points: int = POINTS) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Two series: one spikes, the other falls to nothing for an hour."""
    rng = np.random.default_rng(40)
    seconds = START + STEP * np.arange(points)
    spiking = 100 * np.exp(0.1 * rng.standard_normal(points))
    falling = 50 + 5 * rng.standard_normal(points)
    spiking[SPIKE : SPIKE + 4] *= 9
    falling[OUTAGE : OUTAGE + 12] = 0
    return {"spiking": (seconds, spiking), "falling": (seconds, falling)}


def written(path: Path, points: int = POINTS, *, of: int | None = None) -> Path:
    keys, seconds, values = [], [], []
    for name, (at, found) in rows(points).items():
        keys += [name] * len(at[:of])
        seconds += at[:of].tolist()
        values += found[:of].tolist()
    table = pa.table({"name": keys, "timestamp": seconds, "value": values})
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


def run(*arguments: object) -> tuple[int, list[dict[str, object]], str]:
    result = CliRunner().invoke(app, ["detect", *map(str, arguments), "--output", "jsonl"])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, lines, result.stderr


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_spike_and_an_outage_ring_once_each(tmp_path: Path, suffix: str) -> None:
    code, lines, _ = run(written(tmp_path / f"a.{suffix}"), "--key", "name", "--budget", 1)
    assert code == 0
    assert {(line["series"], line["start_epoch"]) for line in lines} == {
        ("falling", START + STEP * OUTAGE),
        ("spiking", START + STEP * SPIKE),
    }
    for line in lines:
        assert list(line) == ["series", "start", "start_epoch", "end", "score", "p", "reason"]
        assert 0 < float(str(line["p"])) < 1e-3
        assert line["start"] <= line["end"]
    assert "below the expected" in lines[0]["reason"]
    assert "above the expected" in lines[1]["reason"]


def test_alerts_of_the_beginning_are_those_of_the_whole(tmp_path: Path) -> None:
    for cut in (SPIKE + 2, OUTAGE + 5, 3900):
        short = read_values(written(tmp_path / "short.csv", of=cut), key="name")
        whole = read_values(written(tmp_path / "whole.csv"), key="name")
        until = START + STEP * cut
        for asked in ({"budget": 50.0}, {}):
            begun = {(a.series, a.start_epoch) for a in detect(short, **asked)}
            expected = {(a.series, a.start_epoch) for a in detect(whole, **asked)}
            assert begun == {each for each in expected if each[1] < until}


def test_one_series_needs_no_key(tmp_path: Path) -> None:
    path = tmp_path / "queue.csv"
    _, values = rows()["spiking"]
    lines = [f"{START + STEP * i},{v}" for i, v in enumerate(values)]
    path.write_text("\n".join(["timestamp,value", *lines]) + "\n")
    assert {line["series"] for line in run(path)[1]} == {"queue"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("timestamp,value\n2026-11-21T10:00:00Z,1\n2026-11-21T10:01:00Z,fast\n", 3, "no number"),
        ("timestamp,value\nyesterday,1\n", 2, "no time"),
        ("timestamp,value\n1790000400,1\n1e30,2\n", 3, "1e+30 is no time"),
        ("when,value\n1790000400,1\n", 0, "no column 'timestamp'; there are when, value"),
        ("1790000400,1\n1790000460,1\n", 0, "the first line must name the columns"),
        ("time;p95\n1790000400;1,5\n", 2, "a point in front of decimals"),
        ("timestamp,value\n1790000400,1e30\n", 2, "beyond 1e+18"),
        ("timestamp,value\n", 0, "has no rows"),
    ],
)
def test_a_bad_file_is_told_where_and_what(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    code, lines, told = run(path)
    assert (code, lines) == (1, [])
    assert says in told
    assert f"bad.csv:{line}" in told if line else "bad.csv" in told


def test_missing_values_times_out_of_order_and_repeats_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(
        "timestamp,value\n2026-11-21 10:02:00,3\n2026-11-21 10:00:00,1\n"
        "2026-11-21 10:01:00,\n2026-11-21 10:02:00,4\n"
    )
    (series,) = read_values(path)
    np.testing.assert_array_equal(series.values, [1, np.nan, 4])
    assert (series.repeated, series.step_s) == (1, 60)
    code, _, told = run(path)
    assert "1 rows repeat a time" in told
    assert (code, "0 of 3 values could be judged" in told) == (3, True)
    assert "121 values in a row, 60 s apart, are needed; there are 2" in told


@pytest.mark.parametrize("keys", [["host"], ["host", "metric"], []])
def test_several_series_without_a_key_are_refused(tmp_path: Path, keys: list[str]) -> None:
    path = tmp_path / "keyed.csv"
    lines = [
        ",".join([str(START + STEP * i), str(10 * n + i % 7), *[f"{k}{n}" for k in keys]])
        for i in range(300)
        for n in range(3)
    ]
    path.write_text("\n".join([",".join(["timestamp", "value", *keys]), *lines]) + "\n")
    code, _, told = run(path)
    assert code == 1
    assert "600 of 900 rows have another value at the time of another row" in told
    assert (f"--key {keys[0]}" if keys else "add up or average them") in told
    if keys:
        assert "0 alerts in 3 series" in run(path, "--key", ",".join(keys))[2]


def test_a_kind_that_needs_a_limit_is_given_one(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    keyed = (path, "--key", "name", "--use")
    for use, needs in (
        ("static_threshold", "limit"),
        ("capacity", "limit"),
        ("forecast", "budget"),
    ):
        code, _, told = run(*keyed, use)
        assert (code, f"--with {needs}=NUMBER" in told) == (1, True)
    code, lines, _ = run(*keyed, "static_threshold", "--with", "limit=500")
    assert (code, {line["start_epoch"] for line in lines}) == (0, {START + STEP * SPIKE})
    for setting, says in (
        ("limt=1", "no setting 'limt'"), ("side=up", "one of above, below"),
        ("for_minutes=x", "a whole number"), ("for_minutes=900", "for_minutes is 1 to 60"),
    ):  # fmt: skip
        code, _, told = run(*keyed, "static_threshold", "--with", "limit=500", "--with", setting)
        assert (code, says in told) == (1, True), told
    assert run(*keyed, "zscore", "--with", "k")[0] == 64


def test_values_closer_together_than_the_steps_are_judged_by_their_mean(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rng = np.random.default_rng(5)
    lines = [f"{START + 60 * i},{100 + rng.standard_normal()}" for i in range(400)]
    lines.insert(301, f"{START + 60 * 300 + 20},9000")
    path.write_text("\n".join(["timestamp,value", *lines]) + "\n")
    _, (line,), told = run(path)
    assert line["start_epoch"] == START + 60 * 300 + 20, "when the step is whole"
    assert str(line["reason"]).startswith("4549, above the expected 99.97")
    assert "1 values are closer together" in told


def test_a_key_may_not_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("k,timestamp,value\na,1790000400,1\n,1790000460,2\n")
    with pytest.raises(SpecError, match=r"keys.csv:3: k is empty"):
        read_values(path, key="k")


def test_settings_that_contradict_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    code, _, told = run(path, "--budget", 5, "--evidence", 4)
    assert code == 64
    assert "not both" in told
    with pytest.raises(ValueError, match="above 0"):
        list(detect(read_values(path, key="name"), budget=0.0))


def test_other_kinds_judge_files_too(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    code, lines, _ = run(path, "--key", "name", "--use", "rolling_level")
    assert code == 0
    assert START + STEP * SPIKE in {line["start_epoch"] for line in lines}
    assert all(line["p"] is None for line in lines)
    assert "robust deviations from the median" in str(lines[0]["reason"])
    for use, says in (("oracle", "unknown detector 'oracle'"), ("count_scan", "judges calls")):
        code, _, told = run(path, "--use", use)
        assert (code, says in told) == (1, True)
    assert run(path, "--use", "zscore", "--budget", 5)[0] == 64


def test_one_wrong_time_neither_costs_decades_nor_hides_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    _, lines, _ = run(path, "--key", "name")
    rows = path.read_text()
    path.write_text(
        rows + "\n".join(f"{t},{rows.splitlines()[1].split(',', 1)[1]}" for t in (1, 9))
    )
    assert run(path, "--key", "name")[1] == lines


@pytest.mark.filterwarnings("error")
def test_values_of_months_are_judged_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("timestamp,value\n" + "".join(f"{30 * 86_400 * i},{i}\n" for i in range(40)))
    code, _, told = run(path)
    assert (code, "0 of 40 values could be judged" in told) == (3, True)


PACKS = Path(__file__).resolve().parents[2] / ".." / "shared" / "detect"


def test_five_false_pages_a_week_are_held_on_labelled_series(tmp_path: Path) -> None:
    pack = "synth"
    if not (PACKS / pack).is_dir():
        pytest.skip("the labelled series are not beside this checkout")
    held = np.load(PACKS / pack / "series.npz")
    names = json.loads((PACKS / pack / "truth.json").read_text())
    series = [ValueSeries(n, held[f"{n}|ts"], held[f"{n}|x"].astype(float)) for n in names]
    fires: dict[str, list[int]] = {}
    for alert in detect(series, budget=5.0):
        fires.setdefault(alert.series, []).append(alert.start_epoch)
    told = tmp_path / "fires.json"
    told.write_text(json.dumps(fires))
    scorer = [sys.executable, PACKS / "score.py", "alerts", PACKS / pack, told, "--budget", "5"]
    found = json.loads(subprocess.run(scorer, check=True, capture_output=True).stdout)
    assert found["within_budget"]
    assert found["recall"] >= 0.35
