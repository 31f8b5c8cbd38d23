"""Mail, against a real SMTP server on loopback, and the demo's own mailbox."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from delivery_build import T0, World, incident, message

from tocsin.delivery.channels.email import Email, EmailConfig, compose
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Rejected, Retry
from tocsin.delivery.smtp_sink import serve_smtp
from tocsin.domain.secret import Secret

PASSWORD = "averysecretpassword"


class Mailbox:
    """Keeps mail; answers each command as it is told to, then as a server does."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = dict(answers)
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []

    async def handle_MAIL(  # noqa: N802 (aiosmtpd's names)
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        envelope.mail_from = address
        return self.answers.get("MAIL", "250 ok")

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        answer = self.answers.get(f"RCPT {address}", self.answers.get("RCPT", "250 ok"))
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        answer = self.answers.get("DATA", "250 ok")
        if answer == "hang":
            await asyncio.sleep(5)
        if answer == "drop":
            assert server.transport is not None
            server.transport.abort()
            return "250 never seen"
        if answer.startswith("250"):
            self.recipients = list(envelope.rcpt_tos)
            mail = message_from_bytes(envelope.content, policy=default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
        return answer


@contextmanager
def mail_server(answers: Mapping[str, str] | None = None, **options: Any) -> Iterator[Any]:
    box = Mailbox(answers or {})
    controller = Controller(box, hostname="127.0.0.1", port=0, **options)
    controller.port = _free_port()
    controller.start()
    try:
        yield box, controller.port
    finally:
        controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(port: int, **changes: Any) -> EmailConfig:
    fields: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "sender": "Tocsin <tocsin@example.org>",
        "to": ("ana@example.org", "bo@example.org"),
    }
    return EmailConfig(**{**fields, **changes})


def send(config: EmailConfig, what: Message | None = None) -> Outcome:
    async def go() -> Outcome:
        async with httpx.AsyncClient() as http:
            return await Email(config).send(what or message(), http)

    return asyncio.run(go())


def test_a_mail_says_everything_in_text_and_html() -> None:
    with mail_server() as (box, port):
        outcome = send(settings(port), message(title="Ünïcödé <b>", who=("ana",)))
    assert isinstance(outcome, Delivered)
    (mail,) = box.mails
    assert mail["Subject"] == "[critical] Firing: Ünïcödé <b>"
    assert mail["From"] == "Tocsin <tocsin@example.org>"
    assert mail["To"] == "ana@example.org, bo@example.org"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "tocsin.example.org" in mail["List-Id"]
    assert mail["Message-ID"] == outcome.remote_ref["message_id"]
    assert mail["Date"].datetime == T0
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    html = mail.get_body(("html",)).get_content()  # type: ignore[union-attr]
    for said in ("one call in four fails", "25 %", "deploy support 4.2", "look at the deploy"):
        assert said in text
        assert said in html
    assert "https://tocsin.example.org/incidents/support-1" in text
    assert "<b>" not in html
    assert "Ünïcödé &lt;b&gt;" in html
    assert box.recipients == ["ana@example.org", "bo@example.org"]


def test_the_same_message_is_the_same_mail_and_an_incident_is_one_thread() -> None:
    config = settings(1)
    first, again = compose(message(), config), compose(message(at=T0 + timedelta(1)), config)
    assert first["Message-ID"] == again["Message-ID"]
    resolve = compose(message(key="k2", action="resolve"), config)
    other = compose(message(key="k3", subject="other-1"), config)
    assert resolve["Message-ID"] != first["Message-ID"]
    assert resolve["References"] == first["References"] == first["In-Reply-To"]
    assert other["References"] != first["References"]


def test_a_header_cannot_be_smuggled_in() -> None:
    mail = compose(message(title="x\r\nBcc: eve@example.org", subject="a\r\nb"), settings(1))
    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"MAIL": "451 try later"}, Retry),
        ({"MAIL": "550 not you"}, Rejected),
        ({"RCPT": "450 mailbox busy"}, Retry),
        ({"RCPT": "550 no such user"}, Rejected),
        ({"RCPT ana@example.org": "550 gone", "RCPT bo@example.org": "450 busy"}, Retry),
        ({"DATA": "452 disk full"}, Retry),
        ({"DATA": "554 spam"}, Rejected),
        ({"DATA": "drop"}, Ambiguous),
    ],
)
def test_each_reply_is_retried_or_not(answers: dict[str, str], expected: type[Outcome]) -> None:
    with mail_server(answers) as (box, port):
        outcome = send(settings(port))
    assert type(outcome) is expected, outcome
    assert box.mails == []


def test_one_bad_address_does_not_keep_the_mail_from_the_others() -> None:
    with mail_server({"RCPT bo@example.org": "550 gone"}) as (box, port):
        outcome = send(settings(port))
    assert isinstance(outcome, Delivered)
    assert outcome.remote_ref["refused"] == {"bo@example.org": 550}
    assert box.recipients == ["ana@example.org"]


def test_a_server_that_hangs_took_nothing_before_the_text_and_perhaps_it_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tocsin.delivery.channels.email.TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert isinstance(send(settings(deaf.getsockname()[1])), Retry)
    with mail_server({"DATA": "hang"}) as (_, port):
        assert isinstance(send(settings(port)), Ambiguous)


def test_a_page_that_the_mail_server_refuses_or_is_asked_too_fast_for() -> None:
    with mail_server({"RCPT": "550 no such user"}) as (_, port):
        world = World(fallbacks=("fallback",))
        world.courier.use({**world.receivers, "primary": Email(settings(port))}, ("fallback",))
        world.open(incident(), receivers=["primary"])
        assert (world.drain().dead, len(world.receivers["fallback"].seen)) == (1, 1)
    with mail_server() as (box, port):
        world = World()
        world.courier.use({"primary": Email(settings(port))})
        for number in range(3):
            found = incident(id=f"g{number}-1", group_key=f"g{number}")
            world.open(found, receivers=["primary"])
        bucket = world.courier._claimer.desk("primary").bucket
        bucket.tokens, bucket.as_of = 2.0, T0
        assert world.drain().delivered == 2
        world.advance(seconds=1, every=1)
        assert len(box.mails) == 3


def test_nobody_listening_is_a_retry_and_a_server_that_hangs_up_too() -> None:
    assert isinstance(send(settings(_free_port())), Retry)
    with mail_server() as (_, port):
        outcome = send(settings(port, tls="starttls"))
    assert isinstance(outcome, Rejected), "it offers no STARTTLS: nothing is sent in the open"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command makes the certificate, and is not installed")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names,
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


class Auth:
    """Knows one password, and quotes a wrong one in its answer as no server should."""

    def __call__(self, server: Any, session: Any, envelope: Any, how: str, data: Any) -> Any:
        assert isinstance(data, LoginPassword)
        given = data.password.decode()
        answer = None if given == PASSWORD else f"535 wrong: {given}"
        return AuthResult(success=answer is None, handled=False, message=answer)


def test_a_password_goes_over_tls_only_and_is_never_shown(certificate: tuple[Path, Path]) -> None:
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(*certificate)
    ours = ssl.create_default_context(cafile=str(certificate[0]))
    options = {"tls_context": server_side, "authenticator": Auth(), "auth_required": True}

    async def go(config: EmailConfig, context: ssl.SSLContext | None) -> Outcome:
        async with httpx.AsyncClient() as http:
            return await Email(config, context).send(message(), http)

    with mail_server(**options) as (box, port):
        good = settings(port, tls="starttls", username="u", password=Secret(PASSWORD))
        delivered = asyncio.run(go(good, ours))
        wrong = settings(port, tls="starttls", username="u", password=Secret(PASSWORD + "x"))
        refused = asyncio.run(go(wrong, ours))
        distrusted = asyncio.run(go(good, None))
    assert isinstance(delivered, Delivered), delivered
    assert len(box.mails) == 1
    assert isinstance(refused, Rejected)
    assert "535" in refused.reason
    assert PASSWORD not in refused.reason + repr(good) + str(good)
    assert distrusted == Retry("TLS failed (SSLCertVerificationError)")


def test_a_huge_message_is_still_a_mail() -> None:
    long = "ünïcödé " * 5_000
    with mail_server() as (box, port):
        outcome = send(settings(port), message(title=long, changes=(long,) * 20))
    assert isinstance(outcome, Delivered)
    assert len(box.mails[0]["Subject"]) < 300


def test_what_arrived_although_nobody_said_so_has_one_message_id() -> None:
    with mail_server() as (box, port):
        world = World()
        world.courier.use({"primary": Email(settings(port))})
        found = world.open(incident(), receivers=["primary"])
        box.answers["DATA"] = "drop"
        world.drain()
        assert world.store.effects(found.id)[0].last_outcome == "ambiguous"
        del box.answers["DATA"]
        world.advance(seconds=5)
        world.resolve(found.id)
        world.drain()
    trigger, resolve = box.mails
    assert trigger["Subject"].startswith("[critical] Firing")
    assert resolve["Subject"].startswith("[critical] Resolved")
    assert trigger["References"] == resolve["References"]


def test_the_demo_mailbox_takes_what_the_channel_sends() -> None:
    kept: list[tuple[str, Mapping[str, str], str]] = []

    def record(name: str, at: datetime, headers: Mapping[str, str], body: str) -> None:
        kept.append((name, headers, body))

    async def story() -> None:
        server = await serve_smtp(record, lambda: T0, name="mailbox")
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient() as http:
            outcome = await Email(settings(port)).send(message(summary=".\n..dots"), http)
        assert isinstance(outcome, Delivered)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for line, answer in (
            (b"", b"220"), (b"DATA", b"503"), (b"RCPT TO:<a@b>", b"503"), (b"MAIL x", b"501"),
            (b"MAIL FROM:<a@b>", b"250"), (b"RCPT x", b"501"), (b"RCPT TO:<a@b>", b"250"),
            (b"DATA", b"354"), (b"no headers\r\n.", b"554"), (b"BDAT 1", b"502"),
            (b"QUIT", b"221"),
        ):  # fmt: skip
            if line:
                writer.write(line + b"\r\n")
            assert (await reader.readline()).startswith(answer), line
        writer.close()
        server.close()

    asyncio.run(story())
    ((name, headers, body),) = kept
    assert name == "mailbox"
    assert headers["Subject"] == "[critical] Firing: support: error rate"
    assert "..dots" in body
