"""Which request bodies were accepted lately, so that a client's retry does not count twice.

A digest is written into the frame of its request, in the same fdatasync; before a segment is
deleted its digests move to a journal here. After a restart both are read back, so that a retry
that reaches the next process is recognised as well.

The names of a file's batches (`tocsin.domain.batches`) are kept for good, in their own journal.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import structlog

from tocsin.domain.batches import is_batch
from tocsin.domain.clock import Clock
from tocsin.store.frames import DIGEST_BYTES

_log = structlog.get_logger(__name__)
_RECORD = struct.Struct(f"<{DIGEST_BYTES}sd")
KEEP = timedelta(minutes=15)
MOST = 262_144


class DigestMemory:
    """The digests of the last `keep`, at most `most` of them. Threads may share it."""

    def __init__(
        self, path: Path, clock: Clock, *, keep: timedelta = KEEP, most: int = MOST
    ) -> None:
        self._path = path
        self._clock = clock
        self._keep_s = keep.total_seconds()
        self._most = most
        self._lock = threading.Lock()
        self._times: OrderedDict[bytes, float] = OrderedDict()
        self._written = 0
        self._batches: set[bytes] = set()  # known
        self._kept: set[bytes] = set()  # of those, in the journal
        self._read()

    def __contains__(self, digest: bytes) -> bool:
        with self._lock:
            if is_batch(digest):
                return digest in self._batches
            at = self._times.get(digest)
            return at is not None and at > self._now() - self._keep_s

    def add(self, digests: Iterable[bytes]) -> None:
        """Remember `digests` from now on, in memory only."""
        now = self._now()
        with self._lock:
            for digest in digests:
                if is_batch(digest):
                    self._batches.add(digest)
                    continue
                self._times[digest] = now
                self._times.move_to_end(digest)
            self._forget(now)

    def journal(self, digests: Iterable[bytes]) -> None:
        """Write `digests` durably and remember those that are new, as a restart finds them."""
        now = self._now()
        with self._lock:
            batches, others = _parted(digests)
            self._journal_batches(batches)
            records = [_RECORD.pack(each, self._times.setdefault(each, now)) for each in others]
            if not records:
                return
            if self._written > 2 * self._most * _RECORD.size:
                self._rewrite(now)
            _append(self._path, b"".join(records))
            self._written += len(records) * _RECORD.size

    def _journal_batches(self, names: Iterable[bytes]) -> None:
        fresh = set(names) - self._kept
        if fresh:
            _append(self._batch_path, b"".join(sorted(fresh)))
            self._kept |= fresh
            self._batches |= fresh

    @property
    def _batch_path(self) -> Path:
        return self._path.with_name("batches.journal")

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _forget(self, now: float) -> None:
        while self._times:
            digest, at = next(iter(self._times.items()))
            if at > now - self._keep_s and len(self._times) <= self._most:
                return
            del self._times[digest]

    def _read(self) -> None:
        if self._batch_path.exists():
            names = self._batch_path.read_bytes()
            whole = len(names) - len(names) % DIGEST_BYTES
            if whole < len(names):  # the write that was cut short is made anew from its segment
                os.truncate(self._batch_path, whole)
            self._kept = {names[at : at + DIGEST_BYTES] for at in range(0, whole, DIGEST_BYTES)}
            self._batches = set(self._kept)
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = len(data) - len(data) % _RECORD.size
        now = self._now()
        # A time ahead of now is that of a clock which was set back since.
        records = [(d, min(at, now)) for d, at in _RECORD.iter_unpack(data[:whole]) if at > 0]
        self._times.update(sorted(records, key=lambda record: record[1]))
        try:
            self._rewrite(now)
        except OSError as error:  # a full disk must not keep the store from opening
            _log.warning("digests_not_rewritten", error=str(error))
            os.truncate(self._path, whole)
            self._written = whole

    def _rewrite(self, now: float) -> None:
        """Replace the journal by what is remembered, so that it does not grow without bound."""
        self._forget(now)
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb", buffering=0) as file:
            _write(file, b"".join(_RECORD.pack(*item) for item in self._times.items()))
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._written = len(self._times) * _RECORD.size


def _write(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _parted(digests: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Names of batches, and all others."""
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for digest in digests:
        parts[0 if is_batch(digest) else 1].append(digest)
    return parts


def _append(path: Path, data: bytes) -> None:
    """Whole or not at all: what follows half a record could not be read."""
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            _write(file, data)
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise
