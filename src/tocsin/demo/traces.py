"""A real trace, replayed: a file of calls becomes the same chunks that the generator makes.

The file is read once, in batches, and its calls are set down in temporary files by the hour in
which they ended; chunks are then made from those, one after another. That takes rows in any order
and holds no more than a batch, or a chunk's hours, in memory. Disk: about 130 bytes per call.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from tocsin.demo.conventions import REPLAY_SHAPES
from tocsin.demo.encode import Encoder
from tocsin.demo.spans import MINUTE_NS, SPAN, Chunk, Names, Rows
from tocsin.demo.trace_columns import Batch, first_line, refused
from tocsin.domain.clock import to_minute
from tocsin.spec.mapping import TraceMapping, built_in, check_columns, detect, read_mapping

_BATCH_ROWS = 65_536
_HOUR_NS = 60 * MINUTE_NS
_MAX_HOURS = 24 * 366 * 3
_SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")


class TraceReplay:
    """The calls of a file, on the calendar.

    mapping: a mapping file; found by the file's columns when None. start or end: put the first call
    into the minute of `start`, or the end of the last one before `end`; without either, absolute
    times stay as recorded (relative ones then count from 1970). SpecError for a file or mapping
    that cannot be used, naming file, column and fix.

    skipped: rows that could not be placed, by reason. Use as a context manager, or `close`, to
    remove the temporary files.
    """

    def __init__(
        self,
        path: Path,
        mapping: Path | TraceMapping | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        self._path = path
        self._reader = _open(path)
        self.mapping = _choose(path, self._reader.columns, mapping)
        self.names = Names()
        self.skipped: Counter[str] = Counter()
        self.calls = 0
        self._encoder = Encoder(self.names, REPLAY_SHAPES)
        # Held until `close` or until nobody refers to this replay any more.
        self._folder = tempfile.TemporaryDirectory(prefix="tocsin-trace-")
        self._hours: set[int] = set()
        with ExitStack() as undo:
            undo.callback(self._folder.cleanup)
            self._first_ns, self._last_ns = self._spill()
            undo.pop_all()
        self._shift = self._shift_minutes(start, end)

    @property
    def start_minute(self) -> int:
        """The epoch minute of the first call's end."""
        return self._first_ns // MINUTE_NS + self._shift

    @property
    def stop_minute(self) -> int:
        """The epoch minute after the last call's end."""
        return self._last_ns // MINUTE_NS + 1 + self._shift

    @property
    def services(self) -> tuple[str, ...]:
        """The services of the trace, in order of appearance."""
        return tuple(self.names.services.values[1:])

    def __enter__(self) -> TraceReplay:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        self._folder.cleanup()

    def chunks(self, hours: float = 6) -> Iterator[Chunk]:
        """The replay in pieces of `hours`. May be called again: it starts from the beginning."""
        width = max(1, round(hours * 60))
        for start in range(self.start_minute, self.stop_minute, width):
            yield self._chunk(start, min(start + width, self.stop_minute))

    # ------------------------------------------------------------------------------ chunks

    def _chunk(self, start: int, stop: int) -> Chunk:
        first, last = ((m - self._shift) * MINUTE_NS for m in (start, stop))
        hours = sorted(h for h in self._hours if first < (h + 1) * _HOUR_NS and h * _HOUR_NS < last)
        parts = [np.fromfile(self._hour_file(hour), SPAN) for hour in hours]
        rows = np.concatenate(parts) if parts else np.zeros(0, SPAN)
        rows = rows[(rows["end"] >= first) & (rows["end"] < last)]
        rows["start"] += self._shift * MINUTE_NS
        rows["end"] += self._shift * MINUTE_NS
        return Chunk(start, stop, self._encoder.bodies(rows), b"", b"", rows.size, rows.size)

    def _hour_file(self, hour: int) -> Path:
        return Path(self._folder.name) / f"{hour}.spans"

    def _shift_minutes(self, start: datetime | None, end: datetime | None) -> int:
        if start is not None:
            return to_minute(start) - self._first_ns // MINUTE_NS
        if end is not None:
            return to_minute(end) - 1 - self._last_ns // MINUTE_NS
        return 0

    # ------------------------------------------------------------------------------ reading

    def _spill(self) -> tuple[int, int]:
        """Read the file and set its calls down by hour. First and last end, ns."""
        first, last = 2**63 - 1, -(2**63)
        columns = [c for c in self._reader.columns if c in self.mapping.used]
        for number, batch in enumerate(self._reader.batches(columns)):
            rows = Batch(batch, self.mapping, self.names, self._path, self.skipped).rows(number)
            if rows.size:
                self.calls += rows.size
                first = min(first, int(rows["end"].min()))
                last = max(last, int(rows["end"].max()))
                self._check_length(first, last)
                self._write(rows)
        if not self.calls:
            reasons = "; ".join(f"{n} x {why}" for why, n in self.skipped.items()) or "no rows"
            raise refused(self._path, "", f"holds no call that can be replayed: {reasons}")
        return first, last

    def _check_length(self, first: int, last: int) -> None:
        if last - first > _MAX_HOURS * _HOUR_NS:
            years = (last - first) / (_HOUR_NS * 24 * 365.25)
            raise refused(
                self._path, self.mapping.time.column, f"its times span {years:,.0f} years",
                f"check time.unit and time.as in {self.mapping.file}",
            )  # fmt: skip

    def _write(self, rows: Rows) -> None:
        hours = rows["end"] // _HOUR_NS
        order = np.argsort(hours, kind="stable")
        cuts = np.flatnonzero(np.diff(hours[order])) + 1
        for group in np.split(order, cuts):
            hour = int(hours[group[0]])
            self._hours.add(hour)
            with self._hour_file(hour).open("ab") as file:
                file.write(rows[group].tobytes())


# --------------------------------------------------------------------------------------------


class _Reader:
    """A file as a stream of Arrow batches."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._path = path

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Batches of the wanted columns. SpecError when the file breaks off."""
        try:
            if self._path.suffix.lower() == ".parquet":
                with pyarrow.parquet.ParquetFile(self._path) as file:
                    yield from file.iter_batches(_BATCH_ROWS, columns=list(columns))
                return
            with _stream(self._path) as stream:
                for batch in stream:
                    yield batch.select([c for c in columns if c in batch.schema.names])
        except (pa.ArrowException, OSError) as error:
            raise refused(self._path, "", f"cannot be read on: {first_line(error)}") from None


def _stream(path: Path) -> Any:
    if path.suffix.lower() == ".csv":
        return pyarrow.csv.open_csv(path)
    return pyarrow.json.open_json(path)


def _open(path: Path) -> _Reader:
    """Look at a file without reading it; SpecError when it is not one of the known kinds."""
    if not path.is_file():
        raise refused(path, "", "no such file")
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise refused(path, "", f"{suffix or 'no suffix'}: not a trace", f"use {_SUFFIXES}")
    try:
        if suffix == ".parquet":
            return _Reader(path, pyarrow.parquet.read_schema(path).names)
        with _stream(path) as stream:
            return _Reader(path, stream.schema.names)
    except (pa.ArrowException, OSError) as error:
        kind = suffix.removeprefix(".")
        raise refused(path, "", f"is no readable {kind} file: {first_line(error)}") from None


def _choose(
    path: Path, columns: Sequence[str], mapping: Path | TraceMapping | None
) -> TraceMapping:
    if mapping is None:
        return detect(path, columns, built_in())
    chosen = read_mapping(mapping) if isinstance(mapping, Path) else mapping
    if chosen.holds != "calls":
        raise refused(path, "", f"{chosen.file} reads {chosen.holds}", "only calls can be replayed")
    check_columns(chosen, path, columns)
    return chosen
