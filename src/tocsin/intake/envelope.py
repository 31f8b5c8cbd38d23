"""The head of a record in a segment: what is said about a request besides its body.

The layout is the message `Envelope` of `tocsin.store.otlp`: project (1), receive time (2), request
(4). Head and body are written one after the other, so that no body is ever copied or encoded anew.
"""

from __future__ import annotations

import struct


def varint(value: int) -> bytes:
    """`value` as a protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def envelope_head(project: str, recv_ns: int, body_size: int) -> bytes:
    """What stands before an OTLP request body of `body_size` bytes.

    project: overrides what the resources say, "" for none. recv_ns: nanoseconds since the epoch.
    """
    name = project.encode()
    named = b"\x0a" + varint(len(name)) + name if name else b""
    return named + b"\x11" + struct.pack("<Q", recv_ns) + b"\x22" + varint(body_size)
