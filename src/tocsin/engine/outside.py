"""Alerts of other monitors: kept as they came, understood, and decided with all others.

    request -> inbox (committed, answered) -> alerts of state -> the same `decide` as every tick

An alert from outside is an alert like any other, with the label `source` of its sender; classify,
inhibit, route and tests apply to it. It is decided at once, not at the next minute. What its sender
does not say again is not judged here: it stays until it is told to be over, or until its `ends`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.errors import IntakeError
from tocsin.domain.findings import Alert, AlertState, LedgerEvent, fingerprint
from tocsin.engine.house import House
from tocsin.intake.alerts import FORMATS
from tocsin.intake.alerts.incoming import Incoming, Told
from tocsin.store import inbox
from tocsin.store.inbox import Letter
from tocsin.store.transaction import Transaction

log = structlog.get_logger(__name__)
_ENDS, _STARTS = "ends_at", "starts_at"


class Outside:
    """Takes in what other monitors say. Threads may share it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._open_since = house.clock.now()
        self._wake: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def then(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something was decided, so that nobody waits for the courier."""
        self._wake = wake

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

    def work(self) -> int:
        """Read everything in the inbox and decide; returns how many alerts changed.

        What cannot be read is kept with the reason; it does not hold up the others, nor does one
        alert of a request those beside it.
        """
        changed = 0
        with self._lock:
            kept: set[int] = set()  # what cannot be stored now must not hold up what came later
            while letters := [letter for letter in self._unread() if letter.id not in kept]:
                for letter in letters:
                    try:
                        changed += self._read(letter)
                    except Exception:  # tried again the next time
                        kept.add(letter.id)
                        log.exception("alert_not_stored", source=letter.source, letter=letter.id)
            changed += self._expire()
            if changed:
                self._house.reconsider()
                self._wake()
        return changed

    def refused(self) -> list[Letter]:
        """The latest requests that could not be read."""
        with self._house.state.reading() as tx:
            return list(inbox.refused(tx))

    def _unread(self) -> list[Letter]:
        with self._house.state.reading() as tx:
            return list(inbox.unread(tx))

    def _read(self, letter: Letter) -> int:
        told = _understood(letter)
        if told.faults:
            log.warning("alert_refused", source=letter.source, letter=letter.id,
                        error=told.faults[0])  # fmt: skip
        with self._house.undisturbed(), self._house.state.transaction() as tx:
            held = self._house.state.alerts()
            changed = 0
            for one in told.alerts:
                alert = self._alert(letter, one, held)
                if alert is not None:
                    self._put(tx, alert, held.get(alert.fingerprint), letter)
                    held = {**held, alert.fingerprint: alert}
                    changed += 1
            inbox.settle(tx, letter, reason="; ".join(told.faults)[:1000])
            inbox.tidy(tx, letter.at)
        return changed

    def _alert(self, letter: Letter, one: Incoming, held: Mapping[str, Alert]) -> Alert | None:
        """The alert as it is to be kept, None when nothing changes."""
        key = fingerprint({"source": letter.source, "key": one.key})
        known = held.get(key)
        is_over = one.state == "resolved"
        if known is None or known.state is AlertState.RESOLVED:
            if is_over:
                return None  # over before anybody heard of it
            known = None
        elif is_over and one.ends is not None and one.ends < known.since:
            return None  # an end that was held up: the alert began again since
        since = known.since if known else min(one.starts, letter.at)
        return Alert(
            fingerprint=key,
            labels=self._labels(letter.source, one),
            state=AlertState.RESOLVED if is_over else AlertState.FIRING,
            since=since,
            updated=letter.at,
            severity=one.severity,
            value=one.value,
            reason=one.summary or one.description or f"{one.name}, as {letter.source} tells it",
            evidence=self._evidence(one),
            incident_id=known.incident_id if known else "",
            last_breach=letter.at if not is_over else known.last_breach if known else None,
        )

    def _labels(self, source: str, one: Incoming) -> dict[str, str]:
        """What it says of itself, over what is known of its service."""
        service = self._house.desired.services.get(one.service)
        known: Mapping[str, str] = service.labels if service else {}
        signal = one.labels.get("signal") or _snake(one.name)
        named = {"source": source, "monitor": one.name, "service": one.service, "env": one.env,
                 "signal": signal, "severity": one.severity}  # fmt: skip
        told = {name: text for name, text in named.items() if text}
        return {**known, **one.labels, **told}

    def _evidence(self, one: Incoming) -> dict[str, Any]:
        found: dict[str, Any] = {_STARTS: iso(one.starts)}
        if one.ends is not None and one.state == "firing":
            found[_ENDS] = iso(one.ends)
        texts = {"description": one.description, "link": one.link, "runbook": one.runbook}
        found |= {name: text for name, text in texts.items() if text}
        return found | ({"details": dict(one.details)} if one.details else {})

    def _expire(self) -> int:
        """End alerts whose sender promised to tell again and did not."""
        now = self._house.clock.now()
        with self._house.undisturbed():
            over = [
                alert
                for alert in self._house.state.alerts().values()
                if _ENDS in alert.evidence and self._expires(alert) <= now
            ]
            if over:
                with self._house.state.transaction() as tx:
                    for alert in over:
                        ended = replace(alert, state=AlertState.RESOLVED, updated=now)
                        self._put(tx, ended, alert, None)
        return len(over)

    def _expires(self, alert: Alert) -> datetime:
        """When an alert ends that is not told again: its sender had as long as it promised.

        What we were away for does not count: nobody could have told us then.
        """
        ends = parse_iso(str(alert.evidence[_ENDS]))
        return max(ends, self._open_since + (ends - alert.updated))

    def _put(
        self, tx: Transaction, alert: Alert, before: Alert | None, letter: Letter | None
    ) -> None:
        tx.put_alert(alert)
        if before is not None and before.state is alert.state:
            return
        why = "its sender has not told it again" if letter is None else alert.reason
        tx.append(
            LedgerEvent(
                alert.updated,
                "alert.received",
                f"source:{alert.labels.get('source', '')}",
                alert.fingerprint,
                why,
                {
                    "state": alert.state.value,
                    "labels": dict(alert.labels),
                    "letter": None if letter is None else letter.id,
                },
            )
        )


def _understood(letter: Letter) -> Told:
    """What a request says. Nothing that it holds may raise: it would be tried for ever."""
    try:
        return FORMATS[letter.source](json.loads(letter.body), letter.at)
    except IntakeError as error:
        return Told((), (str(error),))
    except (ValueError, RecursionError) as error:
        return Told((), (f"the body is not JSON: {error}",))
    except Exception as error:  # a fault of ours, and still no reason to forget it
        log.exception("alert_not_understood", source=letter.source, letter=letter.id)
        return Told((), (f"could not be read: {type(error).__name__}",))


def _snake(name: str) -> str:
    """HighErrorRate -> high_error_rate: a name as a signal that routing can match."""
    out = []
    for i, letter in enumerate(name.strip()):
        if letter.isupper() and i and not name[i - 1].isupper() and name[i - 1].isalnum():
            out.append("_")
        out.append(letter.lower() if letter.isalnum() else "_")
    return "_".join(part for part in "".join(out).split("_") if part)
