"""A report laid out: whatever names people give things, every file can be read again."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.reports.evidence import OUTCOMES
from tocsin.reports.files import HEADER, as_csv, as_json, manifest
from tocsin.reports.html import as_html
from tocsin.reports.report import (
    Bars,
    Column,
    Label,
    Manifest,
    Measure,
    Report,
    Section,
    Table,
    Tile,
)

AT = datetime(2026, 11, 16, tzinfo=UTC)
ABOUT = Manifest("sla", AT, AT, AT, "UTC", "0.1.0")
numbers = st.one_of(st.none(), st.floats(-1e9, 1e9), st.floats(0, 1))
# XML 1.0 has no form feed and no NUL, and a parser turns CR into LF.
texts = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="￾￿"))


@st.composite
def measures(draw: st.DrawFn) -> Measure:
    value = draw(numbers)
    ends = sorted(draw(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=2)))
    has_ends = value is not None and draw(st.booleans())
    return Measure(
        value,
        draw(st.sampled_from(["share", "count", "usd", "s", "ratio", "number", "budget", "score"])),
        ends[0] if has_ends else None,
        ends[1] if has_ends else None,
        "nobody knows" if value is None else "",
        draw(numbers),
        draw(st.sampled_from(["ok", "bad", "warn", "unknown", ""])),
    )


def report(name: str, cells: list[Measure]) -> Report:
    columns = (Column("name", "Name"), Column("value", "Value"))
    rows = tuple((f"{name}{at}", cell) for at, cell in enumerate(cells))
    bars = Bars("bars", name, tuple(row[0] for row in rows), tuple(cells), 0.5)
    blocks = (Table("t", name, columns, rows, "nothing"), *([bars] if cells else []))
    tiles = (Tile("Answered", cells[0] if cells else Label(name, "ok"), ""),)
    return Report(name, name, name, tiles, (Section("s", name, blocks, (name,)),), (name,), ABOUT)


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(measures(), max_size=4))
def test_every_file_can_be_read_again(name: str, cells: list[Measure]) -> None:
    made = report(name, cells)
    page = as_html(made).decode()
    body = page[page.index("<main>") : page.index("</main>") + len("</main>")]
    root = ElementTree.fromstring(body)
    assert root.find(".//h1").text == (name or None)
    assert not re.search(
        r"\bnan\b|None|Infinity", re.sub(re.escape(name), "", body) if name else ""
    )
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=|url\(|@import""", re.sub(re.escape(name), "", page)
                         if len(name) > 3 else "")  # fmt: skip
    rows = list(csv.reader(io.StringIO(as_csv(made).decode(), newline="")))
    assert tuple(rows[0]) == HEADER
    assert len(rows) == 2 + 3 * len(cells)
    assert not any(cell.startswith(("=", "@", "+")) for row in rows for cell in row)
    told = json.loads(as_json(made))["sections"][0]["tables"][0]["rows"]
    assert [row["value"]["value"] for row in told] == [cell.value for cell in cells]


def test_what_is_unknown_says_why_in_every_file() -> None:
    with pytest.raises(ValueError, match="says why"):
        Measure(None)
    made = report("support", [Measure(None, "share", unknown="no calls in this time")])
    for body in (as_html(made), as_json(made), as_csv(made)):
        assert b"no calls in this time" in body


def test_the_manifest_names_the_digest_of_every_file() -> None:
    made = report("support", [Measure(0.5, "share")])
    body = as_html(made)
    told = json.loads(manifest(made, {"report.html": body}))
    assert told["files"] == {"report.html": hashlib.sha256(body).hexdigest()}


def test_outcomes_of_the_framework_are_named_once_and_exist() -> None:
    ids = [one.id for one in OUTCOMES]
    assert len(ids) == len(set(ids))
    # How many outcomes each category of NIST AI 100-1 has, by its tables 1 to 4.
    has = {
        "GOVERN": (7, 3, 2, 3, 2, 2), "MAP": (6, 3, 5, 2, 2),
        "MEASURE": (3, 13, 3, 3), "MANAGE": (4, 4, 2, 3),
    }  # fmt: skip
    for one in ids:
        function, number = one.split()
        category, outcome = map(int, number.split("."))
        assert 1 <= outcome <= has[function][category - 1], one
