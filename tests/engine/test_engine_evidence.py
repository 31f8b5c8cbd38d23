"""Evidence beside a page: what it costs when it cannot be had."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from outside_build import NOW, Bench, empty

from tocsin.delivery.message import facts_of
from tocsin.domain.clock import iso
from tocsin.domain.findings import MISSING, Incident
from tocsin.engine import evidence
from tocsin.engine.gathering import MOST_WAITING, Gatherer, Part
from tocsin.store.clickhouse import EngineError
from tocsin.store.telemetry import Telemetry


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
           "annotations": {"runbook_url": "https://x.test/r"}}  # fmt: skip
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
    assert facts_of(first)[MISSING].startswith("slice, component, provider, dependencies (")
    assert facts_of(first)["changes"] == []  # what came before it is there
    assert facts_of(first)["runbook"] == "https://x.test/r"  # its own, before the service's none
    # While it lasts nobody waits for evidence, and the heart beats.
    assert facts_of(told(bench, "two"))[MISSING].startswith("changes, slice, ")
    assert bench.house.tick(NOW + timedelta(minutes=1)).incident_changes == ()


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


def test_a_read_that_takes_too_long_ends(telemetry: Telemetry) -> None:
    hurried = telemetry.engine.within(1)
    with pytest.raises(EngineError, match="TIMEOUT"):
        hurried.rows("SELECT count() FROM numbers(1e14) WHERE NOT ignore(sipHash64(number))")
    assert hurried.rows("SELECT 1") == [(1,)]
