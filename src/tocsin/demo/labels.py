"""What a run of the demo caught, missed and cried wolf about: found incidents against the labels.

Definitions, which the demo prints figures of and nothing else:

    caught    A real label that expects a page or a channel message is caught when an incident that
              touches one of its services opened within [start, end + 15 min] and was, at its most
              urgent, at least as urgent as expected. Of an incident over several services (one
              provider, many callers) any one of the label's services counts.
    first     Of several incidents that catch a label, the one whose message left first.
    seconds   From the label's start to the first message of the incident that caught it;
              `seconds_to_page` is over caught labels that expect a page, to the first page.
    false     A page is false when no real label of a service it touches lies near: none whose
              [start, end + 15 min] overlaps [opened - 5 min, paged]. What a page about a harmless
              event was fooled by is named in the detail.

An incident that opened before a label began never catches it, even if it was still open; the
detail says when that is why a label was missed. Labels that begin after the run ended do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.demo.script import Label

AFTER = timedelta(minutes=15)
BEFORE = timedelta(minutes=5)

TIERS = {"page": 1, "channel": 2, "digest": 3}
_TIER_NAMES = {tier: name for name, tier in TIERS.items()}


@dataclass(frozen=True, slots=True)
class Found:
    """An incident of the run.

    services: all it touches. tier: the most urgent it ever had (1 page, 2 channel, 3 digest).
    first_message, first_page: when the first notification, and the first page, was sent; None if
    none was. title, signal: for the detail.
    """

    id: str
    services: frozenset[str]
    opened: datetime
    tier: int
    first_message: datetime | None = None
    first_page: datetime | None = None
    title: str = ""
    signal: str = ""


@dataclass(frozen=True, slots=True)
class Messages:
    """What was sent, and what was not sent because it was grouped, digested or inhibited."""

    sent: int = 0
    grouped: int = 0
    digested: int = 0
    inhibited: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One label and what became of it.

    incident: the incident that caught it, or "". seconds: to its first message, None without one.
    actual: page, channel, digest or none. reason: why it counts as missed, or what a harmless event
    set off.
    """

    label: Label
    caught: bool
    incident: str
    seconds: float | None
    actual: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FalsePage:
    """A page nobody should have got, and why it counts as one."""

    incident: Found
    reason: str


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The result: `summary` is what demo-summary.json holds, the rest is for people."""

    summary: dict[str, Any]
    outcomes: tuple[Outcome, ...]
    false_pages: tuple[FalsePage, ...]


def score(
    found: Sequence[Found],
    labels: Sequence[Label],
    *,
    calls: int,
    services: int,
    messages: Messages,
    until: datetime,
) -> Scorecard:
    """Hold the incidents of a run that lasted until `until` against its labels."""
    due = [label for label in labels if label.start < until]
    outcomes = tuple(_outcome(label, found) for label in due)
    wanted = [o for o in outcomes if _is_wanted(o.label)]
    paged = [f for f in found if f.first_page is not None]
    false_pages = tuple(
        FalsePage(incident, _why_false(incident, due))
        for incident in sorted(paged, key=_page_time)
        if not any(_justifies(label, incident) for label in due)
    )
    paged_after = [_seconds_to_page(o, found) for o in wanted]
    seconds = sorted(s for s in paged_after if s is not None)
    summary = {
        "calls": calls,
        "services": services,
        "incidents": {
            "labelled": len(wanted),
            "caught": sum(o.caught for o in wanted),
            "missed": [o.label.id for o in wanted if not o.caught],
            "seconds_to_page": {"p50": _median(seconds), "max": max(seconds, default=None)},
        },
        "pages": {"sent": len(paged), "false": len(false_pages)},
        "messages": {
            "sent": messages.sent,
            "grouped": messages.grouped,
            "digested": messages.digested,
            "inhibited": messages.inhibited,
        },
    }
    return Scorecard(summary, outcomes, false_pages)


# --------------------------------------------------------------------------------------------


def _is_wanted(label: Label) -> bool:
    return label.real and label.expect in ("page", "channel")


def _touches(label: Label, incident: Found) -> bool:
    return not incident.services.isdisjoint(label.services)


def _opened_during(label: Label, incident: Found) -> bool:
    return label.start <= incident.opened <= label.end + AFTER


def _outcome(label: Label, found: Sequence[Found]) -> Outcome:
    near = [f for f in found if _touches(label, f) and _opened_during(label, f)]
    loudest = min((f.tier for f in near), default=None)
    actual = _TIER_NAMES.get(loudest, "none") if loudest is not None else "none"
    if not label.real:
        stirred = min(near, key=lambda f: (f.tier, f.opened), default=None)
        reason = f"set off {stirred.id} ({actual})" if stirred else ""
        return Outcome(label, False, "", None, actual, reason)
    limit = TIERS.get(label.expect, 3)
    enough = [f for f in near if f.tier <= limit]
    if not enough:
        return Outcome(label, False, "", None, actual, _why_missed(label, near, found))
    best = min(enough, key=_told)
    seconds = (best.first_message - label.start).total_seconds() if best.first_message else None
    return Outcome(label, True, best.id, seconds, actual)


def _told(incident: Found) -> tuple[bool, datetime]:
    """Sorts by who was told first; incidents nobody was told about come last."""
    told = incident.first_message
    return (told is None, told or incident.opened)


def _why_missed(label: Label, near: Sequence[Found], found: Sequence[Found]) -> str:
    if near:
        quiet = min(near, key=lambda f: (f.tier, f.opened))
        return f"{quiet.id} was only {_TIER_NAMES.get(quiet.tier, 'recorded')}, not {label.expect}"
    earlier = [
        f for f in found if _touches(label, f) and f.opened < label.start and f.tier <= 2
    ]  # fmt: skip
    if earlier and label.start - max(f.opened for f in earlier) < timedelta(hours=2):
        last = max(earlier, key=lambda f: f.opened)
        return f"no incident opened; {last.id} had opened shortly before it began"
    return "no incident opened"


def _page_time(incident: Found) -> datetime:
    return incident.first_page or incident.opened


def _justifies(label: Label, incident: Found) -> bool:
    return (
        label.real
        and _touches(label, incident)
        and label.start <= _page_time(incident)
        and label.end + AFTER >= incident.opened - BEFORE
    )


def _why_false(incident: Found, labels: Sequence[Label]) -> str:
    services = ", ".join(sorted(incident.services))
    for label in labels:
        near = label.start <= _page_time(incident) and incident.opened - BEFORE <= label.end + AFTER
        if not label.real and near and _touches(label, incident):
            return f"fooled by {label.id} ({label.kind}): {label.explanation}"
    return f"nothing was wrong with {services} at the time"


def _seconds_to_page(outcome: Outcome, found: Sequence[Found]) -> float | None:
    """To the first page about a caught label that expects one; pages by any incident near it."""
    label = outcome.label
    if not outcome.caught or label.expect != "page":
        return None
    pages = [
        f.first_page
        for f in found
        if f.first_page is not None and _touches(label, f) and _opened_during(label, f)
    ]
    return (min(pages) - label.start).total_seconds() if pages else None


def _median(values: Sequence[float]) -> float | None:
    """The middle value, or the mean of the two in the middle; None of nothing."""
    if not values:
        return None
    middle = len(values) // 2
    if len(values) % 2:
        return float(values[middle])
    return float(values[middle - 1] + values[middle]) / 2
