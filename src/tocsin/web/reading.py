"""What the command line asks about a Tocsin: a running server, or a data directory that none has.

Either way the same view answers, so that a terminal, a page and a pipeline never disagree.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import httpx

from tocsin.domain.clock import Clock, iso
from tocsin.domain.errors import StoreError
from tocsin.engine.house import House
from tocsin.engine.settings import STATE_FILE, Settings
from tocsin.web.live import LiveDesk
from tocsin.web.server import configuration, open_stores

_TIMEOUT_S = 60


def objectives(settings: Settings, clock: Clock) -> list[dict[str, Any]]:
    """Every objective as the API has it, least budget first.

    StoreError when the server does not answer, or the directory is not there or not free.
    """
    if settings.url:
        return _of_server(settings.url, settings.token)
    if not settings.state_url and not (settings.data_dir / STATE_FILE).exists():
        raise StoreError(
            f"{settings.data_dir} holds no Tocsin; name its --data-dir, or a running server's --url"
        )
    stores = open_stores(
        settings.data_dir, clock, memory_bytes=settings.memory_bytes, state_url=settings.state_url,
        clickhouse=settings.clickhouse, password=settings.clickhouse_password,
        cluster=settings.clickhouse_cluster,
        configured=lambda state: configuration(settings, state, None),
    )  # fmt: skip
    try:
        house = House(
            stores.telemetry, stores.state, clock, stores.desired, lateness=settings.lateness
        )
        return [_plain(asdict(view)) for view in LiveDesk(house).objectives()]
    finally:
        stores.close()


def _of_server(url: str, token: str | None) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(f"{url}/api/v1/objectives", headers=headers, timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise StoreError(f"{url} does not answer: {error}") from None
    if answer.status_code != 200:
        raise StoreError(f"{url} refused: {answer.status_code} {answer.text[:300]}")
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def _plain(view: dict[str, Any]) -> dict[str, Any]:
    return {name: iso(v) if isinstance(v, datetime) else v for name, v in view.items()}
