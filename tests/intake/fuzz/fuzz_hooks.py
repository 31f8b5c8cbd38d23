"""What others tell by webhook, or when asked, spoiled: read, or refused in one known way."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import httpx
from intake_build import NOW

from tocsin.domain.errors import IntakeError
from tocsin.intake.alerts import FORMATS
from tocsin.intake.alerts.arize import monitor
from tocsin.intake.source import Origin, Unreadable
from tocsin.intake.sources.statuspage import Statuspage, StatuspageConfig
from tocsin.intake.webhook import SignedConfig
from tocsin.intake.webhooks.arize import Arize
from tocsin.intake.webhooks.changes import Changes, ChangesConfig
from tocsin.intake.webhooks.github import GitHub, GitHubConfig
from tocsin.intake.webhooks.mapped import Generic, GenericConfig
from tocsin.intake.webhooks.sns import Sns, SnsConfig
from tocsin.net.proof import NotAuthentic

TOPIC = "arn:aws:sns:eu-central-1:123456789012:alarms"
_ALARM = {
    "AlarmName": "chat-5xx", "NewStateValue": "ALARM", "StateChangeTime": "2026-11-20T11:59:00Z",
    "AlarmArn": "arn:aws:cloudwatch:eu-central-1:1:alarm:chat-5xx",
    "Trigger": {"MetricName": "5XX", "Dimensions": [{"name": "Stage", "value": "prod"}]},
}  # fmt: skip
BODIES: tuple[Mapping[str, Any], ...] = (
    {"monitor_name": "p95", "severity": "critical", "metric_value": 7.5, "status": "TRIGGERED",
     "filters": [{"name": "region", "values": ["eu"]}], "evaluated_at": "2026-11-20T11:59:00Z"},
    {"event": "prompt.version.created", "timestamp": "2026-11-20T11:59:00Z",
     "data": {"name": "support", "version": 7}},
    {"Type": "Notification", "MessageId": "m", "TopicArn": TOPIC, "Message": json.dumps(_ALARM),
     "Timestamp": "2026-11-20T11:59:30Z", "SignatureVersion": "2", "Signature": "QUFB",
     "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/x.pem"},
    {"deployment_status": {"state": "success", "environment": "production",
                           "creator": {"login": "b"}, "created_at": "2026-11-20T11:58:00Z"},
     "deployment": {"ref": "main", "sha": "3f2a1b"}, "repository": {"full_name": "acme/chat"}},
    {"kind": "prompt", "title": "v7", "service": "chat", "labels": {"a": "b"}},
    {"events": [{"rule": {"title": "Queue"}, "state": "1", "now": "12.5", "tags": {"app": "c"}}]},
    {"page": {"url": "https://s.test"}, "status": {"indicator": "major"},
     "components": [{"name": "Chat", "status": "operational"}],
     "incidents": [{"name": "x", "impact": "major", "created_at": "2026-11-20T11:50:00Z",
                    "components": [{"name": "Chat"}]}]},
)  # fmt: skip
SEEDS = [json.dumps(body).encode() for body in BODIES]


async def _fetch(url: str) -> bytes:
    host = httpx.URL(url).host.removesuffix(".cn")
    assert host.startswith("sns."), "nothing else is fetched"
    assert host.endswith(".amazonaws.com")
    return b"no certificate"


_READ = (
    *FORMATS.values(),
    Arize(SignedConfig()).read,
    GitHub(GitHubConfig()).read,
    Changes(ChangesConfig()).read,
    Generic(GenericConfig(fields={"name": "rule.title", "state": "state"}, each="events")).read,
    lambda body, now: monitor(body, now, has_namesake=False),
)
_SNS = Sns(SnsConfig((TOPIC,)), _fetch)
_PAGES = [
    Statuspage(StatuspageConfig("openai", "https://s.test", components), Origin("x", ""))
    for components in ((), ("Chat",))
]


def hooked(body: bytes) -> None:
    """Every reader takes a body or refuses it; what it took can be kept as text."""
    with contextlib.suppress(NotAuthentic):
        asyncio.run(_SNS.check({}, body, NOW))
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return  # what is no JSON is refused before any of these is asked
    for read in _READ:
        try:
            told = read(document, NOW)
        except IntakeError:
            continue
        for alert in told if isinstance(told, tuple) else told.alerts:
            assert alert.key
            assert alert.name
            assert alert.starts.tzinfo is not None
            assert all(isinstance(text, str) for text in alert.labels.values())
            json.dumps(dict(alert.details))
        for row in () if isinstance(told, tuple) else told.changes:
            assert row["kind"]
            assert row["title"]
            json.dumps(row)
    for page in _PAGES:
        try:
            assert page._report(document).state
        except Unreadable:
            continue
