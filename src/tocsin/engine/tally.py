"""Calls and bad calls of every objective as counters: they grow, and fall only with a new process.

What a window holds may shrink: a corrected score takes a bad call away, a new configuration reads
history anew. A monitoring system takes a counter that falls for a restart, counts its whole value
once more, and pages. So a counter stays where it is until what it counts has caught up with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.window import Window

_Counts = npt.NDArray[np.int64]


class Tally:
    """(bad, total) of each objective that counts calls, over the minutes judged since the process
    began."""

    def __init__(self) -> None:
        self._carried: dict[str, _Counts] = {}
        self._names: tuple[str, ...] = ()
        self._window: Window | None = None
        self._rows = np.zeros(0, np.intp)
        self._from = self._highest = np.zeros((2, 0), np.int64)

    def begin(self, window: Window, monitors: Sequence[Monitor]) -> None:
        """Count by `window` from now on; what it holds already is history and does not count."""
        self._carried |= self._counts()
        # Those of a mixed composite are no calls, and what a mean is charged may fall.
        objectives = [
            m
            for m in monitors
            if isinstance(m.method, Objective) and m.ratio is not None and m.ratio.charge is None
        ]
        self._names = tuple(monitor.name for monitor in objectives)
        self._window = window
        self._rows = window.burn_rows(monitor.series for monitor in objectives)
        self._from = self._highest = window.burn.totals[:, self._rows]

    def update(self) -> None:
        """Take in what the window has learned."""
        if self._window is not None:
            self._highest = np.maximum(self._highest, self._window.burn.totals[:, self._rows])

    def read(self) -> Mapping[str, tuple[int, int]]:
        """(bad, total) by name of the objective."""
        return {name: (int(bad), int(total)) for name, (bad, total) in self._counts().items()}

    def _counts(self) -> dict[str, _Counts]:
        grown = self._highest - self._from
        nothing = np.zeros(2, np.int64)
        return {
            name: self._carried.get(name, nothing) + grown[:, place]
            for place, name in enumerate(self._names)
        }
