"""How much memory requests may hold at once: beyond it they are refused before they are read.

A body counts from its first byte until its request is answered, packed and unpacked, so that any
number of connections with any bodies costs no more than the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tocsin.domain.errors import IntakeError

IN_FLIGHT_BYTES = 256 << 20
_RETRY_AFTER_S = 1


class Ticket:
    """What one request holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size = 0

    def grow(self, size: int) -> None:
        """Hold `size` bytes more. IntakeError 429 when all requests together would hold too much;
        a request alone may pass the limit, else it never could be taken."""
        held = self._admission.held
        if held > self.size and held + size > self._admission.limit:
            raise IntakeError(
                429,
                f"{held >> 20} MB of requests are being read; slow down",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._admission.held += size
        self.size += size

    def shrink(self, size: int) -> None:
        """Hold `size` bytes less."""
        self._admission.held -= size
        self.size -= size


class Admission:
    """The bytes that requests of one process hold. Belongs to one event loop."""

    def __init__(self, limit: int = IN_FLIGHT_BYTES) -> None:
        self.limit = limit
        self.held = 0

    @contextmanager
    def request(self) -> Iterator[Ticket]:
        """A ticket for one request; what it holds is given back at the end."""
        ticket = Ticket(self)
        try:
            yield ticket
        finally:
            ticket.shrink(ticket.size)
