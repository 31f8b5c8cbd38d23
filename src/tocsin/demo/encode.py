"""Columns to OTLP/HTTP protobuf bodies, a few microseconds per span.

A span is written as two pieces. The first has a fixed layout (ids, times, token counts, session),
so that NumPy fills it in for all spans of a kind at once. The second is the text that many spans
share (model, tenant, prompt, outcome); it is built once per combination and remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.demo import wire
from tocsin.demo.conventions import ANY_SERVICE, ERROR, Shape, Shapes
from tocsin.demo.spans import FINISHES, Ints, Mask, Names, Rows
from tocsin.domain.errors import TocsinError

MAX_SPANS = 512  # what OpenTelemetry's batch processor exports at most, by default

_HEX = np.frombuffer(b"".join(b"%02x" % n for n in range(256)), np.uint8).reshape(256, 2)
_SPAN_FIELD = b"\x12"  # ScopeSpans.spans
_FLAGS = wire.fixed32(16, 0x100)  # parent known to be local, as the SDKs of today say
_UNTIMED = wire.attribute("tocsin.duration.unknown", True)
_ID_SOURCES: dict[str, tuple[int, Callable[[Rows], Rows]]] = {
    "session": (6, lambda rows: rows["session"]),
    "user": (4, lambda rows: _bytes(rows["user"], 4)),
    "response": (10, lambda rows: np.concatenate([rows["span"], rows["trace"][:, :2]], axis=1)),
}


def _bytes(column: Rows, width: int) -> Rows:
    """A numeric column as big-endian bytes [n, width]."""
    return np.ascontiguousarray(column.astype(f">u{width}")).view(np.uint8).reshape(-1, width)


def _little(values: Rows) -> Rows:
    """int64 or float64 as little-endian bytes [n, 8]."""
    order = "<f8" if values.dtype.kind == "f" else "<i8"
    return np.ascontiguousarray(values.astype(order)).view(np.uint8).reshape(-1, 8)


@dataclass(frozen=True)
class _Slot:
    """Where bytes go in the fixed piece, and how they are made from rows."""

    offset: int
    width: int
    make: Callable[[Rows], Rows]


@dataclass(frozen=True)
class _Layout:
    """The fixed piece of one kind of span with one set of known numbers."""

    template: npt.NDArray[np.uint8]
    slots: tuple[_Slot, ...]

    def fill(self, rows: Rows) -> list[bytes]:
        """The fixed piece of every row."""
        block = np.tile(self.template, (rows.size, 1))
        for slot in self.slots:
            block[:, slot.offset : slot.offset + slot.width] = slot.make(rows)
        pieces: list[bytes] = block.view(f"V{self.template.size}").ravel().tolist()
        return pieces


class _Drawing:
    """Collects the parts of a layout."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._slots: list[_Slot] = []
        self._size = 0

    def text(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)

    def hole(self, width: int, make: Callable[[Rows], Rows]) -> None:
        self._slots.append(_Slot(self._size, width, make))
        self.text(bytes(width))

    def attribute(self, key: str, head: bytes, width: int, make: Callable[[Rows], Rows]) -> None:
        """A KeyValue whose value is `head` followed by `width` bytes from the rows."""
        value = wire.tag(2, 2) + wire.varint(len(head) + width) + head
        name = wire.nested(1, key.encode())
        self.text(wire.tag(9, 2) + wire.varint(len(name) + len(value) + width) + name + value)
        self.hole(width, make)

    def done(self) -> _Layout:
        return _Layout(np.frombuffer(b"".join(self._parts), np.uint8), tuple(self._slots))


class Encoder:
    """Turns rows of `SPAN` into request bodies. Keeps what it built once; not for two threads."""

    def __init__(self, names: Names, shapes: Shapes) -> None:
        self._names = names
        self._shapes = shapes
        self._layouts: dict[tuple[int, int, int], _Layout] = {}
        self._tails: dict[tuple[int, int, int, int], bytes] = {}
        self._resources: dict[int, bytes] = {}

    def bodies(self, rows: Rows, limit: int = MAX_SPANS) -> list[bytes]:
        """Request bodies of at most `limit` spans of one process each, oldest first in each.

        A process is a service in a region at a release. Bodies follow one another by the end of
        their last span.
        """
        if not rows.size:
            return []
        spans = self._encode(rows)
        process = (
            rows["service"].astype(np.int64) << 32
            | rows["region"].astype(np.int64) << 16
            | rows["release"]
        )
        order = np.lexsort((rows["end"], process))
        cuts = np.flatnonzero(np.diff(process[order])) + 1
        found = []
        for group in np.split(order, cuts):
            resource = self._resource(int(process[group[0]]), rows[group[0]])
            for first in range(0, group.size, limit):
                part = group[first : first + limit]
                body = self._body(resource, part, rows, spans)
                found.append((int(rows["end"][part[-1]]), body))
        found.sort(key=lambda item: item[0])
        return [body for _, body in found]

    # ------------------------------------------------------------------------------- bodies

    def _resource(self, key: int, row: Rows) -> bytes:
        known = self._resources.get(key)
        if known is None:
            names = self._names
            service, region = names.services[int(row["service"])], names.regions[int(row["region"])]
            known = wire.nested(
                1,
                wire.attributes(
                    (
                        ("service.name", service),
                        ("service.version", names.releases[int(row["release"])]),
                        ("deployment.environment.name", "prod"),
                        ("cloud.region", region),
                        ("service.instance.id", f"{service}-{region}-0" if region else ""),
                        ("telemetry.sdk.language", "python"),
                        ("telemetry.sdk.name", "opentelemetry"),
                        ("telemetry.sdk.version", "1.45.2"),
                    ),
                    field=1,
                ),
            )
            self._resources[key] = known
        return known

    def _body(self, resource: bytes, part: Ints, rows: Rows, spans: Rows) -> bytes:
        """One ExportTraceServiceRequest; spans of one scope stand together."""
        by_scope: dict[tuple[str, str], list[Rows]] = {}
        kinds = rows["kind"][part]
        service = int(rows["service"][part[0]])
        for kind in np.unique(kinds):
            shape = self._shape(service, int(kind))
            by_scope.setdefault((shape.scope, shape.version), []).append(spans[part[kinds == kind]])
        scopes = []
        for (name, version), groups in by_scope.items():
            scope = wire.nested(1, name.encode())
            if version:
                scope += wire.nested(2, version.encode())
            joined = b"".join(b"".join(group.tolist()) for group in groups)
            scopes.append(wire.nested(2, wire.nested(1, scope) + joined))
        return wire.nested(1, resource + b"".join(scopes))

    def _shape(self, service: int, kind: int) -> Shape:
        name = self._names.services[service]
        shape = self._shapes.get((name, kind)) or self._shapes.get((ANY_SERVICE, kind))
        if shape is None:
            raise TocsinError(f"no convention says how {name} writes spans of kind {kind}")
        return shape

    # -------------------------------------------------------------------------------- spans

    def _encode(self, rows: Rows) -> Rows:
        """Every row as `ScopeSpans.spans` field, in an object array."""
        out = np.empty(rows.size, object)
        which = rows["service"].astype(np.int64) << 8 | rows["kind"]
        for key in np.unique(which):
            service, kind = int(key) >> 8, int(key) & 0xFF
            shape = self._shape(service, kind)
            mine = np.flatnonzero(which == key)
            known = _known(shape, rows[mine])
            for bits in np.unique(known):
                index = mine[known == bits]
                layout = self._layout(service, kind, int(bits), shape)
                out[index] = self._joined(shape, (service, kind, int(bits)), layout, rows[index])
        return out

    def _joined(
        self, shape: Shape, which: tuple[int, int, int], layout: _Layout, rows: Rows
    ) -> Rows:
        heads = layout.fill(rows)
        shared = _shared(rows)
        codes, inverse = np.unique(shared, return_inverse=True)
        tails: list[bytes | None] = []
        for code, first in zip(codes.tolist(), _first_of(inverse, codes.size), strict=True):
            tails.append(self._tail(shape, (*which, code), rows[first]))
        width = layout.template.size
        prefixes = [
            b"" if tail is None else _SPAN_FIELD + wire.varint(width + len(tail)) for tail in tails
        ]
        found = []
        for number, (head, at) in enumerate(zip(heads, inverse.tolist(), strict=True)):
            tail = tails[at]
            if tail is None:
                tail = self._own_tail(shape, rows[number])
                found.append(_SPAN_FIELD + wire.varint(width + len(tail)) + head + tail)
            else:
                found.append(prefixes[at] + head + tail)
        out = np.empty(rows.size, object)
        out[:] = found
        return out

    def _layout(self, service: int, kind: int, bits: int, shape: Shape) -> _Layout:
        known = self._layouts.get((service, kind, bits))
        if known is None:
            known = self._layouts[service, kind, bits] = _draw(shape, bits)
        return known

    def _tail(self, shape: Shape, key: tuple[int, int, int, int], row: Rows) -> bytes | None:
        """The shared text of a span, or None when each span has its own (a failure with an id)."""
        failure = self._names.outcomes[row["outcome"]]
        if failure is not None and (shape.raised or "{id}" in failure.message):
            return None
        known = self._tails.get(key)
        if known is None:
            if len(self._tails) > 200_000:  # a trace of very many tenants: start over
                self._tails.clear()
            known = self._tails[key] = self._own_tail(shape, row)
        return known

    def _own_tail(self, shape: Shape, row: Rows) -> bytes:
        names = self._names
        provider, model = names.model_of(int(row["model"]))
        tenant = names.tenants[int(row["tenant"])]
        fill = {
            "{model}": model,
            "{provider}": provider,
            "{tenant}": tenant,
            "{tier}": names.tiers.get(tenant, ""),
            "{prompt}": names.prompts[int(row["prompt"])],
        }
        pairs = [(key, _filled(value, fill)) for key, value in shape.attributes]
        finish = FINISHES[row["finish"]]
        if shape.finish and finish:
            key, as_array = shape.finish
            word = shape.words.get(finish, finish)
            pairs.append((key, (word,) if as_array else word))
        name = str(_filled(shape.name, fill)).strip().encode()
        parts = [wire.nested(5, name), wire.number(6, shape.kind), wire.attributes(pairs)]
        if shape.documents:
            parts.append(_documents(int(row["documents"])))
        if not row["timed"]:
            parts.append(_UNTIMED)
        parts.append(self._status(shape, row, model))
        return b"".join(parts) + _FLAGS

    def _status(self, shape: Shape, row: Rows, model: str) -> bytes:
        failure = self._names.outcomes[row["outcome"]]
        if failure is None:
            return wire.nested(15, wire.number(3, shape.status)) if shape.status else b""
        request = row["span"].tobytes().hex() + row["trace"][:4].tobytes().hex()
        message = failure.message.replace("{id}", request).replace("{model}", model)
        text = f"{failure.type}: {message}" if shape.named else message
        found = wire.nested(15, wire.nested(2, text.encode()) + wire.number(3, ERROR))
        if shape.typed:
            found += wire.attribute("error.type", failure.type)
        if shape.raised:
            full = f"{failure.module}.{failure.type}" if failure.module else failure.type
            pairs = (("exception.type", full), ("exception.message", message))
            found += wire.event(int(row["end"]), "exception", pairs)
        return found


# --------------------------------------------------------------------------------------------


def _numbers(shape: Shape) -> list[tuple[Callable[[Rows], Rows], str]]:
    def column(name: str) -> Callable[[Rows], Rows]:
        if name != "total":
            return lambda rows: rows[name]
        return lambda rows: np.where(
            (rows["input"] >= 0) & (rows["output"] >= 0),
            rows["input"].astype(np.int64) + rows["output"], -1,
        )  # fmt: skip

    return [(column(name), key) for name, key in shape.numbers]


def _known(shape: Shape, rows: Rows) -> Ints:
    """Which optional parts of the fixed piece each row has, as bits."""
    present: list[Mask] = [np.asarray(rows["parent"].any(axis=1)), rows["outcome"] == 0]
    present.append((rows["ttft"] >= 0) & (shape.first_token is not None))
    present += [column(rows) >= 0 for column, _ in _numbers(shape)]
    bits = np.zeros(rows.size, np.int64)
    for place, column in enumerate(present):
        bits |= column.astype(np.int64) << place
    return bits


def _draw(shape: Shape, bits: int) -> _Layout:
    drawing = _Drawing()
    drawing.text(b"\x0a\x10")
    drawing.hole(16, lambda rows: rows["trace"])
    drawing.text(b"\x12\x08")
    drawing.hole(8, lambda rows: rows["span"])
    if bits & 1:
        drawing.text(b"\x22\x08")
        drawing.hole(8, lambda rows: rows["parent"])
    drawing.text(b"\x39")
    drawing.hole(8, lambda rows: _little(rows["start"]))
    drawing.text(b"\x41")
    drawing.hole(8, lambda rows: _little(rows["end"]))
    for place, (column, key) in enumerate(_numbers(shape)):
        if bits >> (place + 3) & 1:
            drawing.attribute(key, b"\x18", wire.INT_WIDTH, _padded(column))
    for source, key, prefix in shape.texts:
        if source != "response" or bits & 2:
            width, make = _ID_SOURCES[source]
            head = b"\x0a" + wire.varint(len(prefix) + 2 * width) + prefix.encode()
            drawing.attribute(key, head, 2 * width, _hexed(make, width))
    if bits & 4 and shape.first_token is not None:
        _draw_first_token(drawing, *shape.first_token)
    return drawing.done()


def _draw_first_token(drawing: _Drawing, style: str, name: str) -> None:
    if style == "attribute":
        drawing.attribute(name, b"\x21", 8, lambda rows: _little(rows["ttft"] / 1e9))
        return
    named = wire.nested(2, name.encode())
    drawing.text(wire.tag(11, 2) + wire.varint(9 + len(named)) + b"\x09")
    drawing.hole(8, lambda rows: _little(rows["start"] + rows["ttft"]))
    drawing.text(named)


def _padded(column: Callable[[Rows], Rows]) -> Callable[[Rows], Rows]:
    return lambda rows: wire.padded(column(rows))


def _hexed(make: Callable[[Rows], Rows], width: int) -> Callable[[Rows], Rows]:
    return lambda rows: _HEX[make(rows)].reshape(-1, 2 * width)


def _shared(rows: Rows) -> Ints:
    """One number per combination of what the shared text depends on. Widths: see `Names`."""
    shared = rows["tenant"].astype(np.int64)
    for name, width in (("model", 10), ("prompt", 10), ("outcome", 12), ("finish", 3)):
        shared = shared << width | rows[name]
    return np.asarray(shared << 5 | (rows["documents"] + 1) << 1 | rows["timed"], dtype=np.int64)


def _first_of(inverse: Ints, count: int) -> list[int]:
    """The first row of each combination."""
    first = np.zeros(count, np.int64)
    first[inverse[::-1]] = np.arange(inverse.size)[::-1]
    return [int(n) for n in first]


def _filled(value: wire.Value, fill: dict[str, str]) -> wire.Value:
    if isinstance(value, str) and "{" in value:
        for placeholder, text in fill.items():
            value = value.replace(placeholder, text)
    return value


def _documents(count: int) -> bytes:
    """What a retriever found (-1: it never answered); scores fall off as scores do.

    LangChain's retriever says that it found nothing by an output without documents.
    """
    if count == 0:
        return wire.attribute("output.value", '{"documents": []}')
    pairs: list[tuple[str, wire.Value]] = []
    for n in range(count):
        pairs.append((f"retrieval.documents.{n}.document.id", f"contract-{n}"))
        pairs.append((f"retrieval.documents.{n}.document.score", round(0.86 - 0.07 * n, 2)))
    return wire.attributes(pairs)
