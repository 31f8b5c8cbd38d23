"""The ledger of all error budgets: raw counts of every series, and what each budget is charged.

    raw      calls and bad calls of a minute, as they were counted; never corrected
    charged  the accounts of objectives that judge in slices, or of which something was corrected

Both add up over any stretch of time. Charges are computed from raw minutes whenever these arrive or
change, so that the ledger is the same however the minutes came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tocsin.assess.accounts import UNIT, Account, Accounts
from tocsin.assess.monitor import Monitor, Objective
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
    """Counts and charges of objectives; rows of the one are numbered before those of the other."""

    def __init__(self, monitors: Iterable[Monitor]) -> None:
        held = [m for m in monitors if isinstance(m.method, Objective)]
        self.series = {s: row for row, s in enumerate(dict.fromkeys(map(_series_of, held)))}
        accounts: list[Account] = []
        self._row: dict[str, int] = {}
        self._uncorrected: dict[str, int] = {}
        self._fine: set[SeriesId] = set()
        for monitor in held:
            self._open(monitor, accounts)
        self.accounts = Accounts(accounts)
        self._unit = np.array(
            [1] * len(self.series) + [UNIT if a.slices else 1 for a in accounts], np.float64
        )
        methods = [m.method for m in held if isinstance(m.method, Objective)]
        reach, hours, boundaries = _extent(methods, self.accounts.reach if accounts else 0)
        self.raw = PeriodCounts(len(self.series), reach, hours, boundaries)
        self.charged = PeriodCounts(len(accounts), reach, hours, boundaries, np.uint64)

    def rows(self, monitors: Iterable[Monitor]) -> Rows:
        """The row of each objective, as its budget is charged."""
        return np.array([self._row[monitor.name] for monitor in monitors], np.intp)

    def uncorrected_rows(self, monitors: Iterable[Monitor]) -> Rows:
        """The row of each objective as if nothing had been corrected."""
        return np.array([self._uncorrected[monitor.name] for monitor in monitors], np.intp)

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
        places = np.array(whole, np.intp)
        charges = self._charges_of(start, rows, counts)[:, :, places]
        done = not whole or self.charged.restate(hour, places, charges)
        return done and len(whole) == len(touched)

    def sums(self, end: int, width: int, rows: Rows | None = None) -> Floats:
        """(bad, total) [2, row] of minutes [end - width, end), in calls or in slices."""
        if rows is None:
            rows = np.arange(len(self._unit))
        is_raw = rows < len(self.series)
        sums = np.empty((2, len(rows)), np.float64)
        sums[:, is_raw] = self.raw.sums(end, width, rows[is_raw])
        if not is_raw.all():
            sums[:, ~is_raw] = self.charged.sums(end, width, rows[~is_raw] - len(self.series))
            sums /= self._unit[rows]
        return sums

    def hourly(self, end: int, width: int, row: int) -> Floats:
        """(bad, total) [hour, 2] of one row in every whole hour of [end - width, end)."""
        counts, place = (
            (self.raw, row) if row < len(self.series) else (self.charged, row - len(self.series))
        )
        return np.asarray(counts.hourly(end, width, place) / self._unit[row], np.float64)

    def covered(self, end: int, width: int) -> int:
        """How many of the minutes [end - width, end) lie after the first one ever held."""
        return self.raw.covered(end, width)

    def _open(self, monitor: Monitor, accounts: list[Account]) -> None:
        objective = monitor.method
        assert isinstance(objective, Objective)  # noqa: S101 (only those are held)
        raw = self.series[_series_of(monitor)]
        slices, corrections = objective.cut, objective.corrections

        def account(*given: Account) -> int:
            accounts.extend(given)
            return len(self.series) + len(accounts) - 1

        uncorrected = account(Account(raw, slices)) if slices else raw
        self._uncorrected[monitor.name] = uncorrected
        self._row[monitor.name] = (
            account(Account(raw, slices, corrections)) if corrections else uncorrected
        )
        if slices or corrections:
            self._fine.add(_series_of(monitor))

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


def _series_of(monitor: Monitor) -> SeriesId:
    if monitor.series is None:
        raise ValueError(f"{monitor.name} judges counts and needs a series")
    return monitor.series


def _extent(objectives: Sequence[Objective], slices: int) -> tuple[int, int, Boundaries]:
    """(minutes that are exact, hours that are remembered, where budgets begin anew)."""
    periods = [objective.window_minutes for objective in objectives]
    steps = [step.long_minutes for objective in objectives for step in objective.steps]
    short = [p for p in periods if p <= MAX_WINDOW]
    reach = max([*short, *steps, slices], default=MINUTES_PER_HOUR)
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
