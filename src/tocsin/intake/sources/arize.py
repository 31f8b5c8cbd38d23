"""`arize`: asks Arize for the state of its monitors, so that nothing depends on a webhook arriving.

`GET /v2/monitors` (https://arize.com/docs/api-reference/monitors/list-monitors) with a bearer key,
pages by cursor. What a notification told and what is read here is one alert when this source has
the name of the Webhook: a lost notification is made good, and an alert that ended while nobody
listened is ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import httpx

from tocsin.domain.errors import IntakeError
from tocsin.domain.secret import Secret, secret
from tocsin.intake.alerts.arize import monitor
from tocsin.intake.alerts.incoming import Incoming
from tocsin.intake.asking import Asker, check_url
from tocsin.intake.source import Origin, Polled, Unreadable

_PATH = "/v2/monitors"
_PAGE, _MOST_PAGES = 100, 50
_MOST_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class ArizeConfig:
    """api_key: of a user or service account that may read monitors. space_id: read only this space.

    url: of Arize's API; https://api.eu-west-1a.arize.com and the like for other regions.
    """

    api_key: Secret
    space_id: str = ""
    url: str = "https://api.arize.com"
    timeout: timedelta = timedelta(seconds=20)
    allow_private: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", secret(self.api_key))
        check_url("url", self.url)
        if self.timeout <= timedelta(0):
            raise ValueError("timeout: must be above 0")


class ArizeMonitors:
    """Reads every monitor at once."""

    Config: ClassVar[type[ArizeConfig]] = ArizeConfig
    extra: ClassVar[str] = ""
    every: ClassVar[timedelta] = timedelta(minutes=1)
    needs_service: ClassVar[bool] = False

    def __init__(self, config: ArizeConfig, origin: Origin) -> None:
        del origin
        self.config = config
        self._asker = Asker(
            allow_private=config.allow_private, timeout=config.timeout, most_bytes=_MOST_BYTES
        )

    @property
    def targets(self) -> Sequence[str]:
        """Its API, of which there is one."""
        return (self.config.url.rstrip("/") + _PATH,)

    async def poll(self, target: str, now: datetime, cursor: object) -> Polled:
        """The alert of every monitor, firing or not."""
        del cursor
        monitors = await self._monitors(target)
        names = Counter(str(one.get("name")) for one in monitors)
        alerts: list[Incoming] = []
        notes = []
        for one in monitors:
            try:
                is_twin = names[str(one.get("name"))] > 1
                alerts += monitor(one, now, has_namesake=is_twin)
            except IntakeError as error:
                notes.append(f"monitor {one.get('id')}: {error}")
        return Polled(alerts=alerts, notes=notes[:20])

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """Nothing: alerts stay as they were told last."""
        del target, now
        return ()

    async def close(self) -> None:
        """Close the connections."""
        await self._asker.close()

    async def _monitors(self, target: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        headers = {"Authorization": f"Bearer {self.config.api_key.reveal()}"}
        asked = {"limit": str(_PAGE)}
        if self.config.space_id:
            asked["space_id"] = self.config.space_id
        for _ in range(_MOST_PAGES):
            answer = await self._asker.read(str(httpx.URL(target, params=asked)), headers)
            page = answer.json()
            listed = page.get("monitors") if isinstance(page, Mapping) else None
            if not isinstance(listed, list):
                raise Unreadable("the answer has no list of monitors")
            found += [one for one in listed if isinstance(one, Mapping)]
            after = page.get("pagination")
            after = after if isinstance(after, Mapping) else {}
            if not after.get("has_more"):
                return found
            if not after.get("next_cursor"):
                raise Unreadable("there are more monitors, and no cursor to ask for them")
            asked["cursor"] = str(after["next_cursor"])
        raise Unreadable(f"more than {_PAGE * _MOST_PAGES} monitors; name a space_id")
