"""What was accepted and cannot be read: kept as a file, listed as a row, never in the way.

A segment that the engine cannot read is sifted: halved until the offending frames stand alone.
Those go to `<data>/quarantine/` byte for byte, each with a row in table `quarantine`; the segment
is rewritten without them and loaded. Sifting may be cut short and repeated: the segment is
replaced last, and a piece has the same file and the same row however often it is set aside.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from tocsin.domain.clock import Clock
from tocsin.domain.redaction import clean
from tocsin.store.clickhouse import DATABASE, ClickHouse, EngineError
from tocsin.store.frames import scan
from tocsin.store.kinds import Format, SegmentKind
from tocsin.store.segments import SegmentFile, sync_directory

_log = structlog.get_logger(__name__)
SOURCE = "segment"  # value of quarantine.source for frames set aside here
_BODY_PREVIEW = 4000
_ROWS_AT_ONCE = 100
_MOST_PROBES = 2000  # about half a minute

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
        for probe in directory.glob("*.probe"):  # of a process that was killed while sifting
            probe.unlink()
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
            pieces: list[Span] = [
                (frame.start, frame.stop) for frame in scan(kind.format, data, check=False)
            ]
            bad = self._bad(file, kind, select, data, pieces)
            if kind.format == "JSONEachRow":  # a line at a time, of those records only
                lines = {record: _lines(data, record) for record in bad}
                pieces = [part for piece in pieces for part in lines.get(piece, [piece])]
                bad = self._bad(file, kind, select, data, [p for ps in lines.values() for p in ps])
            kept = [piece for piece in pieces if piece not in bad]
            rows = [self._set_aside(file, data, piece, why) for piece, why in bad.items()]
            self._record(file.seg, rows)
            if bad:
                self._replace(file.path, data, kept)
        self.count += len(bad)
        return Sifted(len(bad), not kept)

    def _bad(
        self, file: SegmentFile, kind: SegmentKind, select: str, data: memoryview,
        pieces: Sequence[Span],
    ) -> dict[Span, str]:  # fmt: skip
        """The pieces that cannot be read and why, found by halving.

        When there are too many of them to find one by one, what is left goes in larger parts.
        """
        probe = self._directory / f"{file.path.stem}.probe"
        bad: dict[Span, str] = {}
        waiting = [list(pieces)] if pieces else []
        probes = 0
        try:
            while waiting:
                part = waiting.pop()
                probes += 1
                self._write(probe, data, part)
                why = self._complaint(kind, select, probe)
                if not why:
                    continue
                if len(part) == 1 or probes > _MOST_PROBES:
                    bad |= dict.fromkeys(part, why)
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
        held = data[piece[0] : piece[1]]
        digest = hashlib.blake2b(held, digest_size=6).hexdigest()
        name = f"{file.path.stem}-{piece[0]}-{digest}.bin"
        self._write(self._directory / name, data, [piece])
        # The file is what came, for a person to look at; the table holds what may be shown.
        return {
            "reason": clean(f"{reason} (kept in quarantine/{name})"),
            "body": clean(_printable(bytes(held[:_BODY_PREVIEW]))),
            "name": name,
        }

    def _record(self, seg: int, rows: Sequence[dict[str, str]]) -> None:
        """Rows of table `quarantine`, in place of those that an interrupted sifting left."""
        sync_directory(self._directory)
        recv = int(self._clock.now().timestamp() * 1_000_000)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            columns = {name: [row[name] for row in part] for name in ("name", "reason", "body")}
            self._engine.delete(
                "quarantine",
                f"seg = {{seg:UInt64}} AND source = '{SOURCE}'"
                " AND arrayExists(n -> position(reason, n) > 0, {names:Array(String)})",
                {"seg": seg, "names": columns["name"]},
            )
            self._engine.execute(
                f"INSERT INTO {DATABASE}.quarantine (recv, source, reason, body, seg)"
                f" SELECT fromUnixTimestamp64Micro({{recv:Int64}}, 'UTC'), '{SOURCE}', row.1,"
                " row.2, {seg:UInt64} FROM (SELECT arrayJoin(arrayZip("
                "{reason:Array(String)}, {body:Array(String)})) AS row)",
                {"recv": recv, "seg": seg, "reason": columns["reason"], "body": columns["body"]},
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


def _lines(data: memoryview, record: Span) -> list[Span]:
    """The lines of a record, which can be set aside one by one."""
    lines, start = [], record[0]
    for line in bytes(data[record[0] : record[1]]).splitlines(keepends=True):
        lines.append((start, start + len(line)))
        start += len(line)
    return lines


def _printable(data: bytes) -> str:
    return data.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
