"""Counts from files: both shapes, every format, and errors that say where."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tocsin.domain.buckets import LATENCY
from tocsin.domain.errors import SpecError
from tocsin.domain.series import EACH, MOST_SHARES, SHARE, Charge, Ratio, SeriesId
from tocsin.engine.counts import CountsFile
from tocsin.engine.feed import Feed, ReadAhead, Watched, cut
from tocsin.engine.files import CallsFile, open_source
from tocsin.indicators.catalogue import DURATIONS
from tocsin.indicators.custom import written
from tocsin.indicators.language.parser import parse

FAILURES = SeriesId("chat", "availability")
SLOW = SeriesId("chat", "latency_under_2s")
START = 29_000_000
RATIOS = {FAILURES: Ratio("failed"), SLOW: Ratio("duration_ms", "ge", 2000.0)}


def counts_csv(path: Path, rows: list[str]) -> Path:
    path.write_text("minute,service,good,bad\n" + "\n".join(rows) + "\n")
    return path


def test_counts_add_up_per_minute_and_minutes_without_rows_are_zero(tmp_path: Path) -> None:
    path = counts_csv(
        tmp_path / "c.csv",
        [f"{START},chat,9,1", f"{START},chat,5,0", f"{START + 2},chat,3,3", f"{START},other,1,1"],
    )
    block = open_source(path).minutes(RATIOS, ("chat",), START, START + 3)
    assert block.bad[0].tolist() == [1, 0, 3]
    assert block.total[0].tolist() == [15, 0, 6]
    assert block.total[1].sum() == 0, "a file of failures knows nothing about latency"
    assert block.latency.shape == (1, 3, 0)


@pytest.mark.parametrize("text", ["2026-11-01T00:01:00Z", "2026-11-01T01:01:00+01:00"])
def test_minutes_may_be_written_as_rfc3339(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"minute": text, "service": "chat", "good": 1, "bad": 2}) + "\n")
    source = open_source(path)
    assert source.span == (29_891_521, 29_891_522)


def calls_table() -> pa.Table:
    return pa.table(
        {
            "ts": [START * 60, START * 60 + 59, (START + 1) * 60, (START + 1) * 60],
            "service": ["chat"] * 4,
            "duration_ms": [100.0, 2500.0, None, 3000.0],
            "error_class": ["", "", "timeout", "bad_request"],
            "input_tokens": [10, 10, 10, 10],
            "output_tokens": [10, 10, 10, 10],
        }
    )


def test_calls_count_as_the_store_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "calls.parquet"
    pyarrow.parquet.write_table(calls_table(), path)
    source = open_source(path)
    assert isinstance(source, CallsFile)
    block = source.minutes(RATIOS, ("chat",), START, START + 2)
    assert block.total[0].tolist() == [1, 3], "a call counts in the minute in which it ended"
    assert block.bad[0].tolist() == [0, 1], "a bad request is the caller's, a timeout is ours"
    assert block.total[1].tolist() == [1, 1], "failed calls say nothing about latency"
    assert block.bad[1].tolist() == [0, 1]
    assert block.latency[0, 0, LATENCY.bucket(100_000.0)] == 1
    assert block.pace.sum() == 2


def test_a_ratio_of_one_model_counts_only_its_calls(tmp_path: Path) -> None:
    mine, other = SeriesId("chat", "errors_a"), SeriesId("chat", "errors_x")
    ratios = {mine: Ratio("error", model="a"), other: Ratio("error", model="x")}
    path = tmp_path / "calls.parquet"
    pyarrow.parquet.write_table(calls_table().append_column("model", [["a", "b", "a", "b"]]), path)
    block = open_source(path).minutes(ratios, (), START, START + 2)
    assert (block.total[0].sum(), block.bad[0].sum(), block.total[1].sum()) == (2, 1, 0)
    pyarrow.parquet.write_table(calls_table(), path)
    assert open_source(path).minutes(ratios, (), START, START + 2).total.sum() == 0
    counts = open_source(counts_csv(tmp_path / "c.csv", [f"{START},chat,9,1"]))
    assert counts.minutes(ratios, (), START, START + 1).total.sum() == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([f"{START},chat,-1,0"], "row 1: good is negative"),
        ([f"{START},chat,,0"], "row 1: good is empty"),
        (["yesterday,chat,1,0"], "column minute"),
        ([f"{START},chat,1.5,0"], "column good is double, not whole numbers"),
    ],
)
def test_a_bad_row_is_named_with_its_file(tmp_path: Path, rows: list[str], message: str) -> None:
    path = counts_csv(tmp_path / "c.csv", rows)
    with pytest.raises(SpecError, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def test_a_file_of_neither_shape_says_which_columns_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SpecError, match="needs minute, service, good, bad"):
        open_source(path)
    with pytest.raises(SpecError, match=r"use \.parquet"):
        open_source(tmp_path / "x.xlsx")


def random_counts(tmp_path: Path, minutes: int) -> CountsFile:
    rng = np.random.default_rng(5)
    rows = [f"{START + m},chat,{rng.poisson(20)},{rng.poisson(1)}" for m in range(minutes)]
    source = open_source(counts_csv(tmp_path / "r.csv", rows))
    assert isinstance(source, CountsFile)
    return source


def test_reading_ahead_hands_out_the_same_minutes(tmp_path: Path) -> None:
    inner = random_counts(tmp_path, 400)
    ahead = ReadAhead(inner, minutes=60)
    watched = Watched({FAILURES: Ratio("failed")}, ("chat",))
    plain = Feed(inner, watched, start=START, reread=3)
    fast = Feed(ahead, watched, start=START, reread=3)
    for stop in range(START + 1, START + 400, 7):
        one, other = plain.up_to(stop), fast.up_to(stop)
        assert one is not None
        assert other is not None
        assert one.start == other.start
        assert (one.bad == other.bad).all()
        assert (one.total == other.total).all()
    other = ahead.minutes({SLOW: RATIOS[SLOW]}, (), START + 1, START + 2)
    assert (other.series, other.services) == ((SLOW,), ()), "another question, another answer"


def test_the_feed_gives_each_minute_again_while_it_may_still_change(tmp_path: Path) -> None:
    feed = Feed(
        random_counts(tmp_path, 20), Watched({FAILURES: Ratio("failed")}, ()), start=START, reread=3
    )
    first, again = feed.up_to(START + 5), feed.up_to(START + 6)
    assert first is not None
    assert again is not None
    assert (first.start, first.width) == (START, 5)
    assert (again.start, again.width) == (START + 2, 4)
    assert feed.up_to(START + 6) is None


def test_conditions_are_counted_over_a_file_with_any_columns(tmp_path: Path) -> None:
    table = pa.table({
        "ts": [START * 60.0] * 6, "service": ["chat"] * 6,
        "duration_ms": [900.0, 2500.0, None, 900.0, 900.0, 900.0],
        "error_class": ["", "", "timeout", "content_filter", "", ""],
        "env": ["prod", "prod", "prod", "prod", "", "dev"],
        "tier": ["gold", None, "gold", "gold", "free", "gold"],
        "score.judge": [0.9, 0.2, None, 0.9, None, 0.1],
    })  # fmt: skip
    path = tmp_path / "calls.parquet"
    pyarrow.parquet.write_table(table, path)
    counted = {
        ("not failed and not policy_violation", ""): (2, 6),
        ("latency < 2s", "env = 'prod'"): (1, 2),
        ("score('judge') >= 50%", ""): (2, 4),
        ("attributes['tier'] = 'gold'", ""): (1, 5),
        ("dimensions['tier'] = 'gold' and status = 'ok'", ""): (3, 5),
        ("attributes['nothing'] = 'x'", ""): (0, 0),
        ("known(env)", ""): (1, 6),
    }
    series = {
        SeriesId("chat", good): written(good=good, total=total).ratio for good, total in counted
    }
    block = open_source(path).minutes(series, (), START, START + 2)
    found = {
        (sid.indicator, ""): (int(block.bad[row, 0]), int(block.total[row, 0]))
        for row, sid in enumerate(series)
    }
    assert found == {(good, ""): counts for (good, _), counts in counted.items()}


def test_segments_of_a_file_are_the_values_of_a_column(tmp_path: Path) -> None:
    table = pa.table({
        "ts": [START * 60.0] * 5, "service": ["chat", "chat", "chat", "chat", "other"],
        "error_class": ["timeout", "", "", "timeout", ""],
        "tier": ["gold", "gold", "free", None, "secret"],
    })  # fmt: skip
    path = tmp_path / "calls.parquet"
    pyarrow.parquet.write_table(table, path)
    each = SeriesId("chat", "availability", ("tier", EACH))
    asked = {each: Ratio("failed"), FAILURES: Ratio("failed")}
    block = open_source(path).minutes(asked, (), START, START + 1)
    found = {sid.segment: (int(b[0]), int(t[0])) for sid, b, t in zip(
        block.series, block.bad, block.total, strict=True)}  # fmt: skip
    assert found == {("", ""): (2, 4), ("tier", "free"): (0, 1), ("tier", "gold"): (1, 2)}
    nowhere = {SeriesId("chat", "availability", ("nothing", EACH)): Ratio("failed")}
    assert open_source(path).minutes(nowhere, (), START, START + 1).series == ()


def test_latencies_of_a_file_are_told_apart_by_the_values_of_a_column(tmp_path: Path) -> None:
    table = pa.table({
        "ts": [START * 60.0, START * 60.0, START * 60.0, START * 60.0 + 60, START * 60.0 + 60],
        "service": ["chat", "chat", "chat", "chat", "other"],
        "error_class": ["", "", "timeout", "", ""],
        "duration_ms": [200.0, 200.0, 9000.0, 800.0, 800.0],
        "tier": ["gold", "gold", "gold", "gold", "secret"],
    })  # fmt: skip
    path = tmp_path / "calls.parquet"
    pyarrow.parquet.write_table(table, path)
    each = SeriesId("chat", DURATIONS.name, ("tier", EACH))
    whole = SeriesId("chat", DURATIONS.name)
    asked = {whole: DURATIONS.ratio, each: DURATIONS.ratio}
    block = ReadAhead(open_source(path)).minutes(asked, (), START, START + 2)
    fast, slow = LATENCY.bucket([200_000, 800_000]).tolist()
    assert block.cells.T.tolist() == [[START, 1, fast, 2], [START + 1, 1, slow, 1]]
    assert block.total.tolist() == [[2, 1], [2, 1]]
    assert cut(block, START + 1, START + 2).cells.T.tolist() == [[START + 1, 1, slow, 1]]
    nobody = {replace(each, service="nobody"): DURATIONS.ratio}
    assert open_source(path).minutes(nobody, (), START, START + 2).cells.shape == (4, 0)


def test_calls_are_charged_by_a_value_and_nothing_is_known_of_unpriced_ones(tmp_path: Path) -> None:
    table = pa.table(
        {
            "ts": [START * 60] * 4 + [(START + 1) * 60],
            "service": ["chat"] * 5,
            "cost_usd": [0.02, 0.04, 0.01, None, 1e300],
        }
    )
    path = tmp_path / "calls.parquet"
    pa.parquet.write_table(table, path)
    mean = SeriesId("chat", "mean")
    charge = Charge(parse("cost_usd", None), 0.02, 0.03)
    block = open_source(path).minutes({mean: Ratio("charge", charge=charge)}, (), START, START + 2)
    assert block.total.tolist() == [[3 * SHARE, SHARE]]
    assert block.bad.tolist() == [[SHARE, MOST_SHARES * SHARE]]
