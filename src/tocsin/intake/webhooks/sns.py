"""`sns`: alarms of Amazon CloudWatch by Amazon SNS, verified by Amazon's signature.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html: some members of the
body, each with its name and in a fixed order, are signed with RSA (PKCS #1 v1.5) over SHA-1
(version 1) or SHA-256 (version 2). The certificate is fetched from the address that the body names,
which anybody can write: it must be of Amazon SNS itself, and so must the address at which a
subscription is confirmed. Only topics that the configuration names are heard, and confirmed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tocsin.domain.clock import parse_iso
from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.cloudwatch import sns
from tocsin.intake.alerts.incoming import Told
from tocsin.net.guard import Refused, pin
from tocsin.net.proof import NotAuthentic

Fetch = Callable[[str], Awaitable[bytes]]

CONFIRMATION, NOTIFICATION = "SubscriptionConfirmation", "Notification"
_OF_A_CONFIRMATION = (
    "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
)  # fmt: skip
_SIGNED: Mapping[str, tuple[str, ...]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: _OF_A_CONFIRMATION,
    "UnsubscribeConfirmation": _OF_A_CONFIRMATION,
}
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "1": hashes.SHA1(),  # noqa: S303 (what version 1 is)
    "2": hashes.SHA256(),
}
_HOST = re.compile(r"sns\.[a-z0-9-]{1,40}\.amazonaws\.com(\.cn)?")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}")
_OWNER = "sns.amazonaws.com"
# SNS tries a delivery for an hour by default and for a day at most.
OLDEST = timedelta(days=1)
AHEAD = timedelta(minutes=5)
_MOST_BYTES, _TIMEOUT_S, _LATER_S = 100_000, 10.0, 20


@dataclass(frozen=True, slots=True)
class SnsConfig:
    """topics: ARNs of the topics that are heard. Their subscriptions are confirmed without you."""

    topics: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.topics:
            raise ValueError("topics: name at least one topic")
        for topic in self.topics:
            if not _TOPIC.fullmatch(topic):
                raise ValueError(
                    f"topics: {topic!r} is no ARN such as arn:aws:sns:eu-central-1:123456789012:x"
                )


class Sns:
    """CloudWatch's alarms.

    fetch: GETs a document of Amazon's. Raises IntakeError when it cannot be had.
    """

    Config: ClassVar[type[SnsConfig]] = SnsConfig

    def __init__(self, config: SnsConfig, fetch: Fetch | None = None) -> None:
        self._topics = frozenset(config.topics)
        self._fetch = fetch or fetch_public
        self._certificates: dict[str, x509.Certificate] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Never."""
        return False

    @property
    def proves(self) -> bool:
        """Always."""
        return True

    async def check(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The id of the message. A subscription to a topic of ours is confirmed on the way."""
        del headers  # x-amz-sns-* only repeat what the body says, unsigned
        message = _message(body)
        if message["TopicArn"] not in self._topics:
            raise NotAuthentic("the topic of this message is none of the configured ones")
        _check_fresh(message["Timestamp"], now)
        url = _of_amazon(message.get("SigningCertURL", ""))
        await self._check_signature(message, url, now)
        if message["Type"] == CONFIRMATION:
            await self._fetch(_of_amazon(message.get("SubscribeURL", "")))
        return message["MessageId"]

    def read(self, body: Any, now: datetime) -> Told:
        """The alarm of a notification."""
        return sns(body, now)

    async def close(self) -> None:
        """Nothing is open."""

    async def _check_signature(self, message: Mapping[str, str], url: str, now: datetime) -> None:
        algorithm = _HASHES.get(message.get("SignatureVersion", ""))
        if algorithm is None:
            raise NotAuthentic("the version of the signature is neither 1 nor 2")
        try:
            signature = base64.b64decode(message.get("Signature", ""), validate=True)
        except (binascii.Error, ValueError):
            raise NotAuthentic("the signature is not base64") from None
        key = (await self._certificate(url, now)).public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise NotAuthentic("the certificate is not of an RSA key")
        signed = "".join(
            f"{name}\n{message[name]}\n" for name in _SIGNED[message["Type"]] if name in message
        )
        try:
            key.verify(signature, signed.encode(errors="replace"), padding.PKCS1v15(), algorithm)
        except InvalidSignature:
            raise NotAuthentic("the signature does not fit the message") from None

    async def _certificate(self, url: str, now: datetime) -> x509.Certificate:
        async with self._one_at_a_time:
            found = self._certificates.get(url)
            if found is None:
                pem = await self._fetch(url)
                try:
                    found = x509.load_pem_x509_certificate(pem)
                except ValueError:
                    raise NotAuthentic("the certificate cannot be read") from None
            if not found.not_valid_before_utc <= now <= found.not_valid_after_utc:
                raise NotAuthentic("the certificate is not valid now")
            if _OWNER not in _owners(found):
                raise NotAuthentic(f"the certificate is not of {_OWNER}")
            self._certificates = {**self._certificates, url: found}
            return found


async def fetch_public(url: str) -> bytes:
    """A document of at most 100 kB from a public address, over TLS, without redirects.

    IntakeError 503 when it cannot be had: who asked comes again.
    """
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            httpx.AsyncClient(follow_redirects=False, trust_env=False) as client,
        ):
            pinned = await pin(url, allow_private=False)
            if isinstance(pinned, Refused):
                raise IntakeError(503, pinned.reason, retry_after_s=_LATER_S)
            async with client.stream(
                "GET", pinned.url, headers=pinned.headers, extensions=pinned.extensions
            ) as response:
                found = bytearray()
                async for piece in response.aiter_bytes():
                    found += piece
                    if len(found) > _MOST_BYTES:
                        break
                if response.status_code != 200 or len(found) > _MOST_BYTES:
                    reason = f"Amazon SNS answers HTTP {response.status_code}"
                    raise IntakeError(503, reason, retry_after_s=_LATER_S)
                return bytes(found)
    except (TimeoutError, httpx.HTTPError) as error:
        reason = f"Amazon SNS cannot be reached ({type(error).__name__})"
        raise IntakeError(503, reason, retry_after_s=_LATER_S) from None


# --- private -----------------------------------------------------------------------------------


def _message(body: bytes) -> dict[str, str]:
    """The members of a message that are text. Raises NotAuthentic for what is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAuthentic("the body is no message of Amazon SNS") from None
    given = found.items() if isinstance(found, dict) else ()
    message = {name: value for name, value in given if isinstance(value, str)}
    if message.get("Type") not in _SIGNED:
        raise NotAuthentic("the body is no message of Amazon SNS")
    missing = [n for n in ("Message", "MessageId", "Timestamp", "TopicArn") if n not in message]
    if missing:
        raise NotAuthentic(f"the message has no {missing[0]}")
    return message


def _check_fresh(stamp: str, now: datetime) -> None:
    try:
        made = parse_iso(stamp).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotAuthentic("the message does not say when it was made") from None
    if not -AHEAD <= now - made <= OLDEST:
        raise NotAuthentic("the message was made more than a day ago, or in the future")


def _of_amazon(url: str) -> str:
    """`url` if it is https and of Amazon SNS. Raises NotAuthentic: nothing else is ever fetched."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        parsed = httpx.URL("")
    is_usual = parsed.port in (None, 443) and not parsed.userinfo
    if parsed.scheme != "https" or not _HOST.fullmatch(parsed.host) or not is_usual:
        raise NotAuthentic("an address in the message is not of Amazon SNS")
    return url


def _owners(certificate: x509.Certificate) -> set[str]:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    found = {str(name.value) for name in names}
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return found
    return found | set(extension.value.get_values_for_type(x509.DNSName))
