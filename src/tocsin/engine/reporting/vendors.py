"""Vendors over the period of a report: compared at the same work, and held to their agreements."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.csv
import pyarrow.parquet

from tocsin.domain.clock import to_minute
from tocsin.domain.shares import exact_interval
from tocsin.engine.as_of import configuration_at
from tocsin.engine.house import House
from tocsin.engine.reporting.asked import BadOrder, NoSuchAgreement
from tocsin.engine.reporting.inquiry import Inquiry
from tocsin.reports.vendors import Contract, availability_of
from tocsin.spec.documents import Document
from tocsin.spec.explain import suggest
from tocsin.spec.vendors import VendorAgreementShape
from tocsin.store.vendors import Vendors


@dataclass(frozen=True, slots=True)
class Proof:
    """The calls behind a contract's figures. body: the file; rows: how many calls."""

    body: bytes
    rows: int
    failed: int


def contracts(asked: Inquiry) -> Iterator[Contract]:
    """Every agreement over each of its months that ends in the period or runs at its end.

    A provider promises to a customer and not to one of its services: all of its calls count, also
    in a report about some services.
    """
    wish, vendors = asked.wish, asked.reads.vendors
    for document, shape in asked.desired.of(VendorAgreementShape):
        for begin, end in _months(wish.since, wish.until, ZoneInfo(shape.tz)):
            missing = asked.incomplete(to_minute(begin))
            yield _contract(document, vendors, begin, end, wish.until, missing)


def proof(
    house: House, name: str, since: datetime, until: datetime, as_of: datetime, format_: str
) -> Proof:
    """The calls that count for an agreement in [since, until), as `parquet` or `csv`.

    Ordered by time and id, so that the same as-of time gives the same bytes. Raises
    NoSuchAgreement, BadOrder.
    """
    desired = configuration_at(house, as_of)[0] or house.desired
    agreements = {document.name: spec for document, spec in desired.of(VendorAgreementShape)}
    if name not in agreements:
        hint = suggest(name, agreements) or "there is none; add a VendorAgreement document"
        raise NoSuchAgreement(f"there is no vendor agreement {name!r} ({hint})")
    if not since < until <= as_of <= house.clock.now():
        raise BadOrder("give a period that ended by the as-of time, and that is not to come")
    shape = agreements[name]
    reads = house.telemetry.periods(as_of).vendors
    table = reads.proof(to_minute(since), to_minute(until), shape.provider, shape.models)
    failed = int(pyarrow.compute.sum(table["is_failed"]).as_py() or 0)
    return Proof(_written(table, format_), table.num_rows, failed)


# --------------------------------------------------------------------------------------------


def _contract(
    document: Document,
    reads: Vendors,
    begin: datetime,
    end: datetime,
    until: datetime,
    incomplete: str,
) -> Contract:
    shape: VendorAgreementShape = document.spec
    terms = shape.build(document.name, document.metadata.display_name)
    start, stop = to_minute(begin), to_minute(min(end, until))
    slots = reads.slots(start, stop, shape.provider, shape.models, terms.slot_minutes)
    bad, total = availability_of(slots, terms)
    low, high = exact_interval(total - bad, total) if total and not shape.slots else (None, None)
    if incomplete:  # an interval of what is left says nothing about the month
        low = high = None
    fee, why = terms.fee_usd, "as agreed"
    if fee is None:
        cost, priced, calls = reads.cost(start, stop, shape.provider, shape.models)
        fee = cost if priced and not incomplete else None
        why = f"price book, {priced:,} of {calls:,} calls priced"
    return Contract(
        terms=terms,
        since=begin.astimezone(UTC),
        until=min(end, until).astimezone(UTC),
        is_over=end <= until,
        bad=bad,
        total=total,
        calls=sum(calls for _, calls in slots),
        low=low,
        high=high,
        fee_usd=fee,
        fee_from=why,
        incomplete=incomplete,
    )


def _months(
    since: datetime, until: datetime, zone: ZoneInfo
) -> Iterator[tuple[datetime, datetime]]:
    """[begin, end) of every calendar month that ends in (since, until], and of the running one."""
    day = since.astimezone(zone).date().replace(day=1)
    while (begin := datetime.combine(day, time(), zone)) < until:
        day = (day + timedelta(days=32)).replace(day=1)
        end = datetime.combine(day, time(), zone)
        if end > since:
            yield begin, end


def _written(table: Any, format_: str) -> bytes:
    sink = io.BytesIO()
    if format_ == "csv":
        pyarrow.csv.write_csv(table, sink)
    else:
        pyarrow.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()
