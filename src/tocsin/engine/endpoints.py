"""Endpoints that subscribe to a status page: webhooks in Statuspage's shape, signed.

Whoever asks is told a secret; the endpoint is sent a challenge at once and becomes a subscriber by
answering it (`delivery.channels.status_webhook`), so nobody subscribes another's. Every body says
how to end it, and an endpoint that has taken nothing for days is forgotten.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from tocsin.delivery.channels.status_webhook import StatusWebhook
from tocsin.delivery.notices import notice_effect
from tocsin.domain.errors import Unanswerable
from tocsin.domain.findings import EffectState, LedgerEvent, NewEffect
from tocsin.engine.house import House
from tocsin.reports.status import Notice, StatusPage, webhook
from tocsin.spec.status_pages import StatusPageShape
from tocsin.store import subscribers
from tocsin.store.subscribers import Subscriber
from tocsin.store.transaction import Transaction

MOST = 1_000
# Challenges of one process: nobody is to send requests to strangers through us by the thousand.
MOST_CHALLENGES, CHALLENGES_PER = 30, timedelta(minutes=10)
AGAIN_AFTER = timedelta(minutes=1)
# Given up so often in a row, over so long, and never taken in between.
FAILURES, FAILED_FOR = 3, timedelta(days=3)


class CannotSubscribe(Unanswerable):
    """A wish that cannot be met; the text says why."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What an endpoint checks signatures with, told once, and where its subscription ends."""

    endpoint: str
    secret: str
    unsubscribe: str


class Endpoints:
    """The endpoints that subscribe to the pages of one house. base: the address of this server."""

    def __init__(self, house: House, base: str) -> None:
        self._house = house
        self._base = base.rstrip("/")
        self._asked: list[tuple[datetime, str]] = []

    def offered(self, page: str) -> bool:
        """Whether endpoints can subscribe to a page."""
        return self._sender(page) is not None

    async def subscribe(self, page: str, url: str, http: httpx.AsyncClient) -> Subscribed:
        """Challenge an endpoint; it is a subscriber once it has answered. Raises CannotSubscribe.

        One that is one already gets a new secret and a new link: who runs it may have lost both.
        """
        sender, url, now = self._sender(page), url.strip(), self._house.clock.now()
        if sender is None:
            raise CannotSubscribe("this page takes no endpoints")
        problem = sender.why_not(url)
        if problem:
            raise CannotSubscribe(problem)
        self._admit(url, now)
        token = secrets.token_urlsafe(24)
        problem = await sender.challenge(url, token, secrets.token_urlsafe(24), now, http)
        if problem:
            raise CannotSubscribe(problem)
        self._keep(Subscriber(page, url, token, now, now))
        return Subscribed(url, sender.secret_for(token), self._link(page, token))

    def forget(self, tx: Transaction, found: Subscriber, now: datetime, reason: str) -> None:
        """Keep nothing of an endpoint, and send it nothing more."""
        subscribers.forget(tx, found.page, found.address)
        for effect in tx.effects("", self._receiver(found.page)):
            waits = effect.state in (EffectState.READY, EffectState.LEASED)
            if waits and effect.payload.get("notice", {}).get("token") == found.token:
                tx.settle(effect.id, EffectState.CANCELLED, reason=reason, now=now)

    def effects(self, tx: Transaction, page: StatusPage, told: Notice) -> Iterator[NewEffect]:
        """A body per endpoint about the last word of a notice; who has been out of reach for days
        is forgotten instead."""
        receiver, now = self._receiver(page.name), self._house.clock.now()
        if not receiver:
            return
        lost = _lost(tx, receiver)
        for one in subscribers.of_page(tx, page.name):
            if not one.is_endpoint:
                continue
            if one.token in lost:
                reason = f"it took nothing for {FAILED_FOR.days} days"
                self.forget(tx, one, now, reason)
                subject = f"status/{page.name}"
                tx.append(LedgerEvent(now, "status.forgotten", "engine", subject, reason))
                continue
            body = webhook(page, told, self._link(page.name, one.token))
            key = f"status:{page.name}:{told.id}:{len(told.updates)}:{one.token}"
            yield notice_effect(key, receiver, one.address, one.token, body, now)

    # --- private ---

    def _shape(self, page: str) -> StatusPageShape | None:
        for document in self._house.desired.documents:
            if isinstance(document.spec, StatusPageShape) and document.name == page:
                return document.spec
        return None

    def _receiver(self, page: str) -> str:
        shape = self._shape(page)
        return "" if shape is None else shape.webhooks

    def _sender(self, page: str) -> StatusWebhook | None:
        channel: object = self._house.desired.channels.get(self._receiver(page))
        return channel if isinstance(channel, StatusWebhook) else None

    def _link(self, page: str, token: str) -> str:
        shape = self._shape(page)
        url = shape.url.rstrip("/") if shape is not None else ""
        return f"{url or f'{self._base}/status/{page}'}/unsubscribe?token={token}"

    def _admit(self, url: str, now: datetime) -> None:
        self._asked = [one for one in self._asked if now - one[0] < CHALLENGES_PER]
        if any(known == url and now - at < AGAIN_AFTER for at, known in self._asked):
            raise CannotSubscribe("this endpoint was challenged just now: try again in a minute")
        if len(self._asked) >= MOST_CHALLENGES:
            raise CannotSubscribe("too many ask at this moment: try again later, or use Atom")
        self._asked.append((now, url))

    def _keep(self, one: Subscriber) -> None:
        with self._house.state.transaction() as tx:
            held = [each for each in subscribers.of_page(tx, one.page) if each.is_endpoint]
            if len(held) >= MOST and one.address not in {each.address for each in held}:
                raise CannotSubscribe("this page has as many endpoints as it takes; use Atom")
            subscribers.put(tx, one)


def _lost(tx: Transaction, receiver: str) -> set[str]:
    """Tokens of endpoints that could not be reached for days, by what was sent to them lately."""
    failures: Counter[str] = Counter()
    since: dict[str, datetime] = {}
    lost: set[str] = set()
    for effect in tx.effects("", receiver):
        token = str(effect.payload.get("notice", {}).get("token", ""))
        if effect.state is EffectState.DONE:
            failures.pop(token, None)
            since.pop(token, None)
            lost.discard(token)
        elif effect.state is EffectState.DEAD:
            failures[token] += 1
            began = since.setdefault(token, effect.scheduled)
            if failures[token] >= FAILURES and effect.scheduled - began >= FAILED_FOR:
                lost.add(token)
    return lost
