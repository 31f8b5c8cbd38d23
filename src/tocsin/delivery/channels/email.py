"""`email`: SMTP, plain text and HTML, one thread per incident.

The Message-ID comes from the effect's key, so that a message sent twice is shown once; References
name a root per incident, which threads all mail about it. 4xx replies are retried, 5xx are final;
a connection lost after the text went out is ambiguous (RFC 5321, 4.2.1 and 4.5.4). A picture is a
mail in the same thread that holds it (RFC 2387 and 2392): no program fetches anything from us.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any, ClassVar, Literal

import httpx
from jinja2 import Environment, PackageLoader, StrictUndefined

from tocsin.delivery.figure import png
from tocsin.delivery.message import Message, truncate
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Rejected, Retry
from tocsin.domain.clock import iso
from tocsin.domain.secret import Secret, scrub, secret

# Under the courier's own limit, so that the thread is never left behind.
TIMEOUT_S = 8.0
LONGEST_SUBJECT = 200

# CRLF line ends, and nothing that needs 8BITMIME of the server.
_SEVEN_BIT = SMTP.clone(cte_type="7bit")

_templates = Environment(
    loader=PackageLoader("tocsin.delivery"), autoescape=True, undefined=StrictUndefined
)


@dataclass(frozen=True, slots=True)
class EmailConfig:
    """host, port: the mail server. tls: `starttls` (port 587), `tls` from the start (465), `none`.

    username and password: only over TLS. sender may have a name: "Tocsin <tocsin@example.org>".
    charts: a mail with a picture of what happened follows the first one. answer_links: whoever gets
    the mail may answer by its links, without a login, for seven days.
    """

    host: str
    to: tuple[str, ...]
    sender: str
    port: int = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: Secret | None = None
    charts: bool = False
    answer_links: bool = False

    def __post_init__(self) -> None:
        if self.password is not None:
            object.__setattr__(self, "password", secret(self.password))
        if not self.to:
            raise ValueError("to: name at least one address")
        for address in (self.sender, *self.to):
            if "@" not in parseaddr(address)[1] or not address.isprintable():
                raise ValueError(f"{address!r} is not a mail address")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password: set both or neither")
        if self.username and self.tls == "none":
            raise ValueError("tls: a password is not sent over an open connection")


class Email:
    """Sends mail through one server."""

    Config: ClassVar[type[EmailConfig]] = EmailConfig
    is_idempotent: ClassVar[bool] = True
    rate_per_s: ClassVar[float] = 5.0
    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: EmailConfig, context: ssl.SSLContext | None = None) -> None:
        self.config = config
        self._context = context

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        """One mail to all recipients, in a thread of its own."""
        return await asyncio.to_thread(self._deliver, message)

    @property
    def shows_answer_links(self) -> bool:
        """Whether mails hold links that answer."""
        return self.config.answer_links

    @property
    def takes_pictures(self) -> bool:
        """Whether a mail with a picture follows."""
        return self.config.charts

    def _deliver(self, message: Message) -> Outcome:
        mail = compose(message, self.config)
        to = (message.address,) if message.address else self.config.to
        try:
            with self._connect() as smtp:
                return self._hand_over(smtp, mail, to)
        except smtplib.SMTPResponseException as error:
            return self._refused(error.smtp_code, error.smtp_error)
        except smtplib.SMTPNotSupportedError:
            return Rejected("the mail server does not offer what the settings ask for (TLS, login)")
        except ssl.SSLError as error:
            return Retry(f"TLS failed ({type(error).__name__})")
        except (OSError, smtplib.SMTPException) as error:
            return Retry(f"no connection to the mail server ({type(error).__name__})")

    def _connect(self) -> smtplib.SMTP:
        config = self.config
        context = self._context or ssl.create_default_context()
        smtp: smtplib.SMTP
        if config.tls == "tls":
            smtp = smtplib.SMTP_SSL(config.host, config.port, timeout=TIMEOUT_S, context=context)
        else:
            smtp = smtplib.SMTP(config.host, config.port, timeout=TIMEOUT_S)
        try:
            if config.tls == "starttls":
                smtp.starttls(context=context)
            if config.username and config.password is not None:
                smtp.login(config.username, config.password.reveal())
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _hand_over(self, smtp: smtplib.SMTP, mail: EmailMessage, to: Sequence[str]) -> Outcome:
        smtp.ehlo_or_helo_if_needed()
        code, text = smtp.mail(parseaddr(self.config.sender)[1])
        if code != 250:
            return self._refused(code, text)
        refused: dict[str, tuple[int, bytes]] = {}
        for address in to:
            code, text = smtp.rcpt(parseaddr(address)[1])
            if code not in (250, 251):
                refused[address] = (code, text)
        if len(refused) == len(to):
            # One that may work later decides: 4xx before 5xx.
            return self._refused(*min(refused.values()))
        try:
            code, text = smtp.data(mail.as_bytes())
        except smtplib.SMTPDataError as error:
            return self._refused(error.smtp_code, error.smtp_error)
        except (OSError, smtplib.SMTPServerDisconnected) as error:
            return Ambiguous(f"the connection broke after the text was sent ({_kind(error)})")
        if code != 250:
            return self._refused(code, text)
        return Delivered(self._reference(mail, refused))

    def _reference(
        self, mail: EmailMessage, refused: Mapping[str, tuple[int, bytes]]
    ) -> dict[str, Any]:
        reference: dict[str, Any] = {"message_id": str(mail["Message-ID"])}
        if refused:
            reference["refused"] = {name: code for name, (code, _) in refused.items()}
        return reference

    def _refused(self, code: int, text: bytes | str) -> Outcome:
        said = text.decode(errors="replace") if isinstance(text, bytes) else text
        said = scrub(" ".join(said.split()), [self.config.password])
        reason = f"the mail server answered {code}: {truncate(said, 200)}"
        return Rejected(reason) if code >= 500 else Retry(reason)


def compose(message: Message, config: EmailConfig) -> EmailMessage:
    """The mail of a message; the same message gives the same Message-ID."""
    domain = parseaddr(config.sender)[1].rpartition("@")[2]
    if message.address:
        return _to_subscriber(message, config, domain)
    root = f"<{_hash(message.subject)}.thread@{domain}>"
    mail = EmailMessage(policy=_SEVEN_BIT)
    mail["Subject"] = _header(f"[{message.severity}] {message.heading}")
    mail["From"] = config.sender
    mail["To"] = ", ".join(config.to)
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = f"<{_hash(message.key)}@{domain}>"
    mail["In-Reply-To"] = root
    mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"
    mail["List-Id"] = f"Tocsin <tocsin.{domain}>"
    mail["X-Tocsin-Incident"] = _header(message.subject)
    mail.set_content(message.text())
    picture = f"<{_hash(message.key)}.chart@{domain}>" if message.figure is not None else ""
    page = _templates.get_template("mail.html").render(
        m=message, since=_since(message), picture=picture.strip("<>")
    )
    mail.add_alternative(page, subtype="html")
    if message.figure is not None:
        *_, html = mail.iter_parts()
        image = png(message.figure)
        html.add_related(image, "image", "png", cid=picture, filename="chart.png")
    for each in message.attachments:
        kind, _ = mimetypes.guess_type(each.name)
        maintype, _, subtype = (kind or "application/octet-stream").partition("/")
        mail.add_attachment(each.body, maintype=maintype, subtype=subtype, filename=each.name)
    return mail


# --- private -----------------------------------------------------------------------------------


def _to_subscriber(message: Message, config: EmailConfig, domain: str) -> EmailMessage:
    """A mail for somebody outside, with one click to end it: RFC 2369 and RFC 8058."""
    mail = EmailMessage(policy=_SEVEN_BIT)
    mail["Subject"] = _header(message.title)
    mail["From"] = config.sender
    mail["To"] = message.address
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = f"<{_hash(message.key)}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["List-Unsubscribe"] = f"<{message.unsubscribe}>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content("\n\n".join([*message.items, f"No more mails: {message.unsubscribe}"]))
    return mail


def _since(message: Message) -> str:
    return "" if message.since is None else iso(message.since)


def _header(text: str) -> str:
    return truncate(" ".join(text.split()), LONGEST_SUBJECT)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _kind(error: Exception) -> str:
    return type(error).__name__
