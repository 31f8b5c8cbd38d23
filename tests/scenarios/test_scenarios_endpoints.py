"""Endpoints that subscribe to a status page: challenged, told as Statuspage does, signed, ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from world import CONFIG, T0, Phase, World

from tocsin.delivery.channels.status_webhook import StatusWebhook, StatusWebhookConfig
from tocsin.delivery.http import client
from tocsin.delivery.outcome import Rejected
from tocsin.domain.secret import Secret
from tocsin.engine import endpoints
from tocsin.net.proof import check_standard
from tocsin.spec.desired import load_text
from tocsin.spec.lint import lint
from tocsin.store import subscribers
from tocsin.web.server import courier_for

PAGE = """
---
apiVersion: tocsin/v1
kind: StatusPage
metadata: {name: public, displayName: Example AI}
spec:
  url: https://status.example
  webhooks: endpoints
  components: [{name: Answers, service: chat}]
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: endpoints}
spec: {type: status_webhook, signing_key: {secret: WEBHOOK_SECRET_LONG}, allow_private: true}
"""
KEY = "a signing key of thirty-two characters or more"


@dataclass
class Endpoint:
    """A consumer's endpoint. how: echo the challenge, be silent about it, redirect, flood."""

    how: str = "echo"
    status: int = 200
    seen: list[tuple[dict[str, str], str]] = field(default_factory=list)
    url: str = ""

    def answer(self, body: str) -> tuple[int, dict[str, str], bytes]:
        said = json.loads(body)
        if self.how == "redirect":
            return 307, {"Location": self.url + "/elsewhere"}, b""
        if self.how == "flood":
            return 200, {}, b"x" * 3_000_000
        if "challenge" in said and self.how == "echo":
            return 200, {}, json.dumps({"challenge": said["challenge"]}).encode()
        return (204 if "challenge" in said else self.status), {}, b""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            made.seen.append(({k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, content = made.answer(body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the other side has read enough

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + PAGE.replace("WEBHOOK_SECRET_LONG", "SIGNING_KEY"))
    known = World._secret
    monkeypatch.setattr(
        World, "_secret", lambda self, name: KEY if name == "SIGNING_KEY" else known(self, name)
    )
    with World(tmp_path / "data", [Phase("chat", -60, 30, 6)], config=config) as world:
        yield world


def ask(made: World, url: str) -> httpx.Response:
    answer: httpx.Response = made.web.post(
        "/status/public/subscribe", data={"endpoint": url}, headers={"accept": "application/json"}
    )
    return answer


def publish(made: World, body: str = "We look into it.") -> str:
    given = {"title": "Answers fail", "body": body, "components": {"Answers": "major_outage"}}
    answer = made.web.post("/api/v1/status-pages/public/notices", json=given)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def send(made: World) -> None:
    async def drained() -> None:
        async with client() as http:
            courier = courier_for(made.house, http, made.settings, Random(1))
            await courier.drain(made.clock.now())

    asyncio.run(drained())


def held(made: World) -> list[str]:
    with made.state.reading() as tx:
        return [one.address for one in subscribers.of_page(tx, "public")]


def test_an_endpoint_that_answers_its_challenge_hears_what_is_published_until_it_ends_it(
    made: World, endpoint: Endpoint
) -> None:
    assert "Subscribe the endpoint" in made.web.get("/status/public/subscribe").text
    subscribed = ask(made, endpoint.url)
    assert subscribed.status_code == 201, subscribed.text
    assert subscribed.headers["cache-control"] == "no-store"
    given = subscribed.json()
    secret = Secret(given["secret"])
    headers, body = endpoint.seen.pop()
    check_standard([secret], headers, body.encode(), made.clock.now())
    notice = publish(made)
    path = f"/api/v1/status-pages/public/notices/{notice}/updates"
    made.clock.advance(timedelta(seconds=2))
    assert made.web.post(path, json={"status": "resolved", "body": "Over."}).status_code == 201
    made.clock.advance(timedelta(seconds=2))
    send(made)
    bodies = []
    for headers, body in endpoint.seen:
        check_standard([secret], headers, body.encode(), made.clock.now())
        bodies.append(json.loads(body))
    assert len({headers["webhook-id"] for headers, _ in endpoint.seen}) == 2
    first, last = bodies
    assert set(first) == {"meta", "page", "incident"}
    assert first["meta"]["unsubscribe"] == given["unsubscribe"]
    assert first["page"]["status_indicator"] == "critical"
    assert last["page"] == {
        "id": first["page"]["id"], "status_indicator": "none",
        "status_description": "All Systems Operational",
    }  # fmt: skip
    assert (last["incident"]["name"], last["incident"]["status"]) == ("Answers fail", "resolved")
    said = [each["body"] for each in last["incident"]["incident_updates"]]
    assert said == ["Over.", "We look into it."]
    served = made.web.get("/status/public/api/v2/incidents.json").json()["incidents"][0]
    assert last["incident"]["id"] == served["id"] == first["incident"]["id"]
    publish(made, "One that is not sent any more.")
    token = parse_qs(urlsplit(given["unsubscribe"]).query)["token"][0]
    assert made.web.post("/status/public/unsubscribe", data={"token": token}).status_code == 200
    assert held(made) == []
    made.clock.advance(timedelta(seconds=2))
    send(made)
    assert len(endpoint.seen) == 2


def test_an_endpoint_that_does_not_answer_its_challenge_is_no_subscriber(
    made: World, endpoint: Endpoint
) -> None:
    for how in ("silent", "redirect", "flood"):
        endpoint.how = how
        refused = ask(made, endpoint.url)
        assert refused.status_code == 400
        assert "the endpoint answered" in refused.json()["detail"] or how != "redirect"
        assert held(made) == []
        assert "just now" in ask(made, endpoint.url).json()["detail"]
        made.clock.advance(endpoints.AGAIN_AFTER)
    assert len(endpoint.seen) == 3, "nobody is made to ask a stranger again and again"
    for n in range(endpoints.MOST_CHALLENGES):
        last = ask(made, f"{endpoint.url}/{n}")
    assert "too many ask" in last.json()["detail"]
    assert len(endpoint.seen) == endpoints.MOST_CHALLENGES


def test_an_endpoint_that_takes_nothing_for_days_is_forgotten(
    made: World, endpoint: Endpoint
) -> None:
    assert ask(made, endpoint.url).status_code == 201
    endpoint.status = 404
    for day in range(4):
        publish(made, f"Day {day}.")
        made.clock.advance(timedelta(seconds=2))
        send(made)
        assert held(made) == [endpoint.url]
        made.clock.advance(timedelta(days=1))
    publish(made, "The last one.")
    assert held(made) == []
    assert len(endpoint.seen) == 5
    assert "status.forgotten" in [entry.kind for entry in made.state.ledger_entries()]


def test_a_page_needs_a_receiver_that_writes_to_strangers() -> None:
    text = CONFIG.read_text() + PAGE.replace("webhooks: endpoints", "webhooks: slack")
    found = [str(one) for one in lint(load_text(text)) if one.rule == "subscribers"]
    assert found == [
        "error: status page 'public': webhooks needs a receiver of type status_webhook; 'slack' is"
        " of type slack"
    ]
    assert not [f for f in lint(load_text(CONFIG.read_text() + PAGE)) if "endpoints" in f.subject]


def test_only_https_addresses_of_others_are_sent_anything() -> None:
    def why(url: str, **settings: Any) -> str:
        return StatusWebhook(StatusWebhookConfig(Secret(KEY), **settings)).why_not(url)

    assert why("https://hooks.example.org/x") == ""
    for url in ("http://hooks.example.org/x", "ftp://x/", "hooks.example.org", "https://", "",
                "https://ü.example.org/", "https://u:p@example.org/", "https://x.example.org/#a",
                "https://[::1", f"https://example.org/{'x' * 600}"):  # fmt: skip
        assert why(url), url
    assert why("https://a.example.org/", hosts=("example.org",)) == ""
    assert why("https://notexample.org/", hosts=("example.org",))

    async def outcome(url: str) -> Any:
        channel = StatusWebhook(StatusWebhookConfig(Secret(KEY)))
        async with client() as http:
            return await channel._post(url, "k", "{}", "t", T0, http)

    for url in ("https://127.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/",
                "https://10.0.0.1/", "https://[::ffff:10.0.0.1]/"):  # fmt: skip
        assert asyncio.run(outcome(url)) == Rejected("the endpoint cannot be reached")
    with pytest.raises(ValueError, match="at least 32"):
        StatusWebhookConfig(Secret("short"))
