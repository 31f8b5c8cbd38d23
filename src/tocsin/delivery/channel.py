"""What a channel is: a class and its frozen configuration in one file under `channels/`."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import httpx

from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Looked, Outcome


@runtime_checkable
class Channel(Protocol):
    """Sends messages to one receiver. It never sees the store, and keeps no state between calls.

    Config: the frozen dataclass it is built from. is_idempotent: whether the receiver recognises a
    message that arrives twice under one key. rate_per_s: how much it takes for long.
    """

    Config: ClassVar[type[Any]]
    is_idempotent: ClassVar[bool]
    rate_per_s: ClassVar[float]

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """Try once. An exception counts as ambiguous and is a defect of the channel."""
        ...


@runtime_checkable
class TakesChanges(Protocol):
    """A channel that can be told of deploys and the like (messages with the action `change`)."""

    @property
    def takes_changes(self) -> bool:
        """Whether it is configured to be told of any."""
        ...

    def takes_changes_of(self, service: str) -> bool:
        """Whether it is to be told of one of this service; "" is one of all services."""
        ...


@runtime_checkable
class TakesPictures(Protocol):
    """A channel that shows a picture after the first message (messages with the action `picture`).

    Drawing takes some 25 ms of a processor: it is done in a thread.
    """

    @property
    def takes_pictures(self) -> bool:
        """Whether it is configured to."""
        ...


@runtime_checkable
class ShowsAnswerLinks(Protocol):
    """A channel whose messages may hold links that answer without a login (`answer_links`)."""

    @property
    def shows_answer_links(self) -> bool:
        """Whether it is configured to."""
        ...


@runtime_checkable
class Reconciling(Protocol):
    """A channel that can look whether a message arrived whose sending ended ambiguously."""

    async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Looked:
        """What the receiver has under this key."""
        ...
