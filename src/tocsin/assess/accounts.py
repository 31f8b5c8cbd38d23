"""From the raw counts of a minute to what an error budget is charged for it.

Raw counts stay as they are; an account is a second row beside them, a function of the raw minutes
and of what people wrote, so that it can be computed again at any time. Two things make one:

    slices       Timeslices: a slice of time is good when enough of its calls are. RatioTimeslices:
                 a slice counts as good as its share of good calls. Either way a slice weighs one,
                 however many calls it has, and is charged to the minute that completes it.
    corrections  ranges of time that people took out of the budget, or decided otherwise.

Slices begin every `minutes` from `offset` on and divide the hour or are whole hours.
Source of the methods: OpenSLO v1, `budgetingMethod`, `timeSliceTarget`, `timeSliceWindow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tocsin.assess.recurrence import Recurrence
from tocsin.assess.ring import MINUTES_PER_HOUR, Counts, Rows

UNIT = 1_000_000  # what one slice weighs, so that the share of one is a whole number
_DUST = 1e-9

Insufficient = Literal["ignore", "good", "bad", "pool"]
NoData = Literal["ignore", "good", "bad"]
Effect = Literal["exclude", "good", "bad"]
Minutes = Callable[[int, int], Counts]


@dataclass(frozen=True, slots=True)
class Slices:
    """How time is cut and when a slice is good.

    minutes: length of a slice. target: share of good calls that makes a slice good (Timeslices);
    None takes the share itself (RatioTimeslices). Of charges, 0 makes a slice good that is charged
    at most a share per call. min_events: calls below which `insufficient` says
    what a slice is: ignore (not counted), good, bad, or pool (added to the next ones of the same
    hour until they are enough). no_data: the same for a slice without any call.
    """

    minutes: int
    target: float | None = None
    min_events: int = 1
    insufficient: Insufficient = "ignore"
    no_data: NoData = "ignore"
    offset: int = 0

    def __post_init__(self) -> None:
        whole_hours = self.minutes % MINUTES_PER_HOUR == 0 and self.minutes <= 24 * MINUTES_PER_HOUR
        if self.minutes < 1 or not (whole_hours or MINUTES_PER_HOUR % self.minutes == 0):
            raise ValueError(
                f"a time slice divides an hour or is 1 to 24 whole hours, not {self.minutes} min"
            )
        if self.insufficient == "pool" and self.minutes >= MINUTES_PER_HOUR:
            raise ValueError("slices are pooled within the hour; an hour itself cannot be")


@dataclass(frozen=True, slots=True)
class Correction:
    """Epoch minutes [start, stop) that are charged otherwise than they went.

    exclude: as if nobody had called. good, bad: everything that was called went well, or failed;
    a slice of nothing else is good or bad. repeats: when the same length of time is corrected
    again; `start` is then the first time it may be.
    """

    name: str
    start: int
    stop: int
    effect: Effect = "exclude"
    reason: str = ""
    repeats: Recurrence | None = None

    def spans(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        """The corrected parts of [first, stop)."""
        length = self.stop - self.start
        starts = (
            (self.start,) if self.repeats is None else self.repeats.starts(first - length + 1, stop)
        )
        for start in starts:
            if start < stop and start + length > first:
                yield max(start, first), min(start + length, stop)


@dataclass(frozen=True, slots=True)
class Account:
    """One row of charges: from which raw row, in which slices, with which corrections.

    unit: what one call counts as in that row.
    """

    row: int
    slices: Slices | None = None
    corrections: tuple[Correction, ...] = ()
    unit: int = 1


@dataclass(frozen=True, slots=True)
class Joined:
    """A row of charges made of other accounts', whose slices end together.

    weights: by place. is_any: a slice is bad when it is for any of them; else it is charged the
    weighted sum of what they are, up to all of it. absent: what one that was not judged counts as.
    """

    weights: tuple[tuple[int, float], ...]
    is_any: bool
    absent: NoData = "ignore"

    def charge(self, charged: Counts) -> Counts:
        """[minute, (bad, total)] of the charges [minute, 2, account] of the others."""
        places = [place for place, _ in self.weights]
        bad, weight = charged[:, 0, places], charged[:, 1, places]
        whole = weight.max(axis=1)
        if self.absent == "bad":
            bad = np.where(weight > 0, bad, whole[:, None])
        share = bad.max(axis=1)
        if not self.is_any:
            total = bad @ np.array([each for _, each in self.weights])
            share = np.minimum(np.rint(total).astype(np.int64), whole)
        return np.stack([share, whole], axis=1)


class Accounts:
    """All accounts of a window, computed together for every stretch of minutes."""

    def __init__(self, accounts: Sequence[Account], joined: Sequence[Joined] = ()) -> None:
        self.accounts = tuple(accounts)
        self.joined = tuple(joined)
        cuts: dict[tuple[int, int], list[int]] = {}
        for place, account in enumerate(self.accounts):
            cut = account.slices
            cuts.setdefault((cut.minutes, cut.offset % cut.minutes) if cut else (0, 0), []).append(
                place
            )
        plain = cuts.pop((0, 0), [])
        self._plain = _Group(self.accounts, plain) if plain else None
        self._sliced = [
            _Cut(self.accounts, places, minutes, offset)
            for (minutes, offset), places in cuts.items()
        ]
        self.reach = max((minutes for minutes, _ in cuts), default=0) + MINUTES_PER_HOUR

    def is_within_hours(self, place: int) -> bool:
        """Whether every slice of an account lies within one hour."""
        cut = self.accounts[place].slices
        return cut is None or (
            cut.minutes <= MINUTES_PER_HOUR and cut.offset % MINUTES_PER_HOUR % cut.minutes == 0
        )

    def joined_of(self, places: Sequence[int]) -> list[int]:
        """The joined rows that some of these accounts are a part of."""
        first = len(self.accounts)
        return [
            first + n
            for n, one in enumerate(self.joined)
            if any(place in places for place, _ in one.weights)
        ]

    def rows_of(self, place: int) -> frozenset[int]:
        """The raw rows that a joined row is made from."""
        weights = self.joined[place - len(self.accounts)].weights
        return frozenset(self.accounts[part].row for part, _ in weights)

    def charge(self, start: int, stop: int, first: int, minutes: Minutes) -> Counts:
        """Charges [minute, (bad, total), account] of epoch minutes [start, stop), the joined last.

        minutes: raw counts [minute, 2, row] of any stretch; those before `first` are not known, and
        a slice that begins there is not judged.
        """
        charged = np.zeros((stop - start, 2, len(self.accounts)), np.int64)
        if self._plain is not None:
            plain = self._plain
            raw = minutes(start, stop)[:, :, plain.rows]
            charged[:, :, plain.places] = plain.corrected(raw, start)[0]
        for cut in self._sliced:
            cut.charge(charged, start, stop, first, minutes)
        joined = [one.charge(charged)[:, :, None] for one in self.joined]
        return np.concatenate([charged, *joined], axis=2)


# --------------------------------------------------------------------------------------------


class _Group:
    """Accounts that are cut alike."""

    def __init__(self, accounts: Sequence[Account], places: Sequence[int]) -> None:
        self.places: Rows = np.array(places, np.intp)
        self.rows: Rows = np.array([accounts[place].row for place in places], np.intp)
        self._corrections = [
            (at, correction)
            for at, place in enumerate(places)
            for correction in accounts[place].corrections
        ]

    def corrected(self, raw: Counts, start: int) -> tuple[Counts, npt.NDArray[np.int8]]:
        """Raw counts from epoch minute `start` on as corrected, and which minutes were: [minute,
        account] 0 not, 1 exclude, 2 good, 3 bad."""
        marks = np.zeros((len(raw), raw.shape[2]), np.int8)
        stop = start + len(raw)
        for at, correction in self._corrections:
            for begin, end in correction.spans(start, stop):
                marks[begin - start : end - start, at] = _EFFECTS[correction.effect]
        if not marks.any():
            return raw, marks
        bad, total = raw[:, 0], raw[:, 1]
        charged = np.choose(np.minimum(marks, 3), [bad, 0 * bad, 0 * bad, total])
        return np.stack([charged, np.where(marks == 1, 0, total)], axis=1), marks


_EFFECTS = {"exclude": 1, "good": 2, "bad": 3}


class _Cut(_Group):
    """Accounts whose time is cut into the same slices."""

    def __init__(
        self, accounts: Sequence[Account], places: Sequence[int], minutes: int, offset: int
    ) -> None:
        super().__init__(accounts, places)
        slices = [accounts[place].slices or Slices(minutes) for place in places]
        self._minutes, self._offset = minutes, offset
        self._is_ratio = np.array([cut.target is None for cut in slices])
        self._target = np.array([cut.target or 0.0 for cut in slices])
        self._least = np.array(
            [
                max(cut.min_events, 1) * accounts[place].unit
                for place, cut in zip(places, slices, strict=True)
            ]
        )
        self._few = np.array([cut.insufficient for cut in slices])
        self._none = np.array([cut.no_data for cut in slices])
        self._pools = self._few == "pool"

    def charge(self, charged: Counts, start: int, stop: int, first: int, minutes: Minutes) -> None:
        """Write the charges of every slice that ends in (start, stop]."""
        length, offset = self._minutes, self._offset
        end = start + length - (start - offset) % length
        if end > stop:
            return
        begin = end - length
        if self._pools.any():
            begin -= (begin - offset) % MINUTES_PER_HOUR
        count = (stop - begin) // length
        raw, marks = self.corrected(minutes(begin, begin + count * length)[:, :, self.rows], begin)
        sums = raw.reshape(count, length, *raw.shape[1:]).sum(axis=1)
        marked = marks.reshape(count, length, -1)
        begins = begin + length * np.arange(count)
        sums[begins < first] = 0
        result = self._judged(sums, np.where(marked.min(axis=1) > 0, marked.max(axis=1), 0))
        if self._pools.any():
            self._pool(result, sums, begins)
        result[begins < first] = 0
        ends = begins + length
        ours = (ends > start) & (ends <= stop)
        charged[np.ix_(ends[ours] - 1 - start, np.arange(2), self.places)] = result[ours]

    def _judged(self, sums: Counts, decided: npt.NDArray[np.int8]) -> Counts:
        """Charges [slice, 2, account] of sums [slice, 2, account]. decided: effect of corrections
        that cover a slice wholly."""
        bad, total = sums[:, 0], sums[:, 1]
        charge = self._shares(bad, total)
        weight = np.full_like(total, UNIT)
        for policy, these in ((self._few, (total > 0) & (total < self._least)),
                              (self._none, total == 0)):  # fmt: skip
            charge = np.where(these & (policy == "good"), 0, charge)
            charge = np.where(these & (policy == "bad"), UNIT, charge)
            weight = np.where(these & np.isin(policy, ("ignore", "pool")), 0, weight)
        weight = np.where(decided == 1, 0, np.where(decided > 1, UNIT, weight))
        charge = np.where(decided == 2, 0, np.where(decided == 3, UNIT, charge))
        return np.stack([np.where(weight > 0, charge, 0), weight], axis=1)

    def _shares(self, bad: Counts, total: Counts) -> Counts:
        """What each slice is charged by its calls alone."""
        n = np.maximum(total, 1)
        missed = (total - bad) < self._target * n * (1.0 - _DUST)
        share = np.where(self._is_ratio, np.rint(UNIT * (bad / n)), np.where(missed, UNIT, 0))
        return share.astype(np.int64)

    def _pool(self, result: Counts, sums: Counts, begins: npt.NDArray[np.int64]) -> None:
        """Judge slices with too few calls together with the next ones, within each hour; the slice
        that completes a pool carries the weight of all of it."""
        held = np.zeros_like(sums[0])
        slices = np.zeros(len(self._pools), np.int64)
        for at, begin in enumerate(begins):
            if (begin - self._offset) % MINUTES_PER_HOUR == 0:
                held[:], slices[:] = 0, 0
            held += sums[at]
            slices += sums[at, 1] > 0
            ready = self._pools & (held[1] >= self._least)
            share = self._shares(held[0], held[1])
            few = self._pools & (sums[at, 1] > 0)
            result[at, 0] = np.where(ready, share * slices, np.where(few, 0, result[at, 0]))
            result[at, 1] = np.where(ready, UNIT * slices, np.where(few, 0, result[at, 1]))
            held[:, ready], slices[ready] = 0, 0
