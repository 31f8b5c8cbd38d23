"""The demo's receivers: built-in stand-ins that keep what they get, and secrets pointing there.

The configuration of the demo names its receivers by reference. Here the references resolve to the
sinks; with real credentials in the environment the same documents talk to the real services.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime

from starlette.types import ASGIApp

from tocsin.delivery.sinks import Record, Sinks
from tocsin.store.state import StateStore

WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"tocsin demo webhook key.").decode()
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
SLACK_TOKEN = "xoxb-tocsin-demo"  # noqa: S105 (the sink's, worth nothing anywhere else)


def keeper(state: StateStore) -> Record:
    """Keeps what a sink received, in the state store, so that a page can show it."""

    def record(receiver: str, at: datetime, headers: Mapping[str, str], body: str) -> None:
        state.record_sink_message(receiver, at, headers, body)

    return record


def sink_app(state: StateStore, now: Callable[[], datetime]) -> ASGIApp:
    """The endpoints, to be mounted under /sinks."""
    return Sinks(keeper(state), now, {"audit-log": WEBHOOK_SECRET}).app


def sink_secrets(base_url: str, smtp_port: int) -> Callable[[str], str | None]:
    """What `{secret: NAME}` means in the demo. base_url: where the sinks are mounted."""
    known = {
        "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
        "PAGERDUTY_URL": f"{base_url}/pagerduty/v2/enqueue",
        "SLACK_TOKEN": SLACK_TOKEN,
        "SLACK_API_URL": f"{base_url}/slack/api",
        "AUDIT_WEBHOOK_URL": f"{base_url}/webhook/audit-log",
        "AUDIT_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(smtp_port),
        "SMTP_TLS": "none",
    }
    return known.get
