"""What can become of a try to send: the four answers a channel gives.

delivered   the receiver said yes.
retry       certainly not accepted (refused connection, 429, 503): the same again, later.
ambiguous   perhaps accepted (time-out or reset after bytes were sent): reconcile, or the same
            again under the same key.
rejected    no retry will help (bad credentials, malformed, gone).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Delivered:
    """remote_ref: what the receiver calls it, for later updates."""

    remote_ref: Mapping[str, Any] = field(default_factory=dict)
    name: ClassVar[str] = "delivered"
    reason: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """after: how long the receiver asked us to wait, if it did."""

    reason: str
    after: timedelta | None = None
    name: ClassVar[str] = "retry"


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """It may have arrived."""

    reason: str
    after: timedelta | None = None
    name: ClassVar[str] = "ambiguous"


@dataclass(frozen=True, slots=True)
class Rejected:
    """It will never be accepted as it is."""

    reason: str
    name: ClassVar[str] = "rejected"


Outcome = Delivered | Retry | Ambiguous | Rejected
# What looking for a message comes to: it is there; it is not, or that can never be told; or it
# cannot be told now.
Looked = Delivered | Retry | Ambiguous | None


def not_now(asked: object) -> Retry | Ambiguous | None:
    """Of an answer that is none: whether asking again may bring one."""
    return asked if isinstance(asked, Retry | Ambiguous) else None
