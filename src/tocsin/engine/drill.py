"""The drill: a test page through every receiver, and who it did not reach.

A receiver that worked when it was configured may be dead when it is needed: a key that was
withdrawn, a channel that was archived, a phone that was changed. So at set times a page that says
that it is none takes the way of a real one, through the outbox and the channel, and what does not
arrive is an alert. Pagers get its end two minutes later, so that it stays open nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.findings import EffectState, LedgerEvent, NewEffect
from tocsin.routing.cron import CronError, parse_cron
from tocsin.routing.oncall import ScheduleError, zone_of
from tocsin.routing.policy import Drill, RoutingPolicy
from tocsin.store.state import StateStore
from tocsin.store.transaction import Transaction

Deciding = Callable[[], AbstractContextManager[Transaction]]

HELD = "drill"  # what is remembered: plan, next, last
OPEN_FOR = timedelta(minutes=2)
GRACE = timedelta(minutes=10)  # how long a receiver may take
_RECENT = 500


class Drills:
    """Sends test pages when they are due, and knows whom the last one did not reach."""

    def __init__(
        self, state: StateStore, policy: Callable[[], RoutingPolicy], deciding: Deciding
    ) -> None:
        """deciding: a transaction that is this process's to write, see `Conductor.deciding`."""
        self._state = state
        self._policy = policy
        self._deciding = deciding

    def look(self, now: datetime) -> bool:
        """Send the test if it is due; whether it was."""
        policy = self._policy()
        drill = policy.defaults.drill
        held: dict[str, Any] = self._state.get_meta(HELD) or {}
        if drill is None:
            return False
        plan = f"{drill.cron} {drill.tz}"
        if held.get("plan") != plan:
            with self._deciding() as tx:
                known = tx.get_meta(HELD) or {}
                tx.set_meta(HELD, {**known, "plan": plan, "next": iso(_next(drill, now))})
            return False
        if now < parse_iso(held["next"]):
            return False
        return self._send(policy, drill, now)

    def unreached(self, now: datetime) -> dict[str, str]:
        """Receivers that the last test did not reach in time, and nothing since: why not."""
        held: dict[str, Any] = self._state.get_meta(HELD) or {}
        wanted = self._policy().drilled()
        if "last" not in held or not wanted or now < parse_iso(held["last"]) + GRACE:
            return {}
        last = held["last"]
        sent = self._state.effects_named([_key(last, n) for n in wanted])
        missed = {e.receiver: e for e in sent if e.state is not EffectState.DONE}
        if not missed:
            return {}
        took = {
            each.receiver
            for each in self._state.list_effects(_RECENT, EffectState.DONE, aside=False)
            if each.kind == "notify" and (each.finished or each.due) >= parse_iso(last)
        }
        return {
            name: f"the test of {last} did not reach {name}: {e.reason or e.state.value}"
            for name, e in missed.items()
            if name not in took
        }

    def _send(self, policy: RoutingPolicy, drill: Drill, now: datetime) -> bool:
        receivers = policy.drilled()
        at = iso(now)
        with self._deciding() as tx:
            if now < parse_iso((tx.get_meta(HELD) or {})["next"]):
                return False  # another process was faster
            for name in receivers:
                tx.add_effect(_effect(_key(at, name), name, "trigger", at, now))
                if policy.is_pager(name):
                    key = f"{_key(at, name)}:resolve"
                    tx.add_effect(_effect(key, name, "resolve", at, now + OPEN_FOR))
            plan = f"{drill.cron} {drill.tz}"
            tx.set_meta(HELD, {"plan": plan, "next": iso(_next(drill, now)), "last": at})
            said = f"test page to {', '.join(receivers)}"
            tx.append(
                LedgerEvent(now, "drill.sent", "tocsin", at, said, {"receivers": list(receivers)})
            )
        return True


def _key(at: str, receiver: str) -> str:
    return f"drill:{at}:{receiver}"


def _effect(key: str, receiver: str, action: str, at: str, due: datetime) -> NewEffect:
    return NewEffect(key, "notify", receiver, "", action, due, lane=2, payload={"drill": at})


def _next(drill: Drill, now: datetime) -> datetime:
    """When it is due next. What cannot be read is due at once: late is worse."""
    try:
        return parse_cron(drill.cron).next_after(now, zone_of(drill.tz, "drill"))
    except (CronError, ScheduleError):
        return now
