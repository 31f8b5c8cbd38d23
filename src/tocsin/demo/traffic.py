"""Two weeks of traffic of six services, then on in real time: the stand-in for the world.

    traffic = Traffic(seed=7, start=midnight_14_days_ago, days=14)
    for chunk in traffic.chunks(hours=6): ...     # the replay
    traffic.live(now)                              # what ended since, minute by minute

The same seed gives the same calls, bit for bit, however they are cut into chunks: every service and
hour has a random stream of its own. What a session begun in an hour still does later is kept until
it ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np

from tocsin.demo.calls import Provider, Stage
from tocsin.demo.conventions import FLEET_SHAPES
from tocsin.demo.encode import Encoder
from tocsin.demo.fleet import FLEET, PROVIDERS, Service
from tocsin.demo.script import Label, Screenplay, Script, Step, load
from tocsin.demo.spans import LLM, MINUTE_NS, SCORE, SPAN, Chunk, Names, Rows
from tocsin.domain.clock import from_minute, iso, to_minute


class Traffic:
    """The generator. It only moves forward: `chunks` first, then `live` as often as wanted.

    start: aware, a whole minute; UTC midnight, if the script's nights are to be nights. days:
    length of the replay, fractions allowed. scale: multiplies the number of calls. script: what
    happens; the one of the package by default, which wants the whole fleet.
    """

    def __init__(
        self,
        seed: int,
        start: datetime,
        days: float = 14,
        scale: float = 1.0,
        script: Screenplay | None = None,
        fleet: Sequence[Service] = FLEET,
    ) -> None:
        self.start_minute = to_minute(start)
        self.stop_minute = self.start_minute + round(days * 1440)
        start = from_minute(self.start_minute)
        names = [service.name for service in fleet]
        screenplay = script if script is not None else load(services=names)
        self.script: Script = screenplay.bind(start, self.stop_minute - self.start_minute)
        self.services: tuple[str, ...] = tuple(names)
        self.names = Names()
        self._stages = _stages(fleet, self.names, self.script, start, scale, seed)
        self._encoder = Encoder(self.names, FLEET_SHAPES)
        self._spans: Rows = np.zeros(0, SPAN)
        self._scores: Rows = np.zeros(0, SCORE)
        self._hours = 0
        self._position = self.start_minute

    @property
    def labels(self) -> tuple[Label, ...]:
        """The answer sheet of this run."""
        return self.script.labels

    @property
    def position(self) -> int:
        """The first epoch minute that was not handed out yet."""
        return self._position

    def chunks(self, hours: float = 6) -> Iterator[Chunk]:
        """The replay in pieces of `hours`, from where it stands to its end."""
        while self._position < self.stop_minute:
            yield self._advance(min(self._position + round(hours * 60), self.stop_minute))

    def live(self, now: datetime) -> Chunk:
        """Everything that ended in the whole minutes since the last piece, up to `now`."""
        return self._advance(max(to_minute(now), self._position))

    def rows(self, hours: float = 6) -> Iterator[tuple[Rows, Rows]]:
        """As `chunks`, but spans and scores as columns, for those who want to look at them."""
        while self._position < self.stop_minute:
            yield self._move(min(self._position + round(hours * 60), self.stop_minute))

    def _advance(self, stop: int) -> Chunk:
        start = self._position
        spans, scores = self._move(stop)
        return Chunk(
            start, stop,
            bodies=self._encoder.bodies(spans),
            scores=self._score_lines(scores),
            changes=self._change_lines(start, stop),
            calls=int(np.count_nonzero(spans["kind"] == LLM)),
            spans=spans.size,
        )  # fmt: skip

    def _move(self, stop: int) -> tuple[Rows, Rows]:
        """Spans that ended and scores that arrived before epoch minute `stop`, oldest first."""
        while self.start_minute + self._hours * 60 < stop:
            made = [stage.hour(self._hours) for stage in self._stages]
            self._spans = np.concatenate([self._spans, *(spans for spans, _ in made)])
            self._scores = np.concatenate([self._scores, *(scores for _, scores in made)])
            self._hours += 1
        spans, self._spans = _split(self._spans, "end", stop * MINUTE_NS)
        scores, self._scores = _split(self._scores, "ts", stop * MINUTE_NS)
        self._position = stop
        return spans, scores

    def _score_lines(self, scores: Rows) -> bytes:
        lines = [
            f'{{"ts":"{_stamp(ts)}","service":"{self.names.services[service]}",'
            f'"call_id":"{bytes(span).hex()}","trace_id":"{bytes(trace).hex()}",'
            f'"name":"feedback","value":{int(value)},"source":"user"}}\n'
            for ts, service, trace, span, value in scores.tolist()
        ]
        return "".join(lines).encode()

    def _change_lines(self, start: int, stop: int) -> bytes:
        lines = [
            _change_line(self.start_minute + at, step)
            for at, step in self.script.steps
            if start <= self.start_minute + at < stop
        ]
        return "".join(lines).encode()


def _stages(
    fleet: Sequence[Service],
    names: Names,
    script: Script,
    start: datetime,
    scale: float,
    seed: int,
) -> list[Stage]:
    providers = {
        name: Provider.of(np.random.default_rng((seed, 1, number)))
        for number, name in enumerate(sorted(set(PROVIDERS.values())))
    }
    return [
        Stage(
            service, names, script, providers[PROVIDERS[service.model]],
            start=start, scale=scale, seed=(seed, 2, number),
        )
        for number, service in enumerate(fleet)
    ]  # fmt: skip


def _split(rows: Rows, column: str, before: int) -> tuple[Rows, Rows]:
    """Rows whose `column` is before an instant, in its order; and the rest."""
    due = rows[column] < before
    ready = rows[due]
    return ready[np.argsort(ready[column], kind="stable")], rows[~due]


def _stamp(ns: int) -> str:
    instant = from_minute(ns // MINUTE_NS)
    return iso(instant + timedelta(microseconds=ns % MINUTE_NS // 1000))


def _change_line(minute: int, step: Step) -> str:
    row = {
        "ts": iso(from_minute(minute)),
        "service": step.service,
        "kind": step.kind,
        "title": step.title,
        "labels": dict(step.labels),
    }
    return json.dumps(row) + "\n"
