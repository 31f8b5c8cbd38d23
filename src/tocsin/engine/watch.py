"""Tocsin watches itself: what keeps it from telling people is an alert, and its silence one too.

Looked at twice a minute: a page that its receiver never took (the fallback was paged already),
tickets and digests that nobody took,
effects that should have been tried more than two minutes ago, minutes that nobody has judged,
alerts of other monitors that could not be read, times at which nobody is on call, receivers that
a test page did not reach, judges that judge nothing, and a ledger that is not what was written.
Each raises an alert of the service `tocsin`, which is classified and routed like any other.

Whoever is dead cannot say so. While all is well, an address outside is asked every minute
(healthchecks.io, Dead Man's Snitch, a heartbeat of the pager); when that stops, *it* alarms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import structlog

from tocsin.delivery.http import request
from tocsin.domain.clock import from_minute
from tocsin.domain.findings import Alert, AlertState, EffectState, fingerprint
from tocsin.domain.secret import Secret
from tocsin.engine.drill import Drills
from tocsin.engine.evaluators import EvaluatorStatus
from tocsin.engine.holding import hold
from tocsin.engine.house import House
from tocsin.store import inbox
from tocsin.store.leases import LeaseLost
from tocsin.store.ledger import ChainBreak
from tocsin.store.rows import StoredEffect

log = structlog.get_logger(__name__)

# Not the source of alerts that monitors raise: a tick would end what no monitor says.
SOURCE, SERVICE = "tocsin-watch", "tocsin"
INTERVAL = timedelta(seconds=30)
BETWEEN_PINGS = timedelta(minutes=1)
OVERDUE = timedelta(minutes=2)
UNJUDGED = timedelta(minutes=5)
UNJUDGING = timedelta(minutes=15)
# A receiver that is not called again in this time is taken to be mended; if not, it shows.
REMEMBERED = timedelta(hours=2)
# How long before nobody is on call somebody is told, to find a stand-in by day.
GAP_AHEAD = timedelta(hours=24)
_READ = 500


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with Tocsin. name: of the alert, unique. signal: its kind.

    severity: page for what keeps people from being told, ticket for what somebody has to mend.
    """

    name: str
    signal: str
    reason: str
    severity: str = "page"


class Watch:
    """Looks after one house.

    ping_url: what is asked while all is well; None is nothing. ledger: where the ledger was found
    broken, see `engine.notary`. evaluators: how the judges of Tocsin's own are doing.
    """

    def __init__(
        self,
        house: House,
        ping_url: Secret | None = None,
        ledger: Callable[[], ChainBreak | None] = lambda: None,
        evaluators: Callable[[], Sequence[EvaluatorStatus]] = tuple,
    ) -> None:
        self._house = house
        self._ping_url = ping_url
        self._ledger = ledger
        self._evaluators = evaluators
        self._drills = Drills(
            house.state, lambda: house.rules.policy, lambda: house.conductor.deciding()
        )
        self._pinged: datetime | None = None

    def troubles(self) -> list[Trouble]:
        """Everything that is wrong now."""
        now = self._house.clock.now()
        found = [*self._lost(now)]
        overdue = self._house.state.overdue(now, OVERDUE, aside=False)
        if overdue:
            what = f"{overdue} messages or timers should have been tried two minutes ago"
            found.append(Trouble("delivery/overdue", "delivery_overdue", what))
        behind = now - from_minute(self._house.standing.minute + 1)
        if behind > UNJUDGED:
            what = f"the last judged minute ended {int(behind.total_seconds()) // 60} minutes ago"
            found.append(Trouble("evaluation/lag", "evaluation_lag", what))
        found += self._gaps(now)
        pages = self._house.rules.policy.is_pager
        found += [
            Trouble(f"drill/{name}", "test_page_missing", why, "page" if pages(name) else "ticket")
            for name, why in self._drills.unreached(now).items()
        ]
        if broken := self._ledger():
            what = f"the audit trail was changed by a hand of its own: {broken}"
            found.append(Trouble("ledger/broken", "ledger_broken", what))
        return [*found, *self._unreadable(now), *self._unjudging(now)]

    def look(self) -> list[Trouble]:
        """Raise and end alerts so that they say what is wrong now. Blocks."""
        house, now = self._house, self._house.clock.now()
        self._drills.look(now)
        found = self.troubles()
        wanted = {_key(each): _alert(each, now) for each in found}
        for alert in hold(house, SOURCE, wanted, "tocsin.watched"):
            log.error("tocsin_in_trouble", trouble=alert.labels["monitor"], reason=alert.reason)
        return found

    async def ping(self, http: httpx.AsyncClient, found: list[Trouble]) -> bool:
        """Tell the outside that people will be told, if so and it is time; whether it was told."""
        now = self._house.clock.now()
        if self._ping_url is None or any(each.severity == "page" for each in found):
            return False
        if self._pinged is not None and now - self._pinged < BETWEEN_PINGS:
            return False
        response = await request(http, "GET", self._ping_url.reveal(), headers={})
        if not isinstance(response, httpx.Response):
            log.warning("deadman_not_reached", reason=response.reason)
            return False
        if not response.is_success:
            log.warning("deadman_refused", status=response.status_code)
            return False
        self._pinged = now
        return True

    async def run(
        self, http: httpx.AsyncClient, stop: asyncio.Event, wake: Callable[[], None]
    ) -> None:
        """Look and ping until `stop` is set. A look that fails is no ping."""
        while not stop.is_set():
            try:
                if self._house.conductor.conducts:
                    found = await asyncio.to_thread(self.look)
                    if found:
                        wake()
                    await self.ping(http, found)
            except LeaseLost:
                log.info("watching_no_more")  # another process does
            except Exception:  # worker loop: the missing ping is the alarm
                log.exception("watch_failed")
            try:
                await asyncio.wait_for(stop.wait(), INTERVAL.total_seconds())
            except TimeoutError:
                continue

    def _unjudging(self, now: datetime) -> list[Trouble]:
        """Judges that have not judged for a while: what they promise is unknown meanwhile."""
        return [
            Trouble(
                f"evaluator/{one.name}",
                "evaluator_failing",
                f"the evaluator {one.name} has not judged for {UNJUDGING}: {one.reason}",
                severity="ticket",
            )
            for one in self._evaluators()
            if one.state == "failing" and one.since is not None and now - one.since > UNJUDGING
        ]

    def _gaps(self, now: datetime) -> list[Trouble]:
        """Times at which an escalation would call nobody, while somebody can still step in."""
        found: dict[str, Trouble] = {}
        for gap in self._house.arranging.gaps(now, GAP_AHEAD):
            has_begun = gap.start <= now
            what = f"{gap.policy}/{gap.step}"
            name = f"oncall/{'now' if has_begun else 'ahead'}/{what}"
            severity = "page" if has_begun else "ticket"
            reason = f"escalation policy {gap.policy}: {gap}"
            found.setdefault(name, Trouble(name, "oncall_gap", reason, severity))
        return list(found.values())

    def _unreadable(self, now: datetime) -> list[Trouble]:
        """Sources whose alerts could not be read lately: any of them may have been a page."""
        with self._house.state.reading() as tx:
            letters = [one for one in inbox.refused(tx) if one.at > now - REMEMBERED]
        newest = {one.source: one for one in reversed(letters)}
        return [
            Trouble(
                f"inbox/{source}",
                "alert_unreadable",
                f"an alert of {source} could not be read: {letter.reason}",
                severity="ticket",
            )
            for source, letter in newest.items()
        ]

    def _lost(self, now: datetime) -> list[Trouble]:
        """Receivers that took no message since one that nobody else got was given up, lately.

        A page was given to the fallback; a ticket or a digest reached nobody. Those of a receiver
        that was removed are tickets too: whatever still names it has to be mended.
        """
        state, configured = self._house.state, self._house.desired.receivers
        took: dict[str, datetime] = {}
        for effect in state.list_effects(_READ, EffectState.DONE, aside=False):
            took.setdefault(effect.receiver, effect.finished or effect.due)
        lost: dict[tuple[bool, str], StoredEffect] = {}
        for effect in state.list_effects(_READ, EffectState.DEAD, aside=False):
            is_first_word = effect.action in ("trigger", "digest") and "drill" not in effect.payload
            if effect.kind == "notify" and is_first_word:
                is_page = effect.lane <= 1 and effect.receiver in configured
                lost.setdefault((is_page, effect.receiver), effect)
        return [
            Trouble(
                f"delivery/{receiver}" if is_page else f"delivery/tickets/{receiver}",
                "delivery_failed" if is_page else "ticket_lost",
                f"{receiver} did not take {_what(one)}: {one.reason or one.last_outcome}",
                "page" if is_page else "ticket",
            )
            for (is_page, receiver), one in lost.items()
            if (one.finished or one.due) > took.get(receiver, now - REMEMBERED)
        ]


# --- private -----------------------------------------------------------------------------------


def _what(effect: StoredEffect) -> str:
    if effect.action == "digest":
        return "a digest"
    return "a page" if effect.lane <= 1 else "a ticket"


def _key(trouble: Trouble) -> str:
    return fingerprint({"source": SOURCE, "key": trouble.name})


def _alert(trouble: Trouble, now: datetime) -> Alert:
    labels = {
        "source": SOURCE,
        "service": SERVICE,
        "env": "prod",
        "monitor": trouble.name,
        "signal": trouble.signal,
        "severity": trouble.severity,
    }
    return Alert(
        fingerprint=_key(trouble),
        labels=labels,
        state=AlertState.FIRING,
        since=now,
        updated=now,
        severity=trouble.severity,
        reason=trouble.reason,
        last_breach=now,
    )
