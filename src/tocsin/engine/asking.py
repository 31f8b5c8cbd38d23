"""What the command line asks a running server, and how it is told when there is no answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from tocsin.domain.errors import StoreError

_TIMEOUT_S = 300
_LONGEST = 300


@contextmanager
def answering(
    url: str, token: str | None, path: str, query: Mapping[str, Any] | None = None
) -> Iterator[httpx.Response]:
    """The answer to a GET, its body not read yet. StoreError unless it is a 200."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.stream(
            "GET", f"{url}{path}", params=query, headers=headers, timeout=_TIMEOUT_S
        ) as answer:
            if answer.status_code != 200:
                answer.read()
                raise StoreError(f"{url} refused: {answer.status_code} {_why(answer)}")
            yield answer
    except httpx.HTTPError as error:
        raise StoreError(f"{url} broke off or does not answer: {error}") from None


def asked(
    url: str, token: str | None, path: str, query: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON that a GET is answered with. StoreError as `answering`."""
    with answering(url, token, path, query) as answer:
        answer.read()
        try:
            found: dict[str, Any] = answer.json()
        except ValueError as error:
            raise StoreError(f"{url} does not answer as Tocsin does: {error}") from None
    return found


def _why(answer: httpx.Response) -> str:
    """What an RFC 9457 problem says, else the beginning of the body."""
    try:
        return str(answer.json()["detail"])[:_LONGEST]
    except (ValueError, KeyError, TypeError):
        return answer.text[:_LONGEST]
