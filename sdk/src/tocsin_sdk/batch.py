"""Rows as request bodies: one object a line, gzipped, the same bytes for the same rows always.

A batch that is tried again must be the bytes that were tried before: the server knows a second
delivery by them. Hence no time in the gzip header, and a batch is encoded once.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tocsin_sdk.settings import Row

PATHS = {
    "calls": "/api/v1/calls",
    "scores": "/api/v1/scores",
    "changes": "/api/v1/changes",
}
HEADERS = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
_LEVEL = 3  # of gzip: a third of the time of level 6 for a tenth more bytes


@dataclass(frozen=True)
class Batch:
    """Rows of one kind, and the body that carries them."""

    kind: str
    rows: Sequence[Row]
    body: bytes

    @classmethod
    def of(cls, kind: str, rows: Sequence[Row]) -> Batch:
        """Encode `rows`."""
        lines = b"".join(line_of(row) for row in rows)
        return cls(kind, rows, gzip.compress(lines, _LEVEL, mtime=0))

    def halves(self) -> tuple[Batch, Batch]:
        """The same rows as two batches."""
        middle = len(self.rows) // 2
        first, second = self.rows[:middle], self.rows[middle:]
        return Batch.of(self.kind, first), Batch.of(self.kind, second)


def line_of(row: Row) -> bytes:
    """A row as a line of JSON. What JSON has no word for is written as text, NaN as null."""
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
    except (ValueError, TypeError, RecursionError):
        text = json.dumps(_plain(row, 0), ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace") + b"\n"


def _plain(value: Any, depth: int) -> Any:
    """`value` with texts for keys, null for what is not finite, and nothing nested beyond 20."""
    if depth > 20:
        return "…"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(member, depth + 1) for name, member in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(member, depth + 1) for member in value]
    return value if value is None or isinstance(value, (str, int)) else str(value)
