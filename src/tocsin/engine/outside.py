"""Alerts of other monitors: kept as they came, understood, and decided with all others.

    request -> inbox (committed, answered) -> alerts of state -> the same `decide` as every tick
    poll of a source --------------------------^

An alert from outside is an alert like any other, with the label `source` of its sender; classify,
inhibit, route and tests apply to it. It is decided at once, not at the next minute. What its sender
does not say again is not judged here: it stays until it is told to be over, or until its `ends`.
What is told of an earlier time than was told before is old news, and changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import structlog

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.errors import IntakeError
from tocsin.domain.findings import Alert, AlertState, LedgerEvent, fingerprint
from tocsin.engine.expiring import ENDS, Expiring
from tocsin.engine.hooks import Hook, Hooks
from tocsin.engine.house import House
from tocsin.engine.tick import EXPLAINED, Arrival
from tocsin.engine.waiting import Labelled, Reading, Sender, Understood, next_ones
from tocsin.intake.alerts import FORMATS
from tocsin.intake.alerts.incoming import Incoming, Told
from tocsin.spec.desired import Desired
from tocsin.spec.services import Service
from tocsin.store import inbox
from tocsin.store.inbox import Letter
from tocsin.store.leases import LeaseLost
from tocsin.store.transaction import Transaction

log = structlog.get_logger(__name__)
# Alerts that are understood and wait.
MOST_WAITING = 20_000
BETWEEN_LOOKS = timedelta(seconds=1)
_STARTS, _AS_OF = "starts_at", "as_of"
_LETTER = "letter"  # the number of the last request that told of it
# What stays known of an alert, whatever is told of it next.
KEPT = EXPLAINED | {_LETTER}
MOST_EXPLAINED = 20
_MOST_MEANT = 10_000
# Keeps rows of changes; returns when they are durable. The second argument names them.
KeepChanges = Callable[[Sequence[Mapping[str, Any]], bytes], None]


class Outside:
    """Takes in what other monitors say. Threads may share it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._hooks = Hooks(lambda: house.desired)
        self._keep_changes: KeepChanges | None = None
        self._expiring: Expiring | None = None
        self._open_since = house.clock.now()
        self._looked: datetime | None = None
        self._wake: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._reading = Reading()
        self._asked: Desired | None = None
        self._meant: dict[tuple[str, str], Service | None] = {}  # by name and project

    def then(self, wake: Callable[[], None], keep_changes: KeepChanges | None = None) -> None:
        """Call `wake` whenever something was decided, so that nobody waits for the courier.

        keep_changes: takes what somebody did, such as a deployment; without it such a request is
        refused.
        """
        self._wake, self._keep_changes = wake, keep_changes

    def accept(self, source: str, body: bytes) -> int:
        """Keep a request; it is on disk when this returns.

        IntakeError 404 for an unknown source.
        """
        if source not in FORMATS:
            raise IntakeError(
                404, f"there is no source of alerts {source!r}; known: {', '.join(FORMATS)}"
            )
        with self._house.state.transaction() as tx:
            return inbox.put(tx, source, self._house.clock.now(), body)

    def listens_to(self, name: str) -> bool:
        """Whether there is a webhook of this name."""
        return self._hooks.named(name) is not None

    async def admit(
        self, name: str, headers: Mapping[str, str], body: bytes, *, trusted: bool
    ) -> int:
        """Keep a request to a webhook, if it is authentic; it is on disk when this returns.

        headers: by lower-case name. trusted: see `Hooks.check`. Raises NotAuthentic, and
        IntakeError 404 for an unknown webhook.
        """
        hook = self._hooks.named(name)
        if hook is None:
            raise IntakeError(404, f"there is no webhook {name!r}")
        now = self._house.clock.now()
        delivery = await self._hooks.check(hook, headers, body, now, trusted=trusted)
        return await asyncio.to_thread(self._keep, hook, now, body, delivery)

    def hear(self, sender: Sender, alerts: Iterable[Incoming], at: datetime) -> int:
        """Take in what a poll found and decide; returns how many alerts changed.

        It is not kept as it came: what is asked for can be asked for again.
        """
        with self._lock:
            told = Understood(sender, at, tuple(self._labelled(sender, one) for one in alerts))
            return self._take((told,))

    def work(self) -> int:
        """Read everything in the inbox and decide; returns how many alerts changed.

        What cannot be read is kept with the reason; it does not hold up the others, nor does one
        alert of a request those beside it.
        """
        if not self._house.conductor.conducts:
            self._expiring = None
            return 0  # another process reads what arrived here
        changed = 0
        with self._lock:
            explained = MOST_EXPLAINED
            waiting: list[Understood] = []
            self._reading = Reading()
            while True:
                waiting = self._gathered(waiting)
                if not waiting:
                    break
                taken, waiting = next_ones(waiting)
                try:
                    is_page = any(each.is_page for each in taken)
                    begun = self._take_each(taken, MOST_EXPLAINED if is_page else explained)
                    changed += begun
                    explained = max(explained - begun, 0)
                except LeaseLost:
                    return changed
            changed += self._expire()
        return changed

    def _take_each(self, taken: Sequence[Understood], explained: int) -> int:
        """Take all of them, or each by itself where one of them cannot be stored."""
        try:
            return self._take(taken, explained)
        except LeaseLost:
            raise
        except Exception:  # noqa: BLE001 (which of them it was is found out below)
            changed = 0
            for each in taken:
                try:
                    changed += self._take((each,), explained)
                except LeaseLost:
                    raise
                except Exception:  # tried again the next time
                    log.exception("alert_not_stored", source=each.sender.name, letter=each.id)
            return changed

    def refused(self) -> list[Letter]:
        """The latest requests that could not be read."""
        with self._house.state.reading() as tx:
            return list(inbox.refused(tx))

    def _unread(self, after: int) -> list[Letter]:
        with self._house.state.reading() as tx:
            return list(inbox.unread(tx, after))

    def _keep(self, hook: Hook, at: datetime, body: bytes, delivery: str) -> int:
        name, form = hook.configured.name, hook.configured.type
        with self._house.state.transaction() as tx:
            return inbox.put(tx, name, at, body, form=form, delivery=delivery)

    def _gathered(self, waiting: list[Understood]) -> list[Understood]:
        """With what came meanwhile, as much as is held at once; of all behind that, pages.

        What cannot be stored now must not hold up what came later, and is read the next time.
        """
        reading = self._reading
        while sum(len(each.alerts) for each in waiting) < MOST_WAITING:
            letters = self._unread(reading.held)
            if not letters:
                return waiting
            late = (each for each in letters if each.id not in reading.early)
            waiting += filter(None, map(self._tried, late))
            reading.held = letters[-1].id
        reading.seen = max(reading.seen, reading.held)
        while letters := self._unread(reading.seen):
            for each in filter(None, map(self._tried, letters)):
                if each.is_page and all(one.one.state == "firing" for one in each.alerts):
                    waiting.append(each)
                    reading.early.add(each.id)
            reading.seen = letters[-1].id
        return waiting

    def _tried(self, letter: Letter) -> Understood | None:
        """What it says; None when that cannot be kept now, and is tried again the next time."""
        try:
            return self._understand(letter)
        except Exception:  # it must not hold up the others
            log.exception("alert_not_stored", source=letter.source, letter=letter.id)
            return None

    def _understand(self, letter: Letter) -> Understood:
        sender, read = Sender(letter.source), FORMATS.get(letter.form)
        hook = self._hooks.named(letter.source)
        if hook is not None and hook.configured.type == letter.form:
            configured, read = hook.configured, hook.webhook.read
            sender = Sender(configured.name, configured.service, configured.labels)
        told = _understood(letter, read)
        if told.changes:
            told = self._with_changes(letter, sender, told)
        if told.faults:
            log.warning("alert_refused", source=letter.source, letter=letter.id,
                        error=told.faults[0])  # fmt: skip
        alerts = tuple(self._labelled(sender, one) for one in told.alerts)
        return Understood(sender, letter.at, alerts, letter, told.faults, self._groups(alerts))

    def _groups(self, alerts: Iterable[Labelled]) -> frozenset[tuple[str, ...]]:
        """By the labels that they bring themselves; a rule may group them otherwise."""
        group_by = self._house.rules.incidents.group_by
        return frozenset(tuple([one.labels.get(n, "") for n in group_by]) for one in alerts)

    def _labelled(self, sender: Sender, one: Incoming) -> Labelled:
        labels = self._labels(sender, one)
        keys = tuple(
            fingerprint({"source": sender.name, "key": key}) for key in (one.key, *one.aliases)
        )
        facts = {} if one.value is None else {"value": one.value}
        tier = self._house.rules.alike.tier(labels, facts)
        is_page = one.severity == "page" if tier is None else tier == 1
        return Labelled(one, labels, keys, is_page)

    def _with_changes(self, letter: Letter, sender: Sender, told: Told) -> Told:
        """`told` after those of its changes were kept that are somebody's."""
        rows, faults = [], list(told.faults)
        for row in told.changes:
            meant = str(row.get("service") or sender.service)
            service = self._service(meant, "")
            if meant:
                name = service.service_name if service else meant
                rows.append({"project": "", **row, "service": name})
            else:
                faults.append(f"{row['title']}: whose change is it? Give the webhook a service")
        if rows and self._keep_changes is None:
            faults.append("changes cannot be kept here")
        elif rows and self._keep_changes is not None:
            self._keep_changes(rows, _batch(letter))
        return replace(told, faults=tuple(faults))

    def _take(self, taken: Sequence[Understood], explained: int = MOST_EXPLAINED) -> int:
        """Decide about what alerts say, write it and settle the letters they came in, in one
        transaction; returns how many changed.

        explained: how many of those that begin are explained; in a storm none waits for that.
        """
        changed, put, events = list[Alert](), dict[str, Alert](), list[LedgerEvent]()
        begun: list[str] = []
        with self._house.undisturbed():
            held = self._held({key for each in taken for one in each.alerts for key in one.keys})
            for each in taken:
                for one in each.alerts:
                    for alert in self._alerts(each, one, held):
                        before = held.get(alert.fingerprint)
                        was = AlertState.RESOLVED if before is None else before.state
                        if not (was is alert.state is AlertState.RESOLVED):
                            changed.append(alert)
                        put[alert.fingerprint] = held[alert.fingerprint] = alert
                        line = _events(alert, before, each)
                        if line and alert.state is AlertState.FIRING:
                            begun.append(alert.fingerprint)
                        events += line
            self._decide(Arrival(put, changed, events, begun[:explained], _settling(taken)))
        return len(changed)

    def _decide(self, arrival: Arrival) -> None:
        """Decide about what changed and write it, or only write it where nothing did."""
        if arrival.changed:
            self._house.reconsider(arrival)
            self._wake()
        else:
            with self._house.conductor.deciding() as tx:
                arrival.settle(tx)
                tx.put_alerts(list(arrival.alerts.values()))
        if self._expiring is not None:
            self._expiring.note(arrival.alerts.values())

    def _held(self, keys: set[str]) -> dict[str, Alert]:
        """Those of the alerts that are known, resolved ones too."""
        known = self._house.state.alerts()
        with self._house.state.reading() as tx:
            return tx.alerts(keys - known.keys()) | {k: known[k] for k in keys & known.keys()}

    def _alerts(
        self, told: Understood, labelled: Labelled, held: Mapping[str, Alert]
    ) -> list[Alert]:
        """The alerts as they are to be kept: the one that is meant, by every key it has."""
        one, keys = labelled.one, labelled.keys
        last = [held[key] for key in keys if key in held]
        known = [alert for alert in last if alert.state is not AlertState.RESOLVED]
        if any(0 < told.id < alert.evidence.get(_LETTER, 0) for alert in last):
            return []  # a page went before it that says more
        if one.as_of is not None and any(one.as_of < _as_of(alert) for alert in known or last):
            return []  # old news
        if one.state == "firing":
            before = known[0] if known else None
            return [self._alert(told, labelled, before.fingerprint if before else keys[0], before)]
        if not known and one.as_of is not None:
            # Over before anybody heard of it; remembered, so that its beginning comes too late.
            is_known = any(_as_of(alert) == one.as_of for alert in last)
            return [] if is_known else [self._alert(told, labelled, keys[0], None)]
        over = [alert for alert in known if one.ends is None or one.ends >= alert.since]
        return [self._alert(told, labelled, alert.fingerprint, alert) for alert in over]

    def _alert(self, told: Understood, labelled: Labelled, key: str, known: Alert | None) -> Alert:
        one, sender, at = labelled.one, told.sender, told.at
        is_over = one.state == "resolved"
        found = {n: v for n, v in known.evidence.items() if n in KEPT} if known else {}
        if told.letter is not None:
            found[_LETTER] = told.id
        return Alert(
            fingerprint=key,
            labels=labelled.labels,
            state=AlertState.RESOLVED if is_over else AlertState.FIRING,
            since=known.since if known else min(one.starts, at),
            updated=at,
            severity=one.severity,
            value=one.value,
            reason=one.summary or one.description or f"{one.name}, as {sender.name} tells it",
            evidence={**found, **self._evidence(one, at)},
            incident_id=known.incident_id if known else "",
            last_breach=at if not is_over else known.last_breach if known else None,
        )

    def _labels(self, sender: Sender, one: Incoming) -> dict[str, str]:
        """What it says of itself, over what is known of its service."""
        service = self._service(one.service or sender.service, one.labels.get("project", ""))
        known: Mapping[str, str] = service.labels if service else {}
        signal = one.labels.get("signal") or _snake(one.name)
        name = service.name if service else one.service or sender.service
        named = {"source": sender.name, "monitor": one.name, "service": name, "env": one.env,
                 "signal": signal, "severity": one.severity}  # fmt: skip
        told = {label: text for label, text in named.items() if text}
        return {**known, **sender.labels, **one.labels, **told}

    def _service(self, name: str, project: str) -> Service | None:
        """Whom a name means: a document, else what telemetry calls a service, else a project."""
        desired = self._house.desired
        if desired is not self._asked or len(self._meant) >= _MOST_MEANT:
            self._asked, self._meant = desired, {}
        if (name, project) not in self._meant:
            self._meant[name, project] = self._named(desired, name, project)
        return self._meant[name, project]

    def _named(self, desired: Desired, name: str, project: str) -> Service | None:
        if name:
            return desired.services.get(name) or desired.service_of(project, name)
        owners = (service for service in desired.services.values() if service.project == project)
        return next(owners, desired.services.get(project)) if project else None

    def _evidence(self, one: Incoming, at: datetime) -> dict[str, Any]:
        found: dict[str, Any] = {_STARTS: iso(one.starts), _AS_OF: iso(one.as_of or at)}
        if one.ends is not None and one.state == "firing":
            found[ENDS] = iso(one.ends)
        texts = {"description": one.description, "link": one.link, "runbook": one.runbook}
        found |= {name: text for name, text in texts.items() if text}
        return found | ({"details": dict(one.details)} if one.details else {})

    def _expire(self) -> int:
        """End alerts whose sender promised to tell again and did not; returns how many."""
        now = self._house.clock.now()
        if self._looked is not None and now - self._looked < BETWEEN_LOOKS:
            return 0
        self._looked = now
        with self._house.undisturbed():
            known = self._house.state.alerts()
            if self._expiring is None:
                self._expiring = Expiring(self._open_since)
                self._expiring.note(known.values())
            over = self._expiring.over(known, now)
            if over:
                self._expiring.note(over)  # until it is committed that they ended
                ended = [replace(a, state=AlertState.RESOLVED, updated=now) for a in over]
                events = [_events(a, before, None) for a, before in zip(ended, over, strict=True)]
                put = {alert.fingerprint: alert for alert in ended}
                self._decide(Arrival(put, ended, [event for found in events for event in found]))
        return len(over)


def _settling(taken: Sequence[Understood]) -> Callable[[Transaction], None]:
    """Says in a transaction what became of letters; what a poll found came in none."""
    letters = [each for each in taken if each.letter is not None]

    def settle(tx: Transaction) -> None:
        if not letters:
            return
        for each in letters:
            if each.faults:
                inbox.settle(tx, [each.id], reason="; ".join(each.faults)[:1000])
        inbox.settle(tx, [each.id for each in letters if not each.faults])
        inbox.tidy(tx, letters[-1].at)

    return settle


def _events(alert: Alert, before: Alert | None, told: Understood | None) -> list[LedgerEvent]:
    """The ledger line of a change of state; nothing where there is none."""
    was = AlertState.RESOLVED if before is None else before.state
    if was is alert.state:
        return []
    letter = told.letter if told is not None else None
    return [
        LedgerEvent(
            alert.updated,
            "alert.received",
            f"source:{alert.labels.get('source', '')}",
            alert.fingerprint,
            "its sender has not told it again" if letter is None else alert.reason,
            {
                "state": alert.state.value,
                "labels": alert.labels,
                "letter": None if letter is None else letter.id,
            },
        )
    ]


def _understood(letter: Letter, read: Callable[[Any, datetime], Told] | None) -> Told:
    """What a request says. Nothing that it holds may raise: it would be tried for ever."""
    if read is None:
        return Told((), (f"there is no webhook {letter.source!r} any more",))
    try:
        return read(json.loads(letter.body), letter.at)
    except IntakeError as error:
        return Told((), (str(error),))
    except (ValueError, RecursionError) as error:
        return Told((), (f"the body is not JSON: {error}",))
    except Exception as error:  # a fault of ours, and still no reason to forget it
        log.exception("alert_not_understood", source=letter.source, letter=letter.id)
        return Told((), (f"could not be read: {type(error).__name__}",))


def _as_of(alert: Alert) -> datetime:
    """When what is known of an alert was true."""
    told = alert.evidence.get(_AS_OF)
    return parse_iso(str(told)) if told else alert.since


def _batch(letter: Letter) -> bytes:
    """Names the changes of a letter, so that they are kept once however often it is read."""
    text = f"{letter.source}\xff{letter.id}\xff{iso(letter.at)}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@lru_cache(1024)
def _snake(name: str) -> str:
    """HighErrorRate -> high_error_rate: a name as a signal that routing can match."""
    out = []
    for i, letter in enumerate(name.strip()):
        if letter.isupper() and i and not name[i - 1].isupper() and name[i - 1].isalnum():
            out.append("_")
        out.append(letter.lower() if letter.isalnum() else "_")
    return "_".join(part for part in "".join(out).split("_") if part)
