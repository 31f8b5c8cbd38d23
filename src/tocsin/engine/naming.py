"""Services as people call them, and as their telemetry does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tocsin.domain.ports import History
from tocsin.domain.samples import Sample, Wish
from tocsin.domain.series import EACH, Change, HourBlock, MinuteBlock, Ratio, SeriesId


class Renamed:
    """A History asked by configured names and answered by `service.name` of the telemetry.

    names: configured name -> service.name; names that are missing are the same.
    """

    def __init__(self, inner: History, names: Mapping[str, str]) -> None:
        self._inner = inner
        self._names = {mine: theirs for mine, theirs in names.items() if mine != theirs}
        self._back = {theirs: mine for mine, theirs in self._names.items()}

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """As `MinuteSource.minutes`, in configured names."""
        asked = [self._names.get(name, name) for name in services]
        block = self._inner.minutes(self._theirs(monitored), asked, start, stop)
        mine = [sid for sid in monitored if sid.segment[1] != EACH]
        found = [
            replace(sid, service=self._back.get(sid.service, sid.service))
            for sid in block.series[len(mine) :]
        ]
        return replace(block, series=(*mine, *found), services=tuple(services))

    def hours(self, monitored: Mapping[SeriesId, Ratio], start: int, stop: int) -> HourBlock:
        """As `History.hours`, in configured names."""
        block = self._inner.hours(self._theirs(monitored), start, stop)
        return replace(block, series=tuple(monitored))

    def sample(self, wish: Wish, start: int, stop: int) -> Sample | None:
        """As `MinuteSource.sample`, in configured names."""
        theirs = replace(wish, service=self._names.get(wish.service, wish.service))
        return self._inner.sample(theirs, start, stop)

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """As `MinuteSource.changes`, in configured names."""
        return self.named(self._inner.changes(start, stop))

    def named(self, changes: Iterable[Change]) -> list[Change]:
        """Changes of services by their configured names."""
        return [
            replace(change, service=self._back.get(change.service, change.service))
            for change in changes
        ]

    def _theirs(self, monitored: Mapping[SeriesId, Ratio]) -> Mapping[SeriesId, Ratio]:
        if not self._names:
            return monitored
        return {
            replace(series, service=self._names.get(series.service, series.service)): ratio
            for series, ratio in monitored.items()
        }
