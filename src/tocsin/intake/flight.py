"""The Arrow Flight door: evaluations, annotations and metadata that Arize's SDK sends about spans.

The SDK opens a `DoPut` whose descriptor is a command in JSON, for example

    {"writeSpanEvaluationRequest": {"spaceId": "…", "externalModelId": "<project>"}}

streams a table, and waits for one message that counts what was taken. The table is stored piece by
piece, so that its size is not bounded by memory, and the answer comes when every piece is on disk.
A stream that breaks off is sent again as a whole: pieces that had been stored are recognised.

The server runs in threads of its own; whatever meets the `Intake` is handed to its event loop.

Source: arize 8.61, recorded requests and replies.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

import pyarrow as pa
import structlog
from pyarrow import flight

from tocsin.domain.errors import IntakeError, StoreError
from tocsin.intake import arize
from tocsin.intake.credentials import Admit
from tocsin.intake.deposit import store_parsed
from tocsin.intake.envelope import varint
from tocsin.intake.intake import Intake
from tocsin.intake.json_requests import read_json

_log = structlog.get_logger(__name__)
_PIECE_BYTES = 4 << 20
_AT_ONCE = 2  # streams that are read at a time; the others wait, and gRPC makes their senders wait
_DURABLE_WITHIN_S = 60.0
# Which command gets which reply: a count of records, or of spans processed and of spans updated.
_COUNTED_ONCE = ("writeSpanEvaluationRequest", "writeSpanAnnotationRequest")
_COUNTED_TWICE = "writeSpanAttributesMetadataRequest"


class FlightDoor:
    """The listener of one process. `port` is known after `start`."""

    def __init__(self, intake: Intake, admit: Admit) -> None:
        self._intake = intake
        self._admit = admit
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 is any free one. StoreError when the address cannot be had."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        loop = asyncio.get_running_loop()
        try:
            self._server = _Server(f"grpc://{address}", self._intake, self._admit, loop)
        except (pa.ArrowException, OSError):
            raise StoreError(f"cannot listen on {address} for Arrow Flight") from None
        self.port = self._server.port

    async def stop(self) -> None:
        """Take nothing new, and wait for what is under way."""
        await asyncio.to_thread(self._server.shutdown)


class _Server(flight.FlightServerBase):  # type: ignore[misc]
    def __init__(
        self, location: str, intake: Intake, admit: Admit, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._intake = intake
        self._loop = loop
        self._turns = threading.Semaphore(_AT_ONCE)
        super().__init__(location, middleware={"credentials": _Credentials(intake, admit)})

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Store a stream and say how many rows it had."""
        try:
            command = _command(descriptor)
            with self._turns:
                rows = sum(self._stored(piece) for piece in self._pieces(reader))
        except IntakeError as error:
            refusal = error
        except pa.ArrowException:
            raise  # the stream broke; Flight tells the sender
        except Exception:  # noqa: BLE001 (boundary: answered, logged and counted)
            _log.exception("intake_failed", path="flight do_put")
            refusal = IntakeError(500, "the request failed; the server's log says why")
        else:
            writer.write(pa.py_buffer(_reply(command, rows)))
            return
        self._intake.refused(refusal)
        raise _told(refusal)

    def _pieces(self, reader: Any) -> Iterator[bytes]:
        """The stream as tables of a few megabytes, each a complete Arrow IPC stream."""
        held: list[pa.RecordBatch] = []
        size = 0
        limit = self._intake.limits.unpacked_bytes
        for chunk in reader:
            if chunk.data is None:
                continue
            if chunk.data.nbytes > limit:
                raise IntakeError(
                    413, f"a batch of {chunk.data.nbytes} bytes, the limit is {limit};"
                         " send smaller batches"
                )  # fmt: skip
            held.append(chunk.data)
            size += chunk.data.nbytes
            if size >= _PIECE_BYTES:
                yield _as_stream(reader.schema, held)
                held, size = [], 0
        if held:
            yield _as_stream(reader.schema, held)

    def _stored(self, body: bytes) -> int:
        """Rows of a table, once they are on disk."""
        parsed = arize.read_table(body, self._intake.now_ns)
        self._on_loop(store_parsed(self._intake, parsed, body, ""))
        return parsed.rows

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_DURABLE_WITHIN_S)


class _Credentials(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Lets nobody in who may not come in; asked before anything of a call is read."""

    def __init__(self, intake: Intake, admit: Admit) -> None:
        self._intake = intake
        self._admit = admit

    def start_call(self, info: Any, headers: Mapping[str, list[str | bytes]]) -> None:
        """Nothing, or FlightUnauthenticatedError."""
        try:
            self._admit({name.lower(): _text(values[0]) for name, values in headers.items()})
        except IntakeError as error:
            self._intake.refused(error)
            raise _told(error) from None


def _command(descriptor: Any) -> str:
    """What is asked, by the name of the one member of the command. IntakeError 400."""
    try:
        document = read_json(descriptor.command or b"")
    except IntakeError:
        document = None
    known = (*_COUNTED_ONCE, _COUNTED_TWICE)
    asked = next((name for name in known if isinstance(document, dict) and name in document), None)
    if asked is None:
        raise IntakeError(
            400, f"the command of this DoPut is not one that Tocsin takes: {', '.join(known)}"
        )
    return asked


def _as_stream(schema: pa.Schema, batches: list[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as out:
        for batch in batches:
            out.write_batch(batch)
    return bytes(sink.getvalue())


def _reply(command: str, rows: int) -> bytes:
    """records_updated (1), or spans_processed (1) and spans_updated (2)."""
    count = varint(rows)
    return b"\x08" + count + (b"\x10" + count if command == _COUNTED_TWICE else b"")


def _told(error: IntakeError) -> Exception:
    """The error that makes Flight answer with the right code."""
    retry = f"; try again in {error.retry_after_s} s" if error.retry_after_s is not None else ""
    text = f"{error}{retry}"
    kinds: dict[int, type[Exception]] = {
        401: flight.FlightUnauthenticatedError,
        429: flight.FlightUnavailableError,
        500: flight.FlightInternalError,
        503: flight.FlightUnavailableError,
    }
    kind: type[Exception] = kinds.get(error.status, pa.ArrowInvalid)
    return kind(text)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
