"""Which slice of the traffic explains most of a rise in bad calls.

Request-level risk ratio: a slice matters as far as its calls fail more often than the others and as
far as it holds a good part of all failures. Rank = support x ln(risk ratio), support at least a
fifth. Real slices hold a handful of requests, which is why leaf-by-leaf methods collapse on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

MIN_SUPPORT = 0.2
MIN_RATIO = 2.0


@dataclass(frozen=True, slots=True)
class SliceCounts:
    """Calls with one value of one dimension, and how many of them were bad."""

    dimension: str
    value: str
    bad: int
    total: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """A slice that explains a breach. support: its share of all bad calls. ratio: how many times
    as often its calls are bad as all others'; infinite when no other call was bad."""

    slice: SliceCounts
    support: float
    ratio: float


def suspects(
    slices: Iterable[SliceCounts], bad: int, total: int, *, most: int = 3
) -> tuple[Suspect, ...]:
    """The slices that explain the `bad` of `total` calls, the best first.

    A dimension of which one value holds every call explains nothing. Half a call is added to each
    cell, so that empty ones do not divide by zero and tiny slices do not win.
    """
    found = []
    for part in slices:
        rest, rest_bad = total - part.total, bad - part.bad
        if bad <= 0 or rest <= 0 or part.bad / bad < MIN_SUPPORT:
            continue
        inside = (part.bad + 0.5) / (part.total + 1.0)
        outside = (rest_bad + 0.5) / (rest + 1.0)
        if inside / outside < MIN_RATIO:
            continue
        ratio = math.inf if rest_bad == 0 else (part.bad / part.total) / (rest_bad / rest)
        rank = part.bad / bad * math.log(inside / outside)
        found.append((rank, Suspect(part, part.bad / bad, ratio)))
    found.sort(key=lambda entry: (-entry[0], entry[1].slice.dimension, entry[1].slice.value))
    return tuple(suspect for _, suspect in found[:most])
