"""Reports that were made are kept: what was shown to somebody can be shown again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from tocsin.domain.clock import iso
from tocsin.domain.findings import LedgerEvent
from tocsin.engine.house import House
from tocsin.engine.reporting.making import Made, make
from tocsin.engine.reporting.ordering import Order
from tocsin.engine.reporting.pdf import as_pdf
from tocsin.spec.reports import Format
from tocsin.store import kept_reports
from tocsin.store.kept_reports import KeptReport
from tocsin.store.transaction import Transaction

PDF = "report.pdf"


class Shelf:
    """The kept reports of one house. Threads may share it."""

    def __init__(self, house: House) -> None:
        self._house = house

    def make(self, order: Order, formats: Sequence[Format], actor: str) -> KeptReport:
        """Make a report and keep it; one that was ordered before is not made again. BadOrder."""
        with self._house.state.reading() as tx:
            held = kept_reports.named(tx, identity(order))
        if held is not None and {f"report.{each}" for each in formats} <= held.files.keys():
            return held
        made = make(self._house, order, formats)
        with self._house.state.transaction() as tx:
            return put(tx, order, made, actor, self._house.clock.now())

    def listed(self) -> Sequence[KeptReport]:
        """The newest ones."""
        with self._house.state.reading() as tx:
            return kept_reports.listed(tx)

    def named(self, report_id: str) -> KeptReport | None:
        """One of them."""
        with self._house.state.reading() as tx:
            return kept_reports.named(tx, report_id)

    def file(self, report_id: str, name: str) -> bytes | None:
        """A file as it was made; None when it is not kept. A PDF is laid out when somebody first
        asks for it, and kept: it is the same file from then on. Raises NoPdf."""
        with self._house.state.reading() as tx:
            body = kept_reports.file(tx, report_id, name)
            html = kept_reports.file(tx, report_id, "report.html") if name == PDF else None
        if body is not None or html is None:
            return body
        made = {PDF: as_pdf(html)}
        with self._house.state.transaction() as tx:
            held = kept_reports.named(tx, report_id)
            if held is not None:
                kept_reports.add_files(tx, held, made)  # of two that asked at once, the first
            return kept_reports.file(tx, report_id, PDF)


def put(tx: Transaction, order: Order, made: Made, actor: str, now: datetime) -> KeptReport:
    """Keep what was made, with a line in the ledger; of a kept report, the files it lacks."""
    report = made.report
    held = kept_reports.named(tx, identity(order))
    if held is not None:
        return kept_reports.add_files(tx, held, made.files)
    kept = KeptReport(
        id=identity(order),
        name=report.name,
        template=report.manifest.template,
        title=report.title,
        since=report.manifest.since,
        until=report.manifest.until,
        as_of=report.manifest.as_of,
        made_at=now,
        made_by=actor,
        files={name: hashlib.sha256(body).hexdigest() for name, body in made.files.items()},
    )
    kept_reports.keep(tx, kept, made.files)
    data = {"id": kept.id, "as_of": iso(kept.as_of), "files": dict(kept.files)}
    tx.append(LedgerEvent(now, "report.made", actor, f"report/{kept.name}", kept.title, data))
    return kept


def identity(order: Order) -> str:
    """The same order has the same id."""
    wish = order.wish
    parts = (
        order.name, order.template.name, order.title, *order.by, *wish.services, wish.time_zone,
        iso(wish.since), iso(wish.until), iso(wish.as_of),
    )  # fmt: skip
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
