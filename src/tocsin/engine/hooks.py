"""The webhooks of the configuration in force: who may tell us something, and what was told.

Built anew when another configuration is adopted; one that did not change keeps its connections.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from tocsin.domain.errors import IntakeError
from tocsin.intake.webhook import Webhook
from tocsin.intake.webhooks import WEBHOOKS
from tocsin.net.proof import NotAuthentic
from tocsin.spec.desired import Desired
from tocsin.spec.webhooks import ConfiguredWebhook

log = structlog.get_logger(__name__)
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as configured, and the object that verifies and reads for it."""

    configured: ConfiguredWebhook
    webhook: Webhook


class Hooks:
    """Webhooks by name. Threads may share it."""

    def __init__(self, desired: Callable[[], Desired]) -> None:
        self._desired = desired
        self._built_for: Mapping[str, ConfiguredWebhook] = {}
        self._hooks: Mapping[str, Hook] = {}
        self._lock = threading.Lock()

    def named(self, name: str) -> Hook | None:
        """The webhook of this name, None where there is none, or none that can be used."""
        wanted = self._desired().webhooks
        with self._lock:
            if wanted is not self._built_for:
                self._hooks = self._build(wanted)
                self._built_for = wanted
            return self._hooks.get(name)

    async def check(
        self, hook: Hook, headers: Mapping[str, str], body: bytes, now: datetime, *, trusted: bool
    ) -> str:
        """The sender's id of an authentic request, "" without one.

        trusted: the caller was let in by other means: the access token, or by being on loopback.
        Raises NotAuthentic; whatever is wrong with a header is that, and never an error of ours.
        """
        webhook = hook.webhook
        if not (webhook.proves or webhook.is_open or trusted):
            raise NotAuthentic(
                "nothing proves this request: give the webhook a secret or a token, send the"
                " access token, or say unsigned: true"
            )
        try:
            identity = await webhook.check(headers, body, now)
        except (NotAuthentic, IntakeError):
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            log.warning(
                "webhook_malformed", webhook=hook.configured.name, error=type(error).__name__
            )
            raise NotAuthentic("the proof of this request is malformed") from None
        return identity[:_LONGEST_ID]

    def _build(self, wanted: Mapping[str, ConfiguredWebhook]) -> dict[str, Hook]:
        built = {}
        for name, configured in wanted.items():
            held = self._hooks.get(name)
            if held is not None and held.configured == configured:
                built[name] = held
            elif configured.config is not None:
                try:
                    webhook: Webhook = WEBHOOKS[configured.type](configured.config)
                except Exception:  # of a plugin: the others are heard all the same
                    log.exception("webhook_not_started", webhook=name)
                    continue
                built[name] = Hook(configured, webhook)
        return built
