"""Which slice: causes planted in made-up traffic are found, and nothing is found where none is."""

from __future__ import annotations

import doctest
import itertools
import json

import numpy as np
import pytest

from tocsin.assess.breakdown import account, additive, cells, mix, onset, ratio
from tocsin.assess.breakdown.additive import causes
from tocsin.assess.breakdown.cells import Cells
from tocsin.assess.breakdown.mix import mix_shift
from tocsin.assess.breakdown.onset import onset as onset_of
from tocsin.assess.breakdown.ratio import Counts, suspects

NAMES = ("model", "region", "tenant", "release")
SIZES = (4, 5, 12, 3)
GRID = Cells.of({
    name: [f"{name}{code}" for code in column]
    for name, column in zip(
        NAMES, zip(*itertools.product(*map(range, SIZES)), strict=True), strict=True
    )
})  # fmt: skip


@pytest.mark.parametrize("module", [cells, ratio, additive, mix, onset, account], ids=str)
def test_the_examples_in_the_docstrings_hold(module) -> None:
    assert doctest.testmod(module).failed == 0


def where(names: str) -> tuple[tuple[str, str], ...]:
    """ "model1 region2" as a slice."""
    return tuple((part[:-1], part) for part in names.split())


def inside(slice_: tuple[tuple[str, str], ...]) -> np.ndarray:
    member = np.ones(len(GRID), bool)
    for name, value in slice_:
        at = GRID.names.index(name)
        member &= GRID.codes[at] == GRID.values[at].index(value)
    return member


def traffic(seed: int, causes_: dict[str, float], usual: float = 0.01, calls: float = 40) -> Counts:
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 1, len(GRID)) * calls
    now, then = rng.poisson(size), rng.poisson(size * 4)
    share = np.full(len(GRID), usual)
    for slice_, failing in causes_.items():
        share[inside(where(slice_))] = failing
    bad, was = rng.binomial(now, share), rng.binomial(then, usual)
    return Counts(*(part.astype(float) for part in (bad, now, was, then)))


@pytest.mark.parametrize(
    "cause", ["model1", "model1 region2", "region0 release2", "model1 region2 release0"]
)
def test_the_slice_that_fails_is_named_and_nothing_inside_or_around_it(cause: str) -> None:
    right = 0
    for seed in range(10):
        found = suspects(GRID, traffic(seed, {cause: 0.4}))
        right += [set(s.where) for s in found] == [set(where(cause))]
    assert right >= 9


def test_two_causes_are_both_named() -> None:
    found = suspects(GRID, traffic(5, {"model1 region2": 0.4, "tenant3": 0.35}, calls=80))
    assert {frozenset(s.where) for s in found} == {
        frozenset(where("model1 region2")), frozenset(where("tenant3")),
    }  # fmt: skip


def test_a_rise_everywhere_has_no_slice() -> None:
    named = 0
    for seed in range(20):
        counts = traffic(seed, {})
        rng = np.random.default_rng(seed + 100)
        bad = rng.binomial(counts.total.astype(int), 0.3).astype(float)
        named += bool(suspects(GRID, Counts(bad, counts.total, counts.usual_bad,
                                            counts.usual_total)))  # fmt: skip
    assert named <= 1


def test_chance_names_no_slice() -> None:
    """Seven failures among a few hundred calls always fall somewhere."""
    named = sum(bool(suspects(GRID, traffic(seed, {}, calls=1))) for seed in range(100))
    assert named <= 10


def test_a_slice_that_always_failed_more_is_not_what_changed() -> None:
    rng = np.random.default_rng(1)
    size = np.full(len(GRID), 60)
    always, newly = inside(where("tenant3")), inside(where("model1"))
    before = np.where(always, 0.2, 0.01)
    after = np.where(newly & ~always, 0.3, before)
    counts = Counts(*(x.astype(float) for x in (
        rng.binomial(size, after), size, rng.binomial(size * 4, before), size * 4)))  # fmt: skip
    assert suspects(GRID, counts)[0].where == where("model1")


def test_without_a_baseline_slices_are_compared_with_one_another() -> None:
    counts = traffic(3, {"model1 region2": 0.4})
    assert suspects(GRID, Counts(counts.bad, counts.total))[0].where == where("model1 region2")


def test_no_bad_calls_no_suspects() -> None:
    nothing = np.zeros(len(GRID))
    assert suspects(GRID, Counts(nothing, nothing + 5)) == ()
    assert suspects(Cells.of({}), Counts(np.zeros(0), np.zeros(0))) == ()


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_causes_of_an_amount_are_found_under_the_noise_of_a_forecast(noise: float) -> None:
    right = 0
    planted = {"model1 region2": 3.0, "tenant3": 0.3}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        f = rng.lognormal(4, 1, len(GRID))
        v = f * np.maximum(1 + noise * rng.standard_normal(len(GRID)), 0)
        for slice_, factor in planted.items():
            v[inside(where(slice_))] *= factor
        found = causes(GRID, v, f)
        right += {frozenset(c.where) for c in found} == {frozenset(where(s)) for s in planted}
    assert right >= 8


def test_noise_alone_has_no_cause() -> None:
    named = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        f = rng.lognormal(3, 1, len(GRID))
        named += bool(causes(GRID, rng.poisson(f).astype(float), f))
        named += bool(causes(GRID, f * rng.lognormal(0, 0.1, len(GRID)), f))
    assert named <= 8


def test_the_overlap_of_two_causes_is_not_a_third() -> None:
    f = np.full(len(GRID), 100.0)
    v = np.where(inside(where("model1")), 10.0, np.where(inside(where("region2")), 40.0, 100.0))
    found = causes(GRID, v, f)
    assert [c.where for c in found] == [where("model1"), where("region2")]
    assert [round(c.factor, 2) for c in found] == [0.1, 0.4]


def test_amounts_must_be_amounts() -> None:
    with pytest.raises(ValueError, match="not negative"):
        causes(GRID, np.full(len(GRID), -1.0), np.ones(len(GRID)))
    with pytest.raises(ValueError, match="one value for each cell"):
        Cells.of({"a": ["x"], "b": []})


def test_slices_of_many_dimensions_fit_in_memory() -> None:
    rng = np.random.default_rng(0)
    wide = Cells.of({f"d{i}": [str(v) for v in rng.integers(0, 400, 2000)] for i in range(4)})
    assert all(cuboid.size <= 2000 * 400 for cuboid in wide.cuboids())
    for cuboid in wide.cuboids():
        assert cuboid.sums(np.ones(2000)).sum() == 2000


def test_a_mix_shift_adds_up_to_the_rise_it_explains() -> None:
    two = Cells.of({"model": ["fast", "slow"]})
    moved = Counts(np.array([10.0, 400]), np.array([1000.0, 1000]), np.array([18.0, 80]),
                   np.array([1800.0, 200]))  # fmt: skip
    shift = mix_shift(two, moved)
    assert shift is not None
    assert (shift.value, round(shift.part, 3)) == ("slow", 1.0)
    assert not suspects(two, moved)
    told = account.ratio_account(two, moved)
    assert told["lines"] == [
        "100% of the rise is who calls, not how they fare: model slow went from 10% to 50% of the"
        " calls"
    ]
    json.dumps(told)


def test_a_rise_of_rates_is_no_mix_shift() -> None:
    assert mix_shift(GRID, traffic(2, {"model1": 0.5})) is None


def test_an_account_of_an_amount_that_moved_as_a_whole_says_so() -> None:
    f = np.full(len(GRID), 100.0)
    told = account.additive_account(GRID, 2 * f, f)
    assert told["lines"] == ["everything moved together, to 2 times what was expected"]
    json.dumps(told)


def test_one_that_rises_while_all_others_fall_is_no_moving_together() -> None:
    f = np.full(len(GRID), 100.0)
    first = GRID.codes[0]
    alone = account.additive_account(GRID, np.where(first == 0, 600.0, 60.0), f)
    assert alone["lines"] == [
        "model model0: 6 times what was expected",
        "everything else: 0.6 times what was expected",
    ]
    rng = np.random.default_rng(8)
    few = Cells.of({"model": [*"abcdef"] * 4, "region": sorted([*"1234"] * 6)})
    moved = np.floor(rng.uniform(80, 120, 24) * np.where(few.codes[0] < 3, 2.0, 0.3))
    apart = account.additive_account(few, moved, np.full(24, 100.0))
    assert apart["slices"] == []
    (line,) = apart["lines"]
    assert line.startswith("parts moved apart, and no slice explains it; by model, times what was")
    assert [float(part.split()[-1]) > 1.0 for part in line.partition(": ")[2].split(", ")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    for usual in (3.0, 30.0, 3000.0):
        f = np.full(len(GRID), usual)
        quiet = [rng.poisson(f).astype(float) for _ in range(100)]
        said = [account.additive_account(GRID, v, f)["lines"] for v in quiet]
        assert sum(map(bool, said)) <= 2, "chance is no movement"


def test_the_onset_is_the_minute_of_the_change() -> None:
    exact = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        total = rng.poisson(40, 75)
        share = np.where(np.arange(75) >= 60, 0.3, 0.02)
        found = onset_of(rng.binomial(total, share), total)
        exact += found is not None and abs(found.index - 60) <= 1
    assert exact >= 19


def test_no_change_no_onset() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        total = rng.poisson(40, 75)
        bursts = rng.gamma(0.5, 2.0, 75)  # not one rate, but no change either
        wrong += onset_of(rng.poisson(0.05 * total * bursts), total) is not None
    assert wrong <= 6
    assert onset_of(np.zeros(10), np.ones(10)) is None
    assert onset_of(np.ones(1), np.ones(1)) is None
