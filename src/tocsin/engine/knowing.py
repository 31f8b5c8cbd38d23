"""What alerts were found to be, kept for as long as they say the same.

A storm is decided about again with every alert that joins it, and every minute. An alert that says
what it said, and has not lasted past a time that a rule asks about, is what it was: looking at it
again costs a look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tocsin.alerts.grouping import Routed
from tocsin.alerts.inhibit import Inhibition, concerns
from tocsin.domain.findings import Alert, Decision
from tocsin.routing.alike import Alike, Likeness
from tocsin.routing.classify import Classified, facts_of

MOST_KNOWN = 200_000
_ALWAYS = (0, 0)  # where no rule asks how long an alert has lasted


@dataclass(slots=True)
class Known:
    """One alert. lasting: on which side of the times that rules ask about it was. inhibits: whether
    it may inhibit others, or be inhibited. suppression, decision: what was decided about it
    last, being suppressed by what. routed: that decision, with the alert as it was then."""

    alert: Alert
    lasting: tuple[int, int]
    like: Likeness
    found: Classified
    inhibits: bool
    suppression: str = ""
    decision: Decision | None = None
    routed: Routed | None = None


@dataclass(frozen=True, slots=True)
class Knowing:
    """Looks at alerts by one configuration. Gives what looking afresh would."""

    alike: Alike
    inhibitions: Sequence[Inhibition]
    _known: dict[str, Known] = field(default_factory=dict, repr=False)
    _inhibiting: dict[Likeness, bool] = field(default_factory=dict, repr=False)

    def of(self, alert: Alert, now: datetime) -> Known:
        """The alert as it is at `now`; of its facts only `for` may be that of an earlier time."""
        lasting = _ALWAYS
        if "for" in self.alike.numbers:
            lasting = self.alike.side("for", (now - alert.since).total_seconds())
        known = self._known.get(alert.fingerprint)
        if known is not None and known.lasting == lasting:
            if known.alert is alert:
                return known
            if _says_the_same(known.alert, alert):
                known.alert = alert
                return known
        facts = facts_of(alert, (now - alert.since).total_seconds())
        like, found = self.alike.classify(alert.labels, facts)
        known = Known(alert, lasting, like, found, self._inhibits(like, found))
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[alert.fingerprint] = known
        return known

    def route(self, known: Known, alert: Alert, suppression: str) -> Routed:
        """The decision about an alert that is known. alert: with what was noted about it since."""
        decision = known.decision
        if decision is None or known.suppression != suppression:
            decision = self.alike.route(known.like, known.found, suppression)
            known.suppression, known.decision, known.routed = suppression, decision, None
        if known.routed is None or known.routed.alert is not alert:
            known.routed = Routed(alert, decision)
        return known.routed

    def _inhibits(self, like: Likeness, found: Classified) -> bool:
        if not self.inhibitions:
            return False
        if (known := self._inhibiting.get(like)) is None:
            values: dict[str, str | float] = {**found.labels, **found.facts}
            known = any(concerns(rule, values) for rule in self.inhibitions)
            if len(self._inhibiting) >= MOST_KNOWN:
                self._inhibiting.clear()
            self._inhibiting[like] = known
        return known


def _says_the_same(one: Alert, other: Alert) -> bool:
    """Whether two alerts are the same to every rule. Only what is the very same is compared."""
    return (
        one.labels is other.labels
        and one.evidence is other.evidence
        and one.since == other.since
        and (one.value, one.expected, one.unit, one.score)
        == (other.value, other.expected, other.unit, other.score)
    )
