"""The few protobuf shapes that OTLP traces are made of, as bytes.

Numbers that differ from span to span are written at a fixed width: a varint may carry leading
groups of zeros, every decoder has to accept them, and fixed widths are what lets NumPy fill in a
thousand spans at once. Source: protobuf encoding guide; opentelemetry-proto trace.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from tocsin.demo.spans import Ints, Rows

Value = str | int | float | bool | tuple[str, ...]

INT_WIDTH = 4  # bytes of a padded varint: up to 268,435,455
MAX_INT = (1 << 7 * INT_WIDTH) - 1

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def varint(value: int) -> bytes:
    """`value` (not negative) in the shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def padded(values: Ints) -> Rows:
    """Varints of INT_WIDTH bytes each: uint8 [n, INT_WIDTH]. Values are cut at MAX_INT."""
    clipped = np.clip(values, 0, MAX_INT).astype(np.int64)
    shifts = 7 * np.arange(INT_WIDTH)
    groups = (clipped[:, None] >> shifts) & 0x7F
    groups[:, :-1] |= 0x80
    return groups.astype(np.uint8)


def tag(number: int, kind: int) -> bytes:
    """The key of a field."""
    return varint(number << 3 | kind)


def nested(number: int, body: bytes) -> bytes:
    """A length-delimited field: text, bytes or a message."""
    return tag(number, _LENGTH) + varint(len(body)) + body


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return tag(field, _VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """A fixed64 field."""
    return tag(field, _FIXED64) + struct.pack("<Q", value)


def fixed32(field: int, value: int) -> bytes:
    """A fixed32 field."""
    return tag(field, _FIXED32) + struct.pack("<I", value)


def any_value(value: Value) -> bytes:
    """The body of an AnyValue: text, truth, integer, double, or an array of texts."""
    if isinstance(value, str):
        return nested(1, value.encode())
    if isinstance(value, bool):
        return number(2, int(value))
    if isinstance(value, int):
        return number(3, value)
    if isinstance(value, float):
        return tag(4, _FIXED64) + struct.pack("<d", value)
    return nested(5, b"".join(nested(1, any_value(item)) for item in value))


def attribute(key: str, value: Value, field: int = 9) -> bytes:
    """A KeyValue as field `field` of its message (9 in a span, 1 in a resource, 3 in an event)."""
    return nested(field, nested(1, key.encode()) + nested(2, any_value(value)))


def attributes(pairs: Sequence[tuple[str, Value]], field: int = 9) -> bytes:
    """Several of them; an empty text means that there is nothing to say and is left out."""
    return b"".join(attribute(key, value, field) for key, value in pairs if value != "")


def event(at_ns: int, name: str, pairs: Sequence[tuple[str, Value]] = ()) -> bytes:
    """A span event (field 11)."""
    return nested(11, fixed64(1, at_ns) + nested(2, name.encode()) + attributes(pairs, 3))
