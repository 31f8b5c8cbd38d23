"""`tocsin drift REFERENCE CURRENT`: every column of two files, compared as what it holds."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.assess.drift.comparison import (
    PRIMARY,
    Feature,
    categories,
    corrected,
    embeddings,
    missing,
    numbers,
)
from tocsin.assess.drift.counts import LEVEL
from tocsin.assess.drift.words import word_vectors
from tocsin.domain.errors import Problem, SpecError
from tocsin.engine.columns import read_table
from tocsin.engine.embedder import LocalModel

Floats = npt.NDArray[np.float64]
Holds = Literal["number", "category", "text", "embedding", "identifier", "time"]

MOST_TEXTS = 4000  # of each file: words are counted in Python
MOST_CATEGORIES = 200
_SPACES = 2  # a text has this many on average, a label has not


@dataclass(frozen=True)
class DriftReport:
    """What became of every column. schema: columns that came, went or changed their kind. skipped:
    column -> why it was not compared."""

    rows: tuple[int, int]
    level: float
    features: tuple[Feature, ...]
    schema: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def drifted(self) -> tuple[Feature, ...]:
        """The features that drifted."""
        return tuple(feature for feature in self.features if feature.drifted(self.level))

    @property
    def verdict(self) -> Literal["drift", "no drift", "unknown"]:
        """Drift in a feature or in the schema; unknown when nothing could be compared."""
        if self.drifted or self.schema:
            return "drift"
        known = any(not feature.unknown for feature in self.features)
        return "no drift" if known else "unknown"

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "verdict": self.verdict,
            "level": self.level,
            "rows": {"reference": self.rows[0], "current": self.rows[1]},
            "drifted": [feature.name for feature in self.drifted],
            "schema": list(self.schema),
            "features": [_as_json(feature, self.level) for feature in self.features],
            "skipped": dict(self.skipped),
        }


def drift_of_files(
    reference: Path, current: Path, *, columns: Sequence[str] = (), level: float = LEVEL,
    seed: int = 0, embed: Path | None = None,
) -> DriftReport:  # fmt: skip
    """Compare two files column by column. columns: only these; all by default. embed: the folder of
    a model on this machine, which tells what texts mean.

    NoModel for a folder without one; SpecError for a file that cannot be read, a column that
    neither has, and two files without a common one.
    """
    tables = read_table(reference), read_table(current)
    for path, table in zip((reference, current), tables, strict=True):
        if not table.num_rows:
            raise _bad(path, "has no rows")
    model = None if embed is None else LocalModel(embed)
    return drift_of_tables(*tables, current, columns=columns, level=level, seed=seed, model=model)


def drift_of_tables(
    reference: pa.Table, current: pa.Table, path: Path, *, columns: Sequence[str] = (),
    level: float = LEVEL, seed: int = 0, model: LocalModel | None = None,
) -> DriftReport:  # fmt: skip
    """As `drift_of_files`; `path` stands in messages."""
    known = dict.fromkeys([*reference.column_names, *current.column_names])
    for name in columns:
        if name not in known:
            raise _bad(path, f"no column {name!r}", f"there are {', '.join(known)}")
    schema: list[str] = []
    skipped: dict[str, str] = {}
    features: list[Feature] = []
    for name in columns or known:
        if name not in current.column_names:
            schema.append(f"column {name} is gone")
        elif name not in reference.column_names:
            schema.append(f"column {name} is new")
        else:
            # Each column its own stream: what is found does not depend on what else is compared.
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            features += _column(
                _Pair(name, reference[name], current[name], path, level, model),
                rng,
                schema,
                skipped,
            )
    if not (set(reference.column_names) & set(current.column_names) & set(columns or known)):
        fix = "the first line of each names its columns, by the same names"
        raise _bad(path, "the two files have no column in common", fix)
    rows = reference.num_rows, current.num_rows
    return DriftReport(rows, level, corrected(features), tuple(schema), skipped)


@dataclass(frozen=True)
class _Pair:
    """One column of both files."""

    name: str
    reference: pa.ChunkedArray
    current: pa.ChunkedArray
    path: Path
    level: float
    model: LocalModel | None = None


def _column(
    pair: _Pair, rng: np.random.Generator, schema: list[str], skipped: dict[str, str]
) -> list[Feature]:
    pair = _typed(pair)
    before, after = (_holds(column) for column in (pair.reference, pair.current))
    if "category" in (before, after) and {before, after} <= {"category", "text", "identifier"}:
        before = after = "category" if before == "category" else before
    if before != after:
        schema.append(f"column {pair.name} held {_article(before)} and holds {_article(after)}")
        return []
    if before in ("identifier", "time"):
        skipped[pair.name] = (
            "times always move on" if before == "time" else "nearly every value is its own"
        )
        return []
    found: list[Feature] = []
    nulls = [_nulls(column) for column in (pair.reference, pair.current)]
    if any(part.any() for part in nulls):
        found.append(missing(pair.name, nulls[0], nulls[1], rng, pair.level))
    held = [column.filter(pa.array(~gone)) for column, gone in
            zip((pair.reference, pair.current), nulls, strict=True)]  # fmt: skip
    compare = {
        "number": _numbers, "category": _categories, "text": _texts, "embedding": _embeddings,
    }[before]  # fmt: skip
    known = np.flatnonzero(~nulls[1])
    made = compare(pair, held[0], held[1], rng)
    return [
        *found,
        *(replace(f, examples=tuple(int(known[row]) for row in f.examples)) for f in made),
    ]


def _typed(pair: _Pair) -> _Pair:
    """Where nothing at all is known in one file, its values are missing, of the other's kind."""
    kinds = pair.reference.type, pair.current.type
    if pa.types.is_null(kinds[0]) == pa.types.is_null(kinds[1]):
        return pair
    if pa.types.is_null(kinds[0]):
        return replace(pair, reference=pc.cast(pair.reference, kinds[1]))
    return replace(pair, current=pc.cast(pair.current, kinds[0]))


def _numbers(
    pair: _Pair, before: pa.ChunkedArray, after: pa.ChunkedArray, rng: np.random.Generator
) -> list[Feature]:
    values = [np.asarray(pc.cast(c, pa.float64()).to_numpy()) for c in (before, after)]
    return [numbers(pair.name, values[0], values[1], rng, pair.level)]


def _categories(
    pair: _Pair, before: pa.ChunkedArray, after: pa.ChunkedArray, rng: np.random.Generator
) -> list[Feature]:
    both = pa.chunked_array([*_strings(before).chunks, *_strings(after).chunks], pa.string())
    coded = both.combine_chunks().dictionary_encode()
    codes = np.asarray(coded.indices, dtype=np.intp)
    labels = tuple(coded.dictionary.to_pylist())
    split = len(before)
    return [categories(pair.name, codes[:split], codes[split:], labels, rng, pair.level)]


def _texts(
    pair: _Pair, before: pa.ChunkedArray, after: pa.ChunkedArray, rng: np.random.Generator
) -> list[Feature]:
    """A text drifts in its length, in its words, or, with a model that embeds it, its meaning."""
    lengths = [
        np.asarray(pc.utf8_length(_strings(c)).to_numpy(), dtype=np.float64)
        for c in (before, after)
    ]
    texts, vectors, chosen = [], [], []
    for column in (before, after):
        rows = _some(len(column), rng)
        texts.append([str(text) for text in _strings(column).take(pa.array(rows)).to_pylist()])
        vectors.append(_meant(texts[-1], pair.model))
        chosen.append(rows)
    told = "words" if pair.model is None else "meaning"
    return [
        numbers(f"{pair.name} (length)", lengths[0], lengths[1], rng, pair.level),
        embeddings(f"{pair.name} ({told})", vectors[0], vectors[1], rng, pair.level,
                   texts=texts[1], rows=chosen[1]),
    ]  # fmt: skip


def _meant(texts: Sequence[str], model: LocalModel | None) -> Floats:
    """Vectors of texts: of a model, or of their words."""
    return word_vectors(texts) if model is None else model.vectors(texts).astype(np.float64)


def _embeddings(
    pair: _Pair, before: pa.ChunkedArray, after: pa.ChunkedArray, rng: np.random.Generator
) -> list[Feature]:
    vectors = [_matrix(c, pair) for c in (before, after)]
    try:
        return [embeddings(pair.name, vectors[0], vectors[1], rng, pair.level)]
    except ValueError as error:
        raise _bad(pair.path, str(error)) from None


def _holds(column: pa.ChunkedArray) -> Holds:
    """What a column holds, by its type and by what its values look like."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return "category"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_temporal(kind):
        return "time"
    if _is_list(kind):
        return "embedding"
    if pa.types.is_null(kind):
        return "category"
    texts = pc.drop_null(_strings(column))
    if not len(texts):
        return "category"
    if _written(texts[0].as_py()) is not None:
        return "embedding"
    distinct = pc.count_distinct(texts).as_py()
    if distinct <= max(MOST_CATEGORIES, 0.05 * len(texts)) and distinct < 0.5 * len(texts):
        return "category"
    spaces = pc.mean(pc.count_substring(texts, " ")).as_py() or 0.0
    if spaces >= _SPACES:
        return "text"
    return "identifier" if distinct > 0.5 * len(texts) and distinct > 20 else "category"


def _article(holds: Holds) -> str:
    return {
        "number": "numbers", "category": "categories", "text": "texts", "embedding": "vectors",
        "identifier": "identifiers", "time": "times",
    }[holds]  # fmt: skip


def _nulls(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which values are unknown: empty, not a number, or infinite."""
    gone = pc.is_null(column)
    if pa.types.is_floating(column.type):
        gone = pc.or_(gone, pc.invert(pc.fill_null(pc.is_finite(column), False)))
    return np.asarray(gone.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())


def _some(count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Places of at most MOST_TEXTS of `count` texts, by chance."""
    if count <= MOST_TEXTS:
        return np.arange(count)
    return np.sort(rng.choice(count, MOST_TEXTS, replace=False))


def _matrix(column: pa.ChunkedArray, pair: _Pair) -> Floats:
    """A column of vectors as [row, dimension]; SpecError names the first of another length."""
    if not _is_list(column.type):
        rows: list[Any] = [_written(text) for text in column.to_pylist()]
    else:
        whole = column.combine_chunks()
        sizes = np.asarray(pc.list_value_length(whole))
        if len(sizes) and (sizes == sizes[0]).all():
            flat = np.asarray(pc.cast(whole.flatten(), pa.float32()).to_numpy(False))
            return _finite(flat.reshape(len(sizes), -1), pair)
        rows = column.to_pylist()
    width = len(rows[0] or ()) if rows else 0
    for number, row in enumerate(rows):
        if row is None or len(row) != width:
            raise _bad(
                pair.path, f"{pair.name}: vector {number + 1} has not {width} numbers",
                "vectors of one column have one length",
            )  # fmt: skip
    return _finite(np.asarray(rows, dtype=np.float32), pair)


def _finite(rows: npt.NDArray[np.float32], pair: _Pair) -> Floats:
    wrong = ~np.isfinite(rows).all(axis=1)
    if wrong.any():
        raise _bad(pair.path, f"{pair.name}: vector {int(np.argmax(wrong)) + 1} is not finite")
    return rows  # type: ignore[return-value]


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _written(text: str | None) -> list[float] | None:
    """The vector that CSV text spells as a JSON array, None if it does not."""
    if not text or not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    numeric = isinstance(found, list) and found and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in found
    )  # fmt: skip
    return found if numeric else None


def _as_json(feature: Feature, level: float) -> dict[str, Any]:
    return {
        "name": feature.name,
        "kind": feature.kind,
        "rows": {"reference": feature.rows[0], "current": feature.rows[1]},
        "drifted": feature.drifted(level) if not feature.unknown else None,
        "statistic": PRIMARY[feature.kind],
        "p": feature.primary.p if feature.primary else None,
        "adjusted_p": feature.adjusted,
        "statistics": {
            name: {"value": found.value, "threshold": found.threshold, "p": found.p}
            for name, found in feature.statistics.items()
        },
        "moved": list(feature.moved),
        "examples": [row + 1 for row in feature.examples],
        "unknown": feature.unknown or None,
    }


def _bad(path: Path, message: str, fix: str = "") -> SpecError:
    return SpecError([Problem(str(path), 0, "", message, fix)])
