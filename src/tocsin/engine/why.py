"""`tocsin why`: how it came that somebody was told, or was not, told from the ledger.

Which verdict, which configuration, which rules and route, who was on call, what was sent when, who
answered; and for every recorded decision whether deriving it again gives the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tocsin.domain.errors import NotFound, SpecError
from tocsin.domain.findings import Incident
from tocsin.engine.arranging import windows, with_arrangements
from tocsin.engine.rederive import DECISIONS, STATES, Answer, Rederived, rederive
from tocsin.engine.rules import Rules, compile_desired
from tocsin.engine.testimony import (
    AlertSeen,
    AnswerSeen,
    CallSeen,
    ConfigSeen,
    DecisionSeen,
    MessageSeen,
    VerdictSeen,
    Why,
)
from tocsin.spec.desired import Desired, restore
from tocsin.store import arrangements
from tocsin.store.ledger import ChainBreak, Head, LedgerEntry, verify
from tocsin.store.rows import StoredEffect, from_us
from tocsin.store.state import StateStore

_ANSWERS = ("incident.acknowledged", "incident.resolved", "incident.refused", "incident.verdict",
            "incident.ack_expired", "incident.mitigating")  # fmt: skip
_VERDICTS = ("alert.firing", "alert.received", "tocsin.watched")
_MOST_NAMED = 5


class NothingKnown(NotFound):
    """No incident and no alert goes by a name; the text says what could be meant."""


def why(state: StateStore, subject: str, known: Desired | None = None) -> Why:
    """Explain an incident by its id, or the incident of an alert by its fingerprint.

    Beginnings of either are enough where only one fits. known: a configuration that was never
    recorded, such as that of a replay. Raises NothingKnown.
    """
    incident = _incident(state, subject)
    about = state.entries_about(incident.id)
    keys = _alerts_of(incident, about)
    lines = {key: state.entries_about(key) for key in keys}
    used = [*about, *(entry for found in lines.values() for entry in found)]
    court = _Court(state, known)
    alerts = tuple(court.alert(incident, key, lines[key]) for key in keys)
    policy, calls, again = court.escalation(about)
    answers = [d.again.answer for alert in alerts for d in alert.decisions]
    answers += [again.answer] if again else []
    answer = _worst(answers)
    return Why(
        incident=incident.id,
        title=incident.title,
        state=incident.state,
        tier=incident.tier,
        opened=incident.opened,
        suppressed_by=incident.suppressed_by,
        answer=answer,
        answer_why=_summary(answer, answers),
        chain=_chain(used),
        alerts=alerts,
        policy=policy,
        calls=calls,
        calls_again=again,
        messages=tuple(_message(e) for e in state.effects(incident.id) if e.kind == "notify"),
        answers=tuple(
            AnswerSeen(from_us(e.at_us), e.kind.removeprefix("incident."), e.actor, e.reason)
            for e in about
            if e.kind in _ANSWERS and (e.actor != "engine" or e.kind == "incident.ack_expired")
        ),
        configs=tuple(court.configs.values()),
    )


# --- private -----------------------------------------------------------------------------------


class _Court:
    """Hears decisions again. Configurations are restored once each."""

    def __init__(self, state: StateStore, known: Desired | None) -> None:
        self._state = state
        self._known = known
        self._rules: dict[str, Rules | None] = {}
        self._history: Sequence[LedgerEntry] | None = None
        self._arrangements: Sequence[LedgerEntry] | None = None
        self.configs: dict[str, ConfigSeen] = {}

    def alert(self, incident: Incident, key: str, entries: Sequence[LedgerEntry]) -> AlertSeen:
        decided = [
            self._decision(entry)
            for entry in entries
            if entry.kind in DECISIONS and entry.data.get("incident") == incident.id
        ]
        until = decided[0].entry if decided else 0
        begun = [e for e in entries if e.kind in _VERDICTS and _fires(e) and e.seq <= until]
        return AlertSeen(key, _verdict(begun[-1]) if begun else None, tuple(decided))

    def escalation(
        self, about: Sequence[LedgerEntry]
    ) -> tuple[str, tuple[CallSeen, ...], Rederived | None]:
        """Whom the last round of the escalation called, and whether that follows again."""
        begun = next((e for e in reversed(about) if e.data.get("escalation")), None)
        if begun is None:
            return "", (), None
        taken = begun.data["escalation"]
        calls = tuple(
            CallSeen(
                after_s=float(step.get("after_s", 0)),
                receivers=tuple(step.get("receivers", ())),
                who=tuple(step.get("who", ())),
                people=tuple(step.get("resolved_who", ())),
                gap=str(step.get("gap", "")),
                repeat=int(step.get("repeat", 0)),
            )
            for step in taken["steps"]
        )
        return str(taken["name"]), calls, self._called(begun, taken)

    def _called(self, entry: LedgerEntry, taken: Mapping[str, Any]) -> Rederived:
        rules = self._configured(str(entry.data.get("config", "")))
        if rules is None:
            return Rederived("unknown", "the configuration it was taken from was not recorded")
        at = from_us(entry.at_us)
        stood_in = arrangements.told_by(self._arranged(), at)
        again = with_arrangements(rules, stood_in).snapshot_of(str(taken["name"]), at)
        if again == taken:
            return Rederived("same", "the schedules asked again call the same people")
        steps = zip(taken["steps"], (again or {"steps": ()})["steps"], strict=False)
        found = tuple(
            f"step {n}: recorded {was.get('resolved_who')}, derived {now.get('resolved_who')}"
            for n, (was, now) in enumerate(steps, 1)
            if was != now
        )
        return Rederived("differs", "the policy asked again calls otherwise", found)

    def _decision(self, entry: LedgerEntry) -> DecisionSeen:
        data = entry.data
        rules = self._configured(str(data.get("config", "")))
        return DecisionSeen(
            at=from_us(entry.at_us),
            entry=entry.seq,
            hash=entry.hash,
            config=str(data.get("config", "")),
            tier=int(data["tier"]),
            route=str(data["route"]),
            receivers=tuple(data["receivers"]),
            policy=str(data["policy"]),
            digest=str(data["digest"]),
            suppressed_by=str(data["suppressed_by"]),
            reason=entry.reason,
            facts=data.get("facts", {}),
            again=rederive(
                entry,
                rules,
                windows(arrangements.told_by(self._arranged(), from_us(entry.at_us))),
                lambda: self._told_by(entry),
            ),
        )

    def _arranged(self) -> Sequence[LedgerEntry]:
        """What the ledger tells of silences, maintenance and stand-ins."""
        if self._arrangements is None:
            kinds = (arrangements.MADE, arrangements.ENDED)
            self._arrangements = self._state.entries_of(kinds)
        return self._arrangements

    def _told_by(self, entry: LedgerEntry) -> Sequence[LedgerEntry]:
        """What the ledger tells of every alert; `rederive` stops reading at the entry."""
        if self._history is None or self._history[-1].seq < entry.seq:
            self._history = self._state.entries_of(STATES, from_us(entry.at_us))
        return self._history

    def _configured(self, digest: str) -> Rules | None:
        if digest not in self._rules:
            self._rules[digest] = self._restored(digest)
        return self._rules[digest]

    def _restored(self, digest: str) -> Rules | None:
        if not digest:
            return None
        version = self._state.config_version(digest)
        if version is not None:
            self.configs[digest] = ConfigSeen(
                digest, version["at"], version["actor"], version["reason"]
            )
            try:
                return compile_desired(restore(version["body"]["text"]))
            except SpecError:  # an older configuration that this release no longer reads
                return None
        if self._known is not None and self._known.digest == digest:
            self.configs[digest] = ConfigSeen(digest, None, "", "never recorded; it runs now")
            return compile_desired(self._known)
        return None


def _incident(state: StateStore, subject: str) -> Incident:
    """The incident that `subject` means: an id, a fingerprint, or the beginning of one."""
    found = state.incident(subject)
    if found is not None:
        return found
    entries = [e for e in state.entries_about(subject) if e.kind in DECISIONS]
    if entries:
        named = state.incident(str(entries[-1].data["incident"]))
        if named is not None:
            return named
    every = state.list_incidents(10_000)
    close = [i for i in every if i.id.startswith(subject)] if subject else []
    close = close or [i for i in every if any(a.startswith(subject) for a in i.alerts if subject)]
    groups = {incident.group_key for incident in close}
    if len(groups) == 1:
        return max(close, key=lambda incident: incident.episode)
    if close:
        names = ", ".join(incident.id for incident in close[:_MOST_NAMED])
        raise NothingKnown(f"{subject!r} fits {len(close)} incidents: {names}; give more of the id")
    latest = ", ".join(incident.id for incident in every[:_MOST_NAMED]) or "none yet"
    raise NothingKnown(f"there is no incident and no alert {subject!r}; latest incidents: {latest}")


def _alerts_of(incident: Incident, about: Sequence[LedgerEntry]) -> tuple[str, ...]:
    """Every alert that was ever part of it, in the order they came."""
    # Earlier releases told all alerts with every change.
    said = [{"alerts": (), "joined": (), **entry.data} for entry in about]
    named = [key for data in said for key in (*data["alerts"], *data["joined"])]
    return tuple(dict.fromkeys([*named, *incident.alerts]))


def _fires(entry: LedgerEntry) -> bool:
    return str(entry.data.get("state", "firing")) == "firing"


def _verdict(entry: LedgerEntry) -> VerdictSeen:
    data, labels = entry.data, entry.data.get("labels", {})
    return VerdictSeen(
        at=from_us(entry.at_us),
        monitor=str(labels.get("monitor", "")),
        severity=str(data.get("severity") or labels.get("severity", "")),
        value=data.get("value"),
        expected=data.get("expected"),
        unit=str(data.get("unit", "")),
        score=data.get("score"),
        reason=entry.reason,
        labels=labels,
    )


def _message(effect: StoredEffect) -> MessageSeen:
    people = effect.payload.get("resolved_who") or effect.payload.get("who") or ()
    return MessageSeen(
        at=effect.finished or effect.due,
        receiver=effect.receiver,
        action=effect.action,
        state=effect.state.value,
        outcome=effect.last_outcome,
        attempts=effect.attempts,
        people=tuple(people),
        detail=effect.reason,
    )


def _worst(answers: Sequence[Answer]) -> Answer:
    for answer in ("differs", "unknown", "same"):
        if answer in answers:
            return answer
    return "unknown"


def _summary(answer: Answer, answers: Sequence[Answer]) -> str:
    if not answers:
        return "the ledger holds no decision about it"
    count = answers.count(answer)
    words = {
        "same": f"all {len(answers)} recorded decisions follow again",
        "differs": f"{count} of {len(answers)} recorded decisions do not follow again",
        "unknown": f"{count} of {len(answers)} recorded decisions cannot be derived again",
    }
    return words[answer]


def _chain(entries: Sequence[LedgerEntry]) -> str:
    """What is wrong with these entries, each for itself; the whole chain is another question."""
    broken: list[ChainBreak] = []
    for line in entries:
        entry = line.whole or line
        found = verify([entry], start=Head(entry.seq - 1, entry.prev))
        broken += [found] if found else []
    return "; ".join(map(str, broken))
