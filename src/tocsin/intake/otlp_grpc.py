"""The OTLP/gRPC door: the same bodies as over HTTP, into the same `Intake`, with the same answers.

Messages are handed on as bytes; nothing is parsed here. A caller without the access token is
refused before its message is read. Refusals follow the OTLP specification: what may be tried again
says when (`google.rpc.RetryInfo`), what may not does not.

Needs `grpcio` (`tocsin[grpc]`); nothing but `tocsin.web.doors` imports this module.

Source: opentelemetry-proto, `docs/specification.md`, section "OTLP/gRPC"; gRPC health checking
protocol.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tocsin.domain.errors import IntakeError, StoreError
from tocsin.intake import replies
from tocsin.intake.credentials import Admit
from tocsin.intake.intake import Intake, project_named

_log = structlog.get_logger(__name__)
_METHODS = {
    f"/opentelemetry.proto.collector.{package}.v1.{service}/Export": signal
    for signal, package, service in (
        ("traces", "trace", "TraceService"),
        ("logs", "logs", "LogsService"),
        ("metrics", "metrics", "MetricsService"),
    )
}
_HEALTH = "/grpc.health.v1.Health/Check"
# HealthCheckRequest of the server as a whole and of each service, and a response: it serves.
_HEALTH_OF = {
    b"",
    *(b"\x0a" + bytes([len(name)]) + name.encode() for name in (p.split("/")[1] for p in _METHODS)),
}
_SERVING = b"\x08\x01"
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_MAX_DETAIL = 1000  # characters of a reason; a status travels in headers of at most 8 kB
_GRACE_S = 5.0
_STREAMS = 100  # requests of one connection that are worked on at once; its client queues the rest

Export = Callable[[bytes, Any], Awaitable[bytes]]


class OtlpGrpc:
    """The listener of one process. `port` is known after `start`."""

    def __init__(self, intake: Intake, admit: Admit) -> None:
        self._intake = intake
        self._admit = admit
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 is any free one. StoreError when the address cannot be had."""
        limit = self._intake.limits.unpacked_bytes
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", limit),  # applies to unpacked messages too
                ("grpc.max_concurrent_streams", _STREAMS),
                ("grpc.so_reuseport", 0),  # two processes must not share a port in silence
            )
        )
        self._server.add_generic_rpc_handlers((_Doors(self._intake, self._admit),))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError:
            raise StoreError(f"cannot listen on {address} for OTLP/gRPC") from None
        await self._server.start()

    async def stop(self) -> None:
        """Take nothing new; give what is under way a few seconds to be on disk."""
        await self._server.stop(_GRACE_S)


class _Doors(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the handler of a call by its path, and lets nobody in who may not come in."""

    def __init__(self, intake: Intake, admit: Admit) -> None:
        self._intake = intake
        self._admit = admit
        self._handlers = {
            path: grpc.unary_unary_rpc_method_handler(_export(intake, signal))
            for path, signal in _METHODS.items()
        }
        self._healthy = grpc.unary_unary_rpc_method_handler(_check)

    def service(self, call: Any) -> Any:
        if call.method == _HEALTH:
            return self._healthy  # as open as /healthz
        handler = self._handlers.get(call.method)
        if handler is None:
            return None
        try:
            self._admit(_texts(call.invocation_metadata))
        except IntakeError as error:
            return _refusing(self._intake, error)
        return handler


def _export(intake: Intake, signal: str) -> Export:
    async def export(body: bytes, context: Any) -> bytes:
        try:
            project = project_named(_texts(context.invocation_metadata()))
            receipt = await intake.otlp(signal, body, project=project)
        except IntakeError as error:
            refusal = error
        except Exception:  # noqa: BLE001 (boundary: answered, logged and counted)
            _log.exception("intake_failed", path=f"grpc {signal}")
            refusal = IntakeError(500, "the request failed; the server's log says why")
        else:
            return replies.export_message(receipt.rejected, receipt.reason)
        intake.refused(refusal)
        return await _abort(context, refusal)

    return export


def _refusing(intake: Intake, error: IntakeError) -> Any:
    """A handler that answers with a refusal without having read the message.

    It is one for streams, because the message of a unary call is read before its handler is asked.
    """

    async def refuse(_messages: Any, context: Any) -> bytes:
        intake.refused(error)
        return await _abort(context, error)

    return grpc.stream_unary_rpc_method_handler(refuse)


async def _check(body: bytes, context: Any) -> bytes:
    if body not in _HEALTH_OF:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return _SERVING


async def _abort(context: Any, error: IntakeError) -> bytes:
    message = str(error)[:_MAX_DETAIL]
    code = _CODES[replies.rpc_code(error)]
    trailers = []
    if error.retry_after_s is not None:
        retry = RetryInfo(retry_delay=Duration(seconds=error.retry_after_s))
        detail = AnyMessage()
        detail.Pack(retry)
        status = Status(code=code.value[0], message=message, details=[detail])
        trailers = [
            ("grpc-status-details-bin", status.SerializeToString()),
            # Where OpenTelemetry's exporter for Python looks for it.
            ("google.rpc.retryinfo-bin", retry.SerializeToString()),
        ]
    await context.abort(code, message, tuple(trailers))
    raise AssertionError("abort raises")


def _texts(metadata: Any) -> Mapping[str, str]:
    """Metadata as a mapping; the first value of a name, binary ones as text."""
    found: dict[str, str] = {}
    for name, value in metadata or ():
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        found.setdefault(name, text)
    return found
