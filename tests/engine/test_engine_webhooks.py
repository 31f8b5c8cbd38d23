"""Webhooks from the door to the decision: who is let in, what counts once, what is old news."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from outside_build import NOW, Bench, empty
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from tocsin.domain.clock import iso
from tocsin.domain.errors import IntakeError
from tocsin.domain.findings import IncidentState
from tocsin.engine.waiting import Sender
from tocsin.intake.alerts.arize import monitor
from tocsin.store.telemetry import Telemetry
from tocsin.web.alert_doors import HOOKS, AlertDoors
from tocsin.web.auth import AuthPolicy, hash_token
from tocsin.web.guard import Guard

SECRET, TOKEN = "arize signs with this", "an access token of its own"
HOOKS_CONFIG = """
---
apiVersion: tocsin/v1
kind: Webhook
metadata: {name: arize}
spec: {type: arize, secret: {secret: ARIZE}, service: chat}
---
apiVersion: tocsin/v1
kind: Webhook
metadata: {name: bare}
spec: {type: generic, labels: {region: eu}}
---
apiVersion: tocsin/v1
kind: Webhook
metadata: {name: wide-open}
spec: {type: generic, unsigned: true}
---
apiVersion: tocsin/v1
kind: Webhook
metadata: {name: github}
spec: {type: github, secret: {secret: ARIZE}, services: {acme/chat: chat}}
"""


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telemetry]:
    made = empty(tmp_path_factory.mktemp("telemetry"))
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path: Path, telemetry: Telemetry) -> Iterator[Bench]:
    made = Bench(tmp_path, telemetry, HOOKS_CONFIG, ARIZE=SECRET)
    yield made
    made.close()


def door(bench: Bench, *, host: str = "0.0.0.0") -> TestClient:
    token = hash_token(TOKEN) if host != "127.0.0.1" else None
    policy = AuthPolicy.for_bind(host, token_hash=token, open_paths=(HOOKS,))
    app = Starlette(
        routes=AlertDoors(bench.outside).routes(),
        middleware=[Middleware(Guard, policy=policy, clock=bench.clock)],
    )
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def signed(body: bytes, bench: Bench, identity: str = "evt-1") -> Mapping[str, str]:
    stamp = str(int(bench.clock.now().timestamp()))
    made = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "X-Arize-Webhook-Signature": f"v1={made}",
        "X-Arize-Webhook-Timestamp": stamp,
        "X-Arize-Webhook-Id": identity,
    }


def body_of(**changes: Any) -> bytes:
    told = {"monitor_name": "p95 of chat", "severity": "critical", "metric_value": 7.5}
    return json.dumps({**told, **changes}).encode()


def test_a_signed_request_is_kept_decided_and_counts_once(bench: Bench) -> None:
    client, body = door(bench), body_of()
    first = client.post("/hooks/arize", content=body, headers=signed(body, bench))
    assert first.status_code == 202
    again = client.post("/hooks/arize", content=body, headers=signed(body, bench))
    assert again.json() == first.json()
    assert bench.outside.work() == 1
    (found,) = bench.incidents()
    assert (found.state, found.tier) == (IncidentState.TRIGGERED, 1)
    assert (found.labels["service"], found.labels["source"]) == ("chat", "arize")
    assert found.labels["team"] == "cx"
    over = body_of(status="CLEARED")
    client.post("/hooks/arize", content=over, headers=signed(over, bench, "evt-2"))
    assert bench.outside.work() == 1
    assert bench.incidents()[0].state is IncidentState.RESOLVED


def test_what_is_not_authentic_is_401_and_never_kept(bench: Bench) -> None:
    client, body = door(bench), body_of()
    good = signed(body, bench)
    for headers in (
        {},
        {"Authorization": f"Bearer {TOKEN}"},  # of Tocsin, which is not the sender's proof
        {**good, "X-Arize-Webhook-Signature": "v1=zz"},
        {**good, "X-Arize-Webhook-Timestamp": "9" * 12},
        {**good, "X-Arize-Webhook-Timestamp": "\xb2\xb3"},
    ):
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        assert client.post("/hooks/arize", content=body, headers=sent).status_code == 401
    assert client.post("/hooks/nobody", content=body).status_code == 404
    assert client.post("/hooks/arize", content=b" " * (3 << 20)).status_code == 413
    assert bench.outside.work() == 0


def test_what_nothing_proves_needs_loopback_the_access_token_or_a_word_in_writing(
    bench: Bench,
) -> None:
    body = b'{"name": "Queue", "service": "chat"}'
    client = door(bench)
    assert client.post("/hooks/bare", content=body).status_code == 401
    login = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("/hooks/bare", content=body, headers=login).status_code == 202
    assert client.post("/hooks/wide-open", content=body).status_code == 202
    assert door(bench, host="127.0.0.1").post("/hooks/bare", content=body).status_code == 202
    bench.outside.work()
    assert {a.labels["source"] for a in bench.state.alerts().values()} == {"bare", "wide-open"}
    assert any(a.labels.get("region") == "eu" for a in bench.state.alerts().values())


def polled(bench: Bench, status: str, at_minutes: int, name: str = "p95 of chat") -> int:
    at = iso(NOW + timedelta(minutes=at_minutes))
    given = {"id": "mon-1", "name": name, "status": status, "evaluated_at": at}
    found = monitor(given, bench.clock.now(), has_namesake=False)
    return bench.outside.hear(Sender("arize", "chat"), found, bench.clock.now())


def test_a_poll_finds_the_alert_that_a_notification_raised_by_name(bench: Bench) -> None:
    bench.outside.accept("generic", b'{"name": "other", "service": "chat"}')
    client, body = door(bench), body_of()
    client.post("/hooks/arize", content=body, headers=signed(body, bench))
    bench.outside.work()
    before = set(bench.state.alerts())
    bench.later(minutes=5)
    polled(bench, "TRIGGERED", 4)
    assert set(bench.state.alerts()) == before  # one alert, not two
    bench.later(minutes=5)
    assert polled(bench, "CLEARED", 9) == 1  # its end was never told
    assert len(bench.state.alerts()) == 1


def test_a_poll_raises_what_was_never_told_and_old_news_changes_nothing(bench: Bench) -> None:
    bench.later(minutes=20)
    assert polled(bench, "TRIGGERED", 5) == 1
    assert polled(bench, "CLEARED", 15) == 1
    assert polled(bench, "TRIGGERED", 10) == 0  # told late
    assert not bench.state.alerts()
    assert polled(bench, "CLEARED", 18, "another") == 0
    assert polled(bench, "TRIGGERED", 17, "another") == 0
    bench.later(minutes=5)
    assert polled(bench, "TRIGGERED", 24) == 1


def test_no_data_neither_raises_nor_ends_the_alert_it_is_about(bench: Bench) -> None:
    bench.later(minutes=20)
    polled(bench, "TRIGGERED", 5)
    polled(bench, "NO_DATA", 10)
    signals = {a.labels["signal"]: a.severity for a in bench.state.alerts().values()}
    assert signals == {"p95_of_chat": "ticket", "no_data": "ticket"}
    polled(bench, "TRIGGERED", 15)
    assert {a.labels["signal"] for a in bench.state.alerts().values()} == {"p95_of_chat"}


def test_a_deployment_is_kept_once_as_a_change_of_its_service(bench: Bench) -> None:
    kept: dict[bytes, Sequence[Mapping[str, Any]]] = {}
    fails = [True]

    def keep(rows: Sequence[Mapping[str, Any]], name: bytes) -> None:
        if fails.pop() if fails else False:
            raise IntakeError(503, "the store is full")
        kept[name] = rows

    bench.outside.then(lambda: None, keep)
    told = {
        "deployment_status": {"state": "success", "environment": "production"},
        "deployment": {"ref": "main", "sha": "3f2a1bcd00"},
        "repository": {"full_name": "acme/chat"},
    }
    other = {**told, "repository": {"full_name": "acme/unknown"}}
    client = door(bench)
    for number, each in enumerate((told, other, {"zen": "x"})):
        body = json.dumps(each).encode()
        made = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={made}", "X-GitHub-Delivery": str(number)}
        assert client.post("/hooks/github", content=body, headers=headers).status_code == 202
    bench.outside.work()  # the store was full: it stays in the inbox
    assert not kept
    bench.outside.work()
    ((row,),) = kept.values()
    assert (row["service"], row["kind"]) == ("chat", "deploy")
    (refused,) = bench.outside.refused()
    assert "whose change is it" in refused.reason
