"""The audit trail: an append-only chain in which every entry seals the one before it.

hash = SHA-256 over the canonical JSON of {seq, at, kind, actor, subject, reason, data, prev}: keys
sorted, no spaces, ASCII escapes, `at` in whole microseconds since the epoch. Anybody can recompute
it from an export with nothing but a JSON library. The chain shows that history was changed; it
cannot stop somebody who rewrites all of it, which is what a head kept elsewhere is for.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from json.encoder import encode_basestring_ascii as quoted
from types import NoneType
from typing import Any

from tocsin.domain.clock import iso
from tocsin.domain.findings import LedgerEvent

GENESIS = "0" * 64
_PLAIN = frozenset({str, int, bool, float, NoneType})
_TEXT = frozenset({str})
_REFUSED = ("\\u0000", "\\ud")  # as JSON escapes NUL and surrogates, those of a pair too


class Encoded(str):
    """The canonical JSON of a value, made once: what is hashed is what is stored."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One sealed line of the audit trail. at_us: microseconds since the epoch, UTC.

    whole: the entry that this line is a part of, where that is about several subjects; it is what
    the hash seals.
    """

    seq: int
    at_us: int
    kind: str
    actor: str
    subject: str
    reason: str
    prev: str
    hash: str
    data: Mapping[str, Any] = field(default_factory=dict)
    whole: LedgerEntry | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many entries there are, and the hash of the last one."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where a chain stops being true. seq: the first entry that cannot be trusted."""

    seq: int
    problem: str

    def __str__(self) -> str:
        return f"ledger entry {self.seq}: {self.problem}"


def canonical(value: Any) -> str:
    """The one JSON text of a JSON-able value; the same in every process and after a round trip."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encoded(value: Any) -> Encoded:
    """The canonical JSON of `jsonable(value)`; of what is plain JSON already, in one step."""
    return plain(value) or Encoded(canonical(jsonable(value)))


def plain(value: Any) -> Encoded | None:
    """The canonical JSON of a value that `jsonable` would leave as it is, else None."""
    if not _is_plain(value):
        return None
    try:
        text = canonical(value)
    except ValueError:  # NaN or infinity
        return None
    return None if any(escape in text for escape in _REFUSED) else Encoded(text)


def serialised(value: Any) -> str:
    """The text of a JSON column."""
    return value if type(value) is Encoded else canonical(value)


def jsonable(value: Any) -> Any:
    """`value` as plain JSON: RFC 3339 times, tuples as lists, sets sorted, NaN and infinity None.

    Characters that PostgreSQL refuses in text (NUL, lone surrogates) become U+FFFD. An object of an
    unknown class becomes its text, so that an odd value never loses the entry it is part of.
    """
    kind = type(value)
    if kind is str:
        return clean(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is dict:
        return {clean(str(name)): jsonable(item) for name, item in value.items()}
    if isinstance(value, Enum):
        return jsonable(value.value)
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return iso(value)
    return _container(value)


def clean(text: str) -> str:
    """`text` without the characters a database may refuse."""
    if text.isascii() and "\x00" not in text:
        return text
    text = text.replace("\x00", "\ufffd")
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


def seal(event: LedgerEvent, head: Head, at_us: int) -> dict[str, Any]:
    """The entry that follows `head`, as the row that is stored."""
    row: dict[str, Any] = {
        "seq": head.seq + 1,
        "at": at_us,
        "kind": clean(event.kind),
        "actor": clean(event.actor),
        "subject": clean(event.subject),
        "reason": clean(event.reason),
        "data": encoded(event.data),
        "prev": head.hash,
    }
    # `canonical` of these fields, with the data as it is encoded already.
    told = {n: quoted(row[n]) for n in ("kind", "actor", "subject", "reason")}
    text = (
        f'{{"actor":{told["actor"]},"at":{at_us},"data":{row["data"]},"kind":{told["kind"]},'
        f'"prev":"{head.hash}","reason":{told["reason"]},"seq":{row["seq"]},'
        f'"subject":{told["subject"]}}}'
    )
    return {**row, "hash": hashlib.sha256(text.encode()).hexdigest()}


def verify(
    entries: Iterable[LedgerEntry], *, start: Head | None = None, head: Head | None = None
) -> ChainBreak | None:
    """None if the entries are one unbroken chain, else the first break.

    start: the entry before the first one, when only a part is checked. head: where the chain is
    known to end (the database's own record, or a checkpoint kept elsewhere); without it a cut-off
    end cannot be noticed.
    """
    last = start or Head()
    for entry in entries:
        problem = _problem(entry, last)
        if problem:
            return ChainBreak(min(entry.seq, last.seq + 1), problem)
        last = Head(entry.seq, entry.hash)
    if head is not None and last != head:
        if last.seq < head.seq:
            return ChainBreak(last.seq + 1, f"missing: the chain should end at {head.seq}")
        return ChainBreak(last.seq, "is not the end that was recorded")
    return None


def first_break(*breaks: ChainBreak | None) -> ChainBreak | None:
    """The one with the lowest number; the first of several."""
    found = [each for each in breaks if each is not None]
    return min(found, key=lambda each: each.seq, default=None)


def from_export(row: Mapping[str, Any]) -> LedgerEntry:
    """An entry from its exported JSON object (`at` in microseconds). KeyError if a field lacks."""
    return LedgerEntry(
        seq=row["seq"],
        at_us=row["at"],
        kind=row["kind"],
        actor=row["actor"],
        subject=row["subject"],
        reason=row["reason"],
        data=row["data"],
        prev=row["prev"],
        hash=row["hash"],
    )


def to_export(entry: LedgerEntry) -> dict[str, Any]:
    """The JSON object of an entry, from which `verify` works with no database at hand."""
    return {**_sealed_fields(entry), "hash": entry.hash}


# --- private -----------------------------------------------------------------------------------


def _problem(entry: LedgerEntry, last: Head) -> str:
    if entry.seq > last.seq + 1:
        return f"missing: entry {last.seq} is followed by {entry.seq}"
    if entry.seq < last.seq + 1:
        return f"out of order: it comes after entry {last.seq}"
    if entry.prev != last.hash:
        return "does not continue the entry before it"
    if entry.hash != _digest(_sealed_fields(entry)):
        return "was altered: its content does not match its hash"
    return ""


def _sealed_fields(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": entry.at_us,
        "kind": entry.kind,
        "actor": entry.actor,
        "subject": entry.subject,
        "reason": entry.reason,
        "data": entry.data,
        "prev": entry.prev,
    }


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


def _is_plain(value: Any) -> bool:
    """Whether JSON gives a value back as it is: its texts have still to be looked at."""
    if type(value) in _PLAIN:
        return True
    left = [value]
    while left:
        each: Any = left.pop()
        kind = type(each)
        if kind is dict:
            if not _TEXT.issuperset(map(type, each)):
                return False
            each = each.values()
        elif kind is not list:
            return False
        left += [inner for inner in each if type(inner) not in _PLAIN]
    return True


def _container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {clean(str(name)): jsonable(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=canonical)
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return jsonable(value.tolist())
    return clean(str(value))
