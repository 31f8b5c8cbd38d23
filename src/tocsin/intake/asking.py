"""One request to an address that a user named: checked, pinned, bounded, and never redirected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from tocsin.intake.source import Unreadable
from tocsin.net.guard import Refused, pin_target
from tocsin.net.patience import retry_after

_PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer. status: of HTTP; 304 has no body. etag: to be sent with the next request. after:
    how long whoever answered wants to be left alone, where it says so."""

    status: int
    body: bytes = b""
    etag: str = ""
    after: timedelta | None = None

    def json(self) -> Any:
        """The body as JSON. Raises Unreadable."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Unreadable("the answer is not JSON") from None


class Asker:
    """The connections of one source.

    allow_private: see `tocsin.net.guard.pin_target`. timeout: for a whole answer.
    """

    def __init__(self, *, allow_private: bool, timeout: timedelta, most_bytes: int) -> None:
        self._allow_private = allow_private
        self._timeout = timeout.total_seconds()
        self._most_bytes = most_bytes
        self._client: httpx.AsyncClient | None = None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answered:
        """The answer, whatever its status. Raises Unreadable when there is none."""
        return await self._ask("GET", url, headers or {})

    async def post(self, url: str, told: Any, headers: Mapping[str, str] | None = None) -> Answered:
        """As `get`, with `told` sent as JSON."""
        body = json.dumps(told).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        return await self._ask("POST", url, given, body)

    async def read(self, url: str, headers: Mapping[str, str] | None = None) -> Answered:
        """As `get`, for an answer of 200 or 304. Raises Unreadable for any other."""
        answer = await self.get(url, headers)
        if answer.status in (429, 503):
            raise Unreadable(f"HTTP {answer.status}", after=_PATIENCE)
        if answer.status in (301, 302, 307, 308):
            raise Unreadable(f"HTTP {answer.status}: it has moved; name the address it leads to")
        if answer.status not in (200, 304):
            raise Unreadable(f"HTTP {answer.status}")
        return answer

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Answered:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._request(method, url, headers, body)
        except TimeoutError:
            raise Unreadable(f"no complete answer within {self._timeout:g} s") from None
        except httpx.HTTPError as error:
            raise Unreadable(f"no answer ({type(error).__name__})") from None

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes
    ) -> Answered:
        pinned = await pin_target(url, allow_private=self._allow_private)
        if isinstance(pinned, Refused):
            raise Unreadable(pinned.reason)
        if self._client is None:
            self._client = httpx.AsyncClient(
                follow_redirects=False, trust_env=False, timeout=httpx.Timeout(self._timeout),
                headers={"User-Agent": "Tocsin/0.1"},
            )  # fmt: skip
        given = {**headers, **pinned.headers}
        async with self._client.stream(
            method, pinned.url, headers=given, content=content, extensions=pinned.extensions
        ) as response:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > self._most_bytes:
                    raise Unreadable(f"the answer is larger than {self._most_bytes} bytes")
            etag = response.headers.get("etag", "")
            return Answered(response.status_code, bytes(body), etag, retry_after(response))


def check_url(name: str, url: str) -> None:
    """ValueError unless `url` is an http address without credentials in it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{name}: {url!r} is not an address such as https://host/path")
    if parsed.userinfo:
        raise ValueError(f"{name}: must not hold credentials")
