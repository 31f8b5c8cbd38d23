"""Alerts of other monitors: kept first, then decided like every other alert."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from outside_build import NOW, Bench, empty

from tocsin.domain.clock import iso
from tocsin.domain.errors import IntakeError
from tocsin.domain.findings import IncidentState
from tocsin.engine import outside, waiting
from tocsin.engine.outside import Outside
from tocsin.engine.tick import Arrival
from tocsin.engine.why import why
from tocsin.store import inbox
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


def group(*alerts: dict[str, Any]) -> dict[str, Any]:
    """A webhook of Alertmanager, version 4."""
    return {
        "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "tocsin",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093", "truncatedAlerts": 0, "alerts": list(alerts),
    }  # fmt: skip


def alert(name: str = "HighErrorRate", status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "service": "chat", "severity": "critical", **labels},
        "annotations": {"summary": "one call in four fails", "runbook_url": "https://x.test/r"},
        "startsAt": iso(NOW - timedelta(minutes=3)),
        "endsAt": iso(NOW) if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "c0ffee",
    }


def test_an_alert_is_decided_at_once_with_what_is_known_of_its_service(bench: Bench) -> None:
    assert bench.tell("alertmanager", group(alert())) == 1
    (found,) = bench.incidents()
    assert (found.state, found.tier, found.receivers) == (IncidentState.TRIGGERED, 1, ("pager",))
    assert found.labels["signal"] == "high_error_rate"
    assert found.labels["team"] == "cx"  # of the Service document
    assert found.labels["source"] == "alertmanager"
    assert found.reason == "one call in four fails"
    assert bench.woken == 1


def test_ticks_leave_it_alone_and_its_sender_ends_it(bench: Bench) -> None:
    bench.tell("alertmanager", group(alert()))
    for _ in range(20):
        bench.later(minutes=1)
        bench.house.catch_up(bench.clock.now())
    assert bench.incidents()[0].state is IncidentState.TRIGGERED
    ended = {**alert(status="resolved"), "endsAt": iso(bench.clock.now())}
    assert bench.tell("alertmanager", group(ended)) == 1
    assert bench.incidents()[0].state is IncidentState.RESOLVED
    assert not bench.state.alerts()


def test_telling_twice_changes_nothing_and_order_does_not_matter(bench: Bench) -> None:
    bench.tell("alertmanager", group(alert(), alert(region="eu")))
    before = bench.incidents()
    bench.tell("alertmanager", group(alert(region="eu"), alert()))
    assert [one.id for one in bench.incidents()] == [one.id for one in before]
    assert len(bench.state.alerts()) == 2
    assert bench.tell("alertmanager", group(alert("Other", status="resolved"))) == 0
    late = {**alert(status="resolved"), "endsAt": iso(NOW - timedelta(hours=1))}
    assert bench.tell("alertmanager", group(late)) == 0


def test_what_is_told_to_fire_fires_although_a_clock_runs_ahead(bench: Bench) -> None:
    early = {**alert(), "endsAt": iso(NOW - timedelta(minutes=1))}
    assert bench.tell("alertmanager", group(early)) == 1
    assert bench.incidents()[0].state is IncidentState.TRIGGERED
    bench.outside.work()
    assert bench.incidents()[0].state is IncidentState.TRIGGERED


def test_what_prometheus_pushes_holds_until_it_is_not_told_again(bench: Bench) -> None:
    until = NOW + timedelta(minutes=4)
    pushed = [{"labels": alert()["labels"], "startsAt": iso(NOW), "endsAt": iso(until)}]
    assert bench.tell("prometheus", pushed) == 1
    bench.later(minutes=3)
    assert bench.outside.work() == 0
    pushed[0]["endsAt"] = iso(until + timedelta(minutes=4))
    bench.tell("prometheus", pushed)
    bench.later(minutes=3)
    assert bench.outside.work() == 0
    bench.later(minutes=3)
    assert bench.outside.work() == 1
    assert bench.incidents()[0].state is IncidentState.RESOLVED


def test_an_end_that_could_not_be_stored_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = NOW + timedelta(minutes=4)
    pushed = [{"labels": alert()["labels"], "startsAt": iso(NOW), "endsAt": iso(until)}]
    bench.tell("prometheus", pushed)
    bench.outside.work()
    bench.later(minutes=5)

    def fails(*_: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(bench.house, "reconsider", fails)
        with pytest.raises(OSError, match="full"):
            bench.outside.work()
    bench.later(minutes=1)
    assert bench.outside.work() == 1
    assert bench.incidents()[0].state is IncidentState.RESOLVED
    bench.later(minutes=1)
    assert bench.outside.work() == 0


def test_an_alert_does_not_end_because_we_were_away(bench: Bench) -> None:
    until = NOW + timedelta(minutes=4)
    pushed = [{"labels": alert()["labels"], "startsAt": iso(NOW), "endsAt": iso(until)}]
    bench.tell("prometheus", pushed)
    bench.later(minutes=30)
    again = Outside(bench.house)  # as after a restart
    assert again.work() == 0
    bench.later(minutes=3)
    assert again.work() == 0
    assert bench.incidents()[0].state is IncidentState.TRIGGERED
    bench.later(minutes=2)
    assert again.work() == 1


def test_what_cannot_be_read_is_kept_with_its_reason_and_holds_up_nothing(bench: Bench) -> None:
    bench.outside.accept("alertmanager", b"{not json")
    bench.outside.accept("alertmanager", b'{"alerts": [{"labels": {}}]}')
    bench.outside.accept("generic", b'{"name": "x", "colour": "red"}')
    assert bench.tell("generic", {"name": "Queue is long", "service": "chat", "value": 3}) == 1
    reasons = [letter.reason for letter in bench.outside.refused()]
    assert len(reasons) == 3
    assert "colour is no field of an alert" in reasons[0]
    assert "labels is empty" in reasons[1]
    with pytest.raises(IntakeError, match="no source of alerts 'carrier-pigeon'"):
        bench.outside.accept("carrier-pigeon", b"{}")


def test_one_alert_that_cannot_be_read_takes_none_of_its_group_with_it(bench: Bench) -> None:
    broken = {**alert("Broken"), "startsAt": "yesterday"}
    assert bench.tell("alertmanager", group(alert(), broken, alert(region="eu"))) == 2
    assert len(bench.state.alerts()) == 2
    (letter,) = bench.outside.refused()
    assert letter.reason == "alerts[1].startsAt must be an RFC 3339 time, not 'yesterday'"


@pytest.mark.parametrize(
    "text", ["\x00", "\ud800", "x" * 100_000, "9999-12-31T23:59:59-14:00", "٣"]
)
def test_nothing_that_a_request_holds_keeps_later_ones_from_being_read(
    bench: Bench, text: str
) -> None:
    odd = {**alert("Odd", region=text), "startsAt": text, "annotations": {"summary": text}}
    for body in (group(odd), [odd], {"name": text or "x", "starts": text, "labels": {"a": text}}):
        for source in ("alertmanager", "prometheus", "grafana", "datadog", "generic"):
            bench.outside.accept(source, json.dumps(body).encode())
    bench.outside.accept("generic", b"[" * 100_000)
    assert bench.tell("generic", {"name": "Down", "service": "chat", "severity": "page"}) >= 1
    assert "Down" in {one.labels["monitor"] for one in bench.state.alerts().values()}
    with bench.state.reading() as tx:
        assert not inbox.unread(tx)


def test_what_was_accepted_before_a_crash_is_read_after_it(bench: Bench) -> None:
    bench.outside.accept("generic", b'{"name": "Down", "service": "chat", "severity": "page"}')
    again = Outside(bench.house)
    assert again.work() == 1
    assert bench.incidents()[0].tier == 1


def test_datadog_and_grafana(bench: Bench) -> None:
    told = {
        "id": "42", "title": "[Triggered] p95 of chat", "transition": "Triggered", "priority": "P1",
        "scope": "service:chat,region:eu", "tags": "team:cx,env:prod", "message": "slow",
        "link": "https://app.datadoghq.example/monitors/42", "metric": "p95", "cycle": "1",
    }  # fmt: skip
    assert bench.tell("datadog", told) == 1
    assert bench.incidents()[0].tier == 1
    assert bench.tell("datadog", {**told, "transition": "Recovered"}) == 1
    assert bench.incidents()[0].state is IncidentState.RESOLVED
    with_value = {**alert("Slow"), "values": {"A": 4.5}, "panelURL": "https://grafana.example/d/1"}
    bench.tell("grafana", {**group(with_value), "orgId": 1, "title": "t", "state": "alerting"})
    (held,) = bench.state.alerts().values()
    assert held.value == 4.5
    assert held.evidence["link"] == "https://grafana.example/d/1"


def test_the_ledger_tells_who_raised_and_who_ended_it(bench: Bench) -> None:
    bench.tell("alertmanager", group(alert()))
    bench.tell("alertmanager", group(alert(status="resolved")))
    entries = [e for e in bench.state.ledger_entries() if e.kind == "alert.received"]
    assert [e.data["state"] for e in entries] == ["firing", "resolved"]
    assert {e.actor for e in entries} == {"source:alertmanager"}


def test_of_many_that_came_together_each_is_explained(bench: Bench) -> None:
    bench.house.record_configuration(bench.house.desired, "ana", "first")
    bench.tell("alertmanager", group(*(alert("High", pod=str(n)) for n in range(8))))
    (incident,) = bench.incidents()
    assert len(incident.alerts) == 8
    kinds = [entry.kind for entry in bench.state.ledger_entries()]
    assert kinds.count("alert.received") == kinds.count("alert.routed") == 1
    for key in incident.alerts:
        told = why(bench.state, key)
        assert (told.incident, told.answer, told.chain) == (incident.id, "same", "")
        (seen,) = [each for each in told.alerts if each.fingerprint == key]
        assert seen.verdict is not None
        assert seen.verdict.labels == bench.state.alerts()[key].labels
    assert bench.state.verify_ledger() is None


def test_a_page_behind_more_than_is_held_goes_first_and_old_news_of_it_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "MOST_WAITING", 3)
    monkeypatch.setattr(waiting, "AT_ONCE", 1)
    decided: list[list[str]] = []
    reconsider = bench.house.reconsider

    def watched(arrival: Arrival) -> Any:
        decided.append([each.labels["monitor"] for each in arrival.changed])
        return reconsider(arrival)

    monkeypatch.setattr(bench.house, "reconsider", watched)
    for number in range(6):
        told = group(alert(f"Low{number}", severity="info"))
        bench.outside.accept("alertmanager", json.dumps(told).encode())
    for status in ("resolved", "firing"):
        told = group(alert("High", status))
        bench.outside.accept("alertmanager", json.dumps(told).encode())
    bench.outside.work()
    assert decided[0] == ["High"]
    assert sorted(name for names in decided[1:] for name in names) == [f"Low{n}" for n in range(6)]
    (page,) = [each for each in bench.incidents() if each.tier == 1]
    assert page.state is IncidentState.TRIGGERED
    assert bench.outside.work() == 0


def test_after_a_restart_old_news_of_a_page_that_went_first_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "MOST_WAITING", 1)
    monkeypatch.setattr(inbox, "_AT_ONCE", 1)
    for told in (
        group(alert("Low", severity="info")),
        group(alert("High", "resolved")),
        group(alert("High")),
    ):
        bench.outside.accept("alertmanager", json.dumps(told).encode())

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.house, "reconsider", dies)
    with pytest.raises(KeyboardInterrupt):
        bench.outside.work()
    monkeypatch.undo()
    Outside(bench.house).work()
    firing = {each.labels["monitor"] for each in bench.state.alerts().values()}
    assert firing == {"High", "Low"}


def test_an_alert_is_no_old_news_after_all_requests_before_it_were_forgotten(bench: Bench) -> None:
    bench.tell("alertmanager", group(alert("Other")))
    bench.tell("alertmanager", group(alert()))
    bench.tell("alertmanager", group(alert(status="resolved")))
    bench.later(days=8)
    with bench.state.transaction() as tx:
        inbox.tidy(tx, bench.clock.now())
    assert bench.tell("alertmanager", group(alert())) == 1
    assert "HighErrorRate" in {one.labels["monitor"] for one in bench.state.alerts().values()}
