"""What somebody who owns the database or the export can do to the ledger, and that it is seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from state_build import T0, event

from tocsin.domain.clock import ManualClock
from tocsin.domain.errors import StoreError
from tocsin.domain.findings import LedgerEvent
from tocsin.engine.notary import Notary
from tocsin.engine.verified import Verified
from tocsin.store.checkpoints import SigningKey, VerifyingKey, audit, checkpoint_of, to_row
from tocsin.store.ledger import Head, LedgerEntry, from_export, seal, to_export
from tocsin.store.ledger_files import read, write
from tocsin.store.state import StateStore

KEY, OTHER = SigningKey.new(), SigningKey.new()
Rows = list[dict[str, Any]]  # of an export: the first one is the header, entry n is at place n


def grown(store: StateStore, entries: int) -> None:
    with store.transaction() as tx:
        for number in range(entries):
            tx.append(event(data={"n": number}))


@pytest.fixture(scope="module")
def exported() -> Rows:
    """Eight entries, signed after the third and the sixth."""
    store, clock = StateStore.open(":memory:"), ManualClock(T0)
    notary = Notary(store, clock, KEY)
    for entries in (3, 3):
        grown(store, entries)
        assert notary.look() is not None
    grown(store, 2)
    rows = [json.loads(line) for line in write(store)]
    store.close()
    return rows


def copied(rows: Rows) -> Rows:
    copy: Rows = json.loads(json.dumps(rows))
    return copy


def checked(rows: Rows, key: VerifyingKey | None = KEY.public, kept: Rows | None = None) -> Any:
    found = read([json.dumps(row) for row in rows], "export")
    kept_too = [checkpoint_of(row) for row in kept or ()]
    return audit(found.entries, [*found.checkpoints, *kept_too], key=key, head=found.head)


def test_an_untouched_export_is_intact_and_says_how_far_it_is_signed(exported: Rows) -> None:
    found = checked(exported)
    assert (found.broken, found.entries, found.signed, found.is_proved) == (None, 8, 6, True)
    assert checked(exported[1:], key=None).broken is None, "entries alone can be checked too"


def chained(rows: Rows) -> Rows:
    """The attack that needs no key: every hash is computed anew and the head is set to fit."""
    entries: list[LedgerEntry] = []
    head = Head()
    for row in rows[1:]:
        told = LedgerEvent(T0, row["kind"], row["actor"], row["subject"], row["reason"],
                           row["data"])  # fmt: skip
        sealed = seal(told, head, row["at"])
        entries.append(from_export({**sealed, "data": json.loads(sealed["data"])}))
        head = Head(entries[-1].seq, entries[-1].hash)
    header = {**rows[0], "head": {"seq": head.seq, "hash": head.hash}}
    return [header, *map(to_export, entries)]


def altered(rows: Rows, name: str, value: Any, at: int = 5) -> Rows:
    rows[at][name] = value
    return rows


def without(rows: Rows, *places: int) -> Rows:
    return [row for place, row in enumerate(rows) if place not in places]


def swapped(rows: Rows, one: int, other: int) -> Rows:
    rows[one], rows[other] = rows[other], rows[one]
    return rows


def unsigned(rows: Rows) -> Rows:
    return [{**rows[0], "checkpoints": []}, *rows[1:]]


def signed_by(rows: Rows, key: SigningKey) -> Rows:
    head = Head(rows[-1]["seq"], rows[-1]["hash"])
    return [{**rows[0], "checkpoints": [to_row(key.sign(head, 1))]}, *rows[1:]]


ATTACKS: dict[str, tuple[Callable[[Rows], Rows], int, str]] = {
    "a reason is altered": (lambda r: altered(r, "reason", "nothing"), 5, "altered"),
    "an actor is altered": (lambda r: altered(r, "actor", "bo"), 5, "altered"),
    "data is altered": (lambda r: altered(r, "data", {"n": 7}), 5, "altered"),
    "a time is altered": (lambda r: altered(r, "at", 1), 5, "altered"),
    "the first is dropped": (lambda r: without(r, 1), 1, "missing"),
    "one in the middle is dropped": (lambda r: without(r, 4), 4, "missing"),
    "the last is dropped": (lambda r: without(r, 8), 8, "missing"),
    "all are dropped": (lambda r: r[:1], 1, "missing"),
    "two neighbours are swapped": (lambda r: swapped(r, 4, 5), 4, "missing"),
    "first and last are swapped": (lambda r: swapped(r, 1, 8), 1, "missing"),
    "altered and chained anew": (
        lambda r: chained(altered(r, "reason", "nothing")), 6, "written anew",
    ),
    "one dropped and chained anew": (lambda r: chained(without(r, 2)), 3, "written anew"),
    "chained anew, unsigned": (
        lambda r: unsigned(chained(altered(r, "reason", "nothing"))), 1, "no checkpoint",
    ),
    "chained anew, signed with another key": (
        lambda r: signed_by(chained(altered(r, "reason", "nothing")), OTHER), 8, "not signed with",
    ),
    "a checkpoint is moved": (
        lambda r: [{**r[0], "checkpoints": [{**r[0]["checkpoints"][0], "seq": 4}]}, *r[1:]],
        4, "written anew",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_seen_and_where(exported: Rows, name: str) -> None:
    attack, seq, says = ATTACKS[name]
    found = checked(attack(copied(exported)))
    assert found.broken is not None, name
    assert (found.broken.seq, says in found.broken.problem) == (seq, True), str(found.broken)


def test_a_cut_to_an_older_checkpoint_needs_one_kept_elsewhere(exported: Rows) -> None:
    cut = exported[:4]
    head = {"seq": 3, "hash": cut[3]["hash"]}
    cut = [{**exported[0], "head": head, "checkpoints": exported[0]["checkpoints"][:1]}, *cut[1:]]
    assert checked(cut).broken is None, "this one cannot be seen from the export alone"
    found = checked(cut, kept=[exported[0]["checkpoints"][1]])
    assert found.broken is not None
    assert "saw the chain reach 6" in found.broken.problem


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"seq": 1}', "line 2: no ledger entry"),
        ('{"seq": true', "line 2 is not a JSON object"),
        ("[]", "line 2 is not a JSON object"),
    ],
)
def test_what_is_no_export_is_told_with_its_line(exported: Rows, line: str, says: str) -> None:
    found = read([json.dumps(exported[0]), line], "export")
    with pytest.raises(StoreError, match=says):
        list(found.entries)
    with pytest.raises(StoreError, match="is empty"):
        read([], "export")


@pytest.mark.parametrize(
    "text", ["", "tocsin-ledger-public:AAAA", KEY.text], ids=["empty", "short", "private"]
)
def test_a_key_that_is_none_is_not_repeated(text: str) -> None:
    with pytest.raises(StoreError, match="no key that begins") as caught:
        VerifyingKey.of(text)
    assert KEY.text not in str(caught.value)
    assert VerifyingKey.of(KEY.public.text).id == KEY.public.id


def test_the_notary_notices_a_hand_on_the_database_and_does_not_sign_it(tmp_path: Path) -> None:
    store, clock = StateStore.open(tmp_path / "state.db"), ManualClock(T0)
    notary = Notary(store, clock, KEY)
    grown(store, 4)
    first = notary.look()
    assert first is not None
    assert notary.look() is None, "nothing is new"
    clock.advance(timedelta(hours=1))
    grown(store, 2)
    with store.transaction() as tx:
        tx.connection.execute(sa.text("UPDATE ledger SET reason = 'other' WHERE seq = 5"))
    assert notary.look() is None
    assert notary.broken is not None
    assert notary.broken.seq == 5
    assert [one.seq for one in store.checkpoints()] == [4]
    # A process that begins afterwards starts from the signature, and sees it as well.
    again = Notary(store, clock, KEY)
    assert again.look() is None
    assert again.broken is not None
    assert store.audit_ledger(KEY.public).broken == again.broken
    store.close()


def test_a_look_reads_what_came_since_and_all_of_it_when_asked(tmp_path: Path) -> None:
    store, clock = StateStore.open(tmp_path / "state.db"), ManualClock(T0)
    verified = Verified(store, clock)

    def looked(*, anew: bool = False, reason: str = "") -> tuple[int | None, bool]:
        """Where it is broken, and whether all was read."""
        clock.advance(timedelta(minutes=1))
        if reason:
            with store.transaction() as tx:
                query = sa.text("UPDATE ledger SET reason = :reason WHERE seq = 2")
                tx.connection.execute(query, {"reason": reason})
        found = verified.look(anew=anew)
        return found.broken.seq if found.broken else None, found.whole_at == found.at

    grown(store, 4)
    assert looked() == (None, True)
    grown(store, 2)
    assert looked() == (None, False)
    was = store.ledger_entries()[1].reason
    assert looked(reason="other") == (None, False)
    assert looked(anew=True) == (2, True)
    assert looked() == (2, True), "what does not hold is read until it does"
    assert looked(reason=was) == (None, True)
    assert looked() == (None, False)
    with store.transaction() as tx:
        tx.connection.execute(sa.text("DELETE FROM ledger WHERE seq = 6"))
    assert looked() == (6, False), "its end was seen and has to be there"
    store.close()
