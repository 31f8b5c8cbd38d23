"""The index of subjects, held against the ledger that it is of.

The chain seals what an entry says, all that it is about included. By which of those an entry about
several is found stands beside the chain (`tables.ledger_subject`): whoever takes a row away there
hides a line of somebody's history, and no hash says so. So whoever verifies the one verifies both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from tocsin.store import tables
from tocsin.store.ledger import ChainBreak, LedgerEntry
from tocsin.store.together import subjects

_AT_ONCE = 10_000


class Index:
    """What the index says of some entries, to be compared with what they say.

    Of each entry a single number is held, the sum of its rows' hashes: there may be millions of
    rows, and they lie in the order of their subjects.
    """

    def __init__(self, rows: Iterable[tuple[str, int]]) -> None:
        """rows: subject, number of an entry."""
        self._said: dict[int, int] = {}
        for subject, seq in rows:
            self._said[seq] = self._said.get(seq, 0) + _mark(subject)
        self.broken: ChainBreak | None = None  # the first entry of which it says something else

    @classmethod
    def of(cls, connection: sa.Connection, after: int, last: int) -> Index:
        """Of the entries behind `after` up to `last`."""
        table = tables.ledger_subject
        query = sa.select(table.c.subject, table.c.seq).where(
            table.c.seq > after, table.c.seq <= last
        )
        found = connection.execute(query.execution_options(yield_per=_AT_ONCE))
        return cls((row.subject, row.seq) for row in found)

    def compared(self, entries: Iterable[LedgerEntry]) -> Iterator[LedgerEntry]:
        """The entries, each compared as it passes."""
        for entry in entries:
            about = sum(map(_mark, subjects(entry)))
            if self.broken is None and self._said.get(entry.seq, 0) != about:
                what = "is not found by exactly those it is about: its index was changed"
                self.broken = ChainBreak(entry.seq, what)
            yield entry


def _mark(subject: str) -> int:
    return int.from_bytes(hashlib.sha256(subject.encode()).digest())
