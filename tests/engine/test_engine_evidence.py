"""Evidence beside a page: what it costs when it cannot be had."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from outside_build import CONFIG, NOW, Bench, empty

from tocsin.delivery.message import facts_of, render
from tocsin.domain.clock import iso
from tocsin.domain.dependencies import DependencyState, DependencyStatus
from tocsin.domain.errors import SpecError
from tocsin.domain.findings import MISSING, Incident, NewEffect
from tocsin.engine import evidence
from tocsin.engine.gathering import MOST_WAITING, Gatherer, Part
from tocsin.spec.desired import load_text
from tocsin.store.clickhouse import EngineError
from tocsin.store.dependencies import put
from tocsin.store.telemetry import Telemetry

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telemetry]:
    made = empty(tmp_path_factory.mktemp("telemetry"))
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path: Path, telemetry: Telemetry) -> Iterator[Bench]:
    made = Bench(tmp_path, telemetry)
    yield made
    made.close()


@pytest.fixture
def back(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """Queries for the slice do not return until this is set; nobody waits longer than 0.2 s."""
    back = Event()
    slow = telemetry.prompt.slices.slow

    def stuck(*args: Any) -> float | None:
        back.wait(60)
        return slow(*args)

    monkeypatch.setattr(telemetry.prompt.slices, "slow", stuck)
    monkeypatch.setattr(evidence, "PART_S", 0.2)
    yield back
    back.set()


def told(bench: Bench, name: str) -> Incident:
    """A page that Alertmanager raises, as it is when that has been read."""
    labels = {"alertname": name, "service": "chat", "severity": "critical", "signal": "latency"}
    one = {"status": "firing", "labels": {**labels, "env": name}, "startsAt": iso(NOW),
           "generatorURL": "https://x.test/g", "annotations": {
               "runbook_url": "https://x.test/r", "summary": "slow", "description": "Since Monday."
           }}  # fmt: skip
    began = time.monotonic()
    assert bench.tell("alertmanager", {"version": "4", "groupKey": name, "alerts": [one]}) == 1
    assert time.monotonic() - began < 30  # the query takes twice that
    return next(one for one in bench.incidents() if one.labels["env"] == name)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_query_that_does_not_return_holds_no_page_and_is_named(bench: Bench, back: Event) -> None:
    first = told(bench, "one")
    assert first.receivers == ("pager",)
    assert "slice, component, provider, dependencies (" in facts_of(first)[MISSING]
    assert facts_of(first)["runbook"] == "https://x.test/r"  # its own, before the service's none
    # While it lasts nobody waits for evidence, and the heart beats.
    assert facts_of(told(bench, "two"))[MISSING].startswith("changes, slice, ")
    assert bench.house.tick(NOW + timedelta(minutes=1)).incident_changes == ()


def test_what_the_other_monitor_says_is_told_and_the_minute_of_the_change(bench: Bench) -> None:
    found = told(bench, "one")
    account = {"breakdown": {"since": "2026-11-20T11:42:00Z"}}
    found = replace(found, evidence={**found.evidence, **account})
    effect = NewEffect("key", "notify", "pager", found.id, "trigger", NOW, 1, {})
    message = render(found, effect, "http://tocsin", at=NOW)
    assert dict(message.evidence)["Described as"] == "Since Monday."
    assert dict(message.evidence)["Changed at"] == "2026-11-20 11:42 UTC"
    assert {("Runbook", "https://x.test/r"), ("In alertmanager", "https://x.test/g")} <= {
        *message.links
    }


def test_what_was_found_out_late_is_added_and_told_once(bench: Bench, back: Event) -> None:
    first = told(bench, "one")
    back.set()
    (key,) = first.alerts
    until(lambda: bench.house._gatherer.late(key) is not None)
    (change,) = bench.house.tick(NOW + timedelta(minutes=1)).incident_changes
    assert (change.event, str(change.tell)) == ("updated", "update")
    assert not facts_of(change.after)[MISSING]
    assert not bench.state.alerts()[key].evidence[MISSING]
    assert bench.house.tick(NOW + timedelta(minutes=2)).incident_changes == ()


def test_who_asks_a_thread_that_is_held_waits_for_nothing_and_queues_up_to_a_limit() -> None:
    back, gatherer = Event(), Gatherer()
    parts = [Part("stuck", lambda: {"found": back.wait(60)}, 0.05)]
    far = time.monotonic() + 3600
    assert gatherer.gather("first", parts, far) == ({}, ["stuck"])
    patient = [Part("more", lambda: {"more": 1}, 3600.0)]
    for number in range(MOST_WAITING + 1):
        assert gatherer.gather(f"{number}", patient, far) == ({}, ["more"])
    back.set()
    until(lambda: gatherer.late(f"{MOST_WAITING - 1}") == {"more": 1})
    assert gatherer.late(f"{MOST_WAITING}") is None  # one too many
    assert gatherer.late("first") == {"found": True}
    until(lambda: gatherer.gather("now", patient, far) == ({"more": 1}, []))


STUCK = """
import time
from tocsin.engine.gathering import Gatherer, Part
stuck = Part("stuck", lambda: time.sleep(600) or {}, 0.1)
print(Gatherer().gather("it", [stuck], time.monotonic() + 9))
"""


def test_a_process_ends_although_its_evidence_is_stuck() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "({}, ['stuck'])"


def test_a_read_that_takes_too_long_ends(telemetry: Telemetry) -> None:
    hurried = telemetry.engine.within(1)
    with pytest.raises(EngineError, match="TIMEOUT"):
        hurried.rows("SELECT count() FROM numbers(1e14) WHERE NOT ignore(sipHash64(number))")
    assert hurried.rows("SELECT 1") == [(1,)]


# --- what is gathered, and the steps of a playbook ----------------------------------------------

MORE = """
---
apiVersion: tocsin/v1
kind: Service
metadata: {name: search}
spec:
  {team: cx, provider: openai, dependsOn: [qdrant], runbook: "https://x.test/s", firstSteps: [Look]}
---
apiVersion: tocsin/v1
kind: Playbook
metadata: {name: shift}
spec:
  link: https://x.test/shift
  steps:
    - {check: provider_green, on_fail: {notify: [board], stop: true}}
    - {act: traffic.shift, with: {pct: 50, to: fallback}, approval: human, undo: traffic.restore}
    - {notify: [board]}
    - {confirm: user/ana, within: 30m, else: undo}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: added}
spec:
  enrich:
    - {name: pages, use: status.statuspage, if: {tier: 1}}
    - {name: book, use: tocsin.runbook}
  routes:
    - {name: slow, if: {signal: latency, tier: 1}, run: shift}
"""


def test_a_page_has_what_enrich_asks_for_and_the_steps_of_its_playbook(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    bench = Bench(tmp_path, telemetry, MORE)
    with bench.state.transaction() as tx:
        for name, by in (("openai", "status page"), ("qdrant", "probe")):
            put(
                tx,
                DependencyStatus(name, name, by, DependencyState.OUTAGE, NOW, NOW, NOW + HOUR),
                "",
            )
    labels = {"alertname": "Slow", "service": "search", "signal": "latency"}
    for severity in ("critical", "warning"):
        one = {"status": "firing", "startsAt": iso(NOW),
               "labels": {**labels, "severity": severity, "env": severity}}  # fmt: skip
        bench.tell("alertmanager", {"version": "4", "groupKey": severity, "alerts": [one]})
    page, other = sorted(bench.incidents(), key=lambda one: one.tier)
    effect = NewEffect("key", "notify", "pager", page.id, "trigger", NOW, 1, {})
    message = render(page, effect, "http://tocsin", at=NOW)
    assert dict(message.evidence)["Depends on"] == "openai's status page: outage since 12:00 UTC"
    assert facts_of(page).keys().isdisjoint({"changes", "slice", "breakdown"})
    assert message.first_steps == (
        "Look",
        "shift 1: check provider green; if it does not hold: tell board, stop here"
        " (openai's status page: outage since 12:00 UTC)",
        "shift 2: do traffic.shift (pct: 50, to: fallback); traffic.restore undoes it",
        "shift 3: user/ana confirms that it is over within 30m, else undo",
    )
    assert ("Playbook shift", "https://x.test/shift") in message.links
    assert page.receivers == ("board", "pager")  # whom the playbook names is told with the page
    assert "dependencies" not in facts_of(other)
    assert facts_of(other)["runbook"] == "https://x.test/s"
    bench.close()


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("approval: human", "approval: preapproved", "'human'"),
        ("undo: traffic.restore", "auto_undo_after: 2h", "auto_undo_after"),
        ("{notify: [board]}", "{notify: [board], do: more}", "one of do, check"),
        ("{notify: [board]}", "{do: more, undo: less}", "undo does not belong"),
        ("{notify: [board]}", "{notify: [bord]}", "there is no Receiver 'bord'"),
        ("if: {tier: 1}}", "timeout: 6s}", "at most 5s"),
        ("if: {tier: 1}}", 'with: {a: "https://x.test"}}', "write a Source of type statuspage"),
        ("use: tocsin.runbook", "use: tocsin.runbok", "'tocsin.runbook'"),
    ],
)
def test_what_cannot_work_is_refused(right: str, wrong: str, words: str) -> None:
    assert right in MORE
    with pytest.raises(SpecError, match=re.escape(words)):
        load_text(CONFIG + MORE.replace(right, wrong))
