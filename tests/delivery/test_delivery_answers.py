"""Requests of services: what proves them, what they say, and everything that proves nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from delivery_build import BOT_TOKEN, ROUTING_KEY, T0

from tocsin.delivery.answers import Answer, Answering
from tocsin.delivery.channels import CHANNELS
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


def by_token(body: bytes, secret: str, now: datetime) -> Mapping[str, str]:
    return {"authorization": f"Bearer {secret}"}


@dataclass(frozen=True)
class Case:
    type: str
    settings: Mapping[str, Any]
    secrets: tuple[str, str]
    prove: Prove
    body: bytes
    expected: Answer

    def build(self, *secrets: str) -> Answering:
        plugin = CHANNELS[self.type]
        named = dict(zip(self.secrets, secrets, strict=False))
        channel: Answering = plugin(plugin.Config(**self.settings, **named))
        return channel


def slack_body(**changes: Any) -> bytes:
    action = {"action_id": "tocsin_acknowledge", "value": "support-1", "action_ts": "17.1"}
    payload = {"type": "block_actions", "user": {"id": "U1", "name": "ana"}, "actions": [action]}
    return urlencode({"payload": json.dumps({**payload, **changes})}).encode()


CASES = {
    "pagerduty": Case(
        "pagerduty",
        {"routing_key": ROUTING_KEY},
        ("webhook_secret", "previous_webhook_secret"),
        by_pagerduty,
        json.dumps(
            {
                "event": {
                    "id": "e1",
                    "event_type": "incident.acknowledged",
                    "agent": {"type": "user_reference", "summary": "Ana"},
                    "data": {"incident_key": "support-1"},
                }
            }
        ).encode(),
        Answer("acknowledge", "pagerduty:Ana", "support-1", "e1"),
    ),
    "opsgenie": Case(
        "opsgenie",
        {"key": "k"},
        ("callback_token", "previous_callback_token"),
        by_token,
        json.dumps(
            {
                "action": "Close",
                "alert": {
                    "alertId": "a1",
                    "alias": "support-1",
                    "username": "ana@example.org",
                    "updatedAt": 17,
                },
            }
        ).encode(),
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
}


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


def test_slack_requests_do_not_keep() -> None:
    case = CASES["slack"]
    channel = case.build(NEW)
    proof = case.prove(case.body, NEW, T0)
    assert channel.read(proof, case.body, T0 + timedelta(minutes=4))
    for later in (timedelta(minutes=6), -timedelta(minutes=6)):
        with pytest.raises(NotAuthentic, match="five minutes"):
            channel.read(proof, case.body, T0 + later)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("opsgenie", b'{"action": "Acknowledge", "alert": {"alias": "a", "username": "Tocsin"}}'),
        ("opsgenie", b'{"action": "AddNote", "alert": {"alias": "a", "username": "ana"}}'),
        ("opsgenie", b'{"action": "Close", "alert": {"username": "ana"}}'),
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
