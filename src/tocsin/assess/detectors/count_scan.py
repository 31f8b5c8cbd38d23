"""Count scan: more bad calls than usual, judged exactly at any traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tocsin.assess.baseline import MIN_CALLS, MIN_HOURS, Usual
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.ring import Rows
from tocsin.assess.scan import LATEST, Limits
from tocsin.assess.surge import Surge, persistent_surges
from tocsin.assess.window import MAX_PERSISTENCE, Window
from tocsin.assess.wording import counted
from tocsin.domain.figures import percent
from tocsin.domain.findings import Judgement, Verdict

_DECLARED_CALLS = float(MIN_CALLS)


@dataclass(frozen=True, slots=True)
class CountScanConfig(DetectorConfig):
    """Settings of the count scan.

    threshold: evidence needed, as -log10 p corrected for the five widths; at least 3. At 6 a
    monitor is expected to ring falsely less than once in a year of minutes, as far as the model
    holds. min_bad: bad calls needed in the window. min_ratio: how many times the usual share at
    least. floor: a usual share below this counts as this, so that 3 failures in 20,000 calls of a
    service that never fails wake nobody. for_minutes: consecutive minutes the breach must last.
    baseline: a declared usual share, judged by at once and given up as history arrives.
    """

    kind: ClassVar[str] = "count_scan"
    is_budgeted: ClassVar[bool] = True
    needs: ClassVar[Literal["counts", "pace", "gauge", "samples"]] = "counts"

    threshold: float = 6.0
    min_bad: int = 3
    min_ratio: float = 1.5
    floor: float = 0.001
    for_minutes: int = 1
    baseline: float | None = None

    def __post_init__(self) -> None:
        check_scan_settings(self.threshold, self.min_bad, self.min_ratio, self.for_minutes)
        if not 0.0 <= self.floor < 1.0:
            raise ValueError(f"floor is a share from 0 to below 1, not {self.floor}")
        if self.baseline is not None and not 0.0 <= self.baseline < 1.0:
            raise ValueError(f"baseline is a share from 0 to below 1, not {self.baseline}")


def check_scan_settings(threshold: float, min_bad: int, min_ratio: float, for_minutes: int) -> None:
    """ValueError, saying what is allowed, for settings no scan can work with."""
    if not 3.0 <= threshold <= 300.0:
        raise ValueError(f"threshold is -log10 p, from 3 to 300, not {threshold}")
    if min_bad < 1:
        raise ValueError(f"min_bad is at least 1, not {min_bad}")
    if min_ratio < 1.0:
        raise ValueError(f"min_ratio is at least 1, not {min_ratio}")
    if not 1 <= for_minutes <= MAX_PERSISTENCE:
        raise ValueError(f"for_minutes is 1 to {MAX_PERSISTENCE}, not {for_minutes}")


class CountScan:
    """Rings when the last 1, 3, 12, 30 or 60 minutes hold more bad calls than chance allows.

    What: the probability of at least k bad calls among n under a beta-binomial whose rate and
    over-dispersion were learned from the trailing week of the same series, without the last fifteen
    minutes and without minutes that were unusual themselves; five widths, Bonferroni. Where calls
    are so many that not chance but the rate decides, one and three minutes are judged by the
    heavier of two tails, that one and a log-normal's. Half an hour and an hour find small rises on
    little traffic; they end with the newest minutes, not an hour later. Counts are never turned
    into percentages first, so two calls a minute and twenty thousand are judged by the same rule.

    Assumes: calls of one minute share a rate, the rate wanders around a mean that does not depend
    on the hour of the day, and the near future resembles the last week. A rate that stays changed
    for a whole day becomes the usual one after that day.

    Misleads: when the share follows the clock (the night shift of a batch tenant), when the mix of
    callers changes, and where retries turn one failure into many. A slow rise over days is learned
    as usual: that is what the objective's burn rate is for. With fewer than 200 calls or 6 hours of
    history it says unknown, unless `baseline` is declared.

    Parameters: see `CountScanConfig`.

    >>> from tocsin.assess.detectors import CountScan, CountScanConfig
    >>> from tocsin.assess.monitor import Monitor
    >>> from tocsin.assess.window import Window
    >>> from tocsin.domain.series import MinuteBlock, Ratio, SeriesId
    >>> series = SeriesId("support", "availability")
    >>> monitor = Monitor("detector/support-failures", "Failures", "support", "error_rate", "page",
    ...                   series, Ratio("failed"), CountScanConfig(baseline=0.004))
    >>> window = Window([monitor])
    >>> bad, total = np.array([[0, 0, 1, 9]]), np.array([[20, 22, 19, 20]])
    >>> window.advance(MinuteBlock(0, (series,), bad, total))
    0
    >>> [v.reason for v in CountScan([monitor]).judge(window, 3)]
    ['9 of 20 calls failed in 1 min (45 %), usual 0.4 %']

    Paper: Neill, "Expectation-based scan statistics for monitoring spatial time series data",
    International Journal of Forecasting 25 (2009); Williams, "The analysis of binary responses from
    toxicological experiments involving reproduction and teratogenicity", Biometrics 31 (1975) for
    the beta-binomial by moments.
    """

    config = CountScanConfig

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        self._config = [m.method for m in monitors if isinstance(m.method, CountScanConfig)]
        if len(self._config) != len(self.monitors):
            raise TypeError("count_scan judges monitors with a CountScanConfig")
        self._limits = Limits(
            threshold=np.array([c.threshold for c in self._config]),
            min_bad=np.array([c.min_bad for c in self._config]),
            min_ratio=np.array([c.min_ratio for c in self._config]),
        )
        self._floor = np.array([c.floor for c in self._config])
        self._persistence = np.array([c.for_minutes for c in self._config], np.int64)
        self._declared = np.array([c.baseline is not None for c in self._config], np.bool_)
        # Without a declaration: Jeffreys' prior, one call of which half is bad.
        self._prior_rate = np.array(
            [0.5 if c.baseline is None else c.baseline for c in self._config]
        )
        self._prior_calls = np.where(self._declared, _DECLARED_CALLS, 1.0)
        self._bound: tuple[Window, Rows] | None = None
        self._learned: tuple[int, Usual, npt.NDArray[np.bool_]] | None = None

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH for surging series, UNKNOWN for those without history or without calls."""
        rows = self._rows(window)
        usual, known = self._usual(window, rows)
        surges, quiet = persistent_surges(
            window.scan, rows, minute + 1, usual.at_least(self._floor), self._limits,
            self._persistence,
        )  # fmt: skip
        verdicts = [
            self._breach(surge, float(usual.rate[surge.row]), minute)
            for surge in surges
            if known[surge.row]
        ]
        for row in np.flatnonzero(~known | quiet):
            verdicts.append(self._unknown(int(row), usual, minute, known=bool(known[row])))
        return verdicts

    def _rows(self, window: Window) -> Rows:
        if self._bound is None or self._bound[0] is not window:
            self._bound = (window, window.scan_rows(m.series for m in self.monitors))
            self._learned = None
        return self._bound[1]

    def _usual(self, window: Window, rows: Rows) -> tuple[Usual, npt.NDArray[np.bool_]]:
        version = window.baseline.version
        if self._learned is None or self._learned[0] != version:
            usual = window.baseline.usual(self._prior_rate, self._prior_calls, rows)
            self._learned = (version, usual, usual.is_known | self._declared)
        return self._learned[1], self._learned[2]

    def _breach(self, surge: Surge, usual: float, minute: int) -> Verdict:
        monitor = self.monitors[surge.row]
        share = surge.bad / surge.total
        return monitor.verdict(
            Judgement.BREACH,
            minute,
            value=share,
            expected=usual,
            unit="share",
            score=round(surge.score, 2),
            window=(minute + 1 - surge.width, minute + 1),
            reason=(
                f"{counted(surge.bad, surge.total, monitor.ratio)} in {surge.width} min "
                f"({percent(share)}), usual {percent(usual)}"
            ),
            evidence={
                "bad": surge.bad,
                "total": surge.total,
                "usual_share": usual,
                "width_minutes": surge.width,
                "log10_p": round(-surge.score, 2),
                "over_dispersion": surge.rho,
            },
        )

    def _unknown(self, row: int, usual: Usual, minute: int, *, known: bool) -> Verdict:
        monitor = self.monitors[row]
        calls, hours = int(usual.calls[row]), int(usual.hours[row])
        reason = (
            f"no calls in the last {LATEST} min"
            if known
            else f"too little history: {calls:,} calls over {hours} h, "
            f"{MIN_CALLS} calls over {MIN_HOURS} h are needed; or declare a baseline"
        )
        return monitor.verdict(
            Judgement.UNKNOWN,
            minute,
            unit="share",
            window=(minute + 1 - LATEST, minute + 1),
            reason=reason,
            evidence={"calls": calls, "hours": hours},
        )
