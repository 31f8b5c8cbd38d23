"""How counts reach the tick: each minute once, the last few again, history never.

The live server asks its source for a handful of minutes at every tick. The demo and a backtest run
thousands of ticks a second, so `ReadAhead` asks the same source for hours at once and hands them
out minute by minute. The tick cannot tell the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tocsin.domain.errors import TocsinError
from tocsin.domain.ports import MinuteSource
from tocsin.domain.samples import Look, Sample, Wish
from tocsin.domain.series import Change, MinuteBlock, Ratio, SeriesId

MOST_LOOKS = 8  # of samples, in one tick


@dataclass(frozen=True, slots=True)
class Watched:
    """What the tick reads: the ratio of every series, the services with histograms, and samples."""

    series: Mapping[SeriesId, Ratio]
    services: tuple[str, ...]
    wishes: tuple[Wish, ...] = ()


class Feed:
    """Walks a source forward in time; every block overlaps the last `reread` minutes handed out.

    Calls are exported when they end and may be late; reading the last minutes again lets them
    count without holding back the verdict on what is already known.
    """

    def __init__(self, source: MinuteSource, watched: Watched, *, start: int, reread: int) -> None:
        self._source = source
        self._watched = watched
        self._next = start
        self._first = start
        self._reread = reread
        self._looked: dict[Wish, int] = {}

    @property
    def position(self) -> int:
        """The first epoch minute that was not handed out yet."""
        return self._next

    def up_to(self, stop: int) -> MinuteBlock | None:
        """Counts up to (excluding) epoch minute `stop`; None when there is no new minute."""
        if stop <= self._next:
            return None
        start = max(self._first, self._next - self._reread)
        block = self._source.minutes(self._watched.series, self._watched.services, start, stop)
        self._next = stop
        return block

    def looks(self, stop: int) -> Iterator[tuple[Wish, Look]]:
        """Samples that are due at epoch minute `stop`, a few at a time: a tick does not wait for
        many. What cannot be read is said, and tried again at the next."""
        due = [w for w in self._watched.wishes if self._looked.get(w) != w.boundary(stop)]
        for wish in due[:MOST_LOOKS]:
            boundary = wish.boundary(stop)
            try:
                found = [self._source.sample(wish, *span) for span in wish.spans(boundary)]
            except TocsinError as error:
                yield wish, Look(boundary, problem=f"calls could not be read: {error}")
                continue
            self._looked[wish] = boundary
            if found[0] is None or found[1] is None:
                yield wish, Look(boundary, problem="this source has no single calls to compare")
            else:
                yield wish, Look(boundary, found[0], found[1])


_Asked = tuple[Mapping[SeriesId, Ratio], tuple[str, ...]]


class ReadAhead:
    """A MinuteSource that reads `minutes` at a time from another and answers from memory.

    Who asks for every minute asks for the same series and services each time; who asks for others
    in between gets an answer of their own, and the two blocks are held.
    limit: the first epoch minute the inner source cannot answer yet; None when it answers all.
    """

    def __init__(
        self, inner: MinuteSource, *, minutes: int = 360, limit: int | None = None
    ) -> None:
        self._inner = inner
        self._span = minutes
        self._limit = limit
        self._held: list[tuple[_Asked, MinuteBlock]] = []  # the last used first

    def extend(self, limit: int) -> None:
        """The inner source can answer up to (excluding) epoch minute `limit` now."""
        self._limit = limit
        self._held = []

    def release(self) -> None:
        """From now on answer every question from the inner source: minutes still fill up."""
        self._span = 0
        self._limit, self._held = None, []

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """As `MinuteSource.minutes`; one read of the inner source per `minutes` of span."""
        if not self._span:
            return self._inner.minutes(monitored, services, start, stop)
        asked = (monitored, tuple(services))
        block = next((block for same, block in self._held if same == asked), None)
        if block is None or start < block.start or stop > block.start + block.width:
            end = max(stop, start + self._span)
            if self._limit is not None:
                end = max(stop, min(end, self._limit))
            block = self._inner.minutes(monitored, services, start, end)
        others = [(other, held) for other, held in self._held if other != asked]
        self._held = [(asked, block), *others[:1]]
        return cut(block, start, stop)

    def sample(self, wish: Wish, start: int, stop: int) -> Sample | None:
        """As the inner source's."""
        return self._inner.sample(wish, start, stop)

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """As the inner source's."""
        return self._inner.changes(start, stop)


def cut(block: MinuteBlock, start: int, stop: int) -> MinuteBlock:
    """The minutes [start, stop) of a block that contains them; views, no copies."""
    a, b = start - block.start, stop - block.start
    if a < 0 or b > block.width or a > b:
        raise ValueError(f"[{start}, {stop}) is not inside the block at {block.start}")
    has_histograms = block.latency.size or block.pace.size
    cells = slice(*np.searchsorted(block.cells[0], (start, stop)))
    return replace(
        block,
        start=start,
        bad=block.bad[:, a:b],
        total=block.total[:, a:b],
        latency=block.latency[:, a:b] if has_histograms else _no_histogram(block, b - a),
        pace=block.pace[:, a:b] if has_histograms else _no_histogram(block, b - a),
        cells=block.cells[:, cells],
    )


def _no_histogram(
    block: MinuteBlock, width: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.zeros((len(block.services), width, 0), np.int64)
