"""Google Cloud Logging through the real google-auth, against a strict Logging API on loopback."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from source_build import NOW, Yard, configured, yard

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.errors import SpecError

pytest.importorskip("google.oauth2.service_account", reason="google-auth is not installed")
pytest.importorskip("cryptography", reason="cryptography is not installed")
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

MINUTE = timedelta(minutes=1)
SPAN = re.compile(r'timestamp >= "([^"]+)" AND timestamp < "([^"]+)"(?: AND \((.*)\))?')
AUDIENCE = "https://oauth2.googleapis.com/token"  # whatever the address of the endpoint
TOKEN = "ya29.given-to-tocsin"


@dataclass
class Google:
    """seen: insertId -> the instant from which an entry is shown."""

    now: datetime
    url: str = ""
    entries: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, datetime] = field(default_factory=dict)
    page: int = 1000
    statuses: list[int] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    tokens: dict[str, tuple[str, int]] = field(default_factory=dict)
    given: int = 0
    public: bytes = b""

    def list_entries(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """entries.list, as its reference describes it."""
        if self.statuses:
            return self.statuses.pop(0), {}
        self.asked.append(body)
        match = SPAN.fullmatch(body["filter"])
        if set(body) - {"resourceNames", "filter", "orderBy", "pageSize", "pageToken"} or not match:
            return 400, {}
        if body["resourceNames"] != ["projects/p"] or not 1 <= body["pageSize"] <= 1000:
            return 400, {}
        start, stop, wanted = match.groups()
        found = [
            e for e in sorted(self.entries, key=lambda e: e["timestamp"])
            if parse_iso(start) <= parse_iso(e["timestamp"]) < parse_iso(stop)
            and self.seen.get(e["insertId"], NOW - timedelta(days=1)) <= self.now
            and (not wanted or wanted.strip('"') in json.dumps(e))
        ]  # fmt: skip
        rest = json.dumps({k: v for k, v in body.items() if k != "pageToken"}, sort_keys=True)
        first = 0
        if "pageToken" in body:
            held = self.tokens.get(body["pageToken"])
            if held is None or held[0] != rest:
                return 400, {}
            first = held[1]
        last = first + min(self.page, body["pageSize"])
        answer: dict[str, Any] = {"entries": found[first:last]} if found[first:last] else {}
        if last < len(found):
            answer["nextPageToken"] = f"t{len(self.tokens)}"
            self.tokens[answer["nextPageToken"]] = (rest, last)
        return 200, answer

    def give_token(self, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """A token for a signed assertion, as RFC 7523 has it."""
        claims = jwt.decode(form["assertion"][0], certs=self.public, audience=AUDIENCE)
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        assert claims["scope"] == "https://www.googleapis.com/auth/logging.read"
        self.given += 1
        return 200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}


@contextmanager
def google() -> Iterator[Google]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/token":
                status, answer = held.give_token(parse_qs(body.decode()))
            elif self.path != "/v2/entries:list":
                status, answer = 404, {}
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, answer = 401, {}
            else:
                status, answer = held.list_entries(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held = Google(NOW, f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with yard(tmp_path_factory.mktemp("gcp")) as opened:
        yield opened


@pytest.fixture
def made(stores: Yard, request: pytest.FixtureRequest) -> Yard:
    return stores.another(re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-"))


@pytest.fixture
def cloud(key: rsa.RSAPrivateKey) -> Iterator[Google]:
    with google() as held:
        held.public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        yield held


def account(cloud: Google, key: rsa.RSAPrivateKey) -> str:
    """The JSON of a service account's key."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps({
        "type": "service_account", "client_email": "tocsin@p.iam.gserviceaccount.com",
        "private_key_id": "k1", "private_key": pem.decode(), "token_uri": f"{cloud.url}/token",
    })  # fmt: skip


def use(made: Yard, cloud: Google, key: rsa.RSAPrivateKey, more: str = "") -> None:
    made.use(
        f"type: gcp_logging\nresources: [projects/p]\nendpoint: {cloud.url}\n"
        f"allow_private: true\ncredentials: {{secret: GCP_KEY}}\n{more}",
        {"GCP_KEY": account(cloud, key)},
    )


def poll(made: Yard, cloud: Google, times: int = 1, every: timedelta = MINUTE):  # type: ignore[no-untyped-def]
    instants = [made.clock.now() + every * n for n in range(times)]

    def tell(number: int) -> None:
        cloud.now = instants[number]

    return made.poll_at(instants, tell)


def entry(number: int, at: datetime, **more: Any) -> dict[str, Any]:
    return {
        "logName": "projects/p/logs/app", "insertId": f"i{number}", "timestamp": iso(at),
        "receiveTimestamp": iso(at), "severity": "INFO", "resource": {"type": "k8s_container"},
        **(more or {"textPayload": f"line {number}"}),
    }  # fmt: skip


def bodies(made: Yard) -> list[str]:
    rows = made.rows(f"SELECT body FROM tocsin.logs WHERE service = '{made.name}'")
    return sorted(row["body"] for row in rows)


def test_late_entries_in_pages_are_each_taken_once_by_one_token(
    made: Yard, cloud: Google, key: rsa.RSAPrivateKey
) -> None:
    cloud.entries = [entry(n, NOW - 5 * MINUTE + timedelta(seconds=2 * n)) for n in range(300)]
    cloud.seen = {
        e["insertId"]: parse_iso(e["timestamp"]) + timedelta(seconds=(1, 20, 80)[n % 3])
        for n, e in enumerate(cloud.entries)
    }
    cloud.page = 9
    use(made, cloud, key, "overlap: 2m\nfirst: 10m")
    status = poll(made, cloud, 60, timedelta(seconds=10))
    assert (status.state, status.failures, status.entries) == ("up", 0, 300)
    assert bodies(made) == sorted(f"line {n}" for n in range(300))
    assert cloud.given == 1


def test_entries_about_requests_become_calls_and_the_others_log_records(
    made: Yard, cloud: Google, key: rsa.RSAPrivateKey
) -> None:
    request = {"status": 200, "latency": "1.250s", "requestMethod": "POST"}
    told = {
        "httpRequest": request,
        "jsonPayload": {"model": "gemini-2.0-flash", "in": 12, "out": 3},
    }
    failed = {**told, "httpRequest": {**request, "status": 429}}
    at = NOW - MINUTE
    cloud.entries = [entry(1, at, **told), entry(2, at + MINUTE / 2, **failed), entry(3, at)]
    use(made, cloud, key, """calls:
  duration_ms: httpRequest.latency
  http_status: httpRequest.status
  model: jsonPayload.model
  input_tokens: jsonPayload.in
  output_tokens: jsonPayload.out
  provider: =gcp.vertex_ai""")  # fmt: skip
    poll(made, cloud, 3)
    ok, bad = made.rows(f"SELECT * FROM tocsin.calls WHERE service = '{made.name}' ORDER BY ts")
    assert (ok["duration_us"], ok["model"], ok["input_tokens"]) == (
        1_250_000,
        "gemini-2.0-flash",
        12,
    )
    assert (ok["error_class"], bad["error_class"]) == ("", "rate_limit")
    assert bodies(made) == ["line 3"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(429, "Google asks for patience (HTTP 429)"), (403, "Google refuses (HTTP 403)")],
)
def test_a_refusal_is_unknown_and_nothing_is_missed(
    made: Yard, cloud: Google, key: rsa.RSAPrivateKey, status: int, reason: str
) -> None:
    cloud.entries = [entry(1, NOW - MINUTE)]
    cloud.statuses = [status]
    use(made, cloud, key)
    assert poll(made, cloud).reason == reason
    assert poll(made, cloud, 2).state == "up"
    assert bodies(made) == ["line 1"]


def test_a_page_token_that_is_no_longer_known_begins_its_window_anew(
    made: Yard, cloud: Google, key: rsa.RSAPrivateKey
) -> None:
    cloud.entries = [entry(n, NOW - MINUTE) for n in range(40)]
    cloud.page = 5
    use(made, cloud, key)
    poll(made, cloud)
    cloud.tokens.clear()
    poll(made, cloud, 4)
    assert bodies(made) == sorted(f"line {n}" for n in range(40))


def test_a_key_that_google_does_not_know_is_refused_and_never_shown(
    made: Yard, cloud: Google
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    use(made, cloud, other)
    status = poll(made, cloud)
    assert status.state == "unknown"
    assert status.reason.startswith("Google gives no token")
    assert "PRIVATE KEY" not in repr(made.runner._wanted) + repr(made.runner.statuses())


def test_credentials_must_be_a_key(made: Yard) -> None:
    with pytest.raises(SpecError, match="JSON text of a service account's key"):
        configured(
            "type: gcp_logging\nresources: [projects/p]\ncredentials: {secret: K}", {"K": "/a/path"}
        )
