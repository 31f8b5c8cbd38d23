"""The labelled script: what happens to the demo's services, read from a file.

`load` checks the text, `bind` puts its times on the calendar of one run. The generator asks the
bound script what acts on a call; the scoring in `tocsin.demo.labels` asks it for the labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from tocsin.demo.spans import Floats, trapezoid
from tocsin.domain.calls import ERROR_CLASSES
from tocsin.domain.clock import from_minute, to_minute
from tocsin.domain.errors import Problem, SpecError
from tocsin.spec import yaml

EXPECTATIONS = ("page", "channel", "digest", "none")
SETTABLE = ("release", "prompt", "model")

_LIMITS = ("tenant", "region", "model", "release", "prompt")
_FACTORS = ("pace", "ttft", "calls", "mix", "input", "output", "turns")
_SHARES = ("errors", "truncated", "negative", "share")
_FLAGS = ("silent", "lost")
_DURATIONS = ("ramp", "fade")
_EFFECT_KEYS = {
    "services", "as", "batch", "retrieval",
    *_LIMITS, *_FACTORS, *_SHARES, *_FLAGS, *_DURATIONS,
}  # fmt: skip
_CHANGE_KEYS = {"at", "service", "kind", "title", "over", "sets", "labels"}
_EVENT_KEYS = {
    "id", "kind", "services", "at", "lasts", "real", "expect", "why", "effects", "changes",
}  # fmt: skip
_BATCH_KEYS = {"calls_per_minute", "input", "output"}
_RETRIEVAL_KEYS = {"failing", "empty", "pace"}

_AT = re.compile(r"d(\d+) (\d\d):([0-5]\d)")
_LIVE = re.compile(r"live \+(\S+)")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")


@dataclass(frozen=True, slots=True)
class Moment:
    """Minutes after the start of the replay, or after its end when `live`."""

    minutes: int
    live: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event does to calls, between its start and its end.

    limits: what a call must have (tenant, region, model, release, prompt). factors: multipliers of
    pace, ttft, calls, mix (sessions of the tenant), input, output, turns. shares: probabilities
    of errors, truncated, negative (a thumb points down), and share (of sessions touched). batch:
    extra calls of the tenant. retrieval: failing, empty, pace. ramp, fade: minutes.
    """

    services: tuple[str, ...]
    start: float = 0.0
    stop: float = 0.0
    ramp: float = 0.0
    fade: float = 0.0
    limits: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    error_kind: str = "server"
    silent: bool = False
    lost: bool = False
    batch: Mapping[str, float] = field(default_factory=dict)
    retrieval: Mapping[str, float] = field(default_factory=dict)

    def strength(self, minute: Floats) -> Floats:
        """How strongly it acts (0..1) at each minute after the start of the replay."""
        return trapezoid(minute, self.start, self.stop, self.ramp, self.fade)

    def touches(self, first: float, last: float) -> bool:
        """Whether it acts at all between two minutes after the start of the replay."""
        return self.start < last and self.stop + self.fade > first


@dataclass(frozen=True, slots=True)
class Step:
    """A change somebody announced. `sets` moves sessions over within `over` minutes."""

    at: Moment
    service: str
    kind: str
    title: str
    over: float = 0.0
    sets: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the script."""

    id: str
    kind: str
    services: tuple[str, ...]
    at: Moment
    lasts: int
    real: bool
    expect: str
    why: str
    effects: tuple[Effect, ...] = ()
    changes: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """What really happened: the answer sheet against which a run is scored.

    real: whether somebody should have been told. expect: the least urgent tier that is right.
    live: whether it belongs to the time after the replay.
    """

    id: str
    kind: str
    services: tuple[str, ...]
    start: datetime
    end: datetime
    real: bool
    expect: str
    explanation: str
    live: bool = False


@dataclass(frozen=True)
class Script:
    """The script on the calendar of one run. Minutes count from `start`."""

    start: datetime
    replay_minutes: int
    labels: tuple[Label, ...]
    effects: tuple[Effect, ...]
    steps: tuple[tuple[int, Step], ...]

    def acting(self, service: str, first: float, last: float) -> list[Effect]:
        """The effects on `service` between two minutes, in script order."""
        return [e for e in self.effects if service in e.services and e.touches(first, last)]


@dataclass(frozen=True)
class Screenplay:
    """The script as it is written, before a run gives it dates."""

    events: tuple[Event, ...]

    def bind(self, start: datetime, replay_minutes: int) -> Script:
        """Dates for everything. Day 0 begins at `start`, live time `replay_minutes` later."""

        def minute(moment: Moment) -> int:
            return moment.minutes + (replay_minutes if moment.live else 0)

        labels, effects, steps = [], [], []
        for event in self.events:
            first = minute(event.at)
            labels.append(_label(event, start, first))
            effects += [
                Effect(**{**_fields(e), "start": first, "stop": first + event.lasts})
                for e in event.effects
            ]
            steps += [(minute(step.at), step) for step in event.changes]
        steps.sort(key=lambda item: item[0])
        return Script(start, replay_minutes, tuple(labels), tuple(effects), tuple(steps))


def load(path: Path | None = None, *, services: Iterable[str] = ()) -> Screenplay:
    """The script in `path`, or the one that comes with the package.

    services: the known ones; any are accepted when empty. SpecError lists every fault.
    """
    if path is None:
        text = resources.files("tocsin.demo").joinpath("script.yaml").read_text("utf-8")
        documents, problems = yaml.parse(text, "script.yaml")
    else:
        documents, problems = yaml.read([path])
    events: list[Event] = []
    known = frozenset(services)
    for document in documents:
        reader = _Reader(document, known, problems)
        events += reader.events()
    if not problems and not events:
        problems.append(Problem(str(path or "script.yaml"), 0, "events", "holds no events"))
    if problems:
        raise SpecError(problems)
    return Screenplay(tuple(events))


# --------------------------------------------------------------------------------------------


def _fields(effect: Effect) -> dict[str, Any]:
    return {name: getattr(effect, name) for name in Effect.__slots__}


def _label(event: Event, start: datetime, first: int) -> Label:
    zero = to_minute(start)
    return Label(
        event.id, event.kind, event.services, from_minute(zero + first),
        from_minute(zero + first + event.lasts), event.real, event.expect, event.why,
        event.at.live,
    )  # fmt: skip


class _Wrong(Exception):
    """One value of the script cannot be used."""


class _Reader:
    """Turns one document into events; collects problems instead of stopping."""

    def __init__(
        self, document: yaml.Located, services: frozenset[str], problems: list[Problem]
    ) -> None:
        self._document = document
        self._services = services
        self._problems = problems
        self._ids: set[str] = set()

    def events(self) -> list[Event]:
        data = self._document.data
        entries = data.get("events") if isinstance(data, dict) else None
        if not isinstance(entries, list):
            self._fault((), "must hold a list under `events`")
            return []
        found = [self._guarded(("events", i), entry) for i, entry in enumerate(entries)]
        return [event for event in found if event is not None]

    def _fault(self, place: yaml.Place, message: str, fix: str = "") -> None:
        self._problems.append(self._document.problem(place, message, fix))

    def _guarded(self, place: yaml.Place, entry: Any) -> Event | None:
        try:
            return self._event(place, entry)
        except _Wrong as wrong:
            self._fault(place, str(wrong))
            return None

    def _event(self, place: yaml.Place, entry: Any) -> Event:
        _check_keys(entry, _EVENT_KEYS, ("id", "kind", "services", "at", "lasts", "real", "expect"))
        name = str(entry["id"])
        if name in self._ids:
            raise _Wrong(f"the id {name!r} is given twice")
        self._ids.add(name)
        if entry["expect"] not in EXPECTATIONS:
            raise _Wrong(f"expect is {entry['expect']!r}; use {', '.join(EXPECTATIONS)}")
        if not isinstance(entry["real"], bool):
            raise _Wrong("real must be true or false")
        services = self._named(entry["services"])
        return Event(
            name, str(entry["kind"]), services, _moment(entry["at"]), _minutes(entry["lasts"]),
            entry["real"], entry["expect"], str(entry.get("why", "")),
            tuple(self._effect(e, services) for e in _list(entry, "effects")),
            tuple(self._step(s) for s in _list(entry, "changes")),
        )  # fmt: skip

    def _named(self, value: Any) -> tuple[str, ...]:
        names = tuple(str(v) for v in value) if isinstance(value, list) else (str(value),)
        unknown = [n for n in names if self._services and n not in self._services]
        if unknown:
            raise _Wrong(
                f"unknown service {unknown[0]!r}; known: {', '.join(sorted(self._services))}"
            )
        return names

    def _effect(self, entry: Any, services: tuple[str, ...]) -> Effect:
        _check_keys(entry, _EFFECT_KEYS, ())
        kind = str(entry.get("as", "server"))
        if kind not in ERROR_CLASSES:
            raise _Wrong(f"`as` is {kind!r}; use one of {', '.join(ERROR_CLASSES)}")
        shares = _numbers(entry, _SHARES)
        if any(not 0 <= value <= 1 for value in shares.values()):
            raise _Wrong("a share lies between 0 and 1")
        batch, retrieval = entry.get("batch", {}), entry.get("retrieval", {})
        _check_keys(batch, _BATCH_KEYS, _BATCH_KEYS if batch else ())
        _check_keys(retrieval, _RETRIEVAL_KEYS, ())
        return Effect(
            self._named(entry["services"]) if "services" in entry else services,
            ramp=_minutes(entry.get("ramp", "0m")),
            fade=_minutes(entry.get("fade", "0m")),
            limits={k: str(entry[k]) for k in _LIMITS if k in entry},
            factors=_numbers(entry, _FACTORS),
            shares=shares,
            error_kind=kind,
            silent=entry.get("silent") is True,
            lost=entry.get("lost") is True,
            batch=_numbers(batch, _BATCH_KEYS),
            retrieval=_numbers(retrieval, _RETRIEVAL_KEYS),
        )

    def _step(self, entry: Any) -> Step:
        _check_keys(entry, _CHANGE_KEYS, ("at", "service", "kind", "title"))
        sets = {str(k): str(v) for k, v in entry.get("sets", {}).items()}
        if unknown := set(sets) - set(SETTABLE):
            raise _Wrong(f"sets {unknown.pop()!r}; only {', '.join(SETTABLE)} can be set")
        return Step(
            _moment(entry["at"]), self._named(entry["service"])[0], str(entry["kind"]),
            str(entry["title"]), _minutes(entry.get("over", "0m")), sets,
            {str(k): str(v) for k, v in entry.get("labels", {}).items()},
        )  # fmt: skip


def _check_keys(entry: Any, known: Iterable[str], needed: Iterable[str]) -> None:
    if not isinstance(entry, Mapping):
        raise _Wrong(f"{entry!r} must be a mapping")
    if unknown := set(entry) - set(known):
        raise _Wrong(f"unknown key {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
    if missing := [key for key in needed if key not in entry]:
        raise _Wrong(f"{missing[0]} is missing")


def _list(entry: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise _Wrong(f"{key} must be a list")
    return value


def _numbers(entry: Mapping[str, Any], keys: Iterable[str]) -> dict[str, float]:
    found = {}
    for key in keys:
        if key in entry:
            value = entry[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise _Wrong(f"{key} is {value!r}; it must be a number of at least 0")
            found[key] = float(value)
    return found


def _moment(text: Any) -> Moment:
    if match := _AT.fullmatch(str(text)):
        day, hour, minute = (int(g) for g in match.groups())
        if hour < 24:
            return Moment(day * 1440 + hour * 60 + minute)
    if match := _LIVE.fullmatch(str(text)):
        return Moment(_minutes(match.group(1)), live=True)
    raise _Wrong(f"at is {text!r}; write d<day> <hh:mm>, for example d3 10:12, or live +12m")


def _minutes(text: Any) -> int:
    match = _DURATION.fullmatch(str(text))
    if not match or not str(text):
        raise _Wrong(f"{text!r} is not a duration; write for example 45m, 6h or 1h5m")
    days, hours, minutes = (int(g or 0) for g in match.groups())
    return days * 1440 + hours * 60 + minutes
