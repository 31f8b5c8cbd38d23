"""What paging came to: how fast, how often rightly, for whom, at what hours; what to change.

Everything is counted over incidents that told somebody. A verdict is what a responder said of one;
the last one counts. An incident without a verdict is unjudged, never right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from tocsin.domain.precision import Precision, precision

NIGHT = (22, 7)  # off-hours: from 22:00 to 7:00, and at weekends
# A rule is proposed for a change once it is certain that fewer of its pages are worth one.
WORTH = 0.5
# Names of what is proposed: read after everything else, and where retired rules go.
LEARNED, RETIRED = "zz-learned-from-verdicts", "retired-rules"
_UNWANTED = ("false", "duplicate", "noise")
_DECIDED = ("tier", "paging")  # labels that a decision set, not the monitor


@dataclass(frozen=True, slots=True)
class Response:
    """One incident that told somebody.

    rule: the monitor that speaks for it. began: the first minute that breached. told: when the
    first message was taken. answered: when a person acknowledged, and who. people: whom the
    escalation called by name. verdict: real | false | duplicate | noise, "" while unjudged.
    labels: the incident's.
    """

    incident: str
    rule: str
    service: str
    tier: int
    began: datetime
    opened: datetime
    told: datetime
    answered: datetime | None = None
    answered_by: str = ""
    resolved: datetime | None = None
    people: tuple[str, ...] = ()
    verdict: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, in seconds. count: of how many it is known; null when of none."""

    count: int
    mean_s: float | None
    median_s: float | None
    longest_s: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """The pages of one rule, or to one person. unwanted: false, duplicate or noise."""

    name: str
    pages: int
    off_hours: int
    answered: int
    unwanted: int
    precision: Precision
    to_answer: Times


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule that pages people for what is not worth it. what: change (to a ticket) or retire.

    alert: the labels of an alert of it that pages.
    """

    rule: str
    what: str
    why: str
    alert: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Figures:
    """What paging came to in [since, until). Pages are incidents of tier 1.

    to_detect: from the first minute that breached to the first message; what no monitor saw is not
    in it. to_answer: from the first message to an acknowledgement. to_resolve: from the opening to
    the end. unanswered: pages that nobody acknowledged.
    """

    since: datetime
    until: datetime
    time_zone: str
    incidents: int
    pages: int
    off_hours: int
    unanswered: int
    verdicts: Mapping[str, int]
    precision: Precision
    to_detect: Times
    to_answer: Times
    to_resolve: Times
    rules: tuple[Part, ...]
    people: tuple[Part, ...]
    proposals: tuple[Proposal, ...]


def figures(
    responses: Sequence[Response], since: datetime, until: datetime, time_zone: str = "UTC"
) -> Figures:
    """The figures of `responses`; hours are those of `time_zone` (IANA)."""
    zone = ZoneInfo(time_zone)
    pages = [each for each in responses if each.tier == 1]
    rules = _parts(((each.rule, each) for each in pages), zone)
    people = _parts(((name, each) for each in pages for name in each.people), zone)
    return Figures(
        since=since,
        until=until,
        time_zone=time_zone,
        incidents=len(responses),
        pages=len(pages),
        off_hours=sum(is_off_hours(each.told, zone) for each in pages),
        unanswered=sum(each.answered is None for each in pages),
        verdicts=dict(Counter(each.verdict for each in pages if each.verdict)),
        precision=precision(each.verdict for each in pages),
        to_detect=_times(each.told - each.began for each in pages),
        to_answer=_to_answer(pages),
        to_resolve=_times(e.resolved - e.opened for e in pages if e.resolved is not None),
        rules=rules,
        people=people,
        proposals=tuple(_proposals(rules, {each.rule: each for each in pages})),
    )


def is_off_hours(at: datetime, zone: ZoneInfo) -> bool:
    """Whether most people would rather not be called then."""
    local = at.astimezone(zone)
    return local.weekday() >= 5 or not NIGHT[1] <= local.hour < NIGHT[0]


def patch(proposals: Sequence[Proposal], homeless: Collection[str] = ()) -> list[dict[str, Any]]:
    """The proposals as configuration documents: rules that lower the tier, and their tests.

    They are added to what there is; the monitors themselves stay as they are. homeless: rules whose
    alerts no route takes at the lower tier, so that they would go to everybody's fallback; they
    get a route that only shows them.
    """
    if not proposals:
        return []
    classify, tests = [], []
    for each in proposals:
        settings = {"tier": 3, "paging": "never"} if each.what == "retire" else {"tier": 2}
        name = f"{each.what} {each.rule}"
        classify.append(
            {"name": name, "if": {"monitor": each.rule}, "set": settings, "force": True}
        )
        expect = {"tier": settings["tier"]}
        tests.append({"name": name, "alert": dict(each.alert), "expect": expect})
    if not homeless:
        return [_document("Routing", LEARNED, {"classify": classify, "tests": tests})]
    rest = {
        "name": RETIRED, "if": {"monitor": sorted(homeless)}, "receivers": [RETIRED],
    }  # fmt: skip
    spec = {"classify": classify, "routes": [rest], "tests": tests}
    return [_document("Routing", LEARNED, spec), _document("Receiver", RETIRED, {"type": "none"})]


# --- private -----------------------------------------------------------------------------------


def _document(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tocsin/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def _parts(named: Iterable[tuple[str, Response]], zone: ZoneInfo) -> tuple[Part, ...]:
    groups: dict[str, list[Response]] = {}
    for name, each in named:
        groups.setdefault(name, []).append(each)
    parts = [
        Part(
            name=name,
            pages=len(found),
            off_hours=sum(is_off_hours(each.told, zone) for each in found),
            answered=sum(each.answered is not None for each in found),
            unwanted=sum(each.verdict in _UNWANTED for each in found),
            precision=precision(each.verdict for each in found),
            to_answer=_to_answer(found),
        )
        for name, found in groups.items()
    ]
    return tuple(sorted(parts, key=lambda part: (-part.unwanted, -part.pages, part.name)))


def _to_answer(pages: Iterable[Response]) -> Times:
    return _times(each.answered - each.told for each in pages if each.answered is not None)


def _times(spans: Iterable[timedelta]) -> Times:
    seconds = [max(span.total_seconds(), 0.0) for span in spans]
    if not seconds:
        return Times(0, None, None, None)
    return Times(len(seconds), sum(seconds) / len(seconds), median(seconds), max(seconds))


def _proposals(rules: Sequence[Part], latest: Mapping[str, Response]) -> Iterable[Proposal]:
    for part in rules:
        known = part.precision
        if known.high is None or known.high >= WORTH:
            continue
        what = "change" if known.real else "retire"
        why = (
            f"{known.real} of {known.judged} judged pages were real "
            f"(at most {100 * known.high:.0f} % are, with 97.5 % confidence)"
        )
        labels = {k: v for k, v in latest[part.name].labels.items() if k not in _DECIDED}
        alert = {**labels, "monitor": part.name, "severity": "page"}
        yield Proposal(part.name, what, why, alert)
