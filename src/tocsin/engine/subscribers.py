"""Mails about what a status page publishes, for those who asked and said so twice; endpoints that
asked stand in `engine.endpoints`.

Asking sends one mail with a link; only its owner's answer makes an address a subscriber. Every mail
says how to end it, and ending forgets the address. What is published and the mails about it are one
transaction; a mail goes out as every message does, under a key of its own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

from tocsin.domain.findings import ASIDE, NewEffect
from tocsin.engine.endpoints import CannotSubscribe, Endpoints
from tocsin.engine.house import House
from tocsin.reports.status import Notice, StatusPage
from tocsin.spec.documents import Document
from tocsin.spec.status_pages import StatusPageShape
from tocsin.store import subscribers
from tocsin.store.subscribers import Subscriber
from tocsin.store.transaction import Transaction

MOST = 10_000
ASKED_AGAIN = timedelta(minutes=10)
MOST_WAITING = (
    100  # that have not answered: a form is not to send mail to strangers by the thousand
)
FORGOTTEN = timedelta(days=2)
_ADDRESS = re.compile(r"[^@\s<>,;:\"()\\\[\]]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")


class Subscriptions:
    """Who subscribes to the pages of one house. base: the address of this server."""

    def __init__(self, house: House, base: str) -> None:
        self._house = house
        self._base = base.rstrip("/")
        self.endpoints = Endpoints(house, base)

    def offered(self, page: str) -> bool:
        """Whether one can subscribe to a page at all."""
        return self.takes_mails(page) or self.endpoints.offered(page)

    def takes_mails(self, page: str) -> bool:
        """Whether mailboxes can subscribe to a page."""
        found = self._found(page)
        return found is not None and bool(found[1].subscribers)

    def ask(self, page: str, address: str) -> None:
        """Send the link to confirm by. The answer is the same whether the address is known: nobody
        learns who subscribes. Raises CannotSubscribe."""
        found = self._found(page)
        if found is None or not found[1].subscribers:
            raise CannotSubscribe("this page takes no subscribers")
        document, shape = found
        plain = address.strip()
        if not _ADDRESS.fullmatch(plain) or not plain.isprintable() or not plain.isascii():
            raise CannotSubscribe("that is no mail address such as ana@example.org")
        now = self._house.clock.now()
        with self._house.state.transaction() as tx:
            held = subscribers.of_page(tx, page)
            for one in held:
                if one.confirmed is None and now - one.asked > FORGOTTEN:
                    subscribers.forget(tx, page, one.address)
            known = next((one for one in held if one.address == plain), None)
            if known is not None and (known.confirmed or now - known.asked < ASKED_AGAIN):
                return
            waiting = sum(one.confirmed is None and now - one.asked <= FORGOTTEN for one in held)
            if waiting >= MOST_WAITING or len(held) >= MOST:
                raise CannotSubscribe("too many ask at this moment: try again later, or use Atom")
            wanted = Subscriber(page, plain, secrets.token_urlsafe(24), now)
            subscribers.put(tx, wanted)
            title = document.metadata.display_name or document.name
            tx.add_effect(
                self._mail(
                    shape, wanted, f"subscribe:{page}:{wanted.token}", now,
                    title=f"{title}: please confirm",
                    lines=[
                        f"Somebody, probably you, asked for mails about {title}.",
                        f"To get them: {self._link(shape, wanted, 'confirm')}",
                        "If it was not you, do nothing: there will be no further mail.",
                    ],
                )
            )  # fmt: skip

    def confirm(self, page: str, token: str) -> bool:
        """Whoever holds the token wants mails. False for a token that is nobody's."""
        now = self._house.clock.now()
        with self._house.state.transaction() as tx:
            found = subscribers.by_token(tx, page, token)
            if found is None or (found.confirmed is None and now - found.asked > FORGOTTEN):
                return False
            if found.confirmed is None:
                subscribers.put(tx, Subscriber(page, found.address, found.token, found.asked, now))
            return True

    def end(self, page: str, token: str) -> None:
        """Forget whoever holds the token."""
        with self._house.state.transaction() as tx:
            found = subscribers.by_token(tx, page, token)
            if found is not None and found.is_endpoint:
                self.endpoints.forget(tx, found, self._house.clock.now(), "it was unsubscribed")
            elif found is not None:
                subscribers.forget(tx, page, found.address)

    def effects(self, tx: Transaction, page: StatusPage, told: Notice) -> Iterator[NewEffect]:
        """A message per subscriber about the last word of a notice."""
        yield from self._mails(tx, page.name, told)
        yield from self.endpoints.effects(tx, page, told)

    # --- private ---

    def _mails(self, tx: Transaction, page: str, told: Notice) -> Iterator[NewEffect]:
        found = self._found(page)
        if found is None or not found[1].subscribers:
            return
        document, shape = found
        title = document.metadata.display_name or document.name
        update, now = told.updates[-1], self._house.clock.now()
        status = update.status.replace("_", " ")
        lines = [f"{status.capitalize()}: {update.body}"]
        lines += [f"{name}: {how.replace('_', ' ')}" for name, how in told.components.items()]
        for one in subscribers.of_page(tx, page):
            if one.confirmed is None or one.is_endpoint:
                continue
            key = f"status:{page}:{told.id}:{len(told.updates)}:{one.token}"
            yield self._mail(shape, one, key, now, title=f"{title}: {told.title}", lines=lines)

    def _found(self, page: str) -> tuple[Document, StatusPageShape] | None:
        pages = self._house.desired.of(StatusPageShape)
        return next((found for found in pages if found[0].name == page), None)

    def _link(self, shape: StatusPageShape, one: Subscriber, what: str) -> str:
        page = shape.url.rstrip("/") or f"{self._base}/status/{one.page}"
        return f"{page}/{what}?token={one.token}"

    def _mail(
        self, shape: StatusPageShape, one: Subscriber, key: str, now: datetime, *, title: str,
        lines: list[str],
    ) -> NewEffect:  # fmt: skip
        return NewEffect(
            key=key,
            kind="notify",
            receiver=shape.subscribers,
            incident_id="",
            action="digest",
            due=now,
            lane=ASIDE,
            payload={
                "digest": f"status/{one.page}",
                "title": title,
                "items": lines,
                "address": one.address,
                "unsubscribe": self._link(shape, one, "unsubscribe"),
            },
        )
