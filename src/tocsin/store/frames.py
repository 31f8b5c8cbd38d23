"""Frames: how appended records lie in a segment file, so that a torn one is told from a whole one.

A segment is read by ClickHouse as it stands, so a frame may contain nothing that its input format
would trip over. Protobuf: a length-delimited message whose last two fields, numbers 100 and 101,
are the digest and a CRC-32; readers skip field numbers they do not know. JSONEachRow: whole lines,
the last of which has a member `_frame` with the same two. ArrowStream: the file is one record.

The checksum covers the record as it was handed in, without the digest. A frame whose checksum does
not fit was never acknowledged, because the write that put it there was cut short, or it was damaged
since; frames after it are found again by their own checksums. An Arrow stream is whole when it has
its end marker.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tocsin.store.kinds import Format

Buffer = bytes | bytearray | memoryview

DIGEST_BYTES = 16
_DIGEST_TAG = b"\xa2\x06\x10"  # field 100, length-delimited, 16 bytes
_CRC_TAG = b"\xad\x06"  # field 101, fixed32
_CRC_SIZE = len(_CRC_TAG) + 4
_DIGEST_SIZE = len(_DIGEST_TAG) + DIGEST_BYTES
_ARROW_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_MAX_FRAME = 1 << 31
_CRC_MARK = re.compile(rb"(?=" + re.escape(_CRC_TAG) + rb")")
_MOST_CHECKED = 1 << 30  # bytes of checksums in search of a line that starts a record
# Where a record may start: on a new line, or behind a mark whose end of line was damaged.
_LINE_START = re.compile(rb'\n|"_frame":"[0-9a-f]{8}(?:[0-9a-f]{32})?"\}.', re.DOTALL)
_LINE_MARK = re.compile(rb',"_frame":"([0-9a-f]{8})([0-9a-f]{32})?"\}\n')


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes [start, stop) of a segment. `whole` is false where the checksum does not fit."""

    start: int
    stop: int
    whole: bool
    digest: bytes = b""


def encode(form: Format, chunks: Sequence[Buffer], digest: bytes = b"") -> list[Buffer]:
    """The chunks to write for one record: `chunks` unchanged, with what makes them a frame.

    digest: b"" or 16 bytes. ValueError for a record that its format cannot hold.
    """
    if digest and len(digest) != DIGEST_BYTES:
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
    if form == "ArrowStream":
        if digest:
            raise ValueError("an Arrow stream has no place for a digest")
        return list(chunks)
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
    if form == "Protobuf":
        mark = (_DIGEST_TAG + digest if digest else b"") + _CRC_TAG + crc.to_bytes(4, "little")
        size = sum(len(chunk) for chunk in chunks) + len(mark)
        return [_varint(size), *chunks, mark]
    return _lines(chunks, digest)


def _lines(chunks: Sequence[Buffer], digest: bytes) -> list[Buffer]:
    body = b"".join(chunks).rstrip(b"\n")
    if not body.endswith(b"}") or body.endswith(b"{}"):
        raise ValueError("JSON lines must be objects with at least one member")
    crc = zlib.crc32(body)
    return [body[:-1], f',"_frame":"{crc:08x}{digest.hex()}"}}\n'.encode()]


def scan(form: Format, data: Buffer, *, check: bool = True) -> Iterator[Frame]:
    """The frames of a segment in order. Bytes that are no frame are broken frames among them.

    check: compute checksums; without it only the outline is read, until something is broken.
    """
    view = memoryview(data)
    if form == "Protobuf":
        return _scan_messages(view, check=check)
    if form == "JSONEachRow":
        return _scan_lines(view, check=check)
    whole = view[-len(_ARROW_END) :] == _ARROW_END
    return iter([Frame(0, len(view), whole)] if len(view) else [])


def _scan_messages(view: memoryview, *, check: bool) -> Iterator[Frame]:
    start = 0
    while start < len(view):
        frame = _message(view, start, check=check)
        if not frame.whole:
            frame = Frame(start, _next_whole(view, frame), False)
        yield frame
        start = frame.stop


def _next_whole(view: memoryview, broken: Frame) -> int:
    """Where the next frame with a fitting checksum starts, the end when there is none.

    Frames follow one another, so it starts where a checksum stands, right behind it, or where the
    broken one says that it ends.
    """
    last = len(view)
    if broken.stop < last and _message(view, broken.stop, check=True).whole:
        last = broken.stop
    for mark in _CRC_MARK.finditer(view, broken.start + 1, last):
        after = mark.start() + _CRC_SIZE
        if after < last and _message(view, after, check=True).whole:
            return after
    return last


def _message(view: memoryview, start: int, *, check: bool) -> Frame:
    """The frame at `start`; not whole when there is none."""
    size, head = _read_varint(view, start)
    body, stop = start + head, start + head + size
    crc_at = stop - _CRC_SIZE
    if head == 0 or size < _CRC_SIZE or stop > len(view):
        return Frame(start, len(view), False)
    if view[crc_at : crc_at + len(_CRC_TAG)] != _CRC_TAG:
        return Frame(start, stop, False)
    crc = int.from_bytes(view[stop - 4 : stop], "little")
    digest_at = crc_at - _DIGEST_SIZE
    marked = digest_at >= body and view[digest_at : digest_at + len(_DIGEST_TAG)] == _DIGEST_TAG
    if not check:
        digest = bytes(view[crc_at - DIGEST_BYTES : crc_at]) if marked else b""
        return Frame(start, stop, True, digest)
    if marked and zlib.crc32(view[body:digest_at]) == crc:
        return Frame(start, stop, True, bytes(view[crc_at - DIGEST_BYTES : crc_at]))
    return Frame(start, stop, zlib.crc32(view[body:crc_at]) == crc)


def _scan_lines(view: memoryview, *, check: bool) -> Iterator[Frame]:
    start = 0
    for mark in _LINE_MARK.finditer(view):
        digest = bytes.fromhex((mark[2] or b"").decode())
        first = _first_line(view, start, mark) if check else start
        if first > start:
            yield Frame(start, first, False)
        if first < mark.end():
            yield Frame(first, mark.end(), True, digest)
        start = mark.end()
    if start < len(view):
        yield Frame(start, len(view), False)


def _first_line(view: memoryview, start: int, mark: re.Match[bytes]) -> int:
    """Where the record that ends with `mark` starts: at `start`, or at a later line when what is
    before it belongs to a record whose own mark was damaged. The end of the mark if nowhere."""
    wanted, budget = int(mark[1], 16), _MOST_CHECKED
    while zlib.crc32(b"}", zlib.crc32(view[start : mark.start()])) != wanted:
        line = _LINE_START.search(view, start, mark.start())
        budget -= mark.start() - start
        if line is None or budget < 0:
            return mark.end()
        start = line.end()
    return start


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """The value at `at` and how many bytes it takes; (0, 0) when there is none."""
    value = 0
    for place, byte in enumerate(view[at : at + 5]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return (value, place + 1) if value < _MAX_FRAME else (0, 0)
    return 0, 0
