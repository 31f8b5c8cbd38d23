"""One of several processes decides; another follows when it dies, a paused one writes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.domain.clock import ManualClock
from tocsin.engine.conductor import Conductor
from tocsin.store.leases import LeaseLost
from tocsin.store.state import StateStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "store"))
from state_build import BACKENDS, T0, opened

LASTS = timedelta(seconds=15)


class Time:
    """The monotonic clock of a process."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


Join = Callable[[str], tuple[Conductor, Time]]


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    with opened(request.param, tmp_path) as (made, _):
        yield made


@pytest.fixture
def join(store: StateStore) -> Join:
    def joined(name: str) -> tuple[Conductor, Time]:
        time = Time()
        made = Conductor(
            store, ManualClock(T0), name=name, is_alone=False, lasts=LASTS, monotonic=time
        )
        return made, time

    return joined


def test_the_first_conducts_and_the_second_takes_over_when_it_is_silent(
    store: StateStore, join: Join
) -> None:
    (first, _), (second, time) = join("first"), join("second")
    assert first.step()
    assert not second.step()
    for _ in range(10):
        time.now_s += 5
        first.step()
        assert not second.step(), "it lives: whatever the clocks say"
    time.now_s += 14.9
    assert not second.step()
    time.now_s += 0.1
    assert second.step()
    kinds = [(e.kind, e.actor, e.data["before"]) for e in store.ledger_entries()]
    assert kinds == [
        ("conductor.taken", "first", "nobody"), ("conductor.taken", "second", "first"),
    ]  # fmt: skip


def test_one_that_was_paused_writes_nothing_and_watches(store: StateStore, join: Join) -> None:
    (first, _), (second, time) = join("first"), join("second")
    first.step()
    second.step()
    time.now_s += 15
    second.step()
    assert first.conducts, "it does not know yet"
    with pytest.raises(LeaseLost, match="second has it"), first.deciding() as tx:
        tx.set_meta("decided", "by a ghost")
    assert store.get_meta("decided") is None
    assert not first.conducts
    assert not first.step()
    with second.deciding() as tx:
        tx.set_meta("decided", "by the second")
    assert store.get_meta("decided") == "by the second"


def test_two_that_find_it_free_at_once_are_not_both_let_in(
    store: StateStore, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, _), (second, _) = join("first"), join("second")
    write = store.transaction

    def meanwhile() -> object:
        monkeypatch.setattr(store, "transaction", write)
        assert second.step()
        return write()

    monkeypatch.setattr(store, "transaction", meanwhile)
    assert not first.step()
    assert second.conducts


def test_what_is_given_back_is_taken_at_once(join: Join) -> None:
    (first, _), (second, _) = join("first"), join("second")
    first.step()
    second.step()
    first.give_back()
    assert second.step()
    assert not first.conducts
    first.give_back()
    assert not first.step()


def test_who_is_alone_always_conducts(store: StateStore) -> None:
    alone = Conductor(store, ManualClock(T0))
    assert alone.step()
    with alone.deciding() as tx:
        tx.set_meta("decided", True)
    assert store.ledger_entries() == []
