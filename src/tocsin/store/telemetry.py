"""The telemetry store: segments, loader, engine and queries of one data directory, as one thing.

    <path>/wal/          accepted, not yet in ClickHouse
    <path>/clickhouse/   the embedded engine's files
    <path>/quarantine/   accepted, cannot be read

Opening it settles what a former process left behind, before anything new is accepted.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import structlog

from tocsin.domain.clock import Clock, from_minute, iso
from tocsin.domain.errors import StoreError
from tocsin.domain.samples import Sample, Wish
from tocsin.domain.series import Change, HourBlock, MinuteBlock, Ratio, SeriesId
from tocsin.store import ddl, fitness, prices, schema
from tocsin.store.arms import ArmReader
from tocsin.store.call_detail import CallDetail, call_detail
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.costs import Costs
from tocsin.store.data_quality import DataQuality
from tocsin.store.digests import DigestMemory
from tocsin.store.exemplars import ExemplarReader
from tocsin.store.exports import Exporter
from tocsin.store.kinds import SegmentKind
from tocsin.store.layout import ONE_NODE, Layout
from tocsin.store.loader import Loader, LoaderState, retire
from tocsin.store.metrics import MetricReader
from tocsin.store.minutes import MinuteReader
from tocsin.store.owner import Owner
from tocsin.store.periods import Periods
from tocsin.store.quarantine import Quarantine, digests_of
from tocsin.store.reads import Reads
from tocsin.store.reconcile import Inserts, Opening, Reconciler, Settled, leftover
from tocsin.store.recount import Recount, late_hours
from tocsin.store.retention import DAY_S, Keeping
from tocsin.store.rolled_up import RolledUp
from tocsin.store.row_kinds import row_kinds
from tocsin.store.samples import SampleReader
from tocsin.store.scores import Placer, about, fill_versions, judged, restated
from tocsin.store.segments import Limits, SegmentWriter
from tocsin.store.served import Bounds, Served
from tocsin.store.slices import SliceReader
from tocsin.store.upgrades import has_tables, upgrade
from tocsin.store.writers import Writers

if TYPE_CHECKING:
    import pyarrow as pa

_log = structlog.get_logger(__name__)
BUILT_IN = row_kinds()
CALL_ROWS, SCORE_ROWS, CHANGE_ROWS, *_ = BUILT_IN
_MEMORY_BYTES = 2_000_000_000
_PROMPT_S = 5


@dataclass(frozen=True, slots=True)
class TelemetryStats:
    """Vitals. rows, disk_bytes: per table. quarantined: rows of the quarantine."""

    rows: Mapping[str, int]
    disk_bytes: Mapping[str, int]
    backlog_bytes: int
    quarantined: int
    loader: LoaderState


@dataclass(frozen=True, slots=True)
class Prompt:
    """Reads that end after five seconds, found or not (EngineError). changes: as `Telemetry`'s."""

    slices: SliceReader
    reads: Reads
    changes: Callable[[int, int], Sequence[Change]]

    @classmethod
    def of(cls, engine: ClickHouse) -> Prompt:
        """All of them through one engine."""
        return cls(SliceReader(engine), Reads(engine), MinuteReader(engine).changes)


def prepared(
    engine: ClickHouse,
    clock: Clock,
    tables: Sequence[schema.Table],
    retention: schema.Retention | None,
    overrides: Sequence[prices.Price] = (),
) -> Keeping:
    """Check an engine, and bring its tables, views and prices up to this version.

    retention, overrides: see `Telemetry.open`. StoreError when the engine cannot hold a store.
    """
    fitness.check(engine)
    fitness.make_database(engine)
    existed = has_tables(engine)
    ddl.install(engine, tables, retention=retention)
    upgrade(engine, clock, existed=existed)
    ddl.refresh_views(engine)
    fill_versions(engine)
    prices.install(engine, overrides)
    Writers(engine, clock).identity()
    keeping = Keeping(engine, clock, tables)
    if retention is not None:
        keeping.apply(retention)
    return keeping


class Telemetry:
    """Everything about calls, scores and changes. Close it, or use it as a context manager.

    writer: takes records in. reads, slices, exemplars, metrics: what pages and the API ask.
    prompt: what messages ask, which cannot wait. arms:
    what gates compare. exports: files for others. costs: bills beside the price book. data_quality:
    what telemetry leaves out. settled: what opening found. placer: finds the calls of scores that
    came before them.
    """

    def __init__(
        self, engine: ClickHouse, path: Path, clock: Clock, kinds: Sequence[SegmentKind],
        limits: Limits, keeping: Keeping, overrides: tuple[prices.Price, ...],
    ) -> None:  # fmt: skip
        wal = path / "wal"
        by_name = {kind.name: kind for kind in (*BUILT_IN, *kinds)}
        self._engine = engine
        self._clock = clock
        self._held = ExitStack()
        self._digests = DigestMemory(wal / "digests.journal", clock)
        self._quarantine = Quarantine(engine, path / "quarantine", clock)
        self.keeping = keeping
        self._overrides = overrides
        epoch = Writers(engine, clock).epoch(wal, {kind.table for kind in by_name.values()})
        self._inserts = inserts = Inserts(engine, by_name)
        reconciler = Reconciler(
            engine, inserts, self._quarantine, complete_since=keeping.complete_since,
            writer=epoch >> 16,
        )  # fmt: skip
        opening = reconciler.settle_all(leftover(wal, inserts))
        self.settled: list[Settled] = opening.outcomes
        self.placer = Placer(engine, clock)
        self._loader = Loader(inserts, reconciler, self._digests, self._loaded, placer=self.placer)
        self.writer = SegmentWriter(
            wal, by_name, self._digests, self._loader.put, epoch=epoch, limits=limits
        )
        self._hand_over(opening, inserts)
        self.reads = Reads(engine)
        self.slices = SliceReader(engine)
        self.exemplars = ExemplarReader(engine)
        self.arms = ArmReader(engine)
        self._samples = SampleReader(engine)
        self.metrics = MetricReader(engine)
        self.exports = Exporter(engine)
        self.costs = Costs(engine, keeping)
        self.data_quality = DataQuality(engine)
        self._minutes = MinuteReader(engine)
        self.prompt = Prompt.of(engine.within(_PROMPT_S))

    @classmethod
    def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        kinds: Sequence[SegmentKind] = (),
        tables: Sequence[schema.Table] = (),
        memory_bytes: int = _MEMORY_BYTES,
        retention: schema.Retention | None = None,
        limits: Limits | None = None,
        dsn: str = "",
        password: str = "",
        layout: Layout = ONE_NODE,
        overrides: Sequence[prices.Price] = (),
    ) -> Telemetry:
        """Open the store of a data directory, making what is missing.

        kinds: of segments, beside the built-in ones. tables: beside those of `schema.TABLES`.
        retention: applied to every table; None gives new tables the defaults and leaves others.
        dsn: a ClickHouse server instead of the embedded engine; `password` when it has none.
        layout: how tables lie there. overrides: prices that go before the packaged ones.
        StoreError when another process uses the directory, or the server cannot be used.
        """
        given = limits or Limits()
        try:
            with ExitStack() as held:
                (path / "wal").mkdir(parents=True, exist_ok=True)
                held.callback(Owner(path).close)
                if dsn:
                    engine = ClickHouse(dsn, layout=layout, password=password)
                else:
                    engine = ClickHouse.embedded(
                        path / "clickhouse", memory_bytes=memory_bytes, layout=layout,
                        keep_free_bytes=given.min_free_bytes // 4,
                    )  # fmt: skip
                held.callback(engine.close)
                keeping = prepared(engine, clock, (*schema.TABLES, *tables), retention, overrides)
                store = cls(engine, path, clock, kinds, given, keeping, tuple(overrides))
                store._held = held.pop_all()
                return store
        except OSError as error:
            raise StoreError(
                f"the telemetry under {path} cannot be opened: {error}; if the disk is full, free"
                " some space and start again: nothing that was accepted is lost"
            ) from error

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write and load what is pending, then release the directory."""
        self.writer.close()
        self._loader.close()
        self._held.close()

    @property
    def engine(self) -> ClickHouse:
        """The ClickHouse behind it, for what is no business of a store: copies, statistics."""
        return self._engine

    def served(self, bounds: Bounds | None = None) -> Served:
        """The embedded engine for callers outside this process; close it before this store.

        StoreError when the engine is not embedded: its server is what they are to ask.
        """
        address = self._engine.address
        if not address.is_embedded:
            raise StoreError(
                f"this process uses ClickHouse at {address}: other processes are to ask that"
                " server. Unset TOCSIN_STORE_PORT, or TOCSIN_CLICKHOUSE."
            )
        return Served(Path(address.path), bounds)

    def flush(self, timeout_s: float | None = 60.0) -> None:
        """Block until everything accepted so far can be queried. StoreError after `timeout_s`."""
        self.writer.rotate()
        self._loader.wait_idle(timeout_s)

    def use(self, kinds: Iterable[SegmentKind]) -> None:
        """Load segments by these kinds from now on; those of the same names are replaced.

        What is on disk and not loaded yet is loaded by the new ones.
        """
        self._inserts.use(kinds)

    def price_by(self, overrides: Sequence[prices.Price]) -> None:
        """Price calls that are loaded from now on by these, and where they say nothing by the
        packaged prices.
        """
        if tuple(overrides) != self._overrides:
            prices.install(self._engine, overrides)
            self._overrides = tuple(overrides)

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """See `domain.ports.MinuteSource`."""
        return self._minutes.minutes(monitored, services, start, stop)

    def hours(self, monitored: Mapping[SeriesId, Ratio], start: int, stop: int) -> HourBlock:
        """See `domain.ports.History`."""
        return self._minutes.hours(monitored, start, stop)

    def recount(self, known_by: datetime | None = None) -> Recount:
        """The same counts from raw rows; see `store.recount`."""
        return Recount(self._engine, known_by)

    def periods(self, known_by: datetime) -> Periods:
        """Whole periods as they were known then; see `store.periods`."""
        return Periods(self._engine, known_by)

    def rolled_up(self) -> RolledUp:
        """Whole periods from hours, where calls are not kept any more; see `store.rolled_up`."""
        return RolledUp(self._engine)

    def call(self, trace_id: str, span_id: str) -> CallDetail | None:
        """One call with all that is kept about it, None when there is none."""
        return call_detail(self._engine, trace_id, span_id)

    def sample(self, wish: Wish, start: int, stop: int) -> Sample:
        """See `domain.ports.MinuteSource`."""
        return self._samples.sample(wish, start, stop)

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """See `domain.ports.MinuteSource`."""
        return self._minutes.changes(start, stop)

    def scores_about(self, call: str) -> list[dict[str, Any]]:
        """The scores of a call as they hold; `call` is any of its ids."""
        return about(self._engine, call)

    def restated(self, since: datetime, before: int) -> Sequence[int]:
        """Epoch hours, before epoch minute `before`, in which scores received from `since` on
        changed what is counted."""
        return restated(self._engine, since, before)

    def late(self, since: datetime, before: int, late_s: float) -> Sequence[int]:
        """Epoch hours, before epoch minute `before`, of calls received from `since` on that came
        more than `late_s` seconds after they ended."""
        return late_hours(self._engine, since, before, late_s)

    def judged(self, since: datetime, before: int, names: Sequence[str]) -> Sequence[int]:
        """Epoch hours, before epoch minute `before`, of calls about which a score of one of these
        names was received from `since` on."""
        return judged(self._engine, since, before, names)

    def add_change(self, change: Change, *, project: str = "") -> None:
        """Record that somebody did something; durable on return."""
        row = {
            "ts": iso(from_minute(change.at_minute)),
            "project": project,
            "service": change.service,
            "kind": change.kind,
            "title": change.title,
            "labels": dict(change.labels),
            "recv": iso(self._clock.now()),
        }
        self.add_rows(CHANGE_ROWS, [row])

    def add_rows(self, kind: SegmentKind, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows of a JSONEachRow kind as one record; durable on return."""
        lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
        if lines:
            self.writer.append_now(kind, lines)

    def add_calls(self, calls: pa.Table) -> None:
        """Append calls in bulk, columns of table `calls` by name; absent ones take their defaults.

        For replay and import: the way in for hundreds of thousands of calls at once.
        """
        import pyarrow as pa

        unknown = set(calls.column_names) - set(schema.CALLS.names)
        if unknown:
            raise StoreError(f"table calls has no column {', '.join(sorted(unknown))}")
        self._refuse_expired(calls)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, calls.schema) as stream:
            stream.write_table(calls)
        self.writer.append_now(CALL_ROWS, [sink.getbuffer()])

    def _refuse_expired(self, calls: pa.Table) -> None:
        """StoreError for calls that the table would drop as soon as it had them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        days = self.keeping.raw_days
        if not days or "ts" not in calls.column_names:
            return
        oldest = int(self._clock.now().timestamp() - days * DAY_S) * 1_000_000
        began = calls.column("ts").cast(pa.timestamp("us")).cast(pa.int64())
        late = pc.sum(pc.less(began, oldest)).as_py() or 0
        if late:
            raise StoreError(
                f"{late} of {calls.num_rows} calls began more than {days} days ago, and calls are"
                f" kept for {days} days. None was stored: leave them out, or keep calls for longer"
                " (`calls` of a Retention document)."
            )

    def loader(self) -> LoaderState:
        """How loading gets on."""
        return self._loader.state()

    def stats(self) -> TelemetryStats:
        """Rows, bytes and vitals now."""
        sizes = self.reads.sizes()
        return TelemetryStats(
            rows={name: rows for name, (rows, _) in sizes.items()},
            disk_bytes={name: size for name, (_, size) in sizes.items()},
            backlog_bytes=self.writer.backlog_bytes,
            quarantined=sizes.get(schema.QUARANTINE.name, (0, 0))[0],
            loader=self._loader.state(),
        )

    def _loaded(self, size: int) -> None:
        self.writer.add_backlog(size, -1)

    def _hand_over(self, opening: Opening, inserts: Inserts) -> None:
        """Give the loader what is left to do of what a former process left."""
        try:
            retire(opening.settled, inserts, self._digests)
        except OSError as error:
            _log.error("segments_not_deleted", error=str(error))
            self._loader.put_loaded(opening.settled)
        for file in opening.unsettled:
            size = 0
            with suppress(OSError):  # it cannot be read: the loader says so, again and again
                size = file.path.stat().st_size
                self._digests.add(digests_of(file.path, inserts.kind(file).format))
            self.writer.add_backlog(size)
            self._loader.put_leftover(file, size)
