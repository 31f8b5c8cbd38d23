"""Protobuf's JSON mapping, written straight to the wire.

`google.protobuf.json_format` looks up every member by reflection and builds a message of Python
objects only to serialise it, which made OTLP/JSON the slowest way in. Here every message type
becomes a table once, from member to what writes the bytes of its field, and a request is walked by
these tables. What is refused there is refused here: a number out of range, two members of one
oneof. So is text where an object belongs, which would be read there as an object without members,
and lost. Unknown members and unknown names of enums are ignored, as OTLP demands.

Source: protobuf's "ProtoJSON Format" and "Encoding"; opentelemetry-proto, `docs/specification.md`,
section "JSON Protobuf Encoding".
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tocsin.intake.envelope import varint

_F = FieldDescriptor
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 60
_HEX_IDS = {"trace_id", "span_id", "parent_span_id"}  # hex in OTLP, where other bytes are base64
_NOT_HEX = b"?"  # an id that no span may have
_SMALL = tuple(bytes([size]) for size in range(0x80))

Scalar = Callable[[Any], bytes]
Put = Callable[[Any, int], bytes]  # value, depth -> tag and payload, b"" for nothing


class Malformed(ValueError):
    """A value that its member cannot have; the text says which and where."""


class Message:
    """How one message type is written.

    fields: by both names a member may have, its number, what writes it, and the name of its oneof.
    """

    def __init__(self) -> None:
        self.fields: dict[str, tuple[int, Put, str]] = {}
        self.has_oneofs = False

    def write(self, value: Any, depth: int = 0) -> bytes:
        """The body of the message that a JSON object stands for. Malformed for what is none."""
        if value == []:  # what PHP writes for an object without members
            return b""
        if not isinstance(value, Mapping):
            raise Malformed(f": expected an object, not {str(value)[:60]!r}")
        if depth >= _MAX_DEPTH:
            raise Malformed(": nested too deeply")
        fields = self.fields
        found: dict[int, bytes] = {}  # one per field, so that the last of two spellings holds
        for name, member in value.items():
            field = fields.get(name)
            if field is None or member is None:
                continue
            try:
                found[field[0]] = field[1](member, depth)
            except Malformed as error:
                raise Malformed(f".{name}{error}") from None
            except (TypeError, ValueError, OverflowError, struct.error, binascii.Error) as error:
                raise Malformed(f".{name}: {error}") from None
        if self.has_oneofs and len(found) > 1:
            self._refuse_two_of_one(value)
        return b"".join(found.values())

    def _refuse_two_of_one(self, value: Mapping[str, Any]) -> None:
        said: set[str] = set()
        for name, member in value.items():
            oneof = self.fields[name][2] if name in self.fields and member is not None else ""
            if oneof and oneof in said:
                raise Malformed(f".{name}: another member of {oneof!r} is given too")
            said.add(oneof)


@cache
def message(descriptor: Descriptor) -> Message:
    """The tables of a message type and of all that it holds; made once."""
    return _made(descriptor, {})


def _made(descriptor: Descriptor, known: dict[str, Message]) -> Message:
    if descriptor.full_name in known:  # a value may hold values
        return known[descriptor.full_name]
    made = known[descriptor.full_name] = Message()
    for field in descriptor.fields:
        oneof = field.containing_oneof.name if field.containing_oneof else ""
        made.has_oneofs |= bool(oneof)
        entry = (field.number, _put(field, known), oneof)
        made.fields[field.name] = made.fields[field.json_name] = entry
    return made


def _put(field: FieldDescriptor, known: dict[str, Message]) -> Put:
    if field.message_type is not None:
        return _submessages(field, _made(field.message_type, known))
    kind, scalar = _scalar(field)
    tag = varint(field.number << 3 | kind)
    if not field.is_repeated:
        if kind == _DELIMITED:
            return lambda value, _: tag + _sized(scalar(value))
        return lambda value, _: tag + told if (told := scalar(value)) else b""
    if kind == _DELIMITED:
        return lambda value, _: b"".join([tag + _sized(scalar(one)) for one in _elements(value)])
    packed = varint(field.number << 3 | _DELIMITED)
    return lambda value, _: packed + _sized(b"".join([scalar(one) for one in _elements(value)]))


def _submessages(field: FieldDescriptor, made: Message) -> Put:
    tag, write = varint(field.number << 3 | _DELIMITED), made.write
    if not field.is_repeated:
        return lambda value, depth: tag + _sized(write(value, depth + 1))

    def put(value: Any, depth: int) -> bytes:
        out = []
        for place, one in enumerate(_elements(value)):
            try:
                out.append(tag + _sized(write(one, depth + 1)))
            except Malformed as error:
                raise Malformed(f"[{place}]{error}") from None
        return b"".join(out)

    return put


def _scalar(field: FieldDescriptor) -> tuple[int, Scalar]:
    """The wire type of a field without a message, and what writes its value."""
    plain: dict[int, tuple[int, Scalar]] = {
        _F.TYPE_STRING: (_DELIMITED, str.encode),
        _F.TYPE_BOOL: (_VARINT, _boolean),
        _F.TYPE_BYTES: (_DELIMITED, _identity if field.name in _HEX_IDS else _base64),
        _F.TYPE_FIXED64: (_FIXED64, lambda value: struct.pack("<Q", _integer(value))),
        _F.TYPE_SFIXED64: (_FIXED64, lambda value: struct.pack("<q", _integer(value))),
        _F.TYPE_FIXED32: (_FIXED32, lambda value: struct.pack("<I", _integer(value))),
        _F.TYPE_DOUBLE: (_FIXED64, lambda value: struct.pack("<d", _double(value))),
        _F.TYPE_INT32: (_VARINT, lambda value: _varint(_integer(value), 31)),
        _F.TYPE_INT64: (_VARINT, lambda value: _varint(_integer(value), 63)),
        _F.TYPE_UINT32: (_VARINT, lambda value: _unsigned(_integer(value), 32)),
        _F.TYPE_UINT64: (_VARINT, lambda value: _unsigned(_integer(value), 64)),
        _F.TYPE_SINT32: (_VARINT, lambda value: _zigzag(_integer(value), 31)),
    }
    if field.enum_type is not None:
        numbers = {value.name: value.number for value in field.enum_type.values}
        return _VARINT, lambda value: _enum(value, numbers)
    return plain[field.type]


def _sized(payload: bytes) -> bytes:
    size = len(payload)
    return (_SMALL[size] if size < 0x80 else varint(size)) + payload


def _elements(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(f": expected a list, not {str(value)[:60]!r}")
    if None in value:
        raise Malformed(f"[{value.index(None)}]: null is no element of a list")
    return value


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, bool):
        raise Malformed(f": {value} is not a whole number")
    if isinstance(value, str) and value.isdigit() and value.isascii():
        return int(value)
    number = float(value) if isinstance(value, str | float) else None
    if number is None or not number.is_integer() or (isinstance(value, str) and " " in value):
        raise Malformed(f": {str(value)[:60]!r} is not a whole number")
    try:
        return int(value)  # of text: exact, which a float is not
    except ValueError:
        return int(number)


def _double(value: Any) -> float:
    number = float(value)
    if value == "nan" or (number - number != 0 and not isinstance(value, str)):
        raise Malformed(f': {value} is not JSON; write "NaN", "Infinity" or "-Infinity"')
    return number


def _boolean(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise Malformed(f": expected true or false, not {str(value)[:60]!r}")
    return b"\x01" if value else b"\x00"


def _enum(value: Any, numbers: Mapping[str, int]) -> bytes:
    if isinstance(value, str) and value not in numbers:
        try:
            value = int(value)
        except ValueError:
            return b""  # a name of a later version
    number = numbers[value] if isinstance(value, str) else int(value)
    return _varint(number, 31)


def _identity(value: Any) -> bytes:
    """An id from its hex digits; anything else becomes one that no span may have."""
    if not isinstance(value, str):
        raise Malformed(f": expected hex digits, not {str(value)[:60]!r}")
    try:
        return binascii.unhexlify(value)
    except ValueError:
        return _NOT_HEX


def _base64(value: Any) -> bytes:
    encoded = str.encode(value)
    return base64.urlsafe_b64decode(encoded + b"=" * (4 - len(encoded) % 4))


def _varint(number: int, bits: int) -> bytes:
    """A signed number in two's complement of 64 bits."""
    if not -(1 << bits) <= number < 1 << bits:
        raise Malformed(f": {number} is out of range")
    return varint(number if number >= 0 else number + (1 << 64))


def _unsigned(number: int, bits: int) -> bytes:
    if not 0 <= number < 1 << bits:
        raise Malformed(f": {number} is out of range")
    return varint(number)


def _zigzag(number: int, bits: int) -> bytes:
    if not -(1 << bits) <= number < 1 << bits:
        raise Malformed(f": {number} is out of range")
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)
