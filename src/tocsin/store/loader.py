"""Carries closed segments into ClickHouse: one insert per segment, two at a time.

A segment whose insert fails is settled (`tocsin.store.reconcile`) while no other insert runs, as
often as it takes; what cannot be read ends in quarantine. A loaded segment is kept for a few
seconds, until the engine's files have been written through to the disk, and only then deleted:
ClickHouse itself does not fsync, so a power failure may take its latest parts.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from tocsin.domain.clock import monotonic_s
from tocsin.domain.errors import StoreError
from tocsin.store.digests import DigestMemory
from tocsin.store.quarantine import digests_of
from tocsin.store.reconcile import Inserts, Reconciler
from tocsin.store.scores import SCORE_ROWS, Placer
from tocsin.store.segments import SegmentFile

_log = structlog.get_logger(__name__)
THREADS = 2
SYNC_EVERY_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class LoaderState:
    """Vitals. lag_s: how long the oldest segment that is not loaded has waited."""

    loaded_segments: int
    loaded_bytes: int
    waiting_segments: int
    lag_s: float
    failures: int
    last_error: str


class _Gate:
    """Many may load at once; a repair waits for them and keeps new ones out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._repairing = False

    @contextmanager
    def loading(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._repairing)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def repairing(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._repairing)
            self._repairing = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._repairing = False
                self._changed.notify_all()


class Loader:
    """The loading threads. `put` hands them segments; `release` is told when bytes are loaded."""

    def __init__(
        self,
        inserts: Inserts,
        reconciler: Reconciler,
        digests: DigestMemory,
        release: Callable[[int], None],
        *,
        placer: Placer,
    ) -> None:
        self._placer = placer
        self._inserts = inserts
        self._reconciler = reconciler
        self._digests = digests
        self._release = release
        self._gate = _Gate()
        self._queue: queue.SimpleQueue[tuple[SegmentFile, int] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._waiting: dict[int, float] = {}
        self._loaded: list[SegmentFile] = []
        self._stopping = threading.Event()
        self._segments = self._bytes = self._failures = 0
        self._last_error = ""
        names = [f"loader-{n}" for n in range(THREADS)]
        self._workers = [threading.Thread(target=self._work, name=n, daemon=True) for n in names]
        self._sweeper = threading.Thread(target=self._sweep, name="segment-sweeper", daemon=True)
        for thread in (*self._workers, self._sweeper):
            thread.start()

    def put(self, file: SegmentFile, size: int) -> None:
        """Queue a closed segment."""
        with self._changed:
            self._waiting[file.seg] = monotonic_s()
        self._queue.put((file, size))

    def wait_idle(self, timeout_s: float | None = None) -> None:
        """Block until everything queued is loaded. StoreError after `timeout_s`."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting, timeout_s):
                raise StoreError(
                    f"{len(self._waiting)} segments are not loaded after {timeout_s} s:"
                    f" {self._last_error or 'the loader is busy'}"
                )

    def state(self) -> LoaderState:
        """The vitals now."""
        with self._changed:
            oldest = min(self._waiting.values(), default=None)
            lag = 0.0 if oldest is None else monotonic_s() - oldest
            return LoaderState(
                self._segments, self._bytes, len(self._waiting), lag, self._failures,
                self._last_error,
            )  # fmt: skip

    def close(self) -> None:
        """Load what is queued (a failing segment is left for the next start), then end."""
        for _ in self._workers:
            self._queue.put(None)
        self._stopping.set()
        for worker in self._workers:
            worker.join()
        self._sweeper.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            file, size = item
            if not self._load(file):
                continue
            self._release(-size)
            with self._changed:
                self._segments += 1
                self._bytes += size
                self._loaded.append(file)
                self._waiting.pop(file.seg, None)
                self._changed.notify_all()

    def _load(self, file: SegmentFile) -> bool:
        """True when the segment is in its table; False when it is left for the next start."""
        try:
            with self._gate.loading():
                self._inserts.insert(file)
                if file.kind == SCORE_ROWS.name:
                    self._placer.loaded(file.seg)
            return True
        except Exception as error:  # noqa: BLE001 (a loader must outlive any failure)
            self._note(file, error)
        pause = _FIRST_PAUSE_S
        while True:
            try:
                with self._gate.repairing():
                    settled = self._reconciler.settle(file)
                    self._reconciler.rebuild(settled.hours)
                return True
            except Exception as error:  # noqa: BLE001
                self._note(file, error)
            if self._stopping.wait(pause):
                return False
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _note(self, file: SegmentFile, error: Exception) -> None:
        with self._changed:
            self._failures += 1
            self._last_error = str(error)
        _log.warning("segment_not_loaded", segment=file.path.name, error=str(error)[:500])

    def _sweep(self) -> None:
        while not self._stopping.wait(SYNC_EVERY_S):
            self._retire_loaded()
            self._place()
        for worker in self._workers:
            worker.join()
        self._retire_loaded()

    def _place(self) -> None:
        try:
            self._placer.run()
        except Exception as error:  # noqa: BLE001 (they go on waiting)
            _log.warning("scores_not_placed", error=str(error)[:500])

    def _retire_loaded(self) -> None:
        with self._changed:
            files, self._loaded = self._loaded, []
        if not files:
            return
        try:
            retire(files, self._inserts, self._digests)
        except Exception as error:  # noqa: BLE001 (they stay; the next start counts and skips them)
            _log.error("segments_not_deleted", segments=len(files), error=str(error))


def retire(files: Iterable[SegmentFile], inserts: Inserts, digests: DigestMemory) -> None:
    """Delete segments whose rows are in their tables, once those are safe on the disk."""
    held = list(files)
    for file in held:
        if file.path.stat().st_size:
            digests.journal(digests_of(file.path, inserts.kind(file).format))
    os.sync()
    for file in held:
        file.path.unlink(missing_ok=True)
