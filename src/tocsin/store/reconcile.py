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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from tocsin.domain.errors import StoreError
from tocsin.store import schema
from tocsin.store.clickhouse import DATABASE, ClickHouse, EngineError, literal
from tocsin.store.kinds import SegmentKind
from tocsin.store.quarantine import SOURCE, Quarantine
from tocsin.store.scores import feed_versions
from tocsin.store.segments import SegmentFile
from tocsin.store.writers import writer_of

_log = structlog.get_logger(__name__)
_HOUR, _DAY = 3600, 86_400
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
        self._columns: dict[tuple[str, bool], str] = {}

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
        names = self._names(kind, careful=file.careful)
        self._engine.write_segment(
            f"INSERT INTO {DATABASE}.{kind.table} ({names}) {self.select(file)}",
            kind,
            file.path,
        )

    def _names(self, kind: SegmentKind, *, careful: bool) -> str:
        """The columns that the kind's SELECT yields, in its order; others take their defaults."""
        known = self._columns.get((kind.name, careful))
        if known is None:
            select = kind.rows(careful=careful).replace("{seg}", "0")
            source = f"null({literal(kind.structure)})"
            # How the engine plans matters to a description as well: seconds without it.
            planning = ", ".join(
                f"{name} = {literal(str(value))}"
                for name, value in kind.settings.items()
                if not name.startswith(("format_", "input_format_"))
            )
            described = self._engine.rows(
                f"DESCRIBE TABLE ({select.replace('{source}', source)})"
                + (f" SETTINGS {planning}" if planning else "")
            )
            known = ", ".join(row[0] for row in described)
            self._columns[kind.name, careful] = known
        return known


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
        kind = self._inserts.kind(file)
        self._engine.end(file.path)
        self._engine.catch_up(kind.table)
        expected, low, high, hours = self._survey(file, kind)
        if expected == 0:
            if file.path.stat().st_size:
                self._retry(file, kind, low, high)
            return Settled("empty", 0, 0)
        found = self._count(file, kind, low, high)
        if found != expected:
            self._retry(file, kind, low, high)
        if kind.table == schema.SCORES.name:
            bounds = {"seg": file.seg, "low": low, "high": high}
            feed_versions(self._engine, _seg_rows(kind), bounds)
        if found == expected:
            return Settled("skip", expected, found, hours)
        return Settled("partial" if found else "replay", expected, found, hours)

    def settle_all(self, files: Iterable[SegmentFile]) -> list[Settled]:
        """Settle leftover segments and rebuild every rollup hour they touch. For start-up."""
        outcomes: list[Settled] = []
        hours: dict[int, set[int]] = {}
        for file in files:
            outcome = self.settle(file)
            _log.debug("segment_settled", segment=file.path.name, action=outcome.action,
                      expected=outcome.expected, found=outcome.found)  # fmt: skip
            outcomes.append(outcome)
            hours.setdefault(writer_of(file.seg), set()).update(outcome.hours)
        for writer, touched in hours.items():
            self.rebuild(touched, writer)
        return outcomes

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
                    f" {schema.rollup_select(step, where)}",
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

    def _survey(self, file: SegmentFile, kind: SegmentKind) -> tuple[int, int, int, frozenset[int]]:
        """How many rows a segment yields, their first and last microsecond, and their hours."""
        hours = (
            "groupUniqArray(intDiv("
            f"toUnixTimestamp64Micro({kind.time}) + toInt64(duration_us), 3600000000))"
            if kind.table == schema.CALLS.name
            else "CAST([], 'Array(Int64)')"
        )
        sql = (
            f"SELECT count(), toUnixTimestamp64Micro(min({kind.time})),"
            f" toUnixTimestamp64Micro(max({kind.time})), {hours}"
            f" FROM ({self._inserts.select(file)})"
        )
        try:
            found = self._engine.read_segment(sql, kind, file.path)
        except EngineError as error:
            if not error.blames_data:
                raise
            sifted = self._quarantine.sift(file, kind, self._inserts.select(file), str(error))
            if sifted.is_empty:
                return 0, 0, 0, frozenset()
            found = self._engine.read_segment(sql, kind, file.path)
        count, low, high, touched = found[0]
        return int(count), int(low), int(high), frozenset(int(hour) for hour in touched)

    def _count(self, file: SegmentFile, kind: SegmentKind, low: int, high: int) -> int:
        rows = self._engine.rows(
            f"SELECT count() FROM {DATABASE}.{kind.table} WHERE {_seg_rows(kind)}",
            {"seg": file.seg, "low": low, "high": high},
        )
        return int(rows[0][0])

    def _retry(self, file: SegmentFile, kind: SegmentKind, low: int, high: int) -> None:
        """Delete what is there of a segment and insert it; sift it when it cannot be read."""
        self._clear(file, kind, low, high)
        try:
            self._inserts.insert(file)
        except EngineError as error:
            if not error.blames_data:
                raise
            sifted = self._quarantine.sift(file, kind, self._inserts.select(file), str(error))
            self._clear(file, kind, low, high)
            if sifted.set_aside == 0:
                self._quarantine.whole(file, kind, str(error))
            elif not sifted.is_empty:
                self._inserts.insert(file)

    def _clear(self, file: SegmentFile, kind: SegmentKind, low: int, high: int) -> None:
        bounds = {"seg": file.seg, "low": low, "high": high}
        if self._count(file, kind, low, high):
            self._engine.delete(kind.table, _seg_rows(kind), bounds)
        if kind.rejects:
            self._engine.delete(
                schema.QUARANTINE.name, f"seg = {{seg:UInt64}} AND source != '{SOURCE}'", bounds
            )


def leftover(directory: Path, quarantine: Quarantine, inserts: Inserts) -> list[SegmentFile]:
    """The segments a former process left, oldest first, mended and closed.

    A frame that was being written when the process ended is cut off: it was never acknowledged.
    """
    found = []
    for path in sorted(directory.iterdir()):
        if path.suffix in {".mended", ".new"}:
            path.unlink()  # written beside the real file, which is still there
            continue
        file = SegmentFile.parse(path)
        if file is None:
            continue
        kind = inserts.kind(file)
        if not file.is_ready:  # a ready one was closed after its last frame was acknowledged
            quarantine.mend(file, kind.format)
        if file.path.stat().st_size == 0:
            file.path.unlink()
            continue
        found.append(file if file.is_ready else file.ready())
    return found


def _seg_rows(kind: SegmentKind) -> str:
    return (
        f"seg = {{seg:UInt64}} AND {kind.time} >= fromUnixTimestamp64Micro({{low:Int64}}, 'UTC')"
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
