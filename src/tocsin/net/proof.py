"""Whether a request comes from who it says: HMAC signatures and shared tokens, during rotation too.

Headers are written by strangers: whatever is wrong with one, the answer is no and never an error.
All comparisons take the same time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tocsin.domain.secret import Secret

TOLERANCE = timedelta(minutes=5)
_STANDARD = "whsec_"


class NotAuthentic(Exception):
    """A request that nobody whom we know sent, or not today. The text never quotes it."""


def keys(*secrets: Secret | None) -> tuple[Secret, ...]:
    """Those that are set: the current one, and the one before while it is being replaced."""
    return tuple(each for each in secrets if each)


def check_hmac(secrets: Sequence[Secret], message: bytes, offered: Iterable[str]) -> None:
    """One of the offered hex digests is the HMAC-SHA256 of `message` under one of the secrets."""
    expected = [hmac.new(s.reveal().encode(), message, hashlib.sha256).hexdigest() for s in secrets]
    _check_any(expected, offered)


def check_standard(
    secrets: Sequence[Secret], headers: Mapping[str, str], body: bytes, now: datetime
) -> str:
    """The request is signed as Standard Webhooks has it; returns its id.

    https://github.com/standard-webhooks/standard-webhooks: base64 of the HMAC-SHA256 of
    `id.timestamp.body` in `webhook-signature`, several separated by spaces during rotation.
    """
    identity, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    check_time(stamp, now)
    message = f"{identity}.{stamp}.".encode(errors="replace") + body
    digests = [hmac.new(standard_key(s), message, hashlib.sha256).digest() for s in secrets]
    expected = [base64.b64encode(digest).decode() for digest in digests]
    offered = headers.get("webhook-signature", "").split(" ")
    _check_any(expected, [one.removeprefix("v1,") for one in offered if one.startswith("v1,")])
    return identity


def standard_key(secret: Secret) -> bytes:
    """The key that `whsec_…` stands for. ValueError when it is not base64."""
    text = secret.reveal()
    if not text.startswith(_STANDARD):
        raise ValueError("a secret of Standard Webhooks begins with whsec_")
    try:
        return base64.b64decode(text.removeprefix(_STANDARD), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("what follows whsec_ is not base64") from None


def check_bearer(
    secrets: Sequence[Secret], headers: Mapping[str, str], *, is_verbatim: bool = False
) -> None:
    """`Authorization: Bearer` holds one of the secrets.

    is_verbatim: senders put into the header what people gave them, so that the word Bearer is part
    of a secret, or missing.
    """
    header = headers.get("authorization", "").strip()
    scheme, _, given = header.partition(" ")
    found = [_same(given.strip(), each.reveal()) for each in secrets]
    whole = [_same(header, each.reveal().strip()) for each in secrets if is_verbatim and header]
    if not (scheme.lower() == "bearer" and any(found)) and not any(whole):
        raise NotAuthentic("the token of this request is not ours")


def check_time(seconds: str, now: datetime) -> None:
    """The time of a request, in seconds of the epoch, is not more than five minutes off."""
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) <= 12):
        raise NotAuthentic("the request does not say when it was made")
    try:
        made = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise NotAuthentic("the request does not say when it was made") from None
    if abs(made - now) > TOLERANCE:
        raise NotAuthentic("the request was made more than five minutes ago, or in the future")


def _check_any(expected: Sequence[str], offered: Iterable[str]) -> None:
    found = [_same(given, each) for given in offered for each in expected]
    if not any(found):
        raise NotAuthentic("no signature of this request is one of ours")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
