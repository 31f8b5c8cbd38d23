"""The ledger as a file that anybody can check with nothing but it: JSON lines.

    {"tocsin_ledger": 1, "head": {"seq": 812, "hash": "…"}, "checkpoints": [{…}, …]}
    {"seq": 1, "at": 1764408000000000, "kind": …, "prev": "000…", "hash": "…"}
    …

The first line is what the database says about the chain beside the entries; without it the entries
are checked as they are, and a missing end goes unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.domain.errors import StoreError
from tocsin.store.checkpoints import Checkpoint, checkpoint_of, to_row
from tocsin.store.ledger import GENESIS, Head, LedgerEntry, from_export, to_export
from tocsin.store.state import StateStore

FORMAT = "tocsin_ledger"
_TYPES: Mapping[str, type] = {
    "seq": int, "at": int, "kind": str, "actor": str, "subject": str, "reason": str,
    "data": dict, "prev": str, "hash": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExportedLedger:
    """An export on its way in. head: None when the file has no first line of its own."""

    head: Head | None
    checkpoints: tuple[Checkpoint, ...]
    entries: Iterator[LedgerEntry]


def write(store: StateStore) -> Iterator[bytes]:
    """The lines of an export; what is written to the ledger meanwhile is not part of it."""
    checkpoints = [to_row(one) for one in store.checkpoints()]
    head = store.ledger_head()  # after them: what they saw is part of it
    known = {"seq": head.seq, "hash": head.hash}
    yield _line({FORMAT: 1, "head": known, "checkpoints": checkpoints})
    for entry in store.ledger_up_to(head):
        yield _line(to_export(entry))


def read(lines: Iterable[str], name: str) -> ExportedLedger:
    """What `write` wrote, an entry at a time; `name` is what errors call it.

    Raises StoreError, with the number of the line, for what is not an entry.
    """
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    first = next(numbered, None)
    if first is None:
        raise StoreError(f"{name} is empty; `tocsin ledger export` writes what belongs there")
    row = _object(*first, name)
    if FORMAT not in row:
        return ExportedLedger(None, (), _entries([first], numbered, name))
    if row[FORMAT] != 1:
        raise StoreError(f"{name} has format {row[FORMAT]!r}; this Tocsin reads format 1")
    try:
        head = Head(int(row["head"]["seq"]), str(row["head"]["hash"]) or GENESIS)
        checkpoints = tuple(checkpoint_of(one) for one in row["checkpoints"])
    except (KeyError, TypeError, ValueError):
        raise StoreError(f"{name}, line {first[0]}: head or checkpoints cannot be read") from None
    return ExportedLedger(head, checkpoints, _entries([], numbered, name))


def read_checkpoints(path: Path) -> list[Checkpoint]:
    """Checkpoints kept elsewhere, one JSON object a line. StoreError naming file and line."""
    lines = [(n, line) for n, line in enumerate(_text(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise StoreError(f"{path} holds no checkpoint")
    return [checkpoint_of(_object(n, line, str(path))) for n, line in lines]


# --- private -----------------------------------------------------------------------------------


def _entries(
    first: Sequence[tuple[int, str]], rest: Iterator[tuple[int, str]], name: str
) -> Iterator[LedgerEntry]:
    for lines in (first, rest):
        for number, line in lines:
            row = _object(number, line, name)
            wrong = [
                field for field, kind in _TYPES.items()
                if not isinstance(row.get(field), kind) or isinstance(row.get(field), bool)
            ]  # fmt: skip
            if wrong:
                raise StoreError(f"{name}, line {number}: no ledger entry ({', '.join(wrong)})")
            yield from_export(row)


def _object(number: int, line: str, name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise StoreError(f"{name}, line {number} is not a JSON object: cut off, or no export")
    return row


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None
