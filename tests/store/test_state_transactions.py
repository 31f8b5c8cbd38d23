"""State, ledger and effects appear together or not at all, on every database."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from state_build import BACKENDS, T0, alert, at, effect, event, incident, opened

from tocsin.domain.errors import Conflict, StoreError
from tocsin.domain.findings import AlertState, EffectState, IncidentState
from tocsin.domain.ports import State
from tocsin.store import judging, tables
from tocsin.store.database import connect
from tocsin.store.evaluations import Chosen
from tocsin.store.rows import from_us, to_us
from tocsin.store.state import StateStore
from tocsin.store.tables import METADATA


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    with opened(request.param, tmp_path) as (opened_store, _):
        yield opened_store


def test_the_store_is_the_state_the_engine_expects(store: StateStore) -> None:
    port: State = store
    assert port.alerts() == {}


def test_findings_come_back_as_they_were_put(store: StateStore) -> None:
    written = incident(
        policy={"name": "page", "steps": [{"after_s": 0, "receivers": ["pager"]}]},
        acknowledged_until=at(0.000001),
        evidence={"value": 0.1 + 0.2, "slice": "region=eu", "first_steps": ["look"]},
    )
    with store.transaction() as tx:
        tx.put_alert(alert(last_breach=at(7)))
        tx.put_incident(written, expect_version=None)
    assert store.alerts() == {"a1": alert(last_breach=at(7))}
    assert store.incidents() == {"g": written}
    assert store.incident("g-1") == written
    assert store.incident("unknown") is None


def test_it_is_known_when_acknowledgements_end(store: StateStore) -> None:
    held = IncidentState.ACKNOWLEDGED
    with store.transaction() as tx:
        for name, state, until in (
            ("g", held, at(5)),
            ("h", held, None),
            ("i", "triggered", at(6)),
        ):
            made = incident(name, state=IncidentState(state), acknowledged_until=until)
            tx.put_incident(made, expect_version=None)
    assert store.acknowledgements() == [at(5)]
    with store.transaction() as tx:
        made = incident(state=held, acknowledged_until=at(9))
        tx.put_incident(made, expect_version=made.version)
    assert store.acknowledgements() == [at(9)]


def test_resolved_alerts_and_closed_incidents_are_history(store: StateStore) -> None:
    with store.transaction() as tx:
        tx.put_alert(alert())
        tx.put_alert(alert(state=AlertState.RESOLVED))
        tx.put_incident(incident(state=IncidentState.CLOSED), expect_version=None)
        tx.put_incident(incident("h", state=IncidentState.CLOSED), expect_version=None)
        tx.put_incident(incident("h", 2), expect_version=None)
    assert store.alerts() == {}
    assert list(store.incidents()) == ["h"]
    assert store.incidents(live_only=False)["g"].state is IncidentState.CLOSED
    assert store.incidents(live_only=False)["h"].episode == 2


def test_an_exception_takes_everything_back(store: StateStore) -> None:
    with pytest.raises(RuntimeError, match="power cut"), store.transaction() as tx:  # noqa: PT012
        tx.put_alert(alert())
        tx.put_incident(incident(), expect_version=None)
        tx.add_effect(effect("k1"))
        tx.append(event())
        tx.add_digest_item("daily", T0, "a1", "a line")
        tx.set_meta("cursor", 7)
        raise RuntimeError("power cut")
    assert store.alerts() == {}
    assert store.incidents(live_only=False) == {}
    assert store.effects("g-1") == []
    assert store.ledger_entries() == []
    assert store.digest_items("daily") == []
    assert store.get_meta("cursor") is None


def test_compare_and_set_refuses_the_slower_writer(store: StateStore) -> None:
    with store.transaction() as tx:
        tx.put_incident(incident(), expect_version=None)
    read = store.incident("g-1")
    assert read is not None
    with store.transaction() as tx:
        tx.put_incident(replace(read, step=1), expect_version=read.version)
    slower = store.transaction()
    with pytest.raises(Conflict, match="no longer at version 0"), slower as tx:  # noqa: PT012
        tx.append(event())
        tx.put_incident(replace(read, step=9), expect_version=read.version)
    after = store.incident("g-1")
    assert after is not None
    assert (after.step, after.version) == (1, 1)
    assert store.ledger_entries() == []


def test_an_episode_is_opened_only_once(store: StateStore) -> None:
    with store.transaction() as tx:
        tx.put_incident(incident(), expect_version=None)
    for twin in (incident(), incident(id="other-id")):
        with pytest.raises(Conflict, match="exists already"), store.transaction() as tx:
            tx.put_incident(twin, expect_version=None)


def test_an_effect_key_is_used_only_once(store: StateStore) -> None:
    with store.transaction() as tx:
        assert tx.add_effect(effect("k1"))
        assert not tx.add_effect(effect("k1", receiver="somebody else"))
    with store.transaction() as tx:
        assert not tx.add_effect(effect("k1"))
    assert [e.receiver for e in store.effects("g-1")] == ["pager"]


def test_only_ready_effects_of_the_named_kinds_are_cancelled(store: StateStore) -> None:
    with store.transaction() as tx:
        tx.add_effect(effect("k1"))
        tx.add_effect(effect("k2", kind="escalate"))
        tx.add_effect(effect("k3", kind="escalate", incident_id="h-1"))
        assert tx.cancel_effects("g-1", reason="acknowledged", kinds=("escalate",)) == 1
        assert tx.cancel_effects("g-1", reason="over") == 1
        assert tx.cancel_effects("g-1", reason="over") == 0
    states = {e.key: e.state for e in [*store.effects("g-1"), *store.effects("h-1")]}
    assert states == {
        "k1": EffectState.CANCELLED,
        "k2": EffectState.CANCELLED,
        "k3": EffectState.READY,
    }


def test_digest_items_are_taken_once_and_in_order(store: StateStore) -> None:
    with store.transaction() as tx:
        for number in range(3):
            tx.add_digest_item("daily", at(number), f"a{number}", f"line {number}")
        tx.add_digest_item("weekly", T0, "a9", "elsewhere")
    with store.transaction() as tx:
        assert [item.text for item in tx.take_digest_items("daily", at(9))] == [
            "line 0",
            "line 1",
            "line 2",
        ]
        assert tx.take_digest_items("daily", at(9)) == []
    assert [i.sent for i in store.digest_items("daily", waiting_only=False)] == [at(9)] * 3
    assert len(store.digest_items("weekly")) == 1


def test_small_values_are_kept_and_joined_to_an_open_transaction(store: StateStore) -> None:
    store.set_meta("cursor", {"minute": 5})
    with pytest.raises(RuntimeError), store.transaction():  # noqa: PT012
        store.set_meta("cursor", {"minute": 6})
        assert store.get_meta("cursor") == {"minute": 6}
        raise RuntimeError("never mind")
    assert store.get_meta("cursor") == {"minute": 5}


def test_a_transaction_inside_a_transaction_is_refused_and_not_a_deadlock(
    store: StateStore,
) -> None:
    with store.transaction(), pytest.raises(StoreError, match="already open"), store.transaction():
        pass


def test_values_no_database_takes_are_kept_as_what_they_can_be(store: StateStore) -> None:
    odd = {"nan": float("nan"), "when": T0, "nul": "a\x00b", "half": "\ud800", "set": {2, 1}}
    with store.transaction() as tx:
        tx.put_incident(incident(evidence=odd, title="a\x00b"), expect_version=None)
        tx.append(event(data=odd, reason="\x00"))
    found = store.incident("g-1")
    assert found is not None
    assert found.title == "a\ufffdb"
    assert found.evidence["nan"] is None
    assert found.evidence["set"] == [1, 2]
    assert store.verify_ledger() is None


def test_threads_lose_no_update(store: StateStore) -> None:
    store.set_meta("counter", 0)
    failures: list[Exception] = []

    def count() -> None:
        try:
            for _ in range(20):
                with store.transaction() as tx:
                    tx.set_meta("counter", tx.get_meta("counter") + 1)
                    tx.append(event())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.get_meta("counter") == 80
    assert store.ledger_head().seq == 80
    assert store.verify_ledger() is None


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_two_processes_share_one_database(backend: str, tmp_path: Path) -> None:
    with opened(backend, tmp_path) as (first, url):
        second = StateStore.open(url)
        with first.transaction() as tx:
            tx.put_incident(incident(), expect_version=None)
            assert second.incidents() == {}, "nothing is seen before it is committed"
        assert list(second.incidents()) == ["g"]
        second.close()


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_migrations_build_exactly_the_tables_the_code_uses(backend: str, tmp_path: Path) -> None:
    with opened(backend, tmp_path) as (_, url):
        database = connect(url)
        with database.read() as connection:
            difference = compare_metadata(MigrationContext.configure(connection), METADATA)
        database.close()
    assert difference == []


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_members_move_from_the_body_of_an_incident_into_rows(backend: str, tmp_path: Path) -> None:
    with opened(backend, tmp_path) as (store, url):
        made = incident(alerts=("a", "b", "c"), decided={"a": (1, "page", ""), "c": (2, "", "x")})
        with store.transaction() as tx:
            tx.put_incident(made, expect_version=None)
        database = connect(url)
        with database.write() as connection:  # as it was before
            body = connection.execute(sa.select(tables.incident.c.body)).scalar_one()
            body["alerts"] = ["a", "b", "c"]
            body["evidence"] = {"memory": {"decided": {"a": [1, "page", ""], "c": [2, "", "x"]}}}
            connection.execute(sa.update(tables.incident).values(body=body))
            for name in (
                "incident_member", "ledger_subject", "kept_file", "kept_report", "evaluation",
                "evaluator_day", "subscriber",
            ):  # fmt: skip
                connection.execute(sa.text(f"DROP TABLE {name}"))
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '0010'"))
        database.close()
        again = StateStore.open(url)
        assert again.incident(made.id) == replace(made, evidence={"memory": {}})
        again.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_members_of_an_incident_change_with_it(backend: str, tmp_path: Path) -> None:
    rng, names = random.Random(1), "abcdef"
    with opened(backend, tmp_path) as (store, _):
        last = incident(alerts=(), decided={})
        with store.transaction() as tx:
            tx.put_incident(last, expect_version=None)
        for version in range(30):
            alerts = tuple(sorted(rng.sample(names, rng.randint(0, 6))))
            decided = {name: (rng.choice([1, 2]), "r", "") for name in alerts if rng.random() < 0.8}
            after = replace(last, alerts=alerts, decided=decided, version=version + 1)
            before = last if rng.random() < 0.5 else None
            with store.transaction() as tx:
                tx.put_incident(after, expect_version=version, before=before)
            with store.reading() as tx:
                assert tx.incident(last.id) == after
            last = after


def test_sqlite_commits_survive_a_power_cut(tmp_path: Path) -> None:
    database = connect(tmp_path / "deep" / "er" / "state.db")
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    database.close()


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    StateStore.open(path).close()
    database = connect(path)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StoreError, match="newer release"):
        StateStore.open(path)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://user:hunter2@host/db", "neither a path nor"),
        ("postgresql://user:hunter2@127.0.0.1:1/db", "cannot be opened|driver"),
        ("sqlite:////proc/nowhere/state.db", "the directory /proc/nowhere cannot be made"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_without_its_password(url: str, says: str) -> None:
    with pytest.raises((StoreError, OSError)) as caught:
        StateStore.open(url)
    if isinstance(caught.value, StoreError):
        caught.match(says)
    assert "hunter2" not in str(caught.value)


def test_times_are_exact_to_the_microsecond_in_any_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    for instant in (T0, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)):
        assert from_us(to_us(instant.astimezone(tokyo))) == instant
    with pytest.raises(ValueError, match="no time zone"):
        to_us(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_call_that_was_judged_leaves_the_queue_alone(store: StateStore) -> None:
    """Span ids are only unique within a trace."""
    calls = [Chosen(trace, "span", T0, 1.0) for trace in ("one", "other")]
    with store.transaction() as tx:
        assert judging.add(tx, "judge", "judge@1", calls, T0) == 2
        judging.forget(tx, "judge@1", [("one", "span")])
    with store.reading() as tx:
        assert [task.call for task in judging.due(tx, "judge", T0, 9)] == [("other", "span")]
