"""The transitions of an incident, one method each; `alerts.incidents` draws the map of states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tocsin.alerts.changes import IncidentChange, IncidentConfig, SnapshotOf, Tell
from tocsin.alerts.grouping import Picture, Routed, title_of
from tocsin.alerts.memory import Memory
from tocsin.domain.findings import MISSING, Incident, IncidentState


@dataclass(frozen=True, slots=True)
class Transitions:
    """One fold's circumstances; its methods are the transitions."""

    now: datetime
    config: IncidentConfig
    snapshot_of: SnapshotOf

    def group(
        self, key: str, incident: Incident | None, members: Sequence[Routed], seen: Picture | None
    ) -> list[IncidentChange]:
        """All changes of one group, oldest episode first."""
        if incident is None:
            return [] if seen is None else [self._open(key, 1, seen)]
        changes: list[IncidentChange] = []
        if incident.state is IncidentState.RESOLVED and self._has_cooled(incident):
            after = replace(incident, state=IncidentState.CLOSED)
            changes.append(self.change(incident, after, "closed", "it stayed resolved"))
            incident = changes[-1].after
        if incident.state is IncidentState.CLOSED:
            return (
                changes if seen is None else [*changes, self._open(key, incident.episode + 1, seen)]
            )
        change = self._live(incident, members, seen)
        return changes if change is None else [*changes, change]

    def _live(
        self, incident: Incident, members: Sequence[Routed], seen: Picture | None
    ) -> IncidentChange | None:
        memory = Memory.of(incident)
        if seen is None:
            return self._cleared(incident, memory)
        if incident.state is IncidentState.RESOLVED:
            is_worse = seen.tier < incident.tier
            if memory.resolved_by and not is_worse and not _is_new(members, incident):
                return None
            return self._reopen(incident, memory, seen)
        if incident.state is IncidentState.RECOVERED:
            return self._reopen(incident, memory, seen)
        if seen.suppressed_by:
            return self._suppressed(incident, memory, seen)
        if incident.suppressed_by:
            return self._unsuppressed(incident, memory, seen)
        return (
            self._back_from_hold(incident, memory, seen)
            or self._raised(incident, memory, seen)
            or self._eased(incident, memory, seen)
            or self._ack_expired(incident, memory, seen)
            or self._in_place(incident, memory, seen)
        )

    # Beginnings

    def _open(self, key: str, episode: int, seen: Picture) -> IncidentChange:
        incident = Incident(
            id=f"{key}-{episode}",
            group_key=key,
            episode=episode,
            state=IncidentState.OPEN,
            title=title_of(seen.labels),
            labels=seen.labels,
            tier=seen.tier,
            opened=self.now,
            updated=self.now,
        )
        memory = Memory()
        if seen.suppressed_by:
            after = replace(self._with(incident, memory, seen), suppressed_by=seen.suppressed_by)
            reason = f"{seen.reason}; nobody is told: {seen.suppressed_by}"
            return IncidentChange(None, after, "opened", reason, decided=tuple(seen.decided))
        after = self._triggered(incident, memory, seen)
        return IncidentChange(None, after, "opened", seen.reason, Tell.TRIGGER, tuple(seen.decided))

    def _reopen(self, incident: Incident, memory: Memory, seen: Picture) -> IncidentChange:
        """Back within the cooldown, or before a person confirmed that it was over."""
        memory = replace(memory.flipped(self.now, self.config.flap_within), resolved_by="")
        if seen.suppressed_by:
            # A round of its own: what is told later in it must not pass for what was told before.
            after = replace(
                self._with(incident, replace(memory, round=memory.round + 1), seen),
                state=IncidentState.OPEN,
                tier=seen.tier,
                suppressed_by=seen.suppressed_by,
                resolved=None,
            )
            reason = f"it came back; nobody is told: {seen.suppressed_by}"
            return self.change(incident, after, "reopened", reason, seen=seen)
        is_silent = seen.tier > 1 and bool(memory.heard)
        after = self._triggered(incident, memory, seen, is_told=not is_silent)
        reason = f"it came back: {seen.reason}"
        if not is_silent:
            return self.change(incident, after, "reopened", reason, Tell.TRIGGER, seen)
        reason += "; not told again, because it had been told within the cooldown"
        newcomers = set(Memory.of(after).heard) - set(memory.heard)
        tell = Tell.JOIN if newcomers else Tell.NOTHING
        return self.change(incident, after, "reopened", reason, tell, seen)

    # While it lasts

    def _suppressed(
        self, incident: Incident, memory: Memory, seen: Picture
    ) -> IncidentChange | None:
        if incident.suppressed_by == seen.suppressed_by:
            after = self._with(incident, memory, seen)
            return self._back_from_hold(incident, memory, seen) or self._bookkept(
                incident, memory, after, seen
            )
        after = replace(self._with(incident, memory, seen), suppressed_by=seen.suppressed_by)
        reason = f"nobody is told any more: {seen.suppressed_by}"
        return self.change(incident, after, "suppressed", reason, seen=seen)

    def _unsuppressed(self, incident: Incident, memory: Memory, seen: Picture) -> IncidentChange:
        reason = f"{incident.suppressed_by} ended and it still fires: {seen.reason}"
        if incident.state in (IncidentState.OPEN, IncidentState.TRIGGERED):
            after = self._triggered(incident, memory, seen)
            return self.change(incident, after, "unsuppressed", reason, Tell.TRIGGER, seen)
        if (raised := self._raised(incident, memory, seen)) is not None:
            return raised
        # Somebody has it in hand: pagers that heard of it stay silent. What else was not sent
        # before it is now, and whoever never heard of it is told.
        after = self._with(incident, replace(memory, round=memory.round + 1), seen)
        newcomers = set(self._audience(incident, seen)) - set(memory.heard)
        kept = Memory.of(after).telling([*after.receivers, *newcomers])
        after = replace(after, suppressed_by="", evidence=kept.onto(after.evidence))
        tell = Tell.JOIN if newcomers else Tell.NOTHING
        return self.change(incident, after, "unsuppressed", reason, tell, seen)

    def _back_from_hold(
        self, incident: Incident, memory: Memory, seen: Picture
    ) -> IncidentChange | None:
        if memory.quiet_since is None:
            return None
        flips = memory.flipped(self.now, self.config.flap_within)
        after = self._with(incident, flips, seen)
        reason = "it came back; it flaps, so it was held open and nobody is told again"
        return self.change(incident, after, "flapping", reason, seen=seen)

    def _raised(self, incident: Incident, memory: Memory, seen: Picture) -> IncidentChange | None:
        if seen.tier < incident.tier:
            reason = f"raised from tier {incident.tier} to tier {seen.tier}: {seen.reason}"
        elif self._escalates_anew(incident, memory, seen):
            reason = f"an alert joined that escalates by {seen.policy}: {seen.reason}"
        else:
            return None
        after = self._triggered(incident, memory, seen)
        return self.change(incident, after, "raised", reason, Tell.TRIGGER, seen)

    def _escalates_anew(self, incident: Incident, memory: Memory, seen: Picture) -> bool:
        """Whether an alert asks for an escalation, and none runs or that of a less urgent one."""
        if not seen.policy or self.snapshot_of(seen.policy) is None:
            return False
        return incident.policy is None or seen.policies[seen.policy] < memory.policy_tier

    def _eased(self, incident: Incident, memory: Memory, seen: Picture) -> IncidentChange | None:
        """What made it urgent is suppressed by now: it goes on as what is left, and escalates so.

        Only suppression does that. Urgent alerts that ended leave it as urgent as it was, whatever
        else was suppressed beside them all along. What somebody has in hand escalates to nobody, so
        that there is nothing to ease: it stays what they took, and is not raised to it anew.
        """
        if seen.tier <= incident.tier or incident.state is not IncidentState.TRIGGERED:
            return None
        urgent = {k for k, (tier, _, by) in incident.decided.items()
                  if not by and tier <= incident.tier}  # fmt: skip
        muted = {by for k in urgent & seen.decided.keys() if (by := seen.decided[k][2])}
        if not muted:
            return None
        taken = self.snapshot_of(seen.policy) if seen.policy else None
        left = replace(incident, tier=seen.tier, policy=taken, receivers=())
        after = self._with(left, replace(memory, round=memory.round + 1), seen)
        kept = replace(
            Memory.of(after).telling([*after.receivers, *_first_step(taken)]),
            policy=str(taken["name"]) if taken else "",
            policy_tier=seen.policies.get(seen.policy, memory.policy_tier),
        )
        after = replace(
            after, step=1 if taken else 0, route=seen.route, reason=seen.reason,
            evidence=kept.onto(after.evidence),
        )  # fmt: skip
        why = f"{', '.join(sorted(muted))}: from tier {incident.tier} to tier {seen.tier}"
        return self.change(incident, after, "eased", f"{why}: {seen.reason}", Tell.JOIN, seen)

    def _ack_expired(
        self, incident: Incident, memory: Memory, seen: Picture
    ) -> IncidentChange | None:
        until = incident.acknowledged_until
        if incident.state is not IncidentState.ACKNOWLEDGED or until is None or self.now < until:
            return None
        after = self._triggered(incident, memory, seen)
        who = incident.acknowledged_by or "somebody"
        reason = f"{who} acknowledged it, that has expired, and it still fires"
        return self.change(incident, after, "ack_expired", reason, Tell.TRIGGER, seen)

    def _in_place(self, incident: Incident, memory: Memory, seen: Picture) -> IncidentChange | None:
        """Changes that leave the state as it is."""
        after = self._with(incident, memory, seen)
        audience = self._audience(incident, seen)
        newcomers = tuple(name for name in audience if name not in memory.heard)
        if seen.is_stale and not memory.stale:
            tell = Tell.UPDATE if incident.tier == 1 else Tell.NOTHING
            reason = "its source fell silent: stale, which is not the same as well"
            return self.change(incident, self._updated(after, tell), "stale", reason, tell, seen)
        if newcomers:
            told = replace(Memory.of(after).telling(newcomers), untold=True)
            after = replace(after, evidence=told.onto(after.evidence))
            reason = f"an alert joined that concerns {', '.join(newcomers)}"
            return self.change(incident, after, "joined", reason, Tell.JOIN, seen)
        if _is_explained_by_now(memory.lead, seen.lead):
            updated = self._updated(after, Tell.UPDATE)
            reason = "what was not found out in time is known now"
            return self.change(incident, updated, "updated", reason, Tell.UPDATE, seen)
        due = self.now - (memory.last_told or incident.opened)
        has_news = memory.untold or seen.alerts != incident.alerts
        if has_news and due >= self.config.group_interval:
            updated = self._updated(after, Tell.UPDATE)
            reason = f"{len(seen.alerts)} alerts are firing"
            return self.change(incident, updated, "updated", reason, Tell.UPDATE, seen)
        if due >= self.config.repeat_interval and incident.state is IncidentState.TRIGGERED:
            updated = self._updated(after, Tell.UPDATE)
            reason = "it still fires and nobody has acknowledged it"
            return self.change(incident, updated, "reminded", reason, Tell.UPDATE, seen)
        return self._bookkept(incident, memory, after, seen)

    def _bookkept(
        self, incident: Incident, memory: Memory, after: Incident, seen: Picture
    ) -> IncidentChange | None:
        """What has to be written down although nobody needs to hear of it, if anything."""
        if seen.alerts != incident.alerts:
            kept = replace(Memory.of(after), untold=not incident.suppressed_by)
            after = replace(after, evidence=kept.onto(after.evidence))
            reason = f"{len(seen.alerts)} alerts are firing; the next update will say so"
            return self.change(incident, after, "updated", reason, seen=seen)
        if incident.decided != seen.decided:
            reason = "the decision about an alert changed"
            return self.change(incident, after, "rerouted", reason, seen=seen)
        if memory.stale and not seen.is_stale:
            return self.change(incident, after, "updated", "its source is back", seen=seen)
        return None

    # Endings

    def _cleared(self, incident: Incident, memory: Memory) -> IncidentChange | None:
        state = incident.state
        if state in (IncidentState.RESOLVED, IncidentState.RECOVERED):
            return None
        if memory.quiet_since is not None:
            quiet = self.now - memory.quiet_since
            if quiet < self.config.flap_within:
                return None
            return self._over(incident, replace(memory, quiet_since=None), "it stopped flapping")
        memory = memory.flipped(self.now, self.config.flap_within)
        flaps = self.config.flap_changes
        if flaps and len(memory.flips) >= flaps and state is not IncidentState.OPEN:
            kept = replace(memory, quiet_since=self.now)
            after = replace(incident, decided={}, evidence=kept.onto(incident.evidence))
            reason = f"clear, but it changed {len(memory.flips)} times lately: held open"
            return self.change(incident, after, "held", reason)
        return self._over(incident, memory, "no alert is firing any more")

    def _over(self, incident: Incident, memory: Memory, why: str) -> IncidentChange:
        needs_person = not memory.auto_resolve and bool(memory.heard)
        if needs_person or incident.state is IncidentState.MITIGATING:
            after = replace(
                incident,
                state=IncidentState.RECOVERED,
                decided={},
                acknowledged_until=None,
                evidence=memory.onto(incident.evidence),
            )
            tell = Tell.UPDATE if knows_of(incident) else Tell.NOTHING
            reason = f"{why}; it waits for a person to confirm"
            return self.change(incident, self._updated(after, tell), "recovered", reason, tell)
        tell = Tell.RESOLVE if knows_of(incident) else Tell.NOTHING
        memory = replace(memory, untold=False)
        if self._is_unsent(incident, memory):
            memory = replace(memory, heard=())
            tell = Tell.NOTHING
            why += "; it was over before anybody had been told"
        after = replace(
            incident,
            state=IncidentState.RESOLVED,
            decided={},
            resolved=self.now,
            evidence=memory.onto(incident.evidence),
        )
        return self.change(incident, after, "resolved", why, tell)

    def _is_unsent(self, incident: Incident, memory: Memory) -> bool:
        """Whether the first message still waits for company (and is now never sent)."""
        if incident.tier == 1 or memory.round > 1 or memory.triggered_at is None:
            return False
        return self.now < memory.triggered_at + self.config.group_wait

    def _has_cooled(self, incident: Incident) -> bool:
        return self.now - (incident.resolved or incident.updated) > self.config.cooldown

    # Parts

    def _triggered(
        self, incident: Incident, memory: Memory, seen: Picture, *, is_told: bool = True
    ) -> Incident:
        """Triggered afresh: a new round, the policy from its first step, nobody has it in hand.

        It is as urgent as what fires by now. A policy that nobody asks for any more runs on unless
        what asked for it was more urgent than that.
        """
        is_kept = seen.tier <= memory.policy_tier
        kept_policy = incident.policy if is_kept else None
        taken = self.snapshot_of(seen.policy) if seen.policy else kept_policy
        after = self._with(replace(incident, policy=taken), memory, seen)
        kept = replace(
            Memory.of(after).telling([*after.receivers, *_first_step(taken)]),
            round=memory.round + 1,
            last_told=self.now if is_told else memory.last_told,
            triggered_at=self.now,
            untold=False,
            policy=str(taken["name"]) if taken else "",
            policy_tier=seen.policies.get(seen.policy, memory.policy_tier),
        )
        return replace(
            after,
            state=IncidentState.TRIGGERED,
            tier=seen.tier,
            route=seen.route,
            reason=seen.reason,
            policy=taken,
            step=1 if taken else 0,
            suppressed_by="",
            acknowledged_by="",
            acknowledged_until=None,
            resolved=None,
            evidence=kept.onto(after.evidence),
        )

    def _with(self, incident: Incident, memory: Memory, seen: Picture) -> Incident:
        """`incident` with what the picture shows; receivers and the wish for a person only grow.

        What is suppressed adds no receivers: if another alert is told later, they stay out of it.
        """
        told = () if seen.suppressed_by else self._audience(incident, seen)
        kept = replace(
            memory,
            quiet_since=None,
            stale=seen.is_stale,
            auto_resolve=memory.auto_resolve and seen.auto_resolve,
            digest=seen.digest or memory.digest,
            run=tuple(dict.fromkeys([*memory.run, *seen.run])),
            lead=seen.lead,
        )
        return replace(
            incident,
            alerts=seen.alerts,
            decided=seen.decided,
            labels=seen.labels,
            receivers=tuple(dict.fromkeys([*incident.receivers, *told])),
            route=incident.route or seen.route,
            reason=incident.reason or seen.reason,
            evidence=kept.onto(incident.evidence),
        )

    def _audience(self, incident: Incident, seen: Picture) -> tuple[str, ...]:
        """Whom the members tell at once, beside the steps of the incident's own policy.

        One incident has one escalation; the first steps of its members' other policies are told
        with it, so that nobody is left out of what others were more urgently called to.
        """
        running = incident.policy["name"] if incident.policy else ""
        others = (self.snapshot_of(name) for name in seen.policies if name != running)
        first = (name for taken in others for name in _first_step(taken))
        return tuple(dict.fromkeys([*seen.receivers, *first]))

    def _updated(self, after: Incident, tell: Tell) -> Incident:
        if tell is Tell.NOTHING:
            return after
        memory = Memory.of(after)
        kept = replace(memory, last_told=self.now, untold=False, updates=memory.updates + 1)
        return replace(after, evidence=kept.onto(after.evidence))

    def change(
        self,
        before: Incident,
        after: Incident,
        event: str,
        reason: str,
        tell: Tell = Tell.NOTHING,
        seen: Picture | None = None,
    ) -> IncidentChange:
        new = set() if seen is None else seen.decided.items() - before.decided.items()
        return IncidentChange(
            before,
            replace(after, version=before.version + 1, updated=self.now),
            event,
            reason,
            tell,
            tuple(sorted(key for key, _ in new)),
        )


def knows_of(incident: Incident) -> bool:
    """Whether anybody was told of it, directly or by escalation."""
    return bool(Memory.of(incident).heard) or (incident.policy is not None and incident.step > 1)


def _first_step(taken: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Whom the first step of an escalation snapshot tells."""
    return tuple(taken["steps"][0]["receivers"]) if taken else ()


def _is_explained_by_now(before: Mapping[str, Any], lead: Mapping[str, Any]) -> bool:
    """Whether all evidence about the leading alert is there, some of which was late."""
    is_same = before.get("fingerprint") == lead["fingerprint"]
    missed = before.get("evidence", {}).get(MISSING)
    return bool(is_same and missed and not lead["evidence"].get(MISSING))


def _is_new(members: Sequence[Routed], incident: Incident) -> bool:
    """Whether any alert began after a person resolved the incident by hand.

    One that was not among those it had then is new, whatever a clock that was set back says.
    """
    resolved = incident.resolved
    return resolved is None or any(
        member.alert.since > resolved or member.alert.fingerprint not in incident.alerts
        for member in members
    )
