"""What goes out is what is there, flat, unknown as null, and comes back as it was."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from exchange_build import NOW, Desk, bytes_of, filled, rows_of

from tocsin.engine.exchange.wishes import ExportWish
from tocsin.store.exports import CannotExport


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A store that tests only read."""
    with filled(tmp_path_factory.mktemp("exports")) as made:
        yield made


def test_calls_are_flat_and_what_is_unknown_is_null(house: Desk) -> None:
    rows = rows_of(house, "calls")
    assert [row["service"] for row in rows] == ["desk", "shop", "shop", "desk"]
    full, bare = rows[1], rows[2]
    assert full["ts"] == "2026-11-21T04:00:00.123456Z"
    assert (full["duration_ms"], full["ttft_ms"], full["input_tokens"]) == (1480.25, 90.0, 412)
    assert full["dims"] == {"tier": "pro"}
    assert full["cost_usd"] > 0
    for unknown in ("duration_ms", "ttft_ms", "input_tokens", "cost_usd", "finish_reason", "dims"):
        assert bare[unknown] is None, unknown
    assert bare["error_class"] == "rate_limit"
    assert full["error_class"] is None
    assert "input" not in full
    assert "status_message" not in full
    texts = rows_of(house, "calls", content=True)
    assert texts[1]["input"] == 'quotes " and\nlines, ü'
    assert texts[2]["status_message"] == "too many"


@pytest.mark.parametrize(
    ("wish", "count"),
    [
        ({"service": "desk"}, 2), ({"kind": "retriever"}, 1), ({"model": "gpt-4o-mini"}, 2),
        ({"env": "production"}, 1), ({"dims": ["tier=pro"]}, 1),
        ({"dims": ["tier=free", "region=eu"]}, 1), ({"dims": ["tier=free", "region=us"]}, 0),
        ({"start": NOW - timedelta(minutes=59, seconds=59)}, 2),
        ({"stop": NOW - timedelta(hours=1)}, 1), ({"as_of": NOW - timedelta(days=2)}, 0),
    ],
)  # fmt: skip
def test_filters_are_all_of_them(house: Desk, wish: dict[str, Any], count: int) -> None:
    assert len(rows_of(house, "calls", **wish)) == count
    wanted = ExportWish("calls", **{"start": NOW - timedelta(days=30), **wish}).wanted(NOW)
    assert house.target.telemetry.exports.count(wanted) == count


def test_every_format_says_the_same(house: Desk) -> None:
    lines = rows_of(house, "calls", content=True)
    parquet = pa.parquet.read_table(io.BytesIO(bytes_of(house, "calls", "parquet", content=True)))
    assert parquet.column("ts").type == pa.timestamp("us", tz="UTC")
    assert parquet.column("input").to_pylist() == [row["input"] for row in lines]
    assert parquet.column("duration_ms").to_pylist() == [row["duration_ms"] for row in lines]
    text = gzip.decompress(bytes_of(house, "calls", "csv", "gzip", content=True)).decode()
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["input"] for row in table] == [row["input"] or "" for row in lines]
    zipped = bytes_of(house, "calls", "jsonl", "zstd", content=True)
    plain = pa.input_stream(io.BytesIO(zipped), compression="zstd").read()
    assert [json.loads(line) for line in plain.splitlines()] == lines


def test_an_export_of_nothing_is_a_file_with_columns(house: Desk) -> None:
    nothing = {"service": "nobody"}
    table = pa.parquet.read_table(io.BytesIO(bytes_of(house, "calls", "parquet", **nothing)))
    assert (table.num_rows, "duration_ms" in table.column_names) == (0, True)
    assert bytes_of(house, "calls", "csv", **nothing).startswith(b'"ts","project"')
    assert bytes_of(house, "calls", **nothing) == b""


def test_minutes_are_totals_or_one_segment_with_quantiles(house: Desk) -> None:
    rows = rows_of(house, "minutes")
    assert [(r["minute"], r["service"], r["calls"], r["failed"]) for r in rows] == [
        ("2026-11-21T03:01:00Z", "desk", 1, 1), ("2026-11-21T04:00:00Z", "shop", 2, 1),
        ("2026-11-21T04:31:00Z", "desk", 1, 0),
    ]  # fmt: skip
    assert rows[1]["p95_ms"] == pytest.approx(1480.25, rel=0.03)
    assert rows[1]["input_tokens"] == 412
    assert rows[0]["input_tokens"] is None
    assert rows[0]["p50_ms"] is None, "a stream that nobody finished has no latency"
    (free,) = rows_of(house, "minutes", dims=["tier=free"])
    assert (free["dimension"], free["segment"], free["calls"]) == ("tier", "free", 1)


def test_changes_go_out(house: Desk) -> None:
    (row,) = rows_of(house, "changes")
    assert (row["title"], row["labels"], row["ts"]) == (
        "v7", {"sha": "abc"}, "2026-11-21T04:00:30Z",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (ExportWish("spans"), "use calls, scores"),
        (ExportWish("calls", "xlsx"), "use parquet, csv, jsonl"),
        (ExportWish("calls", "csv", "rar"), "use gzip, zstd"),
        (ExportWish("calls", "parquet", "gzip"), "compressed inside"),
        (ExportWish("calls", dims=["tier"]), "name=value"),
        (ExportWish("scores", model="m"), "cannot be filtered by model"),
        (ExportWish("minutes", env="prod"), "cannot be filtered by env"),
        (ExportWish("minutes", dims=["a=b", "c=d"]), "one dimension at a time"),
        (ExportWish("calls", start=NOW, stop=NOW - timedelta(days=1)), "ends before it begins"),
    ],
)
def test_what_cannot_be_exported_is_said_before_anything_is_written(
    house: Desk, wish: ExportWish, says: str
) -> None:
    with pytest.raises(CannotExport, match=says):
        house.target.telemetry.exports.count(wish.wanted(NOW))
