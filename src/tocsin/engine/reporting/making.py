"""A report made: facts gathered, laid out, and written as the files that people read."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, timedelta

from tocsin.engine.as_of import NotKnown
from tocsin.engine.house import House
from tocsin.engine.reporting.asked import BadOrder
from tocsin.engine.reporting.gathering import gather
from tocsin.engine.reporting.ordering import Order
from tocsin.engine.reporting.pdf import as_pdf
from tocsin.reports.files import as_csv, as_json, manifest
from tocsin.reports.html import as_html
from tocsin.reports.kinds import build
from tocsin.reports.report import Manifest, Report
from tocsin.spec.reports import Format

MANIFEST = "manifest.json"
FRESH = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Made:
    """A report and its files by name: report.html, report.json, …, manifest.json."""

    report: Report
    files: dict[str, bytes]


def make(house: House, order: Order, formats: Iterable[Format]) -> Made:
    """Make what was ordered. The same order gives the same bytes. Raises BadOrder, NoPdf."""
    if house.clock.now() - order.wish.as_of < FRESH:
        house.telemetry.flush()  # what was received by now is to be in it, now and the next time
    report = lay_out(house, order)
    written = {f"report.{each}": file(report, each) for each in formats}
    return Made(report, {**written, MANIFEST: manifest(report, written)})


def lay_out(house: House, order: Order) -> Report:
    """The report as data. Raises BadOrder when nothing is known of its time."""
    try:
        found = gather(house, order.wish, order.template.needs)
    except NotKnown as error:
        raise BadOrder(str(error)) from None
    wish = order.wish
    about = Manifest(
        template=order.template.name,
        since=wish.since.astimezone(UTC),
        until=wish.until.astimezone(UTC),
        as_of=wish.as_of.astimezone(UTC),
        time_zone=wish.time_zone,
        tocsin=importlib.metadata.version("tocsin"),
        configurations=found.configurations,
        inputs=found.inputs,
        settings={
            "services": ", ".join(wish.services) or "all",
            "group by": ", ".join(order.by) or "nothing",
        },
    )
    return build(order.template, found.facts, about, order.name, order.title, order.by)


def file(report: Report, format_: Format) -> bytes:
    """The report as one file."""
    if format_ == "json":
        return as_json(report)
    if format_ == "csv":
        return as_csv(report)
    return as_pdf(as_html(report)) if format_ == "pdf" else as_html(report)
