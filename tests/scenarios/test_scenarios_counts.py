"""What the counts of a file, of a store and of late calls come to, to the last one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from world import CONFIG, FOREVER, LATENESS, T0, ZERO, Phase, rows, table, traffic

from tocsin.assess.window import Window
from tocsin.domain.calls import ERROR_CLASSES
from tocsin.domain.clock import ManualClock
from tocsin.domain.errors import StoreError
from tocsin.domain.series import Ratio, SeriesId
from tocsin.engine.decisions import lines
from tocsin.engine.feed import Feed
from tocsin.engine.files import CallsFile
from tocsin.engine.house import House
from tocsin.engine.rules import compile_desired
from tocsin.spec.desired import load
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import DOCUMENTS
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

START = ZERO - 60

RATIOS = (
    Ratio("failed"), Ratio("error"), Ratio("truncated"),
    Ratio("failed", kind="retriever"), Ratio("error", kind="retriever"),
    Ratio("duration_ms", "ge", 1500.0), Ratio("duration_ms", "gt", 1500.0),
    Ratio("duration_ms", "ge", 250.0, kind="retriever"),
    Ratio("ttft_ms", "ge", 150.0), Ratio("cost_usd", "ge", 0.03),
    Ratio("input_tokens", "ge", 2500), Ratio("output_tokens", "gt", 600),
    Ratio("empty_result", kind="retriever"), Ratio("empty_result"),
)  # fmt: skip


def corners(n: int = 20_000, minutes: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    known = rng.random(n) < 0.8
    return {
        "ts": np.sort(START * 60_000_000 + rng.integers(0, minutes * 60_000_000, n)),
        "service": rng.choice(["chat", "claims"], n),
        "kind": rng.choice(["llm", "retriever", "tool"], n),
        "error_class": rng.choice(["", "", "", *ERROR_CLASSES], n),
        "truncated": (rng.random(n) < 0.1).astype(np.uint8),
        "duration_us": rng.choice(
            [0, 1, 250_000, 1_500_000, 1_499_999, 1_500_001, 90_000_000, 7_777_777], n
        ).astype(np.uint64),
        "ttft_us": rng.choice([0, 150_000, 149_999, 1], n).astype(np.uint32),
        "usage_known": known.astype(np.uint8),
        "input_tokens": (rng.choice([0, 1, 2499, 2500], n) * known).astype(np.uint32),
        "output_tokens": (rng.choice([0, 600, 601], n) * known).astype(np.uint32),
        "cost_known": (known & (rng.random(n) < 0.7)).astype(np.uint8),
        "cost_usd": rng.choice([0.0, 0.03, 0.029999], n),
        "tenant": rng.choice(["a", "b"], n),
        "documents": rng.choice(["", "0", "4"], n),
    }


def test_a_file_counts_what_the_store_counts(tmp_path: Path) -> None:
    made = corners()
    store = table({k: v for k, v in made.items() if k != "documents"})
    attrs = [[(DOCUMENTS, d)] if d else [] for d in made["documents"].tolist()]
    text = pa.map_(pa.string(), pa.string())
    asked = {
        SeriesId(service, str(ratio)): ratio for service in ("chat", "claims") for ratio in RATIOS
    }
    with Telemetry.open(
        tmp_path, ManualClock(T0), kinds=KINDS, tables=TABLES, retention=FOREVER
    ) as telemetry:
        telemetry.add_calls(store.append_column("attrs", pa.array(attrs, text)))
        telemetry.flush()
        stored = telemetry.minutes(asked, ("chat", "claims"), START, START + 40)
    documents = pa.array([int(d) if d else None for d in made["documents"].tolist()])
    found = CallsFile.of(rows(made).append_column("documents", documents), Path("calls"))
    read = found.minutes(asked, ("chat", "claims"), START, START + 40)
    for row, (series, ratio) in enumerate(asked.items()):
        assert read.total[row].tolist() == stored.total[row].tolist(), (series.service, ratio)
        assert read.bad[row].tolist() == stored.bad[row].tolist(), (series.service, ratio)
    assert (read.latency == stored.latency).all()
    assert (read.pace == stored.pace).all()
    assert read.pace.sum() > 1000


def test_calls_that_arrive_a_little_late_still_count(tmp_path: Path) -> None:
    """Every call comes in up to two minutes after its minute was judged; none is left out."""
    made = traffic([Phase("chat", 0, 30, per_minute=20, failing=0.1)])
    minute = made["ts"] // 60_000_000 - ZERO
    arrives = minute + np.random.default_rng(4).integers(1, 4, len(minute))
    rules = compile_desired(load([CONFIG]))
    window = Window(rules.monitors.monitors, rules.watched.services)
    with Telemetry.open(
        tmp_path, ManualClock(T0), kinds=KINDS, tables=TABLES, retention=FOREVER
    ) as telemetry:
        feed = Feed(telemetry, rules.watched, start=ZERO, reread=3)
        for at in range(1, 34):
            here = arrives == at
            if here.any():
                telemetry.add_calls(table({name: values[here] for name, values in made.items()}))
                telemetry.flush()
            block = feed.up_to(ZERO + at)
            assert block is not None
            assert 1 <= block.width <= 4
            window.advance(block)
    series = next(s for s in rules.watched.series if s.indicator.endswith("availability"))
    counts = window.burn.sums(ZERO + 33, 33)[:, window.burn_rows([series])]
    failed = made["error_class"] != ""
    assert counts[:, 0].tolist() == [int(failed.sum()), len(failed)]


def test_a_minute_is_judged_after_its_lateness_and_not_before(tmp_path: Path) -> None:
    with Telemetry.open(
        tmp_path / "data", ManualClock(T0), kinds=KINDS, tables=TABLES, retention=FOREVER
    ) as telemetry:
        telemetry.add_calls(table(traffic([Phase("chat", -10, 10)])))
        telemetry.flush()
        state = StateStore.open(tmp_path / "state.db")
        clock = ManualClock(T0 + LATENESS)
        house = House(telemetry, state, clock, load([CONFIG]), lateness=LATENESS)
        assert house.standing.minute == ZERO - 1
        assert house.catch_up(T0 + timedelta(minutes=1, seconds=1)) == []
        assert [d.now for d in house.catch_up(T0 + timedelta(minutes=1, seconds=2))] == [
            T0 + timedelta(minutes=1, seconds=2)
        ]
        late = house.catch_up(T0 + timedelta(minutes=4, seconds=30))
        assert [d.now for d in late] == [T0 + timedelta(minutes=m, seconds=2) for m in (2, 3, 4)]
        state.close()


def test_a_minute_is_judged_before_what_came_late_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Telemetry.open(
        tmp_path / "data", ManualClock(T0), kinds=KINDS, tables=TABLES, retention=FOREVER
    ) as telemetry:
        telemetry.add_calls(table(traffic([Phase("chat", -10, 10)])))
        telemetry.flush()
        state = StateStore.open(tmp_path / "state.db")
        house = House(telemetry, state, ManualClock(T0 + LATENESS), load([CONFIG]),
                      lateness=LATENESS)  # fmt: skip

        def is_slow(*_: object) -> list[int]:
            assert house.standing.minute == ZERO, "a page would have waited for this"
            raise StoreError("and does not answer")

        monkeypatch.setattr(telemetry, "late", is_slow)
        with pytest.raises(StoreError):
            house.catch_up(T0 + timedelta(minutes=1, seconds=2))
        assert house.standing.minute == ZERO
        state.close()


def test_an_outage_in_which_every_call_hangs_for_four_minutes_pages(tmp_path: Path) -> None:
    """Calls are exported when they end: until then nobody but their caller knows of them."""
    made = traffic([Phase("chat", -480, 10), Phase("chat", 10, 40, failing=0.6, error="timeout")])
    hangs = (made["error_class"] != "") & (made["ts"] >= (ZERO + 10) * 60_000_000)
    made["duration_us"][hangs] = 240_000_000
    ends = (made["ts"] + made["duration_us"].astype(np.int64)) // 60_000_000 - ZERO
    with Telemetry.open(
        tmp_path, ManualClock(T0), kinds=KINDS, tables=TABLES, retention=FOREVER
    ) as telemetry:
        state = StateStore.open(":memory:")
        told: list[str] = []
        house: House | None = None
        for minute in range(-1, 30):
            here = ends < 0 if minute < 0 else ends == minute
            if here.any():
                telemetry.add_calls(table({k: values[here] for k, values in made.items()}))
                telemetry.flush()
            if house is None:
                house = House(telemetry, state, ManualClock(T0), load([CONFIG]), lateness=LATENESS)
                continue
            decided = house.tick(T0 + timedelta(minutes=minute + 1) + LATENESS)
            told += [line.kind for line in lines(decided)]
        state.close()
    assert "page" in told
