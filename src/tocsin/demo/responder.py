"""Somebody on call, for the demo: looks at pages after a while, and now and then does not hear one.

Scripted people do what real ones do: they acknowledge, they confirm that an incident of a regulated
service is over, and most of the time they say whether it was worth telling them, which they find
out from what really happened. Seeded, so that the same demo tells the same story.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from tocsin.alerts.responder import Refused
from tocsin.demo.labels import AFTER, BEFORE
from tocsin.demo.script import Label
from tocsin.domain.findings import Incident, IncidentState, services_of
from tocsin.engine.house import House

MEDIAN_MINUTES = 5.0
SPREAD = 0.7  # log-standard deviation: most look within ten minutes, a few after half an hour
UNHEARD = 0.15  # share of pages nobody hears before they escalate
CONFIRM_MINUTES = 20
JUDGED_AFTER = timedelta(hours=2)
SILENT = 0.15  # share of incidents nobody says anything about


class Responder:
    """Acknowledges what pages and judges what was told, as the clock of the replay goes on.

    labels: what really happens.
    """

    def __init__(self, house: House, rng: np.random.Generator, labels: Sequence[Label]) -> None:
        self._house = house
        self._rng = rng
        self._labels = labels
        self._due: list[tuple[datetime, str, str]] = []
        self._seen: set[tuple[str, str]] = set()

    def look(self, now: datetime) -> None:
        """Notice new pages, and do what is due by `now`."""
        for incident in self._house.state.incidents().values():
            if incident.tier == 1 and incident.state is IncidentState.TRIGGERED:
                self._plan(now, incident.id, "acknowledge", self._delay())
            elif incident.state is IncidentState.RECOVERED:
                self._plan(now, incident.id, "resolve", timedelta(minutes=CONFIRM_MINUTES))
            if incident.tier <= 2 and not incident.suppressed_by:
                self._plan(now, incident.id, "judge", JUDGED_AFTER)
        while self._due and self._due[0][0] <= now:
            _, incident_id, what = heapq.heappop(self._due)
            self._do(incident_id, what)

    def _plan(self, now: datetime, incident_id: str, what: str, delay: timedelta) -> None:
        if (incident_id, what) not in self._seen:
            self._seen.add((incident_id, what))
            heapq.heappush(self._due, (now + delay, incident_id, what))

    def _delay(self) -> timedelta:
        minutes = MEDIAN_MINUTES * float(np.exp(self._rng.normal(0.0, SPREAD)))
        if self._rng.random() < UNHEARD:
            minutes += 20.0
        return timedelta(minutes=minutes)

    def _do(self, incident_id: str, what: str) -> None:
        who = str(self._rng.choice(["ana", "bo", "cy"]))
        if what == "judge":
            self._judge(incident_id, who)
            return
        if what == "acknowledge":
            answer = self._house.acknowledge(incident_id, who)
        else:
            answer = self._house.resolve(incident_id, who, "checked, it works again")
        if not isinstance(answer, Refused):
            self._seen.discard((incident_id, "acknowledge"))

    def _judge(self, incident_id: str, who: str) -> None:
        incident = self._house.state.incident(incident_id)
        if incident is None or self._rng.random() < SILENT:
            return
        verdict = "real" if is_real(incident, self._labels) else "false"
        self._house.state.mark(incident_id, verdict, who, self._house.clock.now())


def is_real(incident: Incident, labels: Sequence[Label]) -> bool:
    """Whether something was wrong with a service of the incident when it was opened."""
    return any(
        label.real
        and not services_of(incident).isdisjoint(label.services)
        and label.start - BEFORE <= incident.opened <= label.end + AFTER
        for label in labels
    )
