"""Lines of the ledger that say the same of several are one entry, and come apart as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from state_build import BACKENDS, T0, at, opened

from tocsin.domain.findings import LedgerEvent
from tocsin.store.ledger import Head, from_export, seal, verify
from tocsin.store.rows import to_us
from tocsin.store.state import StateStore
from tocsin.store.together import MOST, apart, together

TEXTS = st.sampled_from(["a", "b", ""])
VALUES = st.dictionaries(TEXTS, st.sampled_from([1, 2.5, None, "x"])) | TEXTS | st.lists(TEXTS)
EVENTS = st.builds(
    LedgerEvent,
    at=st.sampled_from([T0, at(1)]),
    kind=st.sampled_from(["k", "l"]),
    actor=st.just("engine"),
    subject=st.sampled_from("abcdefgh"),
    reason=TEXTS,
    data=st.fixed_dictionaries({"labels": VALUES, "tier": st.sampled_from([1, 2])}),
)


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    with opened(request.param, tmp_path) as (opened_store, _):
        yield opened_store


def received(number: int, **labels: str) -> LedgerEvent:
    data = {"labels": {"pod": str(number), "service": "chat", **labels}, "facts": {"for": 1.0}}
    return LedgerEvent(T0, "alert.received", "source:x", f"f{number:03}", "p95 is high", data)


@given(st.lists(EVENTS, max_size=12))
def test_what_is_told_together_comes_apart_as_it_was(events: list[LedgerEvent]) -> None:
    lines, head = [], Head()
    for event in together(events):
        row = seal(event, head, to_us(event.at))
        entry = from_export({**row, "data": json.loads(row["data"])})
        assert verify([entry], start=head) is None
        head = Head(entry.seq, entry.hash)
        lines += apart(entry)
    for name in "abcdefgh":
        told = [(to_us(e.at), e.kind, e.reason, e.data) for e in events if e.subject == name]
        assert [(x.at_us, x.kind, x.reason, x.data) for x in lines if x.subject == name] == told


def test_events_that_are_about_several_already_are_all_kept() -> None:
    several = [
        LedgerEvent(T0, "drill.sent", "tocsin", name, "x", {"subjects": {f"{name}1": {}}})
        for name in "abc"
    ]
    events = [received(1), received(2), *several, received(3)]
    assert list(together(events))[1:] == [*several, received(3)]


def test_a_line_is_found_by_its_subject_and_its_kind(store: StateStore) -> None:
    events = [received(n) for n in range(MOST + 50)]
    with store.transaction() as tx:
        tx.append_all([*events, LedgerEvent(T0, "incident.opened", "engine", "i-1", "x")])
    assert store.ledger_head().seq == 3, "two of many and one of its own"
    (line,) = store.entries_about("f120")
    assert (line.seq, line.subject, line.data) == (2, "f120", events[120].data)
    assert [each.subject for each in store.entries_of(["alert.received"])] == [
        event.subject for event in events
    ]
    assert store.verify_ledger() is None
    whole: Any = line.whole
    assert whole.data["labels"] == {"service": "chat"}
    assert whole.data["subjects"]["f120"] == {"data": {"labels": {"pod": "120"}}}


ATTACKS = {
    "a row is taken away": ("DELETE FROM ledger_subject WHERE subject = 'f007'", 1),
    "all of an entry are": ("DELETE FROM ledger_subject WHERE seq = 1", 1),
    "one is added": ("INSERT INTO ledger_subject VALUES ('f007', 2)", 2),
    "a row is moved": ("UPDATE ledger_subject SET seq = 2 WHERE subject = 'f007'", 1),
    "renamed": ("UPDATE ledger_subject SET subject = 'g' WHERE subject = 'f107'", 2),
    "one of an entry about one": ("INSERT INTO ledger_subject VALUES ('f007', 3)", 3),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_index_of_subjects_is_verified_with_the_ledger(store: StateStore, name: str) -> None:
    statement, seq = ATTACKS[name]
    with store.transaction() as tx:
        tx.append_all(map(received, range(MOST + 50)))
        tx.append(LedgerEvent(T0, "incident.opened", "engine", "i-1\x00", "x"))
    start = store.ledger_head()
    assert store.verify_ledger_from(Head()) == (start, None)
    with store.transaction() as tx:
        tx.connection.execute(sa.text(statement))
    broken = store.audit_ledger().broken
    assert broken is not None
    assert (broken.seq, "by exactly" in broken.problem) == (seq, True)
    assert store.verify_ledger_from(Head())[1] == broken
    with store.transaction() as tx:
        tx.append_all(map(received, range(50)))
    assert store.verify_ledger_from(start) == (store.ledger_head(), None), "only what came since"
