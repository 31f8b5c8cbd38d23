"""Reads pulled sources: each target on its own, in time, never twice at once.

A poll's metrics and entries are durable before its cursor is. A crash in between asks for the same
window again: metric points that come again are one point, and entries are known by their id, which
a runner learns from the store once after its start. A target that cannot be read is *unknown*, with
the reason and since when; what it would have shown is missing, never 0.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import structlog

from tocsin.domain.clock import Clock
from tocsin.domain.errors import IntakeError, StoreError
from tocsin.intake.alerts.incoming import Incoming
from tocsin.intake.intake import Intake
from tocsin.intake.records import LogEntry, SpanRecord, to_log_request, to_request
from tocsin.intake.source import (
    ENTRY_ID,
    Entry,
    Polled,
    Reported,
    Reporting,
    Source,
    Unreadable,
)
from tocsin.intake.sources import SOURCES
from tocsin.spec.sources import ConfiguredSource
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

log = structlog.get_logger(__name__)

AT_ONCE = 16
LONGEST_POLL = timedelta(minutes=2)
LONGEST_PAUSE = timedelta(minutes=15)
LONGEST_WAIT_S = 5.0
MOST_IN_A_ROW = 100
_CHUNK = 1000
ELSEWHERE = "another process reads it"
LASTING = 3  # intervals for which a report holds that is not made again


class Listener(Protocol):
    """Takes what sources say of how things are now; see `tocsin.engine.listening`. Blocks."""

    def alerts(self, source: ConfiguredSource, alerts: Sequence[Incoming], at: datetime) -> None:
        """Alerts of another monitor."""
        ...

    def reports(
        self,
        source: ConfiguredSource,
        target: str,
        reports: Sequence[Reported],
        at: datetime,
        until: datetime,
    ) -> None:
        """What a target says about dependencies; it holds until `until`."""
        ...


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How one target is doing. since: for how long it has been so. read: when it was read last.

    points, entries: stored since the start of this process. notes: what of the last answer was
    left out.
    """

    source: str
    type: str
    service: str
    target: str
    state: Literal["up", "unknown"] = "unknown"
    reason: str = "not read yet"
    since: datetime | None = None
    read: datetime | None = None
    polls: int = 0
    failures: int = 0
    points: int = 0
    entries: int = 0
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reader:
    """One target: its task, its status, and which entries it took."""

    configured: ConfiguredSource
    source: Source
    target: str
    status: TargetStatus
    failures_in_a_row: int = 0
    not_before: datetime | None = None
    taken: dict[str, datetime] = field(default_factory=dict)
    known_since: datetime | None = None

    @property
    def cursor_name(self) -> str:
        digest = hashlib.blake2b(self.target.encode(), digest_size=8).hexdigest()
        return f"source.{self.configured.name}.{digest}"


class SourceRunner:
    """Polls the targets of all sources. Lives on one event loop; `use` may be called by any thread.

    is_ours: whether this process is to ask; of several that share a state database one does.
    counts: totals since the start: `polls`, `unreadable`, `failures` (defects), `refused` (the
    store could not take what was read), `skipped` (a poll took longer than its interval).
    """

    def __init__(
        self,
        intake: Intake,
        state: StateStore,
        telemetry: Telemetry,
        clock: Clock,
        listener: Listener | None = None,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._listener = listener
        self._intake = intake
        self._is_ours = is_ours
        self._state = state
        self._telemetry = telemetry
        self._clock = clock
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._wanted: Mapping[str, ConfiguredSource] = {}
        self._running: dict[str, tuple[ConfiguredSource, list[_Reader], list[asyncio.Task[None]]]]
        self._running = {}
        self._broken: dict[str, TargetStatus] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self.counts: Counter[str] = Counter()

    def use(self, sources: Mapping[str, ConfiguredSource]) -> None:
        """Read these from now on; those that did not change go on undisturbed."""
        self._wanted = {n: s for n, s in sources.items() if s.config is not None}
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    def statuses(self) -> tuple[TargetStatus, ...]:
        """Every target, by source."""
        found = [r.status for _, readers, _ in list(self._running.values()) for r in readers]
        found += self._broken.values()
        return tuple(sorted(found, key=lambda status: (status.source, status.target)))

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        self._loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._changed.clear()
                await self._adopt(start=True)
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait((stopping, changed), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        finally:
            stopping.cancel()
            await self._drop(list(self._running))

    async def poll_once(self) -> None:
        """Ask every target now, one after another."""
        await self._adopt(start=False)
        for _, readers, _ in list(self._running.values()):
            for reader in readers:
                await self._poll(reader)

    async def close_connections(self) -> None:
        """Close what `poll_once` left open; targets and what is known of them stay."""
        for source in self._sources():
            await source.close()

    # --- which targets ---

    def _sources(self) -> list[Source]:
        held = (reader.source for _, readers, _ in self._running.values() for reader in readers)
        return list({id(source): source for source in held}.values())

    async def _adopt(self, *, start: bool) -> None:
        wanted = self._wanted
        gone = [name for name, (held, _, _) in self._running.items() if wanted.get(name) != held]
        await self._drop(gone)
        self._broken = {n: status for n, status in self._broken.items() if n in wanted}
        for name, configured in wanted.items():
            if name not in self._running:
                readers = self._readers(configured)
                tasks = [asyncio.create_task(self._keep_reading(r)) for r in readers if start]
                self._running[name] = (configured, readers, tasks)

    def _readers(self, configured: ConfiguredSource) -> list[_Reader]:
        status = TargetStatus(configured.name, configured.type, configured.service, "")
        self._broken.pop(configured.name, None)
        try:
            source: Source = SOURCES[configured.type](configured.config, configured.origin)
            return [
                _Reader(configured, source, target, replace(status, target=target))
                for target in source.targets
            ]
        except Exception:  # of a plugin: the other sources are read all the same
            self.counts["failures"] += 1
            log.exception("source_not_started", source=configured.name)
            reason = "it could not be started; the server's log says why"
            self._broken[configured.name] = replace(status, reason=reason)
            return []

    async def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            _, readers, tasks = self._running.pop(name)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for source in {id(reader.source): reader.source for reader in readers}.values():
                try:
                    await source.close()
                except Exception:  # of a plugin
                    log.exception("source_not_closed", source=name)

    # --- when ---

    async def _keep_reading(self, reader: _Reader) -> None:
        while True:
            due = self._due(reader)
            await self._sleep_until(due)
            if not self._is_ours():
                # What another process takes meanwhile is learnt from the store when it is our turn.
                reader.taken, reader.known_since = {}, None
                reader.status = replace(reader.status, state="unknown", reason=ELSEWHERE)
                continue
            for _ in range(MOST_IN_A_ROW):
                async with self._slots:
                    is_behind = await self._poll(reader)
                if not is_behind:
                    break
            if self._clock.now() > due + reader.configured.interval:
                self.counts["skipped"] += 1

    def _due(self, reader: _Reader) -> datetime:
        """The next instant of this target: targets are spread over the interval by their names."""
        now = self._clock.now()
        interval = reader.configured.interval
        digest = hashlib.blake2b(reader.cursor_name.encode(), digest_size=8).digest()
        shift = timedelta(microseconds=int.from_bytes(digest) % (interval // _MICROSECOND))
        passed = (now - _EPOCH - shift) // interval
        due = _EPOCH + shift + (passed + 1) * interval
        return max(due, reader.not_before or due)

    async def _sleep_until(self, due: datetime) -> None:
        """Re-reads the clock, which may be stepped."""
        while (left := (due - self._clock.now()).total_seconds()) > 0:
            await asyncio.sleep(min(left, LONGEST_WAIT_S))

    # --- one poll ---

    async def _poll(self, reader: _Reader) -> bool:
        """Ask, store, remember. Whether there is more to ask for at once. Raises nothing."""
        now = self._clock.now()
        self.counts["polls"] += 1
        polled = Polled()
        try:
            async with asyncio.timeout(LONGEST_POLL.total_seconds()):
                cursor = await asyncio.to_thread(self._state.get_meta, reader.cursor_name)
                polled = await reader.source.poll(reader.target, now, cursor)
            await self._tell(reader, polled, now)
            entries = await self._store(reader, polled)
        except Unreadable as error:
            self._unreadable(reader, now, str(error), error.after)
        except TimeoutError:
            self._unreadable(reader, now, f"no answer within {LONGEST_POLL}", None)
        except (IntakeError, StoreError) as error:
            self.counts["refused"] += 1
            self._unreadable(reader, now, f"read and not stored: {error}", None)
            return False
        except Exception:  # worker loop: the next poll tries again
            self.counts["failures"] += 1
            log.exception("source_failed", source=reader.configured.name, target=reader.target)
            reason = "reading it failed; the server's log says why"
            self._unreadable(reader, now, reason, None)
        else:
            self._read(reader, now, polled, entries)
            return polled.is_behind
        await self._tell_unread(reader, now)
        return False

    async def _tell(self, reader: _Reader, polled: Polled, now: datetime) -> None:
        """Pass on what is true now; the cursor follows it."""
        if self._listener is None:
            return
        if polled.alerts:
            await asyncio.to_thread(self._listener.alerts, reader.configured, polled.alerts, now)
        await self._report(reader, polled.reports, now)

    async def _report(self, reader: _Reader, reports: Sequence[Reported], now: datetime) -> None:
        if self._listener is not None and reports:
            until = now + LASTING * reader.configured.interval
            await asyncio.to_thread(
                self._listener.reports, reader.configured, reader.target, reports, now, until
            )

    async def _store(self, reader: _Reader, polled: Polled) -> int:
        """Everything durable, then the cursor. Returns how many entries were new."""
        for body in polled.metrics:
            await self._intake.otlp("metrics", body)
        fresh = await self._fresh(reader, polled)
        spans = [entry for entry in fresh if isinstance(entry.record, SpanRecord)]
        logs = [entry for entry in fresh if isinstance(entry.record, LogEntry)]
        await self._take(reader, "traces", spans, to_request)
        await self._take(reader, "logs", logs, to_log_request)
        if polled.cursor is not None:
            await asyncio.to_thread(self._state.set_meta, reader.cursor_name, polled.cursor)
        if polled.since is not None:
            since = polled.since
            reader.taken = {name: at for name, at in reader.taken.items() if at >= since}
        return len(fresh)

    async def _fresh(self, reader: _Reader, polled: Polled) -> list[Entry]:
        """Entries that were not taken before, each once, oldest first."""
        if polled.entries and polled.since is not None:
            known = reader.known_since
            if known is None or polled.since < known:
                reader.taken |= await asyncio.to_thread(self._stored, reader, polled.since)
                reader.known_since = polled.since
        unlike = {entry.id: entry for entry in polled.entries if entry.id not in reader.taken}
        return sorted(unlike.values(), key=lambda entry: (entry.at, entry.id))

    def _stored(self, reader: _Reader, since: datetime) -> dict[str, datetime]:
        """Ids that this or a former process stored. They are kept until nobody asks back so far."""
        self._telemetry.flush()
        found = self._telemetry.reads.entry_ids(reader.configured.name, since)
        return dict.fromkeys(found, self._clock.now())

    async def _take(
        self,
        reader: _Reader,
        signal: str,
        entries: Sequence[Entry],
        written: Callable[[Iterable[Any]], bytes],
    ) -> None:
        """Store entries; what is durable is taken, whatever becomes of the rest."""
        for start in range(0, len(entries), _CHUNK):
            chunk = entries[start : start + _CHUNK]
            body = written(_marked(entry, entry.record) for entry in chunk)
            await self._intake.otlp(signal, body)
            reader.taken |= {entry.id: entry.at for entry in chunk}

    async def _tell_unread(self, reader: _Reader, now: datetime) -> None:
        try:
            for body in reader.source.unread(reader.target, now):
                await self._intake.otlp("metrics", body)
            source: object = reader.source
            if isinstance(source, Reporting):
                await self._report(reader, source.lost(reader.target, reader.status.reason), now)
        except (IntakeError, StoreError):
            self.counts["refused"] += 1

    # --- what is known about it ---

    def _read(self, reader: _Reader, now: datetime, polled: Polled, entries: int) -> None:
        status = reader.status
        if status.state != "up" and status.polls:
            log.info("source_up", source=status.source, target=status.target)
        reader.failures_in_a_row, reader.not_before = 0, None
        reader.status = replace(
            status,
            state="up",
            reason="",
            since=status.since if status.state == "up" else now,
            read=now,
            polls=status.polls + 1,
            points=status.points + polled.points,
            entries=status.entries + entries,
            notes=tuple(polled.notes),
        )

    def _unreadable(
        self, reader: _Reader, now: datetime, reason: str, after: timedelta | None
    ) -> None:
        self.counts["unreadable"] += 1
        status = reader.status
        if status.reason != reason:
            log.warning("source_unknown", source=status.source, target=status.target, reason=reason)
        if after is not None:  # asked to wait: longer each time
            pause = after * 2 ** min(reader.failures_in_a_row, 10)
            reader.not_before = now + min(pause, LONGEST_PAUSE)
        reader.failures_in_a_row += 1
        is_new = status.state == "up" or status.since is None
        reader.status = replace(
            status,
            state="unknown",
            reason=reason,
            since=now if is_new else status.since,
            polls=status.polls + 1,
            failures=status.failures + 1,
        )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _marked(entry: Entry, record: Any) -> Any:
    return replace(record, attributes={**record.attributes, ENTRY_ID: entry.id})
