"""Reads a request's body within bounds: size on the wire, size unpacked, and nothing beyond.

A compressed body is unpacked in slices and given up as soon as it passes its limit, so that a
gzip bomb costs no more memory than an honest request.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from tocsin.domain.errors import IntakeError

_SLICE = 1 << 20
_GZIP_BITS, _ZLIB_BITS = 31, 15


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes of a request as it arrives, and after unpacking."""

    wire_bytes: int = 16 << 20
    unpacked_bytes: int = 64 << 20


def _unpacker() -> tuple[Callable[[int], Any], tuple[type[Exception], ...]]:
    """Make a decompressor for window bits, and what it raises: ISA-L where it is installed."""
    try:
        fast = importlib.import_module("isal.isal_zlib")
    except ImportError:
        return (lambda bits: zlib.decompressobj(wbits=bits)), (zlib.error,)
    return (lambda bits: fast.decompressobj(wbits=bits)), (zlib.error, fast.error)


_decompressor, _CORRUPT = _unpacker()


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """The request's body, unpacked. IntakeError 400, 413 or 415 when there is something wrong."""
    raw = await _raw(request, limits.wire_bytes)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return raw
    if encoding in {"gzip", "x-gzip"}:
        return unpack(raw, _GZIP_BITS, limits.unpacked_bytes)
    if encoding == "deflate":
        return unpack(raw, _ZLIB_BITS, limits.unpacked_bytes)
    raise IntakeError(
        415, f"Content-Encoding {encoding!r} is not supported; send gzip, deflate or identity"
    )


async def _raw(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(int(declared), limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(size, limit)
            chunks.append(chunk)
    except ClientDisconnect:
        raise IntakeError(400, "the connection was closed before the body was complete") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def unpack(data: bytes, window_bits: int, limit: int) -> bytes:
    """Unpack gzip (31) or zlib (15) data of one or more members into at most `limit` bytes."""
    out = bytearray()
    rest = data
    while rest:
        member = _decompressor(window_bits)
        rest = _member(member, rest, out, limit)
    return bytes(out)


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
