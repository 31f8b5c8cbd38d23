"""Where records go and how much of the application's memory and time may be spent on that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional
from urllib.parse import urlsplit

Row = dict[str, Any]
# Gets the kind ("calls", "scores", "changes") and the row; returns the row to send, or None.
BeforeSend = Callable[[str, Row], Optional[Row]]

DEFAULT_ENDPOINT = "http://127.0.0.1:4318"
_OFF = {"0", "false", "no", "off"}


@dataclass(frozen=True)
class Settings:
    """Everything that can be chosen. Times are seconds, sizes bytes.

    content: whether prompts and answers are sent at all. content_chars: how much of each.
    queue_rows, queue_bytes: what waits at most; beyond it the oldest are dropped and counted.
    batch_rows, batch_bytes, linger: a batch is sent when it has this much, or this long after its
    first row. backoff, longest_backoff: the wait after a failed try doubles from one to the other.
    at_exit: how long the end of the process may be held up. sample: share of traces that is sent.
    """

    endpoint: str = DEFAULT_ENDPOINT
    token: str = ""
    service: str = ""
    environment: str = ""
    release: str = ""
    project: str = ""
    enabled: bool = True
    content: bool = True
    content_chars: int = 65_536
    queue_rows: int = 10_000
    queue_bytes: int = 32 << 20
    batch_rows: int = 500
    batch_bytes: int = 1 << 20
    linger: float = 1.0
    timeout: float = 10.0
    backoff: float = 0.5
    longest_backoff: float = 30.0
    at_exit: float = 2.0
    sample: float = 1.0
    before_send: BeforeSend | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"endpoint {self.endpoint!r} is not an http(s) URL of a Tocsin server")
        if not 0.0 <= self.sample <= 1.0:
            raise ValueError(f"sample is a share from 0 to 1, not {self.sample!r}")
        for name in ("queue_rows", "queue_bytes", "batch_rows", "batch_bytes", "timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)!r}")
        if "\n" in self.token or "\r" in self.token:
            raise ValueError("token contains a line break")

    def url(self, path: str) -> str:
        """The address of an endpoint of the server, such as "/api/v1/calls"."""
        return self.endpoint.rstrip("/") + path

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def read_settings(given: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from arguments, else from the environment, else the defaults.

    TOCSIN_URL, TOCSIN_TOKEN, TOCSIN_SERVICE (or OTEL_SERVICE_NAME), TOCSIN_ENVIRONMENT,
    TOCSIN_CONTENT=false, TOCSIN_DISABLED=true. Raises ValueError or TypeError for what makes no
    sense.
    """
    env = os.environ if environ is None else environ
    values: dict[str, Any] = {
        "endpoint": env.get("TOCSIN_URL") or DEFAULT_ENDPOINT,
        "token": env.get("TOCSIN_TOKEN", ""),
        "service": env.get("TOCSIN_SERVICE") or env.get("OTEL_SERVICE_NAME", ""),
        "environment": env.get("TOCSIN_ENVIRONMENT", ""),
        "content": env.get("TOCSIN_CONTENT", "").strip().lower() not in _OFF,
        "enabled": env.get("TOCSIN_DISABLED", "").strip().lower() in {"", *_OFF},
    }
    values.update({name: value for name, value in given.items() if value is not None})
    return Settings(**values)


def is_configured(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment names a server."""
    return bool((os.environ if environ is None else environ).get("TOCSIN_URL"))
