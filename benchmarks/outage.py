"""Seconds from a total outage to its incident, by traffic: every call fails, or none comes.

The tick of a server over seven days of history and an outage of each service, on a clock that is
moved, with the state database of a server and counts from memory. An outage begins at any second of
a minute. Three detectors page: the count scan on errors, the volume drop, and no data, all as their
defaults say. What comes after the decision is what `paging` measures: a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from tocsin.domain.clock import from_minute
from tocsin.domain.samples import Sample, Wish
from tocsin.domain.series import Change, MinuteBlock, Ratio, SeriesId
from tocsin.engine.backtest import backtest
from tocsin.engine.rules import compile_desired
from tocsin.engine.settings import Settings
from tocsin.spec.desired import load_text

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LEVELS = (2, 6, 60, 600)  # calls a minute
FAULTS = ("errors", "silence")
EACH = 25  # services of each level and fault
USUAL = 0.005  # share of calls that fail when nothing is wrong
HISTORY, LASTS, DAY = 7 * 1440, 120, 1440  # minutes
START = 29_000_160 // DAY * DAY
INTERVAL_S, SPARE_S = 60, 5
LATENESS = Settings(Path()).lateness


def run() -> dict[str, Any]:
    """{fault: {calls a minute: seconds from the first call that failed or was missing}}."""
    return {
        "what": "seconds from the first call that failed, or was missing, to the incident",
        "asked_for_s": INTERVAL_S + SPARE_S,
        "services_each": EACH,
        "history_days": HISTORY // DAY,
        **measured(EACH, HISTORY),
    }


def measured(each: int, history: int) -> dict[str, Any]:
    """The same for so many services of each kind, after so many minutes."""
    fleet = Outages(each, history)
    stop = START + history + 2 * LASTS
    rules = compile_desired(load_text(documents(fleet.services)))
    opened: dict[str, float] = {}
    false = 0
    for decided in backtest(rules, fleet, (START, stop), lateness=LATENESS):
        for change in decided.incident_changes:
            if change.event not in ("opened", "reopened"):
                continue
            service = str(change.after.labels["service"])
            at_s = (decided.now - from_minute(START)).total_seconds()
            if at_s < fleet.first_s[service]:
                false += 1
            else:
                opened.setdefault(service, at_s)
    table: dict[str, Any] = {fault: {} for fault in FAULTS}
    for (fault, level), names in fleet.groups.items():
        pairs = [(fleet.first_s[name], opened.get(name, np.inf)) for name in names]
        table[fault][f"{level:,}"] = _summary(*np.array(pairs).T)
    return {**table, "false_incidents_in_the_history": false}


def documents(services: Sequence[str]) -> str:
    """The services, and three detectors that page."""
    uses = {
        "failures": {"use": "count_scan", "indicator": {"use": "availability"}},
        "calls-missing": {"use": "volume_drop"},
        "silent": {"use": "no_data"},
    }
    every = [
        *(_doc("Service", name, {"team": "bench"}) for name in services),
        *(_doc("Detector", name, {"services": "*", "severity": "page", **use})
          for name, use in uses.items()),
    ]  # fmt: skip
    return yaml.safe_dump_all(every)


class Outages:
    """Counts of services that are well until each of them has its outage.

    groups: (fault, calls a minute) -> services. first_s: seconds after `START` at which the first
    call of each fails, or would have come.
    """

    def __init__(self, each: int, history: int, seed: int = 4) -> None:
        rng = np.random.default_rng(seed)
        kinds = [(fault, level) for fault in FAULTS for level in LEVELS]
        self.groups = {
            (fault, level): [f"{fault}-{level}-{i}" for i in range(each)] for fault, level in kinds
        }
        self.services = [name for names in self.groups.values() for name in names]
        self._at = {name: row for row, name in enumerate(self.services)}
        minutes = history + 2 * LASTS
        level = np.repeat([float(level) for _, level in kinds], each)
        turn = rng.uniform(0.0, DAY, len(level))[:, None]
        day = 1.0 + 0.4 * np.sin(2.0 * np.pi * (np.arange(minutes) - turn) / DAY)
        self._total = rng.poisson(level[:, None] * day).astype(np.int64)
        self._bad = rng.binomial(self._total, USUAL).astype(np.int64)
        self.first_s = {}
        for name, row in self._at.items():
            began_s = 60.0 * (history + rng.uniform(0.0, LASTS))
            self.first_s[name] = self._break(row, began_s, name.startswith("errors"), rng)

    def _break(self, row: int, began_s: float, fails: bool, rng: np.random.Generator) -> float:
        """From so many seconds on every call fails or is missing; says when the first one does."""
        first = int(began_s // 60)
        calls = self._total[row, first:].copy()
        # Calls of the first minute come at any second of it: those before the outage are well.
        seconds = np.sort(rng.uniform(60.0 * first, 60.0 * (first + 1), calls[0]))
        calls[0] = int((seconds >= began_s).sum())
        if fails:
            self._bad[row, first:] = calls
        else:
            self._total[row, first:] -= calls
            self._bad[row, first:] = np.minimum(self._bad[row, first:], self._total[row, first:])
        place = int(np.flatnonzero(calls)[0])
        if place == 0:
            return float(seconds[seconds >= began_s][0])
        return float(rng.uniform(0.0, 60.0, calls[place]).min() + 60.0 * (first + place))

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """As `MinuteSource.minutes`."""
        here = slice(start - START, stop - START)
        rows = [self._at[series.service] for series in monitored]
        return MinuteBlock(start, tuple(monitored), self._bad[rows, here], self._total[rows, here])

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """None."""
        return ()

    def sample(self, wish: Wish, start: int, stop: int) -> Sample | None:
        """None: there are counts only."""
        return None


def _doc(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tocsin/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _summary(first_s: Floats, opened_s: Floats) -> dict[str, Any]:
    took = opened_s - first_s
    found = np.sort(took[np.isfinite(took)])
    whole_minute_s = 60.0 * (np.ceil(first_s / 60.0) + 1.0) + LATENESS.total_seconds()
    return {
        "found": len(found),
        "within_one_evaluation_and_5_s": round(float((took <= INTERVAL_S + SPARE_S).mean()), 2),
        "by_the_end_of_the_first_whole_minute": round(
            float((opened_s <= whole_minute_s).mean()), 2
        ),
        "p50_s": round(float(np.median(found)), 1) if len(found) else None,
        "max_s": round(float(found[-1]), 1) if len(found) else None,
    }
