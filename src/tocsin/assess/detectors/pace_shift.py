"""Pace shift: calls are slower than usual, at equal work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tocsin.assess.baseline import MIN_HOURS, Usual
from tocsin.assess.detectors.count_scan import check_scan_settings
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.ring import Rows
from tocsin.assess.scan import LATEST, NARROW, Limits
from tocsin.assess.surge import Surge, persistent_surges
from tocsin.assess.window import MIN_PACE_CALLS, Window
from tocsin.assess.wording import duration
from tocsin.domain.findings import Judgement, Verdict

# Half a bucket of slack, so that a true 1.5 is not lost to the width of a bucket.
_SLACK = 1.05
# The usual 95th percentile leaves 5 % above it; less than this is rounding of the buckets.
_FLOOR = 0.02


@dataclass(frozen=True, slots=True)
class PaceShiftConfig(DetectorConfig):
    """Settings of the pace shift.

    threshold: evidence needed, as -log10 p corrected for the three widths; at least 3. min_bad:
    slow calls needed in the window. min_ratio: the smallest effect worth telling: the 95th
    percentile or the median of the pace must have grown by this factor. for_minutes: consecutive
    minutes the breach must last.
    """

    kind: ClassVar[str] = "pace_shift"
    is_budgeted: ClassVar[bool] = True
    needs: ClassVar[Literal["counts", "pace", "gauge", "samples"]] = "pace"

    threshold: float = 6.0
    min_bad: int = 5
    min_ratio: float = 1.5
    for_minutes: int = 1

    def __post_init__(self) -> None:
        check_scan_settings(self.threshold, self.min_bad, self.min_ratio, self.for_minutes)


class PaceShift:
    """Rings when far more calls than usual are slower than the usual 95th percentile.

    What: latency is first put at equal work (`domain.buckets.pace_us`), so that long prompts and
    long answers are not mistaken for a slow model. Calls above the usual 95th percentile of that
    pace are counted, and the count is judged exactly as by the count scan: a beta-binomial learned
    from the trailing week, over 1, 3 and 12 minutes. On top the 95th percentile or the median must
    have grown by `min_ratio`, so that a certain but trivial drift rings nobody. People are shown
    the p95 of raw latency, now and usual.

    Assumes: token counts explain latency up to a factor that the service keeps, and slowness comes
    to the calls of one minute together no more than it did during the week.

    Misleads: when calls lack token counts (then pace is raw latency, and a batch of long answers
    looks slow), when a model is exchanged on purpose for a slower one, when caching ends. A rise
    over days is learned as usual. Unknown below 500 calls or 6 hours of history.

    Parameters: see `PaceShiftConfig`.

    >>> from tocsin.assess.detectors import PaceShift, PaceShiftConfig
    >>> from tocsin.assess.monitor import Monitor
    >>> from tocsin.assess.window import Window
    >>> monitor = Monitor("detector/support-pace", "Pace", "support", "latency_p95", "page",
    ...                   None, None, PaceShiftConfig())
    >>> window = Window([monitor])
    >>> from tocsin.domain.series import MinuteBlock
    >>> nothing = np.zeros((0, 1), np.int64)
    >>> window.advance(MinuteBlock(0, (), nothing, nothing))
    0
    >>> [v.reason for v in PaceShift([monitor]).judge(window, 0)]
    ['calls of this source carry no durations']

    Paper: Neill, "Expectation-based scan statistics for monitoring spatial time series data",
    International Journal of Forecasting 25 (2009), on the share of calls beyond a fixed quantile.
    """

    config = PaceShiftConfig

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        configs = [m.method for m in monitors if isinstance(m.method, PaceShiftConfig)]
        if len(configs) != len(self.monitors):
            raise TypeError("pace_shift judges monitors with a PaceShiftConfig")
        self._limits = Limits(
            threshold=np.array([c.threshold for c in configs]),
            min_bad=np.array([c.min_bad for c in configs]),
            min_ratio=np.ones(len(configs)),
        )
        self._min_ratio = [c.min_ratio for c in configs]
        self._persistence = np.array([c.for_minutes for c in configs], np.int64)
        self._bound: tuple[Window, Rows, Rows] | None = None
        self._learned: tuple[int, Usual, npt.NDArray[np.bool_]] | None = None

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH for services that slowed down, UNKNOWN for those that cannot be judged."""
        rows, services = self._rows(window)
        usual, known = self._usual(window, rows, services)
        surges, quiet = persistent_surges(
            window.scan, rows, minute + 1, usual.at_least(_FLOOR), self._limits, self._persistence,
            NARROW,
        )  # fmt: skip
        verdicts = []
        for surge in surges:
            if known[surge.row]:
                verdict = self._breach(window, int(services[surge.row]), surge, minute)
                verdicts += [verdict] if verdict else []
        for row in np.flatnonzero(~known | quiet):
            reason = self._ignorance(window, int(services[row]), usual, int(row), bool(known[row]))
            verdicts.append(self._unknown(int(row), minute, reason))
        return verdicts

    def _rows(self, window: Window) -> tuple[Rows, Rows]:
        if self._bound is None or self._bound[0] is not window:
            names = [monitor.service for monitor in self.monitors]
            self._bound = (window, window.pace_rows(names), window.service_rows(names))
            self._learned = None
        return self._bound[1], self._bound[2]

    def _usual(
        self, window: Window, rows: Rows, services: Rows
    ) -> tuple[Usual, npt.NDArray[np.bool_]]:
        version = window.baseline.version
        if self._learned is None or self._learned[0] != version:
            usual = window.usual().of(rows)
            calls = window.pace.usual[services].sum(axis=1)
            known = (calls >= MIN_PACE_CALLS) & (usual.hours >= MIN_HOURS)
            self._learned = (version, usual, known)
        return self._learned[1], self._learned[2]

    def _breach(self, window: Window, service: int, surge: Surge, minute: int) -> Verdict | None:
        """The verdict, or None when the slowdown is certain but too small to matter."""
        only = np.array([service], np.intp)
        now = window.pace.recent(minute + 1, surge.width, only)[0]
        before = window.pace.usual[service]
        scale = window.pace.scale
        growth = {
            name: float(scale.quantile(now, q) / scale.quantile(before, q))
            for name, q in (("p95", 0.95), ("median", 0.5))
        }
        if max(growth.values()) * _SLACK < self._min_ratio[surge.row]:
            return None
        raw = window.latency.scale
        latest = window.latency.recent(minute + 1, surge.width, only)[0]
        p95 = float(raw.quantile(latest, 0.95)) / 1000.0
        usual = float(raw.quantile(window.latency.usual[service], 0.95)) / 1000.0
        monitor = self.monitors[surge.row]
        share = surge.bad / surge.total
        return monitor.verdict(
            Judgement.BREACH,
            minute,
            value=round(p95, 1),
            expected=round(usual, 1),
            unit="ms",
            score=round(surge.score, 2),
            window=(minute + 1 - surge.width, minute + 1),
            reason=(
                f"p95 latency {duration(p95)} over {surge.width} min, usual {duration(usual)}: "
                f"{surge.bad:,} of {surge.total:,} calls were slower for their length than "
                f"95 % usually are"
            ),
            evidence={
                "slow": surge.bad,
                "total": surge.total,
                "slow_share": share,
                "pace_growth_p95": round(growth["p95"], 2),
                "pace_growth_median": round(growth["median"], 2),
                "width_minutes": surge.width,
                "log10_p": round(-surge.score, 2),
                "over_dispersion": surge.rho,
            },
        )

    def _ignorance(self, window: Window, service: int, usual: Usual, row: int, known: bool) -> str:
        if not window.has_durations:
            return "calls of this source carry no durations"
        if known:
            return f"no calls in the last {LATEST} min"
        calls = int(window.pace.usual[service].sum())
        return (
            f"too little history: {calls:,} calls over {int(usual.hours[row])} h, "
            f"{MIN_PACE_CALLS} calls over {MIN_HOURS} h are needed"
        )

    def _unknown(self, row: int, minute: int, reason: str) -> Verdict:
        monitor = self.monitors[row]
        return monitor.verdict(
            Judgement.UNKNOWN,
            minute,
            unit="ms",
            window=(minute + 1 - LATEST, minute + 1),
            reason=reason,
        )
