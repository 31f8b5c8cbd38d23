"""What one detector would have found: stored minutes again, through the code that judges them now.

The detector begins a week before the stretch that is asked for, so that it knows what was usual by
then; calls that came late are where they belong, which the live detector could not know.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import DetectorConfig, Monitor, ratios
from tocsin.assess.window import Window
from tocsin.domain.errors import Unanswerable
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.ports import MinuteSource
from tocsin.domain.series import MinuteBlock
from tocsin.engine.feed import cut

Floats = npt.NDArray[np.float64]

WARM_UP = 7 * 24 * 60
QUIET = 35  # minutes: until an alert resolves, and until its incident no longer comes back
_STEP = 360


class CannotReplay(Unanswerable):
    """A detector that judges something else than minutes, or settings that it refuses."""

    status = 422


@dataclass(frozen=True, slots=True)
class Episode:
    """Minutes in which a detector found something, with no longer pause than `QUIET`.

    start: the minute at whose end it would have rung. stop: the end of the last. evidence: the
    strongest. first: what it said when it began.
    """

    start: int
    stop: int
    minutes: int
    evidence: float
    first: Verdict


@dataclass(frozen=True, slots=True)
class Replayed:
    """Minutes [start, stop) of one detector: what it measured and expected in each, NaN where it
    could not; spread: how far shares of so few calls wander, three standard deviations, NaN for
    gauges; its breaches, in order; the minutes in which it could say nothing."""

    start: int
    stop: int
    values: Floats
    expected: Floats
    spread: Floats
    breaches: tuple[Verdict, ...]
    unknown: int

    def episodes(self, least: float = 0.0) -> tuple[Episode, ...]:
        """What would have rung if so much evidence had been asked for."""
        found: list[list[Verdict]] = []
        for verdict in self.breaches:
            if (verdict.score or 0.0) < least:
                continue
            if found and verdict.minute - found[-1][-1].minute <= QUIET:
                found[-1].append(verdict)
            else:
                found.append([verdict])
        return tuple(
            Episode(
                each[0].minute + 1,
                each[-1].minute + 1,
                len(each),
                max(verdict.score or 0.0 for verdict in each),
                each[0],
            )
            for each in found
        )


def settings_of(monitor: Monitor) -> Mapping[str, float]:
    """The numbers among a detector's settings, by name: what may be tried differently."""
    method = monitor.method
    if not isinstance(method, DetectorConfig) or method.needs not in ("counts", "pace", "gauge"):
        return {}
    each = {field.name: getattr(method, field.name) for field in fields(method)}
    return {
        name: value
        for name, value in each.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def with_settings(monitor: Monitor, changed: Mapping[str, float]) -> Monitor:
    """The monitor with other numbers. CannotReplay for one it has not, or refuses."""
    known = settings_of(monitor)
    unknown = sorted(changed.keys() - known.keys())
    if unknown:
        raise CannotReplay(f"{monitor.name} has no setting {unknown[0]!r} that is a number")
    method: Any = monitor.method
    whole: dict[str, float] = {}
    for name, value in changed.items():
        if isinstance(known[name], int) and value != int(value):
            raise CannotReplay(f"{name} is a whole number, not {value:g}")
        whole[name] = int(value) if isinstance(known[name], int) else value
    try:
        return replace(monitor, method=replace(method, **whole))
    except ValueError as error:
        raise CannotReplay(str(error)) from None


def replay(source: MinuteSource, monitor: Monitor, start: int, stop: int) -> Replayed:
    """Epoch minutes [start, stop) as `monitor` would have judged them, one after the other.

    CannotReplay for a monitor that judges samples, segments or budgets.
    """
    if not settings_of(monitor):
        raise CannotReplay(f"{monitor.name} does not judge minutes: it cannot be replayed")
    compiled = compile_monitors([monitor])
    window = Window([monitor])
    series = ratios([monitor])
    seen = np.full((3, stop - start), np.nan)
    breaches: list[Verdict] = []
    unknown = 0
    for block in _blocks(source, series, window.services, start - WARM_UP, stop):
        for minute in range(block.start, block.start + block.width):
            if minute < start and block.start + block.width <= start:
                window.advance(block)
                break
            window.advance(cut(block, minute, minute + 1))
            if minute < start:
                continue
            verdicts = judge(compiled, window, minute)
            breaches += [v for v in verdicts if v.judgement is Judgement.BREACH]
            unknown += any(v.judgement is Judgement.UNKNOWN for v in verdicts)
            seen[:, minute - start] = _sight(window, monitor, minute)
    return Replayed(start, stop, seen[0], seen[1], seen[2], tuple(breaches), unknown)


def _blocks(
    source: MinuteSource, series: Any, services: Sequence[str], start: int, stop: int
) -> Iterator[MinuteBlock]:
    for begin in range(start, stop, _STEP):
        yield source.minutes(series, services, begin, min(begin + _STEP, stop))


def _sight(window: Window, monitor: Monitor, minute: int) -> tuple[float, float, float]:
    """What a detector measures at a minute, what is usual, and the spread of that: in the unit of
    its gauge, as a share, or the p95 of latency in milliseconds."""
    method = monitor.method
    if isinstance(method, GaugeConfig):
        looked = window.gauges.look(method.kind, minute, 1)
        return float(looked.values[-1, 0]), float(looked.scored.expected[-1, 0]), math.nan
    if isinstance(method, DetectorConfig) and method.needs == "pace":
        row = window.service_rows([monitor.service])
        now = window.latency.recent(minute + 1, 1, row)[0]
        usual = window.latency.usual[int(row[0])]
        return _p95(window, now), _p95(window, usual), math.nan
    rows = window.scan_rows([monitor.series])
    bad, total = (int(count) for count in window.scan.sums(minute + 1, 1, rows)[:, 0])
    known = window.usual().of(rows)
    if not bool(known.is_known[0]):
        return (bad / total if total else math.nan), math.nan, math.nan
    rate, rho = float(known.rate[0]), float(known.rho[0, 0])
    if not total:
        return math.nan, rate, math.nan
    variance = rate * (1.0 - rate) * (1.0 + (total - 1) * rho) / total
    return bad / total, rate, 3.0 * math.sqrt(variance)


def _p95(window: Window, counts: npt.NDArray[np.int64]) -> float:
    if not counts.sum():
        return math.nan
    return float(window.latency.scale.quantile(counts, 0.95)) / 1000.0
