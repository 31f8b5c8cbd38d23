"""Plays traffic through the real path on a clock of its own: intake, tick, courier.

For each piece of traffic: hand its requests to intake, wait until they can be queried, then tick
minute by minute over it and deliver what each minute decided before the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tocsin.demo.responder import Responder
from tocsin.demo.spans import Chunk
from tocsin.demo.timepiece import ReplayClock
from tocsin.domain.clock import from_minute
from tocsin.engine.feed import ReadAhead
from tocsin.engine.house import LAST_MINUTE, House

Drain = Callable[[datetime], None]
Accept = Callable[[Chunk], None]
_PATIENCE_S = 600.0  # for one piece on a busy machine: nobody waits for an answer meanwhile


class Source(Protocol):
    """Where traffic comes from: the generator, or a trace."""

    def chunks(self, hours: float = 6) -> Iterable[Chunk]:
        """Pieces in order of time."""
        ...


@dataclass(slots=True)
class Progress:
    """How far a replay is."""

    start: datetime
    stop: datetime
    at: datetime
    calls: int = 0
    spans: int = 0


class Replay:
    """One run over a source of traffic.

    accept: takes a piece in, durably, as its clients would. drain: delivers what is due at an
    instant. ahead: the house's source of counts, which may read as far as traffic was taken in.
    """

    def __init__(
        self,
        house: House,
        clock: ReplayClock,
        ahead: ReadAhead,
        accept: Accept,
        drain: Drain,
        responder: Responder | None,
        progress: Progress,
    ) -> None:
        self._house = house
        self._clock = clock
        self._ahead = ahead
        self._accept = accept
        self._drain = drain
        self._responder = responder
        self.progress = progress

    def run(self, source: Source, advanced: Callable[[Progress], None], hours: float = 6) -> None:
        """Everything in `source`; `advanced` is called as the clock moves on."""
        # While one piece is judged the next is taken in: judging is Python, loading is the engine.
        with ThreadPoolExecutor(1, thread_name_prefix="replay-load") as loading:
            pieces = iter(source.chunks(hours))
            coming = loading.submit(self._load, pieces)
            while (chunk := coming.result()) is not None:
                coming = loading.submit(self._load, pieces)
                self.progress.calls += chunk.calls
                self.progress.spans += chunk.spans
                self._ahead.extend(chunk.stop)
                self._judge(chunk, advanced)
        self._house.state.set_meta(LAST_MINUTE, self._house.standing.minute)

    def _load(self, pieces: Iterator[Chunk]) -> Chunk | None:
        chunk = next(pieces, None)
        if chunk is not None:
            self._accept(chunk)
            self._house.telemetry.flush(_PATIENCE_S)
        return chunk

    def _judge(self, chunk: Chunk, advanced: Callable[[Progress], None]) -> None:
        for minute in range(chunk.start, chunk.stop):
            now = from_minute(minute + 1) + self._house.lateness
            self._clock.set(now)
            self._house.tick(now)
            self._deliver(now)
            if minute % 60 == 59 or minute + 1 == chunk.stop:
                self.progress.at = now
                advanced(self.progress)

    def _deliver(self, now: datetime) -> None:
        due = self._house.state.next_due()
        if due is not None and due <= now:
            self._drain(now)
        if self._responder is not None:
            self._responder.look(now)
