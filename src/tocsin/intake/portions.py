"""Cuts a large OTLP body into portions, so that checking it takes the memory of one of them.

A parsed message can be seventy times the size of its bytes: a body of nothing but empty spans, or
one span of empty attributes, unpacks from kilobytes to megabytes to gigabytes. A portion is a
request of its own (its resource and scope are repeated), and portions one after the other are one
request again. Only the outline of a body is walked here, item by item; an item that is a portion by
itself is counted through, and refused when it holds too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

from tocsin.domain.errors import IntakeError
from tocsin.intake.envelope import varint

PORTION = 1 << 20
MOST_ITEMS = 500_000
MOST_FIELDS = 100_000  # in an item larger than a portion

_TOP, _SCOPES, _ITEMS = 1, 2, 2
_LENGTH_DELIMITED = 2
_FIXED = {1: 8, 5: 4}
# field numbers of messages within messages, by signal: what an item can hold much of
_WITHIN: dict[str, dict[str, dict[int, str]]] = {
    "traces": {"item": {9: "pair", 11: "event", 13: "link"}},
    "logs": {"item": {5: "value", 6: "pair"}},
    "metrics": {
        "item": {5: "data", 7: "data", 9: "data", 10: "data", 11: "data"},
        "data": {1: "point"},
        "point": {7: "pair", 9: "pair", 1: "pair"},
    },
}
_SHARED = {
    "event": {3: "pair"},
    "link": {4: "pair"},
    "pair": {2: "value"},
    "value": {5: "array", 6: "map"},
    "array": {1: "value"},
    "map": {1: "pair"},
}

Field = tuple[int, int, int, int]
T = TypeVar("T")


def portions(signal: str, body: bytes) -> Iterator[bytes]:
    """The body as requests of about `PORTION` bytes; itself when it is no larger.

    IntakeError 400 for what is no protobuf, 413 for more items, or more within one, than anybody
    sends.
    """
    if len(body) <= PORTION:
        yield body
        return
    view = memoryview(body)
    items, held, size = 0, list[bytes](), 0
    for head, members in _members(view):
        items += 1 + len(members)
        if items > MOST_ITEMS:
            raise IntakeError(413, f"more than {MOST_ITEMS} items in one body; send fewer")
        for part in _parts(members):
            length = sum(stop - start for start, stop in part)
            if length > PORTION and len(part) == 1:
                _count(signal, view[part[0][0] : part[0][1]])
            held.append(_request(head, b"".join(view[start:stop] for start, stop in part)))
            size += len(held[-1])
            if size >= PORTION:
                yield b"".join(held)
                held, size = [], 0
    yield b"".join(held)


def _members(view: memoryview) -> Iterator[tuple[tuple[bytes, bytes], list[tuple[int, int]]]]:
    """For every scope what stands beside its items (of the resource, of the scope) and the spans
    [start, stop) of its items, tags included."""
    for number, wire, start, stop in _bounded(_fields(view, 0, len(view))):
        if (number, wire) != (_TOP, _LENGTH_DELIMITED):
            continue
        if start == stop:
            yield (b"", b""), []
            continue
        fields = _bounded(_spans(view, start, stop))
        scopes = [f for f in fields if f[:2] == (_SCOPES, _LENGTH_DELIMITED)]
        about = [f for f in fields if f[:2] != (_SCOPES, _LENGTH_DELIMITED)]
        resource = b"".join(view[f[4] : f[3]] for f in about)
        for _, _, scope_start, scope_stop, _ in scopes:
            inner = _bounded(_spans(view, scope_start, scope_stop))
            items = [(f[4], f[3]) for f in inner if f[:2] == (_ITEMS, _LENGTH_DELIMITED)]
            beside = [f for f in inner if f[:2] != (_ITEMS, _LENGTH_DELIMITED)]
            yield (resource, b"".join(view[f[4] : f[3]] for f in beside)), items


def _bounded(fields: Iterator[T]) -> list[T]:
    """The fields as a list; IntakeError 413 as soon as there are more than anybody sends."""
    found = list(islice(fields, MOST_ITEMS + 1))
    if len(found) > MOST_ITEMS:
        raise IntakeError(413, f"more than {MOST_ITEMS} items in one body; send fewer")
    return found


def _parts(items: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Neighbouring items by about `PORTION` bytes."""
    part: list[tuple[int, int]] = []
    size = 0
    for start, stop in items:
        if part and size + stop - start > PORTION:
            yield part
            part, size = [], 0
        part.append((start, stop))
        size += stop - start
    yield part  # also of no items: a scope without any is kept


def _request(head: tuple[bytes, bytes], items: bytes) -> bytes:
    resource, beside = head
    scope = b"\x12" + varint(len(beside) + len(items)) + beside + items
    return b"\x0a" + varint(len(resource) + len(scope)) + resource + scope


def _count(signal: str, item: memoryview) -> None:
    within = _WITHIN[signal] | _SHARED
    _, head = _varint(item, 1)
    waiting = [("item", head, len(item))]
    count = 0
    while waiting:
        kind, start, stop = waiting.pop()
        for number, wire, inner, end in _fields(item, start, stop):
            count += 1
            if count > MOST_FIELDS:
                raise IntakeError(
                    413, f"more than {MOST_FIELDS} attributes, events and values in one item"
                )
            inside = within.get(kind, {}).get(number)
            if inside and wire == _LENGTH_DELIMITED:
                waiting.append((inside, inner, end))


def _spans(view: memoryview, start: int, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Fields as `_fields` has them, and where their tags start."""
    at = start
    for number, wire, inner, end in _fields(view, start, stop):
        yield number, wire, inner, end, at
        at = end


def _fields(view: memoryview, start: int, stop: int) -> Iterator[Field]:
    """(number, wire type, start, stop) of the fields of a message in `view[start:stop]`."""
    at = start
    while at < stop:
        tag, at = _varint(view, at)
        if tag < 8:
            raise _damaged()  # there is no field number 0
        wire = tag & 7
        if wire == _LENGTH_DELIMITED:
            size, at = _varint(view, at)
        elif wire == 0:
            size = _varint(view, at)[1] - at
        elif wire in _FIXED:
            size = _FIXED[wire]
        else:
            raise _damaged()  # groups: nobody writes them any more
        if at + size > stop:
            raise _damaged()
        yield tag >> 3, wire, at, at + size
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """The value at `at` and where it ends."""
    value = shift = 0
    while at < len(view) and shift < 70:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _damaged()


def _damaged() -> IntakeError:
    return IntakeError(400, "the body is not OTLP: it cannot be read as protobuf")
