"""Sustained breach: a share that stays above a limit somebody set, minute after minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tocsin.assess.burn import burns_faster
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.ring import Counts
from tocsin.assess.tails import surprise
from tocsin.assess.window import MAX_PERSISTENCE, Window
from tocsin.assess.wording import counted
from tocsin.domain.figures import percent
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.shares import clopper_pearson_lower

_BINOMIAL = 1e-8


@dataclass(frozen=True, slots=True)
class SustainedBreachConfig(DetectorConfig):
    """Settings of the sustained breach.

    over: the share that must be exceeded, strictly. window_minutes: the share is taken over as many
    minutes. for_minutes: in as many consecutive minutes it must be exceeded. min_events: with fewer
    calls in the window nothing is said. evidence: confidence with which all these minutes together
    must show that the share lies above `over` (exact, one-sided); 0 takes every share at its word.
    """

    kind: ClassVar[str] = "sustained_breach"
    needs: ClassVar[Literal["counts", "pace"]] = "counts"

    over: float = 0.1
    window_minutes: int = 5
    for_minutes: int = 1
    min_events: int = 20
    evidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0.0 <= self.over < 1.0:
            raise ValueError(f"over is a share from 0 to below 1, not {self.over}")
        for name in ("window_minutes", "for_minutes"):
            if not 1 <= getattr(self, name) <= MAX_PERSISTENCE:
                raise ValueError(f"{name} is 1 to {MAX_PERSISTENCE}, not {getattr(self, name)}")
        if self.min_events < 1:
            raise ValueError(f"min_events is at least 1, not {self.min_events}")
        if not 0.0 <= self.evidence < 1.0:
            raise ValueError(f"evidence is from 0 to below 1, not {self.evidence}")


class SustainedBreach:
    """Rings when the share of bad calls was above a limit in each of the last minutes.

    What: for every one of `for_minutes` minutes the share over the `window_minutes` that end with
    it lies strictly above `over`, and the exact lower bound over all of them does too. "p95 > 2 s
    for 5 consecutive minutes" is the share of calls above 2 s being over 5 %, five times: with the
    nearest-rank quantile the two are the same sentence.

    Assumes: that the limit was chosen by somebody who knows what is normal. Nothing is learned.

    Misleads: at little traffic. A healthy service whose calls are slow 3 % of the time exceeds 5 %
    in one minute of 20 calls every eighth time; `min_events`, `evidence` and `for_minutes` are
    there for that. A limit is no error budget: an incident of many short breaches never lasts.

    Parameters: see `SustainedBreachConfig`.

    >>> from tocsin.domain.series import MinuteBlock, Ratio, SeriesId
    >>> series = SeriesId("chat", "latency_under_2000ms")
    >>> monitor = Monitor("breach/slow", "p95 above 2 s", "chat", "latency_p95", "page", series,
    ...                   Ratio("duration_ms", "gt", 2000), SustainedBreachConfig(0.05, 1, 3))
    >>> window = Window([monitor])
    >>> bad, total = np.array([[1, 9, 8, 9]]), np.array([[40, 40, 41, 39]])
    >>> window.advance(MinuteBlock(0, (series,), bad, total))
    0
    >>> [v.reason for v in SustainedBreach([monitor]).judge(window, 3)]
    ['9 of 39 calls took more than 2 s in 1 min (23 %), over 5 % for 3 min']

    Paper: Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934).
    """

    config = SustainedBreachConfig

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        self._config = [m.method for m in monitors if isinstance(m.method, SustainedBreachConfig)]
        if len(self._config) != len(self.monitors):
            raise TypeError("sustained_breach judges monitors with a SustainedBreachConfig")
        self._spans: dict[tuple[int, int], list[int]] = {}
        for at, config in enumerate(self._config):
            self._spans.setdefault((config.window_minutes, config.for_minutes), []).append(at)

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH where every minute is over the limit, UNKNOWN where too few calls can say."""
        verdicts = []
        for (width, lasting), members in self._spans.items():
            rows = window.scan_rows(self.monitors[at].series for at in members)
            series = np.stack(
                [window.scan.sums(minute + 1 - ago, width, rows) for ago in range(lasting)]
            )
            whole = window.scan.sums(minute + 1, width + lasting - 1, rows)
            breaches, unknown = self._judged(members, series, whole)
            for place, at in enumerate(members):
                if breaches[place]:
                    counts = series[0, :, place], whole[:, place]
                    verdicts.append(self._breach(at, minute, *counts))
                elif unknown[place]:
                    verdicts.append(self._unknown(at, minute, int(series[0, 1, place])))
        return verdicts

    def _judged(
        self, members: list[int], series: Counts, whole: Counts
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which of `members` breach, and of which that cannot be said.

        series: [minute, (bad, total), member]; whole: the same minutes together.
        """
        config = [self._config[at] for at in members]
        over = np.array([c.over for c in config])
        evidence = np.array([c.evidence for c in config])
        enough = series[:, 1] >= np.array([c.min_events for c in config])
        above = burns_faster(series[:, 0], series[:, 1], over, 1.0)
        proven = (evidence == 0) | (clopper_pearson_lower(whole[0], whole[1], evidence) > over)
        breaches = (above & enough).all(axis=0) & proven
        # One minute that is known to be fine ends it, whatever the others would say.
        fine = (enough & ~above).any(axis=0)
        return breaches, ~enough.all(axis=0) & ~fine | ~enough[0]

    def _breach(self, at: int, minute: int, counts: Counts, whole: Counts) -> Verdict:
        monitor, config = self.monitors[at], self._config[at]
        bad, total = int(counts[0]), int(counts[1])
        spent = config.window_minutes + config.for_minutes - 1
        score = float(surprise(whole[0], whole[1], config.over, _BINOMIAL))
        lasting = f" for {config.for_minutes} min" if config.for_minutes > 1 else ""
        return monitor.verdict(
            Judgement.BREACH,
            minute,
            value=bad / total,
            expected=config.over,
            unit="share",
            score=round(score, 2),
            window=(minute + 1 - spent, minute + 1),
            reason=(
                f"{counted(bad, total, monitor.ratio)} in {config.window_minutes} min "
                f"({percent(bad / total)}), over {percent(config.over)}{lasting}"
            ),
            evidence={
                "bad": bad,
                "total": total,
                "bad_in_all": int(whole[0]),
                "total_in_all": int(whole[1]),
                "for_minutes": config.for_minutes,
            },
        )

    def _unknown(self, at: int, minute: int, total: int) -> Verdict:
        monitor, config = self.monitors[at], self._config[at]
        width = config.window_minutes
        return monitor.verdict(
            Judgement.UNKNOWN,
            minute,
            unit="share",
            window=(minute + 1 - width - config.for_minutes + 1, minute + 1),
            reason=(
                f"{total} calls in {width} min, {config.min_events} in every window are needed to"
                " judge; give it a longer window"
            ),
            evidence={"total": total},
        )
