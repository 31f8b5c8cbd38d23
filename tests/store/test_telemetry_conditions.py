"""Conditions are counted by the minute as they are told, on every kind of ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from expression_build import CALLS, START, N, fill, known, told
from telemetry_build import FOREVER, MINUTE, Where, clock

from tocsin.domain.expressions import Condition
from tocsin.domain.series import SHARE, Charge, Ratio, SeriesId
from tocsin.indicators.language.parser import parse
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.telemetry import Telemetry


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, place: ClickHouse | None
) -> Iterator[Telemetry]:
    path = tmp_path_factory.mktemp("conditions")
    with Telemetry.open(
        path, clock(), retention=FOREVER, dsn=Where.dsn, layout=Where.layout
    ) as made:
        fill(made)
        yield made


CONDITIONS = [
    ("not failed and not policy_violation", "", ""),
    ("latency < 2s", "model = 'gpt-4o'", ""),
    ("score('judge') >= 50%", "", ""),
    ("label('judge') = 'ok' and latency < 1min", "not error", ""),
    ("known(ttft)", "streamed", "ab"),
    ("env != 'ab'", "", ""),
]


@pytest.mark.parametrize("segment", [("", ""), ("tier", "free"), ("tier", "pro")])
def test_conditions_are_counted_by_the_minute(store: Telemetry, segment: tuple[str, str]) -> None:
    wanted = {}
    for good, total, model in CONDITIONS:
        condition = Condition(parse(f"not ({good})"), parse(total) if total else None)
        sid = SeriesId("chat", f"{good}|{total}", segment)
        wanted[sid] = Ratio("condition", model=model, condition=condition)
    nobody = SeriesId("nobody", "none", segment)
    block = store.minutes({**wanted, nobody: next(iter(wanted.values()))}, (), START, MINUTE)
    for row, (sid, ratio) in enumerate(wanted.items()):
        assert ratio.condition is not None
        bad, total = np.zeros(8, np.int64), np.zeros(8, np.int64)
        for number in range(N):
            if mine(number, segment, ratio):
                is_bad = told(ratio.condition.bad, known(number))
                counts = is_bad is not None and (
                    ratio.condition.total is None or told(ratio.condition.total, known(number))
                )
                total[number // 6] += bool(counts)
                bad[number // 6] += bool(counts and is_bad)
        np.testing.assert_array_equal(block.total[row], total, sid.indicator)
        np.testing.assert_array_equal(block.bad[row], bad, sid.indicator)
    assert not block.total[-1].any()
    assert block.total[:-1].any() or segment[1] == "pro"


def mine(number: int, segment: tuple[str, str], ratio: Ratio) -> bool:
    call: Mapping[str, Any] = CALLS[number]
    in_segment = segment[0] == "" or call["dims"].get(segment[0]) == segment[1]
    return in_segment and ratio.model in ("", call["model"])


def test_weights_are_summed_in_thousandths_and_unknown_ones_do_not_count(store: Telemetry) -> None:
    condition = Condition(parse("error"), parse("known(model)"))
    weight = parse("1 / (output_tokens / 300)", "number")
    sid = SeriesId("chat", "weighted")
    ratio = Ratio("condition", condition=condition, weight=weight)
    block = store.minutes({sid: ratio}, (), START, MINUTE)
    want = np.zeros((2, 8), np.int64)
    for number in range(N):
        call = known(number)
        amount = told(weight, call)
        if "model" in call and amount is not None and amount > 0:
            want[1, number // 6] += round(1000 * amount)
            want[0, number // 6] += round(1000 * amount) * call["error"]
    assert want[0].sum() > 0
    np.testing.assert_allclose(block.total[0], want[1], atol=6)  # halves are rounded either way
    np.testing.assert_allclose(block.bad[0], want[0], atol=6)


@pytest.mark.parametrize("value", ["cost_usd", "score('judge')", "output_tokens / input_tokens"])
def test_charges_are_summed_call_by_call_and_unknown_values_do_not_count(
    store: Telemetry, value: str
) -> None:
    charge = Charge(parse(value, None), 0.3, 0.1)  # one that must not fall
    ratio = Ratio("charge", charge=charge, model="ab")
    whole, one = SeriesId("chat", "mean"), SeriesId("chat", "mean of one model")
    block = store.minutes({whole: Ratio("charge", charge=charge), one: ratio}, (), START, MINUTE)
    want = np.zeros((2, 2, 8), np.int64)
    for number in range(N):
        amount = told(charge.value, known(number))
        if amount is not None:
            for row in range(1 + (CALLS[number]["model"] == "ab")):
                want[row, 1, number // 6] += SHARE
                want[row, 0, number // 6] += round(SHARE * (amount - 0.3) / (0.1 - 0.3))
    assert want[:, 0].any()
    np.testing.assert_array_equal(block.total, want[:, 1])
    np.testing.assert_allclose(block.bad, want[:, 0], atol=6)  # halves are rounded either way
