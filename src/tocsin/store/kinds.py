"""What a write-ahead segment holds and how the engine reads it: one row of text per kind.

A segment is a file of *frames* (`tocsin.store.frames`); a frame is what one accepted request
appended. The engine reads the file itself: the loader runs one statement per segment,

    INSERT INTO tocsin.<table> (<columns>) <select>

with `{source}` in `select` replaced by a table function over the file and `{seg}` by the segment's
number. Whoever defines a kind promises that `select` is a function of the file alone: run twice it
gives the same rows, which is what lets start-up count what arrived and replay what did not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Format = Literal["Protobuf", "JSONEachRow", "ArrowStream"]


@dataclass(frozen=True, slots=True)
class SegmentKind:
    """One kind of segment.

    name: part of the file name; lower-case letters and digits only.
    table: target table of database `tocsin`; has a column `seg UInt64` and the column `time`.
    time: the table's DateTime64 column that partitions it.
    format: how frames lie in the file. Protobuf: one length-delimited message per frame, fields
        number 100 and 101 are taken by the frame itself. JSONEachRow: one or more whole lines.
        ArrowStream: one stream, which makes a segment of its own.
    structure: column structure of the source, as in `file(path, format, structure)`.
    settings: format settings of the source (format_schema and so on).
    select: SELECT ... FROM {source}; `seg` is written {seg}.
    columns: what `select` yields, in its order; the table's other columns take their defaults.
        Told, because the engine would need a second to find it out from a SELECT of this size.
    careful_select: used instead when the segment is marked careful.
    rejects: optional SELECT ... FROM {source} of what `select` leaves out on purpose, with the
        columns of `quarantine` (recv, source, reason, project, body, seg).
    """

    name: str
    table: str
    time: str
    format: Format
    structure: str
    select: str
    columns: tuple[str, ...]
    settings: Mapping[str, str | int] = field(default_factory=dict)
    careful_select: str = ""
    rejects: str = ""

    def rows(self, *, careful: bool) -> str:
        """The SELECT for a segment, by its careful mark."""
        return self.careful_select if careful and self.careful_select else self.select
