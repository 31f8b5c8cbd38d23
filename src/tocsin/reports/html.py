"""A report as one HTML file that needs nothing else: styles and drawings are in it, no script is.

It is read in a browser, in a mail program, on paper and by the PDF engine, so that drawings carry
their colours as attributes and nothing depends on a style sheet that some of them ignore.
"""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup, escape

from tocsin.domain.clock import iso
from tocsin.reports import wording
from tocsin.reports.drawing import bars, interval, left
from tocsin.reports.marks import element
from tocsin.reports.report import Bars, Block, Cell, Label, Manifest, Measure, Report, Table
from tocsin.reports.shown import beside_of, between, short, shown
from tocsin.reports.style import STYLE


def as_html(report: Report) -> bytes:
    """The file, UTF-8."""
    parts = [
        element("header", *_head(report), class_="head"),
        element("div", *(_tile(t.label, t.value, t.note) for t in report.tiles), class_="tiles"),
    ]
    for section in report.sections:
        parts.append(
            element(
                "section",
                element("h2", section.title),
                *(element("p", text) for text in section.text),
                *(_block(block, section.title) for block in section.blocks),
                id=section.id,
            )
        )
    if report.notes:
        items = [element("li", note) for note in report.notes]
        parts.append(
            element(
                "section", element("h2", "To be read with it"), element("ul", *items), id="notes"
            )
        )
    parts.append(_manifest(report.manifest))
    head = Markup(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="generator" content="Tocsin">\n'
        '<meta name="dcterms.created" content="{}">\n<title>{}</title>\n'
        "<style>{}</style>\n</head>\n"
    ).format(iso(report.manifest.as_of), report.title, Markup(STYLE))  # noqa: S704 (our own)
    body = Markup("\n").join(parts)
    page = head + Markup("<body>\n<main>\n") + body + Markup("\n</main>\n</body>\n</html>\n")
    return str(page).encode()


# --- private -----------------------------------------------------------------------------------


def _head(report: Report) -> Iterator[Markup]:
    m = report.manifest
    yield element("p", "Tocsin", class_="brand")
    yield element("h1", report.title)
    period = f"{wording.moment(m.since)} to {wording.moment(m.until)} UTC"
    known = f"as known at {wording.moment(m.as_of)} UTC"
    yield element("p", f"{period}, {known}", class_="soft")
    if report.subtitle:
        yield element("p", report.subtitle, class_="lead")


def _tile(label: str, value: Cell, note: str) -> Markup:
    return element(
        "dl",
        element("dt", label),
        element("dd", short(value), class_=f"value {_tone(value)}".strip()),
        element("dd", note or beside_of(value), class_="note"),
        class_="tile",
    )


def _block(block: Block, under: str) -> Markup:
    if isinstance(block, Bars):
        caption = element("figcaption", block.title)
        note = element("p", block.note, class_="soft") if block.note else ""
        return element("figure", caption, bars(block, shown), note)
    heading = element("h3", block.title) if block.title != under else Markup()
    return heading + _table(block)


def _table(table: Table) -> Markup:
    if not table.rows:
        return element("p", table.empty, class_="soft")
    numbers = [any(isinstance(row[at], Measure) for row in table.rows)
               for at in range(len(table.columns))]  # fmt: skip
    headings = [
        element("th", column.title, scope="col", class_="n" if number else None)
        for column, number in zip(table.columns, numbers, strict=True)
    ]
    rows = []
    for row in table.rows:
        cells = [element("th", _cell(row[0]), scope="row")]
        for at, cell in enumerate(row[1:], start=1):
            kind = "n" if numbers[at] else ("wide" if table.columns[at].wide else None)
            cells.append(element("td", _cell(cell), class_=kind))
        rows.append(element("tr", *cells))
    note = element("p", table.note, class_="soft") if table.note else Markup()
    return element(
        "div",
        element(
            "table",
            element("thead", element("tr", *headings)),
            element("tbody", *rows),
        ),
        class_="scroll",
    ) + note  # fmt: skip


def _cell(cell: Cell) -> Markup:
    if isinstance(cell, str):
        return escape(cell)
    if isinstance(cell, Label):
        return element("span", cell.text, class_=f"chip {cell.tone or 'unknown'}")
    if cell.value is None:
        return element("span", "unknown", class_="soft") + element(
            "small", cell.unknown, class_="why"
        )
    parts = [element("span", shown(cell), class_=cell.tone or None)]
    if cell.unit == "budget":
        parts.append(left(cell, shown))
    if cell.low is not None and cell.high is not None:
        parts.append(element("small", between(cell)))
        if cell.limit is not None:
            parts.append(interval(cell, shown))
    elif cell.unknown:
        parts.append(element("small", cell.unknown, class_="why"))
    return Markup().join(parts)


def _tone(cell: Cell) -> str:
    return "" if isinstance(cell, str) else cell.tone


def _manifest(m: Manifest) -> Markup:
    facts = [
        ("Template", m.template),
        ("Period", f"{iso(m.since)} to {iso(m.until)}, days of {m.time_zone}"),
        ("As known at", iso(m.as_of)),
        ("Made by", f"Tocsin {m.tocsin}"),
        *(("Setting", f"{name}: {value}") for name, value in sorted(m.settings.items())),
        *(
            (
                "Configuration",
                f"{v.digest} since {iso(v.since) if v.since else 'before any record'}",
            )
            for v in m.configurations
        ),
        *((f"Input {i.name}", f"{i.rows:,} rows, sha256 {i.sha256}") for i in m.inputs),
    ]
    rows = [element("tr", element("th", k, scope="row"), element("td", v)) for k, v in facts]
    return element(
        "section",
        element("h2", "Manifest"),
        element(
            "p",
            "The same configuration, inputs and as-of time give this file again, byte for byte. "
            "What came later is not in it.",
            class_="soft",
        ),
        element("table", element("tbody", *rows), class_="manifest"),
        id="manifest",
    )
