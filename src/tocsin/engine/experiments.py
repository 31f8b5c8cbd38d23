"""Gates of a running server: every candidate held against its baseline, minute by minute.

A trial begins with the first minute of its candidate that is read, not before `maxDuration` ago,
and ends with its verdict. What it remembers is written after every look, in one transaction with
the ledger's line about a verdict, so that a restart goes on where it was; of two that look at the
same time the first is right. A gate whose document changes begins anew.

A candidate that fails is an alert of its service, which ends when the candidate has had no call for
half an hour: it was taken back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from tocsin.assess.gates.gate import (
    Gate,
    GateResult,
    Running,
    advance,
    judge,
)
from tocsin.assess.gates.memory import recalled, remembered, result_of
from tocsin.domain.clock import iso, parse_iso, to_minute
from tocsin.domain.comparison import Comparison
from tocsin.domain.errors import NotFound, TocsinError
from tocsin.domain.findings import Alert, AlertState, LedgerEvent, fingerprint
from tocsin.engine.gate_health import unheld
from tocsin.engine.gates import batches, comparison
from tocsin.engine.holding import hold
from tocsin.engine.house import House
from tocsin.spec.documents import Document
from tocsin.spec.gates import BASELINE, CANDIDATE, GateShape
from tocsin.spec.services import Service

log = structlog.get_logger(__name__)

# Not the source of alerts that monitors raise: a tick would end what no monitor says.
SOURCE = "tocsin-gates"
INTERVAL = timedelta(seconds=60)
GONE_MINUTES = 30
AT_ONCE = 6 * 60  # minutes that are read at once
MOST_TRIALS = 20


class NoSuchGate(NotFound):
    """A gate that no document with a service defines, or an arm that is not said."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate against its baseline, as it stands.

    looked: up to which minute it was read; None before the first look. decided: when the verdict
    became final, None while it goes on.
    """

    gate: str
    title: str
    service: str
    candidate: str
    baseline: str
    looked: int | None
    decided: datetime | None
    result: GateResult


@dataclass(slots=True)
class _Held:
    """A trial in memory. position: the next minute to be read."""

    running: Running
    position: int
    result: GateResult
    decided: datetime | None = None


class Experiments:
    """The trials of one house. Threads may share it."""

    def __init__(self, house: House) -> None:
        self._house = house

    def gates(self) -> list[tuple[Document, GateShape]]:
        """The gates that the server judges: those of a service, by name."""
        return [(d, gate) for d, gate in self._house.desired.of(GateShape) if gate.service]

    def trials(self, gate: str = "") -> list[Trial]:
        """Every trial that was begun, of one gate or of all."""
        found = []
        for document, shape in self.gates():
            if gate in ("", document.name):
                held = self._recall(document)
                found += [self._trial(document, shape, *arms, one) for arms, one in held.items()]
        return found

    def trial(self, gate: str, candidate: str = "", baseline: str = "") -> Trial:
        """One trial as it stands now; it is begun if it was not.

        candidate, baseline: in place of what the document says. NoSuchGate when there is no such
        gate, or an arm is neither said nor in the document.
        """
        known = {document.name: (document, shape) for document, shape in self.gates()}
        if gate not in known:
            listed = ", ".join(known) or "there is none"
            raise NoSuchGate(f"no gate {gate!r} of a service; known: {listed}")
        document, shape = known[gate]
        named = shape.said(candidate) or shape.arms.candidate
        base = shape.said(baseline) or shape.arms.baseline
        for value, what in ((named, CANDIDATE), (base, BASELINE)):
            if value == what:
                arm = what.strip("${}")
                raise NoSuchGate(f"which arm of {gate} is the {arm} is not said; add ?{arm}=VALUE")
        if named == base:
            raise NoSuchGate(f"{named!r} is both arms of {gate}; name two")
        return self._advance(document, shape, [(named, base)])[0]

    def look(self) -> list[Trial]:
        """Read on in every trial, begin those of new candidates, raise and end alerts. Blocks."""
        found = []
        for document, shape in self.gates():
            if shape.arms.baseline != BASELINE:
                try:
                    found += self._advance(document, shape, self._candidates(document, shape))
                except TocsinError:  # of this gate alone; what was found before still holds
                    log.exception("gate_not_judged", gate=document.name)
                    found += self.trials(document.name)
        now = self._house.clock.now()
        services = self._house.desired.services
        wanted = {
            _key(one): _raised(one, services.get(one.service), now) for one in self._failing(found)
        }
        hold(self._house, SOURCE, wanted, "gate.alerted")
        return found

    async def run(self, stop: asyncio.Event, wake: Callable[[], None]) -> None:
        """Look every minute until `stop` is set, where this process conducts."""
        while not stop.is_set():
            try:
                if self._house.conductor.conducts:
                    trials = await asyncio.to_thread(self.look)
                    if any(trial.decided for trial in trials):
                        wake()
            except Exception:  # worker loop: the next look reads what this one did not
                log.exception("gates_not_judged")
            try:
                await asyncio.wait_for(stop.wait(), INTERVAL.total_seconds())
            except TimeoutError:
                continue

    # --- private

    def _candidates(self, document: Document, shape: GateShape) -> list[tuple[str, str]]:
        """The arms to be compared: the one that is named, or all that run beside the baseline."""
        base = shape.arms.baseline
        if shape.arms.candidate != CANDIDATE:
            return [(shape.arms.candidate, base)]
        now = to_minute(self._house.clock.now())
        wanted = self._comparison(shape, "", base)
        running = self._house.telemetry.arms.arms(wanted, now - GONE_MINUTES, now)
        begun = [arms for arms in self._recall(document) if arms[1] == base]
        new = [(name, base) for name in running if name != base and (name, base) not in begun]
        return [*begun, *new][-MOST_TRIALS:]

    def _advance(
        self, document: Document, shape: GateShape, arms: list[tuple[str, str]]
    ) -> list[Trial]:
        held = self._recall(document)
        found = []
        for pair in arms:
            one = held.get(pair) or self._begun(shape)
            before, was_decided = one.position, one.decided
            self._read(shape, one, self._comparison(shape, *pair))
            trial = self._trial(document, shape, *pair, one)
            if one.position != before or one.decided != was_decided:
                decided = trial if one.decided != was_decided else None
                one = self._keep(document, pair, one, before, decided)
                trial = self._trial(document, shape, *pair, one)
            found.append(trial)
        return found

    def _begun(self, shape: GateShape) -> _Held:
        start = to_minute(self._house.clock.now() - shape.waits - shape.max_duration)
        running = Running()
        return _Held(running, start, judge(shape.build(), running))

    def _read(self, shape: GateShape, one: _Held, wanted: Comparison) -> None:
        """Everything that has become complete since the last look, until there is a verdict."""
        gate, now = shape.build(), self._house.clock.now()
        stop = to_minute(now - self._house.lateness - shape.waits)
        while one.decided is None and one.position < stop:
            end = min(one.position + AT_ONCE, stop)
            counts = self._house.telemetry.arms.counts(wanted, one.position, end)
            one.position = end
            for batch in batches(counts):
                has_begun = one.running.started is not None
                if not has_begun and not any(c.n for c, _ in batch.arms.values()):
                    continue  # the baseline alone, before there was a candidate
                one.running = advance(gate, one.running, batch)
                if self._is_settled(shape, gate, one, batch.minute):
                    one.decided = now
                    return
            self._run_out(shape, gate, one, now)

    def _is_settled(self, shape: GateShape, gate: Gate, one: _Held, minute: int) -> bool:
        """Whether there is a verdict at `minute`: one that passes waits for its health score."""
        one.result = judge(gate, one.running)
        if one.result.verdict == "pass" and shape.health is not None:
            why = unheld(shape.health, self._house.state, minute)
            if why:
                one.result = replace(one.result, verdict="inconclusive", is_final=False, reason=why)
        return one.result.is_final

    def _run_out(self, shape: GateShape, gate: Gate, one: _Held, now: datetime) -> None:
        """Time passes also while nobody calls, and a health score may be held meanwhile."""
        if one.running.started is None or one.decided is not None:
            return
        is_settled = self._is_settled(shape, gate, one, one.position - 1)
        if is_settled or one.position - one.running.started >= gate.max_minutes:
            one.result = replace(one.result, is_final=True)
            one.decided = now

    def _comparison(self, shape: GateShape, candidate: str, baseline: str) -> Comparison:
        service = self._house.desired.services.get(shape.service)
        theirs = service.service_name if service else shape.service
        return comparison(shape, theirs, candidate, baseline)

    def _trial(
        self, document: Document, shape: GateShape, candidate: str, baseline: str, one: _Held
    ) -> Trial:
        title = document.metadata.display_name or document.name
        return Trial(document.name, title, shape.service, candidate, baseline,
                     one.position - 1, one.decided, one.result)  # fmt: skip

    def _recall(self, document: Document) -> dict[tuple[str, str], _Held]:
        return _known(document, self._house.state.get_meta(_name(document)))

    def _keep(
        self, document: Document, arms: tuple[str, str], one: _Held, before: int,
        decided: Trial | None,
    ) -> _Held:  # fmt: skip
        """Write what was read from minute `before` on, unless somebody else did; what holds."""
        with self._house.state.transaction() as tx:
            held = _known(document, tx.get_meta(_name(document)))
            if arms in held and held[arms].position > before:
                return held[arms]
            held[arms] = one
            plain = [_plain(*pair, each) for pair, each in held.items()]
            tx.set_meta(_name(document), {"digest": _digest(document), "trials": plain})
            if decided is not None:
                tx.append(_entry(decided, self._house.clock.now()))
        return one

    def _failing(self, trials: list[Trial]) -> Iterator[Trial]:
        shapes = {document.name: shape for document, shape in self.gates()}
        now = to_minute(self._house.clock.now())
        for one in trials:
            if one.decided and one.result.verdict == "fail":
                wanted = self._comparison(shapes[one.gate], one.candidate, one.baseline)
                running = self._house.telemetry.arms.arms(wanted, now - GONE_MINUTES, now)
                # Without any call nobody knows whether it was taken back.
                if one.candidate in running or not running:
                    yield one


def _name(document: Document) -> str:
    return f"gate/{document.name}"


def _known(document: Document, kept: Any) -> dict[tuple[str, str], _Held]:
    """The trials that were kept, if they were of the document as it is."""
    if not isinstance(kept, dict) or kept.get("digest") != _digest(document):
        return {}
    return {(one["candidate"], one["baseline"]): _held(one) for one in kept["trials"]}


def _digest(document: Document) -> str:
    text = json.dumps(document.located.data.get("spec"), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(candidate: str, baseline: str, one: _Held) -> dict[str, Any]:
    return {
        "candidate": candidate,
        "baseline": baseline,
        "running": remembered(one.running),
        "position": one.position,
        "result": asdict(one.result),
        "decided": iso(one.decided) if one.decided else None,
    }


def _held(plain: Mapping[str, Any]) -> _Held:
    decided = parse_iso(plain["decided"]) if plain["decided"] else None
    result = result_of(plain["result"])
    return _Held(recalled(plain["running"]), plain["position"], result, decided)


def _entry(trial: Trial, now: datetime) -> LedgerEvent:
    data = {
        "gate": trial.gate,
        "service": trial.service,
        "candidate": trial.candidate,
        "baseline": trial.baseline,
        "result": asdict(trial.result),
    }
    reason = f"{trial.candidate} against {trial.baseline}: {trial.result.verdict}"
    why = f"{reason} ({trial.result.reason})"
    return LedgerEvent(now, "gate.decided", SOURCE, f"gate/{trial.gate}", why, data)


def _key(trial: Trial) -> str:
    return fingerprint(
        {"source": SOURCE, "gate": trial.gate, "candidate": trial.candidate,
         "baseline": trial.baseline}
    )  # fmt: skip


def _raised(trial: Trial, service: Service | None, now: datetime) -> Alert:
    reason = (
        f"{trial.candidate} is worse than {trial.baseline} and still has calls:"
        f" {trial.result.reason}"
    )
    labels = {
        **(service.labels if service is not None else {}),
        "source": SOURCE,
        "service": trial.service,
        "monitor": f"gate/{trial.gate}",
        "signal": "gate",
        "severity": "ticket",
        "candidate": trial.candidate,
    }
    return Alert(
        fingerprint=_key(trial),
        labels=labels,
        state=AlertState.FIRING,
        since=now,
        updated=now,
        severity="ticket",
        reason=reason,
        last_breach=now,
    )
