"""Scores after a crash: what their segment left half done is done once, and counts once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from telemetry_build import FOREVER, MINUTE, NOW, clock

from tocsin.domain.clock import iso
from tocsin.domain.series import Ratio, SeriesId
from tocsin.store.telemetry import SCORE_ROWS, Telemetry

LIKED = {SeriesId("shop", "feedback"): Ratio("feedback_negative")}
ROWS = [
    {"ts": iso(NOW), "recv": iso(NOW), "service": "shop", "name": "feedback", "placed": 1,
     "call_id": f"{call:016x}", "value": value, "line": line}
    for line, (call, value) in enumerate([(1, 0), (2, 0), (1, 1), (3, 1)])
]  # fmt: skip


def counted(store: Telemetry) -> tuple[int, int]:
    block = store.minutes(LIKED, [], MINUTE - 1, MINUTE + 1)
    return int(block.bad.sum()), int(block.total.sum())


@pytest.mark.parametrize(
    "lost",
    [
        ["TRUNCATE TABLE tocsin.score_versions", "TRUNCATE TABLE tocsin.score_repeats"],
        ["TRUNCATE TABLE tocsin.score_repeats"],
        ["DELETE FROM tocsin.scores WHERE line > 1", "TRUNCATE TABLE tocsin.score_repeats"],
        ["TRUNCATE TABLE tocsin.scores"],
        [],
    ],
    ids=["rows only", "rows and versions", "some rows", "versions only", "everything"],
)
def test_whatever_of_a_segment_arrived_before_a_crash_it_counts_once(
    tmp_path: Path, lost: list[str]
) -> None:
    with Telemetry.open(tmp_path, clock(), retention=FOREVER) as store:
        store.add_rows(SCORE_ROWS, ROWS)
        store.flush()
        assert counted(store) == (1, 3)
        kept = tmp_path / "kept"
        shutil.copytree(tmp_path / "wal", kept)
        for statement in lost:
            store._engine.execute(statement)
    segments = [path for path in kept.iterdir() if path.suffix == ".ready"]
    assert segments, "the segment is kept for some seconds after it was loaded"
    for path in segments:
        shutil.copy(path, tmp_path / "wal")
    with Telemetry.open(tmp_path, clock(), retention=FOREVER) as store:
        assert counted(store) == (1, 3)
        assert store._engine.rows("SELECT count() FROM tocsin.scores") == [(4,)]
