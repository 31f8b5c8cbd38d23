"""Exactly once, by counting: what of a segment has arrived, and how the rest gets there.

A process may die, or an insert fail, at any moment, and ClickHouse does not commit a table and its
rollups together. But every row carries the number of its segment, and the segment is deleted only
after its rows are safe. So a segment found later is counted against the table:

    none there -> replay       insert it
    all there  -> skip         it had arrived; only its deletion is missing
    some there -> partial      delete those rows, insert it again

and whatever the case, the rollup hours that it touches are computed anew from the raw rows. The
engine's own de-duplication is not relied on: it records a token before the part is committed.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog

from tocsin.domain.errors import StoreError
from tocsin.store import schema
from tocsin.store.clickhouse import DATABASE, ClickHouse, EngineError
from tocsin.store.kinds import SegmentKind
from tocsin.store.quarantine import SOURCE, Quarantine, Sifted
from tocsin.store.scores import feed_versions
from tocsin.store.segments import SegmentFile
from tocsin.store.writers import writer_of

_log = structlog.get_logger(__name__)
_HOUR, _DAY = 3600, 86_400
_HOURS = "groupUniqArray(intDiv(toUnixTimestamp64Micro({time}) + toInt64(duration_us), 3600000000))"
_MANY_PARTITIONS = "SETTINGS max_partitions_per_insert_block = 0"
_NO_HOURS = "CAST([], 'Array(Int64)')"
Action = Literal["replay", "skip", "partial", "empty"]


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling one segment found and did. hours: epoch hours in which its calls ended."""

    action: Action
    expected: int
    found: int
    hours: frozenset[int] = frozenset()


class Inserts:
    """The statements that carry segments into their tables."""

    def __init__(self, engine: ClickHouse, kinds: Mapping[str, SegmentKind]) -> None:
        self._engine = engine
        self._kinds = kinds

    def use(self, kinds: Iterable[SegmentKind]) -> None:
        """Read segments by these kinds from now on, in place of those with the same names."""
        self._kinds = {**self._kinds, **{kind.name: kind for kind in kinds}}

    def kind(self, file: SegmentFile) -> SegmentKind:
        """The kind of a segment. StoreError for one that this version does not know."""
        kind = self._kinds.get(file.kind)
        if kind is None:
            raise StoreError(
                f"{file.path} is a segment of kind {file.kind!r}, which this version of Tocsin"
                " does not know; start the version that wrote it, or move the file away"
            )
        return kind

    def select(self, file: SegmentFile) -> str:
        """The SELECT of a segment, with its number filled in; `{source}` is left."""
        return self.kind(file).rows(careful=file.careful).replace("{seg}", str(file.seg))

    def insert(self, file: SegmentFile) -> None:
        """Load a segment of which nothing is there yet."""
        kind = self.kind(file)
        if kind.rejects:
            names = "recv, source, reason, project, body, seg"
            rejects = kind.rejects.replace("{seg}", str(file.seg))
            self._engine.write_segment(
                f"INSERT INTO {DATABASE}.quarantine ({names}) SELECT {names} FROM ({rejects})",
                kind,
                file.path,
            )
        self._engine.write_segment(
            f"INSERT INTO {DATABASE}.{kind.table} ({', '.join(kind.columns)}) {self.select(file)}",
            kind,
            file.path,
        )

    def is_whole_call(self, file: SegmentFile) -> bool:
        """Whether the SELECT of a segment yields every column of `calls`."""
        kind = self.kind(file)
        return _has_rollups(kind) and set(schema.CALLS.names) <= set(kind.columns)


@dataclass(slots=True)
class Opening:
    """What settling leftovers came to.

    outcomes: of those that are settled. unsettled: those that cannot be settled now (the disk is
    full, a file cannot be read); the loader tries again, rollups included.
    """

    outcomes: list[Settled] = field(default_factory=list)
    settled: list[SegmentFile] = field(default_factory=list)
    unsettled: list[SegmentFile] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Survey:
    """What a segment yields: rows, their first and last microsecond, the hours calls ended in."""

    rows: int = 0
    low: int = 0
    high: int = 0
    hours: frozenset[int] = frozenset()


class Reconciler:
    """Settles segments of which it is not known whether they arrived."""

    def __init__(
        self,
        engine: ClickHouse,
        inserts: Inserts,
        quarantine: Quarantine,
        *,
        complete_since: Callable[[], float] = lambda: 0.0,
        writer: int = 0,
    ) -> None:
        """complete_since: second since the epoch from which on no raw call has expired.

        writer: whose share of the rollups is rebuilt; see `tocsin.store.writers`.
        """
        self._engine = engine
        self._inserts = inserts
        self._quarantine = quarantine
        self._complete_since = complete_since
        self._writer = writer

    def settle(self, file: SegmentFile) -> Settled:
        """Bring the rows of one segment into its table exactly once; rollups are not touched.

        Nobody may insert the same segment meanwhile. EngineError when the engine cannot do it now.
        """
        return self._arrange(file, self._survey(file))

    def repair(self, file: SegmentFile) -> SegmentFile:
        """Settle one segment and rebuild its rollup hours while others read; returns it, closed.

        Nobody sees the tables half way: a minute whose rollup is just being computed anew would
        look like one without calls. Nobody may insert meanwhile.
        """
        closed = self.close(file)
        survey = self._survey(closed)
        with self._engine.undisturbed():
            self.rebuild(self._arrange(closed, survey).hours, writer_of(file.seg))
        return closed

    def settle_all(self, files: Iterable[SegmentFile]) -> Opening:
        """Settle leftover segments, oldest first, and rebuild every rollup hour they touch."""
        found = Opening()
        hours: dict[int, set[int]] = {}
        for file in files:
            try:
                closed = self.close(file)
                outcome = self.settle(closed)
            except (EngineError, OSError) as error:
                _log.error("segment_not_settled", segment=file.path.name, error=str(error)[:500])
                found.unsettled.append(file)
                continue
            _log.debug("segment_settled", segment=file.path.name, action=outcome.action,
                      expected=outcome.expected, found=outcome.found)  # fmt: skip
            found.outcomes.append(outcome)
            found.settled.append(closed)
            hours.setdefault(writer_of(file.seg), set()).update(outcome.hours)
        try:
            for writer, touched in hours.items():
                self.rebuild(touched, writer)
        except EngineError as error:
            _log.error("rollups_not_rebuilt", hours=len(hours), error=str(error)[:500])
            found.unsettled += found.settled
            found.settled = []
        return found

    def close(self, file: SegmentFile) -> SegmentFile:
        """The segment with nothing in it that was never acknowledged, and closed for writing.

        A frame that was being written when the process ended is cut off. A segment that is ready
        was closed after its last frame was acknowledged.
        """
        if file.is_ready:
            return file
        if file.path.exists():
            self._quarantine.mend(file, self._inserts.kind(file).format)
            return file.ready()
        return SegmentFile(file.seg, file.kind, file.careful, file.path.with_suffix(".ready"))

    def rebuild(self, hours: Iterable[int], writer: int | None = None) -> None:
        """Compute both rollups anew for epoch hours `hours`; their writer may not insert meanwhile.

        writer: by default this process. Only its share is touched, so other writers may insert.
        Hours of which some raw calls have expired are left as they are: what is left of their calls
        is less than the rollups know.
        """
        whose = self._writer if writer is None else writer
        for low, high in _ranges(self._whole(hours)):
            bounds = {"low": low * _HOUR, "high": high * _HOUR, "writer": whose}
            for table, step in schema.ROLLUPS:
                self._engine.delete(
                    table.name,
                    "t >= toDateTime({low:UInt32}, 'UTC') AND t < toDateTime({high:UInt32}, 'UTC')"
                    " AND writer = {writer:UInt16}",
                    bounds,
                )
                where = (
                    f"WHERE {schema.ENDED} >= toDateTime64({{low:UInt32}}, 6, 'UTC')"
                    f" AND {schema.ENDED} < toDateTime64({{high:UInt32}}, 6, 'UTC')"
                    " AND calls.ts < toDateTime64({high:UInt32}, 6, 'UTC')"  # for the partitions
                    f" AND {schema.WRITER} = {{writer:UInt16}}"
                )
                self._engine.execute(
                    f"INSERT INTO {DATABASE}.{table.name}"
                    f" ({', '.join(c.name for c in table.columns)})"
                    f" {schema.rollup_select(step, where)} {_MANY_PARTITIONS}",
                    bounds,
                )

    def _whole(self, hours: Iterable[int]) -> list[int]:
        """Those hours whose calls are all there: a call may have begun a day before it ended."""
        oldest = self._complete_since() + _DAY if self._complete_since() else 0.0
        whole: list[int] = []
        partly: list[int] = []
        for hour in hours:
            (whole if hour * _HOUR >= oldest else partly).append(hour)
        if partly:
            _log.warning("rollup_hours_kept", hours=len(partly), first=min(partly) * _HOUR,
                         reason="some of their calls have expired")  # fmt: skip
        return whole

    def _survey(self, file: SegmentFile) -> _Survey:
        """What the segment yields, after what cannot be read of it was set aside."""
        self._engine.end(file.path)
        self._engine.catch_up(self._inserts.kind(file).table)
        try:
            return self._read(file)
        except EngineError as error:
            if not error.blames_data:
                raise
            self._sift(file, str(error))
            return self._read(file)

    def _read(self, file: SegmentFile) -> _Survey:
        if not file.path.stat().st_size:
            return _Survey()
        kind = self._inserts.kind(file)
        hours = _HOURS.format(time=kind.time) if _has_rollups(kind) else _NO_HOURS
        rows = self._engine.read_segment(
            f"SELECT count(), toUnixTimestamp64Micro(min({kind.time})),"
            f" toUnixTimestamp64Micro(max({kind.time})), {hours}"
            f" FROM ({self._inserts.select(file)})",
            kind,
            file.path,
        )
        count, low, high, touched = rows[0]
        return _Survey(int(count), int(low), int(high), frozenset(map(int, touched)))

    def _arrange(self, file: SegmentFile, survey: _Survey) -> Settled:
        """Make the table hold what the survey found, once."""
        if survey.rows == 0:
            if file.path.stat().st_size:
                self._retry(file, survey)
            return Settled("empty", 0, 0)
        found, hours = self._count(file, survey), survey.hours
        if found != survey.rows:
            hours |= self._retry(file, survey)
        if self._inserts.kind(file).table == schema.SCORES.name:
            feed_versions(self._engine, *self._rows_of(file, survey))
        if found == survey.rows:
            return Settled("skip", survey.rows, found, hours)
        return Settled("partial" if found else "replay", survey.rows, found, hours)

    def _rows_of(self, file: SegmentFile, survey: _Survey) -> tuple[str, dict[str, int]]:
        """SQL condition and its parameters: the rows of a segment in its table."""
        where = _seg_rows(self._inserts.kind(file))
        return where, {"seg": file.seg, "low": survey.low, "high": survey.high}

    def _count(self, file: SegmentFile, survey: _Survey) -> int:
        where, values = self._rows_of(file, survey)
        table = self._inserts.kind(file).table
        rows = self._engine.rows(f"SELECT count() FROM {DATABASE}.{table} WHERE {where}", values)
        return int(rows[0][0])

    def _retry(self, file: SegmentFile, survey: _Survey) -> frozenset[int]:
        """Delete what is there of a segment and insert it; sift it when it cannot be read.

        Returns hours beside those of the survey that lost rows.
        """
        self._clear(file, survey)
        try:
            self._inserts.insert(file)
        except EngineError as error:
            if not error.blames_data:
                raise
            return self._take_out(file, error)
        return frozenset()

    def _take_out(self, file: SegmentFile, error: EngineError) -> frozenset[int]:
        """Insert a segment without the pieces that keep it from being inserted.

        When all of them can be read it is not the data's fault, whatever the engine says.
        """
        sifted = self._sift(file, str(error))
        if not sifted.set_aside:
            raise error
        # What was there of the pieces that are gone lies outside of any survey made now.
        hours = self._clear_everywhere(file)
        self._clear_rejects(file)
        if not sifted.is_empty:
            self._inserts.insert(file)
        return hours

    def _sift(self, file: SegmentFile, reason: str) -> Sifted:
        """Set aside what cannot be read; if all can be, what the rollups cannot take."""
        kind = self._inserts.kind(file)
        select = self._inserts.select(file)
        sifted = self._quarantine.sift(file, kind, select, reason)
        if sifted.set_aside or not self._inserts.is_whole_call(file):
            return sifted
        rollup = schema.rollup_select("toStartOfHour", source=f"({select})")
        return self._quarantine.sift(file, kind, rollup, reason)

    def _clear(self, file: SegmentFile, survey: _Survey) -> None:
        if self._count(file, survey):
            table = self._inserts.kind(file).table
            self._engine.delete(table, *self._rows_of(file, survey))
        self._clear_rejects(file)

    def _clear_rejects(self, file: SegmentFile) -> None:
        if self._inserts.kind(file).rejects:
            where = f"seg = {{seg:UInt64}} AND source != '{SOURCE}'"
            self._engine.delete(schema.QUARANTINE.name, where, {"seg": file.seg})

    def _clear_everywhere(self, file: SegmentFile) -> frozenset[int]:
        """Delete every row of a segment, whatever its time; returns the hours they counted in."""
        kind = self._inserts.kind(file)
        where, values = _mine(kind), {"seg": file.seg}
        hours = _HOURS.format(time=kind.time) if _has_rollups(kind) else _NO_HOURS
        touched = self._engine.rows(
            f"SELECT count(), {hours} FROM {DATABASE}.{kind.table} WHERE {where}", values
        )[0]
        if touched[0]:
            self._engine.delete(kind.table, where, values)
        return frozenset(map(int, touched[1]))


def leftover(directory: Path, inserts: Inserts) -> list[SegmentFile]:
    """The segments a former process left, oldest first, careful ones last.

    StoreError for one of an unknown kind.
    """
    found = []
    for path in sorted(directory.iterdir()):
        if path.suffix in {".mended", ".new"}:
            path.unlink()  # written beside the real file, which is still there
            continue
        file = SegmentFile.parse(path)
        if file is None:
            continue
        inserts.kind(file)
        if path.is_file() and path.stat().st_size == 0:
            path.unlink()
            continue
        found.append(file)
    return sorted(found, key=lambda file: file.careful)  # those look for what the others hold


def _has_rollups(kind: SegmentKind) -> bool:
    return kind.table == schema.CALLS.name


def _mine(kind: SegmentKind) -> str:
    # A segment of quarantined items may itself have had a line set aside, which has a row there.
    other = f" AND source != '{SOURCE}'" if kind.table == schema.QUARANTINE.name else ""
    return f"seg = {{seg:UInt64}}{other}"


def _seg_rows(kind: SegmentKind) -> str:
    return (
        f"{_mine(kind)} AND {kind.time} >= fromUnixTimestamp64Micro({{low:Int64}}, 'UTC')"
        f" AND {kind.time} <= fromUnixTimestamp64Micro({{high:Int64}}, 'UTC')"
    )


def _ranges(hours: Iterable[int]) -> Sequence[tuple[int, int]]:
    """Half-open runs of consecutive hours."""
    runs: list[tuple[int, int]] = []
    for hour in sorted(hours):
        if runs and runs[-1][1] == hour:
            runs[-1] = (runs[-1][0], hour + 1)
        else:
            runs.append((hour, hour + 1))
    return runs
