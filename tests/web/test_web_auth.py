from __future__ import annotations

from datetime import timedelta

import pytest
from page_tree import parse
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from web_desk import NOW, MemoryDesk

from tocsin.domain.clock import ManualClock
from tocsin.domain.findings import IncidentState
from tocsin.web import auth
from tocsin.web.app import create_app

TOKEN = "correct-horse-battery"
INCIDENT = "/incidents/support/latency_p95-3"
HTML = {"Accept": "text/html"}


@pytest.fixture
def guarded(desk: MemoryDesk, clock: ManualClock) -> TestClient:
    async def intake(_: object) -> PlainTextResponse:
        return PlainTextResponse("taken")

    policy = auth.AuthPolicy.for_bind(
        "0.0.0.0",
        token_hash=auth.hash_token(TOKEN),
        public_url="https://tocsin.example",
        open_paths=("/v1/hooks/",),
    )
    app = create_app(
        desk,
        intake_routes=[
            Route("/v1/traces", intake, methods=["POST"]),
            Route("/v1/hooks/github", intake, methods=["POST"]),
        ],
        sink_app=Starlette(routes=[Route("/slack", intake, methods=["POST"])]),
        auth=policy,
        clock=clock,
    )
    return TestClient(app, base_url="https://tocsin.example", raise_server_exceptions=False)


def form_of(client: TestClient, path: str = INCIDENT) -> dict[str, str]:
    page = parse(client.get(path, headers=HTML).text)
    token = next(n for n in page.all("input") if n.attributes.get("name") == "form_token")
    return {"form_token": token.attributes["value"]}


def log_in(client: TestClient, token: str = TOKEN, **more: str) -> object:
    data = {**form_of(client, "/login"), "token": token, **more}
    return client.post("/login", data=data, headers=HTML, follow_redirects=False)


# --- The policy


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_login(host: str) -> None:
    assert not auth.AuthPolicy.for_bind(host).needs_login


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "tocsin.example", ""])
def test_any_other_address_without_a_token_is_refused_with_the_fix(host: str) -> None:
    with pytest.raises(auth.AuthError, match=r"set TOCSIN_TOKEN, or bind to 127\.0\.0\.1"):
        auth.AuthPolicy.for_bind(host)


def test_a_short_token_is_refused_and_not_repeated() -> None:
    with pytest.raises(auth.AuthError, match="at least 16") as raised:
        auth.hash_token("hunter2")
    assert "hunter2" not in str(raised.value)


def test_only_the_hash_of_the_token_is_kept() -> None:
    policy = auth.AuthPolicy.for_bind("0.0.0.0", token_hash=auth.hash_token(TOKEN))
    assert TOKEN not in repr(policy)
    assert "signing_key" not in repr(policy)
    assert policy.accepts(TOKEN)
    assert not policy.accepts(TOKEN + "x")
    assert not policy.accepts("")


# --- The guard on loopback


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:4318", "", "localhost.x"])
def test_a_rebound_host_name_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 421
    answer = client.get("/api/v1/calls", headers={"Host": host})
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["localhost:4318", "127.0.0.1", "[::1]:4318", "LOCALHOST"])
def test_this_machine_by_any_name_is_let_in(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:4318"},
    ],
)
def test_another_sites_page_can_change_nothing(
    client: TestClient, desk: MemoryDesk, headers: dict[str, str]
) -> None:
    data = form_of(client)
    assert client.post(INCIDENT + "/acknowledge", data=data, headers=headers).status_code == 403
    answer = client.post(
        "/api/v1/incidents/support/latency_p95-3/acknowledge", json={"actor": "x"}, headers=headers
    )
    assert answer.status_code == 403
    assert desk.incident("support/latency_p95-3").row.state is IncidentState.TRIGGERED


@pytest.mark.parametrize("origin", ["arize-logging-client", "my-batch-job"])
def test_a_client_that_names_itself_as_origin_is_no_page_of_another_site(
    client: TestClient, origin: str
) -> None:
    path = "/api/v1/incidents/support/latency_p95-3/acknowledge"
    answer = client.post(path, json={"actor": "x"}, headers={"Origin": origin})
    assert answer.status_code == 200, answer.text


# --- Forms


def test_a_form_with_its_token_acknowledges_and_says_so(
    client: TestClient, desk: MemoryDesk
) -> None:
    data = {**form_of(client), "name": " Ana  B. "}
    answer = client.post(INCIDENT + "/acknowledge", data=data, headers=HTML)
    assert answer.url.path == INCIDENT
    assert "Acknowledged. Escalation stops" in answer.text
    assert desk.incident("support/latency_p95-3").row.acknowledged_by == "web:Ana B."


@pytest.mark.parametrize("token", ["", "a.b", "nonsense", "ü.ü"])
def test_a_form_without_its_token_is_refused(
    client: TestClient, desk: MemoryDesk, token: str
) -> None:
    client.get(INCIDENT)
    answer = client.post(INCIDENT + "/acknowledge", data={"form_token": token}, headers=HTML)
    assert answer.status_code == 403
    assert "reload, try again" in answer.text
    assert desk.incident("support/latency_p95-3").row.acknowledged_by == ""


def test_a_token_of_another_browser_is_refused(client: TestClient) -> None:
    data = form_of(client)
    client.cookies.clear()
    assert client.post(INCIDENT + "/acknowledge", data=data).status_code == 403


def test_form_tokens_differ_every_time_so_that_compression_tells_nothing(
    client: TestClient,
) -> None:
    assert form_of(client) != form_of(client)


@pytest.mark.parametrize("action", ["acknowledge", "resolve", "verdict"])
def test_a_link_a_prefetch_or_a_mail_scanner_never_acts(
    client: TestClient, desk: MemoryDesk, action: str
) -> None:
    before = desk.incident("support/latency_p95-3").row
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.request(method, f"{INCIDENT}/{action}").status_code in (404, 405)
        assert client.request(method, f"/api/v1{INCIDENT}/{action}").status_code in (404, 405)
    assert desk.incident("support/latency_p95-3").row == before


def test_resolving_needs_a_reason_and_is_refused_twice(
    client: TestClient, desk: MemoryDesk
) -> None:
    data = form_of(client)
    answer = client.post(INCIDENT + "/resolve", data={**data, "reason": "  "}, headers=HTML)
    assert answer.status_code == 400
    assert "say in a few words" in answer.text
    done = {**data, "reason": "rolled back v42"}
    assert "Resolved." in client.post(INCIDENT + "/resolve", data=done, headers=HTML).text
    again = client.post(INCIDENT + "/resolve", data=done, headers=HTML)
    assert again.status_code == 409
    assert "is already resolved" in again.text


def test_a_verdict_is_recorded_and_a_made_up_one_refused(
    client: TestClient, desk: MemoryDesk
) -> None:
    data = form_of(client)
    answer = client.post(INCIDENT + "/verdict", data={**data, "verdict": "noise"})
    assert "The verdict is recorded" in answer.text
    assert desk.incident("support/latency_p95-3").row.verdict == "noise"
    assert client.post(INCIDENT + "/verdict", data={**data, "verdict": "meh"}).status_code == 400


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"name=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"name=\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"name=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=b" for _ in range(99)), "application/x-www-form-urlencoded", 400),
    ],
)
def test_what_is_no_form_is_a_clear_4xx(
    client: TestClient, content: bytes, kind: str, status: int
) -> None:
    client.get(INCIDENT)
    answer = client.post(
        INCIDENT + "/acknowledge", content=content, headers={"Content-Type": kind, **HTML}
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil", "/a\nb", ""]
)
def test_no_form_redirects_off_this_server(client: TestClient, wanted: str) -> None:
    answer = client.post("/theme", data={"theme": "dark", "next": wanted}, follow_redirects=False)
    assert answer.headers["location"] == "/"


# --- With a token


def test_everything_but_health_and_login_needs_the_token(guarded: TestClient) -> None:
    for path in ("/", INCIDENT, "/api/v1/calls", "/api/openapi.json", "/sinks/slack"):
        answer = guarded.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    assert guarded.post("/v1/traces", content=b"x").status_code == 401
    assert guarded.post("/v1/hooks/github", content=b"x").text == "taken"
    assert guarded.get("/healthz").status_code == 200


def test_a_browser_is_sent_to_the_login_form_and_back(guarded: TestClient) -> None:
    answer = guarded.get(INCIDENT + "?done=x", headers=HTML, follow_redirects=False)
    assert answer.status_code == 303
    page = parse(guarded.get(answer.headers["location"], headers=HTML).text)
    wanted = next(n for n in page.all("input") if n.attributes.get("name") == "next")
    answer = log_in(guarded, next=wanted.attributes["value"])
    assert answer.status_code == 303
    assert answer.headers["location"] == INCIDENT + "?done=x"
    cookie = answer.headers["set-cookie"].lower()
    for part in ("httponly", "secure", "samesite=lax"):
        assert part in cookie
    assert guarded.get("/", headers=HTML).status_code == 200


def test_a_wrong_token_is_refused_and_guessing_is_slowed_down(
    guarded: TestClient, clock: ManualClock
) -> None:
    for _ in range(8):
        assert log_in(guarded, "wrong-wrong-wrong-wrong").status_code == 401
    answer = log_in(guarded)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    clock.advance(timedelta(minutes=2))
    assert log_in(guarded).status_code == 303


def test_a_session_ends_after_its_life_and_on_logout(
    guarded: TestClient, clock: ManualClock
) -> None:
    log_in(guarded)
    clock.advance(auth.SESSION_LIFE - timedelta(seconds=1))
    assert guarded.get("/calls").status_code == 200
    clock.advance(timedelta(seconds=2))
    assert guarded.get("/calls").status_code == 401
    log_in(guarded)
    guarded.post("/logout", data=form_of(guarded), headers=HTML)
    assert guarded.get("/calls").status_code == 401


@pytest.mark.parametrize("value", ["", "x", "9999999999.abc.def", "9999999999..", "é.é.é"])
def test_a_made_up_session_is_refused(value: str) -> None:
    policy = auth.AuthPolicy.for_bind("0.0.0.0", token_hash=auth.hash_token(TOKEN))
    assert not auth.is_session(policy, value, NOW)
    good = auth.new_session(policy, NOW)
    assert auth.is_session(policy, good, NOW)
    for place in range(len(good)):
        changed = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
        assert not auth.is_session(policy, changed, NOW)


def test_a_new_token_ends_old_sessions() -> None:
    key = b"k" * 32
    old = auth.AuthPolicy.for_bind("::", token_hash=auth.hash_token(TOKEN), signing_key=key)
    new = auth.AuthPolicy.for_bind("::", token_hash=auth.hash_token(TOKEN * 2), signing_key=key)
    assert not auth.is_session(new, auth.new_session(old, NOW), NOW)


def test_a_bearer_token_reads_and_acts_without_a_cookie(guarded: TestClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/api/v1/calls", headers=headers).status_code == 200
    assert guarded.post("/v1/traces", content=b"x", headers=headers).text == "taken"
    answer = guarded.post(
        "/api/v1/incidents/support/latency_p95-3/acknowledge",
        json={"actor": "ana"},
        headers={**headers, "Origin": "https://chat.example"},
    )
    assert answer.status_code == 200
    for wrong in ("Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"{TOKEN}x"):
        assert guarded.get("/api/v1/calls", headers={"Authorization": wrong}).status_code == 401


@pytest.mark.parametrize("header", ["authorization", "api_key"])
def test_the_token_is_found_where_the_clients_of_arize_put_it(
    guarded: TestClient, header: str
) -> None:
    assert guarded.post("/v1/log", content=b"x", headers={header: TOKEN}).status_code != 401
    assert guarded.post("/v1/log", content=b"x", headers={header: "another"}).status_code == 401


def test_a_session_cookie_alone_cannot_be_used_by_another_site(guarded: TestClient) -> None:
    log_in(guarded)
    answer = guarded.post("/v1/traces", content=b"x", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    own = {"Origin": "https://tocsin.example"}
    assert guarded.post("/v1/traces", content=b"x", headers=own).status_code == 200


def test_the_setup_page_of_a_guarded_server_mentions_the_token(guarded: TestClient) -> None:
    text = guarded.get("/setup", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert "OTEL_EXPORTER_OTLP_HEADERS" in text
    assert TOKEN not in text


def test_readiness_tells_strangers_less(guarded: TestClient, desk: MemoryDesk) -> None:
    desk.problems["telemetry"] = "disk /data is full"
    answer = guarded.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"telemetry": "failing", "state": "ok", "engine": "ok"}
    trusted = guarded.get("/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    assert trusted.json()["checks"]["telemetry"] == "disk /data is full"


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/calls", "/nope", "/api/nope"])
def test_every_answer_carries_the_safe_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_websockets_are_turned_away(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass
