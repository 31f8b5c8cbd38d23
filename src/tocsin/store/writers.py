"""Who writes: numbers of segments that no two processes ever share, however many write to a store.

    63      48 47     32 31            0
    | writer  | start   | segment       |

The writer is a data directory. The process that owns an embedded store is writer 0, so that its
numbers are those it always had; any other claims a number in the store and keeps it in
`wal/writer`. The start counts the processes of that directory (`wal/epoch`), the rest counts
segments. Rollups keep writers apart (`tocsin.store.schema`).
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from tocsin.domain.clock import Clock
from tocsin.domain.errors import StoreError
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.facts import Facts
from tocsin.store.segments import SegmentFile, next_epoch

SHIFT = 48
MOST_WRITERS = 1 << 16
_MOST_STARTS = 1 << 16
_TRIES = 20


def writer_of(seg: int) -> int:
    """Whose segment it is."""
    return seg >> SHIFT


class Writers:
    """The writers of one store."""

    def __init__(self, engine: ClickHouse, clock: Clock) -> None:
        self._engine = engine
        self._facts = Facts(engine, clock)

    def identity(self) -> str:
        """What this store is known by, made at the first call."""
        known = self._facts.values("store")
        if not known:
            self._facts.put("store", str(uuid4()))
            self._facts.settle()
            known = self._facts.values("store")
        return known[0]

    def claim(self, who: str) -> int:
        """A writer number that nobody has. who: told to people who ask whose it is."""
        for _ in range(_TRIES):
            taken = {int(name.removeprefix("writer/")) for name in self._facts.names("writer/")}
            number = 1 + secrets.randbelow(MOST_WRITERS - 1)
            if number in taken:
                continue
            mine = f"{uuid4()} {who}"
            self._facts.put(f"writer/{number}", mine)
            self._facts.settle()
            if self._facts.values(f"writer/{number}") == [mine]:
                return number
        raise StoreError(
            f"no free writer number was found in {_TRIES} tries; {len(taken)} of"
            f" {MOST_WRITERS} are taken in {DATABASE}.meta"
        )

    def epoch(self, wal: Path, tables: Iterable[str]) -> int:
        """The upper half of the numbers of this process's segments; durable before it is used.

        StoreError when the directory holds segments that were accepted for another store.
        """
        writer = self._writer(wal)
        start = next_epoch(wal, lambda: self._last_start(wal, writer, tables))
        if start < _MOST_STARTS:
            return writer << 16 | start
        writer = self._kept(wal, self.claim(_place(wal)))
        (wal / "epoch").unlink()
        return writer << 16 | next_epoch(wal)

    def _writer(self, wal: Path) -> int:
        """The writer number of a data directory, claimed when it has none for this store."""
        file = wal / "writer"
        told = file.read_text().split() if file.exists() else []
        if self._engine.is_embedded:
            return int(told[0]) if told else 0
        store = self.identity()
        if len(told) == 2 and told[1] == store:
            return int(told[0])
        self._refuse_strays(wal)
        return self._kept(wal, self.claim(_place(wal)), store)

    def _kept(self, wal: Path, writer: int, store: str = "") -> int:
        fresh = wal / "writer.new"
        fresh.write_text(f"{writer} {store}\n")
        fresh.replace(wal / "writer")
        return writer

    def _refuse_strays(self, wal: Path) -> None:
        left = [*wal.glob("*.ready"), *wal.glob("*.open")]
        if left:
            raise StoreError(
                f"{wal} holds {len(left)} segments that were accepted for another store. Start once"
                " with the store they were meant for (TOCSIN_CLICKHOUSE, or none for the embedded"
                " one), which loads them, or give this process another --data-dir."
            )

    def _last_start(self, wal: Path, writer: int, tables: Iterable[str]) -> int:
        """The highest start in use, should the count of starts have been lost."""
        files = [file for path in wal.iterdir() if (file := SegmentFile.parse(path))]
        last = max((file.seg for file in files if writer_of(file.seg) == writer), default=0)
        for table in tables:
            rows = self._engine.rows(
                f"SELECT max(seg) FROM {DATABASE}.{table} WHERE bitShiftRight(seg, {SHIFT})"
                " = {writer:UInt64}",
                {"writer": writer},
            )
            last = max(last, int(rows[0][0]))
        return (last >> 32) & (_MOST_STARTS - 1)


def _place(wal: Path) -> str:
    return f"{socket.gethostname()}:{wal.parent.resolve()}"
