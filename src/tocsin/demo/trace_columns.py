"""Columns of a foreign table to spans, by a mapping: units, codes, and what stays unknown."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.demo.spans import FINISHES, LLM, Failure, Floats, Ints, Mask, Names, Rows, Table, blank
from tocsin.domain.errors import Problem, SpecError
from tocsin.spec.mapping import TOKEN_FIELDS, Source, TraceMapping

_ERROR_TYPES = {
    "rate_limit": "RateLimitError", "overloaded": "OverloadedError", "timeout": "APITimeoutError",
    "server": "InternalServerError", "connection": "APIConnectionError",
    "auth": "AuthenticationError", "bad_request": "BadRequestError",
    "content_filter": "ContentFilterError", "other": "Error",
}  # fmt: skip
_TOKEN_COLUMNS = dict(zip(TOKEN_FIELDS, ("input", "output", "cached", "reasoning"), strict=True))


class Batch:
    """One Arrow batch of the file, turned into rows."""

    def __init__(
        self,
        batch: Any,
        mapping: TraceMapping,
        names: Names,
        path: Path,
        skipped: Counter[str],
    ) -> None:
        self._batch = batch
        self._mapping = mapping
        self._names = names
        self._path = path
        self._skipped = skipped
        self._have = set(batch.schema.names)

    def rows(self, number: int) -> Rows:
        """Calls as spans; ids follow from the place in the file."""
        start_ns, placed = self._start_ns()
        if missing := int(np.count_nonzero(~placed)):
            self._skipped["no readable time"] += missing
        rows = blank(start_ns.size)
        rows["kind"] = LLM
        self._fill_times(rows, start_ns)
        self._fill_texts(rows)
        for name, column in _TOKEN_COLUMNS.items():
            rows[column] = self._tokens(name)
        rows["outcome"] = self._outcomes()
        rng = np.random.default_rng((20_231_219, number))
        rows["trace"] = np.frombuffer(rng.bytes(16 * rows.size), np.uint8).reshape(-1, 16)
        rows["span"] = np.frombuffer(rng.bytes(8 * rows.size), np.uint8).reshape(-1, 8)
        rows["finish"] = self._finishes(rows["outcome"] == 0)
        return rows[placed]

    def _fill_times(self, rows: Rows, start_ns: Ints) -> None:
        duration = self._durations("duration")
        timed = np.isfinite(duration) & (duration >= 0)
        rows["start"] = start_ns
        rows["end"] = rows["start"] + np.where(timed, duration, 0).astype(np.int64)
        rows["timed"] = timed
        ttft = self._durations("ttft")
        known = np.isfinite(ttft) & (ttft >= 0) & (~timed | (ttft <= duration))
        rows["ttft"] = np.where(known, ttft, -1).astype(np.int64)

    def _fill_texts(self, rows: Rows) -> None:
        names = self._names
        rows["service"] = self._codes("service", names.services, "unnamed")
        rows["tenant"] = self._codes("tenant", names.tenants)
        rows["region"] = self._codes("region", names.regions)
        rows["release"] = self._codes("release", names.releases)
        rows["prompt"] = self._codes("prompt_version", names.prompts)
        provider, providers = self._distinct("provider")
        model, models = self._distinct("model")
        pairs = provider.astype(np.int64) * len(models) + model
        unique, inverse = np.unique(pairs, return_inverse=True)
        codes = [
            names.model(models[pair % len(models)], providers[pair // len(models)])
            for pair in unique.tolist()
        ]
        rows["model"] = np.array(codes, np.int64)[inverse] if codes else 0

    # ----------------------------------------------------------------------------- columns

    def _source(self, name: str) -> Source | None:
        source = self._mapping.fields.get(name)
        if source is None or (source.column and source.column not in self._have):
            return None
        return source

    def _start_ns(self) -> tuple[Ints, Mask]:
        """Nanoseconds, and where they are known. Timestamps stay exact."""
        time = self._mapping.time
        column = self._batch.column(time.column)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = self._instants(column, time.column)
        if pa.types.is_timestamp(column.type):
            placed = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False))
            instants = pc.cast(pc.cast(column, pa.timestamp("ns")), pa.int64())
            return np.asarray(pc.fill_null(instants, 0).to_numpy(zero_copy_only=False)), placed
        numbers = self._numbers(time.column)
        placed = np.isfinite(numbers)
        unit = 1e9 / time.rate_per_s if time.clock == "sequence" else time.unit_ns
        return (np.where(placed, numbers, 0) * unit).astype(np.int64), placed

    def _instants(self, column: Any, name: str) -> Any:
        try:
            text = pc.replace_substring_regex(column, "[zZ]$|[+]00:?00$", "")
            return pc.cast(text, pa.timestamp("ns"))
        except pa.ArrowInvalid as error:
            raise refused(
                self._path, name, f"cannot be read as a time: {first_line(error)}",
                "write RFC 3339 in UTC, or numbers with time.unit",
            ) from None  # fmt: skip

    def _numbers(self, name: str) -> Floats:
        column = self._batch.column(name)
        try:
            return _floats(pc.cast(column, pa.float64()))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise refused(
                self._path, name, f"cannot be read as numbers: {first_line(error)}",
                f"correct the column, or name another one in {self._mapping.file}",
            ) from None  # fmt: skip

    def _durations(self, name: str) -> Floats:
        source = self._source(name)
        if source is None:
            return np.full(self._batch.num_rows, np.nan)
        return self._numbers(source.column) * source.unit_ns

    def _tokens(self, name: str) -> Ints:
        source = self._source(name)
        if source is None:
            return np.full(self._batch.num_rows, -1)
        numbers = self._numbers(source.column)
        known = np.isfinite(numbers) & (numbers >= 0)
        return np.where(known, np.minimum(np.nan_to_num(numbers), 2**30), -1).astype(np.int64)

    def _distinct(self, name: str) -> tuple[Ints, list[str]]:
        """A place in a list of texts for every row, prefix included; "" where there is none."""
        source = self._source(name)
        count = self._batch.num_rows
        if source is None:
            return np.zeros(count, np.int64), [""]
        if not source.column:
            return np.zeros(count, np.int64), [source.prefix + source.constant]
        column = self._batch.column(source.column)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        encoded = pc.dictionary_encode(pc.cast(column, pa.string()))
        texts = [
            f"{source.prefix}{text}" if text else "" for text in encoded.dictionary.to_pylist()
        ]
        places = pc.fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False)
        return places.astype(np.int64), [*texts, ""]

    def _codes(self, name: str, table: Table, default: str = "") -> Ints:
        places, texts = self._distinct(name)
        used, inverse = np.unique(places, return_inverse=True)
        codes = [table.code(texts[place] or default) for place in used.tolist()]
        return np.array(codes, np.int64)[inverse]

    def _outcomes(self) -> Ints:
        source = self._source("error")
        if source is None:
            return np.zeros(self._batch.num_rows, np.int64)
        places, values = self._distinct("error")
        message_places, messages = self._distinct("error_message")
        pairs, inverse = np.unique(places * len(messages) + message_places, return_inverse=True)
        codes = [
            self._names.outcome(
                _failure(source, values[pair // len(messages)], messages[pair % len(messages)])
            )
            for pair in pairs.tolist()
        ]
        return np.array(codes, np.int64)[inverse]

    def _finishes(self, ok: Mask) -> Ints:
        if self._source("finish_reason") is None:
            return np.zeros(ok.size, np.int64)
        places, texts = self._distinct("finish_reason")
        codes = [FINISHES.index(t) if t in FINISHES else FINISHES.index("stop") for t in texts]
        codes[texts.index("")] = 0
        return np.where(ok, np.array(codes)[places], 0)


# --------------------------------------------------------------------------------------------


def _failure(source: Source, value: str, message: str) -> Failure | None:
    if not value or value in source.ok:
        return None
    kind = source.classes.get(value) or (value if value in _ERROR_TYPES else source.otherwise)
    return Failure(kind, _ERROR_TYPES[kind], message[:300] or f"error {value}")


def _floats(column: Any) -> Floats:
    """An Arrow column of numbers as doubles, NaN for null."""
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def first_line(error: BaseException) -> str:
    """What an Arrow error says, without the trace that follows it."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def refused(path: Path, column: str, message: str, fix: str = "") -> SpecError:
    """The error for a trace that cannot be used; `column` may be empty."""
    return SpecError([Problem(str(path), 0, f"column {column}" if column else "", message, fix)])
