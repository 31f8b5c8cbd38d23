"""When alerts of others end: their sender promised to tell them again, and did not."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from datetime import datetime

from tocsin.domain.clock import parse_iso
from tocsin.domain.findings import Alert

ENDS = "ends_at"  # in an alert's evidence: until when it holds without being told again


class Expiring:
    """Knows which alerts are next to end, without looking at all of them.

    open_since: what we were away for before does not count: nobody could have told us then.
    """

    def __init__(self, open_since: datetime) -> None:
        self._open_since = open_since
        self._next: list[tuple[datetime, str]] = []  # a heap
        self._noted: dict[str, datetime] = {}  # fingerprint -> its place in the heap

    def note(self, alerts: Iterable[Alert]) -> None:
        """Look after these alerts. One that is told again, until later, is found when it is due."""
        for alert in alerts:
            if ENDS in alert.evidence:
                ends = self.ends(alert)
                if ends < self._noted.get(
                    alert.fingerprint, datetime.max.replace(tzinfo=ends.tzinfo)
                ):
                    self._noted[alert.fingerprint] = ends
                    heapq.heappush(self._next, (ends, alert.fingerprint))

    def over(self, alerts: Mapping[str, Alert], now: datetime) -> list[Alert]:
        """Those of the alerts that are not resolved which end now; each is named once."""
        found = []
        while self._next and self._next[0][0] <= now:
            ends, key = heapq.heappop(self._next)
            if self._noted.get(key) != ends:
                continue
            del self._noted[key]
            alert = alerts.get(key)
            if alert is None or ENDS not in alert.evidence:
                continue
            if self.ends(alert) <= now:
                found.append(alert)
            else:
                self.note((alert,))
        return found

    def ends(self, alert: Alert) -> datetime:
        """When an alert ends that is not told again: its sender had as long as it promised."""
        ends = parse_iso(str(alert.evidence[ENDS]))
        return max(ends, self._open_since + (ends - alert.updated))
