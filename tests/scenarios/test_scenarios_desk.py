"""What pages say when the engine or the list behind them is not as it should be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from world import Phase, World, usual

from tocsin.domain.errors import StoreError
from tocsin.domain.findings import IncidentState
from tocsin.store import inbox
from tocsin.web.tone import Tone
from tocsin.web.views import Window


def test_nothing_is_green_while_nobody_judges(tmp_path: Path) -> None:
    with World(tmp_path, usual("chat", "drafts", "claims", until=60)) as made:
        made.play(5)
        assert Tone.OK in {view.tone for view in made.desk.objectives()}
        made.source.failures = [StoreError("the engine does not answer")] * 1000
        made.play(13)
        assert {view.tone for view in made.desk.objectives()} == {Tone.UNKNOWN}
        cards = made.desk.fleet(Window.DAY).cards
        assert {card.tone for card in cards} == {Tone.UNKNOWN}
        assert "minutes ago" in cards[0].reason
        assert not made.desk.ready().is_ready


def test_a_live_incident_does_not_hide_behind_newer_ones(tmp_path: Path) -> None:
    phases = [*usual("chat", until=60), Phase("chat", 5, 60, failing=0.7)]
    with World(tmp_path, phases) as made:
        made.play(15)
        live = made.incident("chat")
        with made.state.transaction() as tx:
            for number in range(520):
                newer = replace(
                    live,
                    id=f"newer{number}-1",
                    group_key=f"newer{number}",
                    state=IncidentState.CLOSED,
                    labels={"service": "drafts"},
                    opened=made.clock.now() + timedelta(seconds=number),
                    version=0,
                )
                tx.put_incident(newer, expect_version=None)
        assert made.desk.fleet(Window.DAY).firing_pages >= 1
        listed = made.web.get("/api/v1/incidents?state=live&limit=100").json()["items"]
        assert live.id in {item["id"] for item in listed}
        first = made.web.get("/api/v1/incidents?state=all&limit=1000").json()
        assert first["next"], "there are more than were read at once"


def test_alerts_that_cannot_be_read_are_shown_with_the_quarantine(tmp_path: Path) -> None:
    with World(tmp_path, usual("chat", until=5)) as made:
        with made.state.transaction() as tx:
            number = inbox.put(tx, "alertmanager", made.clock.now(), b'{"alerts": 5}')
            inbox.settle(tx, [number], reason="alerts: expected a list")
        [row] = made.web.get("/api/v1/quarantine").json()["items"]
        assert (row["source"], row["reason"]) == ("alertmanager", "alerts: expected a list")
        assert "alerts: expected a list" in made.web.get("/quarantine").text
