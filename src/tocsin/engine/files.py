"""What a backtest reads instead of a database: counts per minute, or single calls.

Two shapes of file, told apart by their columns; Parquet, CSV and JSON Lines alike:

    counts  a time, and two of good, bad and total; see `tocsin.engine.counts`
    calls   ts, service [, kind, model, duration_ms, ttft_ms, input_tokens, output_tokens, cost_usd,
            error_class, truncated, documents, and whatever conditions of indicators speak of]

Columns of calls may have any name that an import knows, and failures any word
(`tocsin.engine.call_columns`). Calls count as `tocsin.store.minutes` counts them. `documents` is
how many a retriever found. A call counts in the minute in which it ended, `ts` + `duration_ms`, as
in the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.domain.buckets import LATENCY, PACE, pace_us
from tocsin.domain.calls import SYSTEM_FAILURES
from tocsin.domain.expressions import Expression, Field
from tocsin.domain.samples import Sample, Wish
from tocsin.domain.series import (
    EACH,
    MOST_SHARES,
    SHARE,
    Change,
    MinuteBlock,
    Ratio,
    SeriesId,
)
from tocsin.engine import predicates
from tocsin.engine.call_columns import in_words_of_the_store
from tocsin.engine.columns import Floats, Ints, floats, micros_of, read_table, texts, unusable
from tocsin.engine.counts import CountsFile
from tocsin.engine.file_totals import totals
from tocsin.intake.columns import ALIASES

Mask = npt.NDArray[np.bool_]

_NUMBERS = (
    "duration_ms", "ttft_ms", "cost_usd", "input_tokens", "output_tokens", "documents",
)  # fmt: skip

_ANSWERED_ONLY = {
    "latency": "duration_ms", "latency_ms": "duration_ms", "ttft": "ttft_ms", "ttft_ms": "ttft_ms",
}  # fmt: skip
_SUMS = {"total_tokens": ("input_tokens", "output_tokens"), "elapsed": ("duration_ms",)}


def open_source(path: Path) -> CountsFile | CallsFile:
    """A MinuteSource over `path`, by its columns; SpecError names what is missing."""
    table = read_table(path)
    try:
        if len(set(table.column_names)) < table.num_columns:
            raise unusable(path, "a column appears more than once", fix="rename all but one")
        if CountsFile.fits(table):
            return CountsFile.of(table, path)
        if CallsFile.fits(table):
            return CallsFile.of(table, path)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise unusable(path, f"a column is not of its kind: {error}") from None
    raise unusable(
        path,
        f"columns {', '.join(table.column_names)}",
        fix="needs minute, service, good, bad (counts) or ts, service, ... (calls)",
    )


@dataclass(frozen=True)
class CallsFile:
    """One row per call, in columns; NaN where a value is unknown.

    path: the file. read: words of it for failures, and the classes they were taken for.
    """

    minute: Ints
    service: npt.NDArray[np.object_]
    kind: npt.NDArray[np.object_]
    model: npt.NDArray[np.object_]
    numbers: Mapping[str, Floats]
    error: Mask
    failed: Mask
    truncated: Mask
    table: pa.Table
    path: Path
    read: Mapping[str, str]

    @classmethod
    def fits(cls, table: pa.Table) -> bool:
        """Whether a table says of every row when it was and of which service."""
        return {"ts", "service"} <= {ALIASES.get(name, name) for name in table.column_names}

    @classmethod
    def of(cls, table: pa.Table, path: Path) -> CallsFile:
        """Reads what columns there are; a missing one is unknown for every call."""
        table, read = in_words_of_the_store(table, path)
        rows = table.num_rows
        errors = texts(table, "error_class") if "error_class" in table.column_names else None
        error = np.zeros(rows, np.bool_) if errors is None else errors != ""
        failed = np.zeros(rows, np.bool_)
        if errors is not None:
            failed = np.isin(errors.astype(str), sorted(SYSTEM_FAILURES))
        truncated = np.zeros(rows, np.bool_)
        if "truncated" in table.column_names:
            truncated = np.asarray(pc.fill_null(table["truncated"], False), dtype=np.bool_)
        kinds, nameless = np.full(rows, "llm", dtype=object), np.full(rows, "", dtype=object)
        everything = cls(
            minute=_ended(table, path),
            service=texts(table, "service"),
            kind=texts(table, "kind") if "kind" in table.column_names else kinds,
            model=texts(table, "model") if "model" in table.column_names else nameless,
            numbers={name: floats(table, name, path) for name in _NUMBERS},
            error=np.asarray(error, dtype=np.bool_),
            failed=np.asarray(failed | truncated, dtype=np.bool_),
            truncated=truncated,
            table=table,
            path=path,
            read=read,
        )
        return everything._rows(np.argsort(everything.minute, kind="stable"))

    @property
    def span(self) -> tuple[int, int]:
        """First minute, and the minute after the last."""
        return (int(self.minute.min()), int(self.minute.max()) + 1) if self.minute.size else (0, 0)

    @property
    def services(self) -> tuple[str, ...]:
        """Every service it has calls of, the one with the most first."""
        return tuple(name for name, _ in Counter(self.service.tolist()).most_common())

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """As `MinuteSource.minutes`."""
        a, b = np.searchsorted(self.minute, (start, stop))
        part = self._rows(slice(int(a), int(b)))
        wanted = dict(part._each(monitored))
        shape = (len(wanted), stop - start)
        bad, total = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, (series, ratio) in enumerate(wanted.items()):
            kind = "retriever" if ratio.column == "empty_result" else ratio.kind
            mine = (part.service == series.service) & (part.kind == kind)
            if ratio.model:
                mine &= part.model == ratio.model
            if series.segment[0]:
                mine &= part._dimension(series.segment[0]) == series.segment[1]
            counts, is_bad = part._ratio(ratio)
            amount, charge = part._amount(ratio), part._charge(ratio)
            for counted, chosen, weight in (
                (total, mine & counts, amount),
                (bad, mine & counts & is_bad, amount if charge is None else charge),
            ):
                np.add.at(counted[row], part.minute[chosen] - start, weight[chosen])
        latency = np.zeros((len(services), stop - start, LATENCY.count), np.int64)
        pace = np.zeros((len(services), stop - start, PACE.count), np.int64)
        for row, service in enumerate(services):
            mine = (part.service == service) & (part.kind == "llm")
            part._histograms(mine, start, latency[row], pace[row])
        return MinuteBlock(
            start, tuple(wanted), bad, total, tuple(services), latency, pace, part._cells(wanted)
        )

    def sample(self, wish: Wish, start: int, stop: int) -> Sample | None:
        """As `MinuteSource.sample`, of what a file of calls has; anything else is unknown."""
        first, last = np.searchsorted(self.minute, (start, stop))
        part = self._rows(slice(int(first), int(last)))
        which = (part.service == wish.service) & (part.kind == wish.kind)
        for score in wish.scored:
            known = part.field(Field("score", "number", score))
            which &= np.asarray(pc.is_valid(known).to_numpy(zero_copy_only=False), np.bool_)
        mine = np.flatnonzero(which)
        if wish.per:
            here = part._rows(mine)
            return totals(here.field, here.minute, wish, stop, mine + first + 1)
        rng = np.random.default_rng([start, stop])
        chosen = np.sort(rng.permutation(mine)[: wish.most])
        part = part._rows(chosen)
        unknown = (None,) * len(chosen)
        columns = {name: part._sampled(name) or unknown for name in wish.features}
        return Sample(columns, tuple(("row", str(first + row + 1)) for row in chosen))

    def _sampled(self, name: str) -> tuple[Any, ...] | None:
        if name == "model":
            return tuple(model or None for model in self.model)
        prefix, _, rest = name.partition(":")
        if prefix == "score":
            values = pc.cast(self.field(Field("score", "number", rest)), pa.float64())
            return tuple(None if v is None or np.isnan(v) else v for v in values.to_pylist())
        if prefix == "dimension":
            return tuple(str(value) or None for value in self._dimension(rest))
        if name == "error_class":
            told = pc.cast(self.field(Field("error_class", "text")), pa.string())
            return tuple(told.to_pylist())
        if name not in self.numbers:
            return None
        values = self.numbers[name].copy()
        if name in ("duration_ms", "ttft_ms", "output_tokens"):
            values[self.error | self.truncated] = np.nan
        return tuple(None if np.isnan(value) else float(value) for value in values)

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """None: a file of calls knows of no changes."""
        return ()

    def _rows(self, which: slice | npt.NDArray[np.intp]) -> CallsFile:
        return CallsFile(
            self.minute[which],
            self.service[which],
            self.kind[which],
            self.model[which],
            {name: values[which] for name, values in self.numbers.items()},
            self.error[which],
            self.failed[which],
            self.truncated[which],
            self.table.slice(which.start, which.stop - which.start)
            if isinstance(which, slice)
            else self.table.take(which),
            self.path,
            self.read,
        )

    def _amount(self, ratio: Ratio) -> Ints:
        """What every call counts as: 1, its weight in thousandths, or a share."""
        if ratio.weight is None:
            return np.full(self.minute.shape, ratio.unit, np.int64)
        weights = predicates.evaluate(ratio.weight, self.field, len(self.minute))
        known = np.asarray(pc.fill_null(weights, 0.0).to_numpy(zero_copy_only=False), np.float64)
        return np.round(1000 * np.maximum(known, 0.0)).astype(np.int64)

    def _charge(self, ratio: Ratio) -> Ints | None:
        """What every call is charged, as `store.conditions` has it in SQL; 0 where it is unknown,
        None when calls are counted instead."""
        if ratio.charge is None:
            return None
        values = self._value(ratio.charge.value)
        width = ratio.charge.limit - ratio.charge.free
        shares = np.round(SHARE * (values - ratio.charge.free) / width)
        most = MOST_SHARES * SHARE
        return np.nan_to_num(np.clip(shares, -most, most)).astype(np.int64)

    def _value(self, expression: Expression) -> Floats:
        """A number of every call, NaN where it is unknown."""
        found = predicates.evaluate(expression, self.field, len(self.minute))
        return np.asarray(found.to_numpy(zero_copy_only=False), np.float64)

    def _each(self, monitored: Mapping[SeriesId, Ratio]) -> Iterator[tuple[SeriesId, Ratio]]:
        """What is asked for, and in place of EACH a series for every value."""
        yield from (item for item in monitored.items() if item[0].segment[1] != EACH)
        for series, ratio in monitored.items():
            if series.segment[1] == EACH:
                name = series.segment[0]
                values = self._dimension(name)[self.service == series.service]
                for value in sorted(set(values.tolist()) - {""}):
                    yield replace(series, segment=(name, value)), ratio

    def _dimension(self, name: str) -> npt.NDArray[np.object_]:
        """The values of a dimension, "" where a call has none: the column of its name."""
        values = self.field(Field("dimensions", "text", name))
        found = pc.fill_null(values, "").to_numpy(zero_copy_only=False)
        return np.asarray(found, dtype=object)

    def _ratio(self, ratio: Ratio) -> tuple[Mask, Mask]:
        """Which calls count and which are bad, as `store.minutes` has it in SQL."""
        everything = np.ones(self.minute.shape, np.bool_)
        if ratio.metric is not None:
            return ~everything, ~everything
        if ratio.charge is not None:
            return np.isfinite(self._value(ratio.charge.value)), everything
        if ratio.condition is not None:
            return predicates.counted(ratio.condition, self.field, len(self.minute))
        flags = {"failed": self.failed, "error": self.error, "truncated": self.truncated}
        if ratio.column in flags:
            return everything, flags[ratio.column]
        if ratio.column == "empty_result":
            found = self.numbers["documents"]
            return self.error | ~np.isnan(found), self.error | (found == 0)
        if ratio.column == "feedback_negative":
            return ~everything, ~everything
        values = self.numbers[ratio.column]
        with np.errstate(invalid="ignore"):
            is_bad = values >= ratio.threshold if ratio.op == "ge" else values > ratio.threshold
        known = ~np.isnan(values)
        if ratio.column in ("duration_ms", "ttft_ms"):
            known &= self._answered
        if ratio.column == "ttft_ms":
            known &= values > 0
        return known, np.asarray(is_bad, dtype=np.bool_)

    def field(self, field: Field) -> pa.Array:
        """A field of the language of indicators, null where it is unknown."""
        found: pa.Array
        if field.name in _ANSWERED_ONLY:
            kept = self.numbers[_ANSWERED_ONLY[field.name]].copy()
            kept[self.error | self.truncated | ~(self.numbers["duration_ms"] > 0)] = np.nan
            kept[~(kept > 0)] = np.nan
            found = pa.array(kept, from_pandas=True)
        elif field.name in self.numbers or field.name in _SUMS:
            parts = [self.numbers[name] for name in _SUMS.get(field.name, (field.name,))]
            found = pa.array(np.sum(parts, axis=0), from_pandas=True)
        elif field.name in ("error", "failed", "truncated"):
            found = pa.array(getattr(self, field.name))
        elif field.name == "status":
            found = pa.array(np.where(self.error, "error", "ok"))
        else:
            found = predicates.told(self.table, field)
        return found

    def _cells(self, wanted: Mapping[SeriesId, Ratio]) -> Ints:
        """As `MinuteBlock.cells`, of segments whose durations are told apart."""
        told: list[Ints] = [np.zeros((3, 0), np.int64)]
        for row, (series, ratio) in enumerate(wanted.items()):
            if not (ratio.histogram and series.segment[0]):
                continue
            mine = (self.service == series.service) & (self.kind == ratio.kind) & self._answered
            mine &= self._dimension(series.segment[0]) == series.segment[1]
            bucket = LATENCY.bucket(self.numbers["duration_ms"][mine] * 1000.0)
            told.append(np.stack([self.minute[mine], np.full(len(bucket), row), bucket]))
        cells, calls = np.unique(np.concatenate(told, axis=1), axis=1, return_counts=True)
        return np.asarray(np.concatenate([cells, calls[None]]), np.int64)

    @property
    def _answered(self) -> Mask:
        """Calls that have a duration that says something of the service."""
        return (self.numbers["duration_ms"] > 0) & ~self.error & ~self.truncated

    def _histograms(self, mine: Mask, start: int, latency: Ints, pace: Ints) -> None:
        duration_us = self.numbers["duration_ms"] * 1000.0
        timed = mine & self._answered
        np.add.at(latency, (self.minute[timed] - start, LATENCY.bucket(duration_us[timed])), 1)
        inp, out = self.numbers["input_tokens"], self.numbers["output_tokens"]
        known = timed & ~np.isnan(inp) & ~np.isnan(out)
        paced = pace_us(duration_us[known], inp[known], out[known])
        np.add.at(pace, (self.minute[known] - start, PACE.bucket(paced)), 1)


def _ended(table: pa.Table, path: Path) -> Ints:
    """The epoch minute in which each call ended, as the store counts it: `ts` is when it began."""
    began = micros_of(table.column("ts"), "ts", path)
    lasted = np.nan_to_num(floats(table, "duration_ms", path)) * 1000.0
    return (began + np.round(lasted).astype(np.int64)) // 60_000_000
