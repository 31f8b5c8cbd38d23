"""Bodies that are made to cost a reader far more than they cost their sender.

    python tests/intake/fuzz/fuzz_hostile.py [NAME ...]

reads each with an allowance of memory and processor time, and prints a line of JSON about it. A
body that takes more ends the process.
"""

from __future__ import annotations

import gzip
import json
import resource
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "store")]

import fuzz_seeds as seeds  # noqa: E402
import pyarrow as pa  # noqa: E402
from fuzz_mutations import write_stream  # noqa: E402
from fuzz_readers import imported, post, scraped  # noqa: E402
from intake_build import PROTOBUF  # noqa: E402

ALLOWED_BYTES = 1_000_000_000
ALLOWED_S = 10.0
JSON = {"content-type": "application/json"}
BINARY = {"content-type": PROTOBUF}
MILLION = 1_000_000

Read = Callable[[], object]


def sent(path: str, body: Callable[[], bytes], headers: Mapping[str, str]) -> Read:
    """A request; what comes back is the status."""

    def read() -> int:
        status = post(path, body(), headers)[0].status_code
        assert status < 500, status
        return status

    return read


def deep(levels: int) -> bytes:
    """An OTLP span whose attribute is a list in a list in a list …"""
    value = b"\x08\x01"
    for _ in range(levels):
        value = _field(5, _field(1, value))
    return _field(1, _field(2, _field(2, _field(9, _field(1, b"a") + _field(2, value)))))


def _field(number: int, inner: bytes) -> bytes:
    size, head = len(inner), bytearray([number << 3 | 2])
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes(head) + bytes([size]) + inner


def zeros(size: int) -> bytes:
    """So many zeros, packed in a thousandth of that."""
    packer = zlib.compressobj(9, wbits=31)
    piece = b"\x00" * MILLION
    return b"".join(packer.compress(piece) for _ in range(size // MILLION)) + packer.flush()


def packed(column: pa.Array, rows: int) -> bytes:
    """A table of spans whose column is compressed."""
    table = pa.table({"context.span_id": pa.nulls(rows, pa.string()), "x": column})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as out:
        out.write_table(table)
    return bytes(sink.getvalue())


def told(**columns: pa.Array) -> bytes:
    """A table of spans with these columns too."""
    rows = len(next(iter(columns.values())))
    return write_stream(pa.table({"context.span_id": ["01" * 8] * rows, **columns}))


def nothings() -> pa.Array:
    """One list of two thousand million nulls."""
    return pa.ListArray.from_arrays(pa.array([0, 2**31 - 2], pa.int32()), pa.nulls(2**31 - 2))


def repeated() -> pa.Array:
    """A text of a megabyte, a hundred thousand times."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * 100_000), pa.array(["x" * MILLION]))


_SPANS = b'{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}'
HOSTILE: dict[str, Read] = {
    "json-deep-lists": sent("/api/v1/calls", lambda: b"[" * 3 * MILLION, JSON),
    "json-deep-objects": sent("/v1/log", lambda: b'{"a":' * MILLION + b"1" + b"}" * MILLION, JSON),
    "json-lines-deep": sent("/api/v1/scores", lambda: (b"[" * 900 + b"\n") * 1000, JSON),
    "json-nothings": sent("/api/v1/calls", lambda: b"[" + b"{}," * 3 * MILLION + b"{}]", JSON),
    "json-lists": sent("/v1/log", lambda: b'{"x":[' + b"[]," * 3 * MILLION + b"1]}", JSON),
    "json-same-key": sent("/v1/log", lambda: b"{" + b'"a":1,' * 2 * MILLION + b'"a":1}', JSON),
    "json-digits": sent("/api/v1/scores", lambda: b'{"name":"x","value":' + b"9" * 3 * MILLION
                        + b"}", JSON),
    "json-half-emojis": sent("/api/v1/calls", lambda: b'[{"a":"' + rb"\ud83d" * MILLION + b'"}]',
                             JSON),
    "lines-nothings": sent("/api/v1/changes", lambda: b"{}\n" * 3 * MILLION,
                           {"content-type": "application/x-ndjson"}),
    "otlp-json-nothings": sent("/v1/traces", lambda: _SPANS % (b"{}," * 3 * MILLION + b"{}"), JSON),
    "otlp-json-values": sent(
        "/v1/traces", lambda: _SPANS % (b'{"attributes":[' + b"{}," * 3 * MILLION + b"{}]}"), JSON),
    "otlp-deep": sent("/v1/traces", lambda: deep(5_000), BINARY),
    "otlp-length": sent("/v1/traces", lambda: b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", BINARY),
    "otlp-nothings": sent("/v1/traces", lambda: b"\x0a\x00" * 3 * MILLION, BINARY),
    "otlp-spans": sent("/v1/traces", lambda: _field(1, _field(2, b"\x12\x00" * 3 * MILLION)),
                       BINARY),
    "otlp-pairs": sent(
        "/v1/traces", lambda: _field(1, _field(2, _field(2, b"\x4a\x00" * 3 * MILLION))), BINARY),
    "metrics-points": sent(
        "/v1/metrics",
        lambda: _field(1, _field(2, _field(2, _field(5, b"\x0a\x00" * 3 * MILLION)))), BINARY),
    "gzip-bomb": sent("/v1/traces", lambda: zeros(500 * MILLION),
                      {**BINARY, "content-encoding": "gzip"}),
    "gzip-members": sent("/v1/traces", lambda: gzip.compress(b"", mtime=0) * 100_000,
                         {**BINARY, "content-encoding": "gzip"}),
    "arrow-packed": sent(
        "/v1/pandas_arrow", lambda: packed(pa.array(["x" * 100 * MILLION]), 1), {}),
    "arrow-nothings": sent("/v1/pandas_arrow", lambda: told(x=nothings()), {}),
    "arrow-fixed": sent(
        "/v1/pandas_arrow",
        lambda: told(x=pa.FixedSizeListArray.from_arrays(pa.nulls(2**31 - 1), 2**31 - 1)), {}),
    "arrow-repeated": sent("/v1/pandas_arrow", lambda: told(x=repeated()), {}),
    "arrow-columns": sent(
        "/v1/pandas_arrow",
        lambda: told(**{f"x{n}": pa.nulls(100_000) for n in range(300)}), {}),
    "arrow-runs": sent(
        "/v1/pandas_arrow",
        lambda: told(x=pa.RunEndEncodedArray.from_arrays(pa.array([MILLION // 2], pa.int32()),
                                                         pa.array(["y" * MILLION]))), {}),
    "csv-open-quote": lambda: imported(".csv")(seeds.CSV + b'"' + b"x,yz-\n" * 3 * MILLION),
    "csv-columns": lambda: imported(".csv")(b",".join(b"c%d" % n for n in range(MILLION)) + b"\n"
                                            + b"," * (MILLION - 1)),
    "csv-gzip-bomb": lambda: imported(".csv.gz")(zeros(300 * MILLION)),
    "jsonl-long-line": lambda: imported(".jsonl")(
        b'{"ts":1,"service":"s"}\n' + b"1" * 40 * MILLION),
    "page-labels": lambda: scraped("text/plain")(
        b"x{" + b",".join(b'a%d="b"' % n for n in range(100_000)) + b"} 1\n"),
    "page-escapes": lambda: scraped("text/plain")(b'x{a="' + b"\\\\" * MILLION + b'"} 1\n'),
    "open-page-escapes": lambda: scraped("application/openmetrics-text")(
        b'x{a="' + b"\\n" * MILLION + b'"} 1\n# EOF\n'),
    "page-samples": lambda: scraped("text/plain")(b"x 1\n" * MILLION),
    "page-types": lambda: scraped("text/plain")(b"# TYPE x gauge\n" * MILLION),
}  # fmt: skip


def main() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ALLOWED_BYTES, used + ALLOWED_BYTES))
    for name in sys.argv[1:] or HOSTILE:
        before = time.process_time()
        limit = int(before + ALLOWED_S) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        status = HOSTILE[name]()
        spent = time.process_time() - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        told = {"name": name, "status": status, "cpu_s": round(spent, 1), "peak_mb": peak}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
