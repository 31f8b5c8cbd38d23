"""Commands that need a file and nothing else, as pipelines run them."""

from __future__ import annotations

import json
from pathlib import Path

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
        ("a,actual,predict\nx,many,1\n", (), "column actual is string, not numbers"),
        (
            "a,actual,total,window\nx,9,5,now\ny,1,5,before\n",
            (),
            "row 1: actual is more than total",
        ),
        ("a,actual,window\nx,9,then\n", (), "row 1: window is 'then' (write baseline or current)"),
        ("a,actual,window\nx,9,now\n", (), "no row lies in the baseline"),
        ("a,actual,ts\nx,9,1\n", ("--at", "soon"), "--at 'soon' is no time"),
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
