"""What keeps Tocsin from telling people is an alert of its own; its silence is one elsewhere."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from world import CONFIG, ZERO, Phase, World, usual

from tocsin.delivery.figure import Figure
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Delivered, Outcome, Rejected
from tocsin.domain.findings import ASIDE, Incident, IncidentState, NewEffect
from tocsin.domain.secret import Secret
from tocsin.domain.series import Change
from tocsin.engine.afterwards import Afterwards
from tocsin.engine.outside import Outside
from tocsin.engine.watch import Watch

PHASES = [*usual("chat", until=120), Phase("chat", 5, 120, failing=0.7)]


class Receiver:
    """Takes everything, or nothing."""

    is_idempotent = True
    rate_per_s = 100.0
    Config = None

    def __init__(self) -> None:
        self.seen: list[Message] = []
        self.works = True

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        self.seen.append(message)
        return Delivered({}) if self.works else Rejected("HTTP 403: the key was withdrawn")


def about_itself(made: World) -> list[Incident]:
    found = made.state.incidents(live_only=False).values()
    return [each for each in found if each.labels.get("service") == "tocsin"]


def receivers(made: World) -> dict[str, Receiver]:
    found = {name: Receiver() for name in made.house.desired.receivers}
    channels: Any = found
    made.courier.use(channels, ("mail",))
    return found


def test_a_ticket_that_nobody_took_is_told_and_so_is_one_to_a_receiver_that_was_removed(
    tmp_path: Path,
) -> None:
    with World(tmp_path, usual("chat", until=20)) as made:
        told, watch = receivers(made), Watch(made.house)
        told["mail"].works = False
        with made.state.transaction() as tx:
            for name in ("mail", "gone"):
                for action in ("digest", "resolve"):
                    tx.add_effect(
                        NewEffect(f"{name}:{action}", "notify", name, "", action, made.clock.now(),
                                  lane=3, payload={"digest": "daily", "items": ["x"]})
                    )  # fmt: skip
        made.play(3)
        found = {each.name: each for each in watch.troubles()}
        assert {"delivery/tickets/mail", "delivery/tickets/gone"} == found.keys()
        assert found["delivery/tickets/mail"].severity == "ticket"
        assert "did not take a digest: HTTP 403" in found["delivery/tickets/mail"].reason
        assert "no receiver 'gone' is configured" in found["delivery/tickets/gone"].reason


def test_a_page_that_its_receiver_never_took_opens_an_incident_about_tocsin(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        told, watch = receivers(made), Watch(made.house)
        told["pagerduty"].works = False
        made.play(12)
        assert [m.title for m in told["mail"].seen], "the fallback was paged"
        (trouble,) = watch.look()
        assert trouble.name == "delivery/pagerduty"
        assert "HTTP 403" in trouble.reason
        made.play(14)
        (own,) = about_itself(made)
        assert own.labels["signal"] == "delivery_failed"
        assert own.tier == 1
        assert any("pagerduty" in m.summary for m in told["mail"].seen)
        watch.look()
        watch.look()
        assert len(about_itself(made)) == 1, "one trouble is one incident, however long it lasts"
        told["pagerduty"].works = True
        with made.state.transaction() as tx:  # the next message to it
            update = NewEffect(
                "next", "notify", "pagerduty", own.id, "update", made.clock.now(), lane=1
            )
            tx.add_effect(update)
        made.play(25)
        assert watch.look() == []
        made.play(40)
        (own,) = about_itself(made)
        assert own.state in {IncidentState.RESOLVED, IncidentState.CLOSED}


def test_what_goes_another_way_neither_mends_a_lost_page_nor_is_trouble(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        told, watch = receivers(made), Watch(made.house)
        told["pagerduty"].works = False
        made.play(12)
        [trouble] = watch.troubles()
        assert trouble.name == "delivery/pagerduty"
        told["pagerduty"].works = True
        told["mail"].works = False  # for a stranger who mistyped an address
        with made.state.transaction() as tx:
            for name in ("pagerduty", "mail"):
                payload = {"digest": "status/public", "items": ["x"], "address": "a@example.org"}
                tx.add_effect(
                    NewEffect(f"{name}:aside", "notify", name, "", "digest", made.clock.now(),
                              ASIDE, payload)
                )  # fmt: skip
        made.deliver()
        assert told["pagerduty"].seen[-1].action == "digest"
        assert [each.name for each in watch.troubles()] == ["delivery/pagerduty"]
        with made.state.transaction() as tx:
            old = made.clock.now() - timedelta(minutes=5)
            tx.add_effect(NewEffect("waits", "notify", "mail", "", "digest", old, ASIDE, payload))
        assert [each.name for each in watch.troubles()] == ["delivery/pagerduty"]


def test_a_courier_that_does_nothing_is_seen(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        receivers(made)
        watch = Watch(made.house)
        made.play(6)
        assert watch.troubles() == []
        made.play(12, deliver=False)
        assert [each.signal for each in watch.look()] == ["delivery_overdue"]
        assert [a.labels["signal"] for a in made.state.alerts().values()
                if a.labels.get("service") == "tocsin"] == ["delivery_overdue"]  # fmt: skip


def test_the_ping_stops_when_something_is_wrong(tmp_path: Path) -> None:
    asked: list[str] = []
    answers = [500, 200, 200, 200]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(answers[len(asked) - 1])

    async def story(made: World) -> None:
        watch = Watch(made.house, Secret("https://hc.example/ping/averysecretuuid"))
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            assert not await watch.ping(http, watch.look())
            assert await watch.ping(http, watch.look()), "it was refused: asked again at once"
            assert not await watch.ping(http, watch.look()), "once a minute is enough"
            made.clock.advance(timedelta(minutes=1))
            assert await watch.ping(http, watch.look())
            made.clock.advance(timedelta(minutes=7))  # nobody judges
            found = watch.look()
            assert [each.signal for each in found] == ["evaluation_lag"]
            assert not await watch.ping(http, found)
        assert len(asked) == 3

    with World(tmp_path, usual("chat", until=30)) as made:
        made.play(5)
        asyncio.run(story(made))


def test_alerts_of_others_are_left_alone(tmp_path: Path) -> None:
    with World(tmp_path, PHASES) as made:
        receivers(made)
        made.play(12)
        alert = next(iter(made.state.alerts().values()))
        other = replace(
            alert, fingerprint="elsewhere", labels={"source": "prometheus", "service": "tocsin"}
        )
        with made.state.transaction() as tx:
            tx.put_alert(other)
        Watch(made.house).look()
        assert "elsewhere" in made.state.alerts()


def test_an_alert_of_another_monitor_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with World(tmp_path, usual("chat", until=30)) as made:
        made.play(5)
        outside, watch = Outside(made.house), Watch(made.house)
        outside.accept("grafana", b"<html>not an alert</html>")
        outside.work()
        (trouble,) = watch.look()
        assert (trouble.name, trouble.signal) == ("inbox/grafana", "alert_unreadable")
        (own,) = about_itself(made)
        assert own.tier != 1, "somebody has to mend it; nobody has to get up"
        made.clock.advance(timedelta(hours=3))
        assert "alert_unreadable" not in {each.signal for each in watch.troubles()}


def test_deploys_are_told_once_to_the_pager_that_shows_them(tmp_path: Path) -> None:
    changes = [(1, "chat", "deploy", "chat 4.2"), (3, "search", "deploy", "search 9"),
               (4, "", "model switch", "all to gpt-5")]  # fmt: skip
    with World(tmp_path, usual("chat", until=30), changes=changes) as made:
        after = Afterwards(made.house)
        looks = []
        for minute in (2, 4, 6):
            made.play(minute)
            looks += [after.look(), after.look()]
            made.deliver()
        assert (sum(looks), looks[1::2]) == (2, [0, 0, 0]), "each once"
        told = [m.body["payload"]["summary"] for m in made.of("pagerduty")]
        assert told == ["chat: chat 4.2", "all to gpt-5"]
        made.house.telemetry.add_change(Change(ZERO + 2, "chat", "prompt", "calmer"))  # came late
        made.house.telemetry.flush()
        after.look()
        made.deliver()
        assert made.of("pagerduty")[-1].body["payload"]["custom_details"]["kind"] == "prompt"
        assert not made.state.incidents(live_only=False)


def test_a_picture_follows_a_page_that_was_taken(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        CONFIG.read_text().replace("  type: slack\n", "  type: slack\n  charts: true\n")
    )
    with World(tmp_path / "data", PHASES, config=config) as made:
        after = Afterwards(made.house)
        made.play(4)
        assert after.look() == 0, "there is no page yet"
        made.play(12)
        page = made.incident("chat")
        assert made.of("slack"), "the page is out before anybody draws"
        assert (after.look(), after.look()) == (1, 0)
        (effect,) = made.state.effects_named([f"{page.id}:picture:slack"])
        kept = effect.payload["picture"]
        assert kept["thread"]["ts"], "it goes into the thread of the page"
        figure = Figure.from_json(kept["figure"])
        assert (figure.title, figure.unit) == ("chat: share of failed calls", "ratio")
        assert figure.began == page.opened
        known = [value for value in figure.values if value is not None]
        assert max(known) > 0.3 > 10 * known[0]
        assert figure.stop <= made.clock.now() + timedelta(minutes=1)
        made.clock.advance(timedelta(hours=1))
        assert after.look() == 0


def test_a_time_without_anybody_on_call_is_told_the_day_before(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    away = "away: [{user: bo, start: 2026-11-16T20:00:00Z, stop: 2026-11-17T04:00:00Z}]"
    config.write_text(CONFIG.read_text().replace("users: [ana, bo]", f"users: [bo], {away}"))
    with World(tmp_path / "data", usual("chat", until=2), config=config) as made:
        watch = Watch(made.house)
        (gap,) = watch.look()
        assert (gap.name, gap.severity) == ("oncall/ahead/page/1", "ticket")
        assert "nobody is on call from 2026-11-16T20:00:00Z to 2026-11-17T04:00:00Z" in gap.reason
        (own,) = about_itself(made)
        assert own.tier == 2
        now, stop = made.clock.now(), made.clock.now() + timedelta(hours=24)
        made.house.arranging.override("first", "ana", (now, stop), "ana", "", now)
        assert watch.look() == []
