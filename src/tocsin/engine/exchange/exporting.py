"""Writes tables of an export as Parquet, CSV or JSON lines, piece by piece."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tocsin.domain.clock import iso

FORMATS = ("parquet", "csv", "jsonl")
COMPRESSIONS = ("", "gzip", "zstd")
SUFFIXES = {"": "", "gzip": ".gz", "zstd": ".zst"}
_OBJECTS = (
    "dims", "labels", "attributes", "resource", "event_names", "event_times", "event_attributes",
)  # fmt: skip


class _Drained(io.RawIOBase):
    """A file that keeps what was written until it is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def tell(self) -> int:
        return self._size

    def drain(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def encoded(
    tables: Iterable[pa.Table], schema: pa.Schema, form: str, compression: str = ""
) -> Iterator[bytes]:
    """The bytes of a file with these tables, as they become ready.

    form: of FORMATS. compression: of COMPRESSIONS; Parquet is compressed inside (zstd).
    """
    target = _Drained()
    packed = compression if form != "parquet" else ""
    sink: Any = pa.CompressedOutputStream(target, packed) if packed else target
    write, finish = _writer(form, sink, schema)
    for table in tables:
        write(table)
        if piece := target.drain():
            yield piece
    finish()
    if packed:
        sink.close()
    yield target.drain()


def _writer(
    form: str, sink: Any, schema: pa.Schema
) -> tuple[Callable[[pa.Table], None], Callable[[], None]]:
    if form == "parquet":
        parquet = pyarrow.parquet.ParquetWriter(sink, schema, compression="zstd")
        return parquet.write_table, parquet.close
    if form == "csv":
        csv = pyarrow.csv.CSVWriter(sink, schema)
        return csv.write_table, csv.close

    def lines(table: pa.Table) -> None:
        sink.write(b"".join(_line(row) for row in table.to_pylist()))

    return lines, lambda: None


def _line(row: dict[str, Any]) -> bytes:
    for name, value in row.items():
        if name in _OBJECTS and value is not None:
            row[name] = json.loads(value)
        elif hasattr(value, "isoformat"):
            row[name] = iso(value)
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
