"""One HTTP request to a receiver, and what its answer means.

No redirects, bounded time, and never a secret in a reason: the text of transport errors is our own,
because theirs may quote the address, and an answer that is quoted is scrubbed first.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import httpx

from tocsin.delivery.message import truncate
from tocsin.delivery.outcome import Ambiguous, Rejected, Retry
from tocsin.domain.secret import Secret, scrub
from tocsin.net.patience import retry_after

TIMEOUT = httpx.Timeout(8.0, connect=5.0)
USER_AGENT = "Tocsin/0.1"
_QUOTED = 200

# Nothing can have been accepted when the connection was never made or never given out.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_MALFORMED = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError)
# A gateway that lost its server, or a server that fell over, may have done the work before.
_UNCLEAR = frozenset({500, 502, 504})


def client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """The client that all channels of a process share."""
    return httpx.AsyncClient(
        transport=transport,
        timeout=TIMEOUT,
        follow_redirects=False,
        headers={"User-Agent": USER_AGENT},
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
    )


async def request(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    params: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> httpx.Response | Retry | Ambiguous | Rejected:
    """The response, or what the failure to get one means."""
    try:
        return await http.request(
            method,
            url,
            headers=dict(headers),
            content=content,
            params=dict(params) if params else None,
            extensions=dict(extensions) if extensions else None,
            follow_redirects=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _failure(error)


async def peek(
    http: httpx.AsyncClient,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes,
    extensions: Mapping[str, Any],
    longest: int,
) -> httpx.Response | Retry | Ambiguous | Rejected:
    """As `request`, a POST to a stranger: of the answer no more than `longest` bytes are read."""
    try:
        async with http.stream(
            "POST",
            url,
            headers=dict(headers),
            content=content,
            extensions=dict(extensions),
            follow_redirects=False,
        ) as response:
            read = bytearray()
            async for chunk in response.aiter_raw():
                read += chunk[: longest - len(read)]
                if len(read) >= longest:
                    break
            kept = {k: v for k, v in response.headers.items() if k in {"retry-after", "date"}}
            return httpx.Response(response.status_code, headers=kept, content=bytes(read))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _failure(error)


async def call(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    at: datetime,
    secrets: Iterable[Secret | None],
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    params: Mapping[str, str] | None = None,
) -> httpx.Response | Retry | Ambiguous | Rejected:
    """A request with a JSON body; its 2xx response, or what went wrong (`request`, `refusal`)."""
    response = await request(
        http,
        method,
        url,
        headers={"Accept": "application/json", "Content-Type": "application/json"}
        | dict(headers or {}),
        content=None if body is None else json.dumps(body).encode(),
        params=params,
    )
    if not isinstance(response, httpx.Response):
        return response
    return refusal(response, at, secrets) or response


def basic(username: str, password: Secret) -> str:
    """The value of an Authorization header (RFC 7617)."""
    pair = f"{username}:{password.reveal()}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object that a response holds; None when it holds anything else."""
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def refusal(
    response: httpx.Response, at: datetime, secrets: Iterable[Secret | None] = ()
) -> Retry | Ambiguous | Rejected | None:
    """What an answer that is not a 2xx means; None for a 2xx.

    408, 429 (420 at some), 503 and other 5xx are retried, 500, 502 and 504 are ambiguous, redirects
    and other 4xx are final. at: when the request was made, for a Retry-After that is a date.
    """
    status = response.status_code
    if 200 <= status < 300:
        return None
    reason = f"HTTP {status}{_quote(response, secrets)}"
    if 300 <= status < 400:
        return Rejected(f"HTTP {status}: redirects are not followed")
    after = retry_after(response, at)
    if status in _UNCLEAR:
        return Ambiguous(reason, after)
    if status in {408, 420, 429} or status >= 500:
        return Retry(reason, after)
    return Rejected(reason)


# --- private -----------------------------------------------------------------------------------


def _failure(error: Exception) -> Retry | Ambiguous | Rejected:
    name = type(error).__name__
    if isinstance(error, _NOT_SENT):
        return Retry(f"no connection ({name})")
    if isinstance(error, _MALFORMED):
        return Rejected(f"the address cannot be used ({name})")
    if isinstance(error, httpx.TimeoutException):
        return Ambiguous(f"no answer in time ({name})")
    return Ambiguous(f"the connection broke ({name})")


def _quote(response: httpx.Response, secrets: Iterable[Secret | None]) -> str:
    text = scrub(" ".join(response.text.split()), secrets)
    return f": {truncate(text, _QUOTED)}" if text else ""
