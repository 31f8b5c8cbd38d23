"""Which evidence is gathered for which alert, and how long its page waits for it.

Nothing is fetched for an entry: deploys, status pages and probes are asked for all the time by
sources, and a page reads what is known. Without any entry everything is gathered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tocsin.routing.classify import Classified
from tocsin.routing.match import Matcher, MatchError, Unreadable, compile_or_unreadable
from tocsin.routing.policy import Enrichment

# What `use` may name -> the parts of the evidence that it asks for.
USES: Mapping[str, tuple[str, ...]] = {
    "github.deployments": ("changes",),
    "tocsin.changes": ("changes",),
    "status.statuspage": ("provider", "status_pages"),
    "http.health": ("probes",),
    "tocsin.breakdown": ("slice", "component"),
    "tocsin.runbook": ("runbook",),
}
PARTS = tuple(dict.fromkeys(part for parts in USES.values() for part in parts))


@dataclass(frozen=True, slots=True)
class Enriching:
    """Entries with their conditions compiled."""

    entries: tuple[tuple[Enrichment, Matcher | Unreadable], ...]

    @classmethod
    def of(cls, entries: Sequence[Enrichment]) -> Enriching:
        """Entries as they were written."""
        return cls(tuple((entry, compile_or_unreadable(entry.when)) for entry in entries))

    def wanted(self, alert: Classified) -> Mapping[str, float | None]:
        """Parts that are gathered for an alert -> seconds that its page waits for each at most.

        None where no entry says how long. A condition that cannot be applied does not leave
        anything out.
        """
        if not self.entries:
            return dict.fromkeys(PARTS)
        found: dict[str, float | None] = {}
        for entry, matcher in self.entries:
            if not _holds(matcher, alert):
                continue
            timeout_s = None if entry.timeout is None else entry.timeout.total_seconds()
            found |= dict.fromkeys(USES[entry.use], timeout_s)
        return found


def _holds(matcher: Matcher | Unreadable, alert: Classified) -> bool:
    try:
        return matcher.holds({**alert.labels, **alert.facts})
    except MatchError:
        return True
