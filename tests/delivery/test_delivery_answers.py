"""Requests of services: what proves them, what they say, and everything that proves nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from delivery_build import BOT_TOKEN, ROUTING_KEY, T0
from delivery_trackers import LINEAR_TEAM

from tocsin.delivery.answers import Answer, Answering
from tocsin.delivery.channels import CHANNELS
from tocsin.delivery.channels.jira import label_of
from tocsin.delivery.channels.linear import identity
from tocsin.delivery.channels.servicenow import correlation_id
from tocsin.delivery.outcome import Delivered, Outcome, Rejected
from tocsin.delivery.replies import render_reply, reply_effect
from tocsin.net.proof import NotAuthentic

NEW, OLD = "the new secret", "the old secret"
Prove = Callable[[bytes, str, datetime], Mapping[str, str]]


def hex_hmac(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def by_pagerduty(body: bytes, secret: str, now: datetime) -> Mapping[str, str]:
    return {"x-pagerduty-signature": f"v1={'0' * 64}, v1={hex_hmac(secret, body)}"}


def by_slack(body: bytes, secret: str, now: datetime) -> Mapping[str, str]:
    stamp = str(int(now.timestamp()))
    signature = hex_hmac(secret, f"v0:{stamp}:".encode() + body)
    return {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={signature}"}


def by_jira(body: bytes, secret: str, now: datetime) -> Mapping[str, str]:
    return {"x-hub-signature": f"sha256={hex_hmac(secret, body)}"}


def by_linear(body: bytes, secret: str, now: datetime) -> Mapping[str, str]:
    return {"linear-signature": hex_hmac(secret, body)}


def by_token(body: bytes, secret: str, now: datetime) -> Mapping[str, str]:
    return {"authorization": f"Bearer {secret}"}


def by_standard(body: bytes, secret: str, now: datetime) -> Mapping[str, str]:
    """As the guide's business rule signs: the key is what follows whsec_, the digest is base64."""
    stamp = str(int(now.timestamp()))
    digest = hmac.new(secret.encode(), f"id1.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": "id1", "webhook-timestamp": stamp, "webhook-signature": signature}


def whsec(secret: str) -> str:
    return f"whsec_{base64.b64encode(secret.encode()).decode()}"


@dataclass(frozen=True)
class Case:
    type: str
    settings: Mapping[str, Any]
    secrets: tuple[str, str]
    prove: Prove
    body: bytes
    expected: Answer
    written: Callable[[str], str] = str

    def build(self, *secrets: str) -> Answering:
        plugin = CHANNELS[self.type]
        named = dict(zip(self.secrets, map(self.written, secrets), strict=False))
        channel: Answering = plugin(plugin.Config(**self.settings, **named))
        return channel


# The bodies below have every field that the services document, not only those that are read.


def slack_body(**changes: Any) -> bytes:
    action = {
        "type": "button", "block_id": "tocsin_answers", "action_id": "tocsin_acknowledge",
        "text": {"type": "plain_text", "text": "Acknowledge", "emoji": True},
        "value": "support-1", "action_ts": "17.1",
    }  # fmt: skip
    payload = {
        "type": "block_actions",
        "team": {"id": "T1", "domain": "example"},
        "user": {"id": "U1", "username": "ana", "name": "ana", "team_id": "T1"},
        "api_app_id": "A1",
        "token": "deprecated",
        "trigger_id": "1.2.3",
        "container": {
            "type": "message", "message_ts": "1.5", "channel_id": "C1", "is_ephemeral": False,
        },
        "channel": {"id": "C1", "name": "ai-ops"},
        "message": {"type": "message", "bot_id": "B1", "text": "Firing", "ts": "1.5"},
        "state": {"values": {}},
        "response_url": "https://hooks.slack.com/actions/T1/1/x",
        "actions": [action],
    }  # fmt: skip
    return urlencode({"payload": json.dumps({**payload, **changes})}).encode()


def pagerduty_body(**changes: Any) -> bytes:
    reference = {"html_url": "https://x.pagerduty.com/users/P1", "id": "P1", "self": "…"}
    incident = {
        "id": "Q1", "type": "incident", "self": "…", "html_url": "…", "number": 2126,
        "status": "acknowledged", "incident_key": "support-1", "title": "support: error rate",
        "created_at": "2026-03-02T09:56:00Z", "urgency": "high", "priority": None,
        "service": {**reference, "summary": "AI", "type": "service_reference"},
        "assignees": [{**reference, "summary": "Ana", "type": "user_reference"}],
        "escalation_policy": {**reference, "type": "escalation_policy_reference"},
        "teams": [], "conference_bridge": None, "resolve_reason": None,
    }  # fmt: skip
    event = {
        "id": "e1",
        "event_type": "incident.acknowledged",
        "resource_type": "incident",
        "occurred_at": "2026-03-02T10:00:00.000Z",
        "agent": {**reference, "summary": "Ana", "type": "user_reference"},
        "client": None,
        "data": incident,
    }
    return json.dumps({"event": {**event, **changes}}).encode()


def opsgenie_body(action: str = "Close", **changes: Any) -> bytes:
    alert = {
        "alertId": "a1", "message": "support: error rate", "tags": [], "tinyId": "28",
        "entity": "support", "alias": "support-1", "createdAt": 1, "updatedAt": 17,
        "username": "ana@example.org", "userId": "u1", "recipients": [], "team": "ai",
        "description": "", "priority": "P1", "source": "Tocsin",
    }  # fmt: skip
    event = {
        "action": action,
        "source": {"name": "web", "type": "WEB"},
        "alert": {**alert, **changes},
        "integrationId": "i1",
        "integrationName": "Webhook",
        "integrationType": "Webhook",
    }
    return json.dumps(event).encode()


def jira_body(category: str = "indeterminate", field: str = "status", **changes: Any) -> bytes:
    status = {"name": "In Progress", "id": "3", "statusCategory": {"id": 4, "key": category}}
    fields = {
        "summary": "support: error rate", "labels": ["llm", label_of("support-1")],
        "status": status, "assignee": None, "project": {"key": "OPS"},
    }  # fmt: skip
    move = {
        "field": field, "fieldtype": "jira", "fieldId": field,
        "from": "1", "fromString": "To Do", "to": "3", "toString": "In Progress",
    }  # fmt: skip
    event = {
        "timestamp": 1_772_445_600_000,
        "webhookEvent": "jira:issue_updated",
        "issue_event_type_name": "issue_generic",
        "user": {"self": "…", "accountId": "1", "displayName": "Ana", "active": True},
        "issue": {"id": "10001", "self": "…", "key": "OPS-1", "fields": fields},
        "changelog": {"id": "10042", "items": [move]},
    }
    return json.dumps({**event, **changes}).encode()


def linear_body(kind: str = "completed", **changes: Any) -> bytes:
    issue = {
        "id": identity(f"{LINEAR_TEAM}:support-1"), "identifier": "AI-7", "number": 7,
        "title": "support: error rate", "updatedAt": "2026-03-02T10:00:00.000Z",
        "teamId": LINEAR_TEAM, "stateId": "s3", "priority": 1, "labelIds": [],
        "state": {"id": "s3", "color": "#5e6ad2", "name": "Done", "type": kind},
    }  # fmt: skip
    event = {
        "action": "update",
        "type": "Issue",
        "actor": {"id": "u1", "type": "user", "name": "Ana", "email": "ana@example.org"},
        "createdAt": "2026-03-02T10:00:00.000Z",
        "data": issue,
        "updatedFrom": {"stateId": "s1", "updatedAt": "2026-03-02T09:56:00.000Z"},
        "url": "https://linear.app/example/issue/AI-7",
        "organizationId": "o1",
        "webhookTimestamp": int(T0.timestamp() * 1000),
        "webhookId": "w1",
    }
    return json.dumps({**event, **changes}).encode()


CASES = {
    "pagerduty": Case(
        "pagerduty",
        {"routing_key": ROUTING_KEY},
        ("webhook_secret", "previous_webhook_secret"),
        by_pagerduty,
        pagerduty_body(),
        Answer("acknowledge", "pagerduty:Ana", "support-1", "e1"),
    ),
    "opsgenie": Case(
        "opsgenie",
        {"key": "k"},
        ("callback_token", "previous_callback_token"),
        by_token,
        opsgenie_body(),
        Answer("resolve", "opsgenie:ana@example.org", "support-1", "Close:a1:17"),
    ),
    "splunk_oncall": Case(
        "splunk_oncall",
        {"api_key": "k", "routing_key": "r"},
        ("callback_token", "previous_callback_token"),
        by_token,
        json.dumps(
            {"entity_id": "support-1", "phase": "ACKED", "user": "ana", "at": "17"}
        ).encode(),
        Answer("acknowledge", "splunk_oncall:ana", "support-1", "acknowledge:support-1:17"),
    ),
    "slack": Case(
        "slack",
        {"token": BOT_TOKEN, "channel": "C1"},
        ("signing_secret", "previous_signing_secret"),
        by_slack,
        slack_body(),
        Answer("acknowledge", "slack:ana", "support-1", "17.1"),
    ),
    "jira": Case(
        "jira",
        {"url": "https://x.atlassian.net", "email": "b@x.org", "token": "t", "project": "OPS"},
        ("webhook_secret", "previous_webhook_secret"),
        by_jira,
        jira_body(),
        Answer("acknowledge", "jira:Ana", label_of("support-1"), "OPS-1:10042"),
    ),
    "linear": Case(
        "linear",
        {"api_key": "k", "team_id": LINEAR_TEAM},
        ("webhook_secret", "previous_webhook_secret"),
        by_linear,
        linear_body(),
        Answer(
            "resolve",
            "linear:Ana",
            identity(f"{LINEAR_TEAM}:support-1"),
            f"{identity(f'{LINEAR_TEAM}:support-1')}:2026-03-02T10:00:00.000Z",
        ),
    ),
    "servicenow": Case(
        "servicenow",
        {"url": "https://x.service-now.com", "token": "t"},
        ("callback_token", "previous_callback_token"),
        by_token,
        json.dumps(
            {"correlation_id": correlation_id("support-1"), "state": "6", "user": "ana", "at": "17"}
        ).encode(),
        Answer(
            "resolve",
            "servicenow:ana",
            correlation_id("support-1"),
            f"{correlation_id('support-1')}:6:17",
        ),
    ),
}
CASES["servicenow_signed"] = replace(
    CASES["servicenow"], secrets=("webhook_secret", "previous_webhook_secret"), prove=by_standard,
    written=whsec,
)  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_an_authentic_request_is_read_while_secrets_rotate(case: Case) -> None:
    both = case.build(NEW, OLD)
    assert isinstance(both, Answering)
    assert both.answers
    for secret in (NEW, OLD):
        proof = case.prove(case.body, secret, T0)
        assert list(both.read(proof, case.body, T0)) == [case.expected]
    assert both.name_of("support-1") == case.expected.subject
    with pytest.raises(NotAuthentic):
        case.build(NEW).read(case.prove(case.body, OLD, T0), case.body, T0)
    assert not case.build().answers


def test_a_reply_to_a_press_goes_to_slack_alone() -> None:
    (answer,) = CASES["slack"].build(NEW).read(by_slack(slack_body(), NEW, T0), slack_body(), T0)
    assert answer.reply == "https://hooks.slack.com/actions/T1/1/x"
    assert "hooks.slack.com" not in repr(answer)
    slack: Any = CASES["slack"].build(NEW)

    async def replied(to: str) -> Outcome:
        told = replace(answer, reply=to)
        effect: Any = reply_effect("chat", told, "Noted of <this>.", T0)
        seen: list[httpx.Request] = []

        def slack_says(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(200, text="ok")

        async with httpx.AsyncClient(transport=httpx.MockTransport(slack_says)) as http:
            outcome: Outcome = await slack.send(render_reply(effect, "", at=T0), http)
        assert [json.loads(each.content)["text"] for each in seen] == (
            ["Noted of &lt;this&gt;."] if isinstance(outcome, Delivered) else []
        )
        return outcome

    assert isinstance(asyncio.run(replied(answer.reply)), Delivered)
    for to in ("https://hooks.slack.com.example.org/x", "http://hooks.slack.com/x",
               "https://169.254.169.254/", "https://slack.com@example.org/", "x"):  # fmt: skip
        assert isinstance(asyncio.run(replied(to)), Rejected), to


def test_a_changed_body_or_another_secret_proves_nothing(case: Case) -> None:
    channel = case.build(NEW)
    with pytest.raises(NotAuthentic):
        channel.read(case.prove(case.body, "guessed", T0), case.body, T0)
    if case.prove is not by_token:
        with pytest.raises(NotAuthentic):
            channel.read(case.prove(case.body, NEW, T0), case.body + b" ", T0)


@pytest.mark.parametrize(
    "value",
    ["", " ", "v1=", "v0=", "v1=,v1=", "v1=ü", "Bearer", "Bearer ", "bearer\tx", "null", "9" * 400,
     "v1=\udc80", "-1", "1e9", "٣", "NaN", ",", "v1=" + "0" * 64],
)  # fmt: skip
def test_malformed_headers_are_refused_and_never_an_error(case: Case, value: str) -> None:
    channel = case.build(NEW)
    good = case.prove(case.body, NEW, T0)
    for name in good:
        for headers in ({**good, name: value}, {k: v for k, v in good.items() if k != name}):
            with pytest.raises(NotAuthentic) as caught:
                channel.read(headers, case.body, T0)
            assert NEW not in str(caught.value)


@pytest.mark.parametrize("name", ["slack", "linear", "servicenow_signed"])
def test_requests_that_say_when_they_were_made_do_not_keep(name: str) -> None:
    case = CASES[name]
    channel = case.build(NEW)
    proof = case.prove(case.body, NEW, T0)
    assert channel.read(proof, case.body, T0 + timedelta(minutes=4))
    for later in (timedelta(minutes=6), -timedelta(minutes=6)):
        with pytest.raises(NotAuthentic, match="five minutes"):
            channel.read(proof, case.body, T0 + later)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("pagerduty", pagerduty_body(agent={"id": "S1", "type": "service_reference"})),
        ("pagerduty", pagerduty_body(event_type="incident.annotated", data={"content": "hm"})),
        ("pagerduty", pagerduty_body(event_type="pagey.ping", agent=None, data={"message": "hi"})),
        ("opsgenie", opsgenie_body("Acknowledge", username="Tocsin")),
        ("opsgenie", opsgenie_body("AddNote")),
        ("opsgenie", opsgenie_body("Close", alias="")),
        ("jira", jira_body(field="assignee")),
        ("jira", jira_body("new")),
        ("jira", jira_body(webhookEvent="comment_created")),
        ("jira", b'{"webhookEvent": "jira:issue_deleted", "issue": {"key": "OPS-1"}}'),
        ("linear", linear_body("unstarted")),
        ("linear", linear_body(updatedFrom={"title": "old"})),
        ("linear", linear_body(type="Comment")),
        ("linear", linear_body(actor={"id": "o", "type": "oauthClient", "name": "Bot"})),
        ("servicenow", b'{"correlation_id": "tocsin-1", "state": "3", "user": "ana"}'),
        ("splunk_oncall", b'{"entity_id": "a", "phase": "ACKED", "user": "SYSTEM"}'),
        ("splunk_oncall", b'{"entity_id": "a", "phase": "UNACKED", "user": "ana"}'),
        ("slack", slack_body(type="view_submission")),
        ("slack", slack_body(actions=[{"action_id": "other", "value": "1"}])),
        ("slack", slack_body(actions=[{"type": "button"}])),
    ],
)
def test_what_is_authentic_and_about_something_else_says_nothing(name: str, body: bytes) -> None:
    case = CASES[name]
    assert not case.build(NEW).read(case.prove(body, NEW, T0), body, T0)
