"""The load generator: every body once, over a few connections, as fast as they are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from pyarrow import flight

CONNECTIONS = 8
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_UNBOUNDED = (("grpc.max_send_message_length", -1),)

Connection = Callable[[Iterator[bytes], list[float]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sent:
    """started: by perf_counter. seconds: until the last answer. latency_ms: its quantiles."""

    started: float
    seconds: float
    latency_ms: dict[str, float]


def over_http(
    port: int, bodies: Iterable[bytes], *, path: str = "/v1/traces",
    kind: str = "application/x-protobuf", connections: int = CONNECTIONS,
) -> Sent:  # fmt: skip
    """POST every body; anything but a 200 is an error."""

    async def connection(waiting: Iterator[bytes], latencies: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n".encode()
        for body in waiting:
            begun = time.perf_counter()
            writer.write(head + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n")
            writer.write(body)
            await writer.drain()
            told = await reader.readuntil(b"\r\n\r\n")
            length = [
                line for line in told.split(b"\r\n") if line[:15].lower() == b"content-length:"
            ]
            answer = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
            if not told.startswith(b"HTTP/1.1 200"):
                raise RuntimeError((told + answer).decode())
            latencies.append((time.perf_counter() - begun) * 1000)
        writer.close()

    return asyncio.run(_send(bodies, connection, connections))


def over_grpc(port: int, bodies: Iterable[bytes]) -> Sent:
    """Export every body of traces; an error is one here."""

    async def connection(waiting: Iterator[bytes], latencies: list[float]) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", _UNBOUNDED) as channel:
            export = channel.unary_unary(_EXPORT)
            for body in waiting:
                begun = time.perf_counter()
                await export(body)
                latencies.append((time.perf_counter() - begun) * 1000)

    return asyncio.run(_send(bodies, connection, CONNECTIONS))


def over_flight(port: int, tables: Sequence[Any], command: bytes) -> Sent:
    """DoPut every table, one after the other, as Arize's client does."""
    latencies = []
    descriptor = flight.FlightDescriptor.for_command(command)
    started = time.perf_counter()
    with flight.connect(f"grpc://127.0.0.1:{port}") as client:
        for table in tables:
            begun = time.perf_counter()
            writer, reader = client.do_put(descriptor, table.schema)
            writer.write_table(table)
            writer.done_writing()
            reader.read()
            writer.close()
            latencies.append((time.perf_counter() - begun) * 1000)
    return Sent(started, time.perf_counter() - started, _quantiles(latencies))


async def _send(bodies: Iterable[bytes], connection: Connection, connections: int) -> Sent:
    waiting = iter(bodies)
    latencies: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(connection(waiting, latencies) for _ in range(connections)))
    return Sent(started, time.perf_counter() - started, _quantiles(latencies))


def _quantiles(latencies: list[float]) -> dict[str, float]:
    ordered = sorted(latencies)
    return {
        f"p{q}": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)], 1)
        for q in (50, 95, 99)
    }
