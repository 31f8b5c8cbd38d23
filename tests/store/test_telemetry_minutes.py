"""Counts per minute from SQL are the counts that numpy makes of the same calls."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from telemetry_build import FOREVER, MINUTE, NOW, SERVICES, Where, clock, ended_us, frame, table

from tocsin.domain.buckets import LATENCY, PACE, Scale, pace_us
from tocsin.domain.calls import SYSTEM_FAILURES
from tocsin.domain.clock import iso
from tocsin.domain.errors import StoreError
from tocsin.domain.series import EACH, Ratio, SeriesId
from tocsin.indicators.catalogue import DURATIONS
from tocsin.store import schema
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.telemetry import SCORE_ROWS, Telemetry

MINUTES = 30
START = MINUTE - MINUTES
RATIOS = (
    Ratio("failed"),
    Ratio("error"),
    Ratio("truncated"),
    Ratio("failed", kind="retriever"),
    Ratio("duration_ms", "gt", 1000.0),
    Ratio("duration_ms", "gt", 2500.0),
    Ratio("ttft_ms", "ge", 150.0),
    Ratio("cost_usd", "gt", 0.03),
    Ratio("input_tokens", "ge", 2500),
    Ratio("output_tokens", "gt", 600),
    Ratio("empty_result"),
    Ratio("feedback_negative"),
    Ratio("failed", model="gpt-4o"),
    Ratio("error", model="no such model"),
    Ratio("duration_ms", "gt", 1000.0, model="claude-haiku"),
    Ratio("cost_usd", "gt", 0.03, "llm", "gpt-4o"),
)
SEGMENTS = (("", ""), ("tier", "free"), ("tier", "pro"), ("tier", "unheard of"), ("region", "eu"))
FRAME = frame(30_000, minutes=MINUTES)


def scores() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    n = 400
    return {
        "minute": START + rng.integers(0, MINUTES, n),
        "service": rng.choice(SERVICES, n),
        "value": rng.choice([-1.0, 0.0, 1.0], n),
        "tier": rng.choice(["", "free", "pro"], n),
        "name": rng.choice(["feedback", "faithfulness"], n),
    }


SCORES = scores()
SCORE_COLUMNS = ("minute", "service", "value", "tier", "name")


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, place: ClickHouse | None
) -> Iterator[Telemetry]:
    path = tmp_path_factory.mktemp("minutes")
    with Telemetry.open(
        path, clock(), retention=FOREVER, dsn=Where.dsn, layout=Where.layout
    ) as made:
        made.add_calls(table(FRAME))
        made.add_rows(
            SCORE_ROWS,
            [
                {"ts": int(minute) * 60, "service": service, "name": name, "value": value,
                 "dims": {"tier": tier} if tier else {}, "recv": iso(NOW), "line": line}
                for line, (minute, service, value, tier, name) in enumerate(
                    zip(*(SCORES[key].tolist() for key in SCORE_COLUMNS), strict=True)
                )
            ],
        )  # fmt: skip
        made.flush()
        yield made


def expected(sid: SeriesId, ratio: Ratio) -> tuple[np.ndarray, np.ndarray]:
    """bad and total per minute, computed from the columns."""
    f = FRAME
    minute = ended_us(f) // 60_000_000 - START
    mine = (f["service"] == sid.service) & (
        f["kind"] == ("retriever" if ratio.column == "empty_result" else ratio.kind)
    )
    if sid.segment[0]:
        mine &= (f["tier"] == sid.segment[1]) if sid.segment[0] == "tier" else False
    if ratio.model:
        mine &= f["model"] == ratio.model
    error = f["error_class"] != ""
    truncated = f["truncated"] == 1
    answered = ~error & ~truncated
    empty = f["documents"] == "0"
    known, bad = {
        "failed": (True, np.isin(f["error_class"], sorted(SYSTEM_FAILURES)) | truncated),
        "error": (True, error),
        "truncated": (True, truncated),
        "duration_ms": (answered, f["duration_us"] / 1000),
        "ttft_ms": (answered & (f["ttft_us"] > 0), f["ttft_us"] / 1000),
        "cost_usd": (f["cost_known"] == 1, f["cost_usd"]),
        "input_tokens": (f["usage_known"] == 1, f["input_tokens"]),
        "output_tokens": (f["usage_known"] == 1, f["output_tokens"]),
        "empty_result": (error | (f["documents"] != ""), error | empty),
    }[ratio.column]
    if bad.dtype != bool:
        bad = bad >= ratio.threshold if ratio.op == "ge" else bad > ratio.threshold
    counts = [np.bincount(minute[mine & known & x], minlength=MINUTES) for x in (bad, True)]
    return counts[0], counts[1]


def expected_feedback(sid: SeriesId) -> tuple[np.ndarray, np.ndarray]:
    mine = (SCORES["service"] == sid.service) & (SCORES["name"] == "feedback")
    if sid.segment[0]:
        mine &= (SCORES["tier"] == sid.segment[1]) if sid.segment[0] == "tier" else False
    minute = SCORES["minute"] - START
    negative = np.bincount(minute[mine & (SCORES["value"] <= 0)], minlength=MINUTES)
    return negative, np.bincount(minute[mine], minlength=MINUTES)


def all_series() -> dict[SeriesId, Ratio]:
    return {
        SeriesId(service, f"{ratio}", segment): ratio
        for service in (*SERVICES, "no such service")
        for ratio in RATIOS
        for segment in SEGMENTS
    }


def test_histograms_of_every_value_are_those_of_its_calls(store: Telemetry) -> None:
    asked = {
        SeriesId(service, DURATIONS.name, (name, EACH)): DURATIONS.ratio
        for service in (*SERVICES, "no such service")
        for name in ("tier", "model", "nowhere")
    }
    other = SeriesId(SERVICES[0], "errors", ("tier", EACH))
    block = store.minutes({**asked, other: Ratio("error")}, (), START, MINUTE)
    found = np.zeros((len(block.series), MINUTES, LATENCY.count), np.int64)
    minute, row, bucket, calls = block.cells
    assert (np.diff(minute) >= 0).all()
    found[row, minute - START, bucket] = calls
    f, durations = FRAME, 0
    for histogram, total, sid in zip(found, block.total, block.series, strict=True):
        if sid.indicator != DURATIONS.name:
            assert not histogram.any()
            continue
        durations += 1
        mine = (f["service"] == sid.service) & (f["kind"] == "llm")
        mine &= (f["error_class"] == "") & (f["truncated"] == 0) & (f["duration_us"] > 0)
        mine &= f[sid.segment[0]] == sid.segment[1]
        assert histogram.sum() == mine.sum() > 0
        at = ended_us(f)[mine] // 60_000_000 - START
        assert (total == np.bincount(at, minlength=MINUTES)).all()
        exact = np.percentile(f["duration_us"][mine], 95, method="inverted_cdf")
        told = LATENCY.quantile(histogram.sum(axis=0), 0.95)
        assert abs(told / exact - 1) <= np.sqrt(LATENCY.ratio) - 1 + 1e-9
        share = total.sum() and histogram[at[0]].sum()
        assert share == total[at[0]]
    tiers, models = (len(set(f[name].tolist()) - {""}) for name in ("tier", "model"))
    assert durations == len(SERVICES) * (tiers + models)


def test_every_ratio_of_every_segment_is_what_numpy_counts(store: Telemetry) -> None:
    monitored = all_series()
    block = store.minutes(monitored, SERVICES, START, MINUTE)
    assert block.series == tuple(monitored)
    assert (block.start, block.width) == (START, MINUTES)
    for row, (sid, ratio) in enumerate(monitored.items()):
        if ratio.column == "feedback_negative":
            bad, total = expected_feedback(sid)
        else:
            bad, total = expected(sid, ratio)
        np.testing.assert_array_equal(block.total[row], total, str((sid, ratio)))
        np.testing.assert_array_equal(block.bad[row], bad, str((sid, ratio)))
    assert (block.bad <= block.total).all()
    assert block.bad.sum() > 1000


def test_an_hour_counts_what_its_minutes_count(store: Telemetry) -> None:
    monitored = all_series()
    first, last = START // 60, (MINUTE - 1) // 60
    by_hour = store.hours(monitored, first, last + 1)
    by_minute = store.minutes(monitored, (), first * 60, (last + 1) * 60)
    assert (by_hour.start, by_hour.series) == (first, tuple(monitored))
    for hour, minute in ((by_hour.bad, by_minute.bad), (by_hour.total, by_minute.total)):
        want = minute.reshape(len(monitored), -1, 60).sum(axis=2)
        np.testing.assert_array_equal(hour, want)
    assert by_hour.bad.sum() > 1000


def test_histograms_are_of_answered_llm_calls_on_the_scales_of_the_domain(store: Telemetry) -> None:
    block = store.minutes({}, SERVICES, START, MINUTE)
    f = FRAME
    answered = (f["kind"] == "llm") & (f["error_class"] == "") & (f["truncated"] == 0)
    pace = pace_us(f["duration_us"], f["input_tokens"], f["output_tokens"])
    for histogram, scale, values, chosen in (
        (block.latency, LATENCY, f["duration_us"], answered),
        (block.pace, PACE, pace, answered & (f["usage_known"] == 1)),
    ):
        want = np.zeros((len(SERVICES), MINUTES, scale.count), np.int64)
        place = np.array([SERVICES.index(name) for name in f["service"]])
        minute = ended_us(f) // 60_000_000 - START
        np.add.at(want, (place[chosen], minute[chosen], scale.bucket(values[chosen])), 1)
        np.testing.assert_array_equal(histogram, want)


def test_a_window_is_half_open_and_empty_minutes_are_zeros(store: Telemetry) -> None:
    sid = SeriesId("search", "failed")
    whole = store.minutes({sid: Ratio("failed")}, ["search"], START, MINUTE)
    part = store.minutes({sid: Ratio("failed")}, ["search"], START + 3, START + 5)
    np.testing.assert_array_equal(part.total, whole.total[:, 3:5])
    np.testing.assert_array_equal(part.latency, whole.latency[:, 3:5])
    before = store.minutes({sid: Ratio("failed")}, ["search"], START - 50, START)
    assert before.total.shape == (1, 50)
    assert not before.total.any()
    assert store.minutes({sid: Ratio("failed")}, [], START, START).total.shape == (1, 0)
    with pytest.raises(StoreError, match="runs forward"):
        store.minutes({}, [], START, START - 1)


def test_names_with_quotes_and_control_characters_are_only_names(store: Telemetry) -> None:
    names = ("it's", 'a"b\\', "tab\there\nline", "{x:String}", "ü ☃", "\\'")
    few = frame(len(names) * 20, minutes=5, seed=3)
    few["service"] = np.array(names)[np.arange(len(few["ts"])) % len(names)]
    few["tier"] = few["service"]
    few["kind"][:] = "llm"
    few["error_class"][:] = ""
    few["truncated"][:] = 0
    store.add_calls(table(few, project="odd names"))
    store.flush()
    for ratio in (Ratio("failed"), Ratio("duration_ms", "gt", 0.0)):
        for segments in (("", ""), ("tier", "")):
            monitored = {
                SeriesId(name, "any", (segments[0], name if segments[0] else "")): ratio
                for name in names
            }
            block = store.minutes(monitored, names, MINUTE - 5, MINUTE)
            assert block.total.sum(axis=1).tolist() == [20] * len(names)
            assert block.latency.sum(axis=(1, 2)).tolist() == [20] * len(names)


@pytest.mark.parametrize("scale", [LATENCY, PACE], ids=["latency", "pace"])
def test_buckets_in_sql_are_the_buckets_of_the_domain(store: Telemetry, scale: Scale) -> None:
    edge_cases = "arrayJoin([0, 1, 2, 3, 10, 999, 1000, 4294967295, 18446744073709551615])"
    for values in ("toUInt64(number)", "rand64() % 6000000000", f"toUInt64({edge_cases})"):
        value, found = store._engine.arrays(
            f"SELECT {values} AS x, toInt64({schema.bucket('x', scale)}) FROM numbers(200000)"
        )
        np.testing.assert_array_equal(found, scale.bucket(value))


def test_each_value_of_a_dimension_is_counted_as_if_it_had_been_asked_for(store: Telemetry) -> None:
    counted = [r for r in RATIOS if r.column not in ("feedback_negative", "empty_result")]
    each = {SeriesId("search", f"{r}", (name, EACH)): r for r in counted for name in ("tier", "no")}
    whole = {SeriesId("search", "all"): Ratio("failed")}
    block = store.minutes({**each, **whole}, (), START, MINUTE)
    assert block.series[0] == SeriesId("search", "all"), "what was asked for by name goes first"
    found = set(block.series[1:])
    wanted = {SeriesId("search", f"{r}", ("tier", value)): r for r in counted
              for value in ("free", "pro") if r.model != "no such model"}  # fmt: skip
    assert found == set(wanted)
    named = store.minutes(wanted, (), START, MINUTE)
    for row, sid in enumerate(named.series):
        np.testing.assert_array_equal(block.bad[block.series.index(sid)], named.bad[row], str(sid))
        np.testing.assert_array_equal(block.total[block.series.index(sid)], named.total[row])
