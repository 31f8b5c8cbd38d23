"""Reports that are made by themselves: one per period, told to receivers, whatever happens between.

When a report is due next is kept with the state. Making it, moving that time on and putting a
message per receiver into the outbox is one transaction: a process that dies before it makes the
report again, from the same as-of time and so with the same bytes; after it nobody is told twice.
What fell due while no process ran is made afterwards, period by period.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.errors import TocsinError
from tocsin.domain.findings import LedgerEvent, NewEffect
from tocsin.engine.house import House
from tocsin.engine.reporting.keeping import put
from tocsin.engine.reporting.making import Made, make
from tocsin.engine.reporting.ordering import Order, order
from tocsin.reports.files import headline
from tocsin.routing.cron import parse_cron
from tocsin.spec.documents import Document
from tocsin.spec.reports import ReportShape
from tocsin.store.kept_reports import KeptReport

log = structlog.get_logger(__name__)

EVERY_S = 20.0
# What was received by the as-of time takes a moment to be loaded, in other processes too.
SETTLES = timedelta(minutes=1)
TRIED_AGAIN = timedelta(minutes=15)
LARGEST_ATTACHMENT = 1_000_000
ACTOR = "reports"


class Issuer:
    """Makes what is due. One process does it at a time: the one that conducts."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._rests: dict[str, datetime] = {}  # reports that could not be made, until when

    async def run(self, stop: asyncio.Event, wake: Callable[[], None]) -> None:
        """Until `stop` is set. wake: called when messages were written."""
        while not stop.is_set():
            if await asyncio.to_thread(self.look):
                wake()
            try:
                await asyncio.wait_for(stop.wait(), EVERY_S)
            except TimeoutError:
                continue

    def look(self) -> list[KeptReport]:
        """Make every report that is due, oldest first; what was made."""
        if not self._house.conductor.conducts:
            return []
        made: list[KeptReport] = []
        now = self._house.clock.now()
        for document in list(_scheduled(self._house)):
            if self._rests.get(document.name, now) > now:
                continue
            try:
                made += self._issue_due(document, now)
            except TocsinError as error:
                log.warning("report_not_made", report=document.name, reason=str(error))
                self._rest(document, now, str(error))
            except Exception as error:  # worker loop: the others are to be made all the same
                log.exception("report_failed", report=document.name)
                self._rest(document, now, type(error).__name__)
        return made

    def _issue_due(self, document: Document, now: datetime) -> Iterator[KeptReport]:
        shape: ReportShape = document.spec
        due = self._due(document, now)
        while due + SETTLES <= now:
            wanted = order(self._house.desired, document.name, now, as_of=due)
            yield self._issue(document, wanted, due, _next(shape, due))
            due = _next(shape, due)

    def _rest(self, document: Document, now: datetime, reason: str) -> None:
        """Try again later; once the next one is due as well, this one is given up, on record."""
        self._rests[document.name] = now + TRIED_AGAIN
        shape: ReportShape = document.spec
        due = self._due(document, now)
        then = _next(shape, due)
        if then + SETTLES > now:
            return
        with self._house.conductor.deciding() as tx:
            tx.set_meta(_key(document), _meta(shape, then))
            subject, what = f"report/{document.name}", f"not made for {iso(due)}: {reason}"
            tx.append(LedgerEvent(now, "report.missed", ACTOR, subject, what))
        del self._rests[document.name]

    def _due(self, document: Document, now: datetime) -> datetime:
        """When a report is due next; from now on when it is new, or is sent at other times."""
        shape: ReportShape = document.spec
        held = self._house.state.get_meta(_key(document))
        if isinstance(held, dict) and held.get("cron") == shape.cron and held.get("tz") == shape.tz:
            return parse_iso(str(held["due"]))
        due = _next(shape, now)
        with self._house.conductor.deciding() as tx:
            tx.set_meta(_key(document), _meta(shape, due))
        return due

    def _issue(
        self, document: Document, wanted: Order, due: datetime, then: datetime
    ) -> KeptReport:
        shape: ReportShape = document.spec
        made = make(self._house, wanted, shape.formats)
        now = self._house.clock.now()
        with self._house.conductor.deciding() as tx:
            kept = put(tx, wanted, made, ACTOR, now)
            for receiver in shape.to:
                tx.add_effect(_message(kept, made, receiver, now))
            tx.set_meta(_key(document), _meta(shape, then))
        log.info("report_made", report=document.name, id=kept.id, due=iso(due))
        return kept


# --------------------------------------------------------------------------------------------


def _scheduled(house: House) -> Iterator[Document]:
    for document, shape in house.desired.of(ReportShape):
        if shape.cron is not None:
            yield document


def _next(shape: ReportShape, after: datetime) -> datetime:
    return parse_cron(shape.cron or "").next_after(after, ZoneInfo(shape.tz))


def _key(document: Document) -> str:
    return f"report/{document.name}"


def _meta(shape: ReportShape, due: datetime) -> dict[str, str]:
    return {"due": iso(due), "cron": shape.cron or "", "tz": shape.tz}


def _message(kept: KeptReport, made: Made, receiver: str, now: datetime) -> NewEffect:
    """A digest whose lines are the headline of the report, with the file for those who take it."""
    attached = []
    body = made.files.get("report.pdf") or made.files.get("report.html")
    if body is not None and len(body) <= LARGEST_ATTACHMENT:
        suffix = "pdf" if "report.pdf" in made.files else "html"
        attached.append({
            "name": f"{kept.name}-{kept.since:%Y-%m-%d}.{suffix}",
            "gzip": base64.b64encode(gzip.compress(body, mtime=0)).decode(),
        })  # fmt: skip
    return NewEffect(
        key=f"report:{kept.id}:{receiver}",
        kind="notify",
        receiver=receiver,
        incident_id="",
        action="digest",
        due=now,
        lane=3,
        payload={
            "digest": kept.name,
            "title": kept.title,
            "summary": f"{kept.since:%Y-%m-%d} to {kept.until:%Y-%m-%d}, as known at "
            f"{kept.as_of:%Y-%m-%d %H:%M} UTC",
            "items": headline(made.report),
            "links": [["Report", f"/reports/{kept.id}/report.html"]],
            "attachments": attached,
        },
    )
