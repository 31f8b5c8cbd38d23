"""Counts per minute from a file, and which of a configuration's objectives they are about.

    a time      minute, timestamp, time, ts, at or start: RFC 3339 text, timestamps, or seconds
                since 1970 (`minute` also as epoch minutes). A row counts in the minute it lies in.
    two of      good; bad (errors, failed, ...); total (requests, count, ...)
    or          sum: of a value over the calls, and total: for objectives about a mean
    optionally  slo (objective): the name of an objective; series: that or a service;
                service; indicator: the name of one, such as availability

Other names of columns are `ALIASES`. Rows of one minute and one key add up; a minute without a row
had no calls. A file that names services and no indicators answers every indicator that counts
failures, and the only objective of a service whatever it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.assess.absence import AbsenceConfig
from tocsin.assess.budget_rules import BudgetRuleConfig
from tocsin.assess.monitor import Monitor, Objective
from tocsin.domain.samples import Sample, Wish
from tocsin.domain.series import EACH, SHARE, Change, MinuteBlock, Ratio, SeriesId
from tocsin.engine.columns import Floats, Ints, integers, minutes_of, texts, unusable
from tocsin.spec.desired import Desired
from tocsin.spec.explain import suggest

ALIASES: Mapping[str, tuple[str, ...]] = {
    "time": ("minute", "timestamp", "time", "ts", "at", "start"),
    "good": ("good", "success", "successes", "ok"),
    "bad": ("bad", "errors", "error", "failed", "failures"),
    "total": ("total", "requests", "count", "calls", "valid"),
    "sum": ("sum", "value_sum"),
    "objective": ("slo", "objective"),
    "series": ("series",),
    "service": ("service",),
    "indicator": ("indicator",),
}
_COUNTS = ("good", "bad", "total")
_OBJECTIVE = "slo/"


@dataclass(frozen=True)
class CountsFile:
    """Counts of some keys, a row per key and minute; by minute.

    keys: what rows are about, (service, indicator); "" where the file does not say. key: of each
    row. sums: of a value over the calls of each row, None in a file that is not about means.
    has_shares: whether it says which calls were bad. names: what each key is called in the file
    when it names objectives. sole: series that rows without an indicator answer beside those that
    count failures.
    """

    path: Path
    minute: Ints
    key: npt.NDArray[np.intp]
    keys: tuple[tuple[str, str], ...]
    good: Ints
    bad: Ints
    sums: Floats | None = None
    has_shares: bool = True
    names: tuple[str, ...] = ()
    names_column: str = ""
    sole: frozenset[SeriesId] = field(default_factory=frozenset)

    @classmethod
    def fits(cls, table: pa.Table) -> bool:
        """Whether a table has a time and two of the three counts, or a sum and a total."""
        names = set(table.column_names)
        known = [what for what in ("time", *_COUNTS, "sum") if names.intersection(ALIASES[what])]
        counts = [what for what in known if what in _COUNTS]
        return known[:1] == ["time"] and (len(counts) >= 2 or {"sum", "total"} <= {*known})

    @classmethod
    def of(cls, table: pa.Table, path: Path) -> CountsFile:
        """Checks every row; SpecError for counts that cannot be and for unreadable minutes."""
        named = {what: _column(table, what, path) for what in ALIASES}
        assert named["time"] is not None  # noqa: S101 (`fits` said so)
        minute = minutes_of(table.column(named["time"]), named["time"], path)
        good, bad = _good_and_bad(table, named, path)
        sums = _sums(table, named["sum"], path)
        names_column = named["objective"] or named["series"]
        by = [names_column] if names_column else [named["service"], named["indicator"]]
        columns = [texts(table, name) if name else None for name in by]
        key, found = _numbered(columns, table.num_rows)
        order = np.argsort(minute, kind="stable")
        return cls(
            path=path,
            minute=minute[order],
            key=key[order],
            keys=() if names_column else tuple((row[0], row[1]) for row in found),
            good=good[order],
            bad=bad[order],
            sums=None if sums is None else sums[order],
            has_shares=named["good"] is not None or named["bad"] is not None,
            names=tuple(row[0] for row in found) if names_column else (),
            names_column=names_column or "",
        )

    @property
    def span(self) -> tuple[int, int]:
        """First minute, and the minute after the last."""
        return (int(self.minute.min()), int(self.minute.max()) + 1) if self.minute.size else (0, 0)

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """As `MinuteSource.minutes`. A file of counts has no histograms and no segments."""
        width = stop - start
        wanted = {sid: ratio for sid, ratio in monitored.items() if sid.segment[1] != EACH}
        here = slice(*np.searchsorted(self.minute, (start, stop)))
        cell = self.key[here] * width + (self.minute[here] - start)
        counts = np.zeros((2, len(self.keys) + 1, width), np.int64)
        for of, values in ((0, self.bad), (1, self.bad + self.good)):
            np.add.at(counts[of].reshape(-1), cell, values[here])
        key = {name: place for place, name in enumerate(self.keys)}
        nowhere = len(self.keys)
        rows = [
            key.get((series.service, series.indicator), self._failures(key, series, ratio))
            for series, ratio in wanted.items()
        ]
        chosen = np.array([nowhere if row is None else row for row in rows], np.intp)
        empty = np.zeros((len(services), width, 0), np.int64)
        bad, total = counts[:, chosen]
        self._charge(wanted, chosen, cell, here, bad, total)
        return MinuteBlock(start, tuple(wanted), bad, total, tuple(services), empty, empty)

    def _charge(
        self, wanted: Mapping[SeriesId, Ratio], chosen: npt.NDArray[np.intp],
        cell: npt.NDArray[np.intp], here: slice, bad: Ints, total: Ints,
    ) -> None:  # fmt: skip
        """Put what calls are charged by the sums of the file in place of bad ones, which say
        nothing about a mean; where the file does not say what is asked for, there is nothing."""
        sums = np.zeros((len(self.keys) + 1, total.shape[1]))
        if self.sums is not None:
            np.add.at(sums.reshape(-1), cell, self.sums[here])
        for row, (key, ratio) in enumerate(zip(chosen, wanted.values(), strict=True)):
            charge = ratio.charge
            if not (self.has_shares if charge is None else self.sums is not None):
                bad[row] = total[row] = 0
            if charge is None:
                continue
            spent = (sums[key] - charge.free * total[row]) / (charge.limit - charge.free)
            bad[row], total[row] = np.rint(SHARE * spent), SHARE * total[row]

    def sample(self, wish: Wish, start: int, stop: int) -> Sample | None:
        """None: a file of counts has no single calls."""
        return None

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """None: a file of counts knows of no changes."""
        return ()

    def _failures(
        self, key: Mapping[tuple[str, str], int], series: SeriesId, ratio: Ratio
    ) -> int | None:
        """The key of rows that name a service alone, where those answer `series`."""
        told = ratio.column in ("failed", "error") and not ratio.model
        return key.get((series.service, "")) if told or series in self.sole else None


def bind(desired: Desired, counts: CountsFile) -> tuple[Desired, CountsFile]:
    """A file and a configuration that agree about what the rows are about.

    Objectives that a file names are given a series each, for two of them may otherwise count the
    same calls. SpecError for names that the configuration does not have, for rows that could be
    about several things, and when nothing in the file is about anything.
    """
    objectives = [m for m in desired.monitors if isinstance(m.method, Objective)]
    if counts.names_column:
        return _bound_by_name(desired, counts, objectives)
    if counts.keys and all(service == "" for service, _ in counts.keys):
        service = _only_service(desired, counts, objectives)
        counts = replace(counts, keys=tuple((service, name) for _, name in counts.keys))
    by_service: dict[str, set[SeriesId]] = {}
    for monitor in objectives:
        if monitor.series is not None:
            by_service.setdefault(monitor.service, set()).add(monitor.series)
    alone = [next(iter(found)) for found in by_service.values() if len(found) == 1]
    counts = replace(counts, sole=frozenset(alone))
    check_services(counts.path, [service for service, _ in counts.keys], desired.services)
    return desired, counts


# --------------------------------------------------------------------------------------------


def _bound_by_name(
    desired: Desired, counts: CountsFile, objectives: Sequence[Monitor]
) -> tuple[Desired, CountsFile]:
    known = {monitor.name.removeprefix(_OBJECTIVE): monitor for monitor in objectives}
    given = [name.removeprefix(_OBJECTIVE) for name in counts.names]
    if counts.names_column in ALIASES["series"] and not known.keys() & set(given):
        keys = tuple((name, "") for name in counts.names)
        return bind(desired, replace(counts, keys=keys, names=(), names_column=""))
    unknown = [name for name in given if name not in known]
    if unknown:
        raise unusable(
            counts.path,
            f"column {counts.names_column}: the configuration has no objective {unknown[0]!r}",
            fix=suggest(unknown[0], known),
        )
    own = {
        monitor.name: replace(monitor, series=SeriesId(monitor.service, monitor.name))
        for monitor in known.values()
    }
    monitors = tuple(own.get(monitor.name) or _about(monitor, own) for monitor in desired.monitors)
    keys = tuple((known[name].service, known[name].name) for name in given)
    return replace(desired, monitors=monitors), replace(counts, keys=keys)


def _about(monitor: Monitor, own: Mapping[str, Monitor]) -> Monitor:
    """A monitor that looks at an objective's budget or silence looks at the one with its own
    series."""
    method = monitor.method
    if isinstance(method, BudgetRuleConfig | AbsenceConfig):
        objective = own.get(method.objective.name, method.objective)
        return replace(monitor, method=replace(method, objective=objective))
    return monitor


def _only_service(desired: Desired, counts: CountsFile, objectives: Sequence[Monitor]) -> str:
    candidates = {monitor.service for monitor in objectives} or set(desired.services)
    if len(candidates) != 1:
        raise unusable(
            counts.path,
            f"no column says which of {len(candidates)} services a row is about",
            fix="add a column slo or service",
        )
    return candidates.pop()


def check_services(path: Path, named: Iterable[str], known: Mapping[str, object]) -> None:
    """SpecError when a file names services and none of them is known: silence would look like
    health."""
    theirs = dict.fromkeys(named)
    if theirs and not known.keys() & theirs.keys():
        name = next(iter(theirs))
        raise unusable(
            path, f"the configuration has none of its services, such as {name!r}",
            fix=suggest(name, known) or "add a Service document with the name",
        )  # fmt: skip


def _column(table: pa.Table, what: str, path: Path) -> str | None:
    """The column that says `what`; SpecError when two could."""
    found = [name for name in ALIASES[what] if name in table.column_names]
    if len(found) > 1:
        message = f"columns {found[0]} and {found[1]} both say {what}"
        raise unusable(path, message, fix="keep one of them")
    return found[0] if found else None


def _good_and_bad(
    table: pa.Table, named: Mapping[str, str | None], path: Path
) -> tuple[Ints, Ints]:
    held = {what: integers(table, name, path) for what in _COUNTS if (name := named[what])}
    good = held.get("good")
    bad = held.get("bad")
    if good is None and bad is None:
        return held["total"], np.zeros_like(held["total"])
    if good is None:
        good = held["total"] - held["bad"]
    if bad is None:
        bad = held["total"] - held["good"]
    wrong = (good < 0) | (bad < 0)
    if "total" in held:
        wrong |= good + bad != held["total"]
    if wrong.any():
        row = int(np.argmax(wrong))
        told = ", ".join(f"{named[what]} {values[row]}" for what, values in held.items())
        raise unusable(path, f"row {row + 1}: {told} cannot be", fix="good + bad is the total")
    return good, bad


def _sums(table: pa.Table, name: str | None, path: Path) -> Floats | None:
    if name is None:
        return None
    sums = pc.cast(table[name], pa.float64()).to_numpy(zero_copy_only=False)
    if not np.isfinite(sums).all():
        row = int(np.argmin(np.isfinite(sums)))
        raise unusable(path, f"row {row + 1}: {name} is not a number", fix="leave the row out")
    return np.asarray(sums, np.float64)


def _numbered(
    columns: Iterable[npt.NDArray[np.object_] | None], rows: int
) -> tuple[npt.NDArray[np.intp], list[tuple[str, ...]]]:
    """A number for each distinct row of `columns` (None is "" throughout), and those rows."""
    key = np.zeros(rows, np.intp)
    found: list[tuple[str, ...]] = [()]
    for column in columns:
        if column is None:
            found = [(*row, "") for row in found]
            continue
        coded = pc.dictionary_encode(pa.array(column, pa.string()))
        values = coded.dictionary.to_pylist()
        pairs = key * max(len(values), 1) + np.asarray(coded.indices, np.intp)
        distinct, key = np.unique(pairs, return_inverse=True)
        found = [(*found[p // len(values)], values[p % len(values)]) for p in distinct.tolist()]
    return key, found if rows else []
