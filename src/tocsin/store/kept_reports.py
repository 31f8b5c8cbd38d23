"""Reports that were made, kept as they were made: their files are never written again."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.errors import StoreError
from tocsin.store import tables
from tocsin.store.rows import from_us, to_us
from tocsin.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report that was made. files: name -> SHA-256 of its bytes."""

    id: str
    name: str
    template: str
    title: str
    since: datetime
    until: datetime
    as_of: datetime
    made_at: datetime
    made_by: str
    files: Mapping[str, str]


def keep(tx: Transaction, report: KeptReport, files: Mapping[str, bytes]) -> None:
    """Keep a report of an id that is not kept yet, and its files."""
    table = tables.kept_report
    body = {
        "template": report.template, "title": report.title, "since": iso(report.since),
        "until": iso(report.until), "as_of": iso(report.as_of), "made_by": report.made_by,
        "files": dict(report.files),
    }  # fmt: skip
    tx.connection.execute(
        sa.insert(table).values(
            id=report.id, name=report.name, made_at=to_us(report.made_at), body=body
        )
    )
    for name, content in files.items():
        _put_file(tx, report.id, name, content)


def add_files(tx: Transaction, held: KeptReport, files: Mapping[str, bytes]) -> KeptReport:
    """Keep those `files` of a kept report that it has not yet; the report with them."""
    new = {name: content for name, content in files.items() if name not in held.files}
    for name, content in new.items():
        _put_file(tx, held.id, name, content)
    digests = {**held.files, **{name: _digest(content) for name, content in new.items()}}
    table = tables.kept_report
    body = tx.connection.execute(sa.select(table.c.body).where(table.c.id == held.id)).scalar_one()
    tx.connection.execute(
        sa.update(table).where(table.c.id == held.id).values(body={**body, "files": digests})
    )
    return replace(held, files=digests)


def _put_file(tx: Transaction, report_id: str, name: str, content: bytes) -> None:
    tx.connection.execute(
        sa.insert(tables.kept_file).values(
            report_id=report_id, name=name, sha256=_digest(content),
            body=gzip.compress(content, mtime=0),
        )
    )  # fmt: skip


def listed(tx: Transaction, limit: int = 100) -> Sequence[KeptReport]:
    """The newest ones, the last made first."""
    table = tables.kept_report
    query = sa.select(table).order_by(table.c.made_at.desc(), table.c.id).limit(limit)
    return [_report(row) for row in tx.connection.execute(query).mappings()]


def named(tx: Transaction, report_id: str) -> KeptReport | None:
    """One report, None when it is not kept."""
    table = tables.kept_report
    row = tx.connection.execute(sa.select(table).where(table.c.id == report_id)).mappings().first()
    return None if row is None else _report(row)


def file(tx: Transaction, report_id: str, name: str) -> bytes | None:
    """A file of a report, None when there is none. StoreError when it is not what was kept."""
    table = tables.kept_file
    query = sa.select(table).where(table.c.report_id == report_id, table.c.name == name)
    row = tx.connection.execute(query).mappings().first()
    if row is None:
        return None
    content = gzip.decompress(row["body"])
    if _digest(content) != row["sha256"]:
        raise StoreError(f"{name} of report {report_id} was changed in the database")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_TIMES = ("since", "until", "as_of")


def _report(row: Any) -> KeptReport:
    body: dict[str, Any] = dict(row["body"])
    times: dict[str, Any] = {name: parse_iso(body.pop(name)) for name in _TIMES}
    return KeptReport(
        id=row["id"], name=row["name"], made_at=from_us(row["made_at"]), **times, **body
    )
