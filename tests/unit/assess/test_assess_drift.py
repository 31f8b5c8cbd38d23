"""Drift: values as published ones, false alarms as promised at every window size, and power."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tocsin.assess.drift import comparison, counts
from tocsin.assess.drift.centroid import centroid
from tocsin.assess.drift.chi_square import chi_square
from tocsin.assess.drift.comparison import categories, corrected, embeddings, missing, numbers
from tocsin.assess.drift.counts import binned_numbers, dealt
from tocsin.assess.drift.energy import energy
from tocsin.assess.drift.jensen_shannon import jensen_shannon
from tocsin.assess.drift.kolmogorov_smirnov import kolmogorov_smirnov
from tocsin.assess.drift.multiplicity import benjamini_hochberg
from tocsin.assess.drift.wasserstein import wasserstein

MODULES = (
    "psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein", "chi_square", "centroid",
    "energy", "clusters", "words", "multiplicity", "total_variation",
)  # fmt: skip
LOOKS = 100


@pytest.mark.parametrize("name", MODULES)
def test_the_example_in_the_docstring_holds(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"tocsin.assess.drift.{name}"))
    assert found.attempted
    assert not found.failed


def sample(seed: int, n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.poisson(5, n).astype(float), rng.poisson(6, n + 20).astype(float)


def test_statistics_are_those_of_scipy() -> None:
    a, b = sample(0)
    pair = binned_numbers(a, b)
    p, q = pair.reference.astype(float), pair.window.astype(float)
    assert kolmogorov_smirnov(p, q) == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert pair.centres is not None
    assert wasserstein(pair.centres)(p, q) == pytest.approx(stats.wasserstein_distance(a, b))
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2))
    told = stats.chi2_contingency(np.stack([p, q]), correction=False)
    assert chi_square(p, q) == pytest.approx(told.statistic)


def test_p_is_that_of_the_exact_test_where_there_is_one() -> None:
    a, b = np.arange(30.0), np.arange(30.0) + 4.5  # no ties: KS has an exact distribution
    rng = np.random.default_rng(1)
    found = numbers("x", a, b, rng).statistics["ks"]
    assert found.p == pytest.approx(stats.ks_2samp(a, b, method="exact").pvalue, abs=0.02)
    codes = [np.repeat([0, 1], (40, 10)), np.repeat([0, 1], (25, 20))]
    table = [[40, 10], [25, 20]]
    told = categories("c", codes[0], codes[1], ("u", "v"), rng).statistics["chi_square"]
    assert told.p == pytest.approx(stats.fisher_exact(table).pvalue, abs=0.02)


def test_bins_of_many_values_hold_equal_parts_and_lose_no_row() -> None:
    rng = np.random.default_rng(2)
    pair = binned_numbers(rng.normal(size=5000), rng.normal(size=700))
    pooled = pair.reference + pair.window
    assert pair.reference.sum() == 5000
    assert pair.window.sum() == 700
    assert len(pooled) == counts.MOST_BINS
    assert pooled.max() - pooled.min() <= 1
    same = binned_numbers(np.full(30, 7.0), np.full(40, 7.0))
    assert (same.reference.tolist(), same.window.tolist()) == ([30], [40])


def test_dealing_out_keeps_every_value() -> None:
    pair = binned_numbers(*sample(3))
    p, q = dealt(pair, np.random.default_rng(0), draws=50)
    assert (p + q == pair.reference + pair.window).all()
    assert (q.sum(axis=1) == pair.window.sum()).all()


def alarms(looks: int, compare) -> float:
    """The share of looks without drift in which the deciding statistic alarms."""
    found = [compare(np.random.default_rng(1000 + seed)) for seed in range(looks)]
    return sum(f.primary.p <= 0.05 for f in found) / looks


@pytest.mark.parametrize("window", [50, 200, 1000, 5000])
def test_false_alarms_of_columns_are_as_promised_at_every_window(window: int) -> None:
    def number(rng: np.random.Generator):
        return numbers("x", rng.lognormal(size=2000), rng.lognormal(size=window), rng)

    def tokens(rng: np.random.Generator):
        a, b = rng.poisson(3, 2000), rng.poisson(3, window)
        return numbers("x", a.astype(float), b.astype(float), rng)

    def rare(rng: np.random.Generator):
        p = 1 / np.arange(1, 61)
        a, b = (rng.choice(60, size, p=p / p.sum()) for size in (2000, window))
        return categories("c", a, b, [str(n) for n in range(60)], rng)

    for compare in (number, tokens, rare):
        assert 0.01 <= alarms(LOOKS, compare) <= 0.10, compare


def sentences(rng: np.random.Generator, n: int, new: float = 0.0, width: int = 48) -> np.ndarray:
    """Vectors like those of sentences: topics that overlap, unit length."""
    topics = np.random.default_rng(7).normal(size=(13, width))
    topic = rng.integers(0, 12, n)
    topic[: round(new * n)] = 12
    rows = topics[topic] * 0.5 + rng.normal(size=(n, width))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize("window", [50, 500, 5000])
def test_false_alarms_of_the_centroid_are_as_promised_at_every_window(window: int) -> None:
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found += centroid(sentences(rng, 1000), sentences(rng, window), rng).p <= 0.05
    assert 1 <= found <= 10


def test_false_alarms_of_energy_and_mmd_are_as_promised() -> None:
    found = np.zeros(2)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        a, b = sentences(rng, 150), sentences(rng, 80)
        found += [energy(a, b, rng, kind).p <= 0.05 for kind in ("energy", "mmd")]  # type: ignore[arg-type]
    assert (found <= 7).all()


def test_a_new_topic_of_a_tenth_of_the_traffic_is_found_and_shown() -> None:
    found, named = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        feature = embeddings("e", sentences(rng, 2000), sentences(rng, 500, new=0.1), rng)
        found += feature.primary is not None and feature.primary.p <= 0.05
        named += sum(row < 50 for row in feature.examples) >= 2  # the new ones come first
    assert found >= 18
    assert named >= 13


def test_what_a_mean_does_not_see_energy_does() -> None:
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(size=(300, 5)), rng.normal(0, 1.6, size=(300, 5))
    assert centroid(narrow, wide, rng).p > 0.01
    assert energy(narrow, wide, rng).p < 0.01


def test_a_shift_says_where_and_names_rows() -> None:
    rng = np.random.default_rng(4)
    usual = rng.normal(100, 5, 1000)
    now = np.where(np.arange(400) % 4 == 0, 300.0, rng.normal(100, 5, 400))
    feature = numbers("tokens", usual, now, rng)
    assert feature.moved[1].startswith("above 11")
    assert 0.25 <= float(feature.moved[1].split()[-1].rstrip("%")) / 100 <= 0.27
    assert all(row % 4 == 0 for row in feature.examples)


def test_few_values_are_unknown_and_not_fine() -> None:
    rng = np.random.default_rng(0)
    feature = corrected([numbers("x", np.ones(500), np.ones(5), rng)])[0]
    assert feature.primary is None
    assert not feature.drifted()
    assert feature.unknown == "500 and 5 values; 20 of each are needed"


def test_a_share_of_missing_values_that_rose_is_drift() -> None:
    rng = np.random.default_rng(0)
    feature = missing("cost", np.arange(1000) % 50 == 0, np.arange(500) % 5 == 0, rng)
    assert feature.name == "cost (missing)"
    assert feature.primary is not None
    assert feature.primary.p < 0.01


def test_embeddings_of_two_models_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="was the embedding model exchanged"):
        embeddings("e", np.ones((30, 4)), np.ones((30, 5)), rng)


def test_many_columns_cry_wolf_no_more_often_than_one() -> None:
    alarmed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        p = rng.random(50)
        alarmed += bool((benjamini_hochberg(p) <= 0.05).any())
    assert 1 <= alarmed <= 11
    told = stats.false_discovery_control([0.01, 0.02, 0.03, 0.2, 0.9])
    assert benjamini_hochberg([0.01, 0.02, 0.03, 0.2, 0.9]) == pytest.approx(told)


def test_every_kind_has_a_statistic_that_decides() -> None:
    assert set(comparison.PRIMARY) == {"number", "category", "embedding", "missing"}
