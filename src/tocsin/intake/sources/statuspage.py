"""`statuspage`: what a provider says of itself, from the page that it keeps for its customers.

`/api/v2/summary.json` as Atlassian Statuspage serves it (https://www.atlassianstatus.com/api);
others imitate it and leave parts out. A page that cannot be read is unknown, never operational.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from tocsin.domain.clock import parse_iso
from tocsin.domain.dependencies import DependencyState as State
from tocsin.intake.asking import Asker, check_url
from tocsin.intake.source import Origin, Polled, Reported, Unreadable

BY = "status page"
_INDICATORS: Mapping[str, State] = {
    "none": State.OPERATIONAL,
    "minor": State.DEGRADED,
    "major": State.OUTAGE,
    "critical": State.OUTAGE,
    "maintenance": State.MAINTENANCE,
}
_COMPONENTS: Mapping[str, State] = {
    "operational": State.OPERATIONAL,
    "under_maintenance": State.MAINTENANCE,
    "degraded_performance": State.DEGRADED,
    "partial_outage": State.OUTAGE,
    "major_outage": State.OUTAGE,
}
_WORST_FIRST = (
    State.OUTAGE, State.DEGRADED, State.UNKNOWN, State.MAINTENANCE, State.OPERATIONAL,
)  # fmt: skip
_OVER = ("resolved", "postmortem", "completed")
_MOST_BYTES, _LONGEST = 2_000_000, 300
_TIMEOUT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class StatuspageConfig:
    """dependency: what services call it: their `provider`, or one of `dependsOn`. url: of the page,
    such as https://status.openai.com. components: those that you use; without them what the page
    says as a whole, which is often about parts that you do not."""

    dependency: str
    url: str
    components: tuple[str, ...] = ()
    allow_private: bool = False

    def __post_init__(self) -> None:
        if not self.dependency:
            raise ValueError("dependency: name what the page is about")
        check_url("url", self.url)


class Statuspage:
    """Reads one page."""

    Config: ClassVar[type[StatuspageConfig]] = StatuspageConfig
    extra: ClassVar[str] = ""
    every: ClassVar[timedelta] = timedelta(minutes=1)
    needs_service: ClassVar[bool] = False

    def __init__(self, config: StatuspageConfig, origin: Origin) -> None:
        del origin
        self.config = config
        self._asker = Asker(
            allow_private=config.allow_private, timeout=_TIMEOUT, most_bytes=_MOST_BYTES
        )
        self._last: tuple[str, Reported] | None = None

    @property
    def targets(self) -> Sequence[str]:
        """The summary of the page."""
        return (self.config.url.rstrip("/") + "/api/v2/summary.json",)

    async def poll(self, target: str, now: datetime, cursor: object) -> Polled:
        """The page as it is; one that did not change costs a 304."""
        del now, cursor
        known = {"If-None-Match": self._last[0]} if self._last else {}
        answer = await self._asker.read(target, known)
        if answer.status == 304:
            if self._last is None:
                raise Unreadable("HTTP 304 for a page that was not read before")
            return Polled(reports=[self._last[1]])
        report = self._report(answer.json())
        self._last = (answer.etag, report) if answer.etag else None
        return Polled(reports=[report])

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """No metrics."""
        del target, now
        return ()

    def lost(self, target: str, reason: str) -> Sequence[Reported]:
        """Nobody knows how the provider is."""
        del target
        return [Reported(self.config.dependency, BY, State.UNKNOWN, reason=reason)]

    async def close(self) -> None:
        """Close the connections."""
        await self._asker.close()

    def _report(self, page: Any) -> Reported:
        if not isinstance(page, Mapping):
            raise Unreadable("the page is not a summary of Statuspage")
        components = {
            str(one.get("name")): _COMPONENTS.get(str(one.get("status")), State.UNKNOWN)
            for one in _listed(page, "components")
            if not one.get("group")
        }
        found = dict(self._states(page, components))
        state = next(state for state in _WORST_FIRST if state in found.values())
        bad = [name for name, its in found.items() if its is state and name]
        incidents = [one for one in _listed(page, "incidents") if self._concerns(one)]
        said = "; ".join(_in_words(one) for one in incidents)
        if state is State.OPERATIONAL:
            said = ""
        elif bad:
            said = ", ".join(bad) + (f" ({said})" if said else "")
        about = page.get("page")
        link = str(about.get("url") or "") if isinstance(about, Mapping) else ""
        begun = [at for one in incidents if (at := _instant(one)) is not None]
        return Reported(
            self.config.dependency, BY, state, said[:_LONGEST], link or self.config.url,
            min(begun, default=None) if state is not State.OPERATIONAL else None,
        )  # fmt: skip

    def _states(
        self, page: Mapping[str, Any], components: Mapping[str, State]
    ) -> Iterator[tuple[str, State]]:
        """What counts here: our components, or the whole under the name ""."""
        if self.config.components:
            for name in self.config.components:
                yield name, components.get(name, State.UNKNOWN)
            return
        status = page.get("status")
        indicator = status.get("indicator") if isinstance(status, Mapping) else None
        if isinstance(indicator, str):
            yield "", _INDICATORS.get(indicator, State.UNKNOWN)
        elif components:
            yield from components.items()
        else:
            raise Unreadable("the page says neither a status nor components")

    def _concerns(self, incident: Mapping[str, Any]) -> bool:
        """Whether an incident is open and about components of ours, as far as it says."""
        if incident.get("status") in _OVER:
            return False
        named = {str(one.get("name")) for one in _listed(incident, "components")}
        ours = set(self.config.components)
        return not named or not ours or bool(named & ours)


def _listed(of: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = of.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _in_words(incident: Mapping[str, Any]) -> str:
    details = [str(incident[name]) for name in ("impact", "status") if incident.get(name)]
    name = str(incident.get("name") or "an incident")
    return f"{name} ({', '.join(details)})" if details else name


def _instant(incident: Mapping[str, Any]) -> datetime | None:
    for name in ("started_at", "created_at"):
        try:
            return parse_iso(str(incident[name])).astimezone(UTC)
        except (KeyError, ValueError, OverflowError):
            continue
    return None
