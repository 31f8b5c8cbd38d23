"""Commands that need a file and nothing else, as pipelines run them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cli_commands import tocsin

AMOUNT = "model,region,actual,predict\n" + "\n".join(
    f"m{m},r{r},{300 if (m, r) == (1, 2) else 100},100" for m in range(4) for r in range(5)
)
WINDOWS = "model,region,window,actual,total\n" + "\n".join(
    f"m{m},r{r},{w},{40 if (m, w) == (1, 'current') else 1},100"
    for m in range(4) for r in range(5) for w in ("baseline", "current")
)  # fmt: skip
TIMES = "ts,model,region,errors,requests\n" + "\n".join(
    f"2026-11-16T10:{minute:02d}:00Z,m{m},r{r},{40 if m == 1 and minute >= 8 else 1},100"
    for minute in range(10) for m in range(4) for r in range(5)
)  # fmt: skip


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cells.csv"
    path.write_text(text)
    return path


def test_an_amount_beside_a_prediction_is_explained(tmp_path: Path) -> None:
    done = tocsin("explain", written(tmp_path, AMOUNT))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["slices"] == [
        {"where": {"model": "m1", "region": "r2"}, "actual": 300.0, "expected": 100.0,
         "factor": 3.0, "share": 1.0}
    ]  # fmt: skip


def test_two_windows_of_bad_calls_are_compared(tmp_path: Path) -> None:
    told = json.loads(tocsin("explain", written(tmp_path, WINDOWS)).stdout)
    assert [slice_["where"] for slice_ in told["slices"]] == [{"model": "m1"}]
    assert (told["share"], told["usual_share"]) == (0.1075, 0.01)


def test_two_windows_of_an_amount_are_compared(tmp_path: Path) -> None:
    text = WINDOWS.replace(",total", ",ignored")
    done = tocsin("explain", written(tmp_path, text), "--dimensions", "model,region")
    assert [s["where"] for s in json.loads(done.stdout)["slices"]] == [{"model": "m1"}]


def test_rows_after_a_time_are_compared_with_those_before(tmp_path: Path) -> None:
    done = tocsin(
        "explain", written(tmp_path, TIMES), "--actual", "errors", "--total", "requests",
        "--at", "2026-11-16T10:08:00Z", "--output", "text",
    )  # fmt: skip
    assert done.stdout.startswith("model m1: 100% of the bad ones, 40 times as likely to be bad")


def test_nothing_that_stands_out_is_an_answer(tmp_path: Path) -> None:
    done = tocsin("explain", written(tmp_path, AMOUNT.replace("300", "100")), "--output", "text")
    assert (done.returncode, done.stdout.strip()) == (0, "no slice stands out")


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        ("a,b\nx,1\n", (), "no column 'actual' (or real, value) (name it with --actual)"),
        ("a,actual\nx,1\n", (), "nothing to compare with"),
        ("a,actual,predict\nx,1,1\ny,,1\n", (), "row 2: actual is empty"),
        ("a,actual,predict\nx,1,-1\n", (), "row 1: predict is -1"),
        ("a,actual,predict\nx,many,1\n", (), "row 1: actual 'many' is no number"),
        (
            "a,actual,total,window\nx,9,5,now\ny,1,5,before\n",
            (),
            "row 1: actual is more than total",
        ),
        ("a,actual,window\nx,9,then\n", (), "row 1: window is 'then' (write baseline or current)"),
        ("a,actual,window\nx,9,now\n", (), "no row says baseline (or before, reference)"),
        ("a,actual,ts\nx,9,1\n", ("--at", "soon"), "--at 'soon' is no time"),
        ("a;actual;predict\nx;1,5;1\n", (), "a point in front of decimals"),
        ("a,actual,ts\nx,9,60\n", ("--at", "1970-01-02"), "(ts has 1970-01-01T00:01:00Z to"),
        ("actual,predict\n1,1\n", (), "there are no columns to slice by"),
        ("a,actual,predict\nx,1,1\n", ("--dimensions", "b"), "there is no column 'b' to slice by"),
        ("a,actual,predict\nx,1,1\n", ("--actual", "b"), "there are a, actual, predict"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_where_and_why(
    tmp_path: Path, text: str, words: tuple[str, ...], told: str
) -> None:
    done = tocsin("explain", written(tmp_path, text), *words)
    assert done.returncode == 1
    assert told in done.stderr, done.stderr
    assert "cells.csv" in done.stderr


def columns(seed: int, rows: int, **changed: object) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    made: dict[str, object] = {
        "tokens": rng.lognormal(5, 1, rows),
        "model": rng.choice(["a", "b"], rows),
        "prompt": [" ".join(rng.choice(["refund", "order", "late", "card"], 6))
                   + f" {n}" for n in rng.integers(10_000, 99_999, rows)],
        "vector": list(rng.normal(size=(rows, 8))),
        "id": [f"{seed}-{n}" for n in range(rows)],
    }  # fmt: skip
    return made | changed


def parquet(path: Path, made: dict[str, object]) -> Path:
    pq.write_table(pa.table({k: pa.array(v) for k, v in made.items()}), path)
    return path


def test_drift_of_nothing_is_0_and_of_a_column_is_2(tmp_path: Path) -> None:
    before = parquet(tmp_path / "a.parquet", columns(0, 800))
    same = tocsin("drift", before, parquet(tmp_path / "b.parquet", columns(11, 300)))
    assert same.returncode == 0, same.stdout + same.stderr
    assert "no drift: 0 of 5 features drifted; 800 and 300 rows" in same.stdout
    assert "id is not compared: nearly every value is its own" in same.stdout
    made = columns(2, 300)
    made["tokens"] = np.asarray(made["tokens"]) * 2
    moved = tocsin("drift", before, parquet(tmp_path / "c.parquet", made), "--output", "json")
    assert moved.returncode == 2
    told = json.loads(moved.stdout)
    assert (told["verdict"], told["drifted"]) == ("drift", ["tokens"])
    by_name = {feature["name"]: feature for feature in told["features"]}
    assert set(by_name) == {"tokens", "model", "prompt (length)", "prompt (words)", "vector"}
    assert set(by_name["tokens"]["statistics"]) == {"psi", "jensen_shannon", "ks", "wasserstein"}
    assert by_name["tokens"]["moved"][0].startswith("median ")
    again = tocsin("drift", before, tmp_path / "c.parquet", "--output", "json")
    assert again.stdout == moved.stdout


def test_drift_reads_csv_and_jsonl_and_sees_what_is_missing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    csv = "x,v\n" + "\n".join(f'{rng.normal()},"[{rng.normal()}, 1]"' for _ in range(200))
    lines = "\n".join(
        json.dumps({"x": None if n % 4 == 0 else float(rng.normal()),
                    "v": [float(rng.normal()), 1.0]}) for n in range(200)
    )  # fmt: skip
    (tmp_path / "a.csv").write_text(csv)
    (tmp_path / "b.jsonl").write_text(lines)
    done = tocsin("drift", tmp_path / "a.csv", tmp_path / "b.jsonl", "--output", "json")
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["drifted"] == ["x (missing)"]


def test_a_column_that_goes_or_changes_its_kind_is_drift(tmp_path: Path) -> None:
    a = parquet(tmp_path / "a.parquet", {"x": np.arange(100.0), "y": ["a", "b"] * 50})
    b = parquet(tmp_path / "b.parquet", {"x": ["a", "b"] * 50, "z": np.arange(100.0)})
    done = tocsin("drift", a, b, "--output", "json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["schema"] == [
        "column x held numbers and holds categories", "column y is gone", "column z is new",
    ]  # fmt: skip


def test_too_few_rows_are_unknown(tmp_path: Path) -> None:
    a = parquet(tmp_path / "a.parquet", {"x": np.arange(100.0)})
    b = parquet(tmp_path / "b.parquet", {"x": np.arange(9.0)})
    done = tocsin("drift", a, b)
    assert done.returncode == 3
    assert "100 and 9 values; 20 of each are needed" in " ".join(done.stdout.split())


def test_drift_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    a = parquet(tmp_path / "a.parquet", {"v": list(np.ones((30, 3)))})
    b = parquet(tmp_path / "b.parquet", {"v": list(np.ones((30, 4)))})
    done = tocsin("drift", a, b)
    assert done.returncode == 1
    assert "vectors of 3 and of 4 dimensions cannot be compared" in done.stderr
    ragged = [[1.0, 2.0]] * 30 + [[1.0]]
    c = parquet(tmp_path / "c.parquet", {"v": ragged})
    assert "vector 31 has not 2 numbers" in tocsin("drift", c, a).stderr
    assert "no column 'w'" in tocsin("drift", a, a, "--columns", "w").stderr
    empty = parquet(tmp_path / "e.parquet", {"v": pa.array([], pa.float64())})  # type: ignore[dict-item]
    assert "has no rows" in tocsin("drift", a, empty).stderr


def test_drift_of_a_column_that_lost_all_values_and_of_files_with_nothing_in_common(
    tmp_path: Path,
) -> None:
    known, gone, other = (tmp_path / name for name in ("known.csv", "gone.csv", "other.csv"))
    known.write_text("latency,model\n" + "".join(f"{100 + n % 7},a\n" for n in range(200)))
    gone.write_text("latency,model\n" + "nan,a\n" * 200)
    other.write_text("100,b\n" + "100,b\n" * 200)
    done = tocsin("drift", known, gone, "--output", "json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["schema"]) == (2, [])
    assert report["drifted"] == ["latency (missing)"]
    done = tocsin("drift", known, other)
    assert done.returncode == 1
    assert "no column in common" in done.stderr
