"""Pictures: drawn from their numbers, shown where a receiver shows them, in nobody's way."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from delivery_build import BOT_TOKEN, T0, Fault, Loopback, Scripted, World, incident, loopback
from PIL import Image
from test_delivery_channels import CASES
from test_delivery_email import mail_server, settings

from tocsin.delivery.channel import Channel, TakesPictures
from tocsin.delivery.channels import CHANNELS
from tocsin.delivery.channels.email import Email
from tocsin.delivery.channels.slack import SlackConfig
from tocsin.delivery.figure import Figure, png
from tocsin.delivery.http import client
from tocsin.delivery.limits import FAILURES_TO_OPEN
from tocsin.delivery.outcome import Delivered, Rejected, Retry
from tocsin.domain.findings import ASIDE, EffectState, NewEffect

CALM, BAD = (0.01,) * 60, (0.25,) * 20
FIGURE = Figure(
    title="support: share of failed calls",
    unit="ratio",
    start=T0 - timedelta(minutes=80),
    step=timedelta(minutes=1),
    values=(None, *CALM[1:], *BAD),
    low=(0.0,) * 80,
    high=(None,) * 10 + (0.03,) * 70,
    began=T0 - timedelta(minutes=20),
    changes=((T0 - timedelta(minutes=22), "deploy support 4.2"),),
)
SHOW = {"slack": "slack-bot", "jira": "jira", "teams": "teams"}


def effect(receiver: str, thread: Mapping[str, Any] | None, name: str = "p") -> NewEffect:
    picture = {
        "incident": "support-1", "title": "support: error rate", "service": "support", "tier": 1,
        "thread": thread, "figure": FIGURE.to_json(),
    }  # fmt: skip
    return NewEffect(name, "notify", receiver, "", "picture", T0, ASIDE, {"picture": picture})


def test_a_picture_has_words_and_the_same_numbers_give_the_same_bytes() -> None:
    assert FIGURE.words() == (
        "support: share of failed calls, 08:40 to 10:00 UTC: last 25 %, at most 25 %, "
        "expected up to 3 %"
    )
    assert Figure.from_json(json.loads(json.dumps(FIGURE.to_json()))) == FIGURE
    assert png(FIGURE) == png(FIGURE)
    image = Image.open(io.BytesIO(png(FIGURE))).convert("RGB")
    assert image.size == (720, 240)
    blue = [
        (x, y)
        for x in range(60, 700)
        for y in range(40, 214)
        if (p := image.getpixel((x, y))) and p[2] > 150 and p[0] < 90  # type: ignore[index,operator]
    ]
    calm = [y for x, y in blue if x < 500]
    high = [y for x, y in blue if x > 600]
    assert min(calm) > max(high), "failures are drawn above what was usual"


@pytest.mark.parametrize(
    "values",
    [(), (None,), (math.nan,), (0.0,) * 5, (1e-9,), (1e12, 0.0), (0.5, None, 0.5), (math.inf, 1.0)],
)
def test_whatever_the_numbers_a_picture_is_drawn(values: tuple[float | None, ...]) -> None:
    nothing = (None,) * len(values)
    for unit in ("ratio", "s", "usd", "count", "moons"):
        odd = replace(FIGURE, unit=unit, values=values, low=nothing, high=nothing)
        assert len(png(odd)) < 20_000
        assert odd.words()


def run(name: str, story: Any, thread: Mapping[str, Any] | None) -> None:
    async def told() -> None:
        async with loopback() as place, client() as http:
            case = CASES[SHOW[name]]
            plugin = CHANNELS[case.type]
            channel = plugin(plugin.Config(**{**case.settings(place.url), "charts": True}))
            assert isinstance(channel, TakesPictures)
            assert channel.takes_pictures
            assert not case.build(place.url).takes_pictures  # type: ignore[attr-defined]
            world = World(fallbacks=("fallback",))
            channels: Mapping[str, Channel] = {**world.receivers, "primary": channel}
            world.courier.use(channels, ("fallback",))
            world.courier._http = http
            first = await channel.send(_first(), http)
            assert isinstance(first, Delivered)
            world.add(effect("primary", first.remote_ref if thread is None else thread))
            await story(world, place)

    asyncio.run(told())


def _first() -> Any:
    from delivery_build import message

    return message()


def outcome(world: World) -> tuple[EffectState, str]:
    (found,) = world.store.effects("")
    return found.state, found.reason


def test_slack_shows_it_in_the_thread_of_the_page() -> None:
    async def story(world: World, place: Loopback) -> None:
        await world.courier.drain(T0)
        assert outcome(world)[0] is EffectState.DONE
        files = place.services.files
        assert files.bytes["F0"] == png(FIGURE)
        assert files.asked["F0"]["alt_txt"] == FIGURE.words()
        (shown,) = files.shown
        root = place.sinks.channels["C0AIOPS"][0]
        assert shown == {
            "files": [{"id": "F0", "title": "support: share of failed calls"}],
            "channel_id": "C0AIOPS",
            "thread_ts": root.ts,
        }

    run("slack", story, None)


def test_jira_gets_it_attached() -> None:
    async def story(world: World, place: Loopback) -> None:
        await world.courier.drain(T0)
        assert outcome(world)[0] is EffectState.DONE
        attached = place.services.jira.issues["OPS-1"]["attachments"]
        assert attached == [("chart.png", "image/png", png(FIGURE))]

    run("jira", story, None)


def test_teams_gets_a_card_that_holds_it() -> None:
    async def story(world: World, place: Loopback) -> None:
        await world.courier.drain(T0)
        assert outcome(world)[0] is EffectState.DONE
        (image,) = [b for b in place.services.teams.cards[-1]["body"] if b["type"] == "Image"]
        assert image["altText"] == FIGURE.words()
        content = base64.b64decode(image["url"].removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(content)).format == "PNG"

    run("teams", story, None)


def test_mail_holds_it_in_the_thread_of_the_page() -> None:
    with mail_server() as (box, port):
        world = World()
        mail = Email(settings(port, charts=True))
        assert mail.takes_pictures
        world.courier.use({"primary": mail})
        found = world.open(incident(id="support-1"), receivers=["primary"])
        world.add(effect("primary", None))
        world.drain()
    assert found.id == "support-1"
    page, picture = sorted(box.mails, key=lambda m: "Chart" in m["Subject"])
    assert page["References"] == picture["References"]
    html = picture.get_body(("html",))
    (image,) = [part for part in picture.walk() if part.get_content_type() == "image/png"]
    assert image.get_content() == png(FIGURE)
    assert f"cid:{image['Content-ID'].strip('<>')}" in html.get_content()
    plain = " ".join(picture.get_body(("plain",)).get_content().split())
    assert FIGURE.words() in plain, "who sees no pictures reads it"


@pytest.mark.parametrize("name", SHOW)
def test_a_picture_that_fails_holds_up_no_page(name: str) -> None:
    """Neither in the order of messages, nor by a breaker; and no fallback is paged for it."""

    async def story(world: World, place: Loopback) -> None:
        for number in range(FAILURES_TO_OPEN + 1):
            world.add(effect("primary", None, f"more-{number}"))
        place.faults.extend([Fault(503)] * (FAILURES_TO_OPEN + 2))
        await world.courier.drain(T0)
        asked = len(place.requests)
        page = world.open(incident(), receivers=["primary"])
        place.faults.clear()
        await world.courier.drain(T0)
        assert len(place.requests) > asked
        assert world.states(page) == [EffectState.DONE]
        later = T0 + timedelta(hours=1)
        await world.courier.drain(later)
        left = [e for e in world.store.effects("") if e.state is not EffectState.DONE]
        assert {e.state for e in left} <= {EffectState.CANCELLED, EffectState.DEAD}
        assert not world.receivers["fallback"].seen

    run(name, story, None if name != "teams" else {})


def test_a_page_goes_first_when_a_picture_is_due_as_well() -> None:
    world = World()
    world.receivers["primary"] = Scripted(rate_per_s=0.1)
    world.courier = world.new_courier("worker-1")
    for number in range(9):
        world.add(effect("primary", None, f"p{number}"))
    world.open(incident(), receivers=["primary"])
    world.drain()
    assert world.receivers["primary"].told[0] == "trigger"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(429, {"retry-after": "7"}), Retry),
        (Fault(200, {}, '{"ok": false, "error": "missing_scope"}'), Rejected),
        (Fault(how="drop"), Retry),
    ],
)
def test_what_fails_before_slack_has_shown_it_is_tried_again_or_refused(
    fault: Fault, expected: type[Any]
) -> None:
    async def story(world: World, place: Loopback) -> None:
        place.faults.append(fault)
        await world.courier.drain(T0)
        state, reason = outcome(world)
        assert state is (EffectState.READY if expected is Retry else EffectState.DEAD)
        assert BOT_TOKEN not in reason
        assert not place.services.files.shown

    run("slack", story, None)


def test_a_webhook_of_slack_takes_no_pictures() -> None:
    with pytest.raises(ValueError, match="takes no pictures"):
        SlackConfig(url="https://hooks.slack.com/services/T/B/x", charts=True)  # type: ignore[arg-type]
