"""The weekly test page: through every receiver, and who it does not reach is told."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta

import pytest
from tick_build import CONFIG, T0, Clockwork

from tocsin.delivery.outcome import Outcome, Rejected
from tocsin.engine.drill import HELD, Drills
from tocsin.store.leases import LeaseLost
from tocsin.store.transaction import Transaction

DRILLED = CONFIG.replace(
    "defaults: {unmatched", 'defaults: {drill: {cron: "0 10 * * 1", tz: Europe/Berlin}, unmatched'
)


class Dead:
    """A receiver whose key was withdrawn."""

    is_idempotent = True
    rate_per_s = 100.0
    Config = None

    async def send(self, message: object, http: object) -> Outcome:
        return Rejected("HTTP 403: the key was withdrawn")


def drilled(config: str = DRILLED) -> tuple[Clockwork, Drills]:
    made = Clockwork(config)
    return made, Drills(made.state, lambda: made.rules.policy, made.state.transaction)


def pass_time(made: Clockwork, drills: Drills, hours: float) -> int:
    sent = 0
    for _ in range(int(hours * 4)):
        sent += drills.look(made.clock.now())
        made.deliver()
        made.clock.advance(timedelta(minutes=15))
    return sent


def test_every_receiver_is_tested_once_a_week_and_pagers_are_closed_again() -> None:
    made, drills = drilled()
    # Ten in Berlin is nine in London, which is now: the next one is in a week.
    assert pass_time(made, drills, 7 * 24) == 0
    assert pass_time(made, drills, 24) == 1
    assert [action for _, action in made.told("pager")] == ["trigger", "resolve"]
    assert [action for _, action in made.told("team") + made.told("boss")] == ["trigger"] * 2
    (at, message) = made.receivers["pager"].seen[0]
    assert at == T0 + timedelta(days=7)
    assert message.heading == "Firing: Test of Tocsin, nothing is wrong"
    assert drills.unreached(made.clock.now()) == {}
    (entry,) = [e for e in made.state.ledger_entries(0, 10_000) if e.kind == "drill.sent"]
    assert entry.data["receivers"] == ["boss", "pager", "team"]
    assert made.state.verify_ledger() is None


def test_a_receiver_that_it_does_not_reach_is_known_until_something_does() -> None:
    made, drills = drilled()
    made.courier.use({**made.receivers, "pager": Dead()})  # type: ignore[dict-item]
    pass_time(made, drills, 7 * 24 + 0.5)
    found = drills.unreached(made.clock.now())
    assert list(found) == ["pager"]
    assert "HTTP 403: the key was withdrawn" in found["pager"]
    made.courier.use(made.receivers)
    made.breaching[("chat", "error_rate")] = "page"
    made.play(2)
    assert drills.unreached(made.clock.now()) == {}


def test_nothing_is_tested_that_nobody_asked_for_nor_where_the_public_reads() -> None:
    made, drills = drilled(CONFIG)
    assert pass_time(made, drills, 8 * 24) == 0
    policy = drilled()[0].rules.policy
    public = replace(policy, receivers={**policy.receivers, "public": "statuspage", "wall": "none"})
    assert public.drilled() == policy.drilled() == ("boss", "pager", "team")
    named = DRILLED.replace("tz: Europe/Berlin}", "tz: Europe/Berlin, receivers: [boss]}")
    assert drilled(named)[0].rules.policy.drilled() == ("boss",)


def test_who_no_longer_conducts_changes_no_plan() -> None:
    made, drills = drilled()
    drills.look(made.clock.now())
    known = made.state.get_meta(HELD)

    def lost() -> AbstractContextManager[Transaction]:
        raise LeaseLost("another process conducts")

    other = drilled(DRILLED.replace("0 10", "0 11"))[0].rules.policy
    with pytest.raises(LeaseLost):
        Drills(made.state, lambda: other, lost).look(made.clock.now())
    assert made.state.get_meta(HELD) == known
