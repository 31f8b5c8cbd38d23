"""The ledger of all error budgets: raw counts of every series, and what each budget is charged.

    raw      calls and bad calls of a minute, as they were counted; never corrected. Where calls
             are charged in proportion (`domain.series.Charge`), shares and what was charged
    charged  the accounts of objectives that judge in slices, or of which something was corrected

Both add up over any stretch of time. Charges are computed from raw minutes whenever these arrive or
change, so that the ledger is the same however the minutes came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tocsin.assess.accounts import (
    UNIT,
    Account,
    Accounts,
    Correction,
    Joined,
    NoData,
    Slices,
)
from tocsin.assess.monitor import Composite, Monitor, Objective
from tocsin.assess.ring import MINUTES_PER_HOUR, Boundaries, Counts, PeriodCounts, Rows
from tocsin.domain.series import SeriesId

Floats = npt.NDArray[np.float64]

MAX_WINDOW = 3 * 24 * MINUTES_PER_HOUR  # longest burn window that is exact to the minute
MAX_PERIOD = 366 * 24 * MINUTES_PER_HOUR  # longest period of an objective
WEEK = 7 * 24 * MINUTES_PER_HOUR
# How far back calendar periods remember single hours. A label that comes later than that into a
# year counts when history is read the next time.
_RESTATABLE = 92 * 24 * MINUTES_PER_HOUR


class Ledger:
    """Counts and charges of objectives.

    Rows are numbered: raw counts, then charges, then composites that are mixed from other rows at
    the moment they are asked for.

    back: minutes for which raw counts are exact at least.
    """

    def __init__(self, monitors: Iterable[Monitor], back: int = 0) -> None:
        held = [m for m in monitors if isinstance(m.method, Objective)]
        wanted = {series: ratio.unit for m in held for series, ratio in m.counted}
        self.series = {series: row for row, series in enumerate(wanted)}
        book = _Book(self.series, wanted)
        for monitor in held:
            book.open(monitor)
        self.accounts = book.accounts()
        self._row, self._uncorrected, self._mixes = book.rows(len(self.series))
        self._parts = book.part_rows(len(self.series))
        self._fine = book.fine
        charged = [UNIT if a.slices else a.unit for a in self.accounts.accounts]
        charged += [UNIT] * len(book.joined)
        self._unit = np.array([*wanted.values(), *charged], np.float64)
        methods = [m.method for m in held if isinstance(m.method, Objective)]
        back = max(back, self.accounts.reach if charged else 0)
        reach, hours, boundaries = _extent(methods, back)
        # Shares are millionths of a call: one such series needs the longer numbers.
        fine = np.uint64 if max(wanted.values(), default=1) > 1 else np.uint32
        self.raw = PeriodCounts(len(self.series), reach, hours, boundaries, fine)
        self.charged = PeriodCounts(len(charged), reach, hours, boundaries, np.uint64)

    def rows(self, monitors: Iterable[Monitor]) -> Rows:
        """The row of each objective, as its budget is charged."""
        return np.array([self._row[monitor.name] for monitor in monitors], np.intp)

    def uncorrected_rows(self, monitors: Iterable[Monitor]) -> Rows:
        """The row of each objective as if nothing had been corrected."""
        return np.array([self._uncorrected[monitor.name] for monitor in monitors], np.intp)

    def part_rows(self, monitor: Monitor) -> Rows:
        """The rows of a composite's parts, as they are charged. KeyError for what is none."""
        return self._parts[monitor.name]

    def is_fine(self, series: SeriesId, begin: int) -> bool:
        """Whether a budget that begins at `begin` cannot be read back by the hour."""
        return series in self._fine or begin % MINUTES_PER_HOUR != 0

    def begin(self, minute: int) -> None:
        """Forget everything; the next minute to arrive is `minute`."""
        self.raw.begin(minute)
        self.charged.begin(minute)

    def put(self, start: int, counts: Counts, *, present: bool = True) -> None:
        """Write minutes [start, start + len(counts)) of raw `counts[minute, (bad, total), row]`;
        see `MinuteRing.put`."""
        self.raw.put(start, counts, present=present)
        if self.accounts.accounts:
            ring = self.raw.ring
            # Slices that were complete already may have changed up to the last minute held.
            self._charge(start, ring.end)

    def restate(self, hour: int, rows: Rows, counts: Counts) -> bool:
        """Replace raw counts of some rows in an epoch hour; see `PeriodCounts.restate`.

        False also when a slice reaches beyond that hour and the minutes around it are gone.
        """
        if not self.raw.restate(hour, rows, counts):
            return False
        touched = [n for n, a in enumerate(self.accounts.accounts) if a.row in rows.tolist()]
        if not touched:
            return True
        ring, reach = self.raw.ring, self.accounts.reach
        start = hour * MINUTES_PER_HOUR
        if max(start - reach, ring.start) > ring.end - ring.capacity + 1:
            stop = min(start + MINUTES_PER_HOUR + reach, ring.end)
            self._charge(max(start, ring.start), stop)
            return True
        whole = [n for n in touched if self.accounts.is_within_hours(n)]
        joined = self.accounts.joined_of(touched)
        known = frozenset(rows.tolist())
        whole += [n for n in joined if self.accounts.rows_of(n) <= known]
        touched += joined
        places = np.array(whole, np.intp)
        charges = self._charges_of(start, rows, counts)[:, :, places]
        done = not whole or self.charged.restate(hour, places, charges)
        return done and len(whole) == len(touched)

    def sums(self, end: int, width: int, rows: Rows | None = None) -> Floats:
        """(bad, total) [2, row] of minutes [end - width, end), in calls or in slices.

        A mixed composite's are those of as many calls as would be as certain.
        """
        plain = len(self._unit)
        if rows is None:
            rows = np.arange(plain + len(self._mixes))
        sums = np.empty((2, len(rows)), np.float64)
        is_plain = rows < plain
        sums[:, is_plain] = self._sums(end, width, rows[is_plain])
        for at in np.flatnonzero(~is_plain):
            mix = self._mixes[rows[at] - plain]
            sums[:, at] = mix.sums(self._sums(end, width, mix.rows))
        return sums

    def _sums(self, end: int, width: int, rows: Rows) -> Floats:
        is_raw = rows < len(self.series)
        sums = np.empty((2, len(rows)), np.float64)
        sums[:, is_raw] = self.raw.sums(end, width, rows[is_raw])
        if not is_raw.all():
            sums[:, ~is_raw] = self.charged.sums(end, width, rows[~is_raw] - len(self.series))
        return sums / self._unit[rows]

    def hourly(self, end: int, width: int, row: int) -> Floats:
        """(bad, total) [hour, 2] of one row in every whole hour of [end - width, end)."""
        if row >= len(self._unit):
            return np.zeros((0, 2))
        counts, place = self._counts_of(row)
        return np.asarray(counts.hourly(end, width, place) / self._unit[row], np.float64)

    def batches(self, end: int, width: int, row: int, most: int) -> Floats:
        """(bad, total) [batch, 2] of one row, not a mixed one, in up to `most` stretches of time of
        one length that lie in [end - width, end): of minutes where these are held, else of hours.
        """
        counts, place = self._counts_of(row)
        held = counts.finely(end, width, place)
        if not len(held):
            return np.zeros((0, 2))
        length = -(-len(held) // most)
        batches = np.add.reduceat(held, np.arange(0, len(held), length), axis=0)
        return np.asarray(batches / self._unit[row], np.float64)

    def _counts_of(self, row: int) -> tuple[PeriodCounts, int]:
        """Where a row that is not mixed is held, and as which one."""
        plain = len(self.series)
        return (self.raw, row) if row < plain else (self.charged, row - plain)

    def covered(self, end: int, width: int) -> int:
        """How many of the minutes [end - width, end) lie after the first one ever held."""
        return self.raw.covered(end, width)

    def _charges_of(self, start: int, rows: Rows, counts: Counts) -> Counts:
        """Charges of an hour of which only these counts are known."""
        around = self.accounts.reach
        known = np.zeros((2 * around + MINUTES_PER_HOUR, 2, len(self.series)), np.int64)
        known[around : around + len(counts), :, rows] = counts
        origin = start - around
        return self.accounts.charge(
            start,
            start + MINUTES_PER_HOUR,
            start,
            lambda first, stop: known[first - origin : stop - origin],
        )

    def _charge(self, start: int, stop: int) -> None:
        ring = self.raw.ring
        for begin in range(start, stop, MINUTES_PER_HOUR):
            end = min(begin + MINUTES_PER_HOUR, stop)
            charges = self.accounts.charge(begin, end, ring.start, ring.minutes)
            self.charged.put(begin, charges)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of bad calls of several rows as one.

    weights: of each row's share. shares_weight: a row without calls leaves its weight to the
    others; else it adds nothing.
    """

    rows: Rows
    weights: Floats
    shares_weight: bool
    absent: NoData

    def sums(self, counts: Floats) -> Floats:
        """(bad, total) of counts [(bad, total), row]; as many calls as a share that uncertain has.

        The number is Kish's: that of one sample whose share varies as much as the weighted sum's.
        """
        bad, total = counts
        there = total > 0
        if not there.any():
            return np.zeros(2)
        share = np.where(there, bad / np.where(there, total, 1.0), self.absent == "bad")
        used = there | (self.absent != "ignore")
        lost = self.weights.sum() / self.weights[used].sum() if self.shares_weight else 1.0
        mixed = float((self.weights * share)[used].sum()) * lost
        certain = self.weights[there].sum() ** 2 / (self.weights[there] ** 2 / total[there]).sum()
        return np.array([mixed * certain, certain])


class _Book:
    """Opens accounts for objectives one after the other."""

    def __init__(self, series: Mapping[SeriesId, int], units: Mapping[SeriesId, int]) -> None:
        self._series = series
        self._units = units
        self._accounts: list[Account] = []
        self.joined: list[Joined] = []
        self.fine: set[SeriesId] = set()
        self._entries: list[tuple[str, bool, _Place]] = []
        self._parts: dict[str, list[_Place]] = {}

    def open(self, monitor: Monitor) -> None:
        """Note what the objective is charged, with and without corrections."""
        objective = monitor.method
        assert isinstance(objective, Objective)  # noqa: S101 (only those are held)
        if objective.slices or objective.corrections:
            self.fine |= {series for series, _ in monitor.counted}
        for corrections in dict.fromkeys([(), objective.corrections]):
            place = self._place(monitor, objective, corrections)
            self._entries.append((monitor.name, bool(corrections), place))

    def accounts(self) -> Accounts:
        """All accounts that were opened."""
        return Accounts(self._accounts, self.joined)

    def rows(self, first: int) -> tuple[dict[str, int], dict[str, int], list[Mix]]:
        """(row by monitor, row without corrections, mixes); accounts begin with row `first`."""
        corrected: dict[str, int] = {}
        plain: dict[str, int] = {}
        mixes: list[Mix] = []
        last = first + len(self._accounts) + len(self.joined)
        for name, is_corrected, (kind, at) in self._entries:
            if isinstance(at, Mix):
                rows = np.where(at.rows < 0, first - 1 - at.rows, at.rows)
                row = last + len(mixes)
                mixes.append(replace(at, rows=rows))
            else:
                row = {"raw": 0, "account": first, "joined": first + len(self._accounts)}[kind] + at
            corrected[name] = row
            if not is_corrected:
                plain[name] = row
        return corrected, plain, mixes

    def part_rows(self, first: int) -> dict[str, Rows]:
        """The rows of every composite's parts, by monitor; accounts begin with row `first`."""
        return {
            name: np.array(
                [at if kind == "raw" else first + at for kind, at in places if isinstance(at, int)],
                np.intp,
            )
            for name, places in self._parts.items()
        }

    def _place(
        self, monitor: Monitor, objective: Objective, corrections: tuple[Correction, ...]
    ) -> _Place:
        composite = objective.composite
        if composite is None:
            series, _ = monitor.counted[0]
            return self._single(series, objective.cut(objective.slices), corrections)
        places = [
            self._single(part.series, objective.cut(part.slices), corrections)
            for part in composite.parts
        ]
        self._parts[monitor.name] = places  # those with corrections come last, and hold
        if composite.method in ("any", "missing"):
            weights = tuple(
                (place, part.weight)
                for (_, place), part in zip(places, composite.parts, strict=True)
                if isinstance(place, int)
            )
            self.joined.append(Joined(weights, composite.method == "any", composite.absent))
            return "joined", len(self.joined) - 1
        # Rows of accounts are not numbered yet: -1 stands for the first one, -2 for the second.
        rows = [at if kind == "raw" else -1 - at for kind, at in places if isinstance(at, int)]
        return "mix", Mix(
            np.array(rows, np.intp), _weights(composite, objective), composite.method == "weighted",
            composite.absent,
        )  # fmt: skip

    def _single(
        self, series: SeriesId, slices: Slices | None, corrections: tuple[Correction, ...]
    ) -> _Place:
        row = self._series[series]
        if slices is None and not corrections:
            return "raw", row
        self._accounts.append(Account(row, slices, corrections, self._units[series]))
        return "account", len(self._accounts) - 1


_Place = tuple[str, int | Mix]


def _weights(composite: Composite, objective: Objective) -> Floats:
    weights = np.array([part.weight for part in composite.parts])
    if composite.method == "weighted":
        return np.asarray(weights / weights.sum(), np.float64)
    # A sum of burn rates, as a share of the budget of the whole.
    budgets = np.array([part.budget for part in composite.parts])
    return np.asarray(weights * objective.budget / budgets, np.float64)


def _extent(objectives: Sequence[Objective], back: int) -> tuple[int, int, Boundaries]:
    """(minutes that are exact, hours that are remembered, where budgets begin anew)."""
    periods = [objective.window_minutes for objective in objectives]
    steps = [step.long_minutes + step.after_minutes for o in objectives for step in o.steps]
    short = [p for p in periods if p <= MAX_WINDOW]
    reach = max([*short, *steps, back], default=MINUTES_PER_HOUR)
    if reach > MAX_WINDOW or max(periods, default=0) > MAX_PERIOD:
        raise ValueError(
            f"burn windows reach at most {MAX_WINDOW} minutes (3 d), objectives at most "
            f"{MAX_PERIOD} (366 d); asked for {max(reach, *periods)}"
        )
    calendars = {o.calendar for o in objectives if o.calendar}
    long = [calendar for calendar in calendars if calendar.length.minutes > reach]

    def boundaries(start: int, stop: int) -> Iterator[int]:
        return (minute for calendar in long for minute in calendar.boundaries(start, stop))

    held = [o.window_minutes for o in objectives if o.calendar is None]
    # What a calendar's period will bring is told by the last week, however short it is.
    held += [max(min(c.length.minutes, _RESTATABLE), WEEK) for c in calendars]
    return reach, -(-max(held, default=0) // MINUTES_PER_HOUR), boundaries
