"""One suite for every channel that speaks HTTP, against strict services on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import structlog
from delivery_build import (
    BOT_TOKEN,
    ROUTING_KEY,
    T0,
    WEBHOOK_SECRET,
    Fault,
    Loopback,
    World,
    incident,
    loopback,
    message,
)
from delivery_services import (
    ALERTMANAGER_TOKEN,
    DATADOG_APP_KEY,
    DATADOG_KEY,
    GENIE_KEY,
    GRAFANA_TOKEN,
    SPLUNK_KEY,
    STATUSPAGE_KEY,
    TEAMS_SIGNATURE,
)
from delivery_trackers import JIRA_TOKEN, LINEAR_KEY, LINEAR_TEAM, SNOW_PASSWORD
from standardwebhooks import Webhook as Verifier

from tocsin.delivery.channel import Channel, Reconciling
from tocsin.delivery.channels import CHANNELS
from tocsin.delivery.channels.opsgenie import alias_of
from tocsin.delivery.channels.pagerduty import PagerDuty, PagerDutyConfig
from tocsin.delivery.http import client
from tocsin.delivery.limits import FAILURES_TO_OPEN
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Rejected, Retry
from tocsin.domain.findings import EffectState, NewEffect
from tocsin.domain.registry import UnknownKind
from tocsin.domain.secret import Secret

SLACK_URL_SECRET = "T000/B000/averysecretpath"


@dataclass(frozen=True)
class Case:
    """A channel as a receiver would configure it, and what of it is secret.

    things: how many messages, alerts, issues there are. end: what an incident that lived and died
    looks like there. can_look: whether what was sent unclearly is there once after a retry.
    """

    type: str
    settings: Callable[[str], Mapping[str, Any]]
    secrets: tuple[str, ...]
    takes_digest: bool = True
    can_look: bool = True
    things: Callable[[Loopback], int] = lambda place: len(place.received)
    end: Callable[[Loopback], Any] = lambda place: None
    expected_end: Any = None

    def build(self, url: str) -> Channel:
        plugin = CHANNELS[self.type]
        channel: Channel = plugin(plugin.Config(**self.settings(url)))
        return channel


CASES = {
    "webhook": Case(
        "webhook",
        lambda url: {
            "url": f"{url}/webhook?token=averysecretquery",
            "secret": Secret(WEBHOOK_SECRET),
            "authorization": Secret("Bearer averysecretbearer"),
            "allow_private": True,
        },
        (WEBHOOK_SECRET, "averysecretquery", "averysecretbearer"),
    ),
    "slack-bot": Case(
        "slack",
        lambda url: {
            "token": Secret(BOT_TOKEN),
            "channel": "C0AIOPS",
            "api_url": f"{url}/slack/api",
        },
        (BOT_TOKEN,),
    ),
    "slack-url": Case(
        "slack",
        lambda url: {"url": Secret(f"{url}/slack/services/{SLACK_URL_SECRET}")},
        (SLACK_URL_SECRET,),
        can_look=False,
    ),
    "pagerduty": Case(
        "pagerduty",
        lambda url: {
            "routing_key": Secret(ROUTING_KEY),
            "url": f"{url}/pagerduty/v2/enqueue",
        },
        (ROUTING_KEY,),
        takes_digest=False,
        things=lambda place: len(place.sinks.alerts),
        end=lambda place: [(key[1], state) for key, state in place.sinks.alerts.items()],
        expected_end=[("support/prod/error_rate-1", "resolved")],
    ),
    "opsgenie": Case(
        "opsgenie",
        lambda url: {
            "key": Secret(GENIE_KEY),
            "url": f"{url}/opsgenie/v2/alerts",
            "responders": ({"type": "team", "id": "t1"},),
        },
        (GENIE_KEY,),
        takes_digest=False,
        things=lambda place: len(place.services.opsgenie.alerts),
        end=lambda place: [alert["status"] for alert in place.services.opsgenie.alerts.values()],
        expected_end=["closed"],
    ),
    "splunk_oncall": Case(
        "splunk_oncall",
        lambda url: {
            "api_key": Secret(SPLUNK_KEY),
            "routing_key": "ai-ops",
            "url": f"{url}/splunk/alert",
        },
        (SPLUNK_KEY,),
        takes_digest=False,
        things=lambda place: len(place.services.splunk.incidents),
        end=lambda place: list(place.services.splunk.incidents.values()),
        expected_end=["RECOVERY"],
    ),
    "jira": Case(
        "jira",
        lambda url: {
            "url": f"{url}/jira",
            "email": "bot@example.org",
            "token": Secret(JIRA_TOKEN),
            "project": "OPS",
            "labels": ("llm",),
        },
        (JIRA_TOKEN,),
        things=lambda place: len(place.services.jira.issues),
        end=lambda place: [
            (issue["status"], len(issue["comments"]))
            for issue in place.services.jira.issues.values()
        ],
        expected_end=[("31", 2)],
    ),
    "servicenow": Case(
        "servicenow",
        lambda url: {
            "url": f"{url}/snow",
            "username": "tocsin",
            "password": Secret(SNOW_PASSWORD),
            "assignment_group": "AI Ops",
        },
        (SNOW_PASSWORD,),
        things=lambda place: len(place.services.servicenow.records),
        end=lambda place: [
            (each["state"], each["close_code"])
            for each in place.services.servicenow.records.values()
        ],
        expected_end=[("6", "Solution provided")],
    ),
    "linear": Case(
        "linear",
        lambda url: {
            "url": f"{url}/linear/graphql",
            "api_key": Secret(LINEAR_KEY),
            "team_id": LINEAR_TEAM,
        },
        (LINEAR_KEY,),
        things=lambda place: len(place.services.linear.issues),
        end=lambda place: [
            [issue["state"] for issue in place.services.linear.issues.values()],
            len(place.services.linear.comments),
        ],
        expected_end=[["s3"], 2],
    ),
    "teams": Case(
        "teams",
        lambda url: {
            "url": Secret(
                f"{url}/teams/workflows/w1/triggers/manual/paths/invoke?sig={TEAMS_SIGNATURE}"
            )
        },
        (TEAMS_SIGNATURE,),
        can_look=False,
        end=lambda place: [
            card["body"][0]["inlines"][0]["text"].split(":")[0]
            for card in place.services.teams.cards
        ],
        expected_end=["Firing", "Acknowledged", "Resolved"],
    ),
    "grafana": Case(
        "grafana",
        lambda url: {"url": f"{url}/grafana", "token": Secret(GRAFANA_TOKEN)},
        (GRAFANA_TOKEN,),
        things=lambda place: len(place.services.grafana.annotations),
        end=lambda place: [
            each["timeEnd"] == int(T0.timestamp() * 1000)
            for each in place.services.grafana.annotations.values()
        ],
        expected_end=[True],
    ),
    "datadog": Case(
        "datadog",
        lambda url: {
            "url": f"{url}/datadog",
            "api_key": Secret(DATADOG_KEY),
            "app_key": Secret(DATADOG_APP_KEY),
        },
        (DATADOG_KEY, DATADOG_APP_KEY),
        end=lambda place: [event["alert_type"] for event in place.services.datadog.events],
        expected_end=["error", "error", "success"],
    ),
    "datadog-blind": Case(
        "datadog",
        lambda url: {"url": f"{url}/datadog", "api_key": Secret(DATADOG_KEY)},
        (DATADOG_KEY,),
        can_look=False,
    ),
    "alertmanager": Case(
        "alertmanager",
        lambda url: {"urls": (f"{url}/alertmanager",), "token": Secret(ALERTMANAGER_TOKEN)},
        (ALERTMANAGER_TOKEN,),
        takes_digest=False,
        things=lambda place: len(place.services.alertmanager.alerts),
        end=lambda place: place.services.alertmanager.states(),
        expected_end=["resolved"],
    ),
    "statuspage": Case(
        "statuspage",
        lambda url: {
            "url": f"{url}/statuspage",
            "api_key": Secret(STATUSPAGE_KEY),
            "page_id": "p4g3",
            "name": "Slow answers",
            "components": ("c1",),
        },
        (STATUSPAGE_KEY,),
        takes_digest=False,
        end=lambda place: [
            (each["status"], each["updates"], each["components"])
            for each in place.services.statuspage.incidents
        ],
        expected_end=[("resolved", 3, {"c1": "operational"})],
    ),
}
WITHOUT_HTTP = {"email", "none"}
TO_STRANGERS = {"status_webhook"}  # and to no incident: tests/scenarios/test_scenarios_endpoints


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


Story = Callable[[Channel, Loopback, httpx.AsyncClient], Coroutine[Any, Any, None]]


def run(case: Case, story: Story) -> None:
    async def told() -> None:
        async with loopback() as place, client() as http:
            await story(case.build(place.url), place, http)

    asyncio.run(told())


def test_every_channel_is_in_one_of_the_suites() -> None:
    assert {case.type for case in CASES.values()} | WITHOUT_HTTP | TO_STRANGERS == set(CHANNELS)
    with pytest.raises(UnknownKind, match=r"known: .*email, .*none, .*pagerduty, .*slack"):
        CHANNELS["pigeon"]


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_every_channel_has_a_documented_config_and_keeps_the_contract(name: str) -> None:
    plugin = CHANNELS[name]
    assert plugin.Config.__dataclass_params__.frozen
    assert plugin.Config.__doc__
    assert "Config(" not in plugin.Config.__doc__, "write what the settings mean"
    assert isinstance(plugin.is_idempotent, bool)
    assert plugin.rate_per_s > 0


@pytest.mark.parametrize("action", ["trigger", "update", "acknowledge", "resolve"])
def test_the_service_accepts_every_action(case: Case, action: str) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        first = await channel.send(message(), http)
        assert isinstance(first, Delivered), first
        again = message(action=action, key=f"k-{action}", thread=first.remote_ref or None)
        assert isinstance(await channel.send(again, http), Delivered)
        assert place.received

    run(case, story)


def test_a_digest_is_accepted_or_refused_for_good(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        digest = message(action="digest", items=("a began", "b is over"), thread=None)
        outcome = await channel.send(digest, http)
        if not case.takes_digest:
            assert isinstance(outcome, Rejected)
            assert place.requests == []
        else:
            assert isinstance(outcome, Delivered)
            assert "b is over" in place.received[0][2]

    run(case, story)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, Rejected), (302, Rejected), (307, Rejected), (400, Rejected), (401, Rejected),
        (403, Rejected), (404, Rejected), (408, Retry), (410, Rejected), (413, Rejected),
        (422, Rejected), (429, Retry), (500, Ambiguous), (501, Retry), (502, Ambiguous),
        (503, Retry), (504, Ambiguous), (529, Retry),
    ],
)  # fmt: skip
def test_each_status_is_retried_or_not(case: Case, status: int, expected: type[Outcome]) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        headers = {"location": f"{place.url}/elsewhere"} if status < 400 else {}
        place.faults.append(Fault(status, headers, body=f"it is {status}"))
        outcome = await channel.send(message(), http)
        assert type(outcome) is expected
        assert str(status) in outcome.reason
        assert len(place.requests) == 1, "no redirect is followed, and no retry hides in a channel"

    run(case, story)


def http_date(instant: datetime) -> str:
    return format_datetime(instant, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry-after": "17"}, timedelta(seconds=17)),
        ({"retry-after": http_date(T0 + timedelta(minutes=3))}, timedelta(minutes=3)),
        (
            {
                "retry-after": http_date(T0 + timedelta(hours=5, minutes=1)),
                "date": http_date(T0 + timedelta(hours=5)),
            },
            timedelta(minutes=1),
        ),
        ({"retry-after": http_date(T0 - timedelta(hours=1))}, timedelta(0)),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_and_as_a_date(
    case: Case, headers: Mapping[str, str], after: timedelta | None
) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        place.faults.append(Fault(429, headers))
        outcome = await channel.send(message(), http)
        assert isinstance(outcome, Retry)
        assert outcome.after == after

    run(case, story)


def test_a_service_that_hangs_may_have_accepted(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        http.timeout = httpx.Timeout(10, read=0.05)  # connecting may take a busy machine longer
        place.faults.append(Fault(how="hang"))
        assert isinstance(await channel.send(message(), http), Ambiguous)

    run(case, story)


def test_a_connection_that_breaks_may_have_accepted(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        place.faults.append(Fault(how="drop", after=True))
        assert isinstance(await channel.send(message(), http), Ambiguous)
        assert len(place.received) == 1

    run(case, story)


def test_a_refused_connection_was_certainly_not_accepted(case: Case) -> None:
    async def story() -> None:
        async with client() as http:
            channel = case.build("http://127.0.0.1:9")
            assert isinstance(await channel.send(message(), http), Retry)

    asyncio.run(story())


def test_huge_texts_are_cut_to_what_the_service_takes(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        long = "ünïcödé & <tags> " * 4_000
        huge = message(
            title=long,
            summary=long,
            key="k" * 5_000,
            subject="s" * 5_000,
            note=long,
            evidence=tuple((f"fact {n}", long) for n in range(40)),
            changes=tuple(long for _ in range(80)),
            first_steps=tuple(f"{n} {long}" for n in range(80)),
            labels={f"label{n}": long for n in range(200)},
            links=tuple((f"{n} {long}", f"https://example.org/{n}") for n in range(90)),
            told=tuple(f"receiver-{n}" for n in range(500)),
        )
        assert isinstance(await channel.send(huge, http), Delivered)
        assert "…" in place.received[0][2].replace("\\u2026", "…")

    run(case, story)


def test_a_message_with_nothing_but_a_title_is_accepted(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        bare = Message(key="k", at=T0, action="trigger", subject="s", title="t", summary="")
        assert isinstance(await channel.send(bare, http), Delivered)

    run(case, story)


@pytest.mark.parametrize("how", ["answer", "hang", "drop", "redirect", "unreachable"])
def test_no_secret_is_ever_in_a_reason_a_log_or_the_ledger(case: Case, how: str) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        http.timeout = httpx.Timeout(0.05)
        echo = " ".join(case.secrets) + f" {place.url}"
        for _ in range(20):
            if how == "redirect":
                place.faults.append(Fault(302, {"location": f"/{case.secrets[0]}"}, body=echo))
            else:
                place.faults.append(Fault(403, body=echo, how=how))
        world = World(fallbacks=())
        world.courier.use({"primary": channel})
        world.courier._http = http
        found = world.open(incident(), receivers=["primary"])
        with structlog.testing.capture_logs() as logs:
            report = await world.courier.drain(T0)
        assert report.delivered == 0
        said = [str(logs), repr(channel.config), str(channel.config)]  # type: ignore[attr-defined]
        said += [str(entry) for entry in world.store.ledger_entries()]
        said += [str(each) for each in world.store.timeline(found.id)]
        said += [str(each) for each in world.store.effects(found.id)]
        for secret in case.secrets:
            assert secret not in "".join(said)

    if how == "unreachable":

        async def nowhere() -> None:
            async with loopback() as place, client() as http:
                await story(case.build("http://127.0.0.1:9"), place, http)

        asyncio.run(nowhere())
    else:
        run(case, story)


def test_what_arrived_although_nobody_said_so_is_there_once(case: Case) -> None:
    """Accepted, then cut off; the courier tries again under the same key."""

    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        world = World()
        world.courier.use({"primary": channel})
        world.courier._http = http
        found = world.open(incident(), receivers=["primary"])
        place.faults.append(Fault(how="drop", after=True))
        await world.courier.drain(T0)
        await world.courier.drain(T0 + timedelta(seconds=60))
        effect = world.store.effects(found.id)[0]
        assert (effect.state, effect.attempts) == (EffectState.DONE, 2)
        assert case.things(place) == (1 if case.can_look else 2)

    run(case, story)


def test_an_incident_lives_through_its_states_at_the_service(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        world = World()
        world.courier.use({"primary": channel})
        world.courier._http = http
        found = world.open(incident(), receivers=["primary"])
        await world.courier.drain(T0)
        world.acknowledge(found.id)
        await world.courier.drain(T0)
        world.resolve(found.id)
        await world.courier.drain(T0)
        assert world.states(found) == [EffectState.DONE] * 3
        if case.expected_end is not None:
            assert case.end(place) == case.expected_end
        if case is CASES["slack-bot"]:
            (posted,) = place.sinks.channels.values()
            roots = [p for p in posted if not p.thread_ts]
            assert len(roots) == 1
            assert "Resolved" in roots[0].body["text"]
            assert len(posted) == 3, "each later message is a reply in the thread"

    run(case, story)


def world_of(channel: Channel, http: httpx.AsyncClient, incidents: int) -> World:
    """So many pages to one receiver, and a fallback that takes everything."""
    world = World(fallbacks=("fallback",))
    world.courier.use({**world.receivers, "primary": channel}, ("fallback",))
    world.courier._http = http
    for number in range(incidents):
        found = incident(id=f"support/{number}-1", group_key=f"support/{number}")
        world.open(found, receivers=["primary"])
    return world


def test_a_service_is_asked_no_faster_than_it_takes(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        world = world_of(channel, http, 3)
        bucket = world.courier._claimer.desk("primary").bucket
        bucket.tokens, bucket.as_of = 2.0, T0
        assert (await world.courier.drain(T0)).delivered == 2
        assert (await world.courier.drain(T0)).delivered == 0
        refilled = timedelta(seconds=1 / channel.rate_per_s)
        assert (await world.courier.drain(T0 + 0.9 * refilled)).delivered == 0
        assert (await world.courier.drain(T0 + 1.1 * refilled)).delivered == 1

    run(case, story)


def test_a_service_that_keeps_failing_is_left_alone_then_tried_once(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        world = world_of(channel, http, FAILURES_TO_OPEN)
        place.faults.extend([Fault(503)] * FAILURES_TO_OPEN)
        await world.courier.drain(T0)
        await world.courier.drain(T0 + timedelta(seconds=14))
        assert len(place.requests) == FAILURES_TO_OPEN
        place.faults.append(Fault(503))
        await world.courier.drain(T0 + timedelta(seconds=16))
        assert len(place.requests) == FAILURES_TO_OPEN + 1, "one try, and it failed"
        report = await world.courier.drain(T0 + timedelta(seconds=60))
        assert report.delivered == FAILURES_TO_OPEN
        assert not world.receivers["fallback"].seen

    run(case, story)


def test_a_page_that_the_service_refuses_goes_to_the_fallback(case: Case) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        world = world_of(channel, http, 1)
        place.faults.append(Fault(403, body=" ".join(case.secrets)))
        report = await world.courier.drain(T0)
        assert (report.dead, report.delivered) == (1, 1)
        (told,) = world.receivers["fallback"].seen
        assert told.note.startswith("primary could not be reached (HTTP 403")
        assert not any(secret in told.note for secret in case.secrets)

    run(case, story)


# --- what is special about each -------------------------------------------------------------------


def only(place: Loopback) -> dict[str, Any]:
    (received,) = place.received
    found: dict[str, Any] = json.loads(received[2])
    return found


def test_webhook_golden_request() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        assert await channel.send(message(), http) == Delivered({})
        request = place.requests[0]
        assert request.headers["webhook-id"] == "support-1:0:pager:trigger"
        assert request.headers["authorization"] == "Bearer averysecretbearer"
        assert request.headers["webhook-timestamp"] == str(int(T0.timestamp()))
        expected = Verifier(WEBHOOK_SECRET).sign(
            "support-1:0:pager:trigger", T0, request.content.decode()
        )
        assert request.headers["webhook-signature"] == expected
        assert only(place) == {
            "type": "tocsin.incident.trigger",
            "timestamp": "2026-03-02T10:00:00Z",
            "data": {
                "id": "support-1",
                "key": "support-1:0:pager:trigger",
                "action": "trigger",
                "state": "triggered",
                "title": "support: error rate",
                "summary": "one call in four fails",
                "tier": 1,
                "severity": "critical",
                "service": "support",
                "labels": {"service": "support", "env": "prod"},
                "since": "2026-03-02T09:55:00Z",
                "evidence": {"Now": "25 %", "Expected": "1 %"},
                "changes": ["09:52 deploy support 4.2"],
                "first_steps": ["look at the deploy"],
                "runbook": "",
                "told": ["slack"],
                "who": [],
                "note": "",
                "items": [],
                "links": {"Incident": "https://tocsin.example.org/incidents/support-1"},
            },
        }

    run(CASES["webhook"], story)


def test_webhook_signs_each_try_anew_and_with_both_secrets_while_they_change() -> None:
    other = "whsec_" + "QUFB" * 10
    both = Case(
        "webhook",
        lambda url: {
            "url": f"{url}/webhook", "secret": other,
            "previous_secret": WEBHOOK_SECRET, "allow_private": True,
        },
        (),
    )  # fmt: skip

    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        await channel.send(message(), http)
        await channel.send(replace(message(), at=T0 + timedelta(seconds=90)), http)
        first, second = (request.headers for request in place.requests)
        assert first["webhook-id"] == second["webhook-id"]
        assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 90
        assert len(first["webhook-signature"].split(" ")) == 2
        assert first["webhook-signature"] != second["webhook-signature"]

    run(both, story)


def test_webhook_keeps_away_from_our_own_network_unless_told() -> None:
    guarded = Case("webhook", lambda url: {"url": f"{url}/webhook", "secret": WEBHOOK_SECRET}, ())

    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        outcome = await channel.send(message(), http)
        assert isinstance(outcome, Rejected)
        assert place.requests == []

    run(guarded, story)


def test_pagerduty_golden_request() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        outcome = await channel.send(message(image="https://tocsin.example.org/g.png"), http)
        assert outcome == Delivered({"dedup_key": "support-1"})
        event = json.loads(place.requests[0].content)
        assert event == {
            "routing_key": ROUTING_KEY,
            "event_action": "trigger",
            "dedup_key": "support-1",
            "payload": {
                "summary": "support: error rate: one call in four fails",
                "source": "support",
                "severity": "critical",
                "timestamp": "2026-03-02T09:55:00Z",
                "component": "support",
                "group": "prod",
                "class": "",
                "custom_details": {
                    "what": "one call in four fails",
                    "Now": "25 %",
                    "Expected": "1 %",
                    "just before": ["09:52 deploy support 4.2"],
                    "first steps": ["look at the deploy"],
                    "also told": ["slack"],
                    "labels": {"service": "support", "env": "prod"},
                },
            },
            "client": "Tocsin",
            "client_url": "https://tocsin.example.org/incidents/support-1",
            "links": [
                {"href": "https://tocsin.example.org/incidents/support-1", "text": "Incident"}
            ],
            "images": [{"src": "https://tocsin.example.org/g.png", "alt": "support: error rate"}],
        }
        assert ROUTING_KEY not in place.received[0][2], "the sink hides it too"
        await channel.send(message(action="resolve"), http)
        assert json.loads(place.requests[1].content) == {
            "routing_key": ROUTING_KEY,
            "event_action": "resolve",
            "dedup_key": "support-1",
        }

    run(CASES["pagerduty"], story)


def test_pagerduty_change_events() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        world = World()
        world.courier.use({"primary": channel})
        world.courier._http = http
        change = {
            "id": "c1", "at": "2026-03-02T09:52:00Z", "service": "support", "kind": "deploy",
            "title": "support 4.2", "labels": {"sha": "9f1c", "url": "https://ci.example.org/42"},
        }  # fmt: skip
        payload = {"change": change}
        world.add(NewEffect("change:c1:primary", "notify", "primary", "", "change", T0, 3, payload))
        assert (await world.courier.drain(T0)).delivered == 1
        assert place.requests[0].url.path == "/pagerduty/v2/change/enqueue"
        assert json.loads(place.requests[0].content) == {
            "routing_key": ROUTING_KEY,
            "payload": {
                "summary": "support: support 4.2",
                "source": "support",
                "timestamp": "2026-03-02T09:52:00Z",
                "custom_details": {
                    "kind": "deploy", "service": "support", "sha": "9f1c",
                    "url": "https://ci.example.org/42",
                },
            },
            "links": [
                {"href": "https://ci.example.org/42", "text": "Change"},
                {"href": "https://tocsin.example.org/services/support", "text": "Service"},
            ],
        }  # fmt: skip
        assert place.sinks.alerts == {}, "nobody is paged for a deploy"
        place.faults.append(Fault(429, {"retry-after": "9"}))
        later = message(action="change", subject="change/c2", title="x" * 3_000, service="")
        assert await channel.send(later, http) == Retry("HTTP 429", timedelta(seconds=9))
        long = replace(later, labels={"diff": "x" * 600_000})
        assert await channel.send(long, http) == Delivered({})

    run(CASES["pagerduty"], story)


def test_only_receivers_that_ask_for_changes_take_them() -> None:
    def asked(*changes: str) -> PagerDuty:
        return PagerDuty(PagerDutyConfig(Secret(ROUTING_KEY), changes=changes))

    assert not asked().takes_changes
    assert not asked().takes_changes_of("")
    assert asked("*").takes_changes_of("support")
    assert asked("support").takes_changes_of("support")
    assert asked("support").takes_changes_of(""), "one of no service concerns all"
    assert not asked("support").takes_changes_of("search")
    with pytest.raises(ValueError, match="must end in /v2/enqueue"):
        PagerDutyConfig(Secret(ROUTING_KEY), url="https://x.example.org/", changes=("*",))


def test_slack_bot_golden_requests() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        first = await channel.send(message(), http)
        assert isinstance(first, Delivered)
        request = place.requests[0]
        assert request.url.path == "/slack/api/chat.postMessage"
        assert request.headers["authorization"] == f"Bearer {BOT_TOKEN}"
        posted = json.loads(request.content)
        assert posted["channel"] == "C0AIOPS"
        assert posted["text"] == "🔴 Firing: support: error rate"
        assert posted["metadata"]["event_payload"]["key"] == "support-1:0:pager:trigger"
        assert [block["type"] for block in posted["blocks"]] == [
            "header", "section", "section", "section", "section", "context", "actions",
        ]  # fmt: skip
        again = message(key="k2", action="resolve", thread=first.remote_ref)
        assert await channel.send(again, http) == first
        update, reply = (json.loads(request.content) for request in place.requests[1:])
        assert update["ts"] == first.remote_ref["ts"] == reply["thread_ts"]
        assert reply["reply_broadcast"] is False

    run(CASES["slack-bot"], story)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("ratelimited", Retry),
        ("service_unavailable", Retry),
        ("internal_error", Ambiguous),
        ("fatal_error", Ambiguous),
        ("invalid_auth", Rejected),
        ("channel_not_found", Rejected),
        ("not_in_channel", Rejected),
        ("something_new", Rejected),
    ],
)
def test_slack_says_200_and_means_no(error: str, expected: type[Outcome]) -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        body = json.dumps({"ok": False, "error": error})
        place.faults.append(Fault(200, {"content-type": "application/json"}, body))
        outcome = await channel.send(message(), http)
        assert type(outcome) is expected
        assert outcome.reason == f"Slack: {error}"
        for odd in ("<html>hello</html>", "[]", '{"ok": "yes"}'):
            place.faults.append(Fault(200, {}, odd))
            assert not isinstance(await channel.send(message(), http), Delivered)

    run(CASES["slack-bot"], story)


def test_slack_posts_anew_when_its_message_was_deleted() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        gone = {"channel": "C0AIOPS", "ts": "1.000001"}
        outcome = await channel.send(message(thread=gone), http)
        assert isinstance(outcome, Delivered)
        assert outcome.remote_ref["ts"] != gone["ts"]

    run(CASES["slack-bot"], story)


def test_slack_finds_a_reply_whose_sending_ended_unclear() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        assert isinstance(channel, Reconciling)
        first = await channel.send(message(), http)
        assert isinstance(first, Delivered)
        reply = message(key="k2", action="update", thread=first.remote_ref)
        assert await channel.reconcile(reply, http) is None
        await channel.send(reply, http)
        assert await channel.reconcile(reply, http) == first
        place.faults.append(Fault(200, {}, '{"ok": false, "error": "missing_scope"}'))
        assert await channel.reconcile(reply, http) is None, "then it is simply sent again"

    run(CASES["slack-bot"], story)


def test_slack_text_of_others_cannot_mention_or_link() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        await channel.send(message(summary="<!channel> & <https://evil.example|click>"), http)
        sent = json.dumps(only(place)["blocks"])
        assert "<!channel>" not in sent
        assert "&lt;!channel&gt; &amp; &lt;https" in sent

    run(CASES["slack-bot"], story)


@pytest.mark.parametrize(
    ("type_", "settings", "says"),
    [
        ("pagerduty", {"routing_key": "short"}, "32 characters"),
        ("slack", {}, "either token and channel"),
        ("slack", {"token": BOT_TOKEN, "url": "https://x"}, "either token and channel"),
        ("slack", {"token": BOT_TOKEN}, "needs a channel"),
        ("opsgenie", {"key": "hunter2", "responders": ({"type": "team"},)}, "and one of id, name"),
        ("opsgenie", {"key": "k", "api_token": "hunter2", "cloud_id": "c"}, "needs username"),
        ("splunk_oncall", {"api_key": "hunter2", "routing_key": ""}, "name the routing key"),
        (
            "jira",
            {"url": "https://j", "email": "e", "token": "hunter2", "project": 'A" OR "B'},
            "the key of a project",
        ),
        ("servicenow", {"url": "https://s"}, "either a token, or"),
        ("servicenow", {"url": "https://s", "password": "hunter2"}, "both or neither"),
        ("linear", {"api_key": "hunter2", "team_id": "ENG"}, "the UUID of a team"),
        ("teams", {"url": "https://a.webhook.office.com/hunter2"}, "have been retired"),
        ("grafana", {"url": "https://g", "token": "hunter2", "panel_id": 3}, "name its dashboard"),
        ("alertmanager", {"urls": ()}, "at least one Alertmanager"),
        ("alertmanager", {"urls": ("http://a",), "username": "u"}, "both or neither"),
        ("alertmanager", {"urls": ("http://a",), "holds": 0}, "1 to 365 days"),
        ("statuspage", {"api_key": "hunter2", "page_id": "", "name": "n"}, "needs both"),
        (
            "webhook",
            {"url": "https://x", "secret": WEBHOOK_SECRET, "authorization": "hunter2\r\nX: y"},
            "in one line of ASCII",
        ),
        ("webhook", {"url": "https://x", "secret": "hunter2"}, "must be whsec_"),
        ("webhook", {"url": "https://x", "secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ("email", {"host": "h", "to": (), "sender": "a@b"}, "at least one address"),
        ("email", {"host": "h", "to": ("x",), "sender": "a@b"}, "'x' is not a mail address"),
        ("email", {"host": "h", "to": ("a@b\nBcc: c@d",), "sender": "a@b"}, "not a mail address"),
        ("email", {"host": "h", "to": ("a@b",), "sender": "a@b", "username": "u"}, "both or"),
        (
            "email",
            {
                "host": "h", "to": ("a@b",), "sender": "a@b",
                "username": "u", "password": "hunter2", "tls": "none",
            },
            "open connection",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_without_quoting_a_secret(
    type_: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        CHANNELS[type_].Config(**settings)
    assert "hunter2" not in str(caught.value)


def test_none_tells_nobody() -> None:
    channel = CHANNELS["none"](CHANNELS["none"].Config())
    assert asyncio.run(channel.send(message(), httpx.AsyncClient())) == Delivered()


def test_opsgenie_golden_requests() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        outcome = await channel.send(message(), http)
        assert isinstance(outcome, Delivered)
        assert outcome.remote_ref["alias"] == "support-1"
        request = place.requests[0]
        assert request.headers["authorization"] == f"GenieKey {GENIE_KEY}"
        alert = json.loads(request.content)
        assert alert.pop("description") == message().text()
        assert alert == {
            "message": "support: error rate: one call in four fails",
            "alias": "support-1",
            "priority": "P1",
            "source": "Tocsin",
            "entity": "support",
            "tags": [],
            "details": {
                "url": "https://tocsin.example.org/incidents/support-1",
                "service": "support",
                "env": "prod",
                "Now": "25 %",
                "Expected": "1 %",
            },
            "responders": [{"type": "team", "id": "t1"}],
        }
        await channel.send(message(action="resolve", summary="Over after 3 min."), http)
        request = place.requests[1]
        assert request.url.path == "/opsgenie/v2/alerts/support-1/close"
        assert request.url.query == b"identifierType=alias"
        assert json.loads(request.content)["note"].startswith("Resolved: support: error rate\nOver")

    run(CASES["opsgenie"], story)


def test_opsgenie_aliases_are_safe_in_an_address_and_stay_apart() -> None:
    assert alias_of("support-1") == "support-1"
    one, other = alias_of("a/b-1"), alias_of("a-b-1")
    assert one != other
    assert "/" not in one
    assert len(alias_of("x" * 5_000)) == 512


def test_splunk_oncall_golden_request() -> None:
    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        assert await channel.send(message(), http) == Delivered({"entity_id": "support-1"})
        assert place.requests[0].url.path == f"/splunk/alert/{SPLUNK_KEY}/ai-ops"
        assert json.loads(place.requests[0].content) == {
            "message_type": "CRITICAL",
            "entity_id": "support-1",
            "entity_display_name": "support: error rate",
            "state_message": message().text(),
            "state_start_time": int(T0.timestamp()) - 300,
            "monitoring_tool": "Tocsin",
            "vo_annotate.u.Incident": "https://tocsin.example.org/incidents/support-1",
        }
        for body, expected in (
            ('{"result": "failure", "message": "no such key"}', Rejected),
            ("<html>", Ambiguous),
        ):
            place.faults.append(Fault(200, {}, body))
            assert type(await channel.send(message(), http)) is expected

    run(CASES["splunk_oncall"], story)


def test_splunk_oncall_pages_for_warnings_where_that_is_wanted() -> None:
    paging = Case(
        "splunk_oncall",
        lambda url: {**CASES["splunk_oncall"].settings(url), "warnings_page": True},
        (),
    )

    async def story(channel: Channel, place: Loopback, http: httpx.AsyncClient) -> None:
        await channel.send(message(severity="warning"), http)
        await channel.send(message(severity="info"), http)
        assert [json.loads(r.content)["message_type"] for r in place.requests] == [
            "CRITICAL", "INFO",
        ]  # fmt: skip

    run(paging, story)


# --- the strict services themselves ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/pagerduty/v2/enqueue", b"no json", 400, "not a JSON object"),
        ("/pagerduty/v2/enqueue", b"{}", 400, "routing_key"),
        ("/pagerduty/v2/enqueue", b" " * 600_000, 413, "Too Large"),
        ("/pagerduty/v2/change/enqueue", b'{"event_action": "trigger"}', 400, "'payload'"),
        ("/slack/services/T/B/x", b"{}", 400, "invalid_payload"),
        ("/slack/api/chat.postMessage", b"{}", 200, "not_authed"),
        ("/webhook", b"{}", 400, "webhook-id"),
    ],
)
def test_the_sinks_refuse_what_the_real_services_refuse(
    path: str, body: bytes, status: int, says: str
) -> None:
    async def story() -> None:
        async with loopback() as place, client() as http:
            answer = await http.post(place.url + path, content=body)
            assert answer.status_code == status
            assert says in answer.text
            assert place.received == []

    asyncio.run(story())


def test_the_webhook_sink_checks_age_and_signature() -> None:
    async def story() -> None:
        late = T0 + timedelta(minutes=6)
        async with loopback(late) as place, client() as http:
            outcome = await CASES["webhook"].build(place.url).send(message(), http)
            assert isinstance(outcome, Rejected)
            assert "five minutes" in outcome.reason
            forged = Case(
                "webhook",
                lambda url: {
                    "url": f"{url}/webhook", "secret": "whsec_" + "QUFB" * 10,
                    "allow_private": True,
                },
                (),
            )  # fmt: skip
            outcome = await forged.build(place.url).send(message(at=late), http)
            assert isinstance(outcome, Rejected)
            assert "no matching signature" in outcome.reason

    asyncio.run(story())
