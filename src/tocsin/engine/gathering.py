"""Finding things out in a thread that nobody depends on.

A page is better with evidence and worth nothing when it waits for it. What is asked here runs in
one thread beside everything else; whoever asks waits for a moment only. What is not there by then
goes on being found out and can be fetched later. While the thread is held by a query that does not
come back, nobody waits for it at all, what is asked queues up to a limit, and no second thread is
begun that could get stuck the same way. The thread is a daemon: it does not keep a process alive.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from tocsin.domain.clock import monotonic_s
from tocsin.domain.errors import TocsinError

log = structlog.get_logger(__name__)

MOST_WAITING = 64
MOST_LATE = 256


@dataclass(frozen=True, slots=True)
class Part:
    """Something to find out. find: returns evidence by name; runs in another thread. patience_s:
    how long the page waits for it after what comes before it."""

    name: str
    find: Callable[[], Mapping[str, Any]]
    patience_s: float


@dataclass(slots=True)
class _Errand:
    about: str
    parts: Sequence[Part]
    found: dict[str, Any] = field(default_factory=dict)
    done: int = 0

    @property
    def is_done(self) -> bool:
        """Whether everything is."""
        return self.done == len(self.parts)

    def has(self, number: int) -> bool:
        """Whether the part of this number, from 0, is there."""
        return self.done > number


class Gatherer:
    """One thread that finds things out, and those who ask it. Threads may share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Errand] = deque()
        self._under_way: _Errand | None = None
        self._late: OrderedDict[str, _Errand] = OrderedDict()
        self._thread: threading.Thread | None = None

    def gather(
        self, about: str, parts: Sequence[Part], until_s: float
    ) -> tuple[dict[str, Any], list[str]]:
        """What could be found out about something, and the names of parts that were not in time.

        until_s: the instant (`monotonic_s`) after which nothing is waited for. Part by part in this
        order; behind one that is late nothing is waited for.
        """
        names = [part.name for part in parts]
        with self._changed:
            self._late.pop(about, None)
            is_held = self._under_way is not None or bool(self._waiting)
            if len(self._waiting) >= MOST_WAITING:
                return {}, names
            errand = _Errand(about, parts)
            self._waiting.append(errand)
            self._begin()
            self._changed.notify_all()
            for number, part in enumerate(() if is_held else parts):
                left_s = min(part.patience_s, until_s - monotonic_s())
                if not self._changed.wait_for(partial(errand.has, number), max(left_s, 0.0)):
                    break
            if not errand.is_done:
                self._late[about] = errand
                while len(self._late) > MOST_LATE:
                    self._late.popitem(last=False)
            return dict(errand.found), names[errand.done :]

    def late(self, about: str) -> dict[str, Any] | None:
        """What was found out after nobody waited any more; None while it is not complete."""
        with self._changed:
            errand = self._late.get(about)
            return dict(errand.found) if errand is not None and errand.is_done else None

    def _begin(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="evidence", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._under_way = None
                self._changed.wait_for(lambda: bool(self._waiting))
                errand = self._under_way = self._waiting.popleft()
            for part in errand.parts:
                found = _found(part, errand.about)
                with self._changed:
                    errand.found |= found
                    errand.done += 1
                    self._changed.notify_all()


def _found(part: Part, about: str) -> Mapping[str, Any]:
    """What a part finds; evidence that cannot be had is left out, with a line in the log."""
    try:
        return part.find()
    except TocsinError as error:
        log.warning("evidence_incomplete", part=part.name, about=about, error=str(error))
    except Exception:  # worker loop: one part does not keep the others from being found out
        log.exception("evidence_failed", part=part.name, about=about)
    return {}
