"""Where exported rows come from: a running server over HTTP, or the data directory itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tocsin.domain.clock import Clock, iso
from tocsin.domain.errors import StoreError
from tocsin.engine.asking import answering, asked
from tocsin.engine.exchange.exporting import encoded
from tocsin.engine.exchange.targets import opened
from tocsin.engine.exchange.wishes import ExportWish
from tocsin.store.schema import Retention

Stream = tuple[int, Iterator[bytes]]  # rows there will be, and the bytes of the file
_PIECE = 1 << 20


@contextmanager
def from_server(url: str, token: str | None, wish: ExportWish) -> Iterator[Stream]:
    """An export made by a running server. StoreError when it does not make it."""
    path = f"/api/v1/export/{wish.what}"
    with answering(url, token, path, _query(wish)) as answer:
        yield int(answer.headers.get("x-tocsin-rows", 0)), answer.iter_bytes(_PIECE)


@contextmanager
def from_directory(
    data_dir: Path, clock: Clock, memory_bytes: int, wish: ExportWish,
    retention: Retention | None = None,
) -> Iterator[Stream]:  # fmt: skip
    """An export of a data directory that no other process has open."""
    if not data_dir.is_dir():
        raise StoreError(f"there is no data directory {data_dir}; name one with --data-dir")
    with opened(data_dir, clock, memory_bytes, retention) as telemetry:
        wanted = wish.wanted(clock.now())
        exports = telemetry.exports
        yield (
            exports.count(wanted),
            encoded(exports.pages(wanted), exports.schema(wanted), wish.form, wish.compression),
        )


def costs_of_server(
    url: str, token: str | None, start: date | None, stop: date | None
) -> list[dict[str, Any]]:
    """What a running server says bills and the price book say, as its API has it."""
    told = {name: str(day) for name, day in (("from", start), ("to", stop)) if day is not None}
    items: list[dict[str, Any]] = asked(url, token, "/api/v1/costs", told)["items"]
    return items


def costs_of_directory(
    data_dir: Path, clock: Clock, memory_bytes: int, start: date | None, stop: date | None
) -> list[dict[str, Any]]:
    """The same of a data directory that no other process has open."""
    if not data_dir.is_dir():
        raise StoreError(f"there is no data directory {data_dir}; name one with --data-dir")
    last = stop or clock.now().date() + timedelta(days=1)
    with opened(data_dir, clock, memory_bytes) as telemetry:
        lines = telemetry.costs.lines(start or last - timedelta(days=30), last)
    return [{**asdict(line), "day": str(line.day)} for line in lines]


def _query(wish: ExportWish) -> dict[str, Any]:
    times = {"from": wish.start, "to": wish.stop, "as_of": wish.as_of}
    texts = {
        "format": wish.form, "compression": wish.compression, "service": wish.service,
        "model": wish.model, "kind": wish.kind, "env": wish.env, "dim": list(wish.dims),
        "content": "true" if wish.content else "",
    }  # fmt: skip
    told = {name: iso(value) for name, value in times.items() if value is not None}
    return told | {name: text for name, text in texts.items() if text}
