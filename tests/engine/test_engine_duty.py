"""Who is called, until when, and what keeps anybody from being called; minute by minute."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tick_build import CONFIG, T0, Clockwork

from tocsin.domain.findings import IncidentState
from tocsin.engine.arranging import CannotArrange
from tocsin.engine.planning import nobody_on_call
from tocsin.engine.why import why

CHAT = ("chat", "error_rate")
HOUR = timedelta(hours=1)


def failing(severity: str = "page", config: str = CONFIG, at: tuple[str, str] = CHAT) -> Clockwork:
    made = Clockwork(config)
    made.breaching[at] = severity
    return made


def test_an_acknowledgement_expires_and_everybody_is_called_again() -> None:
    made = failing()
    made.play(2)
    made.acknowledge(made.incident())
    made.play(118)
    assert made.told("pager") == [(0, "trigger"), (2, "acknowledge")]
    assert made.told("boss") == []
    made.play(20)
    assert made.told("pager") == [
        (0, "trigger"), (2, "acknowledge"), (122, "trigger"), (137, "trigger"),
    ]  # fmt: skip
    assert made.told("boss") == [(137, "trigger")]
    assert made.incident().state is IncidentState.TRIGGERED


def test_a_ticket_nobody_takes_is_told_again_after_an_hour_and_to_the_boss_after_a_day() -> None:
    made = failing("ticket")
    made.play(70)
    made.play(24 * 60, every=5)
    # It waits twenty seconds for company first; a reminder of what nobody took comes every 4 h.
    told = [(minute, action) for minute, action in made.told("team") if action == "trigger"]
    assert told == [(1, "trigger"), (61, "trigger")]
    assert [a for m, a in made.told("boss") if 1440 < m <= 1445] == ["trigger"]
    assert made.told("pager") == []


def test_a_ticket_that_is_taken_misses_no_deadline() -> None:
    made = failing("ticket")
    made.play(50)
    made.acknowledge(made.incident())
    made.play(60)
    assert [action for _, action in made.told("team")] == ["trigger", "acknowledge"]


@pytest.mark.parametrize("kind", ["silence", "maintenance"])
def test_a_silence_stops_the_escalation_at_once_and_its_end_begins_it_anew(kind: str) -> None:
    made = failing()
    made.play(5)
    now = made.clock.now()
    made.arranging.silence(kind, {"service": "chat"}, (now, now + HOUR), "ana", "restart", now)
    assert made.incident().suppressed_by.startswith(f"{kind}:")
    made.play(58)
    assert (made.told("pager"), made.told("boss")) == ([(0, "trigger")], [])
    made.play(20)
    assert made.told("pager") == [(0, "trigger"), (65, "trigger"), (80, "trigger")]
    assert made.told("boss") == [(80, "trigger")]
    found = why(made.state, made.incident().id)
    assert found.answer == "same", found.alerts[0].decisions
    assert [d.suppressed_by.partition(":")[0] for d in found.alerts[0].decisions] == ["", kind, ""]


def test_a_silence_that_is_ended_early_tells_at_once() -> None:
    made = failing()
    now = made.clock.now()
    quiet = made.arranging.silence("silence", {"service": "chat"}, (now, now + HOUR), "ana",
                                   "known", now)  # fmt: skip
    made.play(10)
    assert made.told("pager") == []
    made.arranging.end(quiet.id, "ana", made.clock.now())
    made.deliver()
    assert made.told("pager") == [(10, "trigger")]
    kinds = [e.kind for e in made.state.entries_about(quiet.id)]
    assert kinds == ["arrangement.made", "arrangement.ended"]
    with pytest.raises(CannotArrange, match="is over"):
        made.arranging.end(quiet.id, "ana", made.clock.now())


def test_maintenance_that_stands_in_a_document_holds_from_its_start_to_its_end() -> None:
    window = """  silences:
    - name: move of the database
      if: {service: chat}
      start: 2026-11-16T09:05:00Z
      stop: 2026-11-16T09:30:00Z
"""
    made = failing(config=CONFIG + window)
    made.play(40)
    assert made.told("pager") == [(0, "trigger"), (30, "trigger")]
    found = why(made.state, made.incident().id)
    assert found.alerts[0].decisions[1].suppressed_by == "maintenance:move of the database"
    assert found.answer == "same"


@pytest.mark.parametrize(
    ("when", "hours", "comment", "says"),
    [
        ({}, 1, "why", "would silence everything"),
        ({"value": ">=many"}, 1, "why", "many"),
        ({"service": "chat"}, 0, "why", "over before it begins"),
        ({"service": "chat"}, 24 * 8, "why", "more than 7 days"),
        ({"service": "chat"}, 1, "", "say in a few words"),
    ],
)
def test_a_silence_that_could_hide_a_fire_is_refused(
    when: dict[str, str], hours: int, comment: str, says: str
) -> None:
    made, span = Clockwork(), (T0, T0 + hours * HOUR)
    with pytest.raises(CannotArrange, match=says):
        made.arranging.silence("silence", when, span, "ana", comment, T0)
    assert made.state.arrangements() == []


def test_an_incident_that_flaps_is_held_open_and_told_once() -> None:
    made = failing()
    for _ in range(6):  # it clears after five quiet minutes
        made.breaching[CHAT] = "page"
        made.play(1)
        del made.breaching[CHAT]
        made.play(6)
    # The third time it is known to flap: what comes and goes then is not told, and nobody took it.
    known = [(0, "trigger"), (5, "resolve"), (7, "trigger"), (12, "resolve"), (14, "trigger"),
             (29, "trigger")]  # fmt: skip
    assert made.told("pager") == known
    assert made.incident().evidence["memory"]["quiet_since"] is not None
    told = len(known)
    made.play(20)
    assert len(made.told("pager")) == told, "held open: neither resolved nor told again"
    made.play(20)
    assert made.incident().state is IncidentState.RESOLVED
    assert made.told("pager")[-1][1] == "resolve"


def test_a_regulated_service_waits_for_a_person() -> None:
    made = failing(at=("claims", "error_rate"))
    made.play(5)
    del made.breaching[("claims", "error_rate")]
    made.play(24 * 60, every=10)
    incident = made.incident("claims")
    assert incident.state is IncidentState.RECOVERED
    assert "resolve" not in [action for _, action in made.told("pager")]


def test_a_stand_in_is_called_and_the_record_knows_it() -> None:
    made = Clockwork()
    span = (T0, T0 + 2 * HOUR)
    made.arranging.override("first", "cy", span, "ana", "dentist", T0)
    made.breaching[CHAT] = "page"
    made.play(1)
    (_, message), *_ = made.receivers["pager"].seen
    assert message.who == ("cy",)
    found = why(made.state, made.incident().id)
    assert (found.calls[0].people, found.answer) == (("cy",), "same")
    with pytest.raises(CannotArrange, match="there is no on-call schedule 'second'"):
        made.arranging.override("second", "cy", span, "ana", "", T0)


AWAY = CONFIG.replace(
    'starting: "2026-11-16"}',
    'starting: "2026-11-16", away: [{user: ana, start: 2026-11-17T08:00:00Z,'
    ' stop: 2026-11-18T08:00:00Z}]}',
)  # fmt: skip


def test_a_gap_is_found_before_it_comes_and_a_stand_in_fills_it() -> None:
    made = Clockwork(AWAY)
    (gap,) = made.arranging.gaps(T0)
    assert (gap.policy, gap.step, gap.start.hour, gap.stop - gap.start) == (
        "page-15m", 1, 8, 24 * HOUR,
    )  # fmt: skip
    (finding,) = nobody_on_call(made.desired, T0)
    assert "nobody is on call from 2026-11-17T08:00:00Z to 2026-11-18T08:00:00Z" in str(finding)
    span = (gap.start, gap.stop - 6 * HOUR)
    made.arranging.override("first", "bo", span, "ana", "", T0)
    (rest,) = made.arranging.gaps(T0)
    assert (rest.start, rest.stop) == (gap.stop - 6 * HOUR, gap.stop)


def test_a_page_into_a_gap_goes_to_the_fallback() -> None:
    made = failing(config=AWAY)
    made.clock.advance(24 * HOUR)
    made.play(1)
    assert [action for _, action in made.told("team")] == ["trigger"]
    assert why(made.state, made.incident().id).calls[0].gap == "oncall/first has nobody then"
