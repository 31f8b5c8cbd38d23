"""Carries closed segments into ClickHouse: one insert per segment, two at a time.

A careful segment looks into what is stored already, so that it waits for those queued before it: a
call must be found by the wrapper that came after it.

A segment whose insert fails is settled (`tocsin.store.reconcile`) while no other insert runs, as
often as it takes; between two tries others have their turn. What cannot be read ends in
quarantine. A loaded segment is kept for a few seconds, until the engine's files have been written
through to the disk, and only then deleted: ClickHouse itself does not fsync, so a power failure
may take its latest parts.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, takewhile

import structlog

from tocsin.domain.clock import monotonic_s
from tocsin.domain.errors import StoreError
from tocsin.store.digests import DigestMemory
from tocsin.store.gate import Gate
from tocsin.store.quarantine import digests_of
from tocsin.store.reconcile import Inserts, Reconciler
from tocsin.store.scores import SCORE_ROWS, Placer
from tocsin.store.segments import SegmentFile

_log = structlog.get_logger(__name__)
THREADS = 2
SYNC_EVERY_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_LONGEST_TURN_S = 30.0  # a segment that cannot be loaded must not hold up the others for ever


@dataclass(frozen=True, slots=True)
class LoaderState:
    """Vitals. lag_s: how long the oldest segment that is not loaded has waited."""

    loaded_segments: int
    loaded_bytes: int
    waiting_segments: int
    lag_s: float
    failures: int
    last_error: str


@dataclass(order=True, slots=True)
class _Job:
    """A segment to load, and when. is_new: nothing of it can be in its table yet.

    order: of the queue, which is not that of the numbers: a segment may be made before another and
    closed after it. A careful one waits for those queued before it, so they must be taken first.
    """

    due: float
    order: int
    file: SegmentFile = field(compare=False)
    size: int = field(compare=False)
    is_new: bool = field(compare=False)
    pause: float = field(compare=False, default=_FIRST_PAUSE_S)


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
        self._gate = Gate()
        self._jobs: list[_Job] = []
        self._order = count()
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
        """Queue a closed segment of which nothing is loaded."""
        self._put(_Job(0.0, next(self._order), file, size, is_new=True))

    def put_leftover(self, file: SegmentFile, size: int) -> None:
        """Queue a segment of a former process, of which some or all may be loaded."""
        self._put(_Job(0.0, next(self._order), file, size, is_new=False))

    def put_loaded(self, files: Iterable[SegmentFile]) -> None:
        """Have segments deleted that are in their tables."""
        with self._changed:
            self._loaded += files

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
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()
        self._sweeper.join()

    def _put(self, job: _Job) -> None:
        with self._changed:
            self._waiting.setdefault(job.file.seg, monotonic_s())
            heapq.heappush(self._jobs, job)
            self._changed.notify_all()

    def _take(self) -> _Job | None:
        """The next job that is due; None when the loader ends and nothing new is left."""
        with self._changed:
            while True:
                wait_s = self._jobs[0].due - monotonic_s() if self._jobs else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._jobs)
                if self._stopping.is_set():
                    return None
                self._changed.wait(wait_s)

    def _work(self) -> None:
        while (job := self._take()) is not None:
            if job.file.careful and job.is_new:
                self._await_turn(job.file.seg)
            if not self._load(job):
                due = monotonic_s() + job.pause
                pause = min(2 * job.pause, _LONGEST_PAUSE_S)
                self._put(_Job(due, job.order, job.file, job.size, is_new=False, pause=pause))
                continue
            self._release(-job.size)
            with self._changed:
                self._segments += 1
                self._bytes += job.size
                self._loaded.append(job.file)
                self._waiting.pop(job.file.seg, None)
                self._changed.notify_all()

    def _await_turn(self, seg: int) -> None:
        """Return when every segment that was queued before `seg` is loaded, or after a while."""
        with self._changed:
            ahead = set(takewhile(lambda other: other != seg, self._waiting))
            self._changed.wait_for(
                lambda: self._stopping.is_set() or ahead.isdisjoint(self._waiting), _LONGEST_TURN_S
            )

    def _load(self, job: _Job) -> bool:
        """True when the segment is in its table."""
        if job.is_new:
            try:
                with self._gate.shared():
                    self._inserts.insert(job.file)
                    self._note_scores(job.file)
                return True
            except Exception as error:  # noqa: BLE001 (a loader must outlive any failure)
                self._note(job.file, error)
        try:
            with self._gate.alone():
                job.file = self._reconciler.repair(job.file)
                self._note_scores(job.file)
            return True
        except Exception as error:  # noqa: BLE001
            self._note(job.file, error)
        return False

    def _note_scores(self, file: SegmentFile) -> None:
        if file.kind == SCORE_ROWS.name:
            self._placer.loaded(file.seg)

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
        except Exception as error:  # noqa: BLE001 (they stay, and are tried again)
            _log.error("segments_not_deleted", segments=len(files), error=str(error))
            with self._changed:
                self._loaded = files + self._loaded


def retire(files: Iterable[SegmentFile], inserts: Inserts, digests: DigestMemory) -> None:
    """Delete segments whose rows are in their tables, once those are safe on the disk."""
    held = [file for file in files if file.path.exists()]
    for file in held:
        if file.path.stat().st_size:
            digests.journal(digests_of(file.path, inserts.kind(file).format))
    os.sync()
    for file in held:
        file.path.unlink(missing_ok=True)
