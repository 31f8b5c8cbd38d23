"""Two samples of calls, feature by feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.assess.drift.comparison import (
    Feature,
    categories,
    corrected,
    embeddings,
    missing,
    numbers,
)
from tocsin.domain.samples import Sample, feature_kind

Rows = npt.NDArray[np.intp]
_STRATA = 4  # of prompts by length
MIN_MATCHED = 0.3


def compared(
    names: Sequence[str], reference: Sample, window: Sample, rng: np.random.Generator,
    *, with_missing: bool,
) -> tuple[Feature, ...]:  # fmt: skip
    """Every feature of both samples, p corrected for their number, what moved most first.

    with_missing: also whether the share of calls without a value changed. examples are rows of
    `window`.
    """
    found: list[Feature] = []
    for name in names:
        before, after = (sample.columns.get(name, ()) for sample in (reference, window))
        if with_missing:
            found += _missing(name, before, after, rng)
        found.append(_feature(name, before, after, rng))
    return corrected(found)


def matched(
    reference: Sample, window: Sample, rng: np.random.Generator
) -> tuple[Sample, Sample, float]:
    """Both samples with the same mix of prompts, and the share of the window that is left.

    Calls are put into strata by prompt version and length of the prompt, and of each stratum both
    samples keep equal shares. What differs after that does not come from being asked differently.
    """
    strata = [_strata(sample, _cuts(reference, window)) for sample in (reference, window)]
    counts = [Counter(part) for part in strata]
    sizes = [max(len(part), 1) for part in strata]
    shares = {
        stratum: min(counts[0][stratum] / sizes[0], counts[1][stratum] / sizes[1])
        for stratum in counts[0].keys() & counts[1].keys()
    }
    kept = [
        _chosen(part, {s: int(share * size + 1e-9) for s, share in shares.items()}, rng)
        for part, size in zip(strata, sizes, strict=True)
    ]
    return only(reference, kept[0]), only(window, kept[1]), sum(shares.values())


def only(sample: Sample, rows: Rows | Sequence[int]) -> Sample:
    """These rows of a sample."""
    columns = {name: tuple(column[row] for row in rows) for name, column in sample.columns.items()}
    return Sample(columns, tuple(sample.calls[row] for row in rows))


def _feature(
    name: str, before: Sequence[Any], after: Sequence[Any], rng: np.random.Generator
) -> Feature:
    kind = feature_kind(name)
    known = [row for row, value in enumerate(after) if value is not None]
    held = [value for value in before if value is not None], [after[row] for row in known]
    if kind == "number":
        arrays = [np.array(part, np.float64) for part in held]
        feature = numbers(name, arrays[0], arrays[1], rng)
    elif kind == "category":
        labels = sorted({*held[0], *held[1]})
        at = {label: code for code, label in enumerate(labels)}
        codes = [np.array([at[value] for value in part], np.intp) for part in held]
        feature = categories(name, codes[0], codes[1], labels, rng)
    else:
        return _vectors(name, held[0], held[1], known, rng)
    return replace(feature, examples=tuple(known[row] for row in feature.examples))


def _vectors(
    name: str, before: Sequence[Any], after: Sequence[Any], known: Sequence[int],
    rng: np.random.Generator,
) -> Feature:  # fmt: skip
    """Vectors of the usual length; another one is another model, and cannot be compared."""
    widths = Counter(len(value) for value in after)
    width = widths.most_common(1)[0][0] if widths else 0
    kept = [row for row, value in enumerate(after) if len(value) == width]
    fitting = [value for value in before if len(value) == width]
    if before and not fitting:
        reason = f"vectors have {width} dimensions now; the embedding model was exchanged"
        return Feature(name, "embedding", (len(before), len(kept)), unknown=reason)
    return embeddings(
        name, np.array(fitting, np.float64).reshape(len(fitting), width),
        np.array([after[row] for row in kept], np.float64).reshape(len(kept), width), rng,
        rows=np.array([known[row] for row in kept], np.intp),
    )  # fmt: skip


def _missing(
    name: str, before: Sequence[Any], after: Sequence[Any], rng: np.random.Generator
) -> Iterator[Feature]:
    gone = [np.array([value is None for value in part], np.bool_) for part in (before, after)]
    if all(part.size for part in gone) and any(part.any() for part in gone):
        yield missing(name, gone[0], gone[1], rng)


def _cuts(reference: Sample, window: Sample) -> npt.NDArray[np.float64]:
    """Lengths of prompts that cut both samples together into equal parts."""
    known = [
        float(value)
        for sample in (reference, window)
        for value in sample.columns.get("input_tokens", ())
        if value is not None
    ]
    return np.quantile(known, np.arange(1, _STRATA) / _STRATA) if known else np.zeros(0)


def _strata(sample: Sample, cuts: npt.NDArray[np.float64]) -> list[tuple[str, int]]:
    versions = sample.columns.get("prompt_version") or (None,) * len(sample)
    lengths = sample.columns.get("input_tokens") or (None,) * len(sample)
    return [
        (version or "", -1 if length is None else int(np.searchsorted(cuts, float(length))))
        for version, length in zip(versions, lengths, strict=True)
    ]


def _chosen(
    strata: Sequence[tuple[str, int]], wanted: dict[tuple[str, int], int],
    rng: np.random.Generator,
) -> list[int]:  # fmt: skip
    left, rows = dict(wanted), []
    for row in rng.permutation(len(strata)):
        if left.get(strata[row], 0) > 0:
            left[strata[row]] -= 1
            rows.append(int(row))
    return sorted(rows)
