"""What a source is: something Tocsin asks, where everything else sends.

A source is a class and its frozen configuration in one file under `sources/`. It knows how to ask
and how to read the answer, and keeps no state that matters: what it must remember is the *cursor*,
which its runner (`tocsin.engine.sources`) makes durable only after everything that came with it is.
A source never sees the store.

Several things come out of a poll. *Metrics* may be told again: a point is known by its series,
start and end. *Entries* (calls, log records) may not, so each has an id, and the runner takes each
id once. *Alerts* of another monitor and *reports* about a dependency say how things are now, and
replace what was said before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol, runtime_checkable

from tocsin.domain.dependencies import DependencyState
from tocsin.domain.errors import TocsinError
from tocsin.intake.alerts.incoming import Incoming
from tocsin.intake.records import LogEntry, SpanRecord

ENTRY_ID = "log.record.uid"  # attribute of a call or log record: the id its source knows it by
SOURCE = "tocsin.source"  # resource attribute: the name of the Source document


class Unreadable(TocsinError):
    """A target that cannot be read now: it is unknown, and the text says why, without any secret.

    after: how long to wait before asking again, where the target said so.
    """

    def __init__(self, reason: str, *, after: timedelta | None = None) -> None:
        self.after = after
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Origin:
    """For whom a source reads. service, project: what telemetry calls the service."""

    name: str
    service: str
    project: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def resource(self, **more: str) -> dict[str, str]:
        """The resource attributes of what comes from this source."""
        own = {"service.name": self.service, SOURCE: self.name}
        if self.project:
            own["openinference.project.name"] = self.project
        return {**self.labels, **more, **own}


@dataclass(frozen=True, slots=True)
class Entry:
    """A call or a log record that must be taken once. id: unique within its source, for ever."""

    id: str
    at: datetime
    record: SpanRecord | LogEntry


@dataclass(frozen=True, slots=True)
class Reported:
    """How a dependency is, as one target says. by: "status page", "probe". since: where it says."""

    dependency: str
    by: str
    state: DependencyState
    reason: str = ""
    link: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll of one target found.

    metrics: OTLP metric requests (protobuf). points: how many points they hold. since: nothing
    older than this will be asked for again; needed where there are entries. cursor: JSON, for the
    next poll. is_behind: there is more already, so ask again at once. notes: what was left out, in
    words.
    """

    metrics: Sequence[bytes] = ()
    points: int = 0
    entries: Sequence[Entry] = ()
    since: datetime | None = None
    cursor: Any = None
    is_behind: bool = False
    notes: Sequence[str] = ()
    alerts: Sequence[Incoming] = ()
    reports: Sequence[Reported] = ()


@runtime_checkable
class Source(Protocol):
    """Asks one or more targets.

    Config: the frozen dataclass it is built from. extra: what must be installed with Tocsin, as in
    `pip install 'tocsin[extra]'`; "" for nothing. every: the usual time between two polls. A class
    attribute `needs_service = False` says that what it reads need not belong to one service.
    """

    Config: ClassVar[type[Any]]
    extra: ClassVar[str]
    every: ClassVar[timedelta]

    def __init__(self, config: Any, origin: Origin) -> None: ...

    @property
    def targets(self) -> Sequence[str]:
        """What is asked, each by a name that may be shown. Each is polled on its own."""
        ...

    async def poll(self, target: str, now: datetime, cursor: Any) -> Polled:
        """Ask once. cursor: that of the last poll, None at first. Raises Unreadable.

        Any other exception counts as unreadable and is a defect of the source.
        """
        ...

    def unread(self, target: str, now: datetime) -> Sequence[bytes]:
        """OTLP metric requests to store when `target` could not be read; often none."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """A source of reports, which says what is known when a target cannot be read."""

    def lost(self, target: str, reason: str) -> Sequence[Reported]:
        """Reports that hold now: unknown, as a rule."""
        ...
