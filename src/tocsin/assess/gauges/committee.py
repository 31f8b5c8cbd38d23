"""The committee: four baselines, each calibrated in its own tail, and their median."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.assess.gauges.deviations import KINDS, Deviations, deviations, nanmedian4
from tocsin.assess.gauges.episodes import quiet_steps
from tocsin.assess.gauges.grid import DAY_S, Grid
from tocsin.assess.gauges.habit import Habit
from tocsin.assess.gauges.history import Floats, History
from tocsin.assess.gauges.peaks import Peaks

# Tails forget by half in four weeks, and never before they have seen so many steps.
_HALF_LIFE_DAYS, _HALF_LIFE_STEPS = 28.0, 250.0
RUN = 3  # points of a run that counts as sustained
# What the weakest point of a run of three is worth. Were points independent, three times itself;
# were they copies, once. In calm tails of public and simulated series the run's 98th percentile
# lies at 1 / 1.75 of a single point's or below.
RUN_WORTH = 1.75


@dataclass(frozen=True, slots=True)
class Judged:
    """What the committee says of some steps: evidence is -log10 p [step, row], NaN if unknown.

    alone: of each step by itself. in_runs: of the step, or of the run that it ends. evidence: what
    is left of that beyond what is usual at the time of day. each: of each baseline [baseline, step,
    row].
    """

    evidence: Floats
    in_runs: Floats
    alone: Floats
    each: Floats
    deviations: Deviations


class Committee:
    """Judges `rows` gauges on one grid, and learns from them block by block.

    sides: +1 where only values above the expected count [row], -1 below, 0 both. Memory is
    constant: about 18 kB a series at steps of a minute.
    """

    def __init__(self, rows: int, grid: Grid, sides: Floats | None = None) -> None:
        self.grid = grid
        self.history = History(rows, grid)
        self._peaks = Peaks(KINDS, rows, quiet_steps(grid.step_s))
        self._habit = Habit(rows, grid)
        self._before = np.zeros((0, rows))
        self._learned_to = 0
        self._sides = np.zeros(rows) if sides is None else sides

    def judge(self, recent: Floats, first: int) -> Judged:
        """Judge recent[lead:], steps from number `first` on; see `deviations`.

        A run that began before them is known where they follow on what was learned last.
        """
        found = deviations(recent, self.history, first)
        scores = self._scores(found)
        each = self._peaks.evidence(scores)
        alone = nanmedian4(each)
        before = self._before if first == self._learned_to else self._before[:0]
        in_runs = sustained(np.concatenate([before, alone]))[len(before) :]
        return Judged(self._habit.beyond(in_runs, first), in_runs, alone, each, found)

    def learn(self, block: int, values: Floats, judged: Judged) -> None:
        """Learn the values [step, row] of a block, as they were judged before."""
        half_life = max(_HALF_LIFE_DAYS * DAY_S / self.grid.step_s, _HALF_LIFE_STEPS)
        scores = self._scores(judged.deviations)
        self._peaks.learn(scores, judged.each, len(values) / half_life)
        self.history.learn(block, values, judged.deviations.strays)
        first = block * self.grid.block
        self._habit.learn(first, judged.in_runs)
        self._before = np.concatenate([self._before, judged.alone])[1 - RUN :]
        self._learned_to = first + len(values)

    def _scores(self, found: Deviations) -> Floats:
        signed = found.signed
        one_sided = np.maximum(signed * self._sides, 0.0)
        one_sided = np.where(np.isfinite(signed), one_sided, np.nan)
        return np.where(self._sides == 0.0, np.abs(signed), one_sided)


def sustained(evidence: Floats) -> Floats:
    """Evidence of a step alone, or of the run of three that it ends where that is more.

    evidence: [step, row]; the first two steps are looked at alone. NaN where the step is unknown.
    """
    known = np.nan_to_num(evidence, nan=0.0)
    weakest = known.copy()
    for back in range(1, RUN):
        weakest[back:] = np.minimum(weakest[back:], known[:-back])
    weakest[: RUN - 1] = 0.0
    return np.where(np.isfinite(evidence), np.maximum(known, RUN_WORTH * weakest), np.nan)
