"""What was accepted and cannot be read: kept as a file, listed as a row, never in the way.

A segment that the engine cannot read is sifted: halved until the offending frames stand alone.
Those go to `<data>/quarantine/` byte for byte, each with a row in table `quarantine`; the segment
is rewritten without them and loaded. Sifting may be cut short and repeated: the segment is
replaced last, and the rows of one segment replace each other.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from tocsin.domain.clock import Clock
from tocsin.store.clickhouse import DATABASE, ClickHouse, EngineError
from tocsin.store.frames import scan
from tocsin.store.kinds import Format, SegmentKind
from tocsin.store.segments import SegmentFile, sync_directory

_log = structlog.get_logger(__name__)
SOURCE = "segment"  # value of quarantine.source for frames set aside here
_BODY_PREVIEW = 4000

Span = tuple[int, int]


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file without reading it into memory; empty for an empty file."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                yield view
            finally:
                view.release()


def digests_of(path: Path, form: Format) -> list[bytes]:
    """The digests of the requests that a segment holds."""
    with mapped(path) as data:
        return [frame.digest for frame in scan(form, data, check=False) if frame.digest]


@dataclass(frozen=True, slots=True)
class Sifted:
    """What sifting did: how many pieces were set aside and whether anything is left to load."""

    set_aside: int
    is_empty: bool


class Quarantine:
    """The quarantine of one data directory."""

    def __init__(self, engine: ClickHouse, directory: Path, clock: Clock) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._engine = engine
        self._directory = directory
        self._clock = clock
        self.count = 0

    def mend(self, file: SegmentFile, form: Format) -> int:
        """Cut out frames whose checksum does not fit; returns how many bytes were cut.

        They were never acknowledged. The bytes are kept for a person to look at.
        """
        with mapped(file.path) as data:
            frames = list(scan(form, data))
            torn = [(frame.start, frame.stop) for frame in frames if not frame.whole]
            if not torn:
                return 0
            kept = [(frame.start, frame.stop) for frame in frames if frame.whole]
            self._write(self._directory / f"{file.path.stem}.torn", data, torn)
            self._replace(file.path, data, kept)
        size = sum(stop - start for start, stop in torn)
        _log.warning("torn_frames_cut", segment=file.path.name, bytes=size)
        return size

    def sift(self, file: SegmentFile, kind: SegmentKind, select: str, reason: str) -> Sifted:
        """Set aside the pieces of `file` that `select` cannot read, and rewrite it without them."""
        with mapped(file.path) as data:
            pieces = _pieces(kind.format, data)
            bad = self._bad(file, kind, select, data, pieces)
            kept = [piece for piece in pieces if piece not in bad]
            rows = [
                self._set_aside(file, data, piece, f"{why or reason}") for piece, why in bad.items()
            ]
            self._record(file.seg, rows)
            if bad:
                self._replace(file.path, data, kept)
        self.count += len(bad)
        return Sifted(len(bad), not kept)

    def whole(self, file: SegmentFile, kind: SegmentKind, reason: str) -> None:
        """Set a whole segment aside: each piece can be read, and yet it cannot be loaded."""
        with mapped(file.path) as data:
            row = self._set_aside(file, data, (0, len(data)), reason)
            self._record(file.seg, [row])
            self._replace(file.path, data, [])
        self.count += 1
        _log.error("segment_quarantined", segment=file.path.name, kind=kind.name, reason=reason)

    def _bad(
        self, file: SegmentFile, kind: SegmentKind, select: str, data: memoryview,
        pieces: Sequence[Span],
    ) -> dict[Span, str]:  # fmt: skip
        """The pieces that cannot be read and why, found by halving."""
        probe = self._directory / f"{file.path.stem}.probe"
        bad: dict[Span, str] = {}
        waiting = [list(pieces)]
        try:
            while waiting:
                part = waiting.pop()
                self._write(probe, data, part)
                why = self._complaint(kind, select, probe)
                if not why:
                    continue
                if len(part) == 1:
                    bad[part[0]] = why
                else:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
        finally:
            probe.unlink(missing_ok=True)
        return bad

    def _complaint(self, kind: SegmentKind, select: str, path: Path) -> str:
        """What the engine says against reading all columns of a file; "" when nothing."""
        try:
            self._engine.write_segment(
                f"INSERT INTO FUNCTION null('nothing UInt8') SELECT ignore(*) FROM ({select})",
                kind,
                path,
            )
        except EngineError as error:
            if not error.blames_data:
                raise
            return str(error)
        return ""

    def _set_aside(
        self, file: SegmentFile, data: memoryview, piece: Span, reason: str
    ) -> dict[str, str]:
        name = f"{file.path.stem}-{piece[0]}.bin"
        self._write(self._directory / name, data, [piece])
        preview = bytes(data[piece[0] : min(piece[1], piece[0] + _BODY_PREVIEW)])
        return {"reason": f"{reason} (kept in quarantine/{name})", "body": _printable(preview)}

    def _record(self, seg: int, rows: Sequence[dict[str, str]]) -> None:
        sync_directory(self._directory)
        self._engine.delete(
            "quarantine", f"seg = {{seg:UInt64}} AND source = '{SOURCE}'", {"seg": seg}
        )
        micros = int(self._clock.now().timestamp() * 1_000_000)
        for row in rows:
            self._engine.execute(
                f"INSERT INTO {DATABASE}.quarantine (recv, source, reason, body, seg)"
                f" SELECT fromUnixTimestamp64Micro({{recv:Int64}}, 'UTC'), '{SOURCE}',"
                " {reason:String}, {body:String}, {seg:UInt64}",
                {"recv": micros, "seg": seg, **row},
            )

    def _replace(self, path: Path, data: memoryview, spans: Sequence[Span]) -> None:
        fresh = path.with_suffix(".mended")
        self._write(fresh, data, spans)
        fresh.replace(path)
        sync_directory(path.parent)

    @staticmethod
    def _write(path: Path, data: memoryview, spans: Sequence[Span]) -> None:
        with path.open("wb") as file:
            for start, stop in spans:
                file.write(data[start:stop])
            file.flush()
            os.fsync(file.fileno())


def _pieces(form: Format, data: memoryview) -> list[Span]:
    """The smallest parts that can be set aside: frames, or single lines of JSON."""
    if form != "JSONEachRow":
        return [(frame.start, frame.stop) for frame in scan(form, data, check=False)]
    pieces, start = [], 0
    for line in bytes(data).splitlines(keepends=True):
        pieces.append((start, start + len(line)))
        start += len(line)
    return pieces


def _printable(data: bytes) -> str:
    return data.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
