"""Files as people have them: marks, endings, quotes, encodings, ragged rows, and plain rubbish."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.domain.errors import IntakeError, SpecError
from tocsin.intake import columns, files, focus, rest
from tocsin.intake.files import FileRow, RowFile

NOW_NS = int(datetime(2026, 11, 21, 5, tzinfo=UTC).timestamp()) * 10**9
BOUNDED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def rows(path: Path, content: str | bytes, **options: Any) -> list[FileRow]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(RowFile(path, **options).rows())


def good(found: list[FileRow]) -> list[dict[str, Any]]:
    return [dict(item.row) for item in found if not item.problem]


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,y\n",
        "\ufeffa,b\n1,x\n2,y",
        "a,b\r\n1,x\r\n\r\n2,y\r\n",
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        "a|b\n1|x\n2|y\n",
        '"a","b"\n"1","x"\n"2","y"\n',
        "a,b,\n1,x,\n2,y,\n",
        "a,b\n1,x\n2,y\n".encode("utf-16"),
        "\ufeffa,b\n1,x\n2,y\n".encode("utf-16-be"),
    ],
)
def test_marks_endings_separators_and_wide_encodings_are_one_table(
    tmp_path: Path, content: str | bytes
) -> None:
    assert good(rows(tmp_path / "t.csv", content)) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]


def test_a_quoted_field_may_hold_lines_quotes_and_separators(tmp_path: Path) -> None:
    found = rows(tmp_path / "t.csv", 'a,b\n"one\ntwo, ""three""",x\nlast,y\n')
    assert good(found) == [{"a": 'one\ntwo, "three"', "b": "x"}, {"a": "last", "b": "y"}]
    assert [item.where for item in found] == ["line 2", "line 4"]


def test_a_row_that_does_not_fit_its_header_is_named_and_the_others_stay(tmp_path: Path) -> None:
    found = rows(tmp_path / "t.csv", "a,b\n1\n2,x\n3,x,y\n4,z\n")
    assert [(item.where, item.problem[:29]) for item in found if item.problem] == [
        ("line 2", "line 2: 1 fields under 2 colu"), ("line 4", "line 4: 3 fields under 2 colu"),
    ]  # fmt: skip
    assert good(found) == [{"a": "2", "b": "x"}, {"a": "4", "b": "z"}]


def test_a_quote_that_is_never_closed_takes_only_its_own_row_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FIELD", 2000)
    text = 'a,b\n1,x\n2,"oops\n' + "".join(f"{n},y\n" for n in range(3000))
    found = rows(tmp_path / "t.csv", text)
    assert good(found)[0] == {"a": "1", "b": "x"}
    assert "field limit" in found[1].problem
    assert len(good(found)) > 2000, "reading goes on behind what the quote swallowed"
    assert good(found)[-1] == {"a": "2999", "b": "y"}


def test_text_in_another_encoding_is_refused_by_row_or_read_when_it_is_named(
    tmp_path: Path,
) -> None:
    content = "a,b\n1,plain\n2,M\xfcller\n".encode("latin-1")
    found = rows(tmp_path / "t.csv", content)
    assert good(found) == [{"a": "1", "b": "plain"}]
    assert "--encoding" in found[1].problem
    assert good(rows(tmp_path / "t.csv", content, encoding="cp1252"))[1]["b"] == "Müller"
    with pytest.raises(SpecError, match="encoding 'klingon' is not known"):
        RowFile(tmp_path / "t.csv", encoding="klingon")


def test_a_header_alone_is_a_file_of_no_rows(tmp_path: Path) -> None:
    assert rows(tmp_path / "t.csv", "a,b\n") == []
    empty = pa.table({"a": pa.array([], pa.int64())})
    pa.parquet.write_table(empty, tmp_path / "t.parquet")
    assert list(RowFile(tmp_path / "t.parquet").rows()) == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"", "is empty"),
        ("t.jsonl", b"", "is empty"),
        ("t.jsonl", b"\n\n", "is empty"),
        ("t.jsonl", b"[1]\n2\n", "no JSON object"),
        ("t.parquet", b"PAR1 not really", "no readable parquet"),
        ("t.csv.gz", b"no gzip", "no readable csv"),
        ("t.jsonl", '{"a": 1}'.encode("utf-16"), "UTF-16"),
        ("t.csv", b"a,a\n1,2\n", "more than once"),
        ("t.xlsx", b"PK", "is not a kind of file"),
        ("t.parquet.gz", b"PK", "is not a kind of file"),
        ("t", b"a,b\n", "is not a kind of file"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        rows(tmp_path / name, content)


def test_a_file_that_breaks_off_gives_what_came_before_and_then_an_error(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f'{{"a": {n}}}\n' for n in range(50_000)).encode())
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    seen = 0
    with pytest.raises(SpecError, match="cannot be read on"):  # noqa: PT012 (counts on the way)
        for _ in RowFile(path).rows():
            seen += 1
    assert 100 < seen < 50_000


def test_json_lines_are_named_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FIELD", 5000)
    lines = [b'\xef\xbb\xbf{"a": 1}', b"", b"{", b"[]", b'{"a": "\xff"}', b'{"a": NaN}',
             b'{"a": "' + b"x" * 20_000 + b'"}', b"[" * 3000, b'{"a": 2}']  # fmt: skip
    found = rows(tmp_path / "t.jsonl", b"\r\n".join(lines))
    assert [item.where for item in found if item.problem] == [
        "line 3", "line 4", "line 5", "line 7", "line 8",
    ]  # fmt: skip
    assert [row["a"] for row in good(found)][::2] == [1, 2]
    assert "longer than" in found[5].problem


def test_parquet_values_become_what_json_would_have(tmp_path: Path) -> None:
    table = pa.table({
        "ts": pa.array([1795219200000000], pa.timestamp("us")),
        "service": pa.array(["shop"]).dictionary_encode(),
        "model": pa.array([b"gpt-4o"]),
        "cost": pa.array([Decimal("0.25")]),
        "input_tokens": pa.array([math.nan]),
        "dims": pa.array([[("tier", "pro")]], pa.map_(pa.string(), pa.string())),
        "tags": pa.array([["a", "b"]]),
    })  # fmt: skip
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    (item,) = RowFile(tmp_path / "t.parquet").rows()
    row = columns.call_row(item.where, item.row)
    assert (row["model"], row["cost_usd"], row["dims"]) == ("gpt-4o", 0.25, {"tier": "pro"})
    assert "input_tokens" not in row
    assert row["attributes"] == {"tags": ["a", "b"]}
    span = rest.call(item.where, row)
    assert span.start_ns == int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    "ts",
    ["2026-11-21T04:00:00Z", "2026-11-21 04:00:00", "2026-11-21T05:00:00+01:00", "1795233600",
     1795233600, "1795233600000", "1795233600.0", 1795233600000000, "1795233600000000000"],
)  # fmt: skip
def test_zones_and_epoch_units_are_one_instant(ts: Any) -> None:
    row = columns.call_row("row 1", {"ts": ts, "service": "shop"})
    assert rest.call("row 1", row).start_ns == 1795233600 * 10**9


@pytest.mark.parametrize(
    ("column", "value", "made"),
    [
        ("error", "false", {}), ("error", "200", {}), ("error", True, {"error_type": "other"}),
        ("error_code", "429", {"http_status": 429}), ("error_code", 0, {}),
        ("error", "RateLimitError", {"error_type": "RateLimitError"}),
        ("inference_latency", "1.5", {"duration_ms": 1500.0}),
        ("latency_s", 2, {"duration_ms": 2000}),
        ("input_tokens", "-3", {}), ("input_tokens", "inf", {}), ("input_tokens", "N/A", {}),
        ("input_tokens", "12.0", {"input_tokens": 12}), ("prediction_id", 7, {"response_id": 7}),
        ("stream", "yes", {"streamed": True}), ("total_tokens", 9, {"attributes":
         {"llm.token_count.total": 9}}), ("geography", "EU", {"dims": {"geography": "EU"}}),
    ],
)  # fmt: skip
def test_names_of_other_logs_mean_what_they_say(column: str, value: Any, made: Any) -> None:
    assert columns.call_row("row 1", {column: value}) == made


TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"))


@BOUNDED
@given(table=st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=8))
def test_what_a_csv_writer_writes_is_read_as_it_was(tmp_path: Path, table: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *table])
    found = rows(tmp_path / "t.csv", text.getvalue())
    assert [[row[name] for name in "abc"] for row in good(found)] == table


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
_OTHERS = {"error", "latency_s", "dims.x", "Tags", "BilledCost", "ChargePeriodStart"}
NAMES = sorted(
    columns._CALL | columns._SCORE | columns._CHANGE | set(columns.WIDE_SCORES) | _OTHERS
)


@BOUNDED
@given(row=st.dictionaries(st.sampled_from(NAMES) | TEXT, JSON, max_size=12))
def test_a_row_is_read_or_refused_and_never_a_defect(row: dict[str, Any]) -> None:
    makers = (
        lambda: rest.call("row 1", columns.call_row("row 1", row)),
        lambda: [rest.score("row 1", r, NOW_NS) for r in columns.score_rows("row 1", row)],
        lambda: rest.change("row 1", columns.change_row("row 1", row), NOW_NS),
        lambda: focus.charge("row 1", row),
    )
    for make in makers:
        try:
            made = make()
        except (IntakeError, OverflowError):
            continue
        assert made is not None


@BOUNDED
@given(
    content=st.binary(max_size=300),
    name=st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.csv.gz", "t.jsonl.gz"]),
    packed=st.booleans(),
)
def test_rubbish_is_refused_in_words(
    tmp_path: Path, content: bytes, name: str, packed: bool
) -> None:
    data = gzip.compress(content) if packed and name.endswith("gz") else content
    try:
        found = rows(tmp_path / name, data)
    except SpecError:
        return  # in words; anything else would be a defect
    for item in found:
        assert item.where.startswith(("line ", "row "))
        json.dumps([item.row, item.problem, item.raw], default=str)
