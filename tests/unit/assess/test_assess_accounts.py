"""Charges of slices and corrections against a brute-force oracle, however minutes arrive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from counting import DAY, START, block, objective, series
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.assess.accounts import Correction, Slices
from tocsin.assess.budget import dispersion, objective_status
from tocsin.assess.burn import for_slices, presets
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window


def sliced(name, slices: Slices | None, *corrections: Correction, target=0.99, period=DAY):
    monitor = objective(name, target, period)
    return replace(monitor, method=replace(monitor.method, slices=slices, corrections=corrections))


def as_corrected(corrections, bad, total, origin: int):
    """(bad, total, effect) of every minute."""
    bad, total = bad.astype(float), total.astype(float)
    effect = np.full(len(bad), "", object)
    for one in corrections:
        effect[max(one.start - origin, 0) : max(one.stop - origin, 0)] = one.effect
    total = np.where(effect == "exclude", 0, total)
    bad = np.where((effect == "exclude") | (effect == "good"), 0, bad)
    return np.where(effect == "bad", total, bad), total, effect


def charged(monitor: Monitor, bad, total, origin: int = START) -> tuple[float, float]:
    """(bad, total) of all slices, or calls, of the minutes from `origin` on, one by one."""
    slices = monitor.method.slices
    bad, total, effect = as_corrected(monitor.method.corrections, bad, total, origin)
    if slices is None:
        return bad.sum(), total.sum()
    length, charges = slices.minutes, [(0.0, 0.0)]
    held = np.zeros(3)  # bad, total, slices
    for begin in range(-origin % length, len(bad) - length + 1, length):
        here = slice(begin, begin + length)
        k, n = bad[here].sum(), total[here].sum()
        held = np.zeros(3) if (origin + begin) % 60 == 0 else held
        whole = set(effect[here])
        if "" not in whole:
            charges += [(whole == {"bad"}, 1)] if whole != {"exclude"} else []
        elif slices.insufficient == "pool" and n > 0:
            held = held + np.array([k, n, 1])
            if held[1] >= slices.min_events:
                charges.append((share_of(slices, held[0], held[1]) * held[2], held[2]))
                held = np.zeros(3)
        elif n >= slices.min_events:
            charges.append((share_of(slices, k, n), 1))
        else:
            policy = slices.no_data if n == 0 else slices.insufficient
            charges += [(policy == "bad", 1)] if policy != "ignore" else []
    return tuple(np.sum(charges, axis=0))


def share_of(slices: Slices, bad: float, total: float) -> float:
    if slices.target is None:
        return bad / total
    return float((total - bad) / total < slices.target)


SLICES = st.builds(
    Slices,
    minutes=st.sampled_from([1, 5, 15, 60, 120]),
    target=st.sampled_from([None, 0.9, 0.99, 1.0]),
    min_events=st.sampled_from([1, 4, 30]),
    insufficient=st.sampled_from(["ignore", "good", "bad"]),
    no_data=st.sampled_from(["ignore", "good", "bad"]),
)
POOLED = st.builds(
    Slices,
    minutes=st.sampled_from([1, 5, 15]),
    target=st.sampled_from([None, 0.95]),
    min_events=st.sampled_from([10, 40]),
    insufficient=st.just("pool"),
)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), slices=st.one_of(SLICES, POOLED, st.none()))
def test_charges_are_those_of_the_oracle_however_minutes_arrive(seed, slices) -> None:
    rng = np.random.default_rng(seed)
    first, minutes = START + int(rng.integers(0, 130)), int(rng.integers(200, 900))
    total = rng.poisson(rng.choice([0.3, 4]), (2, minutes))
    total[:, 100:140] = 0
    bad = rng.binomial(total, 0.05)
    corrections = [
        Correction(f"c{i}", start := int(first + rng.integers(-50, minutes)),
                   start + int(rng.integers(1, 200)), effect)
        for i, effect in enumerate(rng.permutation(["exclude"] * 2)[: rng.integers(0, 3)])
    ]  # fmt: skip
    names = series(2)
    monitors = [sliced(names[0], slices, *corrections), sliced(names[1], slices)]
    window = Window(monitors)
    stop = first
    while stop < first + minutes:
        start = max(stop - int(rng.integers(0, 15)), first)
        stop = min(stop + int(rng.integers(1, 90)), first + minutes)
        early = np.where(np.arange(minutes) + first >= stop - 10, total // 2, total)
        window.advance(block(names, np.minimum(bad, early), early, start, stop, origin=first))
        window.advance(block(names, bad, total, max(stop - 12, first), stop, origin=first))
    window.advance(block(names, bad, total, stop - 15, stop, origin=first))
    hour = int(rng.integers(first // 60 + 1, (first + minutes) // 60))
    bad[:, hour * 60 - first :][:, :60] = 0
    assert window.restate(block(names, bad, total, hour * 60, hour * 60 + 60, origin=first))
    got = window.ledger.sums(stop, minutes, window.ledger.rows(monitors))
    plain = window.ledger.sums(stop, minutes, window.ledger.uncorrected_rows(monitors))
    for row, monitor in enumerate(monitors):
        want = charged(monitor, bad[row], total[row], first)
        assert got[:, row] == pytest.approx(want, abs=1e-4)
        as_it_was = sliced(names[row], slices)
        assert plain[:, row] == pytest.approx(charged(as_it_was, bad[row], total[row], first),
                                              abs=1e-4)  # fmt: skip


@pytest.mark.parametrize("effect", ["exclude", "good", "bad"])
@pytest.mark.parametrize("slices", [None, Slices(5, 0.9), Slices(60)])
def test_a_correction_charges_what_it_says(effect, slices) -> None:
    names = series(1)
    rng = np.random.default_rng(3)
    total = rng.poisson(6, (1, 600))
    bad = rng.binomial(total, 0.2)
    monitor = sliced(names[0], slices, Correction("c", START + 120, START + 300, effect))
    window = Window([monitor])
    window.advance(block(names, bad, total))
    got = window.ledger.sums(START + 600, 600, window.ledger.rows([monitor]))[:, 0]
    assert got == pytest.approx(charged(monitor, bad[0], total[0]), abs=1e-4)


def test_a_late_label_restates_slices_of_an_hour_long_gone() -> None:
    names = series(1)
    total = np.full((1, 9 * DAY), 3)
    bad = total * 0
    monitor = sliced(names[0], Slices(15, 0.9), period=8 * DAY)
    window = Window([monitor])
    window.advance(block(names, bad, total))
    hour = START // 60 + 48
    bad[0, 48 * 60 : 48 * 60 + 20] = 3
    assert window.restate(block(names, bad, total, hour * 60, hour * 60 + 60))
    status = objective_status(window, monitor, START + 9 * DAY - 1)
    assert (status.bad, status.total, status.counts_in) == (2, 8 * 96, "slices of 15 m")
    assert status.coverage == pytest.approx(1.0)


def test_the_page_can_tell_with_and_without_a_correction() -> None:
    names = series(1)
    total = np.full((1, DAY), 10)
    bad = total * 0
    bad[0, 600:660] = 10
    monitor = sliced(names[0], None, Correction("reindex", START + 590, START + 670))
    window = Window([monitor])
    window.advance(block(names, bad, total))
    status = objective_status(window, monitor, START + DAY - 1)
    assert (status.bad, status.total) == (0, 10 * (DAY - 80))
    told = status.correction
    assert (told.bad, told.total, told.minutes, told.names) == (600, 14_400, 80, ("reindex",))
    assert told.remaining == pytest.approx(1 - 600 / 144)
    before = replace(monitor, method=replace(monitor.method, corrections=()))
    plain = Window([before])
    plain.advance(block(names, bad, total))
    assert objective_status(plain, before, START + DAY - 1).correction is None


def test_slices_of_a_calendar_begin_with_its_periods() -> None:
    from tocsin.assess.period import Calendar, Length
    from tocsin.domain.clock import from_minute

    half_past = Calendar(Length(1, "d"), from_minute(START + 30).replace(tzinfo=None), "UTC")
    names = series(1)
    monitor = sliced(names[0], Slices(60, 1.0))
    monitor = replace(monitor, method=replace(monitor.method, calendar=half_past))
    window = Window([monitor])
    total = np.ones((1, DAY + 30), np.int64)
    bad = total * 0
    bad[0, 89] = 1  # the last minute of the first slice
    bad[0, 29] = 1  # before the first whole slice: belongs to yesterday
    window.advance(block(names, bad, total))
    status = objective_status(window, monitor, START + DAY + 29)
    assert (status.bad, status.total) == (1, 24)


def test_windows_of_slices_hold_whole_slices() -> None:
    steps = for_slices(presets(30 * DAY), 60, 30 * DAY)
    assert all(w % 60 == 0 for s in steps for w in (s.long_minutes, s.short_minutes))
    assert steps[0].factor == 14.4
    daily = for_slices(presets(30 * DAY), DAY, 30 * DAY)
    assert [(s.severity, s.long_minutes, s.factor) for s in daily] == [
        ("page", DAY, 0.6), ("ticket", 3 * DAY, 1.0)
    ]  # fmt: skip


@pytest.mark.parametrize("minutes", [0, 7, 90, 25 * 60])
def test_a_slice_that_fits_no_hour_is_refused(minutes) -> None:
    with pytest.raises(ValueError, match="divides an hour"):
        Slices(minutes)


def test_clustered_slices_do_not_pass_for_independent_ones() -> None:
    """The interval from effective counts covers the true share about as often as it says."""
    rng = np.random.default_rng(11)
    naive = corrected = 0
    runs, true = 400, 0.1
    for _ in range(runs):
        # Bad slices come in runs of 12: an hour is bad as a whole, or not at all.
        bad = np.repeat(rng.random(240) < true, 12)
        batches = np.stack([bad.reshape(-1, 12).sum(axis=1), np.full(240, 12)], axis=1)
        spread = dispersion(batches.astype(float))
        for at, phi in enumerate((1.0, spread)):
            k, n = bad.sum() / phi, len(bad) / phi
            low, high = _bounds(k, n)
            hit = low <= true <= high
            naive += hit if at == 0 else 0
            corrected += hit if at == 1 else 0
    assert naive / runs < 0.6
    assert 0.86 <= corrected / runs <= 0.97  # two one-sided bounds of 95 %


def _bounds(bad: float, total: float) -> tuple[float, float]:
    from tocsin.domain.shares import clopper_pearson_lower, clopper_pearson_upper

    return float(clopper_pearson_lower(bad, total)), float(clopper_pearson_upper(bad, total))
