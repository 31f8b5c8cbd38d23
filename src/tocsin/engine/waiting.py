"""Alerts of others that are understood and wait: which go first, and which come too late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tocsin.intake.alerts.incoming import Incoming
from tocsin.store.inbox import Letter

# How many alerts are taken in one transaction: the more that wait, the more.
AT_ONCE, MOST_AT_ONCE = 1_000, 2_000
OLDEST = 0.25  # the part of them that is the oldest; the rest is about the same


@dataclass(frozen=True, slots=True)
class Sender:
    """Who told something, and what holds where it does not say: of which service, which labels."""

    name: str
    service: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Labelled:
    """An alert with its labels, the fingerprints it may go by, and whether it asks for a page."""

    one: Incoming
    labels: Mapping[str, str]
    keys: tuple[str, ...]
    is_page: bool


@dataclass(frozen=True, slots=True)
class Understood:
    """What somebody told at once.

    letter: how it came, unless somebody was asked. groups: of incidents that its alerts probably
    belong to. is_page: whether somebody may have to be woken. keys: of all its alerts.
    """

    sender: Sender
    at: datetime
    alerts: tuple[Labelled, ...]
    letter: Letter | None = None
    faults: Sequence[str] = ()
    groups: frozenset[tuple[str, ...]] = frozenset()
    is_page: bool = field(init=False)
    keys: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_page", any(each.is_page for each in self.alerts))
        keys = frozenset(key for each in self.alerts for key in each.keys)
        object.__setattr__(self, "keys", keys)

    @property
    def id(self) -> int:
        """Of its letter, 0 without one."""
        return 0 if self.letter is None else self.letter.id


@dataclass(slots=True)
class Reading:
    """How far the inbox was read. held, seen: the last letter that is held, or was looked at for
    pages. early: letters that were taken before their turn."""

    held: int = 0
    seen: int = 0
    early: set[int] = field(default_factory=set)


def next_ones(waiting: Sequence[Understood]) -> tuple[list[Understood], list[Understood]]:
    """What to take now, and what then still waits, both in the order they came.

    A page goes before everything else, with what came earlier about the same alerts: what is told
    of one alert keeps its order. Otherwise the oldest go first, more of them the more there are,
    and with them what waits about the same groups: a group is decided about whole, so that ten
    requests about it at once cost little more than one.
    """
    urgent: set[int] = set()
    keys: set[str] = set()
    for place in range(len(waiting) - 1, -1, -1):
        each = waiting[place]
        if each.is_page or not keys.isdisjoint(each.keys):
            urgent.add(place)
            keys |= each.keys
    if not urgent:
        urgent = _together(waiting)
    taken = [each for place, each in enumerate(waiting) if place in urgent]
    return taken, [each for place, each in enumerate(waiting) if place not in urgent]


def _together(waiting: Sequence[Understood]) -> set[int]:
    """The places of the oldest, and of what came later about nothing but their groups."""
    total = sum(len(each.alerts) for each in waiting)
    wanted, count = min(max(AT_ONCE, total // 4), MOST_AT_ONCE), 0
    groups: set[tuple[str, ...]] = set()
    passed: set[str] = set()  # what waits about these must not be overtaken
    taken: set[int] = set()
    for place, each in enumerate(waiting):
        is_old = count < wanted * OLDEST
        if is_old or (each.groups <= groups and passed.isdisjoint(each.keys)):
            taken.add(place)
            count += len(each.alerts)
            groups |= each.groups
        else:
            passed |= each.keys
        if count >= wanted:
            return taken
    for place, each in enumerate(waiting):  # not as many are about the same: the oldest again
        if count < wanted and place not in taken:
            taken.add(place)
            count += len(each.alerts)
    return taken
