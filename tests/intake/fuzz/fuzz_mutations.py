"""Ways to spoil a good body: in its bytes, and in its meaning. Everything comes from one `Random`,
so that a run is repeated by its seed and hypothesis can shrink what it finds."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet

TEXTS = (
    "", " ", "\x00", "\ud800", "é\udcff😀", "nan", "inf", "-1", "²", "--5", "1e400", "9" * 5000,
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1234567890", "a" * 5000, "null",
    '{"a": {"b": [1]}}', "[" * 3000, "2026-11-21T04:00:00Z", "Project:x", "\u2028\r\n", "\ufeff",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 1e308, -0.0, 5e-324, math.nan,
    math.inf, -math.inf, 1763697600, 1763697600000,
)  # fmt: skip


def nested(depth: int, leaf: Any = 1) -> Any:
    """A list of lists, or of objects, so deep."""
    for level in range(depth):
        leaf = [leaf] if level % 2 else {"a": leaf}
    return leaf


def hostile(rng: Random) -> Any:
    """A JSON value that a reader may not expect where it stands."""
    return rng.choice(
        [
            lambda: rng.choice(TEXTS),
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice([None, True, False, [], {}, [[]], {"": None}]),
            lambda: nested(rng.choice([2, 30, 200])),
            lambda: {rng.choice(TEXTS): rng.choice(NUMBERS)},
            lambda: [rng.choice(TEXTS), rng.choice(NUMBERS)],
        ]
    )()


# --- bytes -------------------------------------------------------------------------------------


def spoil_bytes(body: bytes, rng: Random) -> bytes:
    """Bits flipped; bytes cut out, doubled, inserted or cut off."""
    data = bytearray(body)
    for _ in range(rng.randint(1, 6)):
        if not data:
            break
        at = rng.randrange(len(data))
        until = min(len(data), at + rng.randint(1, 40))
        match rng.randrange(6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:until]
            case 2:
                data[at:at] = data[at:until]
            case 3:
                del data[at:]
            case 4:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 12)))
            case _:
                data[at:until] = rng.choice([b"\xff" * 9 + b"\x01", b"\x00" * 8, b"\xc0\x80"])
    return bytes(data)


# --- JSON --------------------------------------------------------------------------------------


def spoil_json(body: bytes, rng: Random) -> bytes:
    """Values replaced, members dropped, renamed, written twice; anything nested anew."""
    document = json.loads(body)
    for _ in range(rng.randint(1, 5)):
        places = list(_places(document))
        if not places:
            break
        owner, key = rng.choice(places)
        match rng.randrange(5):
            case 0 | 1:
                owner[key] = hostile(rng)
            case 2:
                del owner[key]
            case 3:
                owner[key] = [owner[key]] if rng.random() < 0.5 else {"a": owner[key]}
            case _ if isinstance(owner, dict):
                owner[rng.choice([*TEXTS, *owner])] = owner.pop(key)
            case _:
                owner.append(owner[key])
    text = json.dumps(document, ensure_ascii=rng.random() < 0.7)
    if rng.random() < 0.2 and text.startswith("{") and len(text) > 2:
        text = "{" + text[1:-1] + "," + text[1:]  # every member of the outermost object twice
    return text.encode("utf-8", "surrogatepass" if rng.random() < 0.3 else "replace")


def spoil_lines(body: bytes, rng: Random) -> bytes:
    """JSON lines with a few spoiled ones, some no longer lines of their own."""
    lines = body.splitlines()
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        spoil = rng.choice([spoil_json, spoil_bytes])
        try:
            lines[at] = spoil(lines[at], rng)
        except (ValueError, RecursionError):
            continue
    return rng.choice([b"\n", b"\n", b"\r\n", b"\r"]).join(lines)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """(owner, key or place) of every value below the top."""
    waiting = [document]
    while waiting:
        owner = waiting.pop()
        if isinstance(owner, dict | list):
            keys = owner if isinstance(owner, dict) else range(len(owner))
            for key in list(keys):
                yield owner, key
                waiting.append(owner[key])


# --- protobuf ----------------------------------------------------------------------------------


def spoil_protobuf(make: Callable[[], Any]) -> Callable[[bytes, Random], bytes]:
    """Of messages that `make` makes: fields dropped, repeated, set to what nobody sends."""

    def spoil(body: bytes, rng: Random) -> bytes:
        message = make()
        message.ParseFromString(body)
        for _ in range(rng.randint(1, 6)):
            _spoil_message(rng.choice(list(_within(message))), rng)
        return bytes(message.SerializeToString())

    return spoil


def _within(message: Any) -> Iterator[Any]:
    yield message
    for field, held in message.ListFields():
        if field.message_type is not None:
            for inner in held if field.is_repeated else (held,):
                yield from _within(inner)


def _spoil_message(message: Any, rng: Random) -> None:
    field = rng.choice(list(message.DESCRIPTOR.fields))
    if message.DESCRIPTOR.name == "AnyValue" and rng.random() < 0.3:
        _deepen(message, rng.choice([1, 3, 20, 45]))
    elif rng.random() < 0.2:
        message.ClearField(field.name)
    elif field.message_type is not None:
        held = getattr(message, field.name)
        if not field.is_repeated:
            held.SetInParent()
        elif len(held) and rng.random() < 0.7:
            held.add().CopyFrom(rng.choice(held))
        else:
            held.add()
    elif not field.is_repeated:
        _set(message, field, rng)


def _set(message: Any, field: Any, rng: Random) -> None:
    choices: dict[int, tuple[Any, ...]] = {
        field.TYPE_STRING: tuple(t.encode("utf-8", "replace").decode() for t in TEXTS),
        field.TYPE_BYTES: (b"", b"\x00" * 16, b"\x01" * 8, b"\x01" * 16, b"x" * 1000, b"\xff\xfe"),
        field.TYPE_BOOL: (True, False),
        field.TYPE_ENUM: (0, 1, 2, 77),
        field.TYPE_DOUBLE: (0.0, -1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324),
    }
    value = rng.choice(choices.get(field.type, (0, 1, 2**31 - 1, 1763697600 * 10**9, -1, 2**63)))
    try:
        setattr(message, field.name, value)
    except ValueError:
        setattr(message, field.name, 1)


def _deepen(value: Any, depth: int) -> None:
    for level in range(depth):
        if level % 2:
            value = value.array_value.values.add()
        else:
            pair = value.kvlist_value.values.add()
            pair.key = "a"
            value = pair.value
    value.bytes_value = b"\x00\xff"


# --- tables ------------------------------------------------------------------------------------


def read_stream(body: bytes) -> pa.Table:
    """An Arrow IPC stream as a table."""
    return pa.ipc.open_stream(io.BytesIO(body)).read_all()


def write_stream(table: pa.Table) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue()


def write_parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


def spoil_arrow(body: bytes, rng: Random) -> bytes:
    """An Arrow stream with columns dropped, doubled, renamed, or of another type."""
    return write_stream(_spoil_table(read_stream(body), rng))


def spoil_parquet(body: bytes, rng: Random) -> bytes:
    """The same for a Parquet file."""
    spoiled = _spoil_table(pyarrow.parquet.read_table(io.BytesIO(body)), rng)
    try:
        return write_parquet(spoiled)
    except pa.ArrowException:
        return body  # a type that Parquet does not have


def _spoil_table(table: pa.Table, rng: Random) -> pa.Table:
    for _ in range(rng.randint(1, 4)):
        if not table.num_columns:
            break
        at = rng.randrange(table.num_columns)
        name = table.schema.field(at).name
        match rng.randrange(5):
            case 0 | 1:
                table = table.set_column(at, name, odd_column(rng, table.num_rows))
            case 2:
                table = table.remove_column(at)
            case 3:
                names = list(table.column_names)
                names[at] = rng.choice([*names, "eval.x.score", "annotation.", ".", ""])
                table = table.rename_columns(names)
            case _ if table.schema.metadata:
                key, raw = rng.choice(sorted(table.schema.metadata.items()))
                table = table.replace_schema_metadata({key: spoil_bytes(raw, rng)})
    return table


def odd_column(rng: Random, rows: int) -> pa.Array:
    """A column of a type, or with values, that a sender of spans would not have there."""
    columns: list[Callable[[], pa.Array]] = [
        lambda: pa.nulls(rows),
        lambda: pa.array([2**62] * rows, pa.timestamp("s")),
        lambda: pa.array([1763697600123456789] * rows, pa.timestamp("ns", "UTC")),
        lambda: pa.array([1763697600] * rows, pa.timestamp("s", "Not/AZone")),
        lambda: pa.array([2**60] * rows, pa.duration("ns")),
        lambda: pa.array([10**9] * rows, pa.date32()),
        lambda: pa.array([86_399_999_999_999] * rows, pa.time64("ns")),
        lambda: pa.array([b"\xff\xfe"] * rows, pa.binary()),
        lambda: pa.array([rng.choice([math.nan, math.inf, 1e300, -1.0])] * rows),
        lambda: pa.array([2**63] * rows, pa.uint64()),
        lambda: pa.array([{"a": [1, None], "b": "x"}] * rows),
        lambda: pa.array([[("k", 1), ("k", 2)]] * rows, pa.map_(pa.string(), pa.int64())),
        lambda: pa.array([[(1, "x")]] * rows, pa.map_(pa.date32(), pa.string())),
        lambda: pa.array(["²"] * rows).dictionary_encode(),
        lambda: pa.array([rng.choice(TEXTS).encode("utf-8", "replace").decode()] * rows),
        lambda: pa.array([True] * rows),
        lambda: pa.array([[]] * rows, pa.list_(pa.null())),
        lambda: pa.array([None if n % 2 else n for n in range(rows)], pa.int64()),
    ]  # fmt: skip
    return rng.choice(columns)()


def spoil_csv(body: bytes, rng: Random) -> bytes:
    """Cells replaced, quotes left open, lines doubled, another encoding."""
    lines = [line.split(b",") for line in body.split(b"\n")]
    for _ in range(rng.randint(1, 5)):
        line = rng.choice(lines)
        at = rng.randrange(len(line))
        match rng.randrange(6):
            case 0 | 1 | 2:
                word = rng.choice([*TEXTS, *map(repr, NUMBERS[:8]), *map(repr, NUMBERS[9:])])
                line[at] = word.encode("utf-8", "surrogatepass")
            case 3:
                line[at] += rng.choice([b'"', b"\x00", b"\xff\xf0\x9f\x98\x80", b",,", b"\r"])
            case 4:
                del line[at]
                line.append(b"")
            case _:
                lines.append(list(line))
    text = b"\n".join(b",".join(line) for line in lines)
    return text.decode("latin-1").encode("utf-16") if rng.random() < 0.1 else text


def spoil_page(body: bytes, rng: Random) -> bytes:
    """A page of metrics with lines mixed up, and values, labels and types that are none."""
    lines = body.decode().split("\n")
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(lines))
        words = lines[at].split(" ")
        match rng.randrange(5):
            case 0:
                odd = ("NaN", "-Inf", "1e999", "0x1p3", "", "9" * 400, "-1", "1_000", "²")
                words[rng.randrange(len(words))] = rng.choice(odd)
                lines[at] = " ".join(words)
            case 1:
                lines[at] += rng.choice(
                    [" NaN", " 1e300", " -5", ' # {a="b"} 1', " # {", "}", '{le="', "\\", "\x00"]
                )
            case 2:
                del lines[at]
                lines.append("")
            case 3:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case _:
                kind = rng.choice(
                    ["histogram", "summary", "counter", "gaugehistogram", "info", "x"]
                )
                name = (words[0] or "a").split("{")[0]
                lines.insert(at, f"# TYPE {name} {kind}")
    return "\n".join(lines).encode("utf-8", "replace")
