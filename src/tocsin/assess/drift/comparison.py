"""Two samples of a feature, compared by everything that suits its kind; and of many features, which
ones drifted.

One statistic of each kind decides (`PRIMARY`), chosen before looking; the others are told beside
it. Deciding by the most extreme of five would be five chances of a false alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from tocsin.assess.drift.centroid import centroid
from tocsin.assess.drift.chi_square import chi_square
from tocsin.assess.drift.clusters import Clustered, cluster_shares
from tocsin.assess.drift.counts import (
    LEVEL,
    Binned,
    Floats,
    Measured,
    Statistic,
    binned_codes,
    binned_numbers,
    coarser,
    dealt,
    measured,
)
from tocsin.assess.drift.energy import energy
from tocsin.assess.drift.jensen_shannon import jensen_shannon
from tocsin.assess.drift.kolmogorov_smirnov import kolmogorov_smirnov
from tocsin.assess.drift.multiplicity import benjamini_hochberg
from tocsin.assess.drift.psi import psi
from tocsin.assess.drift.total_variation import total_variation
from tocsin.assess.drift.wasserstein import wasserstein

Kind = Literal["number", "category", "embedding", "missing"]
PRIMARY: Mapping[Kind, str] = {
    "number": "ks", "category": "chi_square", "embedding": "centroid", "missing": "chi_square",
}  # fmt: skip
COARSE = 10
MOST_MOVED = 3
MIN_ROWS = 20


@dataclass(frozen=True)
class Feature:
    """One feature of two samples.

    rows: known values of the reference and of the window. statistics: by name. moved: what changed,
    in words. examples: rows of the window that it changed by. adjusted: p of the deciding
    statistic, corrected for the number of features. unknown: why nothing can be said, or "". share:
    how much of the window moved: KS of numbers, total variation of categories and clusters.
    """

    name: str
    kind: Kind
    rows: tuple[int, int]
    statistics: Mapping[str, Measured] = field(default_factory=dict)
    moved: tuple[str, ...] = ()
    examples: tuple[int, ...] = ()
    adjusted: float | None = None
    unknown: str = ""
    share: float = 0.0

    @property
    def primary(self) -> Measured | None:
        """The statistic that decides, None when nothing can be said."""
        return self.statistics.get(PRIMARY[self.kind])

    def drifted(self, level: float = LEVEL) -> bool:
        """Whether it counts as a discovery among all features."""
        return self.adjusted is not None and self.adjusted <= level


def numbers(
    name: str, reference: Floats, window: Floats, rng: np.random.Generator, level: float = LEVEL
) -> Feature:
    """PSI, Jensen-Shannon, Kolmogorov-Smirnov and Wasserstein of known values [row].

    KS decides: it needs no bins and no unit.
    """
    rows = (len(reference), len(window))
    if min(rows) < MIN_ROWS:
        return _too_few(name, "number", rows)
    pair = binned_numbers(reference, window)
    null = dealt(pair, rng)
    assert pair.centres is not None  # noqa: S101 (numbers have centres)
    shapes: Mapping[str, Statistic] = {
        "psi": lambda p, q: psi(coarser(p, COARSE), coarser(q, COARSE)),
        "jensen_shannon": lambda p, q: jensen_shannon(coarser(p, COARSE), coarser(q, COARSE)),
        "ks": kolmogorov_smirnov,
        "wasserstein": wasserstein(pair.centres),
    }
    found = {stat: measured(pair, shape, null, level) for stat, shape in shapes.items()}
    moved, examples = _moved_numbers(pair, reference, window)
    share = found["ks"].value
    return Feature(name, "number", rows, found, moved, examples, share=share)


def categories(
    name: str, reference: npt.NDArray[np.intp], window: npt.NDArray[np.intp],
    labels: Sequence[str], rng: np.random.Generator, level: float = LEVEL,
    kind: Kind = "category",
) -> Feature:  # fmt: skip
    """Chi-square, PSI and Jensen-Shannon of codes [row] of `labels`. Chi-square decides."""
    rows = (len(reference), len(window))
    if min(rows) < MIN_ROWS:
        return _too_few(name, kind, rows)
    pair = binned_codes(reference, window, tuple(labels))
    null = dealt(pair, rng)
    shapes: Mapping[str, Statistic] = {
        "chi_square": chi_square, "psi": psi, "jensen_shannon": jensen_shannon
    }  # fmt: skip
    found = {stat: measured(pair, shape, null, level) for stat, shape in shapes.items()}
    before, after = pair.reference / rows[0], pair.window / rows[1]
    order = np.argsort(-np.abs(after - before), kind="stable")[:MOST_MOVED]
    moved = tuple(_change(labels[n], before[n], after[n]) for n in order if after[n] != before[n])
    grown = int(np.argmax(after - before))
    share = float(total_variation(pair.reference.astype(float), pair.window.astype(float)))
    return Feature(name, kind, rows, found, moved, _first(window == grown), share=share)


def missing(
    name: str, reference: npt.NDArray[np.bool_], window: npt.NDArray[np.bool_],
    rng: np.random.Generator, level: float = LEVEL,
) -> Feature:  # fmt: skip
    """Whether the share of unknown values changed. reference, window: [row], True is unknown."""
    before, after = reference.astype(np.intp), window.astype(np.intp)
    named = f"{name} (missing)"
    return categories(named, before, after, ("known", "missing"), rng, level, "missing")


def embeddings(
    name: str, reference: Floats, window: Floats, rng: np.random.Generator, level: float = LEVEL,
    *, texts: Sequence[str] = (), rows: npt.NDArray[np.intp] | None = None,
) -> Feature:  # fmt: skip
    """Centroid, energy and MMD distances and cluster shares of vectors [row, dimension].

    The centroid distance decides: on sentences it finds a new topic as well as any other, and it is
    the one that looks at every row. texts: of the window, to show examples by. rows: what its rows
    are called. ValueError when the two samples have different dimensions.
    """
    sizes = (len(reference), len(window))
    if min(sizes) < MIN_ROWS:
        return _too_few(name, "embedding", sizes)
    if reference.shape[1] != window.shape[1]:
        raise ValueError(
            f"{name}: vectors of {reference.shape[1]} and of {window.shape[1]} dimensions cannot be"
            " compared; was the embedding model exchanged?"
        )
    clustered = cluster_shares(reference, window, rng, level=level)
    found = {
        "centroid": centroid(reference, window, rng, level),
        "energy": energy(reference, window, rng, "energy", level),
        "mmd": energy(reference, window, rng, "mmd", level),
        "clusters": clustered.measured,
    }
    called = np.arange(sizes[1]) if rows is None else rows
    moved, examples = _moved_clusters(clustered, texts, called)
    share = float(total_variation(clustered.reference, clustered.window))
    return Feature(name, "embedding", sizes, found, moved, examples, share=share)


def corrected(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """The features with p adjusted for how many there are, those that moved most first."""
    known = [(n, f.primary.p) for n, f in enumerate(features) if f.primary is not None]
    adjusted = dict(
        zip((n for n, _ in known), benjamini_hochberg([p for _, p in known]), strict=True)
    )
    made = [
        replace(feature, adjusted=float(adjusted[n]) if n in adjusted else None)
        for n, feature in enumerate(features)
    ]
    return tuple(sorted(made, key=lambda f: (f.adjusted is None, f.adjusted, _height(f))))


def _height(feature: Feature) -> float:
    """Of features that are equally certain: how far above its threshold a statistic is."""
    primary = feature.primary
    return -primary.value / primary.threshold if primary and primary.threshold else 0.0


def _too_few(name: str, kind: Kind, rows: tuple[int, int]) -> Feature:
    reason = f"{rows[0]:,} and {rows[1]:,} values; {MIN_ROWS} of each are needed"
    return Feature(name, kind, rows, unknown=reason)


def _moved_numbers(
    pair: Binned, reference: Floats, window: Floats
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The values at which the distributions are furthest apart, and rows beyond it."""
    below, above = (counts.cumsum() / counts.sum() for counts in (pair.reference, pair.window))
    at = int(np.argmax(np.abs(above - below)))
    edges = pair.edges
    if edges is None or at >= len(edges) or below[at] == above[at]:
        return (), ()
    middles = np.median(reference), np.median(window)
    grew = above[at] < below[at]  # less of the window lies below: its values are larger
    beyond = window > edges[at] if grew else window <= edges[at]
    before, after = (1 - below[at], 1 - above[at]) if grew else (below[at], above[at])
    where = f"{'above' if grew else 'up to'} {edges[at]:.4g}"
    lines = (f"median {middles[0]:.4g} -> {middles[1]:.4g}", _change(where, before, after))
    return lines, _first(beyond)


def _moved_clusters(
    found: Clustered, texts: Sequence[str], called: npt.NDArray[np.intp]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Clusters that grew most, with an example each; rows of the one that grew most of all."""
    order = np.argsort(found.reference - found.window, kind="stable")[:MOST_MOVED]
    lines = []
    for n in order:
        if found.window[n] <= found.reference[n]:
            continue
        nearest = int(found.nearest[n][0])
        shown = f'like "{texts[nearest][:80]}"' if texts else f"around row {called[nearest] + 1}"
        lines.append(_change(shown, found.reference[n], found.window[n]))
    rows = tuple(int(called[row]) for row in found.nearest[order[0]] if row >= 0)
    return tuple(lines), rows


def _first(which: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(row) for row in np.flatnonzero(which)[:MOST_MOVED])


def _change(what: str, before: float, after: float) -> str:
    return f"{what}: {before:.2%} -> {after:.2%}"
