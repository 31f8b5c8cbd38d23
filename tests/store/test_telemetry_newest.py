"""The newest calls are found without reading all of history, and none of them is missed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
from telemetry_build import FOREVER, NOW, clock, frame, table

from tocsin.store.reads import cursor_after
from tocsin.store.telemetry import Telemetry


def test_pages_reach_back_through_a_long_and_sparse_history(tmp_path: Path) -> None:
    sparse = frame(400, minutes=90 * 24 * 60)
    with Telemetry.open(tmp_path, clock(), retention=FOREVER) as store:
        assert store.reads.calls(5) == (0, [])
        store.add_calls(table(sparse))
        store.flush()
        wanted = [f"{i:016x}" for i in np.flatnonzero(sparse["service"] == "search")[::-1]]
        for size in (1, 7, 90):
            found, before = [], ""
            while len(found) < len(wanted):
                total, calls = store.reads.calls(size, service="search", before=before)
                assert total == len(wanted)
                found += [call.span_id for call in calls]
                before = cursor_after(calls[-1])
            assert found == wanted
            assert store.reads.calls(size, service="search", before=before)[1] == []
        since = NOW - timedelta(days=2)
        total, calls = store.reads.calls(1000, since=since)
        assert total == len(calls) == (sparse["ts"] >= int(since.timestamp() * 1e6)).sum() > 0
