"""What comes back from receivers: somebody acknowledged or resolved there, not here.

A service tells us by a request of its own (`Answering`, verified by the channel), over a connection
that we keep to it (`Listening`), or is asked (`Polling`). Either way an answer is only a wish: the
engine applies it to the incident as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

import httpx

from tocsin.domain.secret import Secret

Said = Literal["acknowledge", "resolve", "real", "false", "duplicate", "noise"]
# What can be said where there are buttons or links: while it lasts, and when it is over.
RESPONSES: Mapping[Said, str] = {"acknowledge": "Acknowledge", "resolve": "Resolve"}
VERDICTS: Mapping[Said, str] = {
    "real": "It was real",
    "false": "Nothing was wrong",
    "duplicate": "Told already",
    "noise": "Not worth it",
}
# Carries out what a service told; raises when it could not, so that it is told again.
Hear = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing that somebody did at a receiver.

    actor: who, as the ledger shows it ("pagerduty:Ana"). subject: what the receiver calls the
    incident (`Answering.name_of`); "" from a poll, which was about one incident. id: of the event,
    by which one that is told again, or replayed, is recognised. told: a `press` is always a
    person's; an `event` says what was done to the service's own record, `record` only how that
    stands, and we may have moved it there ourselves. reply: where that person may be told what
    became of it (`delivery.replies`); whoever has the address may write there, so it is not shown.
    """

    action: Said
    actor: str
    subject: str = ""
    id: str = ""
    told: Literal["press", "event", "record"] = field(default="event", compare=False)
    reply: str = field(default="", compare=False, repr=False)


@runtime_checkable
class Answering(Protocol):
    """A channel whose service sends requests to `/callbacks/<receiver>`."""

    @property
    def answers(self) -> bool:
        """Whether it is configured to: it has the secret that its requests are proven by."""
        ...

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Answer]:
        """What an authentic request says; nothing, when it is about something else.

        headers: by lower-case name. Raises NotAuthentic, and ValueError for an authentic request
        that cannot be understood.
        """
        ...

    def name_of(self, incident_id: str) -> str:
        """What the service calls an incident."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A channel that keeps a connection to its service, for who has no address to be called at."""

    @property
    def line(self) -> Secret | None:
        """What the connection is opened with; receivers that share it share the connection. None
        for no connection."""
        ...

    async def listen(self, hear: Hear, http: httpx.AsyncClient) -> None:
        """Keep the connection until cancelled, through every failure of it."""
        ...

    def understand(self, body: bytes) -> Sequence[Answer]:
        """What something that came over the connection says (`Answering.read`, already proven)."""
        ...

    def name_of(self, incident_id: str) -> str:
        """What the service calls an incident."""
        ...


@runtime_checkable
class Polling(Protocol):
    """A channel whose service is asked what became of a message."""

    @property
    def polls(self) -> bool:
        """Whether it is configured to: it has what it needs to ask."""
        ...

    async def poll(
        self, reference: Mapping[str, Any], at: datetime, http: httpx.AsyncClient
    ) -> Answer | None:
        """What somebody did there; None for nothing, or if it cannot be told now.

        reference: what sending gave (`Delivered.remote_ref`).
        """
        ...
