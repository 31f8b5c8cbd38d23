"""The window is a function of the minutes given, however they were cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from counting import DAY, START, block, latencies, objective, paced_block, pacer, scanner, series
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import BurnStep
from tocsin.assess.ring import LATE_MINUTES
from tocsin.assess.window import Window
from tocsin.domain.series import MinuteBlock, Ratio


def counts(rng, rows: int, minutes: int, rate: float = 0.05):
    total = rng.poisson(20, (rows, minutes))
    return rng.binomial(total, rate), total


def held(window: Window, end: int) -> list[np.ndarray]:
    """Everything the window can say at `end`."""
    widths = (1, 5, 60, 360, 1440, 4320, 30 * DAY)
    usual = window.usual()
    return [
        *(window.burn.sums(end, width) for width in widths),
        *(window.scan.sums(end, width) for width in (1, 3, 12)),
        usual.rate, usual.rho, usual.calls, usual.hours, window.pace.usual, window.latency.usual,
    ]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_overlapping_blocks_hold_what_one_block_holds(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    first = START + data.draw(st.integers(0, 59))
    minutes = data.draw(st.integers(1, 400))
    names = series(2)
    bad, total = counts(rng, 2, minutes)
    monitors = [objective(names[0]), scanner(names[1]), scanner(names[0])]
    whole, pieces = Window(monitors), Window(monitors)
    whole.advance(block(names, bad, total, first, origin=first))
    stop = first
    while stop < first + minutes:
        back = data.draw(st.integers(0, LATE_MINUTES))
        start = max(stop - back, first)
        stop = min(stop + data.draw(st.integers(1, 90)), first + minutes)
        # What arrives first is incomplete; the overlap of the next block brings the rest.
        late = np.arange(first, first + minutes) >= stop - 3
        early = np.where(late, 0, bad), np.where(late, total // 2, total)
        pieces.advance(block(names, *early, start, stop, origin=first))
        again = max(stop - LATE_MINUTES, first)
        pieces.advance(block(names, bad, total, again, stop, origin=first))
    for one, other in zip(held(whole, stop), held(pieces, stop), strict=True):
        assert one == pytest.approx(other, rel=1e-9)


def test_latency_histograms_do_not_depend_on_how_minutes_were_cut() -> None:
    minutes = 600
    latency, pace = latencies(np.random.default_rng(1), 2, minutes, 30)
    names = ("a", "b")
    monitors = [pacer("a"), pacer("b")]
    whole, pieces = Window(monitors), Window(monitors)
    whole.advance(paced_block(names, latency, pace, START, START + minutes))
    for minute in range(START, START + minutes):
        cut = paced_block(names, latency // 2, pace // 2, max(minute - 2, START), minute + 1)
        pieces.advance(cut)
        pieces.advance(paced_block(names, latency, pace, max(minute - 4, START), minute + 1))
    end = START + minutes
    both = np.arange(2)
    assert (whole.pace.recent(end, 12, both) == pieces.pace.recent(end, 12, both)).all()
    for one, other in zip(held(whole, end), held(pieces, end), strict=True):
        assert one == pytest.approx(other)


def test_sums_are_those_of_the_minutes() -> None:
    rng = np.random.default_rng(2)
    minutes = 5 * DAY
    names = series(3)
    bad, total = counts(rng, 3, minutes)
    window = Window([objective(name) for name in names])
    window.advance(block(names, bad, total))
    end = START + minutes
    for width in (1, 7, 60, 4320):
        assert (window.burn.sums(end, width)[0] == bad[:, -width:].sum(axis=1)).all()
        assert (window.burn.sums(end - 9, width)[1] == total[:, -width - 9 : -9].sum(axis=1)).all()


def test_a_month_is_summed_from_the_first_whole_hour_inside_it() -> None:
    rng = np.random.default_rng(3)
    minutes = 33 * DAY + 17
    names = series(1)
    bad, total = counts(rng, 1, minutes)
    window = Window([objective(names[0])])
    window.advance(block(names, bad, total))
    end, month = START + minutes, 30 * DAY
    first = -(-(end - month) // 60) * 60 - START
    assert window.burn.sums(end, month)[1, 0] == total[0, first:].sum()
    window.advance(block(names, bad * 0, total + 1, end - 10, end))
    assert window.burn.sums(end, month)[1, 0] == total[0, first:].sum() + 10
    assert window.burn.sums(end, month)[0, 0] == bad[0, first:-10].sum()


def test_a_correction_across_a_full_hour_reaches_the_hours_too() -> None:
    names = series(1)
    window = Window([objective(names[0])])
    total = np.full((1, 8 * DAY), 2)
    window.advance(block(names, total * 0, total, START, START + 121))
    window.advance(block(names, total, total, START + 110, START + 121))
    window.advance(block(names, total * 0, total, START + 121, START + 4 * DAY + 120))
    four_days = window.burn.sums(START + 4 * DAY + 120, 4 * DAY)
    assert four_days[0, 0] == 2  # minute 120 is inside; minutes 110 to 119 are not


def test_minutes_that_are_too_old_are_counted_and_left_out() -> None:
    names = series(1)
    window = Window([objective(names[0])])
    total = np.full((1, 200), 5)
    window.advance(block(names, total * 0, total, START, START + 100))
    assert window.advance(block(names, total, total, START + 60, START + 101)) == 25
    assert window.burn.sums(START + 101, 101).tolist() == [[5 * 16], [505]]


def test_silence_is_not_a_minute_without_calls() -> None:
    names = series(1)
    zeros = np.zeros((1, 60), np.int64)
    monitors = [scanner(names[0], baseline=0.01), objective(names[0])]
    quiet, gone = Window(monitors), Window(monitors)
    for window in (quiet, gone):
        window.advance(block(names, zeros, zeros + 9, START, START + 30))
    quiet.advance(block(names, zeros, zeros, START + 30, START + 40))
    gone.advance(block(names, zeros, zeros, START + 39, START + 40))
    assert not quiet.is_silent(START + 39, 9)
    assert gone.is_silent(START + 39, 9)
    assert quiet.burn.sums(START + 40, 40).tolist() == gone.burn.sums(START + 40, 40).tolist()
    silent = judge(compile_monitors(monitors), gone, START + 38)
    assert {verdict.reason for verdict in silent} == {"no telemetry was read for the last 5 min"}
    assert judge(compile_monitors(monitors), quiet, START + 38) == []


def test_series_and_services_are_found_by_name_whatever_their_order() -> None:
    names = series(3)
    window = Window([objective(names[0]), objective(names[2])], services=("x", "y"))
    histogram = np.zeros((2, 1, 236), np.int64)
    histogram[0, 0, 7] = 4
    given_block = MinuteBlock(
        START, (names[2], names[1], names[0]), np.array([[2], [1], [0]]), np.array([[9], [9], [7]]),
        ("y", "x"), np.zeros((2, 1, 576), np.int64), histogram,
    )  # fmt: skip
    window.advance(given_block)
    assert window.burn.sums(START + 1, 1).tolist() == [[0, 2], [7, 9]]
    assert window.pace.recent(START + 1, 1, window.service_rows(["y", "x"]))[:, 7].tolist() == [
        4,
        0,
    ]


def test_a_series_cannot_mean_two_things() -> None:
    name = series()[0]
    other = replace(objective(name), name="slo/other", ratio=Ratio("error"))
    with pytest.raises(ValueError, match="another name"):
        Window([objective(name), other])


def test_a_burn_window_beyond_three_days_is_refused() -> None:
    name = series()[0]
    steps = (BurnStep("ticket", 5 * DAY, 60, 1.0),)
    with pytest.raises(ValueError, match="at most 4320 minutes"):
        Window([objective(name, steps=steps)])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_hours_that_are_restated_hold_what_one_block_would_have_held(data) -> None:
    """Labels that come late, for any hour of a month, in any order; the other series stay."""
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    first = START + data.draw(st.integers(0, 59))
    minutes = data.draw(st.integers(90, 9 * DAY))
    names = series(3)
    final = counts(rng, 3, minutes)
    monitors = [objective(name) for name in names]
    want, window = Window(monitors), Window(monitors)
    want.advance(block(names, *final, first, origin=first))
    early = [np.where(rng.random(minutes) < 0.3, 0, each) for each in final]
    for each, truth in zip(early, final, strict=True):
        each[2] = truth[2]
    early[0] = np.minimum(early[0], early[1])
    window.advance(block(names, *early, first, origin=first))
    # Of the hour that was only begun nothing older than the exact minutes can be replaced.
    begun = first % 60 and minutes > 3 * DAY
    hours = list(range(first // 60 + bool(begun), (first + minutes - 1) // 60 + 1))
    rng.shuffle(hours)
    for hour in hours * 2:
        start, stop = max(hour * 60, first), min(hour * 60 + 60, first + minutes)
        part = block(names, *final, start, stop, origin=first)
        lead = hour * 60 - start  # a block begins at a full hour; nothing is known before the first
        padded = [np.pad(each[:2], ((0, 0), (-lead, 0))) for each in (part.bad, part.total)]
        window.restate(replace(part, start=hour * 60, series=part.series[:2],
                               bad=padded[0], total=padded[1]))  # fmt: skip
    end = first + minutes
    for width in (1, 60, 1440, 4320, 7 * DAY, 30 * DAY):
        ours, theirs = window.burn.sums(end, width), want.burn.sums(end, width)
        if begun:
            span = end - width <= (first // 60 + 1) * 60
            if span:
                continue
        np.testing.assert_array_equal(ours, theirs)
