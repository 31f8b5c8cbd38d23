"""Many alerts at once: in order, pages first, and decided as if each had come alone."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import Mock, patch

import pytest

from tocsin.domain.clock import iso
from tocsin.domain.errors import StoreError
from tocsin.domain.findings import Alert, AlertState, Incident
from tocsin.engine.deciding import route_all
from tocsin.engine.expiring import ENDS, Expiring
from tocsin.engine.rules import compile_desired
from tocsin.engine.tick import Arrival, settle
from tocsin.engine.waiting import AT_ONCE, Labelled, Sender, Understood, next_ones
from tocsin.intake.alerts.incoming import Incoming
from tocsin.spec.desired import load_text
from tocsin.store.inbox import Letter
from tocsin.store.state import StateStore

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONFIG = """
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: pager}
spec: {type: pagerduty, routing_key: {secret: KEY}}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: board}
spec: {type: slack, channel: "#ops", token: {secret: KEY}}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults:
    unmatched: {tier: 2, receivers: [board]}
    on_rule_error: {tier: 1, receivers: [board]}
  classify:
    - {if: {severity: page}, set: {tier: 1}}
    - {if: {severity: ticket, for: ">=3m"}, set: {tier: 2, late: "yes"}}
  routes:
    - {name: page, if: {tier: 1}, receivers: [pager]}
    - {name: tell, receivers: [board]}
"""
INHIBIT = """
  inhibit: [{source: {signal: down}, target: {signal: slow}, equal: [service]}]
"""


# --- which go first -------------------------------------------------------------------------------


def told(number: int, *names: str, page: bool = False, count: int = 1) -> Understood:
    alerts = [
        Labelled(Incoming(name, name, "firing", {}, NOW), {}, (f"{name}",), page)
        for name in names
        for _ in range(count)
    ]
    letter = Letter(number, "prometheus", NOW, "new", "", b"", "prometheus")
    return Understood(Sender("prometheus"), NOW, tuple(alerts), letter)


def taken(*waiting: Understood) -> list[list[int]]:
    rounds, left = [], list(waiting)
    while left:
        now, left = next_ones(left)
        rounds.append([each.id for each in now])
    return rounds


def test_a_page_goes_before_what_came_earlier() -> None:
    assert taken(told(1, "a"), told(2, "b"), told(3, "c", page=True)) == [[3], [1, 2]]


def test_what_is_told_of_one_alert_keeps_its_order() -> None:
    waiting = [told(1, "x"), told(2, "a", "x"), told(3, "b"), told(4, "a", "p", page=True)]
    assert taken(*waiting) == [[1, 2, 4], [3]]


def test_the_oldest_go_first_many_at_a_time() -> None:
    waiting = [told(n, f"s{n}", count=AT_ONCE // 2) for n in range(1, 4)]
    assert taken(*waiting) == [[1, 2], [3]]


def test_with_the_oldest_goes_what_is_about_the_same_groups() -> None:
    waiting = [
        replace(told(n, f"s{n}", count=AT_ONCE // 4), groups=frozenset({(group,)}))
        for n, group in enumerate("abcabca", start=1)
    ]
    assert taken(*waiting) == [[1, 2, 4, 7], [3, 5, 6]]


def test_no_letter_about_an_alert_overtakes_an_earlier_one_about_it() -> None:
    rng = random.Random(7)
    for _ in range(50):
        waiting = [
            replace(
                told(n, *rng.sample("stuvwxyz", 2), count=100),
                groups=frozenset({(rng.choice("abc"),)}),
            )
            for n in range(1, 25)
        ]
        order = [number for numbers in taken(*waiting) for number in numbers]
        assert sorted(order) == list(range(1, 25))
        for key in "stuvwxyz":
            about = [n for n in order if key in waiting[n - 1].keys]
            assert about == sorted(about)


# --- deciding about a part ------------------------------------------------------------------------


def seen(store: StateStore) -> Mapping[str, Any]:
    def shape(i: Incident) -> Any:
        return i.state, i.alerts, i.tier, i.suppressed_by, i.receivers, i.route, i.version

    effects = {(e.key, e.state) for e in store.list_effects(10_000)}
    return {"effects": effects} | {i.id: shape(i) for i in store.list_incidents(1000)}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_deciding_about_what_changed_is_deciding_about_everything(seed: int) -> None:
    """What time alone changes elsewhere is seen to every minute."""
    rules = compile_desired(load_text(CONFIG))
    rng, now = random.Random(seed), NOW
    whole, part = StateStore.open(":memory:"), StateStore.open(":memory:")
    for _ in range(60):
        now += timedelta(seconds=rng.choice([1, 20, 240]))
        changed = [changed_alert(rng, now, part) for n in range(rng.randint(1, 4))]
        with whole.transaction() as tx:
            tx.put_alerts(changed)
        everything = settle(rules, None, whole, now)
        told = Arrival({alert.fingerprint: alert for alert in changed}, changed)
        some = settle(rules, None, part, now, arrival=told)
        groups = {whole.incident(i).group_key for i in incidents_of(whole, changed)}  # type: ignore[union-attr]
        theirs = [c for c in everything.incident_changes if c.after.group_key in groups]
        assert list(some.incident_changes) == theirs
        for store in (whole, part):
            while not settle(rules, None, store, now).is_empty:
                pass
        assert seen(whole) == seen(part)
    whole.close()
    part.close()


def test_where_alerts_bear_on_each_other_everything_is_decided() -> None:
    rules = compile_desired(load_text(CONFIG.rstrip() + INHIBIT))
    store = StateStore.open(":memory:")
    for told in (alert("a0", "slow"), alert("a1", "down")):
        settle(rules, None, store, NOW, arrival=Arrival({told.fingerprint: told}, [told]))
    quiet = {i.labels["signal"]: i.suppressed_by for i in store.incidents().values()}
    assert quiet == {"slow": "inhibition:inhibit[1]", "down": ""}
    store.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_known_of_alerts_decides_as_looking_afresh(seed: int) -> None:
    desired = load_text(CONFIG.rstrip() + INHIBIT)
    rules, rng, now = compile_desired(desired), random.Random(seed), NOW
    store, found = StateStore.open(":memory:"), set[str]()
    for _ in range(60):
        now += timedelta(seconds=rng.choice([1, 20, 240]))
        with store.transaction() as tx:
            tx.put_alerts([changed_alert(rng, now, store) for _ in range(3)])
        again = route_all(rules, store.alerts(), now)
        assert again == route_all(compile_desired(desired), store.alerts(), now)
        found |= {one.decision.suppressed_by for one in again}
        found |= {one.decision.labels.get("late", "") for one in again}
    assert found == {"", "yes", "inhibition:inhibit[1]"}
    store.close()


def test_an_alert_ends_when_it_was_not_told_again_in_time() -> None:
    expiring, known = Expiring(NOW), {k: alert(k, "slow") for k in ("a", "b", "c")}

    def tell(key: str, minutes: int) -> None:
        evidence = {ENDS: iso(NOW + timedelta(minutes=minutes))}
        known[key] = replace(known[key], evidence=evidence)
        expiring.note([known[key]])

    def over(minutes: int) -> list[str]:
        return [each.fingerprint for each in expiring.over(known, NOW + timedelta(minutes=minutes))]

    tell("a", 4)
    tell("b", 4)
    tell("b", 9)  # again, until later
    tell("c", 9)
    tell("c", 5)  # earlier than was promised
    assert (over(3), over(4), over(4), over(6), over(9)) == ([], ["a"], [], ["c"], ["b"])


def alert(key: str, signal: str) -> Alert:
    labels = {"source": "test", "service": "s", "signal": signal, "severity": "page"}
    return Alert(key, labels, AlertState.FIRING, NOW, NOW, "page", reason="x")


def incidents_of(store: StateStore, changed: list[Alert]) -> set[str]:
    with store.reading() as tx:
        stored = tx.alerts([alert.fingerprint for alert in changed])
    return {alert.incident_id for alert in stored.values() if alert.incident_id}


def changed_alert(rng: random.Random, now: datetime, store: StateStore) -> Alert:
    number = rng.randrange(16)
    key = f"a{number}"
    known = store.alerts().get(key)
    labels = {
        "source": "test", "service": f"s{number % 3}", "signal": ["slow", "down"][number % 2],
        "severity": rng.choice(["page", "ticket"]), "pod": str(number),
    }  # fmt: skip
    if known is not None and rng.random() < 0.5:
        return Alert(key, known.labels, AlertState.RESOLVED, known.since, now, known.severity,
                     incident_id=known.incident_id)  # fmt: skip
    since, incident = (known.since, known.incident_id) if known else (now, "")
    return Alert(key, labels, AlertState.FIRING, since, now, labels["severity"], reason="x",
                 incident_id=incident)  # fmt: skip


# --- what is remembered ---------------------------------------------------------------------------


def test_what_is_remembered_is_what_is_stored(tmp_path: Path) -> None:
    store, rng, now = StateStore.open(tmp_path / "state.db"), random.Random(5), NOW
    rules = compile_desired(load_text(CONFIG))
    states = set[str]()
    for number in range(39):
        now += timedelta(seconds=rng.choice([1, 30, 2400]))
        changed = [changed_alert(rng, now, store) for _ in range(3)]
        if number % 8 == 7:
            over = {"state": AlertState.RESOLVED, "updated": now}
            changed = [replace(alert, **over) for alert in store.alerts().values()]
        told = Arrival({alert.fingerprint: alert for alert in changed}, changed)
        settle(rules, None, store, now, arrival=told)
        settle(rules, None, store, now)
        if number % 7 == 0:
            store.set_meta("other", number)
        fresh = StateStore.open(tmp_path / "state.db")
        assert store.alerts() == fresh.alerts()
        for live_only in (True, False):
            assert store.incidents(live_only=live_only) == fresh.incidents(live_only=live_only)
        fresh.close()
        if number % 10 == 0:
            with suppress(StoreError), store.transaction() as tx:
                tx.put_alert(changed[0])
                raise StoreError("it is taken back")
        states |= {incident.state for incident in store.list_incidents(100)}
    assert states == {"resolved", "closed", "triggered"}
    store.close()


def test_who_reads_while_another_commits_waits_for_what_is_remembered(tmp_path: Path) -> None:
    store, committed = StateStore.open(tmp_path / "state.db"), Event()
    with store.transaction() as tx:
        tx.put_alerts([alert(f"a{n}", "slow") for n in range(20)])
    known, keep = store.alerts(), store._keep
    reads = Mock(side_effect=store._read_alerts)

    def keep_late(*told: Any) -> None:
        committed.set()
        time.sleep(0.05)
        keep(*told)

    with patch.multiple(store, _keep=keep_late, _read_alerts=reads), ThreadPoolExecutor() as pool:
        writing = pool.submit(store.set_meta, "other", 1)
        committed.wait(10)
        assert store.alerts() == known
        writing.result()
    assert reads.call_count == 0
    store.close()
