"""Where exported rows come from: a running server over HTTP, or the data directory itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tocsin.domain.clock import Clock, iso
from tocsin.domain.errors import StoreError
from tocsin.engine.exchange.exporting import encoded
from tocsin.engine.exchange.targets import opened
from tocsin.engine.exchange.wishes import ExportWish
from tocsin.store.schema import Retention

Stream = tuple[int, Iterator[bytes]]  # rows there will be, and the bytes of the file
_TIMEOUT_S = 300
_PIECE = 1 << 20


@contextmanager
def from_server(url: str, token: str | None, wish: ExportWish) -> Iterator[Stream]:
    """An export made by a running server. StoreError when it does not make it."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    path = f"{url}/api/v1/export/{wish.what}"
    try:
        with httpx.stream(
            "GET", path, params=_query(wish), headers=headers, timeout=_TIMEOUT_S
        ) as answer:
            if answer.status_code != 200:
                answer.read()
                raise StoreError(f"{url} refused: {answer.status_code} {_detail(answer)}")
            yield int(answer.headers.get("x-tocsin-rows", 0)), answer.iter_bytes(_PIECE)
    except httpx.HTTPError as error:
        raise StoreError(f"{url} broke off or does not answer: {error}") from None


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


def _query(wish: ExportWish) -> dict[str, Any]:
    times = {"from": wish.start, "to": wish.stop, "as_of": wish.as_of}
    texts = {
        "format": wish.form, "compression": wish.compression, "service": wish.service,
        "model": wish.model, "kind": wish.kind, "env": wish.env, "dim": list(wish.dims),
        "content": "true" if wish.content else "",
    }  # fmt: skip
    told = {name: iso(value) for name, value in times.items() if value is not None}
    return told | {name: text for name, text in texts.items() if text}


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text))[:300]
    except ValueError:
        return answer.text[:300]
