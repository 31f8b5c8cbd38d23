"""Lines of the ledger that differ only in whom they are about are one entry.

A storm says the same of thousands of alerts: that they were received, and how they were routed. An
entry about several holds under `subjects` what is each one's own; what all of them share stands
beside it, once. `apart` gives the lines back as they were told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tocsin.domain.findings import LedgerEvent
from tocsin.store.ledger import LedgerEntry

SUBJECTS = "subjects"
MOST = 100  # in one entry: whoever looks for one subject reads the others with it


def together(events: Iterable[LedgerEvent]) -> Iterator[LedgerEvent]:
    """The events in their order, those that say the same one after the other as one."""
    run: dict[str, LedgerEvent] = {}
    last: LedgerEvent | None = None
    for event in events:
        if last is not None and (
            len(run) >= MOST
            or event.subject in run
            or SUBJECTS in event.data  # about several already
            or not _says_the_same(last, event)
        ):
            yield _as_one(list(run.values()))
            run = {}
        run[event.subject] = last = event
    if run:
        yield _as_one(list(run.values()))


def subjects(event: LedgerEvent | LedgerEntry) -> Iterable[str]:
    """Whom an event or its entry is about, if it is about several."""
    found: Iterable[str] = event.data.get(SUBJECTS, ())
    return found


def apart(entry: LedgerEntry) -> list[LedgerEntry]:
    """A line for each subject of an entry about several, else the entry itself.

    They are in the order of their subjects. A line has the number and the hash of its entry, which
    is its `whole`.
    """
    if SUBJECTS not in entry.data:
        return [entry]
    shared = {name: value for name, value in entry.data.items() if name != SUBJECTS}
    return [
        replace(
            entry,
            subject=subject,
            reason=own.get("reason", entry.reason),
            data={**shared, **_joined(shared, own.get("data", {}))},
            whole=entry,
        )
        for subject, own in entry.data[SUBJECTS].items()
    ]


# --- private -----------------------------------------------------------------------------------


def _says_the_same(one: LedgerEvent, other: LedgerEvent) -> bool:
    return (
        one.kind == other.kind
        and one.at == other.at
        and one.actor == other.actor
        and one.data.keys() == other.data.keys()
    )


def _as_one(run: Sequence[LedgerEvent]) -> LedgerEvent:
    first = run[0]
    if len(run) == 1:
        return first
    shared: dict[str, Any] = {}
    own: list[dict[str, Any]] = [{} for _ in run]
    for name in first.data:
        values = [event.data[name] for event in run]
        if all(type(value) is dict for value in values):
            shared[name] = common = _common(values)
            for mine, value in zip(own, values, strict=True):
                if len(value) > len(common):
                    mine[name] = {k: v for k, v in value.items() if k not in common}
        elif all(_is_same(value, values[0]) for value in values):
            shared[name] = values[0]
        else:
            for mine, value in zip(own, values, strict=True):
                mine[name] = value
    told: list[dict[str, Any]] = [{"data": mine} if mine else {} for mine in own]
    if any(event.reason != first.reason for event in run):
        for mine, event in zip(told, run, strict=True):
            mine["reason"] = event.reason
    about = {event.subject: mine for event, mine in zip(run, told, strict=True)}
    reason = "" if "reason" in told[0] else first.reason
    return replace(first, subject="", reason=reason, data={**shared, SUBJECTS: about})


def _common(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of them hold."""
    common = dict(values[0])
    for value in values:
        if not common.items() <= value.items():
            common = {k: v for k, v in common.items() if k in value and _is_same(value[k], v)}
    return common


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {**shared[name], **value} if name in shared else value for name, value in own.items()
    }
