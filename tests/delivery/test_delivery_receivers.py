"""What is special about each receiver beyond the suite: golden requests and the odd answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from delivery_build import T0, Fault, Loopback, loopback, message
from delivery_services import GENIE_READER, PAGERDUTY_TOKEN
from delivery_trackers import LINEAR_TEAM
from test_delivery_channels import CASES, Case

from tocsin.delivery.answers import Answer, Polling
from tocsin.delivery.channel import Channel, Reconciling
from tocsin.delivery.channels.alertmanager import labels_of
from tocsin.delivery.channels.jira import label_of as jira_label
from tocsin.delivery.channels.servicenow import correlation_id
from tocsin.delivery.http import client
from tocsin.delivery.outcome import Ambiguous, Delivered, Rejected, Retry
from tocsin.domain.secret import Secret

Story = Callable[[Channel, Loopback, httpx.AsyncClient], Coroutine[Any, Any, None]]


def run(name: str, story: Story, **changes: Any) -> None:
    case = CASES[name]
    settings = case.settings

    def changed(url: str) -> Mapping[str, Any]:
        return {**settings(url), **changes}

    async def told() -> None:
        async with loopback() as place, client() as http:
            await story(Case(case.type, changed, ()).build(place.url), place, http)

    asyncio.run(told())


def sent(place: Loopback, number: int = 0) -> Any:
    return json.loads(place.requests[number].content)


# --- Teams ----------------------------------------------------------------------------------------


def test_teams_golden_request() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        assert await channel.send(message(changes=()), http) == Delivered({})
        (attachment,) = sent(place)["attachments"]
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        card = attachment["content"]
        assert card["msteams"] == {"width": "Full"}
        assert card["actions"] == [
            {
                "type": "Action.OpenUrl",
                "title": "Incident",
                "url": "https://tocsin.example.org/incidents/support-1",
            }
        ]
        assert card["body"][0]["inlines"] == [
            {
                "type": "TextRun", "text": "Firing: support: error rate",
                "size": "large", "weight": "bolder", "color": "attention",
            }
        ]  # fmt: skip
        lines = ["".join(run["text"] for run in block["inlines"]) for block in card["body"]]
        assert lines[1:] == [
            "one call in four fails",
            "Since: 2026-03-02T09:55:00Z",
            "Now: 25 %",
            "Expected: 1 %",
            "Also told: slack",
            "First steps: \n• look at the deploy",
        ]

    run("teams", story)


def test_teams_shows_markup_of_others_as_text() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        await channel.send(message(summary="[click](https://evil.example) <at>all</at>"), http)
        (attachment,) = sent(place)["attachments"]
        kinds = {block["type"] for block in attachment["content"]["body"]}
        assert kinds == {"RichTextBlock"}, "text runs are not interpreted"

    run("teams", story)


# --- Grafana --------------------------------------------------------------------------------------


def test_grafana_golden_requests() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        first = await channel.send(message(summary="<b>one</b>"), http)
        assert first == Delivered({"id": "1"})
        made = sent(place)
        assert made["time"] == int((T0 - timedelta(minutes=5)).timestamp() * 1000)
        assert made["tags"][0] == "tocsin"
        assert made["tags"][2:] == ["critical", "support", "prod"]
        assert "&lt;b&gt;one&lt;/b&gt;" in made["text"], "HTML of others is text"
        assert made["dashboardUID"] == "d1"
        assert "timeEnd" not in made
        over = message(action="resolve", key="k2", thread={"id": "1"})
        assert await channel.send(over, http) == Delivered({"id": "1"})
        assert place.requests[1].method == "PATCH"
        assert sent(place, 1)["timeEnd"] == int(T0.timestamp() * 1000)

    run("grafana", story, dashboard_uid="d1")


def test_grafana_makes_an_annotation_anew_that_somebody_deleted() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        assert await channel.send(message(thread={"id": "77"}), http) == Delivered({"id": "1"})
        place.faults.append(Fault(503))
        assert isinstance(await channel.send(message(thread={"id": "1"}), http), Retry)
        assert len(place.services.grafana.annotations) == 1
        place.faults.append(Fault(200, {}, "<html>"))
        assert isinstance(await channel.send(message(), http), Ambiguous)

    run("grafana", story)


# --- Datadog --------------------------------------------------------------------------------------


def test_datadog_golden_request() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        assert await channel.send(message(), http) == Delivered({"event_id": "1"})
        event = sent(place)
        (own,) = [tag for tag in event["tags"] if tag.startswith("tocsin_effect:")]
        event["tags"].remove(own)
        assert event == {
            "title": "Firing: support: error rate",
            "text": message().text(),
            "aggregation_key": "support-1",
            "alert_type": "error",
            "priority": "normal",
            "tags": ["source:tocsin", "team:ai", "service:support", "env:prod"],
            "date_happened": int(T0.timestamp()),
        }

    run("datadog", story, tags=("team:ai",))


# --- Alertmanager ---------------------------------------------------------------------------------


def test_alertmanager_golden_requests() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        labels = {
            "service": "support",
            "env": "prod",
            "alertname": "TocsinIncident",
            "severity": "critical",
            "tocsin_incident": "support-1",
        }
        assert await channel.send(message(), http) == Delivered({"labels": labels})
        assert sent(place) == [
            {
                "labels": labels,
                "annotations": {
                    "summary": "support: error rate: one call in four fails",
                    "description": message().text(),
                },
                "startsAt": "2026-03-02T09:55:00Z",
                "endsAt": "2026-03-09T10:00:00Z",
                "generatorURL": "https://tocsin.example.org/incidents/support-1",
            }
        ]
        await channel.send(message(action="resolve", thread={"labels": labels}), http)
        (over,) = sent(place, 1)
        assert over["endsAt"] == "2026-03-02T10:00:00Z"

    run("alertmanager", story)


def test_alertmanager_hears_the_end_of_an_alert_whose_severity_changed() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        mild = message(severity="warning", tier=2)
        first = await channel.send(mild, http)
        assert isinstance(first, Delivered)
        await channel.send(message(action="update", thread=first.remote_ref), http)
        assert place.services.alertmanager.states() == ["resolved", "active"]

    run("alertmanager", story)


def test_alertmanager_is_told_when_one_member_of_the_cluster_is() -> None:
    async def story(_: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        both = Case(
            "alertmanager",
            lambda url: {
                **CASES["alertmanager"].settings(url),
                "urls": ("http://127.0.0.1:9", f"{url}/alertmanager"),
            },
            (),
        ).build(place.url)
        assert isinstance(await both.send(message(), http), Delivered)
        place.faults.append(Fault(400))
        assert isinstance(await both.send(message(), http), Retry), "the other may still take it"

    run("alertmanager", story)


def test_alertmanager_label_names_are_ones_it_takes() -> None:
    found = labels_of(message(labels={"http.route": "/x", "9lives": "yes", "empty": ""}))
    assert found["http_route"] == "/x"
    assert found["_9lives"] == "yes"
    assert "empty" not in found


# --- Statuspage -----------------------------------------------------------------------------------


def test_statuspage_tells_the_public_what_the_configuration_says_and_nothing_else() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        first = await channel.send(message(), http)
        assert first == Delivered({"id": "i0"})
        assert sent(place) == {
            "incident": {
                "name": "Slow answers",
                "status": "investigating",
                "body": "We are investigating degraded quality of this service.",
                "deliver_notifications": True,
                "component_ids": ["c1"],
                "components": {"c1": "degraded_performance"},
                "metadata": {"tocsin": {"key": "support-1:0:pager:trigger"}},
            }
        }
        for action in ("trigger", "update"):
            again = message(action=action, key=f"k-{action}", thread={"id": "i0"})
            assert await channel.send(again, http) == first
        assert len(place.requests) == 1, "our own news are not for the public"
        over = await channel.send(message(action="resolve", thread={"id": "i0"}), http)
        assert isinstance(over, Delivered)
        back = message(key="k-back", thread=over.remote_ref)
        assert await channel.send(back, http) == first
        (public,) = place.services.statuspage.incidents
        assert (public["status"], public["components"]) == (
            "investigating", {"c1": "degraded_performance"},
        )  # fmt: skip

    run("statuspage", story)


def test_statuspage_says_420_when_it_is_asked_too_often() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        place.faults.append(Fault(420, {"retry-after": "60"}))
        outcome = await channel.send(message(), http)
        assert isinstance(outcome, Retry)
        assert outcome.after == timedelta(minutes=1)

    run("statuspage", story)


# --- Jira -----------------------------------------------------------------------------------------


def test_jira_golden_requests() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        long_title = message(title="a\nb", summary="x" * 300)
        assert await channel.send(long_title, http) == Delivered({"key": "OPS-1"})
        fields = sent(place)["fields"]
        assert fields["summary"].startswith("a b: xxx")
        assert fields["priority"] == {"name": "Highest"}
        assert fields["labels"] == [jira_label("support-1"), "llm"]
        assert fields["description"]["content"][0]["content"][0]["text"].startswith("Firing: a")
        over = message(action="resolve", key="k2", summary="Over.", thread={"key": "OPS-1"})
        assert await channel.send(over, http) == Delivered({"key": "OPS-1"})
        assert [r.method for r in place.requests[1:]] == ["GET", "POST", "POST"]
        assert sent(place, 2) == {"transition": {"id": "41"}}
        comment = sent(place, 3)
        assert comment["properties"] == [{"key": "tocsin", "value": {"key": "k2"}}]

    run("jira", story, priorities={"critical": "Highest"}, done="Won't do")


def test_jira_waits_for_the_search_index_after_an_unclear_creation() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        place.faults.append(Fault(how="drop", after=True))
        outcome = await channel.send(message(), http)
        assert isinstance(outcome, Ambiguous)
        assert outcome.after == timedelta(seconds=30)
        assert isinstance(channel, Reconciling)
        assert await channel.reconcile(message(), http) == Delivered({"key": "OPS-1"})

    run("jira", story)


def test_jira_finds_its_comment_and_leaves_the_end_to_people_where_told() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        await channel.send(message(), http)
        over = message(action="resolve", key="k2", thread={"key": "OPS-1"})
        assert isinstance(channel, Reconciling)
        assert await channel.reconcile(over, http) is None
        await channel.send(over, http)
        assert await channel.reconcile(over, http) == Delivered({"key": "OPS-1"})
        assert place.services.jira.issues["OPS-1"]["status"] == "11"

    run("jira", story, resolve=False)


# --- ServiceNow -----------------------------------------------------------------------------------


def test_servicenow_golden_requests() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        first = await channel.send(message(), http)
        assert isinstance(first, Delivered)
        assert first.remote_ref["number"] == "INC0000001"
        assert sent(place) == {
            "short_description": "support: error rate: one call in four fails",
            "description": message().text(),
            "urgency": "1",
            "impact": "1",
            "correlation_id": correlation_id("support-1"),
            "correlation_display": "Tocsin",
            "assignment_group": "AI Ops",
            "category": "software",
        }
        taken = message(action="acknowledge", summary="Ana has it.", thread=first.remote_ref)
        assert await channel.send(taken, http) == first
        assert sent(place, 1)["state"] == "2"
        over = message(action="resolve", summary="Over after 3 min.", thread=first.remote_ref)
        assert await channel.send(over, http) == first
        assert sent(place, 2)["close_notes"] == "Over after 3 min."

    run("servicenow", story, fields={"category": "software"})


def test_servicenow_that_hibernates_has_accepted_nothing() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        place.services.servicenow.hibernates = True
        outcome = await channel.send(message(), http)
        assert isinstance(outcome, Retry)
        assert "hibernates" in outcome.reason

    run("servicenow", story)


# --- Linear ---------------------------------------------------------------------------------------


def test_linear_golden_requests() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        first = await channel.send(message(), http)
        assert isinstance(first, Delivered)
        made = sent(place)["variables"]["input"]
        assert made.pop("description").startswith("Firing: support")
        assert made == {
            "id": first.remote_ref["id"],
            "teamId": LINEAR_TEAM,
            "title": "support: error rate: one call in four fails",
            "priority": 1,
        }
        assert UUID(made["id"]).version == 4
        assert await channel.send(message(), http) == first, "it is there already"
        assert len(place.services.linear.issues) == 1

    run("linear", story)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "RATELIMITED", Retry),
        (200, "RATELIMITED", Retry),
        (200, "INTERNAL_SERVER_ERROR", Ambiguous),
        (400, "INVALID_INPUT", Rejected),
        (200, "FORBIDDEN", Rejected),
    ],
)
def test_linear_errors_are_in_the_body(status: int, code: str, expected: type[Any]) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        error = {"message": "no", "extensions": {"code": code}}
        reset = str(int((T0 + timedelta(minutes=2)).timestamp() * 1000))
        body = json.dumps({"errors": [error]})
        place.faults.append(Fault(status, {"x-ratelimit-requests-reset": reset}, body))
        outcome = await channel.send(message(), http)
        assert type(outcome) is expected
        if isinstance(outcome, Retry):
            assert outcome.after == timedelta(minutes=2)

    run("linear", story)


# --- what people did there ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jira", "servicenow", "linear", "statuspage"])
def test_a_tracker_is_asked_what_people_did(name: str) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        first = await channel.send(message(), http)
        assert isinstance(first, Delivered)
        assert isinstance(channel, Polling)
        reference = first.remote_ref
        assert await channel.poll(reference, T0, http) is None
        who = f"{name}:Ana" if name != "statuspage" else "statuspage:somebody"
        set_state(place, name, started=True)
        assert await channel.poll(reference, T0, http) == Answer("acknowledge", who)
        set_state(place, name, started=False)
        assert await channel.poll(reference, T0, http) == Answer("resolve", who)
        for fault in (
            Fault(500),
            Fault(200, {}, "<html>"),
            Fault(200, {}, "{}"),
            Fault(how="drop"),
        ):
            place.faults.append(fault)
            assert await channel.poll(reference, T0, http) is None, "unknown is not an answer"
        assert await channel.poll({}, T0, http) is None

    run(name, story)


def test_pagerduty_is_asked_when_its_webhooks_do_not_arrive() -> None:
    def told(status: str, kind: str = "user_reference", key: str = "support-1") -> dict[str, Any]:
        by = {"id": "P1", "type": kind, "summary": "Ana"}
        return {"incident_key": key, "status": status, "last_status_change_by": by}

    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        assert isinstance(channel, Polling)
        assert not channel.polls
        api = {"api_token": PAGERDUTY_TOKEN, "api_url": f"{place.url}/pagerduty-api"}
        asking = Case("pagerduty", lambda url: {**CASES["pagerduty"].settings(url), **api}, ())
        asked = asking.build(place.url)
        assert isinstance(asked, Polling)
        assert asked.polls
        first = await asked.send(message(), http)
        assert isinstance(first, Delivered)
        incidents = place.services.pagerduty.incidents
        for made, answer in (
            (told("resolved", key="support-0"), None),
            (told("triggered", "service_reference"), None),
            (told("acknowledged"), Answer("acknowledge", "pagerduty:Ana")),
            (told("resolved", "service_reference"), None),  # by itself, after some hours
            (told("resolved"), Answer("resolve", "pagerduty:Ana")),
        ):
            incidents.append(made)
            assert await asked.poll(first.remote_ref, T0, http) == answer
        for fault in (
            Fault(500),
            Fault(200, {}, "<html>"),
            Fault(200, {}, "{}"),
            Fault(how="drop"),
        ):
            place.faults.append(fault)
            assert await asked.poll(first.remote_ref, T0, http) is None, "unknown is not an answer"
        assert await asked.poll({}, T0, http) is None
        assert await channel.poll(first.remote_ref, T0, http) is None

    run("pagerduty", story)


@pytest.mark.parametrize("api", ["jsm", "opsgenie"])
def test_opsgenie_is_asked_when_its_webhooks_do_not_arrive(api: str) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        assert isinstance(channel, Polling)
        assert not channel.polls
        login = {"username": "bot@example.org", "cloud_id": "c1", "api_url": f"{place.url}/jsm-api"}
        reading = {"api": api, "api_token": Secret(GENIE_READER)} | (login if api == "jsm" else {})
        asking = Case("opsgenie", lambda url: {**CASES["opsgenie"].settings(url), **reading}, ())
        asked = asking.build(place.url)
        assert isinstance(asked, Polling)
        first = await asked.send(message(), http)
        assert isinstance(first, Delivered)
        (alert,) = place.services.opsgenie.alerts.values()
        closed = Answer("resolve", "opsgenie:Ana") if api == "opsgenie" else None
        for status, by, answer in (
            ("open", "", None),
            ("acknowledged", "Tocsin", None),
            ("acknowledged", "Ana", Answer("acknowledge", "opsgenie:Ana")),
            ("closed", "System", None),  # by a policy: it may still be burning
            ("closed", "Ana", closed),  # Jira does not say who: it may have been anybody
        ):
            alert |= {"status": status, "by": by}
            assert await asked.poll(first.remote_ref, T0, http) == answer
        alert |= {"status": "acknowledged", "by": "Ana"}
        faults = [Fault(500), Fault(200, {}, "[]"), Fault(200, {}, '{"values": [7]}')]
        for fault in (*faults, Fault(200, {}, '{"data": {"alias": "other", "status": "closed"}}')):
            place.faults.append(fault)
            assert await asked.poll(first.remote_ref, T0, http) is None, "unknown is not an answer"
        assert await asked.poll({"alias": "none-1"}, T0, http) is None
        assert await asked.poll({}, T0, http) is None
        assert await channel.poll(first.remote_ref, T0, http) is None

    run("opsgenie", story)


def set_state(place: Loopback, name: str, *, started: bool) -> None:
    services = place.services
    if name == "statuspage":
        services.statuspage.incidents[0]["status"] = "monitoring" if started else "postmortem"
    elif name == "jira":
        services.jira.issues["OPS-1"] |= {"status": "21" if started else "31", "assignee": "Ana"}
    elif name == "servicenow":
        (record,) = services.servicenow.records.values()
        record |= {"state": "2" if started else "7", "assigned_to": "Ana"}
    else:
        (issue,) = services.linear.issues.values()
        issue |= {"state": "s2" if started else "s3", "assignee": "Ana"}


# --- looking for what was sent unclearly ----------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.can_look])
def test_what_cannot_be_looked_up_is_told_from_what_is_not_there(name: str) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        if not isinstance(channel, Reconciling):
            return
        for fault in (Fault(500), Fault(how="drop"), Fault(429)):
            place.faults.append(fault)
            assert isinstance(await channel.reconcile(message(), http), Ambiguous | Retry)
        for fault in (Fault(200, {}, "<html>"), Fault(200, {}, '"x"'), Fault(403)):
            place.faults.append(fault)
            assert not isinstance(await channel.reconcile(message(), http), Delivered)
        assert await channel.reconcile(message(), http) is None
        first = await channel.send(message(), http)
        assert isinstance(first, Delivered)
        found = await channel.reconcile(message(), http)
        assert found == first
        other = replace(message(), key="another", subject="another-1")
        assert await channel.reconcile(other, http) is None
        assert not isinstance(first, Rejected)

    run(name, story)
