"""What an incident remembers beside its fields, kept as JSON in its `evidence`.

It lies under "memory", apart from what monitors put there; "lead" (the finding that speaks for the
group) and "digest" lie beside it, for whoever writes messages and pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.findings import Incident


@dataclass(frozen=True, slots=True)
class Memory:
    """Bookkeeping of one episode.

    round: how often it was triggered; part of every effect's key, so that a second round is not
    mistaken for a retry of the first. updates: news sent in place.
    heard: receivers that were told of this episode (escalation steps count by `Incident.step`, not
    here). untold: a change waits for the group interval. flips: when it cleared or came back,
    lately. policy, policy_tier: the escalation that runs, and how urgent the alert was that asked
    for it. quiet_since: clear, but held open because it flaps. resolved_by: the person who
    resolved it by hand.
    """

    round: int = 0
    updates: int = 0
    heard: tuple[str, ...] = ()
    last_told: datetime | None = None
    triggered_at: datetime | None = None
    untold: bool = False
    flips: tuple[datetime, ...] = ()
    quiet_since: datetime | None = None
    stale: bool = False
    auto_resolve: bool = True
    digest: str = ""
    run: tuple[str, ...] = ()
    policy: str = ""
    policy_tier: int = 1
    resolved_by: str = ""
    lead: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, incident: Incident) -> Memory:
        """The memory in `incident.evidence`; what is missing has its default."""
        kept = incident.evidence.get("memory", {})
        return cls(
            round=int(kept.get("round", 0)),
            updates=int(kept.get("updates", 0)),
            heard=tuple(kept.get("heard", ())),
            last_told=_instant(kept.get("last_told")),
            triggered_at=_instant(kept.get("triggered_at")),
            untold=bool(kept.get("untold", False)),
            flips=tuple(parse_iso(text) for text in kept.get("flips", ())),
            quiet_since=_instant(kept.get("quiet_since")),
            stale=bool(kept.get("stale", False)),
            auto_resolve=bool(kept.get("auto_resolve", True)),
            digest=str(kept.get("digest", "")),
            run=tuple(kept.get("run", ())),
            policy=str(kept.get("policy", "")),
            policy_tier=int(kept.get("policy_tier", 1)),
            resolved_by=str(kept.get("resolved_by", "")),
            lead=incident.evidence.get("lead", {}),
        )

    def onto(self, evidence: Mapping[str, Any]) -> dict[str, Any]:
        """`evidence` with this memory in it, ready for JSON; other entries are kept."""
        memory = {
            "round": self.round,
            "updates": self.updates,
            "heard": list(self.heard),
            "last_told": _text(self.last_told),
            "triggered_at": _text(self.triggered_at),
            "untold": self.untold,
            "flips": [iso(at) for at in self.flips],
            "quiet_since": _text(self.quiet_since),
            "stale": self.stale,
            "auto_resolve": self.auto_resolve,
            "digest": self.digest,
            "run": list(self.run),
            "policy": self.policy,
            "policy_tier": self.policy_tier,
            "resolved_by": self.resolved_by,
        }
        return {**evidence, "lead": dict(self.lead), "digest": self.digest, "memory": memory}

    def telling(self, receivers: Iterable[str]) -> Memory:
        """With `receivers` among those who were told."""
        return replace(self, heard=tuple(dict.fromkeys([*self.heard, *receivers])))

    def flipped(self, now: datetime, within: timedelta) -> Memory:
        """With one more change between firing and clear; changes longer ago are forgotten."""
        return replace(self, flips=(*(at for at in self.flips if now - at < within), now))


def _instant(text: Any) -> datetime | None:
    return None if text is None else parse_iso(str(text))


def _text(at: datetime | None) -> str | None:
    return None if at is None else iso(at)
