"""Segments of traffic: counts of every value of a dimension, and which of them are worse off.

A service can be fine as a whole while one region, plan or cohort is not. Testing forty segments one
by one finds two bad ones in any healthy service; so all segments of a monitor are tested together,
with the false discovery rate controlled (Benjamini and Hochberg), and a finding must be made in
several evaluations, a few minutes apart, before anybody is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tocsin.assess.monitor import DetectorConfig
from tocsin.assess.ring import LATE_MINUTES, MINUTES_PER_HOUR, Counts, MinuteRing, Rows
from tocsin.assess.tails import surprise
from tocsin.domain.series import EACH, MinuteBlock, Ratio, SeriesId
from tocsin.domain.shares import clopper_pearson_lower, clopper_pearson_upper

OTHER = "__other__"  # where values go when a dimension has more than `MOST_VALUES`
MOST_VALUES = 200
MOST_OF = 20  # evaluations that a finding is looked for in
REACH = 25 * MINUTES_PER_HOUR
_BINOMIAL = 1e-8

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SegmentsConfig(DetectorConfig):
    """How the segments of a series are judged.

    by: dimensions. budget: the share of bad calls that a segment may have; None compares every
    segment with the rest instead, of which it may have `min_ratio` times the share. fdr: share of
    false findings among all, per evaluation. confirm, of: in so many of the last so many
    evaluations. min_events: segments with fewer calls are not judged. window_minutes: what an
    evaluation counts. every_minutes: how far evaluations lie apart.
    """

    kind: ClassVar[str] = "segments"
    needs: ClassVar[Literal["counts", "pace"]] = "counts"

    by: tuple[str, ...] = ()
    budget: float | None = None
    min_ratio: float = 1.5
    fdr: float = 0.05
    confirm: int = 3
    of: int = 5
    min_events: int = 30
    window_minutes: int = 60
    every_minutes: int = 10

    def __post_init__(self) -> None:
        if not 0.0 < self.fdr < 1.0:
            raise ValueError(f"fdr is a share above 0 and below 1, not {self.fdr}")
        if not 1 <= self.confirm <= self.of <= MOST_OF:
            raise ValueError(
                f"confirm is such as 3of5, of at most {MOST_OF}, not {self.confirm}of{self.of}"
            )
        if self.min_ratio < 1.0:
            raise ValueError(f"min_ratio is at least 1, not {self.min_ratio}")
        if self.min_events < 1 or self.every_minutes < 1:
            raise ValueError("min_events and every are at least 1")
        if self.window_minutes + self.every_minutes * self.of > REACH - MINUTES_PER_HOUR:
            raise ValueError("window and evaluations together reach back at most 24 h")

    def beside(self, series: SeriesId, ratio: Ratio) -> Mapping[SeriesId, Ratio]:
        """The same of every value."""
        return dict.fromkeys(self.families(series), ratio)

    def families(self, series: SeriesId) -> tuple[SeriesId, ...]:
        """The series of all values of its dimensions."""
        return tuple(replace(series, segment=(name, EACH)) for name in self.by)

    def evaluations(self, minute: int) -> list[int]:
        """The minutes after the ends of the last evaluations, newest first. They lie on a grid, so
        that a restart finds the same ones."""
        newest = (minute + 1) // self.every_minutes * self.every_minutes
        return [newest - self.every_minutes * ago for ago in range(self.of)]


class SegmentCounts:
    """Counts per minute of every value that was ever seen, for about a day.

    families: series with the value EACH, and series without a segment, which count as one value.
    """

    def __init__(self, families: Iterable[SeriesId]) -> None:
        self._rows: dict[SeriesId, dict[SeriesId, int]] = {family: {} for family in families}
        self._ring = MinuteRing(0, REACH)
        self._used = 0
        self._begun = False

    def advance(self, block: MinuteBlock) -> None:
        """Take in the minutes of `block`; those that are held already are replaced."""
        if not self._rows or not block.width:
            return
        if not self._begun:
            self._ring.begin(block.start)
            self._begun = True
        given = [(self._row(sid), at) for at, sid in enumerate(block.series) if self._is_mine(sid)]
        self._ring.grow(_room(self._used))
        for start in range(self._ring.end, block.start, MINUTES_PER_HOUR):
            stop = min(start + MINUTES_PER_HOUR, block.start)
            self._ring.put(start, np.zeros((stop - start, 2, self._ring.rows), np.int64))
        counts = np.zeros((block.width, 2, self._ring.rows), np.int64)
        if given:
            rows, at = np.array(given, np.intp).T
            both = np.stack([block.bad[at], block.total[at]])  # [2, series, minute]
            np.add.at(counts.transpose(2, 1, 0), rows, both.transpose(1, 0, 2))
        first = max(block.start, self._ring.end - LATE_MINUTES, self._ring.start)
        for start in range(first, block.start + block.width, MINUTES_PER_HOUR):
            stop = min(start + MINUTES_PER_HOUR, block.start + block.width)
            self._ring.put(start, counts[start - block.start : stop - block.start])

    def sums(
        self, families: Iterable[SeriesId], end: int, width: int
    ) -> tuple[list[tuple[str, str]], Counts]:
        """(dimension, value) of every segment, and their counts [(bad, total), segment] of minutes
        [end - width, end)."""
        found = [item for family in families for item in self._rows.get(family, {}).items()]
        names = [sid.segment for sid, _ in found]
        rows: Rows = np.array([row for _, row in found], np.intp)
        if not found or not self._begun:
            return names, np.zeros((2, len(found)), np.int64)
        return names, self._ring.sums(min(end, self._ring.end), width, rows)

    def whole(self, series: SeriesId | None, end: int, width: int) -> Counts:
        """(bad, total) of minutes [end - width, end) of a series without a segment."""
        _, counts = self.sums([series] if series else [], end, width)
        return np.asarray(counts.sum(axis=1), np.int64)

    def _is_mine(self, sid: SeriesId) -> bool:
        return sid.segment[1] != EACH and _family(sid) in self._rows

    def _row(self, sid: SeriesId) -> int:
        held = self._rows[_family(sid)]
        if sid not in held and len(held) >= MOST_VALUES:
            sid = replace(sid, segment=(sid.segment[0], OTHER))
        if sid not in held:
            held[sid] = self._used
            self._used += 1
        return held[sid]


@dataclass(frozen=True, slots=True)
class SegmentStanding:
    """One segment in one window. low, high: exact 95 % interval of its share of bad calls. rest:
    the share of the calls that are not its. score: evidence, as -log10 p, that it is worse off than
    it may be. is_found: whether it is among the discoveries. is_judged: it had enough calls.
    """

    dimension: str
    value: str
    bad: int
    total: int
    share: float
    low: float
    high: float
    rest: float | None
    score: float
    is_found: bool
    is_judged: bool


def discoveries(scores: Floats, fdr: float) -> Bools:
    """Which hypotheses to reject at a false discovery rate. scores: -log10 of their p-values.

    Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Stat. Soc. B 57 (1995);
    it holds for tests that depend on each other positively, such as those of one service's segments
    (Benjamini and Yekutieli, Annals of Statistics 29, 2001).
    """
    m = len(scores)
    order = np.argsort(-scores)
    ranks = np.arange(1, m + 1)
    passed = np.flatnonzero(scores[order] >= -np.log10(fdr * ranks / m)) if m else np.zeros(0)
    found = np.zeros(m, np.bool_)
    if len(passed):
        found[order[: int(passed[-1]) + 1]] = True
    return found


def evidence(counts: Counts, whole: Counts, config: SegmentsConfig) -> Floats:
    """-log10 p per segment that its share lies above what it may be.

    With a budget: the exact binomial test. Without: of the bad calls of segment and rest together,
    how many fall into the segment if its rate is at most `min_ratio` times that of the rest, which
    is the exact test of two Poisson rates (Przyborowski and Wilenski, Biometrika 31, 1940).
    whole: (bad, total) of the service.
    """
    bad, total = counts.astype(np.float64)
    if config.budget is not None:
        return surprise(bad, total, config.budget, _BINOMIAL)
    others = np.maximum(whole[1] - total, 0.0)
    weighted = config.min_ratio * total
    part = np.where(weighted > 0, weighted / np.maximum(weighted + others, 1e-12), 0.0)
    scores = surprise(bad, float(whole[0]), np.clip(part, 1e-12, 1.0 - 1e-12), _BINOMIAL)
    return np.asarray(np.where(others > 0, scores, 0.0), np.float64)


def standings(
    names: Sequence[tuple[str, str]], counts: Counts, whole: Counts, config: SegmentsConfig
) -> list[SegmentStanding]:
    """Every segment in one window, the most evident first."""
    judged = np.flatnonzero(counts[1] >= config.min_events)
    scores = np.zeros(len(names))
    found = np.zeros(len(names), np.bool_)
    scores[judged] = evidence(counts[:, judged], whole, config)
    found[judged] = discoveries(scores[judged], config.fdr)
    low = clopper_pearson_lower(counts[0], counts[1], 0.975)
    high = clopper_pearson_upper(counts[0], counts[1], 0.975)
    made = []
    for at in np.argsort(-scores, kind="stable"):
        bad, total = int(counts[0, at]), int(counts[1, at])
        if total == 0:
            continue
        others = int(whole[1]) - total
        rest = max(int(whole[0]) - bad, 0) / others if others > 0 else None
        made.append(
            SegmentStanding(
                names[at][0], names[at][1], bad, total, bad / total, float(low[at]),
                float(high[at]), rest, round(float(scores[at]), 2), bool(found[at]),
                total >= config.min_events,
            )
        )  # fmt: skip
    return made


def _family(sid: SeriesId) -> SeriesId:
    return replace(sid, segment=(sid.segment[0], EACH)) if sid.segment[0] else sid


def _room(rows: int) -> int:
    """Rows to make room for: grown by doubling, so that a new value rarely copies anything."""
    return 1 << max(rows - 1, 7).bit_length()
