"""Whether a request comes from who it says: HMAC signatures and shared tokens, during rotation too.

Headers are written by strangers: whatever is wrong with one, the answer is no and never an error.
All comparisons take the same time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tocsin.delivery.answers import NotAuthentic
from tocsin.domain.secret import Secret

TOLERANCE = timedelta(minutes=5)


def keys(*secrets: Secret | None) -> tuple[Secret, ...]:
    """Those that are set: the current one, and the one before while it is being replaced."""
    return tuple(each for each in secrets if each)


def check_hmac(secrets: Sequence[Secret], message: bytes, offered: Iterable[str]) -> None:
    """One of the offered hex digests is the HMAC-SHA256 of `message` under one of the secrets."""
    expected = [hmac.new(s.reveal().encode(), message, hashlib.sha256).hexdigest() for s in secrets]
    found = [_same(given, each) for given in offered for each in expected]
    if not any(found):
        raise NotAuthentic("no signature of this request is one of ours")


def check_bearer(secrets: Sequence[Secret], headers: Mapping[str, str]) -> None:
    """`Authorization: Bearer` holds one of the secrets."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    found = [_same(given.strip(), each.reveal()) for each in secrets]
    if scheme.lower() != "bearer" or not any(found):
        raise NotAuthentic("the token of this request is not ours")


def check_time(seconds: str, now: datetime) -> None:
    """The time of a request, in seconds of the epoch, is not more than five minutes off."""
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) <= 12):
        raise NotAuthentic("the request does not say when it was made")
    if abs(datetime.fromtimestamp(int(seconds), UTC) - now) > TOLERANCE:
        raise NotAuthentic("the request was made more than five minutes ago, or in the future")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
