"""All monitors of one kind of gauge detector: from evidence to verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np

from tocsin.assess.gauges.board import Board, Looked
from tocsin.assess.gauges.kind import GaugeConfig, lasting
from tocsin.assess.monitor import Monitor
from tocsin.assess.wording import amount
from tocsin.domain.figures import percent
from tocsin.domain.findings import Judgement, Verdict

UNITS = {"share": "share", "volume": "calls", "p50": "ms", "p95": "ms", "p99": "ms"}
# Counted or timed; what a mean or a sum is of, and in which unit, its series says.
_NAMES = {
    "share": "share of bad calls", "volume": "calls", "p50": "median latency",
    "p95": "p95 latency", "p99": "p99 latency",
}  # fmt: skip


class HasGauges(Protocol):
    """Where gauges are: a window, or its slices."""

    @property
    def gauges(self) -> Board:
        """The board that has the values of the monitors."""
        ...


class GaugeDetector:
    """Judges monitors whose methods are all of type `config`; see the kinds."""

    config: ClassVar[type[GaugeConfig]] = GaugeConfig

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        self._configs = [m.method for m in monitors if isinstance(m.method, self.config)]
        if len(self._configs) != len(self.monitors):
            raise TypeError(f"{self.config.kind} judges monitors with a {self.config.__name__}")
        self._lasting = np.array([config.for_minutes for config in self._configs])

    def judge(self, window: HasGauges, minute: int) -> list[Verdict]:
        """BREACH where evidence reached the limit at each of the last minutes, UNKNOWN where there
        is no value or too little history."""
        looked = window.gauges.look(self.config.kind, minute, int(self._lasting.max()))
        evidence = looked.scored.evidence
        held = np.full(len(self.monitors), np.nan)
        for steps in np.unique(self._lasting).tolist():
            mine = self._lasting == steps
            held[mine] = lasting(evidence[:, mine], steps)[-1]
        with np.errstate(invalid="ignore"):
            breaching = held >= looked.limit
        found = [
            self._breach(row, minute, looked, float(held[row]))
            for row in np.flatnonzero(breaching).tolist()
        ]
        unknown = np.flatnonzero(~np.isfinite(evidence[-1])).tolist()
        return found + [self._unknown(row, minute, looked) for row in unknown]

    def unit(self, row: int) -> str:
        """The unit of a monitor's values."""
        return _unit(self.monitors[row], self._configs[row])

    def named(self, row: int) -> str:
        """What a monitor's values are, as the beginning of a sentence."""
        return _name(self.monitors[row], self._configs[row])

    def _breach(self, row: int, minute: int, looked: Looked, evidence: float) -> Verdict:
        monitor, config = self.monitors[row], self._configs[row]
        value, unit = float(looked.values[-1, row]), self.unit(row)
        expected = float(looked.scored.expected[-1, row])
        known = np.isfinite(expected)
        usual = f", expected {shown(expected, unit)}" if known else ""
        lasted = f" for {config.for_minutes} min" if config.for_minutes > 1 else ""
        return monitor.verdict(
            Judgement.BREACH,
            minute,
            value=round(value, 6),
            expected=round(expected, 6) if known else None,
            unit=unit,
            score=round(evidence, 2),
            window=(minute + 1 - config.over, minute + 1),
            reason=(
                f"{_name(monitor, config)} {shown(value, unit)} over {config.over} min"
                f"{usual}: {config.tell(evidence)}{lasted}"
            ),
            evidence={"measure": config.measure, "limit": round(float(looked.limit[row]), 3)}
            | ({"log10_p": round(-evidence, 2)} if config.is_p else {}),
        )

    def _unknown(self, row: int, minute: int, looked: Looked) -> Verdict:
        monitor, config = self.monitors[row], self._configs[row]
        missing = f"fewer than {config.min_calls} calls in {config.over} min"
        if config.measure in ("volume", "sum"):
            missing = "no telemetry was read for this minute"
        has_value = bool(np.isfinite(looked.values[-1, row]))
        return monitor.verdict(
            Judgement.UNKNOWN,
            minute,
            unit=self.unit(row),
            window=(minute + 1 - config.over, minute + 1),
            reason="too little history" if has_value else missing,
        )


def shown(value: float, unit: str) -> str:
    """A value in this unit for people."""
    return percent(value) if unit == "share" else amount(value, unit)


def _unit(monitor: Monitor, config: GaugeConfig) -> str:
    charge = monitor.ratio.charge if monitor.ratio is not None else None
    return UNITS.get(config.measure, charge.unit if charge is not None else "")


def _name(monitor: Monitor, config: GaugeConfig) -> str:
    if config.measure in _NAMES or monitor.series is None:
        return _NAMES.get(config.measure, config.measure)
    if monitor.ratio is not None and monitor.ratio.metric is not None:
        return monitor.series.indicator
    return f"{config.measure} of {monitor.series.indicator}"
