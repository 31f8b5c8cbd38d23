"""Somebody answers at PagerDuty, presses a button in Slack, closes a ticket: it counts here."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from world import SIGNING_SECRET, WEBHOOK_SECRET, Phase, World, usual

from tocsin.delivery.answer_links import Link
from tocsin.delivery.answers import Answer
from tocsin.delivery.channels.slack import Slack, SlackConfig
from tocsin.delivery.http import client as http_client
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Delivered, Outcome
from tocsin.domain.errors import StoreError
from tocsin.domain.findings import Incident, IncidentState, NewEffect
from tocsin.engine.answers import answer_links

PHASES = [*usual("chat", until=120), Phase("chat", 5, 120, failing=0.7)]


def signed(body: bytes, secret: str = WEBHOOK_SECRET) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def told(incident_id: str, kind: str = "incident.acknowledged", **changes: Any) -> bytes:
    event = {
        "id": "01CH754SM17TWPE2V2H4VPBRO7",
        "event_type": kind,
        "resource_type": "incident",
        "occurred_at": "2026-11-16T09:20:00.000Z",
        "agent": {"id": "PLH1HKV", "type": "user_reference", "summary": "Ana Acosta"},
        "data": {"id": "PGR0VU2", "type": "incident", "incident_key": incident_id},
    }
    return json.dumps({"event": {**event, **changes}}).encode()


def pagerduty(made: World, body: bytes, signature: str | None = None) -> int:
    headers = {"X-PagerDuty-Signature": signature or signed(body)}
    return int(made.web.post("/callbacks/pagerduty", content=body, headers=headers).status_code)


def press(made: World, action: str, incident_id: str, at: str = "1") -> int:
    payload = {
        "type": "block_actions",
        "user": {"id": "U1", "username": "ana"},
        "response_url": "http://127.0.0.1/sinks/slack/slack/actions/T1/1/x",
        "actions": [{"action_id": f"tocsin_{action}", "value": incident_id, "action_ts": at}],
    }
    body = urlencode({"payload": json.dumps(payload)}).encode()
    stamp = str(int(made.clock.now().timestamp()))
    digest = hmac.new(SIGNING_SECRET.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256)
    headers = {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest.hexdigest()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return int(made.web.post("/callbacks/slack", content=body, headers=headers).status_code)


def incident(made: World, before: Incident) -> Incident:
    found = made.state.incident(before.id)
    assert found is not None
    return found


def test_an_acknowledgement_at_the_pager_stops_the_escalation(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        made.play(12)
        page = made.incident("chat")
        assert page.state is IncidentState.TRIGGERED
        body = told(page.id)
        assert pagerduty(made, body, "v1=" + "0" * 64) == 401
        assert incident(made, page).state is IncidentState.TRIGGERED
        assert pagerduty(made, body) == 200
        now = incident(made, page)
        assert (now.state, now.acknowledged_by) == (
            IncidentState.ACKNOWLEDGED,
            "pagerduty:Ana Acosta",
        )
        made.play(40)
        assert not made.of("secondary"), "nobody else is called"
        assert "Acknowledged" in json.dumps(made.of("slack")[-1].body)


def test_what_is_told_again_or_replayed_counts_once(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        made.play(12)
        page = made.incident("chat")
        body = told(page.id)
        assert [pagerduty(made, body) for _ in range(3)] == [200] * 3
        acknowledged = incident(made, page)
        with made.state.transaction() as tx:  # its acknowledgement ran out
            again = replace(acknowledged, state=IncidentState.TRIGGERED, acknowledged_by="")
            tx.put_incident(again, expect_version=acknowledged.version)
        assert pagerduty(made, body) == 200
        assert incident(made, page).state is IncidentState.TRIGGERED, "a replay silences nothing"


def test_an_answer_that_could_not_be_carried_out_counts_when_it_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with World(tmp_path, PHASES) as made:
        made.play(12)
        page = made.incident("chat")

        def locked(*_: object) -> Incident:
            raise StoreError("the state database is locked")

        with monkeypatch.context() as broken:
            broken.setattr(made.house, "acknowledge", locked)
            assert pagerduty(made, told(page.id)) >= 500
        assert incident(made, page).state is IncidentState.TRIGGERED
        assert pagerduty(made, told(page.id)) == 200
        assert incident(made, page).state is IncidentState.ACKNOWLEDGED


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": {"type": "inbound_integration_reference", "summary": "Events API V2"}},
        {"agent": None},
        {"event_type": "incident.escalated"},
        {"data": {"incident_key": "somebody/else-1"}},
        {"data": {}},
    ],
)
def test_what_no_person_did_to_ours_is_no_answer(tmp_path: Path, changes: dict[str, Any]) -> None:
    with World(tmp_path, PHASES) as made:
        made.play(12)
        page = made.incident("chat")
        assert pagerduty(made, told(page.id, **{"kind": "incident.resolved", **changes})) == 200
        assert incident(made, page).state is IncidentState.TRIGGERED


def test_an_authentic_request_that_cannot_be_read_is_kept_and_answered_200(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        for body in (b"no json", b"[]", b'{"event": 5}', b"\xff\xfe", b'{"event": {"data": []}}'):
            assert pagerduty(made, body) == 200
        kept = [e for e in made.state.ledger_entries() if e.kind == "answer.unreadable"]
        assert len(kept) == 5


def test_buttons_in_slack_acknowledge_and_resolve(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        made.play(12)
        page = made.incident("chat")
        shown = json.dumps(made.of("slack")[0].body)
        assert "tocsin_acknowledge" in shown
        assert press(made, "acknowledge", page.id) == 200
        assert incident(made, page).acknowledged_by == "slack:ana"
        assert press(made, "resolve", page.id, "2") == 200
        assert incident(made, page).state is IncidentState.RESOLVED
        made.deliver()
        assert made.of("pagerduty", "resolve"), "everybody who was told hears of it"


def test_buttons_work_over_a_connection_that_tocsin_opened(tmp_path: Path) -> None:
    """No address, no signing secret: Slack's Socket Mode, shared by two channels of one app."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "delivery"))
    from delivery_build import loopback
    from delivery_socket import APP_TOKEN

    async def story(made: World, page: Incident) -> None:
        async with loopback() as place, http_client() as http:
            socket = place.services.socket
            config = SlackConfig(
                "xoxb-1", "C1", api_url=f"{place.url}/slack/api", app_token=APP_TOKEN
            )  # type: ignore[arg-type]
            made.answers.use({"slack": Slack(config), "other": Slack(config)})
            stop = asyncio.Event()
            async with socket.listening():
                running = asyncio.create_task(made.answers.run(http, stop))
                line = await socket.line(0)

                async def press(action: str) -> bool:
                    pressed = {
                        "action_id": f"tocsin_{action}",
                        "value": page.id,
                        "action_ts": action,
                    }
                    said = {"type": "block_actions", "user": {"id": "U1"}, "actions": [pressed]}
                    return await socket.press(line, action, said)

                assert await press("acknowledge")
                assert incident(made, page).acknowledged_by == "slack:U1"
                assert await press("resolve")
                assert incident(made, page).state is IncidentState.RESOLVED
                assert await press("noise")
                stop.set()
                await running
                await line.wait_closed()
            assert (len(socket.lines), socket.broken) == (1, [])

    with World(tmp_path, PHASES) as made:
        made.play(12)
        page = made.incident("chat")
        asyncio.run(story(made, page))
        assert [m.verdict for m in made.state.marks(page.id)] == ["noise"]


def test_only_receivers_that_listen_have_an_address(tmp_path: Path) -> None:
    with World(tmp_path, usual("chat", until=5)) as made:
        for name in ("secondary", "mail", "nobody", "../pagerduty"):
            assert made.web.post(f"/callbacks/{name}", content=b"{}").status_code == 404
        assert made.web.get("/callbacks/pagerduty").status_code == 405
        large = b"x" * 1_000_001
        assert pagerduty(made, large) == 413


class Tracker:
    """A tracker in which a person does something."""

    is_idempotent = True
    rate_per_s = 1.0
    Config = None
    answers = polls = True

    def __init__(self) -> None:
        self.answer: Answer | None = None

    def name_of(self, incident_id: str) -> str:
        return incident_id

    def read(self, headers: Any, body: bytes, now: Any) -> list[Answer]:
        return [] if self.answer is None else [replace(self.answer, subject=body.decode(), id="w")]

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        return Delivered({"key": "OPS-1"})

    async def poll(self, reference: Any, at: Any, http: httpx.AsyncClient) -> Answer | None:
        assert reference == {"key": "OPS-1"}
        return self.answer


def test_a_ticket_that_is_still_in_progress_acknowledges_once(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        tracker: Any = Tracker()
        channels = {"slack": tracker, "pagerduty": tracker, "secondary": tracker, "mail": tracker}
        made.courier.use(channels)
        made.answers.use(channels)
        made.play(12)
        page = made.incident("chat")
        tracker.answer = Answer("acknowledge", "jira:Ana")
        assert asyncio.run(made.answers.poll(made.http)) == 1
        assert incident(made, page).acknowledged_by == "jira:Ana"
        until = incident(made, page).acknowledged_until
        assert until is not None
        made.play(int((until - made.clock.now()) / timedelta(minutes=1)) + 15)
        assert incident(made, page).state is IncidentState.TRIGGERED
        assert asyncio.run(made.answers.poll(made.http)) == 0
        tracker.answer = Answer("resolve", "jira:Ana")
        assert asyncio.run(made.answers.poll(made.http)) == 1
        assert incident(made, page).state is IncidentState.RESOLVED


def test_a_service_that_hangs_or_fails_delays_no_other_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Tracker):
        rounds = 0

        async def poll(self, reference: Any, at: Any, http: httpx.AsyncClient) -> Answer | None:
            self.rounds += 1
            await asyncio.Event().wait()
            return None

    class Failing(Tracker):
        failures = 3

        async def poll(self, reference: Any, at: Any, http: httpx.AsyncClient) -> Answer | None:
            self.failures -= 1
            if self.failures >= 0:
                raise RuntimeError("a defect")
            return self.answer

    monkeypatch.setattr("tocsin.engine.answers.INTERVAL", timedelta(milliseconds=10))
    with World(tmp_path, PHASES) as made:
        hanging, tracker = Hanging(), Failing()
        channels: Any = {"slack": hanging, "pagerduty": tracker, "audit": tracker}
        made.courier.use(channels)
        made.answers.use(channels)
        made.play(12)
        page = made.incident("chat")

        async def answers() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(made.answers.run(made.http, stop))
            for action, state in (
                ("acknowledge", IncidentState.ACKNOWLEDGED), ("resolve", IncidentState.RESOLVED),
            ):  # fmt: skip
                tracker.answer = Answer(action, "jira:Ana")  # type: ignore[arg-type]
                async with asyncio.timeout(5):
                    while incident(made, page).state is not state:
                        await asyncio.sleep(0.01)
            stop.set()
            async with asyncio.timeout(1):
                await running

        asyncio.run(answers())
        assert hanging.rounds == 1, "a service that is still busy is not asked anew"


def test_a_ticket_that_we_closed_does_not_end_an_incident_that_came_back(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        tracker: Any = Tracker()
        channels = {"slack": tracker, "pagerduty": tracker, "secondary": tracker, "mail": tracker}
        made.courier.use(channels)
        made.answers.use(channels)
        made.play(12)
        page = made.incident("chat")
        made.house.resolve(page.id, "ana", "it looks better")
        made.deliver()
        over = incident(made, page)
        with made.state.transaction() as tx:
            back = replace(over, state=IncidentState.TRIGGERED, resolved=None)
            tx.put_incident(back, expect_version=over.version)
        tracker.answer = Answer("resolve", "jira:Tocsin")
        assert asyncio.run(made.answers.poll(made.http)) == 0
        assert made.answers.take("slack", {}, page.id.encode()) == 0, "nor told of it hours later"
        assert incident(made, page).state is IncidentState.TRIGGERED


def test_an_answer_that_is_told_and_found_by_asking_counts_once(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        tracker: Any = Tracker()
        channels = dict.fromkeys(("slack", "pagerduty", "secondary", "mail"), tracker)
        made.courier.use(channels)
        made.answers.use({"slack": tracker})
        made.play(12)
        page = made.incident("chat")
        tracker.answer = Answer("acknowledge", "jira:Ana", told="record")
        assert made.answers.take("slack", {}, page.id.encode()) == 1
        taken = incident(made, page)
        with made.state.transaction() as tx:  # it became more urgent since
            raised = replace(taken, state=IncidentState.TRIGGERED, acknowledged_by="")
            tx.put_incident(raised, expect_version=taken.version)
        assert asyncio.run(made.answers.poll(made.http)) == 0, "the same acknowledgement"
        assert incident(made, page).state is IncidentState.TRIGGERED


def test_our_own_closing_that_is_told_late_does_not_end_an_incident_that_came_back(
    tmp_path: Path,
) -> None:
    with World(tmp_path, PHASES) as made:
        tracker: Any = Tracker()
        channels = dict.fromkeys(("slack", "pagerduty", "secondary", "mail"), tracker)
        made.courier.use(channels)
        made.answers.use(channels)
        made.play(12)
        page = made.incident("chat")
        made.house.resolve(page.id, "ana", "it looks better")
        made.deliver()
        over = incident(made, page)
        with made.state.transaction() as tx:
            back = replace(over, state=IncidentState.TRIGGERED, resolved=None)
            tx.put_incident(back, expect_version=over.version)
            tx.add_effect(
                NewEffect(
                    key=f"{page.id}:again:slack", kind="notify", receiver="slack",
                    incident_id=page.id, action="trigger", due=made.clock.now(), lane=1,
                )
            )  # fmt: skip
        made.deliver()
        tracker.answer = Answer("resolve", "jira:Tocsin bot", told="record")
        assert made.answers.take("slack", {}, page.id.encode()) == 0
        assert incident(made, page).state is IncidentState.TRIGGERED
        tracker.answer = Answer("resolve", "slack:ana", told="press")
        assert made.answers.take("slack", {}, page.id.encode()) == 0, "the same event"


def test_a_link_in_a_mail_answers_without_a_login_and_never_by_being_opened(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        made.play(12)
        page = made.incident("chat")
        links = answer_links(made.state, "")

        def path(said: str, receiver: str = "mail") -> str:
            offered = links.offer(page.id, receiver, "resolve", made.clock.now())
            offered += links.offer(page.id, receiver, "trigger", made.clock.now())
            return next(a for _, a in offered if links.read(a[9:], made.clock.now()).said == said)

        def follow(said: str, name: str = "") -> httpx.Response:
            return made.form(path(said), on=path(said), name=name)

        shown = made.web.get(path("acknowledge"))
        assert shown.status_code == 200
        assert "Acknowledge</button>" in shown.text
        assert incident(made, page).state is IncidentState.TRIGGERED, "scanners open every link"
        assert made.web.post(path("acknowledge"), data={"name": "ana"}).status_code == 403
        assert follow("acknowledge", " ana ").status_code == 200
        assert incident(made, page).acknowledged_by == "mail:ana"
        assert "it changed nothing" in follow("acknowledge").text
        assert follow("resolve").status_code == 200
        assert incident(made, page).state is IncidentState.RESOLVED
        for said in ("noise", "real"):
            assert "done" in follow(said, "bo").text
        marks = [(m.verdict, m.actor) for m in made.state.marks(page.id)]
        assert marks == [("noise", "mail:bo"), ("real", "mail:bo")]
        made.clock.advance(timedelta(days=8))
        late = links.address(Link(page.id, "mail", "false"), made.clock.now() - timedelta(days=1))
        assert made.web.get(late).status_code == 403
        assert made.web.get(path("real") + "x").status_code == 403
        assert links == answer_links(made.state, ""), "one key for all processes"


def test_a_verdict_is_one_press_in_slack_or_on_the_page_and_the_last_one_counts(
    tmp_path: Path,
) -> None:
    with World(tmp_path, PHASES) as made:
        made.play(12)
        page = made.incident("chat")
        made.house.resolve(page.id, "ana", "rolled back")
        made.play(14)
        blocks = [b for m in made.of("slack") for b in m.body.get("blocks", ())]
        (offered,) = [b["elements"] for b in blocks if b.get("block_id") == "tocsin_verdict"]
        assert [each["action_id"] for each in offered] == [
            "tocsin_real", "tocsin_false", "tocsin_duplicate", "tocsin_noise",
        ]  # fmt: skip
        assert press(made, "noise", page.id, "5") == 200
        assert press(made, "noise", page.id, "5") == 200, "told again, it counts once"
        assert press(made, "acknowledge", page.id, "6") == 200
        made.deliver()
        replies = [t.body for t in made.of("slack") if "response_type" in t.body]
        assert [(each["response_type"], each["replace_original"]) for each in replies] == [
            ("ephemeral", False)
        ] * 2
        assert [each["text"] for each in replies] == [
            f"Noted of {page.title}: “Not worth it”. The last word counts.",
            f"That changed nothing: {page.title} is resolved.",
        ]
        answer = made.form(f"/incidents/{page.id}/verdict", verdict="real", name="bo")
        assert answer.status_code == 303
        marks = [(m.verdict, m.actor) for m in made.state.marks(page.id)]
        assert marks == [("noise", "slack:ana"), ("real", "web:bo")]
        found = made.web.get("/api/v1/figures").json()
        assert (found["verdicts"], found["precision"]["judged"]) == ({"real": 1}, 1)
