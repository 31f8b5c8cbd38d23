"""Arrow tables that anybody may have sent, as rows: only what Python can hold, and never too much.

A few kilobytes of Arrow can stand for gigabytes: buffers may be compressed, a dictionary repeats a
long text for a byte a row, and values of type null take no room at all. So what a stream unpacks to
is read from its messages before it is unpacked, and what its values come to is counted before they
become Python's.

Source: Arrow columnar format, "Serialization and Interprocess Communication", and the flatbuffers
schema `Message.fbs`.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.domain.errors import IntakeError

MAX_ROWS = 1_000_000
MOST_VALUES = 10_000_000
MOST_TEXT = 256 << 20
_MOST_UNPACKED = 64 << 20
# Places of fields in the tables of Message.fbs.
_HEADER_TYPE, _HEADER, _DICTIONARY_DATA, _BUFFERS, _COMPRESSION = 1, 2, 1, 2, 3
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


def read_stream(body: bytes, most_unpacked: int = _MOST_UNPACKED) -> pa.Table:
    """An Arrow IPC stream as a table. IntakeError 400 for what is none, 413 for too much of it.

    most_unpacked: bytes that compressed buffers may have.
    """
    try:
        size = sum(map(_unpacked, pa.ipc.MessageReader.open_stream(io.BytesIO(body))))
        if size > most_unpacked:
            raise IntakeError(413, f"the table unpacks to {size} bytes, the limit is"
                                   f" {most_unpacked}; send smaller tables")  # fmt: skip
        table = pa.ipc.open_stream(io.BytesIO(body)).read_all()
        if table.num_rows > MAX_ROWS:
            raise IntakeError(413, f"{table.num_rows} rows in one request; send at most {MAX_ROWS}")
        table.validate(full=True)
        names = Counter(table.column_names)
    except (pa.ArrowException, OSError, ValueError, EOFError, struct.error) as error:
        raise IntakeError(400, f"the body is not an Arrow IPC stream: {str(error)[:200]}") from None
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise IntakeError(400, f"column {twice[0][:60]} appears more than once in the table")
    return table


def rows(table: pa.Table | pa.RecordBatch) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, what is wrong with it) of every row; times are UTC, to the microsecond.

    A cell that Python cannot hold is left out of its row. IntakeError 413 for too many values.
    """
    _bound(table)
    problems: dict[int, str] = {}
    columns = {
        name: _values(name, column, problems)
        for name, column in zip(table.schema.names, table.columns, strict=True)
    }
    for number in range(table.num_rows):
        row = {name: values[number] for name, values in columns.items()}
        yield row, problems.get(number, "")


# --- private -----------------------------------------------------------------------------------


def _values(name: str, column: Any, problems: dict[int, str]) -> list[Any]:
    kind = column.type
    try:
        if pa.types.is_timestamp(kind):
            column = pc.cast(column, pa.timestamp("us", "UTC"), safe=kind.unit != "ns")
        values = column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):
        values = [_value(name, n, column[n], problems) for n in range(len(column))]
    return [_plain(kind, value) for value in values] if pa.types.is_nested(kind) else values


def _value(name: str, number: int, held: Any, problems: dict[int, str]) -> Any:
    try:
        if pa.types.is_timestamp(held.type):
            held = held.cast(pa.timestamp("us", "UTC"), safe=held.type.unit != "ns")
        return held.as_py()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        problems.setdefault(number, f"column {name}: a {held.type} that cannot be read: {text}")
        return None


def _plain(kind: pa.DataType, value: Any) -> Any:
    """A nested value as JSON has it: a map is an object, unless a key of it comes twice."""
    if value is None or not pa.types.is_nested(kind):
        return value
    if pa.types.is_map(kind):
        pairs = [(str(key), _plain(kind.item_type, item)) for key, item in value]
        named = dict(pairs)
        return named if len(named) == len(pairs) else pairs
    if pa.types.is_struct(kind):
        return {name: _plain(kind.field(name).type, member) for name, member in value.items()}
    return [_plain(kind.value_type, item) for item in value]


def _bound(table: pa.Table | pa.RecordBatch) -> None:
    values = text = 0
    for column in table.columns:
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else (column,):
            for count, size in _measured(chunk):
                values, text = values + count, text + size
                if values > MOST_VALUES or text > MOST_TEXT:
                    raise IntakeError(
                        413, f"the table holds more than {MOST_VALUES} values or"
                             f" {MOST_TEXT >> 20} MiB of text; send smaller tables"
                    )  # fmt: skip


def _measured(array: pa.Array) -> Iterator[tuple[int, int]]:
    """(values, bytes of text) of an array and what is in it, told before it is unfolded."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield len(array), _repeated(array)
    elif pa.types.is_run_end_encoded(kind) or pa.types.is_union(kind):
        raise IntakeError(400, f"a column is a {kind}, which is not read here")
    elif pa.types.is_struct(kind):
        yield len(array), 0
        for member in array.flatten():
            yield from _measured(member)
    elif pa.types.is_nested(kind):
        inner = array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))) if (
            pa.types.is_map(kind)
        ) else array  # fmt: skip
        yield len(array) + (pc.sum(pc.list_value_length(inner)).as_py() or 0), 0
        yield from _measured(inner.flatten())
    elif isinstance(array, pa.ExtensionArray):
        yield from _measured(array.storage)
    else:
        yield len(array), _length(array)


def _repeated(array: pa.DictionaryArray) -> int:
    lengths = _lengths(array.dictionary)
    if lengths is None:
        if pa.types.is_nested(array.dictionary.type):
            raise IntakeError(400, f"a column is a {array.type}, which is not read here")
        return 0
    return pc.sum(pc.take(lengths, array.indices)).as_py() or 0


def _length(array: pa.Array) -> int:
    lengths = _lengths(array)
    return 0 if lengths is None else pc.sum(lengths).as_py() or 0


def _lengths(array: pa.Array) -> pa.Array | None:
    """Bytes of every text, None where the values are no texts."""
    kind = array.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        array = array.cast(pa.large_binary())
    elif not any(
        is_text(kind)
        for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary,
                        pa.types.is_large_binary)
    ):  # fmt: skip
        return None
    return pc.cast(pc.binary_length(array), pa.int64())


# --- what a message says of itself ---------------------------------------------------------------


def _unpacked(message: Any) -> int:
    """Bytes that the compressed buffers of a message unpack to; 0 when none are compressed."""
    held = memoryview(message.metadata)
    root = struct.unpack_from("<I", held, 0)[0]
    kind = _field(held, root, _HEADER_TYPE)
    at = _field(held, root, _HEADER)
    if not kind or not at or held[kind] not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return 0
    batch = _followed(held, at)
    if held[kind] == _DICTIONARY_BATCH:
        batch = _followed(held, _field(held, batch, _DICTIONARY_DATA))
    buffers = _field(held, batch, _BUFFERS)
    if not _field(held, batch, _COMPRESSION) or not buffers:
        return 0
    vector = _followed(held, buffers)
    body = memoryview(message.body or b"")
    size = 0
    for place in range(struct.unpack_from("<I", held, vector)[0]):
        offset, length = struct.unpack_from("<qq", held, vector + 4 + 16 * place)
        if length >= 8:  # each begins with its size, -1 for one that is not compressed
            size += max(struct.unpack_from("<q", body, offset)[0], 0)
    return size


def _field(held: memoryview, table: int, place: int) -> int:
    """Where a field of a flatbuffers table stands, 0 when it has none."""
    fields = table - struct.unpack_from("<i", held, table)[0]
    entry = 4 + 2 * place
    if entry >= struct.unpack_from("<H", held, fields)[0]:
        return 0
    offset = struct.unpack_from("<H", held, fields + entry)[0]
    return table + offset if offset else 0


def _followed(held: memoryview, at: int) -> int:
    return at + int(struct.unpack_from("<I", held, at)[0])
