"""A report as files of a machine: JSON as it is, CSV with one line per cell; and its manifest.

CSV is tidy (Wickham, J. Stat. Softw. 59, 2014): one observation a line, with interval and reason,
so that a spreadsheet or a BI tool reads every table of every report the same way.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tocsin.domain.clock import iso
from tocsin.reports.report import Bars, Cell, Label, Measure, Report, Table, Tile
from tocsin.reports.shown import beside_of, short

HEADER = (
    "section", "table", "row", "column", "text", "value", "low", "high", "unit", "limit", "unknown",
)  # fmt: skip


def as_json(report: Report) -> bytes:
    """The whole model, with a final newline."""
    return _dump(
        {
            "name": report.name,
            "title": report.title,
            "subtitle": report.subtitle,
            "tiles": [
                {"label": one.label, **_cell(one.value), "note": one.note} for one in report.tiles
            ],
            "sections": [
                {
                    "id": one.id,
                    "title": one.title,
                    "text": list(one.text),
                    "tables": [_table(b) for b in one.blocks if isinstance(b, Table)],
                    "charts": [_bars(b) for b in one.blocks if isinstance(b, Bars)],
                }
                for one in report.sections
            ],
            "notes": list(report.notes),
            "manifest": asdict(report.manifest),
        }
    )


def as_csv(report: Report) -> bytes:
    """Every cell of every table and chart as a line under `HEADER` (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for row in _lines(report):
        writer.writerow([_safe(item) if isinstance(item, str) else item for item in row])
    return text.getvalue().encode()


def manifest(report: Report, files: Mapping[str, bytes]) -> bytes:
    """The manifest of a report as JSON, with the digest of every file that was made of it."""
    made = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    return _dump({"name": report.name, **asdict(report.manifest), "files": made})


def headline(report: Report) -> list[str]:
    """The tiles as lines of text: "Answered: 99.2 % (98.9 % to 99.4 %)"."""
    return [f"{one.label}: {_told(one)}" for one in report.tiles]


# --- private -----------------------------------------------------------------------------------


def _lines(report: Report) -> Iterator[tuple[Any, ...]]:
    for tile in report.tiles:
        yield ("headline", "tiles", tile.label, "value", *_columns(tile.value))
    for section in report.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                for row in block.rows:
                    name = _text(row[0])
                    for column, cell in zip(block.columns, row, strict=True):
                        yield (section.id, block.id, name, column.key, *_columns(cell))
            else:
                for label, value in zip(block.labels, block.values, strict=True):
                    yield (section.id, block.id, label, "value", *_columns(value))


def _told(tile: Tile) -> str:
    beside = tile.note or beside_of(tile.value)
    return short(tile.value) + (f" ({beside})" if beside else "")


def _columns(cell: Cell) -> tuple[Any, ...]:
    if isinstance(cell, Measure):
        return ("", cell.value, cell.low, cell.high, cell.unit, cell.limit, cell.unknown)
    return (_text(cell), None, None, None, "", None, "")


def _text(cell: Cell) -> str:
    if isinstance(cell, Measure):
        return "" if cell.value is None else f"{cell.value:g}"
    return cell.text if isinstance(cell, Label) else cell


def _safe(text: str) -> str:
    """Text that a spreadsheet does not take for a formula (OWASP, "CSV Injection")."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _cell(cell: Cell) -> dict[str, Any]:
    if isinstance(cell, Measure):
        return {name: value for name, value in asdict(cell).items() if name != "tone"}
    return {"text": _text(cell)}


def _table(table: Table) -> dict[str, Any]:
    keys = [column.key for column in table.columns]
    rows = [{k: _cell(c) for k, c in zip(keys, row, strict=True)} for row in table.rows]
    return {"id": table.id, "title": table.title, "rows": rows, "note": table.note}


def _bars(bars: Bars) -> dict[str, Any]:
    found = zip(bars.labels, bars.values, strict=True)
    points = [{"label": label, **_cell(value)} for label, value in found]
    return {"id": bars.id, "title": bars.title, "points": points, "limit": bars.limit}


def _dump(value: Any) -> bytes:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
    return f"{text}\n".encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{type(value).__name__} has no place in a report")
