"""The last looks at the segments of a health score: what they say together, minute by minute.

A finding counts when it was made in several of the last looks. What could not be looked at, and a
segment that fell silent while it was worse off, is not taken for well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from tocsin.assess.health import Reading
from tocsin.assess.health_segments import HealthSegmentsConfig, SegmentScore, segment_scores
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window


class SegmentLooks:
    """Of one monitor of segments. Memory of one process: after a restart it takes some looks until
    anything can be said."""

    def __init__(self, monitor: Monitor) -> None:
        assert isinstance(monitor.method, HealthSegmentsConfig)  # noqa: S101 (callers choose them)
        self.monitor, self.config = monitor, monitor.method
        self.boundary = 0
        self._seen: list[tuple[int, list[SegmentScore]]] = []  # the newest last
        self.problem = "not looked at yet"
        self._holding: tuple[int, SegmentScore] | None = None  # held the whole down, and when

    def take(self, window: Window, whole: Mapping[str, Reading]) -> None:
        """Take in the newest look, if there is one. whole: what counts of the service now."""
        config = self.config
        wish = config.wish(self.monitor.service)
        look = window.looks.get(wish) if wish is not None else None
        self.problem = "not looked at yet" if look is None else look.problem
        if look is None or look.problem or self.boundary == look.boundary:
            return
        since = look.boundary - config.of * config.every_minutes
        kept = [one for one in self._seen if one[0] > since]
        self._seen = [*kept, (look.boundary, segment_scores(config, look, whole))]
        self.boundary = look.boundary

    @property
    def judged(self) -> list[SegmentScore]:
        """Those that the newest look could judge, the lowest first."""
        return [one for one in self._seen[-1][1] if one.is_judged] if self._seen else []

    @property
    def confirmed(self) -> list[SegmentScore]:
        """Those that were found in enough of the last looks, the lowest first."""
        counts = self._counts()
        return [one for one in self.judged if counts[one.name] >= self.config.confirm]

    @property
    def unsure(self) -> str:
        """Why nobody can say whether any is worse off; "" when it can be said."""
        config, judged = self.config, self.judged
        if self.problem:
            return self.problem
        if not judged:
            return f"no segment by {' or '.join(config.by)} had {config.min_events} calls"
        # Looks before a restart are not remembered, and could have confirmed what these did not.
        counts, unseen = self._counts(), config.of - len(self._seen)
        if max(counts[one.name] for one in judged) + unseen >= config.confirm:
            return f"not looked at often enough yet: {len(self._seen)} of {config.of} looks"
        return ""

    def worst(self, minute: int, last: tuple[int, Reading] | None) -> Reading:
        """The score of the worst segment that is confirmed, 100 when none is.

        last: what it was when it was last known, and when. It stands in, as old as it is, while
        nobody can say, and a segment that fell silent stands in for itself, for `max_age_minutes`.
        """
        if not self.problem and (found := self.confirmed):
            self._holding = (minute, found[0])
            return _reading(found[0])
        if self._holding is not None:
            at, held = self._holding
            is_silent = held.name not in {one.name for one in self.judged}
            if is_silent and minute - at <= self.config.health.max_age_minutes:
                return replace(_reading(held), age_minutes=float(minute - at))
        if why := self.unsure:
            longest = self.config.of * self.config.every_minutes
            if last is not None and minute - last[0] <= longest:
                return replace(last[1], age_minutes=float(max(minute - last[0], 1)))
            return Reading(None, reason=why)
        return Reading(100.0, reason="no segment is surely below the warning")

    def _counts(self) -> Counter[str]:
        return Counter(one.name for _, scores in self._seen for one in scores if one.is_found)


def _reading(one: SegmentScore) -> Reading:
    told = f"{one.dimension} {one.value} by {one.calls} calls"
    return Reading(one.score, one.low, one.high, one.calls, reason=told)
