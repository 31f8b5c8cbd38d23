"""Messages of Amazon SNS, signed by a certificate authority of our own."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts.cloudwatch import sns
from tocsin.intake.webhooks.sns import Sns, SnsConfig
from tocsin.net.proof import NotAuthentic

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOPIC = "arn:aws:sns:eu-central-1:123456789012:alarms"
HOST = "https://sns.eu-central-1.amazonaws.com"
CERTIFICATE, SUBSCRIBE = (
    f"{HOST}/SimpleNotificationService-1.pem",
    f"{HOST}/?Action=ConfirmSubscription",
)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(name: str = "sns.amazonaws.com", days: int = 30, key: Any = KEY) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=60))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


class Amazon:
    """Serves one certificate, and remembers what was asked for."""

    def __init__(self, pem: bytes | None = None) -> None:
        self.pem = pem or certificate()
        self.asked: list[str] = []
        self.is_away = False

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if self.is_away:
            raise IntakeError(503, "away", retry_after_s=20)
        return self.pem if url == CERTIFICATE else b"<ConfirmSubscriptionResponse/>"


def alarm(state: str = "ALARM", **changes: Any) -> dict[str, Any]:
    return {
        "AlarmName": "chat-5xx", "AlarmDescription": "one call in four fails",
        "AWSAccountId": "123456789012", "NewStateValue": state, "OldStateValue": "OK",
        "NewStateReason": "Threshold Crossed", "StateChangeTime": "2026-11-20T11:59:00.123+0000",
        "Region": "EU (Frankfurt)",
        "AlarmArn": "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:chat-5xx",
        "Trigger": {"MetricName": "5XX", "Namespace": "AWS/ApiGateway", "Threshold": 5.0,
                    "Dimensions": [{"name": "Stage", "value": "prod"}]},
        **changes,
    }  # fmt: skip


def message(kind: str = "Notification", version: str = "2", **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "Type": kind, "MessageId": "m-1", "TopicArn": TOPIC, "Message": json.dumps(alarm()),
        "Timestamp": "2026-11-20T11:59:30.000Z", "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE,
    }  # fmt: skip
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if kind == "SubscriptionConfirmation":
        made |= {"Token": "t", "SubscribeURL": SUBSCRIBE, "Message": "You have chosen to subscribe"}
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    else:
        made["Subject"] = "ALARM: chat-5xx"
    made |= changes
    text = "".join(f"{name}\n{made[name]}\n" for name in names if name in made)
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = KEY.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return {**made, "Signature": base64.b64encode(signature).decode()}


def check(amazon: Amazon, told: Any, now: datetime = NOW) -> str:
    hook = Sns(SnsConfig((TOPIC,)), amazon.fetch)
    return asyncio.run(hook.check({}, json.dumps(told).encode(), now))


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_signed_notification_is_authentic_and_an_altered_one_is_not(version: str) -> None:
    amazon = Amazon()
    assert check(amazon, message(version=version)) == "m-1"
    assert amazon.asked == [CERTIFICATE]
    for member in ("Message", "Subject", "MessageId", "Timestamp"):
        altered = {**message(version=version), member: "2026-11-20T11:59:31.000Z"}
        with pytest.raises(NotAuthentic, match="does not fit"):
            check(amazon, altered)
    other = "1" if version == "2" else "2"
    with pytest.raises(NotAuthentic, match="does not fit"):
        check(amazon, {**message(version=version), "SignatureVersion": other})


def test_a_subscription_is_confirmed_once_it_is_proven_to_be_ours() -> None:
    amazon = Amazon()
    assert check(amazon, message("SubscriptionConfirmation")) == "m-1"
    assert amazon.asked == [CERTIFICATE, SUBSCRIBE]
    for bad in (
        {**message("SubscriptionConfirmation"), "Token": "other"},
        message("SubscriptionConfirmation", TopicArn=TOPIC + "-of-somebody-else"),
        message("SubscriptionConfirmation", SubscribeURL="https://attacker.example/"),
    ):
        amazon.asked.clear()
        with pytest.raises(NotAuthentic):
            check(amazon, bad)
        assert SUBSCRIBE not in amazon.asked
        assert "https://attacker.example/" not in amazon.asked


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com.attacker.example/x.pem",
        "https://attacker.example/sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com@attacker.example/x.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/x.pem",
        "https://s3.amazonaws.com/x.pem",
        "https://169.254.169.254/latest",
        "file:///etc/passwd",
        "",
        "https://[",
    ],
)
def test_a_certificate_is_fetched_from_amazon_sns_and_from_nowhere_else(url: str) -> None:
    amazon = Amazon()
    with pytest.raises(NotAuthentic):
        check(amazon, {**message(), "SigningCertURL": url})
    assert not amazon.asked


def test_a_certificate_of_somebody_else_an_old_one_and_no_certificate_prove_nothing() -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    for pem in (
        certificate("sns.attacker.example"),
        certificate(days=-1),
        certificate(key=elliptic),
        b"no certificate",
    ):
        with pytest.raises(NotAuthentic):
            check(Amazon(pem), message())


@pytest.mark.parametrize(
    "told",
    [
        None, [], {}, {"Type": "Notification"}, {**message(), "Signature": "%"},
        {**message(), "Signature": 3}, {**message(), "SignatureVersion": "3"},
        {**message(), "Timestamp": "yesterday"}, {**message(), "Message": {"a": 1}},
        message(Timestamp="2026-11-19T11:00:00.000Z"), message(Timestamp="2026-11-20T12:10:00Z"),
    ],
)  # fmt: skip
def test_what_is_malformed_old_or_of_tomorrow_is_refused(told: Any) -> None:
    with pytest.raises(NotAuthentic):
        check(Amazon(), told)


def test_when_amazon_cannot_be_reached_the_sender_comes_again() -> None:
    amazon = Amazon()
    amazon.is_away = True
    with pytest.raises(IntakeError) as caught:
        check(amazon, message())
    assert (caught.value.status, caught.value.retry_after_s) == (503, 20)


def test_the_states_of_an_alarm() -> None:
    fired, _ = sns(message(), NOW).alerts
    assert (fired.name, fired.state, fired.summary) == (
        "chat-5xx",
        "firing",
        "one call in four fails",
    )
    assert fired.labels["region"] == "eu-central-1"
    assert fired.labels["Stage"] == "prod"
    assert fired.starts == datetime(2026, 11, 20, 11, 59, 0, 123000, tzinfo=UTC)
    ended = sns({**message(), "Message": json.dumps(alarm("OK"))}, NOW).alerts
    assert [one.state for one in ended] == ["resolved", "resolved"]
    assert ended[0].key == fired.key
    (unknown,) = sns({**message(), "Message": json.dumps(alarm("INSUFFICIENT_DATA"))}, NOW).alerts
    assert (unknown.state, unknown.severity) == ("firing", "ticket")
    assert unknown.key not in (fired.key,)
    assert not sns(message("SubscriptionConfirmation"), NOW).alerts
    for text in ("hello", "{}", "[]"):
        with pytest.raises(IntakeError, match="no alarm"):
            sns({**message(), "Message": text}, NOW)
