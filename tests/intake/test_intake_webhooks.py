"""Requests to webhooks: what proves them, in rotation too, and what they tell."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.domain.errors import IntakeError
from tocsin.domain.secret import Secret
from tocsin.intake.alerts.incoming import Incoming
from tocsin.intake.webhook import SignedConfig, TokenConfig, Webhook
from tocsin.intake.webhooks import WEBHOOKS
from tocsin.intake.webhooks.arize import Arize
from tocsin.intake.webhooks.changes import Changes, ChangesConfig
from tocsin.intake.webhooks.github import GitHub, GitHubConfig
from tocsin.intake.webhooks.grafana import Grafana
from tocsin.intake.webhooks.mapped import Generic, GenericConfig
from tocsin.intake.webhooks.tokened import Alertmanager
from tocsin.net.proof import NotAuthentic

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NEW, OLD = "the new secret", "the old secret"
STANDARD = {name: "whsec_" + base64.b64encode(name.encode() * 2).decode() for name in (NEW, OLD)}
Headers = Mapping[str, str]


def stamp(now: datetime) -> str:
    return str(int(now.timestamp()))


def digest(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def by_arize(body: bytes, secret: str, now: datetime) -> Headers:
    signature = digest(secret, f"{stamp(now)}.".encode() + body)
    return {
        "x-arize-webhook-signature": f"v1={signature}",
        "x-arize-webhook-timestamp": stamp(now),
        "x-arize-webhook-id": "evt-1",
    }


def by_github(body: bytes, secret: str, now: datetime) -> Headers:
    return {
        "x-hub-signature-256": f"sha256={digest(secret, body)}",
        "x-github-delivery": "evt-1",
    }


def by_grafana(body: bytes, secret: str, now: datetime) -> Headers:
    return {
        "x-grafana-alerting-signature": digest(secret, f"{stamp(now)}:".encode() + body),
        "x-grafana-alerting-timestamp": stamp(now),
    }


def by_standard(body: bytes, secret: str, now: datetime) -> Headers:
    key = base64.b64decode(STANDARD[secret].removeprefix("whsec_"))
    made = hmac.new(key, f"evt-1.{stamp(now)}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": "evt-1",
        "webhook-timestamp": stamp(now),
        "webhook-signature": f"v1,AAAA v1,{base64.b64encode(made).decode()}",
    }


def by_verbatim(body: bytes, secret: str, now: datetime) -> Headers:
    return {"authorization": secret if secret == NEW else f"Bearer {secret}"}


def by_token(body: bytes, secret: str, now: datetime) -> Headers:
    return {"authorization": f"Bearer {secret}"}


def signed(new: str = NEW, old: str | None = OLD) -> SignedConfig:
    return SignedConfig(secret=Secret(new), previous_secret=Secret(old) if old else None)


Prove = Callable[[bytes, str, datetime], Headers]
CASES: Mapping[str, tuple[Webhook, Prove]] = {
    "arize": (Arize(signed()), by_arize),
    "arize-verbatim": (
        Arize(SignedConfig(token=Secret(NEW), previous_token=Secret(f"Bearer {OLD}"))),
        by_verbatim,
    ),
    "arize-bearer": (Arize(SignedConfig(token=Secret(NEW), previous_token=Secret(OLD))), by_token),
    "github": (
        GitHub(GitHubConfig(secret=Secret(NEW), previous_secret=Secret(OLD))),
        by_github,
    ),
    "grafana": (Grafana(signed()), by_grafana),
    "generic": (
        Generic(GenericConfig(secret=Secret(STANDARD[NEW]), previous_secret=Secret(STANDARD[OLD]))),
        by_standard,
    ),
    "changes": (
        Changes(ChangesConfig(secret=Secret(STANDARD[NEW]), previous_secret=Secret(STANDARD[OLD]))),
        by_standard,
    ),
    "alertmanager": (
        Alertmanager(TokenConfig(token=Secret(NEW), previous_token=Secret(OLD))),
        by_token,
    ),
}
BODY = b'{"name": "x"}'


def check(hook: Webhook, headers: Headers, body: bytes = BODY, now: datetime = NOW) -> str:
    return asyncio.run(hook.check(headers, body, now))


@pytest.mark.parametrize("name", CASES)
def test_the_secret_and_the_one_before_prove_a_request_and_nothing_else_does(name: str) -> None:
    hook, prove = CASES[name]
    assert hook.proves
    for secret in (NEW, OLD):
        identity = check(hook, prove(BODY, secret, NOW))
        assert identity == ("evt-1" if prove in (by_arize, by_github, by_standard) else "")
    good = prove(BODY, NEW, NOW)
    with pytest.raises(NotAuthentic):
        check(hook, {})
    if prove not in (by_token, by_verbatim):
        with pytest.raises(NotAuthentic):
            check(hook, good, BODY + b" ")
    for header in good:
        if header.endswith(("-id", "-delivery")):
            continue  # signed or not, an id is any text
        for odd in ("", "v1=", "sha256=", "é", "\x00", "Bearer", "9" * 40, "v1,%%%", "-1"):
            with pytest.raises(NotAuthentic):
                check(hook, {**good, header: odd})


@pytest.mark.parametrize("name", ["arize", "grafana", "generic"])
def test_an_old_request_proves_nothing_today(name: str) -> None:
    hook, prove = CASES[name]
    with pytest.raises(NotAuthentic, match="five minutes"):
        check(hook, prove(BODY, NEW, NOW - timedelta(minutes=6)))


def test_what_nothing_proves_is_open_only_when_that_was_written_down() -> None:
    assert not Alertmanager(TokenConfig()).proves
    assert not Alertmanager(TokenConfig()).is_open
    assert Alertmanager(TokenConfig(unsigned=True)).is_open
    with pytest.raises(ValueError, match="unsigned"):
        SignedConfig(secret=Secret("s"), unsigned=True)
    with pytest.raises(ValueError, match="previous_secret: set secret"):
        SignedConfig(previous_secret=Secret("s"))
    with pytest.raises(ValueError, match="whsec_"):
        GenericConfig(secret=Secret("plain"))
    assert set(WEBHOOKS) >= {"alertmanager", "arize", "datadog", "github", "grafana", "sns"}


# --- what Arize tells, in every shape it has told it ---


def arize(body: Mapping[str, Any]) -> Incoming:
    return Arize(SignedConfig()).read(body, NOW).alerts[0]


@pytest.mark.parametrize(
    "body",
    [
        {"monitor_name": "p95 of chat", "severity": "critical", "metric_value": 7.5,
         "segment": "region=eu"},
        {"monitorName": "p95 of chat", "priority": "P1", "metricValue": "7.5",
         "filters": [{"name": "region", "values": ["eu"]}], "status": "TRIGGERED"},
        {"event_action": "trigger", "payload": {
            "summary": "Arize: something", "severity": "critical",
            "custom_details": {"monitor_name": "p95 of chat", "current_value": 7.5,
                               "filter": {"dimension": "region", "value": "eu"}}}},
        {"data": {"monitor": {"name": "p95 of chat", "status": "triggered", "severity": "high",
                              "latest_computed_value": 7.5, "segment": "region=eu"}}},
    ],
    ids=["flat", "camel", "pagerduty", "nested"],
)  # fmt: skip
def test_a_monitor_of_arize_is_read_in_every_shape(body: Mapping[str, Any]) -> None:
    found = arize(body)
    assert (found.name, found.state, found.severity) == ("p95 of chat", "firing", "page")
    assert found.value == 7.5
    assert found.labels["segment"] == "region=eu"


def test_what_arize_says_more_is_kept_and_what_it_does_not_say_is_not_made_up() -> None:
    found = arize(
        {"name": "Drift", "model_name": "chat", "baseline": "training", "uri": "https://a.test/m"}
    )
    assert found.value is None
    assert found.details == {"baseline": "training"}
    assert (found.link, found.labels["project"]) == ("https://a.test/m", "chat")
    cleared, missing = (
        Arize(SignedConfig()).read({"name": "Drift", "status": "CLEARED"}, NOW).alerts
    )
    assert (cleared.state, missing.state) == ("resolved", "resolved")
    (unknown,) = Arize(SignedConfig()).read({"name": "Drift", "status": "NO_DATA"}, NOW).alerts
    assert (unknown.state, unknown.labels["signal"]) == ("firing", "no_data")
    assert unknown.key != found.key
    for bad in ({}, {"name": "x", "status": "purple"}, [1]):
        with pytest.raises(IntakeError):
            Arize(SignedConfig()).read(bad, NOW)


def test_a_new_prompt_in_arize_is_a_change() -> None:
    body = {
        "event": "prompt.version.labeled",
        "timestamp": "2026-11-20T11:59:00Z",
        "data": {"prompt_name": "support", "version": 7, "label": "production"},
    }
    (row,) = Arize(SignedConfig()).read(body, NOW).changes
    assert (row["kind"], row["title"]) == ("prompt", "support 7 labeled")
    assert row["labels"]["label"] == "production"


# --- what GitHub tells ---


def deployment(state: str = "success", environment: str = "production") -> dict[str, Any]:
    return {
        "action": "created",
        "deployment_status": {
            "state": state, "environment": environment, "description": "done",
            "created_at": "2026-11-20T11:58:00Z", "creator": {"login": "bot"},
            "target_url": "https://github.test/run/1",
        },
        "deployment": {"ref": "main", "sha": "3f2a1bcd00", "creator": {"login": "ana"}},
        "repository": {"full_name": "acme/chat"},
    }  # fmt: skip


def test_a_deployment_of_github_is_a_change_of_its_service() -> None:
    services = {"acme/chat": "chat", "acme/chat staging": "chat-staging"}
    hook = GitHub(GitHubConfig(services=services))
    (row,) = hook.read(deployment(), NOW).changes
    assert row["title"] == "acme/chat main (3f2a1bc) to production by ana: done"
    assert (row["kind"], row["service"], row["ts"]) == (
        "deploy",
        "chat",
        "2026-11-20T11:58:00Z",
    )
    (row,) = hook.read(deployment("failure", "staging"), NOW).changes
    assert (row["kind"], row["service"]) == ("deploy_failed", "chat-staging")
    assert not hook.read(deployment("in_progress"), NOW).changes
    assert not hook.read({"zen": "Keep it logically awesome.", "hook_id": 1}, NOW).changes
    only = GitHub(GitHubConfig(environments=("production",)))
    assert not only.read(deployment(environment="staging"), NOW).changes
    (row,) = only.read(deployment(), NOW).changes
    assert "service" not in row


# --- anything with a map ---


def test_a_map_reads_alerts_in_words_of_their_own() -> None:
    config = GenericConfig(
        fields={"name": "rule.title", "state": "state", "service": "tags.app", "value": "now",
                "severity": "=critical"},
        each="events",
        states={"1": "firing", "0": "resolved"},
    )  # fmt: skip
    events = [
        {"rule": {"title": "Queue"}, "state": "1", "tags": {"app": "chat"}, "now": "12.5"},
        {"rule": {}, "state": "1"},
        {"rule": {"title": "Queue"}, "state": 0, "tags": {"app": "search"}},
    ]
    told = Generic(config).read({"events": events}, NOW)
    first, second = told.alerts
    assert (first.name, first.service, first.value, first.severity) == (
        "Queue",
        "chat",
        12.5,
        "page",
    )
    assert (second.service, second.state) == ("search", "resolved")
    assert told.faults == ("[1].name is missing: what does the monitor call it?",)
    with pytest.raises(IntakeError, match="events is no list"):
        Generic(config).read({"events": 3}, NOW)
    with pytest.raises(ValueError, match="colour"):
        GenericConfig(fields={"name": "a", "colour": "b"})


def test_changes_are_read_one_by_one() -> None:
    told = Changes(ChangesConfig()).read(
        [{"kind": "prompt", "title": "v7"}, {"kind": "prompt"}, "x"], NOW
    )
    assert [row["title"] for row in told.changes] == ["v7"]
    assert len(told.faults) == 2
    assert json.dumps(told.changes)
