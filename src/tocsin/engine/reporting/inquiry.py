"""What a report asks of the stores: a period, some services, and until when all is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from zoneinfo import ZoneInfo

from tocsin.assess.monitor import Monitor, Objective
from tocsin.domain.clock import from_minute, to_minute
from tocsin.engine.as_of import configuration_at
from tocsin.engine.house import House
from tocsin.engine.reporting.asked import Wish
from tocsin.engine.reporting.objectives import Span, days_of, objectives
from tocsin.reports.facts import ObjectiveFacts
from tocsin.spec.desired import Desired
from tocsin.spec.services import Service
from tocsin.store.periods import Periods, Sums
from tocsin.store.rolled_up import HOUR, RolledUp
from tocsin.store.schema import CALLS_1H


@dataclass(frozen=True, slots=True)
class Counts:
    """Where calls of [start, stop) in epoch minutes are counted. missing: why some may be missing,
    or ""."""

    source: Periods | RolledUp
    start: int
    stop: int
    missing: str = ""

    @property
    def is_rolled_up(self) -> bool:
        """Whether hours are read because calls are gone."""
        return isinstance(self.source, RolledUp)


@dataclass(frozen=True)
class Inquiry:
    """A wish, and the stores as they were known at its as-of time. What several chapters need is
    read once."""

    house: House
    wish: Wish
    desired: Desired
    reads: Periods

    @classmethod
    def of(cls, house: House, wish: Wish) -> Inquiry:
        """With the configuration in force then. Raises `as_of.NotKnown`."""
        found, _ = configuration_at(house, wish.as_of)
        return cls(house, wish, found or house.desired, house.telemetry.periods(wish.as_of))

    @property
    def start(self) -> int:
        """The first epoch minute of the period."""
        return to_minute(self.wish.since)

    @property
    def stop(self) -> int:
        """The epoch minute after its last."""
        return to_minute(self.wish.until)

    @property
    def span(self) -> Span:
        """The period as objectives count it."""
        return Span(self.start, self.stop, self.wish.as_of)

    @property
    def zone(self) -> ZoneInfo:
        """Whose days are counted."""
        return ZoneInfo(self.wish.time_zone)

    @cached_property
    def theirs(self) -> Mapping[str, Service]:
        """Configured services by the name that telemetry has for them."""
        return {service.service_name: service for service in self.desired.services.values()}

    def service(self, called: str) -> Service:
        """The service that telemetry calls so; one that is not configured has that name."""
        return self.theirs.get(called) or Service(called, called)

    def wants(self, service: str) -> bool:
        """Whether the report is about a service, by its own name."""
        return not self.wish.services or service in self.wish.services

    @cached_property
    def now(self) -> Counts:
        """Calls of the period."""
        return self._counts(self.start, self.stop)

    @cached_property
    def before(self) -> Counts:
        """Calls of the period of the same length before it."""
        start = self.start - (self.stop - self.start)
        if self._first is None or self._first > start:
            return Counts(self.reads, start, self.start, "no calls are held from the period before")
        return self._counts(start, self.start)

    @cached_property
    def totals(self) -> Mapping[str, Sums]:
        """Calls of the period by the name that telemetry has for a service."""
        return self.now.source.totals(self.start, self.stop)

    @cached_property
    def monitors(self) -> tuple[Monitor, ...]:
        """Objectives of the services it is about."""
        return tuple(
            monitor for monitor in self.desired.monitors
            if isinstance(monitor.method, Objective) and self.wants(monitor.service)
        )  # fmt: skip

    @cached_property
    def objectives(self) -> tuple[ObjectiveFacts, ...]:
        """The same, counted."""
        return tuple(objectives(self.house, self.monitors, self.span, self.zone, self.incomplete))

    def _counts(self, start: int, stop: int) -> Counts:
        """Raw calls; where these are gone, the hours they were rolled up in."""
        missing = self.incomplete(start)
        keeping = self.house.telemetry.keeping
        is_whole = start % HOUR == 0 and stop % HOUR == 0
        if not missing or not is_whole or start * 60 < keeping.complete_since(CALLS_1H):
            return Counts(self.reads, start, stop, missing or self.unheard(stop))
        return Counts(self.house.telemetry.rolled_up(), start, stop)

    def incomplete(self, minute: int | None = None) -> str:
        """Why calls may be missing from an epoch minute on (by default the first), or ""."""
        kept = datetime.fromtimestamp(self.house.telemetry.keeping.complete_since(), UTC)
        if from_minute(self.start if minute is None else minute) >= kept:
            return ""
        return f"calls from before {kept:%Y-%m-%d %H:%M} UTC are not kept any more"

    def unheard(self, stop: int) -> str:
        """Why calls before an epoch minute are unknown although none is gone, or ""."""
        first = self._first
        if first is not None and stop > first:
            return ""
        return "no call had come yet" if first is not None else "no call ever came"

    @cached_property
    def _first(self) -> int | None:
        return self.house.telemetry.reads.first_minute()

    def days(self) -> Iterator[tuple[date, int, int]]:
        """Days of the period, see `objectives.days_of`."""
        return days_of(self.span, self.zone)
