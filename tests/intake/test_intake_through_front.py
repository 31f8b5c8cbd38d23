"""What real clients sent becomes the same rows whether the store is embedded or behind its front.

The protobuf of a segment is then the body of a request, and a framework's segment, which its SELECT
reads twice, a table that is sent along.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from intake_build import FIXTURES, Bench, bench, content_headers, manifest, path_of
from store_front_build import front

COLUMNS = "* EXCEPT (seg, recv)"
TABLES = ("calls", "logs", "metric_points", "quarantine")


def send_all(made: Bench, directory: Path) -> int:
    captures = manifest(directory)["captures"]
    sent = 0
    for capture in captures:
        if capture["transport"] != "http":
            continue
        body = (directory / capture["file"]).read_bytes()
        answer = made.post(path_of(capture), body, content_headers(capture))
        sent += answer.status_code == 200
    score = {"name": "feedback", "value": 1, "call_id": "ab" * 8}
    made.post("/api/v1/scores", json.dumps(score).encode(), {"content-type": "application/json"})
    made.store.flush()
    return sent


def rows_of(made: Bench) -> dict[str, list[Any]]:
    """Rows without what may differ: whether a score found its call at once or a moment later."""
    engine = made.store._engine
    found = {
        table: sorted(
            repr(tuple(row)) for row in engine.rows(f"SELECT {COLUMNS} FROM tocsin.{table}")
        )
        for table in TABLES
    }
    scores = engine.rows("SELECT DISTINCT key, name, value, label, call_id FROM tocsin.scores")
    return {**found, "scores": sorted(repr(tuple(row)) for row in scores)}


def test_rows_are_the_same_through_the_front(tmp_path: Path) -> None:
    with bench(tmp_path / "embedded") as made:
        sent = send_all(made, FIXTURES)
        expected = rows_of(made)
    assert sent > 5
    assert len(expected["calls"]) > 5
    with front(tmp_path / "front") as served, bench(tmp_path / "second", served.url) as made:
        assert send_all(made, FIXTURES) == sent
        assert made.store.stats().loader.failures == 0, made.store.stats().loader.last_error
        found = rows_of(made)
        assert {name: len(rows) for name, rows in found.items()} == {
            name: len(rows) for name, rows in expected.items()
        }
        assert found == expected


def test_segments_that_were_left_behind_are_counted_through_the_front(tmp_path: Path) -> None:
    """Start-up asks what a leftover segment would yield: that is a query over what it sends."""
    with front(tmp_path / "front") as served:
        second, kept = tmp_path / "second", tmp_path / "kept"
        kept.mkdir()
        with bench(second, served.url) as made:
            send_all(made, FIXTURES)
            expected = rows_of(made)
            for path in (second / "wal").glob("*.ready"):
                shutil.copy(path, kept)
        assert list(kept.iterdir())
        for path in kept.iterdir():
            shutil.copy(path, second / "wal")
        with bench(second, served.url) as made:
            assert {settled.action for settled in made.store.settled} == {"skip"}
            assert rows_of(made) == expected
