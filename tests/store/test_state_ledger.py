"""The audit trail says so when it was tampered with, and where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from state_build import BACKENDS, T0, event, opened

from tocsin.domain.findings import LedgerEvent
from tocsin.store import tables
from tocsin.store.ledger import (
    GENESIS,
    Head,
    LedgerEntry,
    canonical,
    encoded,
    from_export,
    jsonable,
    plain,
    seal,
    to_export,
    verify,
)
from tocsin.store.state import StateStore


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    with opened(request.param, tmp_path) as (opened_store, _):
        yield opened_store


def chain(events: list[LedgerEvent]) -> list[LedgerEntry]:
    entries, head = [], Head()
    for number, each in enumerate(events):
        entries.append(sealed(each, head, 1_000 + number))
        head = Head(entries[-1].seq, entries[-1].hash)
    return entries


def sealed(told: LedgerEvent, head: Head, at_us: int) -> LedgerEntry:
    row = seal(told, head, at_us)
    return from_export({**row, "data": json.loads(row["data"])})


def head_of(entries: list[LedgerEntry]) -> Head:
    return Head(entries[-1].seq, entries[-1].hash)


def test_each_entry_seals_the_one_before(store: StateStore) -> None:
    with store.transaction() as tx:
        hashes = [tx.append(event(data={"n": n})) for n in range(3)]
    with store.transaction() as tx:
        hashes.append(tx.append(event("later")))
    entries = store.ledger_entries()
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    assert [entry.prev for entry in entries] == [GENESIS, *hashes[:-1]]
    assert store.ledger_head() == Head(4, hashes[-1])
    assert store.verify_ledger() is None
    assert [entry.seq for entry in store.ledger_entries(after=2, limit=1)] == [3]


@pytest.mark.parametrize(
    ("statement", "seq", "says"),
    [
        ("UPDATE ledger SET reason = 'nothing happened' WHERE seq = 3", 3, "altered"),
        ("UPDATE ledger SET at = at + 1 WHERE seq = 2", 2, "altered"),
        ("DELETE FROM ledger WHERE seq = 4", 4, "missing"),
        ("DELETE FROM ledger WHERE seq = 1", 1, "missing"),
        ("DELETE FROM ledger WHERE seq >= 5", 5, "missing"),
        ("DELETE FROM ledger", 1, "missing"),
    ],
)
def test_a_hand_on_the_database_is_noticed(
    store: StateStore, statement: str, seq: int, says: str
) -> None:
    with store.transaction() as tx:
        for number in range(6):
            tx.append(event(data={"n": number}))
    with store.transaction() as tx:
        tx.connection.execute(sa.text(statement))
    broken = store.verify_ledger()
    assert broken is not None
    assert (broken.seq, says in broken.problem) == (seq, True), str(broken)


def test_entries_swapped_in_the_database_are_noticed(store: StateStore) -> None:
    with store.transaction() as tx:
        for number in range(4):
            tx.append(event(data={"n": number}))
    with store.transaction() as tx:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            table = tables.ledger
            tx.connection.execute(sa.update(table).where(table.c.seq == old).values(seq=new))
    broken = store.verify_ledger()
    assert broken is not None
    assert broken.seq == 2


def test_an_export_is_verified_with_no_database(store: StateStore) -> None:
    with store.transaction() as tx:
        for number in range(4):
            tx.append(event(data={"share": number / 3, "text": "Zürich ✓"}))
    lines = [json.dumps(to_export(entry)) for entry in store.ledger_entries()]
    entries = [from_export(json.loads(line)) for line in lines]
    assert verify(entries, head=store.ledger_head()) is None
    assert verify(entries[2:], start=Head(entries[1].seq, entries[1].hash)) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
events = st.builds(
    LedgerEvent,
    at=st.just(T0),
    kind=st.text(),
    actor=st.text(),
    subject=st.text(),
    reason=st.text(),
    data=st.dictionaries(st.text(), json_values, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, min_size=3, max_size=8), st.data())
def test_any_change_of_any_chain_is_named_by_its_number(
    written: list[LedgerEvent], data: st.DataObject
) -> None:
    entries = chain(written)
    head = head_of(entries)
    exported = [from_export(json.loads(json.dumps(to_export(entry)))) for entry in entries]
    assert verify(exported, head=head) is None

    victim = data.draw(st.integers(0, len(entries) - 1))
    altered = list(entries)
    altered[victim] = replace(entries[victim], reason=entries[victim].reason + "!")
    broken = verify(altered, head=head)
    assert broken is not None
    assert broken.seq == victim + 1

    removed = entries[:victim] + entries[victim + 1 :]
    broken = verify(removed, head=head)
    assert broken is not None
    assert broken.seq == victim + 1

    other = data.draw(st.integers(0, len(entries) - 1).filter(lambda n: n != victim))
    swapped = list(entries)
    swapped[victim], swapped[other] = swapped[other], swapped[victim]
    broken = verify(swapped, head=head)
    assert broken is not None
    assert broken.seq == min(victim, other) + 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("inf"), None),
        (T0, "2026-03-02T10:00:00.123456Z"),
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        (timedelta(seconds=1), "0:00:01"),
        ({"b", "a"}, ["a", "b"]),
    ],
)
def test_values_become_json_that_means_the_same(value: Any, expected: Any) -> None:
    assert jsonable(value) == expected
    assert json.loads(canonical(jsonable(value))) == expected


WORDS = st.text(max_size=4) | st.sampled_from(["\x00", "\ud800", "\U0001f600", "\\ud800"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.just(T0)
KEYS = WORDS | st.integers(0, 20) | st.none()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3)
                    | st.tuples(inner) | st.dictionaries(KEYS, inner, max_size=3)))  # fmt: skip
def test_what_is_encoded_at_once_is_what_is_made_plain_first(value: Any) -> None:
    assert encoded(value) == canonical(jsonable(value))
    if (text := plain(value)) is not None:
        assert json.loads(text) == value


def test_a_time_is_part_of_what_is_sealed() -> None:
    entry = sealed(event(at=datetime.fromisoformat("2026-01-01T00:00:00Z")), Head(), 5)
    assert verify([entry]) is None
    broken = verify([replace(entry, at_us=6)])
    assert broken is not None
    assert str(broken) == "ledger entry 1: was altered: its content does not match its hash"
