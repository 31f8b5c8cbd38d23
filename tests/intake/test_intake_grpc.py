"""OTLP/gRPC over a real channel: the same bodies, the same rows, and refusals as specified."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from intake_build import NOW_NS, Bench, bench, span_request
from intake_doors import Addresses, serving
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from tocsin.domain.errors import IntakeError
from tocsin.intake.credentials import admission

grpc = pytest.importorskip("grpc", reason="the extra grpc is not installed")
from google.rpc.error_details_pb2 import RetryInfo  # noqa: E402 (comes with the extra)
from google.rpc.status_pb2 import Status  # noqa: E402

TOKEN = "a-token-of-sixteen-characters"
PATH = "/opentelemetry.proto.collector.{}.v1.{}/Export"
TRACES = PATH.format("trace", "TraceService")


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Addresses]]:
    with bench(tmp_path_factory.mktemp("grpc")) as made, serving(made) as addresses:
        yield made, addresses


def send(
    port: int,
    body: bytes,
    path: str = TRACES,
    metadata: Sequence[tuple[str, str]] = (),
    compression: Any = None,
) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        reply: bytes = channel.unary_unary(path)(
            body, metadata=metadata, timeout=20, compression=compression
        )
    return reply


class Refusing:
    """A writer that does not take anything."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def append(self, *_: Any, **__: Any) -> bool:
        raise self.error


def refusal(
    tocsin: tuple[Bench, Addresses], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> Any:
    made, addresses = tocsin
    monkeypatch.setattr(made.intake, "_writer", Refusing(error))
    with pytest.raises(grpc.RpcError) as caught:
        send(addresses.grpc, span_request().SerializeToString())
    return caught.value


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_traces_are_stored(tocsin: tuple[Bench, Addresses], compression: Any) -> None:
    made, addresses = tocsin
    service = f"grpc-{int(compression)}"
    body = span_request(3, service=service, first_id=100 * (1 + int(compression)))
    assert send(addresses.grpc, body.SerializeToString(), compression=compression) == b""
    assert len(made.calls(f"service = '{service}' AND kind = 'llm'")) == 3


def test_logs_and_metrics_are_stored(tocsin: tuple[Bench, Addresses]) -> None:
    made, addresses = tocsin
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add()
    record.time_unix_nano, record.event_name = NOW_NS, "grpc.log"
    record.body.string_value = "said over gRPC"
    send(addresses.grpc, logs.SerializeToString(), PATH.format("logs", "LogsService"))
    metrics = ExportMetricsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="grpc.metric")
    point = metric.gauge.data_points.add()
    point.time_unix_nano, point.as_double = NOW_NS, 4.5
    send(addresses.grpc, metrics.SerializeToString(), PATH.format("metrics", "MetricsService"))
    assert made.query("SELECT body FROM tocsin.logs WHERE event = 'grpc.log'") == [
        {"body": "said over gRPC"}
    ]
    assert made.query("SELECT value FROM tocsin.metric_points WHERE metric = 'grpc.metric'") == [
        {"value": 4.5}
    ]


def test_metadata_names_the_project(tocsin: tuple[Bench, Addresses]) -> None:
    made, addresses = tocsin
    body = span_request(1, service="named", first_id=900).SerializeToString()
    send(addresses.grpc, body, metadata=[("x-project-name", "fall%20sale")])
    assert [call["project"] for call in made.calls("service = 'named'")] == ["fall sale"]


def test_a_retry_counts_once(tocsin: tuple[Bench, Addresses]) -> None:
    made, addresses = tocsin
    body = span_request(2, service="retried", first_id=950).SerializeToString()
    send(addresses.grpc, body)
    send(addresses.grpc, body)
    assert len(made.calls("service = 'retried'")) == 2


def test_what_is_set_aside_is_told_and_the_rest_is_stored(
    tocsin: tuple[Bench, Addresses],
) -> None:
    made, addresses = tocsin
    request = span_request(2, service="partial", first_id=970)
    request.resource_spans[0].scope_spans[0].spans[1].span_id = b""
    reply = ExportTraceServiceResponse.FromString(send(addresses.grpc, request.SerializeToString()))
    assert reply.partial_success.rejected_spans == 1
    assert "span id" in reply.partial_success.error_message
    assert len(made.calls("service = 'partial'")) == 1


def test_what_is_not_otlp_is_an_invalid_argument(tocsin: tuple[Bench, Addresses]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        send(tocsin[1].grpc, b"not a message")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "OTLP traces request" in caught.value.details()


@pytest.mark.parametrize(
    ("status", "code"), [(429, grpc.StatusCode.RESOURCE_EXHAUSTED),
                         (503, grpc.StatusCode.UNAVAILABLE)],
)  # fmt: skip
def test_what_may_be_tried_again_says_when(
    tocsin: tuple[Bench, Addresses], monkeypatch: pytest.MonkeyPatch, status: int, code: Any
) -> None:
    error = refusal(tocsin, monkeypatch, IntakeError(status, "not now", retry_after_s=7))
    assert (error.code(), error.details()) == (code, "not now")
    trailers = dict(error.trailing_metadata())
    told = Status.FromString(trailers["grpc-status-details-bin"])
    retry = RetryInfo()
    assert told.details[0].Unpack(retry)
    assert (told.code, retry.retry_delay.seconds) == (code.value[0], 7)
    assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]) == retry


def test_a_defect_is_internal_and_says_nothing_of_what_broke(
    tocsin: tuple[Bench, Addresses], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(tocsin, monkeypatch, RuntimeError("secret path"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    assert "google.rpc.retryinfo-bin" not in dict(error.trailing_metadata())


def test_a_bomb_is_refused_before_it_is_unpacked_whole(tocsin: tuple[Bench, Addresses]) -> None:
    limit = tocsin[0].intake.limits.unpacked_bytes
    body = b"\n" * (limit + 1)
    assert len(gzip.compress(body)) < limit / 500
    options = [("grpc.max_send_message_length", -1)]
    with (
        grpc.insecure_channel(f"127.0.0.1:{tocsin[1].grpc}", options=options) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(TRACES)(body, timeout=60, compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_is_answered_and_other_methods_are_not_there(
    tocsin: tuple[Bench, Addresses],
) -> None:
    port = tocsin[1].grpc
    name = b"opentelemetry.proto.collector.trace.v1.TraceService"
    for asked in (b"", b"\x0a" + bytes([len(name)]) + name):
        assert send(port, asked, "/grpc.health.v1.Health/Check") == b"\x08\x01"
    for path, body, code in (
        ("/grpc.health.v1.Health/Check", b"\x0a\x01x", grpc.StatusCode.NOT_FOUND),
        ("/grpc.health.v1.Health/Watch", b"", grpc.StatusCode.UNIMPLEMENTED),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            send(port, body, path)
        assert caught.value.code() is code


@pytest.mark.parametrize(
    "metadata",
    [("authorization", f"Bearer {TOKEN}"), ("authorization", TOKEN), ("api_key", TOKEN)],
)
def test_with_a_token_only_who_has_it_comes_in(
    tocsin: tuple[Bench, Addresses], metadata: tuple[str, str]
) -> None:
    made = tocsin[0]
    body = span_request(1, service="secured", first_id=990).SerializeToString()
    with serving(made, admission(lambda token: token == TOKEN)) as addresses:
        for wrong in ((), (("authorization", "Bearer no"),)):
            before = made.intake.counts["refused.401"]
            with pytest.raises(grpc.RpcError) as caught:
                send(addresses.grpc, body, metadata=wrong)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert made.intake.counts["refused.401"] == before + 1
        assert send(addresses.grpc, body, metadata=(metadata,)) == b""


def test_a_stranger_is_refused_while_the_message_is_still_on_its_way(
    tocsin: tuple[Bench, Addresses],
) -> None:
    held = threading.Event()

    def never() -> Iterator[bytes]:
        held.wait(20)
        yield b""

    with serving(tocsin[0], admission(lambda token: False)) as addresses:
        with grpc.insecure_channel(f"127.0.0.1:{addresses.grpc}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.stream_unary(TRACES)(never(), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        held.set()


def test_what_is_under_way_at_the_end_is_stored_and_answered(
    tocsin: tuple[Bench, Addresses], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tocsin[0]
    entered, answers = threading.Event(), []
    stored = made.intake.otlp

    async def slowly(*args: Any, **named: Any) -> Any:
        import asyncio

        entered.set()
        await asyncio.sleep(0.3)  # the server is asked to stop meanwhile
        return await stored(*args, **named)

    body = span_request(1, service="last", first_id=999).SerializeToString()
    with serving(made) as addresses:
        monkeypatch.setattr(made.intake, "otlp", slowly)
        sender = threading.Thread(target=lambda: answers.append(send(addresses.grpc, body)))
        sender.start()
        assert entered.wait(10)
    sender.join(20)
    assert answers == [b""]
    assert len(made.calls("service = 'last'")) == 1
