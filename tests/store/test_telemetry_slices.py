"""Joint counts: added up by hand from the same calls, and the same as minutes count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from telemetry_build import FOREVER, MINUTE, Where, clock, ended_us, frame, table

from tocsin.domain.calls import SYSTEM_FAILURES
from tocsin.domain.series import Ratio, SeriesId
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.slices import OTHER, Window
from tocsin.store.telemetry import Telemetry

FRAME = frame(6000, minutes=120)
WINDOW = Window(MINUTE - 30, MINUTE - 3, MINUTE - 90, MINUTE - 30)
NOW = (WINDOW.start, WINDOW.stop)
USUAL = (WINDOW.usual_start, WINDOW.usual_stop)
MINUTES = ended_us(FRAME) // 60_000_000
MINE = (FRAME["service"] == "search") & (FRAME["kind"] == "llm")
FAILED = np.isin(FRAME["error_class"], sorted(SYSTEM_FAILURES)) | (FRAME["truncated"] == 1)


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, place: ClickHouse | None
) -> Iterator[Telemetry]:
    path = tmp_path_factory.mktemp("slices")
    with Telemetry.open(
        path, clock(), retention=FOREVER, dsn=Where.dsn, layout=Where.layout
    ) as made:
        made.add_calls(table(FRAME))
        made.flush()
        yield made


def within(span: tuple[int, int]) -> np.ndarray:
    return MINE & (span[0] <= MINUTES) & (span[1] > MINUTES)


def by_slice(which: np.ndarray) -> Counter[tuple[str, str, str]]:
    columns = (FRAME[name][which].tolist() for name in ("model", "provider", "tier"))
    return Counter(zip(*columns, strict=True))


def test_failures_are_counted_by_every_combination_in_both_windows(store: Telemetry) -> None:
    joint = store.slices.joint("search", Ratio("failed"), WINDOW)
    assert set(joint.dimensions) == {"model", "provider", "tier"}
    keys = list(zip(*(joint.dimensions[n] for n in ("model", "provider", "tier")), strict=True))
    for values, which in (
        (joint.now, within(NOW)), (joint.bad_now, within(NOW) & FAILED),
        (joint.usual, within(USUAL)), (joint.bad_usual, within(USUAL) & FAILED),
    ):  # fmt: skip
        told = Counter({key: int(v) for key, v in zip(keys, values, strict=True) if v})
        assert told == by_slice(which)


@pytest.mark.parametrize(
    "ratio",
    [Ratio("failed"), Ratio("error"), Ratio("truncated"), Ratio("duration_ms", "ge", 1500.0),
     Ratio("cost_usd", "gt", 0.02), Ratio("ttft_ms", "ge", 200.0),
     Ratio("empty_result", kind="retriever"), Ratio("failed", model="gpt-4o")],
    ids=lambda ratio: ratio.column,
)  # fmt: skip
def test_what_counts_here_is_what_counts_in_minutes(store: Telemetry, ratio: Ratio) -> None:
    total, bad = store.slices.by_minute("search", ratio, WINDOW)
    block = store.minutes({SeriesId("search", "x"): ratio}, (), USUAL[0], NOW[1])
    assert total.tolist() == block.total[0].tolist()
    assert bad.tolist() == block.bad[0].tolist()
    joint = store.slices.joint("search", ratio, WINDOW)
    assert joint.now.sum() == total[-(NOW[1] - NOW[0]) :].sum()
    assert joint.bad_now.sum() == bad[-(NOW[1] - NOW[0]) :].sum()


def test_amounts_are_added_up(store: Telemetry) -> None:
    now = within(NOW)
    assert store.slices.joint("search", "calls", WINDOW).now.sum() == now.sum()
    tokens = (FRAME["input_tokens"] + FRAME["output_tokens"])[now].sum()
    assert store.slices.joint("search", "tokens", WINDOW).now.sum() == tokens
    cost = (FRAME["cost_usd"] * FRAME["cost_known"])[now].sum()
    assert store.slices.joint("search", "cost_usd", WINDOW).now.sum() == pytest.approx(cost)


def test_the_usual_95th_percentile_is_exact_and_unknown_for_few_calls(store: Telemetry) -> None:
    answered = within(USUAL) & (FRAME["error_class"] == "") & (FRAME["truncated"] == 0)
    ms = np.sort(FRAME["duration_us"][answered]) / 1000
    found = store.slices.slow("search", WINDOW)
    assert found is not None
    assert (ms > found).mean() == pytest.approx(0.05, abs=0.01)
    assert store.slices.slow("nobody", WINDOW) is None


def test_a_service_without_calls_has_no_cells(store: Telemetry) -> None:
    joint = store.slices.joint("nobody", Ratio("failed"), WINDOW)
    assert joint.dimensions == {}
    assert joint.now.sum() == 0


def test_rare_values_are_added_up_and_nothing_is_lost(tmp_path) -> None:
    if Where.dsn:
        pytest.skip("a store of its own is needed")
    calls = {**frame(2000, minutes=60, seed=4)}
    calls["tier"] = np.array([f"t{i % 300}" if i % 2 else "big" for i in range(2000)])
    with Telemetry.open(tmp_path, clock(), retention=FOREVER) as made:
        made.add_calls(table(calls))
        made.flush()
        window = Window(MINUTE - 30, MINUTE, MINUTE - 60, MINUTE - 30)
        joint = made.slices.joint("search", "calls", window)
    tiers = set(joint.dimensions["tier"])
    assert {OTHER, "big"} <= tiers
    assert len(tiers) <= 51
    mine = (calls["service"] == "search") & (calls["kind"] == "llm")
    assert joint.now.sum() + joint.usual.sum() == mine.sum()
