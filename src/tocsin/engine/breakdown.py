"""Which slice of a service's traffic, since when, and what changed just before: read and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import numpy as np
import numpy.typing as npt

from tocsin.assess.breakdown.account import Wording, additive_account, ratio_account
from tocsin.assess.breakdown.cells import Cells
from tocsin.assess.breakdown.onset import onset
from tocsin.assess.breakdown.ratio import Counts
from tocsin.assess.monitor import Part
from tocsin.domain.clock import from_minute, iso
from tocsin.domain.errors import Unanswerable
from tocsin.domain.series import Change, Ratio
from tocsin.spec.services import Service
from tocsin.store.slices import Amount, Joint, Window

CHANGES_BEFORE_MIN = 120
CHANGES_AFTER_MIN = 5  # a deploy is recorded when it is done, and hurts from when it began
MOST_CHANGES = 5
SHORTEST_USUAL_MIN = 60
LONGEST_MIN = 7 * 24 * 60

MEASURES: Mapping[str, Ratio | Amount] = {
    "failed": Ratio("failed"),
    "error": Ratio("error"),
    "truncated": Ratio("truncated"),
    "slow": Ratio("duration_ms", "gt"),  # than the usual 95th percentile, which is filled in
    "feedback": Ratio("feedback_negative"),
    "retrieval": Ratio("failed", kind="retriever"),
    "empty_retrieval": Ratio("empty_result", kind="retriever"),
    "calls": "calls",
    "tokens": "tokens",
    "cost": "cost_usd",
}
_WORDS = {
    "failed": Wording(),
    "error": Wording("errors", "to end in an error"),
    "truncated": Wording("answers cut off", "to be cut off"),
    "duration_ms": Wording("slow calls", "to be slow"),
    "ttft_ms": Wording("slow first tokens", "to wait long"),
    "cost_usd": Wording("expensive calls", "to be expensive"),
    "feedback_negative": Wording("bad ratings", "to be rated badly"),
    "empty_result": Wording("empty retrievals", "to find nothing"),
}


class BadRange(Unanswerable):
    """A time range or a measure that cannot be broken down; the text says what can."""

    status = 422


class JointSource(Protocol):
    """What a breakdown reads; see `store.slices.SliceReader`."""

    def joint(self, service: str, measure: Ratio | Amount, window: Window) -> Joint:
        """Sums by combination of dimension values."""
        ...

    def by_minute(
        self, service: str, measure: Ratio | Amount, window: Window
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(all, bad) by minute."""
        ...

    def slow(self, service: str, window: Window, kind: str = "llm") -> float | None:
        """The usual 95th percentile in ms, None when unknown."""
        ...


@dataclass(frozen=True)
class Breakdowns:
    """Breaks down any measure of any service. changes: as `MinuteSource.changes`."""

    services: Mapping[str, Service]
    slices: JointSource
    changes: Callable[[int, int], Sequence[Change]]

    def account(self, service: str, measure: str | Ratio, window: Window) -> dict[str, Any]:
        """The account of `assess.breakdown`, with measure, windows, `since` and `changes`.

        measure: a name of MEASURES, or the ratio of a monitor. since: where the rate changed, None
        when no change is certain. BadRange for a range or a measure that cannot be used.
        """
        _check(window)
        known = self.services.get(service)
        told = known.service_name if known else service
        what = self._measure(told, measure, window)
        joint = self.slices.joint(told, what, window)
        cells = Cells.of(joint.dimensions or {"service": [service] * len(joint.now)})
        if isinstance(what, Ratio):
            words = _WORDS.get(what.column, Wording("bad calls", "to be bad"))
            counts = Counts(joint.bad_now, joint.now, joint.bad_usual, joint.usual)
            account = ratio_account(cells, counts, wording=words)
        else:
            longer = (window.stop - window.start) / (window.usual_stop - window.usual_start)
            account = additive_account(cells, joint.now, joint.usual * longer)
        since = self._since(told, what, window)
        return {
            **account,
            "measure": measure if isinstance(measure, str) else measure.column,
            "threshold_ms": what.threshold if measure == "slow" and isinstance(what, Ratio)
            else None,
            "window": [iso(from_minute(m)) for m in (window.start, window.stop)],
            "baseline": [iso(from_minute(m)) for m in (window.usual_start, window.usual_stop)],
            "since": iso(from_minute(since)) if since is not None else None,
            "changes": self._changes(service, since or window.start, window.stop),
        }  # fmt: skip

    def missed(
        self, service: str, parts: Sequence[Part], start: int, stop: int
    ) -> list[dict[str, Any]]:
        """How many calls of epoch minutes [start, stop) missed each of several conditions, the most
        missed first. A call that missed two counts for both."""
        known = self.services.get(service)
        told = known.service_name if known else service
        window = Window(start, stop, start - 1, start)
        found = []
        for part in parts:
            total, bad = (int(c[1:].sum()) for c in self.slices.by_minute(told, part.ratio, window))
            found.append({"name": part.name, "service": service, "bad": bad, "total": total})
        return sorted(found, key=lambda one: -one["bad"])

    def _measure(self, service: str, measure: str | Ratio, window: Window) -> Ratio | Amount:
        if isinstance(measure, Ratio):
            return measure
        found = MEASURES.get(measure)
        if found is None:
            raise BadRange(f"unknown measure {measure!r}; known: {', '.join(MEASURES)}")
        if measure != "slow":
            return found
        limit = self.slices.slow(service, window)
        if limit is None:
            raise BadRange("fewer than 20 answered calls in the baseline: what is slow is unknown")
        return Ratio("duration_ms", "gt", limit)

    def _since(self, service: str, measure: Ratio | Amount, window: Window) -> int | None:
        total, bad = self.slices.by_minute(service, measure, window)
        amounts = bad if isinstance(measure, Ratio) else total
        exposures = total if isinstance(measure, Ratio) else np.ones(len(total))
        if measure in get_args(Amount) and measure != "calls":
            return None  # tokens and dollars come in lumps, which no count model has
        found = onset(amounts, exposures)
        return None if found is None else window.usual_start + found.index

    def _changes(self, service: str, since: int, stop: int) -> list[dict[str, Any]]:
        """Changes to the service or to all, nearest to `since` first."""
        last = max(since + CHANGES_AFTER_MIN, since + 1)
        seen = self.changes(since - CHANGES_BEFORE_MIN, min(last, stop))
        mine = [change for change in seen if change.service in ("", service)]
        mine.sort(key=lambda change: abs(change.at_minute - since))
        return [
            {
                "at": iso(from_minute(change.at_minute)),
                "kind": change.kind,
                "title": change.title,
                "minutes_before": since - change.at_minute,
            }
            for change in mine[:MOST_CHANGES]
        ]


def window_of(
    start: int, stop: int, usual: tuple[int, int] | None = None
) -> Window:  # fmt: skip
    """[start, stop) compared with `usual`, or with as long before it, an hour at least."""
    if usual is None:
        usual = (start - max(stop - start, SHORTEST_USUAL_MIN), start)
    return Window(start, stop, *usual)


def _check(window: Window) -> None:
    if not window.usual_start < window.usual_stop <= window.start < window.stop:
        raise BadRange("a baseline comes before the range in question, and neither is empty")
    if window.stop - window.usual_start > 2 * LONGEST_MIN:
        raise BadRange("a range and its baseline lie within 14 days")
