"""A process that delivers and nothing else: what `test_delivery_chaos.py` kills."""

from __future__ import annotations

import asyncio
import base64
import random
from datetime import timedelta

from tocsin.delivery.channel import Channel
from tocsin.delivery.channels.webhook import Webhook, WebhookConfig
from tocsin.delivery.claiming import CourierLimits
from tocsin.delivery.http import client
from tocsin.delivery.worker import Courier
from tocsin.domain.clock import SystemClock
from tocsin.store.state import StateStore

RECEIVERS = ("first", "second")
LIMITS = CourierLimits(lease=timedelta(seconds=2), send_timeout_s=0.9, poll_s=0.05)
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ok!").decode()


def deliver(state: str, url: str, name: str) -> None:
    """Until somebody kills it."""
    asyncio.run(_deliver(state, url, name))


async def _deliver(state: str, url: str, name: str) -> None:
    channels: dict[str, Channel] = {
        each: Webhook(WebhookConfig(f"{url}/{each}", SECRET, allow_private=True))  # type: ignore[arg-type]
        for each in RECEIVERS
    }
    async with client() as http:
        courier = Courier(
            StateStore.open(state), channels, http, SystemClock(), rng=random.Random(name),
            worker=name, limits=LIMITS, offload=True,
        )  # fmt: skip
        await courier.run(asyncio.Event())
