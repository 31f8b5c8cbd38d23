"""The bounded queue between the application's threads and the one that sends: putting never waits.

A put takes a lock for as long as appending to a deque takes. When there are too many rows or too
many bytes the oldest go, and are counted: once a server that was away is back, the newest minutes
are the ones it judges. The condition's lock is re-entrant, because a finaliser that runs while a
row is put may put one itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from tocsin_sdk.settings import Row

_ROW_BYTES = 700  # of a small row as Python objects, beside its long texts
_HURRIED_PAUSE = 0.2


class Entry(NamedTuple):
    """One row that waits. seq: its place among all that were ever put."""

    seq: int
    kind: str
    row: Row
    size: int


@dataclass(frozen=True)
class Bounds:
    """What may wait at most, and what is enough for a batch: rows and bytes."""

    rows: int
    bytes: int
    batch_rows: int
    batch_bytes: int


def size_of(row: Row) -> int:
    """About how many bytes of memory a row takes."""
    return _ROW_BYTES + sum(len(value) for value in row.values() if isinstance(value, str))


class Buffer:
    """Rows on their way. Any thread puts, one thread takes.

    put_count, dropped_count: rows since the start. is_closed: nothing more is taken in.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._idle = False
        self._hurry = False
        self._in_hand: int | None = None
        self._unreported: dict[str, int] = {}
        self.put_count = 0
        self.dropped_count = 0
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, kind: str, row: Row) -> bool:
        """Append a row. False when the buffer is closed."""
        size = size_of(row)
        bounds = self._bounds
        with self._changed:
            if self.is_closed:
                return False
            self.put_count += 1
            self._entries.append(Entry(self.put_count, kind, row, size))
            self._bytes += size
            while len(self._entries) > bounds.rows or (
                self._bytes > bounds.bytes and len(self._entries) > 1
            ):
                self._drop_oldest()
            if self._idle or self._is_batch():
                self._changed.notify_all()
            return True

    def take(self, linger: float) -> list[Entry]:
        """The oldest rows, one batch at most; waits for the first, then up to `linger` for more.

        They count as in hand until `settle`. Empty when the buffer was closed or somebody was in a
        hurry and nothing waits.
        """
        with self._changed:
            self._idle = True
            while not (self._entries or self._hurry or self.is_closed):
                self._changed.wait()
            self._idle = False
            deadline = time.monotonic() + linger
            while not (self._is_batch() or self._hurry or self.is_closed):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._take_batch()

    def settle(self) -> None:
        """What was taken last is delivered or given up."""
        with self._changed:
            self._in_hand = None
            self._changed.notify_all()

    def count_dropped(self, service: str, rows: int = 1) -> None:
        """Count rows that went without having been delivered."""
        with self._changed:
            self.dropped_count += rows
            self._unreported[service] = self._unreported.get(service, 0) + rows

    def take_unreported(self) -> dict[str, int]:
        """Dropped rows by service since this was last asked."""
        with self._changed:
            found, self._unreported = self._unreported, {}
            return found

    def pause(self, seconds: float, *, may_hurry: bool = True) -> None:
        """Wait; when somebody is in a hurry (and the wait may be cut short) only briefly."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self.is_closed:
                now = time.monotonic()
                if may_hurry and self._hurry:
                    deadline = min(deadline, now + _HURRIED_PAUSE)
                    may_hurry = False
                if now >= deadline:
                    return
                self._changed.wait(deadline - now)

    def wait_settled(self, seconds: float) -> bool:
        """Have everything put so far sent now, and wait for it; says whether all of it is settled.

        Settled is what was delivered, or dropped and counted.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            last = self.put_count
            while not self._is_settled(last):
                left = deadline - time.monotonic()
                if left <= 0 or self.is_closed:
                    return False
                self._hurry = True
                self._changed.notify_all()
                self._changed.wait(left)
            return True

    def close(self) -> int:
        """Take nothing more in; what still waits is dropped. Returns how many rows that were."""
        with self._changed:
            self.is_closed = True
            left = len(self._entries)
            while self._entries:
                self._drop_oldest()
            self._changed.notify_all()
            return left

    def _is_batch(self) -> bool:
        bounds = self._bounds
        return len(self._entries) >= bounds.batch_rows or self._bytes >= bounds.batch_bytes

    def _take_batch(self) -> list[Entry]:
        bounds = self._bounds
        taken: list[Entry] = []
        size = 0
        while self._entries and len(taken) < bounds.batch_rows and size < bounds.batch_bytes:
            entry = self._entries.popleft()
            size += entry.size
            taken.append(entry)
        self._bytes -= size
        self._in_hand = taken[0].seq if taken else None
        if not self._entries:
            self._hurry = False
        return taken

    def _is_settled(self, last: int) -> bool:
        oldest = self._entries[0].seq if self._entries else last + 1
        if self._in_hand is not None:
            oldest = min(oldest, self._in_hand)
        return oldest > last

    def _drop_oldest(self) -> None:
        entry = self._entries.popleft()
        self._bytes -= entry.size
        self.count_dropped(str(entry.row.get("service") or ""))
