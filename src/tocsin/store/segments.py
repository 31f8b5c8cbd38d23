"""Write-ahead segments: what is accepted is on disk before it is acknowledged.

One thread owns the files. It gathers what arrives within about 2 ms, appends it to the current
segment of each kind and calls fdatasync once per segment touched; only then do the waiting callers
return. A segment is closed after 40 MB or one second and handed to the loader by name. When some
wait there, the next ones stay open longer: loading one takes its time however little is in it, so
that a loader that falls behind gets fewer and larger ones, and catches up.

    0000002a00000007-traces.open            being written
    0000002a00000007-traces.ready           waiting for the loader
    0000002a00000008-traces-careful.ready   to be read with the kind's careful SELECT

The upper half of the number is the start of the process (`wal/epoch`), the lower half counts, so
that a number is never used twice, whatever the clock does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from tocsin.domain.clock import monotonic_s
from tocsin.domain.errors import IntakeError
from tocsin.store.digests import DigestMemory
from tocsin.store.frames import Buffer, encode
from tocsin.store.kinds import SegmentKind

_log = structlog.get_logger(__name__)
_IOV_MAX = 512
_RETRY_AFTER_S = 5
_LONGEST_AGE = 30  # times `segment_age_s`, however far the loader is behind


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment on disk, named by what it is."""

    seg: int
    kind: str
    careful: bool
    path: Path

    @classmethod
    def parse(cls, path: Path) -> SegmentFile | None:
        """What the file's name says, or None when it is not a segment."""
        if path.suffix not in {".open", ".ready"}:
            return None
        number, _, rest = path.stem.partition("-")
        kind, _, mark = rest.partition("-")
        if len(number) != 16 or not kind or mark not in {"", "careful"}:
            return None
        try:
            return cls(int(number, 16), kind, mark == "careful", path)
        except ValueError:
            return None

    @classmethod
    def named(
        cls, directory: Path, seg: int, kind: str, *, careful: bool, state: str
    ) -> SegmentFile:
        """The file of that name in `directory`; state: open | ready."""
        mark = "-careful" if careful else ""
        return cls(seg, kind, careful, directory / f"{seg:016x}-{kind}{mark}.{state}")

    @property
    def is_ready(self) -> bool:
        """Whether nothing will be appended any more."""
        return self.path.suffix == ".ready"

    def ready(self) -> SegmentFile:
        """Rename to .ready."""
        path = self.path.with_suffix(".ready")
        self.path.rename(path)
        return SegmentFile(self.seg, self.kind, self.careful, path)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a segment is closed, how long a group gathers, and when nothing more is accepted.

    segment_age_s: once for every segment that waits, of which two may be loading. backlog_bytes:
    accepted and not yet loaded. min_free_bytes: what must stay free on the disk.
    """

    segment_bytes: int = 40 << 20
    segment_age_s: float = 1.0
    linger_s: float = 0.002
    backlog_bytes: int = 1 << 30
    min_free_bytes: int = 512 << 20


@dataclass(slots=True)
class _Append:
    """One record on its way to the disk."""

    kind: SegmentKind
    careful: bool
    chunks: list[Buffer]
    size: int
    digest: bytes
    done: Future[None] = field(default_factory=Future)


@dataclass(slots=True)
class _Open:
    """A segment being written: its descriptor, how much is acknowledged, when it was made."""

    file: SegmentFile
    descriptor: int
    born: float
    size: int = 0
    is_uncut: bool = False  # more is in the file than was acknowledged


def next_epoch(directory: Path, last_start: Callable[[], int] = lambda: 0) -> int:
    """Count the starts of processes that write here; durable before it is used.

    last_start: asked for the highest number in use when the count is lost or unreadable.
    """
    path = directory / "epoch"
    try:
        last = int(path.read_text())
    except (FileNotFoundError, ValueError):
        last = last_start()
    epoch = last + 1
    fresh = directory / "epoch.new"
    with fresh.open("w") as file:
        file.write(str(epoch))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(directory)
    return epoch


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SegmentWriter:
    """Appends records durably, in groups. Any thread and any event loop may call it."""

    def __init__(
        self,
        directory: Path,
        kinds: Mapping[str, SegmentKind],
        digests: DigestMemory,
        on_ready: Callable[[SegmentFile, int], None],
        *,
        epoch: int,
        limits: Limits | None = None,
    ) -> None:
        """on_ready: called by the writing thread with every closed segment and its size."""
        self._directory = directory
        self._kinds = kinds
        self._digests = digests
        self._on_ready = on_ready
        self._limits = limits or Limits()
        self._number = epoch << 32
        self._wake = threading.Condition()
        self._pending: list[_Append] = []
        self._rotations: list[Future[None]] = []
        self._in_flight: dict[bytes, Future[None]] = {}
        self._backlog = 0
        self._waiting = 0  # closed segments that are not loaded
        self._stopping = threading.Event()
        self._open: dict[tuple[str, bool], _Open] = {}
        self._stuck: list[_Open] = []
        self.appended = 0
        self._thread = threading.Thread(target=self._run, name="segments", daemon=True)
        self._thread.start()

    async def append(
        self,
        kind: SegmentKind | str,
        chunks: Sequence[Buffer],
        *,
        digest: bytes = b"",
        careful: bool = False,
    ) -> bool:
        """Returns when the record is on disk; False if `digest` had been accepted before.

        IntakeError 429 when the loader is too far behind, 503 when the disk is full or failing;
        the record is then not stored.
        """
        done, is_new = self._submit(kind, chunks, digest, careful=careful)
        if done is not None:
            await asyncio.wrap_future(done)
        return is_new

    def append_now(
        self,
        kind: SegmentKind | str,
        chunks: Sequence[Buffer],
        *,
        digest: bytes = b"",
        careful: bool = False,
    ) -> bool:
        """`append` for callers without an event loop; blocks the calling thread."""
        done, is_new = self._submit(kind, chunks, digest, careful=careful)
        if done is not None:
            done.result()
        return is_new

    def seen(self, digest: bytes) -> bool:
        """Whether a record with this digest was accepted within the last 15 minutes."""
        return digest in self._digests

    @property
    def backlog_bytes(self) -> int:
        """Accepted bytes that are not loaded yet."""
        return self._backlog

    def add_backlog(self, size: int, segments: int = 1) -> None:
        """Account for bytes and segments that wait for the loader (negative: that are loaded)."""
        with self._wake:
            self._backlog += size
            self._waiting += segments

    def rotate(self) -> None:
        """Close the open segments now; returns when they are with the loader."""
        asked: Future[None] = Future()
        with self._wake:
            self._refuse_if_stopped()
            self._rotations.append(asked)
            self._wake.notify()
        asked.result()

    def close(self) -> None:
        """Write what is pending, close the segments and end the thread."""
        with self._wake:
            self._stopping.set()
            self._wake.notify()
        self._thread.join()

    def _submit(
        self, kind: SegmentKind | str, chunks: Sequence[Buffer], digest: bytes, *, careful: bool
    ) -> tuple[Future[None] | None, bool]:
        """The future to wait for (None: nothing to wait for), and whether the record is new."""
        known = self._kinds[kind] if isinstance(kind, str) else kind
        framed = encode(known.format, chunks, digest)
        item = _Append(known, careful, framed, sum(len(chunk) for chunk in framed), digest)
        item.done.set_running_or_notify_cancel()  # a caller that goes away must not undo the write
        with self._wake:
            self._refuse_if_stopped()
            if digest:
                twin = self._in_flight.get(digest)
                if twin is not None:
                    return twin, False
                if digest in self._digests:
                    return None, False
            if self._backlog + item.size > self._limits.backlog_bytes and self._backlog:
                raise IntakeError(
                    429,
                    f"{self._backlog >> 20} MB of telemetry wait to be loaded; slow down",
                    retry_after_s=_RETRY_AFTER_S,
                )
            if digest:
                self._in_flight[digest] = item.done
            self._backlog += item.size
            self._pending.append(item)
            if len(self._pending) == 1:
                self._wake.notify()
        return item.done, True

    def _refuse_if_stopped(self) -> None:
        if self._stopping.is_set():
            raise IntakeError(503, "the server is shutting down", retry_after_s=_RETRY_AFTER_S)

    # The writing thread

    def _run(self) -> None:
        while True:
            with self._wake:
                if not (self._pending or self._rotations or self._stopping.is_set()):
                    idle = not (self._open or self._stuck)
                    self._wake.wait(None if idle else self._limits.segment_age_s / 4)
                has_work = bool(self._pending)
            if has_work:
                self._stopping.wait(self._limits.linger_s)
            with self._wake:
                group, self._pending = self._pending, []
                rotations, self._rotations = self._rotations, []
                ends = self._stopping.is_set() and not group
            if group:
                self._write(group)
            self._close_due(all_of_them=bool(rotations) or ends)
            for asked in rotations:
                asked.set_result(None)
            if ends:
                return

    def _write(self, group: list[_Append]) -> None:
        by_segment: dict[tuple[str, bool], list[_Append]] = {}
        for item in group:
            by_segment.setdefault((item.kind.name, item.careful), []).append(item)
        for key, items in by_segment.items():
            if items[0].kind.format == "ArrowStream":
                for item in items:
                    self._commit(key, [item])
                    self._rotate(key)
            else:
                self._commit(key, items)

    def _commit(self, key: tuple[str, bool], items: list[_Append]) -> None:
        """Append, sync, answer. On failure the segment is cut back to what was acknowledged."""
        try:
            self._check_disk()
            segment = self._open.get(key) or self._create(key)
            _write_all(segment.descriptor, [chunk for item in items for chunk in item.chunks])
            os.fdatasync(segment.descriptor)
        except Exception as error:  # noqa: BLE001 (the writing thread must outlive any failure)
            _log.error("segment_not_written", kind=key[0], records=len(items), error=str(error))
            self._undo(key)
            self._answer(items, _refusal(error))
            return
        segment.size += sum(item.size for item in items)
        self.appended += len(items)
        self._digests.add(item.digest for item in items if item.digest)
        self._answer(items, None)
        if segment.size >= self._limits.segment_bytes:
            self._rotate(key)

    def _answer(self, items: list[_Append], error: IntakeError | None) -> None:
        with self._wake:
            for item in items:
                self._in_flight.pop(item.digest, None)
                if error is not None:
                    self._backlog -= item.size
        for item in items:
            if error is None:
                item.done.set_result(None)
            else:
                item.done.set_exception(error)

    def obstacle(self) -> str:
        """Why nothing can be accepted now, "" when it can."""
        free = shutil.disk_usage(self._directory).free
        if free >= self._limits.min_free_bytes:
            return ""
        return (
            f"only {free >> 20} MB are free under {self._directory}; Tocsin stops accepting"
            f" telemetry below {self._limits.min_free_bytes >> 20} MB"
        )

    def _check_disk(self) -> None:
        if obstacle := self.obstacle():
            raise IntakeError(503, obstacle, retry_after_s=60)

    def _create(self, key: tuple[str, bool]) -> _Open:
        self._number += 1
        kind, careful = key
        file = SegmentFile.named(self._directory, self._number, kind, careful=careful, state="open")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
        descriptor = os.open(file.path, flags, 0o600)
        sync_directory(self._directory)
        self._open[key] = segment = _Open(file, descriptor, monotonic_s())
        return segment

    def _undo(self, key: tuple[str, bool]) -> None:
        """After a failed write: keep the acknowledged part only."""
        segment = self._open.get(key)
        if segment is None:
            return
        segment.is_uncut = True
        try:
            _cut(segment)
        except OSError as error:  # what was refused must not be loaded: nothing more goes in
            _log.error("segment_not_cut", path=str(segment.file.path), error=str(error))
            self._stuck.append(self._open.pop(key))

    def _close_due(self, *, all_of_them: bool) -> None:
        age_s = self._limits.segment_age_s * min(max(1, self._waiting - 1), _LONGEST_AGE)
        oldest = monotonic_s() - age_s
        stuck, self._stuck = self._stuck, []
        for segment in stuck:
            self._hand_over(segment)
        for key, segment in list(self._open.items()):
            if all_of_them or segment.born <= oldest:
                self._rotate(key)

    def _rotate(self, key: tuple[str, bool]) -> None:
        kind, careful = key
        if careful:  # what was accepted before it is to be loaded before it
            self._rotate((kind, False))
        segment = self._open.pop(key, None)
        if segment is not None:
            self._hand_over(segment)

    def _hand_over(self, segment: _Open) -> None:
        """Close a segment and give it to the loader; when that fails, it is tried again."""
        try:
            if segment.is_uncut:
                _cut(segment)
            if segment.size == 0:
                segment.file.path.unlink()
                os.close(segment.descriptor)
                return
            ready = segment.file.ready()
        except OSError as error:
            _log.error("segment_not_closed", path=str(segment.file.path), error=str(error))
            self._stuck.append(segment)
            return
        os.close(segment.descriptor)
        with self._wake:
            self._waiting += 1
        self._on_ready(ready, segment.size)


def _cut(segment: _Open) -> None:
    os.ftruncate(segment.descriptor, segment.size)
    os.fsync(segment.descriptor)
    segment.is_uncut = False


def _write_all(descriptor: int, chunks: list[Buffer]) -> None:
    for start in range(0, len(chunks), _IOV_MAX):
        part = chunks[start : start + _IOV_MAX]
        size = sum(len(chunk) for chunk in part)
        written = os.writev(descriptor, part)
        if written < size:  # a signal or a full disk: finish the rest plainly
            rest = memoryview(b"".join(part))[written:]
            while rest:
                rest = rest[os.write(descriptor, rest) :]


def _refusal(error: Exception) -> IntakeError:
    if isinstance(error, IntakeError):
        return error
    return IntakeError(
        503, f"telemetry cannot be written to disk: {error}", retry_after_s=_RETRY_AFTER_S
    )
