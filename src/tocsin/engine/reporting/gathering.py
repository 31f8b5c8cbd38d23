"""All facts of a report, read from the stores as they were known at its as-of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from tocsin.domain.clock import from_minute
from tocsin.engine.house import House
from tocsin.engine.reporting import measuring
from tocsin.engine.reporting.asked import Wish
from tocsin.engine.reporting.inquiry import Inquiry
from tocsin.engine.reporting.objectives import Span, restated
from tocsin.engine.reporting.relations import followed
from tocsin.engine.reporting.vendors import contracts
from tocsin.engine.responses import responses
from tocsin.reports.facts import Event, Facts, Part, Quality, Restated, ServiceFacts
from tocsin.reports.report import Input, Version
from tocsin.reports.responses import figures
from tocsin.reports.vendors import Comparison, compare
from tocsin.store.ledger import Head, LedgerEntry, verify
from tocsin.store.rows import from_us

MOST_VERSIONS = 1000
_LEDGER = (
    "gate.decided",
    "config.applied",
    "config.document",
    "deploys.frozen",
    "deploys.released",
)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Facts, and what they were made from."""

    facts: Facts
    configurations: tuple[Version, ...]
    inputs: tuple[Input, ...]


def gather(house: House, wish: Wish, needs: Set[Part]) -> Gathered:
    """What every report says of the period of `wish`, and of the rest the parts in `needs`: each
    reads the period's calls anew. Raises `as_of.NotKnown`."""
    asked = Inquiry.of(house, wish)
    services = tuple(measuring.services(asked, needs))
    told = [
        one for one in responses(house.state, wish.since, wish.as_of)
        if one.opened < wish.until and asked.wants(one.service)
    ]  # fmt: skip
    inputs = tuple(Input(*one) for one in asked.reads.inputs(asked.start, asked.stop))
    quality = _quality(asked, services, sum(one.rows for one in inputs if one.name == "scores"))
    facts = Facts(
        since=wish.since,
        until=wish.until,
        as_of=wish.as_of,
        time_zone=wish.time_zone,
        services=services,
        objectives=asked.objectives,
        responses=tuple(told),
        paging=figures(told, wish.since, wish.until, wish.time_zone),
        quality=quality,
        incomplete=asked.incomplete(),
        rolled_up=_rolled_up(asked, needs),
        **{part: tuple(read(asked)) for part, read in _PARTS.items() if part in needs},
    )
    ledger = Input("ledger", quality.ledger, quality.ledger_head)
    return Gathered(facts, tuple(_versions(asked)), (*inputs, ledger))


def _rolled_up(asked: Inquiry, needs: Set[Part]) -> str:
    """The times that are counted from hours because their calls are gone."""
    then = asked.before.is_rolled_up if "before" in needs else False
    times = [("this period", asked.now.is_rolled_up), ("the period before", then)]
    return " and ".join(words for words, is_rolled_up in times if is_rolled_up)


def _events(asked: Inquiry) -> Sequence[Event]:
    found = list(_happened(asked))
    return sorted(found, key=lambda event: (event.at, event.kind, event.text))


def _happened(asked: Inquiry) -> Iterator[Event]:
    for change in asked.reads.changes(asked.start, asked.stop):
        if not change.service or asked.wants(asked.service(change.service).name):
            at = from_minute(change.at_minute)
            yield Event(at, change.kind, change.service, change.title)
    for entry in asked.house.state.entries_of(_LEDGER, asked.wish.as_of):
        at = from_us(entry.at_us)
        if asked.wish.since <= at < asked.wish.until:
            yield Event(at, entry.kind, entry.subject, entry.reason, entry.actor)


def _restated(asked: Inquiry) -> Iterable[Restated]:
    """What of the period before is known otherwise since its own report, if some of it is held."""
    wish = asked.wish
    known_by = wish.since + (wish.as_of - wish.until)
    before = Span(asked.start - (asked.stop - asked.start), asked.start, known_by)
    first = asked.house.telemetry.reads.first_minute()
    if first is None or first >= before.stop or not asked.monitors:
        return ()
    return restated(asked.house, asked.monitors, before, wish.as_of)


def _compared(asked: Inquiry, *, by_model: bool = False) -> Sequence[Comparison]:
    strands = asked.reads.vendors.strands(asked.start, asked.stop, by_model=by_model)
    return compare([one for one in strands if asked.wants(asked.service(one.workload).name)])


_PARTS: Mapping[Part, Callable[[Inquiry], Iterable[Any]]] = {
    "segments": measuring.segments,
    "scores": measuring.scores,
    "health": measuring.health_scores,
    "events": _events,
    "restated": _restated,
    "providers": _compared,
    "models": lambda asked: _compared(asked, by_model=True),
    "relations": followed,
    "contracts": contracts,
}


# --- the data itself ----------------------------------------------------------------------------


def _quality(asked: Inquiry, services: Sequence[ServiceFacts], judged: int) -> Quality:
    calls = sum(one.now.calls for one in services)
    ledger = _Prefix(asked.house, asked.wish)
    broken = verify(ledger)
    return Quality(
        calls=calls,
        unpriced=calls - sum(one.now.priced for one in services),
        without_usage=calls - sum(one.now.used for one in services),
        scores=judged,
        quarantined=asked.reads.quarantined(asked.start, asked.stop),
        ledger=ledger.last.seq,
        ledger_head=ledger.last.hash,
        ledger_broken=str(broken) if broken else "",
        documents=dict(sorted(Counter(d.kind.name for d in asked.desired.documents).items())),
    )


class _Prefix:
    """The ledger as it stood at the as-of time: all before the first entry that is later."""

    def __init__(self, house: House, wish: Wish) -> None:
        self._state, self._until = house.state, wish.as_of
        self.last = Head()

    def __iter__(self) -> Iterator[LedgerEntry]:
        for entry in self._state.ledger_up_to(self._state.ledger_head()):
            if from_us(entry.at_us) > self._until:
                return
            self.last = Head(entry.seq, entry.hash)
            yield entry


def _versions(asked: Inquiry) -> Iterator[Version]:
    """Every configuration in force during the period or at the as-of time, oldest first."""
    wish = asked.wish
    found: list[Mapping[str, Any]] = [
        v for v in asked.house.state.config_versions(MOST_VERSIONS) if v["at"] <= wish.as_of
    ]
    if not found:
        yield Version(asked.desired.digest, None)
        return
    inside = [v for v in found if v["at"] > wish.since]
    started = [v for v in found if v["at"] <= wish.since][:1]
    for version in reversed([*inside, *started]):
        yield Version(str(version["digest"]), version["at"])
