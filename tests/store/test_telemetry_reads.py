"""What pages read: newest calls with cursors, timelines, the fleet, slices, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta
from itertools import pairwise

import numpy as np
import pytest
from telemetry_build import FOREVER, MINUTE, NOW, SERVICES, Where, clock, ended_us, frame, table

from tocsin.domain.calls import SYSTEM_FAILURES, Call
from tocsin.domain.errors import BadCursor
from tocsin.domain.expressions import Condition
from tocsin.domain.series import Ratio
from tocsin.indicators.language.parser import parse
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.reads import Reads, cursor_after
from tocsin.store.telemetry import Telemetry

MINUTES = 240
START = MINUTE - MINUTES
FRAME = frame(8000, minutes=MINUTES)
LLM = FRAME["kind"] == "llm"
ANSWERED = LLM & (FRAME["error_class"] == "") & (FRAME["truncated"] == 0)
FAILED = np.isin(FRAME["error_class"], sorted(SYSTEM_FAILURES)) | (FRAME["truncated"] == 1)


@pytest.fixture(scope="module")
def stored(
    tmp_path_factory: pytest.TempPathFactory, place: ClickHouse | None
) -> Iterator[Telemetry]:
    path = tmp_path_factory.mktemp("reads")
    with Telemetry.open(
        path, clock(), retention=FOREVER, dsn=Where.dsn, layout=Where.layout
    ) as made:
        made.add_calls(table(FRAME))
        made.flush()
        yield made


@pytest.fixture
def reads(stored: Telemetry) -> Reads:
    return stored.reads


def pages(reads: Reads, size: int, **filters: object) -> list[Call]:
    found: list[Call] = []
    before = ""
    while True:
        _, part = reads.calls(size, before=before, **filters)  # type: ignore[arg-type]
        found += part
        if len(part) < size:
            return found
        before = cursor_after(part[-1])


def test_calls_come_newest_first_with_their_number(reads: Reads) -> None:
    total, calls = reads.calls(10)
    assert total == len(FRAME["ts"])
    assert [call.span_id for call in calls] == [f"{total - 1 - i:016x}" for i in range(10)]
    assert calls[0].ts.tzinfo == UTC
    assert int(calls[0].ts.timestamp() * 1e6) == pytest.approx(FRAME["ts"][-1], abs=1)


def test_pages_leave_nothing_out_and_repeat_nothing(reads: Reads) -> None:
    calls = pages(reads, 999, service="search", kind="llm")
    assert len(calls) == ((FRAME["service"] == "search") & LLM).sum()
    assert len({call.span_id for call in calls}) == len(calls)
    assert all(a.ts >= b.ts for a, b in pairwise(calls))


def test_since_and_failed_only_choose_calls(reads: Reads) -> None:
    since = NOW - timedelta(minutes=60)
    total, _ = reads.calls(1, since=since)
    assert total == (FRAME["ts"] >= int(since.timestamp() * 1e6)).sum()
    total, calls = reads.calls(500, failed_only=True)
    assert total == FAILED.sum()
    assert all(call.truncated or call.error_class in SYSTEM_FAILURES for call in calls)


def test_what_is_unknown_of_a_call_is_none(reads: Reads) -> None:
    calls = {call.span_id: call for call in pages(reads, 4000)}
    for i in range(len(FRAME["ts"])):
        call = calls[f"{i:016x}"]
        assert (call.ttft_ms is None) == (FRAME["ttft_us"][i] == 0)
        assert (call.cost_usd is None) == (FRAME["cost_known"][i] == 0)
        assert (call.input_tokens is None) == (FRAME["usage_known"][i] == 0)
        assert call.usage_known == bool(FRAME["usage_known"][i])
        assert call.duration_ms == FRAME["duration_us"][i] / 1000
        assert call.dims == ({"tier": FRAME["tier"][i]} if FRAME["tier"][i] else {})


@pytest.mark.parametrize("text", ["x", "12", "a.b", "."])
def test_a_wrong_cursor_is_refused(reads: Reads, text: str) -> None:
    with pytest.raises(BadCursor, match="is not a cursor"):
        reads.calls(5, before=text)


@pytest.mark.parametrize("step", [1, 10, 7, 60], ids=lambda step: f"{step} min")
def test_a_timeline_adds_up_to_the_calls_it_covers(reads: Reads, step: int) -> None:
    line = reads.timeline("search", START, MINUTE, step)
    mine = (FRAME["service"] == "search") & LLM
    index = (ended_us(FRAME) // 60_000_000 - START) // step
    steps = -(-MINUTES // step)

    def per_step(chosen: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        picked = None if weights is None else weights[mine & chosen]
        return np.bincount(index[mine & chosen], weights=picked, minlength=steps)

    everything = np.ones_like(mine)
    np.testing.assert_array_equal(line.n, per_step(everything))
    np.testing.assert_array_equal(line.failed, per_step(FAILED))
    np.testing.assert_array_equal(line.errors, per_step(FRAME["error_class"] != ""))
    tokens = per_step(everything, (FRAME["input_tokens"] + FRAME["output_tokens"]).astype(float))
    np.testing.assert_allclose(line.tokens[~np.isnan(line.tokens)], tokens[tokens > 0])
    priced = FRAME["cost_known"] == 1
    cost = per_step(priced, FRAME["cost_usd"])
    np.testing.assert_allclose(line.cost_usd[~np.isnan(line.cost_usd)], cost[cost > 0])
    share = per_step(priced) / np.maximum(per_step(everything), 1)
    np.testing.assert_allclose(line.priced, share)


def test_quantiles_of_a_timeline_are_right_to_two_percent(reads: Reads) -> None:
    line = reads.timeline("search", START, MINUTE, MINUTES)
    durations = np.sort(FRAME["duration_us"][ANSWERED & (FRAME["service"] == "search")] / 1000)
    for q, found in ((0.50, line.p50_ms), (0.95, line.p95_ms), (0.99, line.p99_ms)):
        exact = durations[int(np.ceil(q * len(durations))) - 1]
        assert found[0] == pytest.approx(exact, rel=0.021)


def test_steps_without_calls_are_unknown_not_zero(reads: Reads) -> None:
    line = reads.timeline("search", START - 20, START, 10)
    assert line.n.tolist() == [0, 0]
    assert all(np.isnan(x).all() for x in (line.p50_ms, line.p95_ms, line.tokens, line.cost_usd))
    assert line.priced.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("start", [START, START + 7], ids=["whole hours", "minutes"])
def test_the_fleet_sums_every_service(reads: Reads, start: int) -> None:
    rows = reads.fleet(start, MINUTE)
    assert [row.service for row in rows] == sorted(SERVICES)
    inside = LLM & (ended_us(FRAME) >= start * 60_000_000)
    for row in rows:
        mine = inside & (FRAME["service"] == row.service)
        assert (row.calls, row.failed) == (mine.sum(), (mine & FAILED).sum())
        priced = mine & (FRAME["cost_known"] == 1)
        assert row.cost_usd == pytest.approx(FRAME["cost_usd"][priced].sum())
        assert row.priced == pytest.approx(priced.sum() / mine.sum())
        durations = np.sort(FRAME["duration_us"][mine & ANSWERED] / 1000)
        exact = durations[int(np.ceil(0.95 * len(durations))) - 1]
        assert row.p95_ms == pytest.approx(exact, rel=0.021)
        for name, shown in (("model", row.model), ("provider", row.provider)):
            values, counts = np.unique(FRAME[name][mine], return_counts=True)
            assert counts[values == shown] == counts.max()


def test_a_window_without_calls_has_no_services(reads: Reads) -> None:
    assert reads.fleet(START - 600, START - 60) == []


def test_sizes_name_every_table_that_holds_rows(reads: Reads) -> None:
    sizes = reads.sizes()
    assert sizes["calls"][0] == len(FRAME["ts"])
    assert all(size > 0 for _, size in sizes.values())
    assert {"calls_1m", "calls_1h"} <= set(sizes)
    assert reads.first_minute() == START


def test_exemplars_are_what_was_counted_what_stands_out_and_what_was_named(
    stored: Telemetry,
) -> None:
    since, until = NOW - timedelta(hours=3), NOW - timedelta(hours=1)
    edges = [round(at.timestamp() * 1e6) for at in (since, until)]
    mine = LLM & (FRAME["service"] == "search")
    mine &= (FRAME["ts"] >= edges[0]) & (FRAME["ts"] < edges[1])
    reader = stored.exemplars
    bad = reader.bad("search", Ratio("condition", condition=Condition(parse("failed"))),
                     since, until, 5)  # fmt: skip
    rows = np.flatnonzero(mine & FAILED)[::-1][:5]
    assert [call.span_id for call in bad] == [f"{row:016x}" for row in rows]
    costs = np.where(mine & (FRAME["cost_known"] == 1), FRAME["cost_usd"], -1.0)
    most = reader.most("search", parse("cost_usd", None), since, until, 3)
    expected = [f"{row:016x}" for row in np.argsort(-costs, kind="stable")[:3]]
    assert [call.span_id for call in most] == expected
    lowest = reader.most("search", parse("cost_usd", None), since, until, 1, least=True)
    assert lowest[0].cost_usd == pytest.approx(costs[costs >= 0].min())
    ids = [f"{call.trace_id}/{call.span_id}" for call in (most[1], bad[0])]
    assert reader.named([ids[0], "no/such", ids[1]], since, until) == [most[1], bad[0]]
