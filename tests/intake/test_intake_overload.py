"""More than the store can take: refused with a time to come back, and what was accepted is there.

A real server, a real OpenTelemetry exporter that retries, and a loader that is held back.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from intake_build import PROTOBUF, Bench, bench, span_request
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tocsin.domain.clock import SystemClock
from tocsin.intake.admission import Admission, IntakeError
from tocsin.intake.bodies import BodyLimits
from tocsin.intake.intake import Intake
from tocsin.store import segments
from tocsin.web.connection import BoundedConnection


class Impatient(BoundedConnection):
    """Limits that a test can reach."""

    head_bytes = 4096
    head_s = 0.3


@contextmanager
def serving(made: Bench) -> Iterator[str]:
    """The bench's application on a port; yields its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(made.app, log_config=None, lifespan="off", http=Impatient)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as found:
        found.intake = Intake(found.store.writer, SystemClock())
        yield found


class Patient(SpanExporter):
    """Exports with the real exporter, once more where it gave up, and counts what it was told."""

    def __init__(self, url: str) -> None:
        self._real = OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=20)
        self.failures = 0

    def export(self, spans: list[ReadableSpan]) -> SpanExportResult:  # type: ignore[override]
        while self._real.export(spans) is not SpanExportResult.SUCCESS:
            self.failures += 1
            assert self.failures < 20
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._real.shutdown()


def test_a_held_back_loader_turns_senders_away_until_it_gets_on(
    made: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything the exporters sent is stored once; what was refused meanwhile was not."""
    monkeypatch.setattr(segments, "_RETRY_AFTER_S", 1)
    made.store.writer._limits = replace(made.store.writer._limits, backlog_bytes=3000)
    exporters: list[Patient] = []

    def export(url: str, name: str) -> None:
        provider = TracerProvider(resource=Resource({"service.name": name}))
        exporters.append(Patient(url))
        provider.add_span_processor(SimpleSpanProcessor(exporters[-1]))
        tracer = provider.get_tracer("tocsin.test")
        for number in range(20):
            tracer.start_span(f"call {number}").end()
        provider.shutdown()

    with serving(made) as url:
        held = made.store._loader._gate
        senders = [threading.Thread(target=export, args=(url, f"app-{n}")) for n in range(3)]
        with held.alone():
            for sender in senders:
                sender.start()
            wait_until(lambda: made.intake.counts["refused.429"] >= 3)
            assert made.store.writer.backlog_bytes <= 3000
            refusal = httpx.post(
                f"{url}/v1/traces",
                content=span_request(40, service="refused").SerializeToString(),
                headers={"content-type": PROTOBUF},
            )
            assert refusal.status_code == 429
            assert int(refusal.headers["retry-after"]) > 0
        for sender in senders:
            sender.join(60)
            assert not sender.is_alive()
    rows = made.query(
        "SELECT service, count() AS n, uniq(span_id) AS u FROM tocsin.calls GROUP BY 1"
    )
    assert sorted((row["service"], row["n"], row["u"]) for row in rows) == [
        (f"app-{n}", 20, 20) for n in range(3)
    ]


def wait_until(true: object) -> None:
    pause = threading.Event()
    for _ in range(600):
        if true():  # type: ignore[operator]
            return
        pause.wait(0.05)
    raise AssertionError("it never came true")


# --- what requests may hold ---


def test_all_requests_together_hold_no_more_than_the_limit() -> None:
    admission = Admission(1000)
    with admission.request() as first, admission.request() as second:
        first.grow(600)
        second.grow(300)
        with pytest.raises(IntakeError) as refused:
            second.grow(200)
        assert (refused.value.status, refused.value.retry_after_s) == (429, 1)
        first.shrink(500)
        second.grow(200)
    assert admission.held == 0
    with admission.request() as alone:
        alone.grow(5000)  # alone it may, or it never could
        with admission.request() as other, pytest.raises(IntakeError):
            other.grow(1)
    assert admission.held == 0


def test_bodies_in_flight_are_bounded_whatever_they_unpack_to(made: Bench) -> None:
    """Ten senders that each hold back the end of a body: the later ones are told to come back."""
    made.intake = Intake(made.store.writer, made.clock, in_flight_bytes=3_000_000)
    size = 1_000_001
    head = f"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
    refused: list[int] = []
    everybody_asked = asyncio.Event()

    async def send(url: str) -> int:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + b"\0" * (size - 1))
        answer = asyncio.create_task(reader.readline())
        await asyncio.wait({answer, asyncio.create_task(everybody_asked.wait())},
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        if answer.done():
            refused.append(int(answer.result().split()[1]))
            if len(refused) == 7:
                everybody_asked.set()
        writer.write(b"\0")
        status = int((await answer).split()[1])
        writer.close()
        return status

    async def all_of_them(url: str) -> list[int]:
        answers = asyncio.gather(*(send(url) for _ in range(10)))
        await everybody_asked.wait()
        assert made.intake.admission.held <= 3_000_000
        return await answers

    with serving(made) as url:
        answers = asyncio.run(all_of_them(url))
    assert answers.count(429) >= 7
    assert set(answers) <= {429, 400}, "the rest was read, and is no OTLP"
    assert made.intake.admission.held == 0


def test_a_bomb_costs_what_it_may_and_holds_up_nobody(made: Bench) -> None:
    bomb = gzip.compress(b"\0" * (80 << 20), mtime=0)
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip"}
    answer = made.post("/v1/traces", bomb, headers)
    assert answer.status_code == 413
    assert made.intake.admission.held == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\x0a\x00" * 3_000_000, 413),
        (b"\x0a" + b"\x84\x80\x80\x03" + b"\x12\x00" * (3 << 20 | 2), 413),
        (b"\x10\x00" * 3_000_000, 413),
        (b"\x00\x00" * 3_000_000, 400),
    ],
    ids=["empty resources", "empty scopes", "fields of no request", "fields without a number"],
)
def test_bodies_of_nothing_in_great_number_are_refused_before_they_are_parsed(
    made: Bench, body: bytes, status: int
) -> None:
    assert made.post("/v1/traces", body, {"content-type": PROTOBUF}).status_code == status
    assert made.query("SELECT count() AS n FROM tocsin.calls") == [{"n": 0}]


def test_a_large_body_is_stored_as_it_came_and_its_bad_spans_are_set_aside(made: Bench) -> None:
    """Several portions: whatever is at the seams, every span is counted once."""
    text = "x" * 3000
    request = span_request(1000, service="large", attributes={"note": text})
    more = span_request(500, service="other", first_id=5000, attributes={"note": text})
    request.resource_spans.extend(more.resource_spans)
    spans = request.resource_spans[0].scope_spans[0].spans
    for span in (spans[0], spans[600], spans[999]):
        span.trace_id = b""
    made.intake = Intake(made.store.writer, made.clock)
    body = request.SerializeToString()
    assert len(body) > 4 << 20
    answer = made.post("/v1/traces", body, {"content-type": PROTOBUF})
    assert answer.status_code == 200, answer.content
    rows = made.query(
        "SELECT service, count() AS n, uniq(span_id) AS u, min(length(attrs['note'])) AS l"
        " FROM tocsin.calls GROUP BY 1 ORDER BY 1"
    )
    assert rows == [
        {"service": "large", "n": 997, "u": 997, "l": 3000},
        {"service": "other", "n": 500, "u": 500, "l": 3000},
    ]
    assert made.store.stats().quarantined == 3


def test_a_span_of_more_attributes_than_anybody_writes_is_refused(made: Bench) -> None:
    request = span_request(1)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    for number in range(60_000):
        span.attributes.add(key=f"a{number:06}").value.string_value = "value of it"
    answer = made.post("/v1/traces", request.SerializeToString(), {"content-type": PROTOBUF})
    assert answer.status_code == 413
    assert b"attributes, events and values" in answer.content


def test_many_refused_spans_of_one_body_do_not_fill_the_disk(made: Bench) -> None:
    request = span_request(3000)
    for span in request.resource_spans[0].scope_spans[0].spans:
        span.span_id = b""
    answer = made.post("/v1/traces", request.SerializeToString(), {"content-type": PROTOBUF})
    assert answer.status_code == 200
    rows = made.query("SELECT body FROM tocsin.quarantine")
    assert len(rows) == 1001
    assert sum(row["body"].startswith("2000 more of the same body") for row in rows) == 1


# --- who takes their time ---


def raw(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


@pytest.mark.parametrize(
    "start", [b"", b"POST /v1/traces HT", b"POST / HTTP/1.1\r\nHost: a\r\nX-A: "]
)
def test_a_head_that_does_not_come_is_not_waited_for(made: Bench, start: bytes) -> None:
    with serving(made) as url, raw(url) as connection:
        connection.sendall(start)
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_a_second_head_on_one_connection_is_not_waited_for_either(made: Bench) -> None:
    with serving(made) as url, raw(url) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nPOST /"
        )
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in answer


@pytest.mark.parametrize(
    "head", [b"X-A: " + b"a" * 100_000, b"".join(b"X-%d: a\r\n" % n for n in range(20_000))]
)
def test_a_head_without_end_is_refused(made: Bench, head: bytes) -> None:
    with serving(made) as url, raw(url) as connection:
        try:
            connection.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: a\r\n" + head)
        except ConnectionError:
            return
        try:
            assert read_all(connection).startswith(b"HTTP/1.1 431 ")
        except ConnectionError:
            return  # closed with unread bytes on their way


def test_a_body_that_does_not_get_on_is_given_up(made: Bench) -> None:
    made.intake = Intake(made.store.writer, made.clock, limits=BodyLimits(silence_s=0.2, whole_s=5))
    with serving(made) as url, raw(url) as connection:
        connection.sendall(
            b"POST /api/v1/scores HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n[{"
        )
        answer = b""
        while b"came in time" not in answer and (more := connection.recv(65536)):
            answer += more
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"only 2 bytes of the body came in time" in answer
        assert made.intake.counts["refused.408"] == 1
    assert made.intake.admission.held == 0


def test_a_body_that_drips_is_given_up_as_well(made: Bench) -> None:
    made.intake = Intake(
        made.store.writer, made.clock, limits=BodyLimits(silence_s=10, whole_s=0.5)
    )
    with serving(made) as url, raw(url) as connection:
        connection.sendall(
            b"POST /api/v1/scores HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"
        )
        pause = threading.Event()
        for _ in range(100):
            connection.sendall(b"[")
            pause.wait(0.05)
            if made.intake.counts["refused.408"]:
                break
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_large_bodies_do_not_hold_up_small_ones(made: Bench) -> None:
    """While megabytes of JSON are read, the event loop goes on."""
    spans = [{"name": "x", "attributes": [{"key": "k", "value": {"stringValue": "v" * 50}}] * 20}]
    document = {"resourceSpans": [{"scopeSpans": [{"spans": spans * 8000}]}]}
    body = gzip.compress(json.dumps(document).encode(), mtime=0)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    async def both(url: str) -> int:
        async with httpx.AsyncClient(timeout=60) as client:
            large = asyncio.create_task(
                client.post(f"{url}/v1/traces", content=body, headers=headers)
            )
            small = 0
            while not large.done():
                answer = await client.post(f"{url}/api/v1/changes", json=change(small))
                assert answer.status_code == 200
                small += 1
            assert (await large).status_code == 200
            return small

    with serving(made) as url:
        assert asyncio.run(both(url)) >= 5


def change(number: int) -> dict[str, str]:
    return {"service": "s", "kind": "deploy", "title": f"change {number}"}
