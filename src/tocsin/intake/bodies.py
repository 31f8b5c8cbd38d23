"""Reads a request's body within bounds: size on the wire, size unpacked, time, and nothing beyond.

A compressed body is unpacked in slices and given up as soon as it passes its limit, so that a
gzip bomb costs no more memory than an honest request. A body that does not get on is given up too:
whoever sends a byte a minute would hold a connection and its memory for ever.
"""

from __future__ import annotations

import asyncio
import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from tocsin.domain.errors import IntakeError
from tocsin.intake.admission import Ticket

_SLICE = 1 << 20
_GZIP_BITS, _ZLIB_BITS = 31, 15


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes of a request as it arrives, and after unpacking.

    silence_s: the longest time between two parts of a body. whole_s: for all of it.
    """

    wire_bytes: int = 16 << 20
    unpacked_bytes: int = 64 << 20
    silence_s: float = 15.0
    whole_s: float = 120.0


def _unpacker() -> tuple[Callable[[int], Any], tuple[type[Exception], ...]]:
    """Make a decompressor for window bits, and what it raises: ISA-L where it is installed."""
    try:
        fast = importlib.import_module("isal.isal_zlib")
    except ImportError:
        return (lambda bits: zlib.decompressobj(wbits=bits)), (zlib.error,)
    return (lambda bits: fast.decompressobj(wbits=bits)), (zlib.error, fast.error)


_decompressor, _CORRUPT = _unpacker()


async def read_body(request: Request, limits: BodyLimits, ticket: Ticket) -> bytes:
    """The request's body as it came. IntakeError 400, 408, 413 or 429 when it cannot be had."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.wire_bytes:
        raise _too_large(int(declared), limits.wire_bytes)
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(limits.whole_s) as deadline:
            end = deadline.when() or 0.0
            async for chunk in request.stream():
                ticket.grow(len(chunk))
                if ticket.size > limits.wire_bytes:
                    raise _too_large(ticket.size, limits.wire_bytes)
                chunks.append(chunk)
                now = asyncio.get_running_loop().time()
                deadline.reschedule(min(end, now + limits.silence_s))
    except ClientDisconnect:
        raise IntakeError(400, "the connection was closed before the body was complete") from None
    except TimeoutError:
        raise IntakeError(
            408, f"only {ticket.size} bytes of the body came in time; send smaller batches"
        ) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def window_bits(encoding: str) -> int:
    """How a body in this Content-Encoding is unpacked; 0: not at all. IntakeError 415."""
    known = {"": 0, "identity": 0, "gzip": _GZIP_BITS, "x-gzip": _GZIP_BITS, "deflate": _ZLIB_BITS}
    bits = known.get(encoding.strip().lower())
    if bits is None:
        raise IntakeError(
            415, f"Content-Encoding {encoding!r} is not supported; send gzip, deflate or identity"
        )
    return bits


def unpack(data: bytes, window_bits: int, limit: int) -> bytes:
    """Unpack gzip (31) or zlib (15) data of one or more members into at most `limit` bytes."""
    out = bytearray()
    rest = data
    while rest:
        if not _begins(rest, window_bits):
            where = f"after {len(data) - len(rest)} bytes: what follows" if out else "it"
            kind = "gzip" if window_bits == _GZIP_BITS else "deflate (zlib, RFC 1950)"
            raise IntakeError(400, f"the compressed body is damaged, {where} is no {kind}")
        member = _decompressor(window_bits)
        rest = _member(member, rest, out, limit)
    return bytes(out)


def _begins(data: bytes, window_bits: int) -> bool:
    """Whether data of this kind can begin so: the magic of RFC 1952, the check of RFC 1950."""
    if window_bits == _GZIP_BITS:
        return data[:2] == b"\x1f\x8b" or data == b"\x1f"
    return data[0] & 15 == 8 and (len(data) == 1 or int.from_bytes(data[:2]) % 31 == 0)


def _member(member: Any, data: bytes, out: bytearray, limit: int) -> bytes:
    """Append one member to `out`; returns what follows it."""
    pending = data
    while not member.eof:
        try:
            piece = member.decompress(pending, _SLICE)
        except _CORRUPT as error:
            raise IntakeError(400, f"the compressed body is damaged: {error}") from None
        pending = member.unconsumed_tail
        out += piece
        if len(out) > limit:
            raise IntakeError(
                413,
                f"the body unpacks to more than {limit} bytes ({limit >> 20} MiB);"
                " send smaller batches",
            )
        if not piece and not pending and not member.eof:
            raise IntakeError(400, "the compressed body is truncated: it ends before its trailer")
    return bytes(member.unused_data)


def _too_large(size: int, limit: int) -> IntakeError:
    return IntakeError(
        413,
        f"the body has {size} bytes or more, the limit is {limit} bytes ({limit >> 20} MiB);"
        " send smaller batches or compress them",
    )
