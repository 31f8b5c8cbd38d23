"""Who is told what, when, and what they are not told: from calls in the store to receivers' 2xx."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from world import LATENESS, T0, ZERO, Phase, World, usual, with_phase

from tocsin.domain.clock import from_minute
from tocsin.domain.errors import StoreError
from tocsin.domain.findings import IncidentState
from tocsin.store import ledger_files
from tocsin.store.checkpoints import audit
from tocsin.web.tone import Tone
from tocsin.web.views import Window

Open = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Open]:
    opened: list[World] = []

    def build(phases: list[Phase], *changes: tuple[int, str, str, str]) -> World:
        opened.append(World(tmp_path / "data", phases, changes))
        return opened[-1]

    yield build
    for each in opened:
        each.__exit__()


def outage(start: int, stop: int, until: int = 240, **fields: Any) -> list[Phase]:
    """Two tenants of chat, of which one fails from `start` to `stop`; two quiet services beside."""
    normal = usual("chat", "drafts", "claims", until=until)
    normal += [Phase("chat", -480, until, tenant="beta", per_minute=10)]
    failing = Phase("chat", start, stop, tenant="beta", per_minute=10, failing=0.9, **fields)
    return [
        p if p.tenant != "beta" else Phase("chat", -480, start, tenant="beta", per_minute=10)
        for p in normal
    ] + [failing, Phase("chat", stop, until, tenant="beta", per_minute=10)]


# --- one outage, from the first page to the end -----------------------------------------------


@pytest.fixture(scope="class")
def unattended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    changes = [(5, "chat", "deploy", "chat 4.2"), (7, "drafts", "deploy", "not it")]
    path = tmp_path_factory.mktemp("outage")
    with World(path, outage(10, 60, until=130), changes) as made:
        made.play(120)
        yield made


class TestAnOutageNobodyLooksAt:
    """Fifty minutes in which most calls of one tenant fail, and an hour after it."""

    def test_it_is_one_page_with_the_evidence(self, unattended: World) -> None:
        page, *_ = unattended.pages()
        assert page.receiver == "pagerduty"
        assert 11 <= page.minute <= 14, "a page within minutes of the start"
        event = page.body
        details = event["payload"]["custom_details"]
        assert event["payload"]["severity"] == "critical"
        assert details["Mostly"].startswith("tenant beta: ")
        assert "openai" in details["Provider or us"]
        assert "fail on it" not in details["Provider or us"], "drafts are well on it"
        assert details["just before"] == [f"09:05 deploy: chat 4.2 ({page.minute - 5} min before)"]
        assert details["first steps"] == [
            "Look at the provider's status page.",
            "Roll the last release back.",
        ]
        assert details["for"] == ["ana"]
        assert {"slack", "audit"} <= set(details["also told"])

    def test_its_numbers_are_those_of_the_calls(self, unattended: World) -> None:
        page = unattended.pages()[0]
        what = page.body["payload"]["custom_details"]["what"]
        found = re.fullmatch(
            r"(\d+) of (\d+) calls failed in (\d+) min \((\d+) %\), usual ([\d.]+) %", what
        )
        assert found, what
        bad, total, width, share = (int(found[n]) for n in (1, 2, 3, 4))
        calls = unattended.calls
        minute = (calls["ts"] + calls["duration_us"].astype("int64")) // 60_000_000 - ZERO
        chat, failed = calls["service"] == "chat", calls["error_class"] != ""
        mine = chat & (minute >= page.minute - width) & (minute < page.minute)
        assert (bad, total) == (int((mine & failed).sum()), int(mine.sum()))
        assert share == round(100 * bad / total)
        before = chat & (minute < 0)
        usual_share = 100 * (before & failed).sum() / before.sum()
        assert float(found[5]) == pytest.approx(usual_share, rel=0.2)

    def test_its_link_leads_to_a_page_that_says_the_same(self, unattended: World) -> None:
        links = unattended.pages()[0].body["links"]
        link = next(link["href"] for link in links if link["text"] == "Incident")
        path = link.removeprefix("http://localhost:4318")
        shown = unattended.web.get(path, headers={"accept": "text/html"})
        assert shown.status_code == 200
        for text in ("tenant beta", "chat 4.2", "Roll the last release back."):
            assert text in shown.text, text

    def test_slack_and_the_webhook_are_told_at_the_same_minute(self, unattended: World) -> None:
        first = unattended.pages()[0].at
        told = {t.receiver for t in unattended.told if t.at == first}
        assert told == {"pagerduty", "slack", "audit"}
        assert unattended.of("audit")[0].action == "tocsin.incident.trigger"
        assert not unattended.of("finance")

    def test_the_second_is_paged_once_after_15_minutes(self, unattended: World) -> None:
        about = unattended.incident("chat").id
        first, second, *rest = [p for p in unattended.pages() if p.body["dedup_key"] == about]
        assert (first.receiver, second.receiver) == ("pagerduty", "secondary")
        assert second.at - first.at == timedelta(minutes=15)
        assert second.body["payload"]["custom_details"]["for"] == ["manager"]
        assert [p.action for p in rest] == ["resolve", "resolve"]
        assert {p.receiver for p in rest} == {"pagerduty", "secondary"}
        assert all(p.minute >= 61 for p in rest)

    def test_the_slo_it_breaches_meanwhile_is_not_told_and_the_audit_says_so(
        self, unattended: World
    ) -> None:
        burning = unattended.incident("chat", "slo_breach")
        assert not [t for t in unattended.told if burning.id in t.text and t.minute < 61]
        entries = [
            entry for key in burning.alerts for entry in unattended.state.entries_about(key)
            if entry.kind == "alert.suppressed"
        ]  # fmt: skip
        assert entries
        why = entries[0].data["suppressed_by"]
        assert why == "inhibition:failures explain burnt budgets"

    def test_the_budget_it_burnt_pages_nobody_when_it_is_over(self, unattended: World) -> None:
        """The window of six hours still burns when all is well again."""
        assert unattended.incident("chat").resolved is not None
        assert len({p.body["dedup_key"] for p in unattended.pages()}) == 1


@pytest.fixture(scope="class")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    phases = usual("chat", "drafts", "claims", until=120, per_minute=15)
    phases += [
        Phase("drafts", 10, 30, failing=0.7),
        Phase("chat", 10, 40, per_minute=15, cost=0.02),
        Phase("claims", 20, 80, tenant="gamma", per_minute=60, input=6000, output=900),
    ]
    with World(tmp_path_factory.mktemp("quiet"), phases) as made:
        made.play(110)
        yield made


class TestFindingsThatWakeNobody:
    """Failing drafts are a ticket, expensive calls are for finance, a batch job is nothing."""

    def test_no_pager_hears_of_any_of_them(self, harmless: World) -> None:
        assert not harmless.pages()

    def test_a_ticket_goes_to_the_channel_after_the_wait_for_company(self, harmless: World) -> None:
        incident = harmless.incident("drafts")
        about = [t for t in harmless.told if incident.id in t.text]
        assert {t.receiver for t in about} == {"slack", "audit"}
        assert about[0].at >= incident.opened + timedelta(seconds=20)

    def test_expensive_calls_are_for_finance(self, harmless: World) -> None:
        incident = harmless.incident("chat", "cost")
        about = [t for t in harmless.told if incident.id in t.text]
        assert {t.receiver for t in about} == {"finance", "audit"}

    def test_a_batch_job_with_long_prompts_is_no_incident(self, harmless: World) -> None:
        assert not [i for i in harmless.incidents() if i.labels["service"] == "claims"]


def test_a_regulated_service_waits_for_a_person(world: Open) -> None:
    phases = usual("chat", "claims", until=90)
    w = world([*phases, Phase("claims", 10, 25, failing=0.9)])
    w.play(60)
    incident = w.incident("claims")
    assert incident.state is IncidentState.RECOVERED
    assert not w.of("pagerduty", "resolve")
    assert set(w.sinks.alerts.values()) == {"triggered"}
    answer = w.form(f"/incidents/{incident.id}/resolve", name="Bo", reason="checked")
    assert answer.status_code == 303
    w.play(62)
    assert w.incident("claims").state is IncidentState.RESOLVED
    assert len(w.of("pagerduty", "resolve")) == 1


def test_a_failing_provider_is_one_page_with_its_services_folded_under_it(world: Open) -> None:
    phases = usual("chat", "drafts", "claims", until=90)
    for name in ("drafts", "chat"):
        start = 10 if name == "drafts" else 12
        phases = with_phase(phases, Phase(name, start, 40, failing=0.8, error="overloaded"))
    w = world(phases)
    w.play(24)  # nobody is called a second time yet
    about = [p.body["payload"]["source"] for p in w.pages()]
    assert about.count("openai") == 1
    assert "chat" not in about, "it is told with the provider, and not once more"
    (page,) = (p for p in w.pages() if p.body["payload"]["source"] == "openai")
    assert page.minute <= 16, "as early as chat would have been told"
    details = page.body["payload"]["custom_details"]
    assert details["Provider or us"].startswith("2 of 2 services on openai fail, 0 of 1 others"), (
        details
    )
    assert "chat error rate since 09:1" in details["Explains"]
    assert details["for"] == ["ana"]
    assert w.incident("chat").suppressed_by == "inhibition:dependency/openai/prod"
    shown = w.web.get(
        f"/incidents/{w.incident('openai', 'dependency_failure').id}",
        headers={"accept": "text/html"},
    )
    assert "Folded under this incident" in shown.text
    w.play(85)
    assert w.incident("openai", "dependency_failure").state is IncidentState.RESOLVED
    assert {p.body["payload"]["source"] for p in w.of("pagerduty", "trigger")} == set(about)
    assert set(w.sinks.alerts.values()) == {"resolved"}


@pytest.mark.parametrize("way", ["form", "api"])
def test_acknowledged_in_the_web_nobody_else_is_paged(world: Open, way: str) -> None:
    w = world(outage(10, 60))
    w.play(20)
    incident = w.incident("chat")
    address = f"/incidents/{incident.id}/acknowledge"
    if way == "form":
        assert w.form(address, name="Ana").status_code == 303
    else:
        answer = w.web.post(f"/api/v1{address}", json={"actor": "Ana"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "acknowledged"
    w.deliver()
    w.play(50)
    assert [p.action for p in w.pages()] == ["trigger", "acknowledge"]
    assert w.pages()[1].minute == 20, "PagerDuty hears of it at once"
    assert not w.of("secondary")
    by = {"form": "web:Ana", "api": "api:Ana"}[way]
    assert w.incident("chat").acknowledged_by == by
    assert w.sinks.alerts[next(iter(w.sinks.alerts))] == "acknowledged"


def test_a_form_without_its_token_or_from_another_site_acknowledges_nothing(world: Open) -> None:
    w = world(outage(10, 60))
    w.play(20)
    address = f"/incidents/{w.incident('chat').id}/acknowledge"
    assert w.web.post(address, data={"name": "Eve"}).status_code == 403
    crossed = w.web.post(f"/api/v1{address}", json={"actor": "Eve"},
                         headers={"origin": "https://evil.example"})  # fmt: skip
    assert crossed.status_code == 403
    assert w.incident("chat").state is IncidentState.TRIGGERED
    w.play(32)
    assert len(w.of("secondary")) == 1


def test_the_end_is_told_once_to_everyone_who_was_told(world: Open) -> None:
    w = world(outage(10, 30, until=120))
    w.play(20)
    w.web.post(f"/api/v1/incidents/{w.incident('chat').id}/acknowledge", json={"actor": "Ana"})
    w.play(110)
    incident = w.incident("chat")
    assert incident.state in (IncidentState.RESOLVED, IncidentState.CLOSED)
    assert 31 <= (incident.resolved - T0).total_seconds() / 60 <= 50
    assert [p.action for p in w.pages()] == ["trigger", "acknowledge", "resolve"]
    about = [t for t in w.told if incident.id in t.text]
    actions = [t.action.rpartition(".")[2] for t in about if t.receiver == "audit"]
    assert actions == ["trigger", "acknowledge", "resolve"]
    assert sum("Resolved" in t.text and "thread_ts" in t.text for t in about) == 1
    assert set(w.sinks.alerts.values()) == {"resolved"}
    assert w.state.verify_ledger() is None
    # And all of it can be told again from the ledger, and checked from its export.
    for each in w.incidents():
        told = w.web.get("/api/v1/why", params={"subject": each.id}).json()
        assert (told["answer"], told["chain"]) == ("same", ""), told
    assert (
        "Derived again from the ledger: the same."
        in w.web.get(f"/incidents/{incident.id}/why", headers={"accept": "text/html"}).text
    )
    exported = ledger_files.read(w.web.get("/api/v1/ledger/export").text.splitlines(), "export")
    found = audit(exported.entries, exported.checkpoints, head=exported.head)
    assert (found.broken, found.head) == (None, w.state.ledger_head())


def test_a_person_resolves_and_is_not_paged_again_for_the_same_outage(world: Open) -> None:
    w = world(outage(10, 40))
    w.play(20)
    address = f"/incidents/{w.incident('chat').id}/resolve"
    assert w.form(address, name="Ana", reason="switched the provider").status_code == 303
    w.play(50)
    assert [p.action for p in w.pages()] == ["trigger", "resolve"]


def test_back_within_the_cooldown_is_the_same_incident_paged_again(world: Open) -> None:
    phases = outage(10, 20, until=120)
    w = world([*phases, Phase("chat", 45, 60, per_minute=20, failing=0.9)])
    w.play(100)
    assert [p.action for p in w.of("pagerduty")] == ["trigger", "resolve", "trigger", "resolve"]
    assert len({p.body["dedup_key"] for p in w.pages()}) == 1
    chat = [i for i in w.incidents() if i.labels["signal"] == "error_rate"]
    assert [i.episode for i in chat] == [1]


def test_back_after_the_cooldown_is_a_new_incident(world: Open) -> None:
    phases = outage(10, 20, until=140)
    w = world([*phases, Phase("chat", 80, 95, per_minute=20, failing=0.9)])
    w.play(130)
    assert [p.action for p in w.of("pagerduty")] == ["trigger", "resolve", "trigger", "resolve"]
    assert len({p.body["dedup_key"] for p in w.pages()}) == 2


# --- who is not paged -------------------------------------------------------------------------


def test_what_can_wait_is_one_mail_at_the_time_of_its_digest(world: Open) -> None:
    phases = [*usual("chat", until=30, per_minute=2), *usual("trial", until=200, per_minute=6)]
    w = world([*phases, Phase("trial", 10, 30, failing=0.9), Phase("trial", 90, 110, failing=0.9)])
    w.play(190)
    assert {t.receiver for t in w.told} == {"mail"}
    (mail,) = w.told
    assert mail.minute == 180, "at noon"
    assert mail.text.count("trial: error rate") == 2, mail.text


def test_an_ordinary_day_tells_nobody_anything(world: Open) -> None:
    w = world(usual("chat", "drafts", "claims", "trial", until=300, per_minute=8))
    w.play(300)
    assert not w.told
    assert not w.incidents()


# --- silence ----------------------------------------------------------------------------------


def test_total_silence_is_unknown_and_neither_green_nor_a_page(world: Open) -> None:
    w = world(usual("chat", "drafts", "claims", until=10))
    w.play(5)
    before = w.desk.fleet(Window.HOUR)
    assert {c.name: c.tone for c in before.cards}["chat"] is Tone.OK
    w.play(50)
    fleet = w.desk.fleet(Window.HOUR)
    assert {card.name: card.tone for card in fleet.cards} == dict.fromkeys(
        ("chat", "drafts", "claims", "trial"), Tone.UNKNOWN
    )
    assert fleet.slos_met == 0
    assert all(view.reason for view in w.desk.objectives())
    assert not w.pages()


def test_an_outage_that_falls_silent_is_not_over(world: Open) -> None:
    """A service that stops sending while it fails has not recovered."""
    w = world([p for p in outage(10, 30, until=30) if p.service == "chat"])
    w.play(80)
    incident = w.incident("chat")
    assert incident.state.is_live
    assert "resolve" not in [p.action for p in w.pages()]
    card = {c.name: c for c in w.desk.fleet(Window.HOUR).cards}["chat"]
    assert card.tone is Tone.BAD


# --- faults -----------------------------------------------------------------------------------


def keys(w: World) -> list[tuple[str, str, str]]:
    about = w.incident("chat").id
    return [
        (p.receiver, p.action, p.body["dedup_key"])
        for p in w.pages()
        if p.body["dedup_key"] == about
    ]


def test_restarts_lose_no_page_and_send_none_twice(world: Open, tmp_path: Path) -> None:
    w = world(outage(10, 60, until=120))
    for minute in (11, 12, 13, 27, 28, 64):
        w.play(minute)
        w.restart()
    w.play(100)
    interrupted = keys(w)
    assert [k[:2] for k in interrupted] == [
        ("pagerduty", "trigger"), ("secondary", "trigger"), ("pagerduty", "resolve"),
        ("secondary", "resolve"),
    ]  # fmt: skip
    assert w.incident("chat").resolved is not None
    assert w.state.verify_ledger() is None


def test_a_page_decided_before_a_crash_is_sent_after_it(world: Open) -> None:
    w = world(outage(10, 60))
    w.play(14, deliver=False)
    assert not w.told
    assert w.incident("chat").state is IncidentState.TRIGGERED
    w.restart()
    w.deliver()
    assert [k[:2] for k in keys(w)] == [("pagerduty", "trigger")]


def test_a_server_that_was_away_judges_what_it_missed(world: Open) -> None:
    w = world(outage(10, 25, until=120))
    w.play(5)
    w.stop()
    w.clock.set(T0 + timedelta(minutes=40))
    w.start()
    w.play(42)
    incident = w.incident("chat")
    assert 10 <= (incident.opened - T0).total_seconds() / 60 <= 14
    assert incident.state is IncidentState.RESOLVED


def test_a_tick_that_fails_is_tried_again_for_the_same_minute(world: Open) -> None:
    w = world(outage(10, 40))
    w.play(11)
    w.source.failures = [StoreError("the disk is slow"), StoreError("the disk is slow")]
    w.play(13)
    assert w.house.pulse.failures == 2
    w.play(16)
    assert [k[:2] for k in keys(w)] == [("pagerduty", "trigger")]
    assert w.house.standing.minute == ZERO + 15


def test_a_state_store_that_is_locked_loses_no_decision(world: Open) -> None:
    w = world(outage(10, 40))
    w.play(10)
    tick = w.house.tick
    seen: list[int] = []

    def failing(now: Any) -> Any:
        if len(seen) < 3 and now >= T0 + timedelta(minutes=12):
            seen.append(1)
            with w.state.transaction():
                raise sqlite3.OperationalError("database is locked")
        return tick(now)

    w.house.tick = failing  # type: ignore[method-assign]
    w.play(20)
    assert len(seen) == 3
    assert w.house.pulse.failures == 3
    assert [k[:2] for k in keys(w)] == [("pagerduty", "trigger")]


def test_a_commit_that_fails_is_decided_again_at_the_next_beat(world: Open) -> None:
    """The counts of the minute were read already; its decision must still be taken."""
    w = world(outage(10, 40))
    w.play(10)
    put = w.state.transaction
    broken = [True] * 3

    def transaction() -> Any:
        if broken and w.clock.now() >= T0 + timedelta(minutes=12):
            broken.pop()
            raise StoreError("the state database cannot be written")
        return put()

    w.state.transaction = transaction  # type: ignore[method-assign]
    w.play(20)
    assert not broken
    assert [k[:2] for k in keys(w)] == [("pagerduty", "trigger")]
    judged = [e.at_us for e in w.state.ledger_entries() if e.kind == "incident.opened"]
    assert judged


def test_a_person_and_a_tick_at_the_same_time_both_count(world: Open) -> None:
    """The tick computed its changes from the incident as it was before the acknowledgement."""
    w = world(outage(10, 25, until=90))
    w.play(16)
    incident = w.incident("chat")
    incidents = w.state.incidents
    raced: list[str] = []

    def read_then_race(*, live_only: bool = True) -> Any:
        found = incidents(live_only=live_only)
        if not raced and not live_only and w.clock.now() >= T0 + timedelta(minutes=30):
            raced.append("x")
            w.house.acknowledge(incident.id, "ana")
        return found

    w.state.incidents = read_then_race  # type: ignore[method-assign]
    w.play(80)
    assert raced
    assert [e.kind for e in w.state.entries_about(incident.id)].count("incident.acknowledged") == 1
    assert [p.action for p in w.of("pagerduty")][-1] == "resolve"
    assert w.incident("chat").resolved is not None
    assert w.state.verify_ledger() is None


def test_many_people_acknowledge_at_once_while_the_clock_ticks(world: Open) -> None:
    w = world(outage(10, 60))
    w.play(16)
    address = f"/api/v1/incidents/{w.incident('chat').id}/acknowledge"
    answers: list[int] = []

    def press(name: str) -> None:
        answers.append(w.web.post(address, json={"actor": name}).status_code)

    people = [threading.Thread(target=press, args=(f"p{n}",)) for n in range(6)]
    for person in people:
        person.start()
    now = from_minute(ZERO + 17) + LATENESS
    w.clock.set(max(w.clock.now(), now))
    w.scheduler.beat()
    for person in people:
        person.join()
    assert set(answers) <= {200, 409}
    assert 200 in answers
    w.play(50)
    assert not w.of("secondary")
    assert w.incident("chat").state is IncidentState.ACKNOWLEDGED
    assert w.state.verify_ledger() is None


# --- what must not keep a page from going out -------------------------------------------------


def test_a_defect_in_the_evidence_does_not_stop_the_page(world: Open) -> None:
    w = world(outage(10, 40))
    w.play(9)

    def broken(*_: Any) -> Any:
        raise KeyError("dimension")

    w.telemetry.slices.joint = broken  # type: ignore[method-assign]
    w.play(20)
    assert w.house.pulse.failures == 0
    assert [k[:2] for k in keys(w)] == [("pagerduty", "trigger")]
    assert "Runbook" in w.pages()[0].text, "the rest of the evidence is there"


class Skewed:
    """The clock of a world, wrong by `skew`."""

    def __init__(self, inner: Any, skew: timedelta) -> None:
        self.inner, self.skew = inner, skew

    def now(self) -> Any:
        return self.inner.now() + self.skew


def test_a_clock_that_was_ahead_and_is_set_back_does_not_silence_the_bell(world: Open) -> None:
    """A minute later than T0 + 5 an outage begins; the clock was two days ahead for one beat."""
    w = world(outage(10, 40))
    w.play(5)
    right = w.house.clock
    w.house.clock = Skewed(right, timedelta(days=2))
    w.scheduler.beat()
    w.house.clock = right
    w.told.clear()
    w.play(20)
    assert w.house.standing.minute == ZERO + 19
    assert w.house.state.get_meta("engine.last_minute") == ZERO + 19
    judged = w.house.standing.verdicts["detector/failures/chat"]
    assert judged.judgement.value == "breach"


def test_a_clock_that_leaps_a_year_ahead_is_followed_within_a_day_of_minutes(world: Open) -> None:
    w = world(outage(10, 40, until=60))
    w.play(5)
    w.clock.advance(timedelta(days=365))
    asked: list[Any] = []

    def noted(now: Any) -> Any:
        asked.append(now)
        raise StoreError("one is enough")

    w.house.tick = noted  # type: ignore[method-assign]
    w.scheduler.beat()
    assert asked
    assert asked[0] >= w.clock.now() - timedelta(days=1)


def test_a_process_that_dies_while_it_catches_up_pages_nobody_twice(world: Open) -> None:
    w = world(outage(10, 25, until=150))
    w.play(5)
    w.stop()
    w.clock.set(T0 + timedelta(minutes=120))
    w.start()
    tick = w.house.tick

    def dies(now: Any) -> Any:
        if now > T0 + timedelta(minutes=24):
            raise KeyboardInterrupt
        return tick(now)

    w.house.tick = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        w.scheduler.beat()
    w.deliver()
    w.restart()
    w.play(125)
    assert [k[:2] for k in keys(w)].count(("pagerduty", "trigger")) == 1
    opened = [e for e in w.state.ledger_entries() if e.kind == "incident.opened"]
    assert len([e for e in opened if e.subject == w.incident("chat").id]) == 1
