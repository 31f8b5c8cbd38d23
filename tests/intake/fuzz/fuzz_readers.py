"""Every reader of what strangers send, with good bodies to spoil and what must hold of any body.

What must hold: a body is taken or refused in one of the documented ways, and of a body that is
taken every record is either stored or set aside with a reason. Stored records are counted where
they would go to disk, sent ones by a count of the body that shares no code with the reader.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import fuzz_hooks as hooks
import fuzz_mutations as mutations
import fuzz_seeds as seeds
import httpx
import pyarrow as pa
import structlog
from google.protobuf.message import DecodeError
from intake_build import FIXTURES, NOW, PROTOBUF, SHARED, content_headers, manifest, path_of
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pyarrow import flight
from starlette.applications import Starlette

from tocsin.domain.clock import ManualClock
from tocsin.domain.errors import IntakeError, SpecError
from tocsin.engine.exchange.contents import Wishes
from tocsin.engine.exchange.importing import import_file
from tocsin.engine.files import open_source
from tocsin.intake.fieldmap import BEDROCK, call_of
from tocsin.intake.flight import _command
from tocsin.intake.front import routes
from tocsin.intake.intake import Intake
from tocsin.intake.source import Origin, Unreadable
from tocsin.intake.sources.prometheus import Prometheus, PrometheusConfig
from tocsin.intake.wire import lenient

Spoil = Callable[[bytes, Random], bytes]
REFUSALS = {400, 408, 413, 415, 422, 429, 503}
JSON, LINES = "application/json", "application/x-ndjson"
MESSAGES: Mapping[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


@dataclass(frozen=True)
class Reader:
    """seeds: good bodies. spoils: ways to spoil them. read: AssertionError, or any other error, for
    a body after which something does not hold that must."""

    name: str
    seeds: Sequence[bytes]
    spoils: Sequence[Spoil]
    read: Callable[[bytes], object]

    def body(self, rng: Random) -> bytes:
        """A spoiled body."""
        body = rng.choice(self.seeds)
        for _ in range(rng.randint(1, 2)):
            try:
                body = rng.choice(self.spoils)(body, rng)
            except (
                ValueError,
                DecodeError,
                pa.ArrowException,
                LookupError,
                RecursionError,
                OSError,
                TypeError,
            ):
                body = mutations.spoil_bytes(body, rng)  # no longer of its form
        return body


@dataclass
class Memory:
    """A writer that keeps what was accepted, by kind: the records that would be on disk."""

    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def append(
        self, kind: str, chunks: Any, *, digest: bytes = b"", careful: bool = False
    ) -> bool:
        if kind in MESSAGES:
            self.bodies.append((kind, bytes(chunks[-1])))
        else:
            for chunk in chunks:
                line = bytes(chunk)
                assert line.endswith(b"}\n")
                assert line.count(b"\n") == 1
                self.lines.append((kind, json.loads(line)))
        return True

    def seen(self, digest: bytes) -> bool:
        return False

    def stored(self, *kinds: str) -> int:
        """Records of these kinds."""
        spans = sum(items(kind, body) or 0 for kind, body in self.bodies if kind in kinds)
        return spans + sum(kind in kinds for kind, _ in self.lines)

    def aside(self, *sources: str) -> int:
        """Records that were set aside, of all or of some sources."""
        count = 0
        for kind, line in self.lines:
            if kind == "quarantined" and (not sources or line["source"] in sources):
                assert line["reason"]
                words = line["body"].split(" ", 1)
                more = words[-1] == "more of the same body, not kept one by one"
                count += int(words[0]) if more else 1
        return count


def items(signal: str, body: bytes) -> int | None:
    """Spans, log records or metrics of a body; None when it is no protobuf."""
    try:
        message = lenient(signal, body)
    except IntakeError:
        return None
    resources = [inner for _, held in message.ListFields() for inner in held]
    scopes = [
        scope
        for resource in resources
        for found, held in resource.ListFields()
        if found.name.startswith("scope_")
        for scope in held
    ]
    return sum(
        len(held) for scope in scopes for found, held in scope.ListFields() if found.is_repeated
    )


UNEXPECTED: list[BaseException] = []  # what made a front answer 500


def _keep_error(logger: object, method: str, event: Any) -> Any:
    if (error := sys.exc_info()[1]) is not None:
        UNEXPECTED.append(error)
    raise structlog.DropEvent


def post(path: str, body: bytes, headers: Mapping[str, str]) -> tuple[httpx.Response, Memory]:
    """What a front answers, and what it would have written."""
    memory = Memory()
    UNEXPECTED.clear()
    app = Starlette(routes=routes(Intake(memory, ManualClock(NOW))))

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://tocsin") as client:
            return await client.post(path, content=body, headers=dict(headers))

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[_keep_error])
    try:
        return asyncio.run(send()), memory
    finally:
        structlog.configure(processors=before)


# --- what must hold ----------------------------------------------------------------------------


def door(
    path: str, headers: Mapping[str, str], holds: Callable[[bytes, Memory], None]
) -> Callable[[bytes], None]:
    """A reader behind HTTP. holds: AssertionError when of a taken body something was lost."""

    def read(body: bytes) -> None:
        answer, memory = post(path, body, headers)
        if answer.status_code >= 500 and UNEXPECTED:
            raise UNEXPECTED.pop()
        assert answer.status_code == 200 or answer.status_code in REFUSALS, answer.text
        if answer.headers["content-type"] == JSON:
            answer.json()
        if answer.status_code == 200:
            holds(body, memory)
        else:
            assert not memory.bodies
            assert not memory.lines

    return read


def every_item(signal: str) -> Callable[[bytes, Memory], None]:
    """OTLP/protobuf: every span, log record or metric is somewhere."""

    def holds(body: bytes, memory: Memory) -> None:
        sent = items(signal, body)
        if sent is not None:  # else it is damaged in what is neither checked nor read
            assert memory.stored(signal) + memory.aside() == sent

    return holds


def every_json_item(signal: str) -> Callable[[bytes, Memory], None]:
    """OTLP/JSON: the same, by the lists in the document."""
    name = {"traces": "Spans", "logs": "Logs", "metrics": "Metrics"}[signal]
    leaf = {"traces": "spans", "logs": "logRecords", "metrics": "metrics"}[signal]

    def holds(body: bytes, memory: Memory) -> None:
        resources = json.loads(body).get(f"resource{name}") or []
        scopes = [scope for held in resources if held for scope in held.get(f"scope{name}") or []]
        sent = sum(len(scope.get(leaf) or []) for scope in scopes if scope)
        assert memory.stored(signal) + memory.aside() >= sent

    return holds


def every_row(kind: str) -> Callable[[bytes, Memory], None]:
    """REST: every object of an array, every line."""

    def holds(body: bytes, memory: Memory) -> None:
        try:
            document = json.loads(body)
            sent = len(document) if isinstance(document, list) else 1
        except ValueError:
            sent = sum(bool(line.strip()) for line in body.splitlines())
        assert memory.stored(kind) + memory.aside() == sent

    return holds


def every_annotation(found: Callable[[Any], int]) -> Callable[[bytes, Memory], None]:
    """Annotations: `found` counts those of a document."""

    def holds(body: bytes, memory: Memory) -> None:
        assert memory.stored("scores") + memory.aside() == found(json.loads(body))

    return holds


def every_table_row(body: bytes, memory: Memory) -> None:
    """Arize's tables: a call for each row that tells one, a score for each judgement."""
    names, rows = seeds.plain_rows(body)
    if "context.span_id" not in names:
        assert memory.stored("traces", "scores") + memory.aside() >= len(rows)
        return
    has_spans = "start_time" in names
    found = memory.stored("traces", "scores") + memory.aside()
    if seeds.is_plain(rows):
        assert found == sum(seeds.told(row, has_spans=has_spans) for row in rows)
    else:
        assert found >= (len(rows) if has_spans else 0)


def something(body: bytes, memory: Memory) -> None:
    """One record, which became a call, or scores, or both."""
    assert memory.stored("traces", "scores") + memory.aside() >= 1


class Collected:
    """A target of imports that keeps what it is given."""

    def __init__(self) -> None:
        self.spans_taken = 0
        self.rows_taken = 0

    def knows(self, name: bytes) -> bool:
        return False

    def spans(self, spans: Any, name: bytes) -> None:
        from tocsin.intake.records import to_request

        assert items("traces", to_request(spans)) == len(spans)
        self.spans_taken += len(spans)

    def rows(self, door: str, rows: Any, name: bytes) -> None:
        for row in rows:
            json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")
        self.rows_taken += len(rows)

    def close(self) -> None:
        pass


def imported(suffix: str) -> Callable[[bytes], None]:
    """`tocsin import` of a file: every row is taken or set aside, or the file is refused."""

    def read(body: bytes) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, f"x{suffix}")
            path.write_bytes(body)
            for kind in ("", "scores"):
                target = Collected()
                try:
                    told = import_file(path, target, Wishes(NOW, kind=kind, undated=True))
                except SpecError:
                    continue
                assert told.rows == told.accepted + told.rejected
                assert target.spans_taken + target.rows_taken >= told.accepted

    return read


def backtested(suffix: str) -> Callable[[bytes], None]:
    """The file of a backtest: read, or refused."""

    def read(body: bytes) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, f"x{suffix}")
            path.write_bytes(body)
            try:
                source = open_source(path)
            except SpecError:
                return
            start, stop = source.span
            source.minutes({}, ("shop",), start, min(stop, start + 100))

    return read


def scraped(kind: str) -> Callable[[bytes], None]:
    """A page of metrics: every point that counts is in the request, at its time."""
    source = Prometheus(PrometheusConfig(targets=("http://host:1/metrics",)), Origin("p", "shop"))

    def read(body: bytes) -> None:
        try:
            told = source._read("http://host:1/metrics", body.decode("utf-8", "replace"), kind, NOW)
        except Unreadable:
            return
        request = ExportMetricsServiceRequest.FromString(told.metrics[0])
        points = [
            point
            for metric in request.resource_metrics[0].scope_metrics[0].metrics
            for point in getattr(metric, metric.WhichOneof("data")).data_points
        ]
        assert len(points) == told.points
        assert all(point.time_unix_nano for point in points)

    return read


def commanded(body: bytes) -> None:
    """The command of a Flight DoPut: known, or refused."""
    try:
        _command(flight.FlightDescriptor.for_command(body))
    except IntakeError:
        return


def logged(body: bytes) -> None:
    """An entry of somebody's log: a call, or none."""
    from tocsin.intake.fieldmap import read_object
    from tocsin.intake.records import to_request

    entry = read_object(body.decode("utf-8", "replace"))
    if entry is not None:
        record = call_of(entry, BEDROCK, Origin("p", "shop"), "id-1")
        if record is not None:
            assert items("traces", to_request([record])) == 1


# --- the readers -------------------------------------------------------------------------------


def recorded(signal: str, encoding: str, *, shared: bool) -> list[bytes]:
    """Bodies of real clients, unpacked."""
    found = []
    for directory in (FIXTURES, SHARED) if shared else (FIXTURES,):
        if not (directory / "manifest.json").exists():
            continue
        for capture in manifest(directory)["captures"]:
            if path_of(capture).endswith(f"/{signal}") and capture["encoding"] == encoding:
                raw = (directory / capture["file"]).read_bytes()
                zipped = content_headers(capture).get("content-encoding") == "gzip"
                found.append(gzip.decompress(raw) if zipped else raw)
    return found


def readers(*, shared: bool = False) -> dict[str, Reader]:
    """All readers by name. shared: also spoil the recordings beside the checkout."""
    made = [
        *(_otlp(signal, shared=shared) for signal in MESSAGES),
        *(_otlp_json(signal, shared=shared) for signal in MESSAGES),
        _rest("calls", "traces", seeds.CALLS),
        _rest("scores", "scores", seeds.SCORES),
        _rest("changes", "changes", seeds.CHANGES),
        _rest("billing", "billing", seeds.BILLS),
        _json("arize-log", "/v1/log", seeds.ARIZE_LOGS, something),
        _json("arize-notes", "/v2/spans/annotate", [seeds.ARIZE_NOTES],
              every_annotation(seeds.arize_notes)),
        _json("phoenix-notes", "/v1/span_annotations", [seeds.PHOENIX_NOTES],
              every_annotation(seeds.phoenix_notes)),
        _json("phoenix-spans", "/v1/projects/p/spans", [seeds.PHOENIX_SPANS],
              lambda body, memory: _assert_equal(
                  memory.stored("traces") + memory.aside(), seeds.phoenix_notes(json.loads(body)))),
        Reader("arrow", seeds.tables(FIXTURES), [mutations.spoil_arrow] * 3 + [_BYTES],
               door("/v1/pandas_arrow", {"content-type": "application/octet-stream"},
                    every_table_row)),
        Reader("flight-command", [seeds.COMMAND], [mutations.spoil_json, _BYTES], commanded),
        Reader("csv", [seeds.CSV, seeds.CSV_SCORES, seeds.CSV_FOCUS],
               [mutations.spoil_csv, mutations.spoil_csv, _BYTES], imported(".csv")),
        Reader("csv-gzip", [gzip.compress(seeds.CSV, mtime=0)], [_BYTES], imported(".csv.gz")),
        Reader("jsonl", [seeds.lines(seeds.CALLS), seeds.lines(seeds.SCORES)],
               [mutations.spoil_lines], imported(".jsonl")),
        Reader("parquet", [seeds.PARQUET], [mutations.spoil_parquet] * 3 + [_BYTES],
               imported(".parquet")),
        Reader("backtest-csv", [seeds.CSV, seeds.CSV_COUNTS], [mutations.spoil_csv, _BYTES],
               backtested(".csv")),
        Reader("backtest-parquet", [seeds.PARQUET], [mutations.spoil_parquet, _BYTES],
               backtested(".parquet")),
        Reader("prometheus", [seeds.PAGE], [mutations.spoil_page, _BYTES], scraped("text/plain")),
        Reader("openmetrics", [seeds.OPEN_PAGE], [mutations.spoil_page, _BYTES],
               scraped("application/openmetrics-text")),
        Reader("log-entries", [json.dumps(seeds.BEDROCK_ENTRY).encode()], [mutations.spoil_json],
               logged),
        Reader("hooks", hooks.SEEDS, [mutations.spoil_json] * 3 + [_BYTES], hooks.hooked),
    ]  # fmt: skip
    return {reader.name: reader for reader in made}


_BYTES = mutations.spoil_bytes


def _assert_equal(found: int, sent: int) -> None:
    assert found == sent


def _otlp(signal: str, *, shared: bool) -> Reader:
    bodies = [*recorded(signal, "protobuf", shared=shared), *seeds.otlp(signal)]
    spoil = mutations.spoil_protobuf(MESSAGES[signal])
    read = door(f"/v1/{signal}", {"content-type": PROTOBUF}, every_item(signal))
    return Reader(f"otlp-{signal}", bodies, [spoil, spoil, _BYTES], read)


def _otlp_json(signal: str, *, shared: bool) -> Reader:
    bodies = [*recorded(signal, "json", shared=shared), *seeds.otlp_json(signal)]
    read = door(f"/v1/{signal}", {"content-type": JSON}, every_json_item(signal))
    spoils: list[Spoil] = [mutations.spoil_json, mutations.spoil_json, _BYTES]
    return Reader(f"otlp-json-{signal}", bodies, spoils, read)


def _rest(name: str, kind: str, rows: Sequence[Mapping[str, Any]]) -> Reader:
    bodies = [json.dumps(rows).encode(), seeds.lines(rows), json.dumps(rows[0]).encode()]
    spoils: list[Spoil] = [mutations.spoil_json, mutations.spoil_lines, _BYTES]
    return Reader(name, bodies, spoils, door(f"/api/v1/{name}", {"content-type": JSON},
                                             every_row(kind)))  # fmt: skip


def _json(
    name: str, path: str, documents: Sequence[Any], holds: Callable[[bytes, Memory], None]
) -> Reader:
    bodies = [json.dumps(document).encode() for document in documents]
    spoils: list[Spoil] = [mutations.spoil_json, mutations.spoil_json, _BYTES]
    return Reader(name, bodies, spoils, door(path, {"content-type": JSON}, holds))
