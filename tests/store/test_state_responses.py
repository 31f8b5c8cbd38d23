"""What is kept about incidents: verdicts, pages of them, their story, what an operator asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from state_build import BACKENDS, T0, at, effect, event, incident, opened

from tocsin.domain.errors import StoreError
from tocsin.domain.findings import EffectState, IncidentState
from tocsin.store.state import StateStore


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    with opened(request.param, tmp_path) as (opened_store, _):
        with opened_store.transaction() as tx:
            tx.put_incident(
                incident(policy={"name": "page", "steps": [], "ack_expires_s": 7200}, step=1),
                expect_version=None,
            )
            tx.add_effect(effect("k1"))
            tx.add_effect(effect("k2", receiver="chat"))
            tx.add_effect(effect("k3", kind="escalate", receiver="", due=at(900)))
            tx.append(event("incident.opened"))
        yield opened_store


def keys(store: StateStore, state: EffectState) -> set[str]:
    return {e.key for e in store.effects("g-1") if e.state is state}


def kinds(store: StateStore) -> list[str]:
    return [entry.kind for entry in store.ledger_entries()]


def test_an_unknown_incident_is_an_error_that_names_it(store: StateStore) -> None:
    with pytest.raises(StoreError, match="no incident 'nope'"):
        store.mark("nope", "real", "ana", T0)


def test_verdicts_are_kept_with_their_author(store: StateStore) -> None:
    store.mark("g-1", "false", "ana", at(1), "a batch job")
    store.mark("g-1", "real", "bo", at(2))
    assert [(m.actor, m.verdict, m.note) for m in store.marks("g-1")] == [
        ("ana", "false", "a batch job"),
        ("bo", "real", ""),
    ]
    assert len(store.marks()) == 2
    with pytest.raises(StoreError, match="real, false, duplicate, noise"):
        store.mark("g-1", "maybe", "ana", at(3))
    assert kinds(store)[-1] == "incident.verdict"


def test_pages_of_incidents_follow_each_other_without_gap_or_repeat(store: StateStore) -> None:
    with store.transaction() as tx:
        for number in range(7):
            opened_at = T0 + timedelta(minutes=number // 2)
            tx.put_incident(incident(f"h{number}", opened=opened_at), expect_version=None)
    seen: list[str] = []
    cursor: str | None = None
    while page := store.list_incidents(3, cursor):
        seen += [found.id for found in page]
        cursor = page[-1].id
    assert len(seen) == len(set(seen)) == 8
    opened = [store.incident(name).opened for name in seen]  # type: ignore[union-attr]
    assert opened == sorted(opened, reverse=True)
    found = store.incident("g-1")
    assert found is not None
    with store.transaction() as tx:
        over = replace(found, state=IncidentState.RESOLVED)
        tx.put_incident(over, expect_version=found.version)
    assert [i.id for i in store.list_incidents(10, state="resolved")] == ["g-1"]


def test_a_timeline_tells_the_story_in_order(store: StateStore) -> None:
    store.mark("g-1", "noise", "ana", at(60), "a batch job")
    story = store.timeline("g-1")
    assert [item.at for item in story] == sorted(item.at for item in story)
    assert "a batch job" in [item.text for item in story]
    assert any(item.text.startswith("notify trigger to pager is ready") for item in story)


def test_a_timeline_holds_what_was_said_of_several_at_once(store: StateStore) -> None:
    with store.transaction() as tx:
        tx.append_all(
            event("incident.resolved", subject=name, reason=f"{name} is over", at=at(90))
            for name in ("f-1", "g-1")
        )
    told = [item.text for item in store.timeline("g-1")]
    assert "g-1 is over" in told
    assert "f-1 is over" not in told


def test_counts_and_overdue_effects_are_what_an_operator_asks_for(store: StateStore) -> None:
    assert store.counts()["incidents"] == {"triggered": 1}
    assert store.counts()["effects"] == {"ready": 3}
    assert store.counts()["ledger"] == {"entries": 1}
    assert store.overdue(at(60)) == 0
    assert store.overdue(at(121)) == 2
    assert store.next_due() == T0


def test_configurations_and_sink_messages_are_kept(store: StateStore) -> None:
    store.record_config("abc", {"docs": ["a"]}, actor="ana", now=at(1), reason="first")
    store.record_config("def", {"docs": []}, actor="bo", now=at(2))
    assert [(c["digest"], c["actor"], c["at"]) for c in store.config_versions()] == [
        ("def", "bo", at(2)),
        ("abc", "ana", at(1)),
    ]
    store.record_sink_message("slack", at(1), {"A": "b"}, "{}")
    store.record_sink_message("pagerduty", at(2), {}, "text\x00")
    assert [m.receiver for m in store.sink_messages()] == ["pagerduty", "slack"]
    assert store.sink_messages(receiver="slack")[0].headers == {"A": "b"}
