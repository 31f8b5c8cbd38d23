"""Out and in again: as it holds, as it held, as it was, and in pieces that leave nothing out."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from exchange_build import LINES, NOW, Desk, bytes_of, desk, filled, rows_of, write

from tocsin.engine.exchange.exporting import FORMATS
from tocsin.engine.exchange.wishes import ExportWish
from tocsin.store import exports

SAME = (
    "SELECT * EXCEPT (seg) FROM tocsin.calls ORDER BY ts, span_id",
    "SELECT * EXCEPT (seg) FROM tocsin.changes ORDER BY ts",
    "SELECT t, project, service, kind, model, sk, sv, sum(n) AS n, sum(failed) AS f,"
    " sum(duration_us) AS d, sumMap(h) AS h, sumMap(p) AS p, sum(cost_usd) AS c,"
    " sumMap(classes) AS e FROM tocsin.calls_1m"
    " GROUP BY t, project, service, kind, model, sk, sv ORDER BY ALL",
)


def test_what_was_exported_comes_back_as_it_was(tmp_path: Path) -> None:
    """Rows, rollups and scores are equal in a store that had nothing, and come in once."""
    again = {"name": "feedback", "call_id": "01" * 8, "value": 1, "comment": "yes"}
    files = {}
    with filled(tmp_path) as source:
        source.clock.advance(timedelta(hours=1))
        source.take(write(tmp_path / "again.jsonl", json.dumps(again)), undated=True)
        source.clock.advance(timedelta(seconds=1))
        for form in FORMATS:
            for what in ("calls", "scores", "changes"):
                content = bytes_of(source, what, form, content=True)
                files[form, what] = write(tmp_path / f"out-{what}.{form}", content)
        want = [source.ask(sql) for sql in SAME]
        scores = rows_of(source, "scores", content=True)
        assert len(want[0]) == len(LINES)
    for form in FORMATS:
        with desk(tmp_path / form, source.clock.now()) as other:
            for what in ("calls", "scores", "changes"):
                done = other.take(files[form, what])
                assert (done.kind, done.rejected, done.known) == (what, 0, 0)
                assert other.take(files[form, what]).accepted == 0
            for sql, rows in zip(SAME, want, strict=True):
                assert other.ask(sql) == rows, (form, sql)
            assert rows_of(other, "scores", content=True) == scores


def test_scores_go_out_as_they_hold_or_as_they_held(tmp_path: Path) -> None:
    with filled(tmp_path) as fresh:
        check_versions(fresh, tmp_path)


def check_versions(fresh: Desk, tmp_path: Path) -> None:
    fresh.clock.advance(timedelta(hours=5))
    later = {"name": "feedback", "call_id": "01" * 8, "value": 1}
    fresh.take(write(tmp_path / "later.jsonl", json.dumps(later)), undated=True)
    now = {(r["name"], r["service"]): r for r in rows_of(fresh, "scores", content=True)}
    assert now["feedback", "shop"]["value"] == 1.0, now
    assert now["feedback", "shop"]["ts"] == "2026-11-21T04:01:00Z", "the minute it counts in"
    assert now["tone", "shop"]["value"] is None
    assert len(now) == 3
    then = rows_of(fresh, "scores", as_of=NOW + timedelta(hours=1), content=True)
    assert {(r["name"], r["service"], r["value"], r["comment"]) for r in then} == {
        ("feedback", "shop", 0.0, "no"), ("tone", "shop", None, None),
        ("feedback", "desk", 1.0, None),
    }  # fmt: skip


def test_pages_are_bounded_and_leave_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 700)
    with desk(tmp_path / "data") as fresh:
        check_pages(fresh, tmp_path)


def check_pages(fresh: Desk, tmp_path: Path) -> None:
    start = NOW - timedelta(minutes=30)
    rows = "".join(
        f"{(start + timedelta(milliseconds=n * 7)).isoformat()},bulk,m,{n}\n" for n in range(20_000)
    )
    fresh.take(write(tmp_path / "bulk.csv", "ts,service,model,session_id\n" + rows))
    fresh.target.telemetry.flush()
    wanted = ExportWish("calls", service="bulk").wanted(NOW)
    pages = list(fresh.target.telemetry.exports.pages(wanted))
    assert max(page.num_rows for page in pages) <= 700, "8,500 calls a minute are cut further"
    found = [text for page in pages for text in page.column("session_id").to_pylist()]
    assert found == [str(n) for n in range(20_000)]
