"""Counts from a file, so that a backtest needs no server and no database.

Two shapes of file, told apart by their columns; Parquet, CSV and JSON Lines alike:

    counts  minute, service, good, bad [, indicator]
    calls   ts, service [, kind, model, duration_ms, ttft_ms, input_tokens, output_tokens, cost_usd,
            error_class, truncated, documents]

Calls count as `tocsin.store.minutes` counts them. `documents` is how many a retriever found.

A call counts in the minute in which it ended, `ts` + `duration_ms`, as in the store.
`minute` and `ts` are RFC 3339 text, timestamps, or numbers of seconds since 1970 (`minute` also as
epoch minutes). A counts file without `indicator` answers every indicator that counts failures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from tocsin.domain.buckets import LATENCY, PACE, pace_us
from tocsin.domain.calls import SYSTEM_FAILURES
from tocsin.domain.errors import Problem, SpecError
from tocsin.domain.series import Change, MinuteBlock, Ratio, SeriesId

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_NUMBERS = (
    "duration_ms", "ttft_ms", "cost_usd", "input_tokens", "output_tokens", "documents",
)  # fmt: skip

# Numbers below this are epoch minutes, above it epoch seconds: 3e8 minutes lie in the year 2540,
# 3e8 seconds in 1979, and nothing in between has LLM telemetry.
MINUTES_BELOW = 300_000_000
SECONDS_BELOW = 32_503_680_000  # the year 3000


def read_table(path: Path) -> pa.Table:
    """The file as an Arrow table. SpecError when its kind is unknown or it cannot be read."""
    readers: Mapping[str, Callable[[Path], pa.Table]] = {
        ".parquet": pyarrow.parquet.read_table,
        ".csv": pyarrow.csv.read_csv,
        ".jsonl": pyarrow.json.read_json,
        ".ndjson": pyarrow.json.read_json,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise _bad(path, f"{path.suffix or 'no suffix'}: use {', '.join(readers)}")
    try:
        return reader(path)
    except (pa.ArrowException, OSError) as error:
        raise _bad(path, f"cannot be read: {error}") from None


def open_source(path: Path) -> CountsFile | CallsFile:
    """A MinuteSource over `path`, by its columns; SpecError names what is missing."""
    table = read_table(path)
    names = set(table.column_names)
    try:
        if {"minute", "service", "good", "bad"} <= names:
            return CountsFile.of(table, path)
        if {"ts", "service"} <= names:
            return CallsFile.of(table, path)
    except pa.ArrowException as error:
        raise _bad(path, f"a column is not of its kind: {error}") from None
    raise _bad(
        path,
        f"columns {', '.join(table.column_names)}",
        fix="needs minute, service, good, bad (counts) or ts, service, ... (calls)",
    )


@dataclass(frozen=True)
class CountsFile:
    """Rows of (minute, service, indicator, good, bad), added up where they repeat."""

    minute: Ints
    service: npt.NDArray[np.object_]
    indicator: npt.NDArray[np.object_] | None
    good: Ints
    bad: Ints

    @classmethod
    def of(cls, table: pa.Table, path: Path) -> CountsFile:
        """Checks every row; SpecError for negative or missing counts and unreadable minutes."""
        named = "indicator" in table.column_names
        minute = minutes_of(table.column("minute"), "minute", path)
        good, bad = (_integers(table, name, path) for name in ("good", "bad"))
        order = np.argsort(minute, kind="stable")
        return cls(
            minute=minute[order],
            service=_texts(table, "service")[order],
            indicator=_texts(table, "indicator")[order] if named else None,
            good=good[order],
            bad=bad[order],
        )

    @property
    def span(self) -> tuple[int, int]:
        """First minute, and the minute after the last."""
        return (int(self.minute.min()), int(self.minute.max()) + 1) if self.minute.size else (0, 0)

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """As `MinuteSource.minutes`. There are no histograms in a file of counts."""
        shape = (len(monitored), stop - start)
        bad, total = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        part = self._between(start, stop)
        for row, (series, ratio) in enumerate(monitored.items()):
            mine = (part.service == series.service) & part._answers(series, ratio)
            column = part.minute[mine] - start
            np.add.at(bad[row], column, part.bad[mine])
            np.add.at(total[row], column, part.bad[mine] + part.good[mine])
        empty = np.zeros((len(services), stop - start, 0), np.int64)
        return MinuteBlock(start, tuple(monitored), bad, total, tuple(services), empty, empty)

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """None: a file of counts knows of no changes."""
        return ()

    def _between(self, start: int, stop: int) -> CountsFile:
        a, b = np.searchsorted(self.minute, (start, stop))
        named = self.indicator
        return CountsFile(
            self.minute[a:b],
            self.service[a:b],
            named[a:b] if named is not None else None,
            self.good[a:b],
            self.bad[a:b],
        )

    def _answers(self, series: SeriesId, ratio: Ratio) -> Mask:
        if self.indicator is None:
            told = ratio.column in ("failed", "error") and not ratio.model
            return np.full(self.minute.shape, told)
        return np.asarray(self.indicator == series.indicator, dtype=np.bool_)


@dataclass(frozen=True)
class CallsFile:
    """One row per call, in columns; NaN where a value is unknown."""

    minute: Ints
    service: npt.NDArray[np.object_]
    kind: npt.NDArray[np.object_]
    model: npt.NDArray[np.object_]
    numbers: Mapping[str, Floats]
    error: Mask
    failed: Mask
    truncated: Mask

    @classmethod
    def of(cls, table: pa.Table, path: Path) -> CallsFile:
        """Reads what columns there are; a missing one is unknown for every call."""
        rows = table.num_rows
        errors = _texts(table, "error_class") if "error_class" in table.column_names else None
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
            service=_texts(table, "service"),
            kind=_texts(table, "kind") if "kind" in table.column_names else kinds,
            model=_texts(table, "model") if "model" in table.column_names else nameless,
            numbers={name: _floats(table, name) for name in _NUMBERS},
            error=np.asarray(error, dtype=np.bool_),
            failed=np.asarray(failed | truncated, dtype=np.bool_),
            truncated=truncated,
        )
        return everything._rows(np.argsort(everything.minute, kind="stable"))

    @property
    def span(self) -> tuple[int, int]:
        """First minute, and the minute after the last."""
        return (int(self.minute.min()), int(self.minute.max()) + 1) if self.minute.size else (0, 0)

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """As `MinuteSource.minutes`."""
        shape = (len(monitored), stop - start)
        bad, total = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        a, b = np.searchsorted(self.minute, (start, stop))
        part = self._rows(slice(int(a), int(b)))
        for row, (series, ratio) in enumerate(monitored.items()):
            kind = "retriever" if ratio.column == "empty_result" else ratio.kind
            mine = (part.service == series.service) & (part.kind == kind)
            if ratio.model:
                mine &= part.model == ratio.model
            counts, is_bad = part._ratio(ratio)
            np.add.at(total[row], part.minute[mine & counts] - start, 1)
            np.add.at(bad[row], part.minute[mine & counts & is_bad] - start, 1)
        latency = np.zeros((len(services), stop - start, LATENCY.count), np.int64)
        pace = np.zeros((len(services), stop - start, PACE.count), np.int64)
        for row, service in enumerate(services):
            mine = (part.service == service) & (part.kind == "llm")
            part._histograms(mine, start, latency[row], pace[row])
        return MinuteBlock(start, tuple(monitored), bad, total, tuple(services), latency, pace)

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
        )

    def _ratio(self, ratio: Ratio) -> tuple[Mask, Mask]:
        """Which calls count and which are bad, as `store.minutes` has it in SQL."""
        everything = np.ones(self.minute.shape, np.bool_)
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
            known &= (self.numbers["duration_ms"] > 0) & ~self.error & ~self.truncated
        if ratio.column == "ttft_ms":
            known &= values > 0
        return known, np.asarray(is_bad, dtype=np.bool_)

    def _histograms(self, mine: Mask, start: int, latency: Ints, pace: Ints) -> None:
        duration_us = self.numbers["duration_ms"] * 1000.0
        timed = mine & (duration_us > 0) & ~self.error & ~self.truncated
        np.add.at(latency, (self.minute[timed] - start, LATENCY.bucket(duration_us[timed])), 1)
        inp, out = self.numbers["input_tokens"], self.numbers["output_tokens"]
        known = timed & ~np.isnan(inp) & ~np.isnan(out)
        paced = pace_us(duration_us[known], inp[known], out[known])
        np.add.at(pace, (self.minute[known] - start, PACE.bucket(paced)), 1)


def _bad(path: Path, message: str, *, fix: str = "") -> SpecError:
    return SpecError([Problem(str(path), 0, "", message, fix)])


def _texts(table: pa.Table, name: str) -> npt.NDArray[np.object_]:
    column = pc.fill_null(pc.cast(table[name], pa.string()), "")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)


def _floats(table: pa.Table, name: str) -> Floats:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    values = pc.cast(table[name], pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values) & (values >= 0), values, np.nan)


def _integers(table: pa.Table, name: str, path: Path) -> Ints:
    column = table[name]
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise _bad(path, f"row {row + 1}: {name} is empty", fix="write 0 when there were none")
    try:
        values = np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowException:
        raise _bad(path, f"column {name} is {column.type}, not whole numbers") from None
    if (values < 0).any():
        raise _bad(path, f"row {int(np.argmax(values < 0)) + 1}: {name} is negative")
    return values


def _check_range(values: Floats, name: str, path: Path) -> None:
    """SpecError for numbers that are no time of this century; milliseconds are the usual slip."""
    wrong = ~(np.abs(values) <= SECONDS_BELOW)
    if wrong.any():
        row = int(np.argmax(wrong))
        fix = "write seconds since 1970, not milliseconds, or RFC 3339"
        raise _bad(path, f"row {row + 1}: column {name}: {values[row]:.15g} is no time", fix=fix)


def _ended(table: pa.Table, path: Path) -> Ints:
    """The epoch minute in which each call ended, as the store counts it: `ts` is when it began."""
    began = _micros(table.column("ts"), "ts", path)
    lasted = np.nan_to_num(_floats(table, "duration_ms")) * 1000.0
    return (began + np.round(lasted).astype(np.int64)) // 60_000_000


def minutes_of(column: pa.ChunkedArray, name: str, path: Path) -> Ints:
    return _micros(column, name, path) // 60_000_000


def _micros(column: pa.ChunkedArray, name: str, path: Path) -> Ints:
    """Microseconds since the epoch of a column that names instants in one of the accepted ways."""
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise _bad(path, f"row {row + 1}: {name} is empty")
    kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            values = np.asarray(column.to_numpy(), dtype=np.float64)
            _check_range(values, name, path)
            in_minutes = name == "minute" and bool((values < MINUTES_BELOW).all())
            return np.round(values * (60e6 if in_minutes else 1e6)).astype(np.int64)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = pc.cast(pc.replace_substring(column, "Z", "+00:00"), pa.timestamp("us", "UTC"))
        micros = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
    except pa.ArrowException as error:
        raise _bad(path, f"column {name}: {error}", fix="use RFC 3339 or epoch seconds") from None
    return np.asarray(micros.to_numpy(), dtype=np.int64)
