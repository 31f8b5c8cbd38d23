"""Buttons without a public address: Slack's Socket Mode over a real connection on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from delivery_build import BOT_TOKEN, Fault, Loopback, loopback, message
from delivery_socket import APP_TOKEN

from tocsin.delivery import socket_mode
from tocsin.delivery.answers import Answer, Listening
from tocsin.delivery.channels.slack import Slack, SlackConfig
from tocsin.delivery.http import client
from tocsin.delivery.outcome import Delivered
from tocsin.domain.secret import Secret

Story = Callable[[Loopback, "Heard", Slack], Awaitable[None]]


class Heard:
    """Understands what comes, and fails when it is told to."""

    def __init__(self, slack: Slack) -> None:
        self.slack = slack
        self.answers: list[Answer] = []
        self.fails = False

    async def __call__(self, body: bytes) -> None:
        if self.fails:
            raise OSError("the state database is locked")
        self.answers += self.slack.understand(body)


def pressed(action: str, at: str = "17.1") -> dict[str, Any]:
    made = {"type": "button", "action_id": f"tocsin_{action}", "value": "support-1"}
    user = {"id": "U1", "username": "ana"}
    return {"type": "block_actions", "user": user, "actions": [{**made, "action_ts": at}]}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_mode, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(socket_mode, "STEP_S", 0.0)


def run(story: Story, token: str = APP_TOKEN) -> list[Any]:
    """The story beside a connection that is held; what was logged."""

    async def told() -> None:
        async with loopback() as place, client() as http, place.services.socket.listening():
            config = SlackConfig(
                Secret(BOT_TOKEN), "C0AIOPS", api_url=f"{place.url}/slack/api",
                app_token=Secret(token),
            )  # fmt: skip
            slack = Slack(config)
            heard = Heard(slack)
            holding = asyncio.create_task(slack.listen(heard, http))
            try:
                await story(place, heard, slack)
            finally:
                holding.cancel()
                await asyncio.gather(holding, return_exceptions=True)
            assert place.services.socket.broken == []

    with structlog.testing.capture_logs() as logs:
        asyncio.run(told())
    assert token not in str(logs)
    assert "ticket" not in str(logs)
    return logs


def test_messages_have_buttons_and_what_is_pressed_is_heard_and_acknowledged() -> None:
    async def story(place: Loopback, heard: Heard, slack: Slack) -> None:
        socket = place.services.socket
        line = await socket.line(0)
        async with client() as http:
            assert isinstance(await slack.send(message(), http), Delivered)
            await slack.send(message(key="k2", action="resolve"), http)
        shown = str([json.loads(r.content) for r in place.requests if b"blocks" in r.content])
        for action in ("acknowledge", "resolve", "real", "false", "duplicate", "noise"):
            assert f"tocsin_{action}" in shown
            assert await socket.press(line, action, pressed(action))
        assert [each.action for each in heard.answers] == socket.acknowledged
        assert heard.answers[0] == Answer("acknowledge", "slack:ana", "support-1", "17.1")
        assert await socket.press(line, "e1", {"event": {}}, kind="events_api"), "nothing for us"
        await line.send("no json")
        await line.send("[]")
        assert await socket.press(line, "other", {"type": "view_closed", "user": {}})

    assert isinstance(Slack(SlackConfig(Secret("xoxb-1"), "C1")), Listening)
    run(story)


def test_the_next_connection_is_open_before_the_old_one_is_left() -> None:
    async def story(place: Loopback, heard: Heard, slack: Slack) -> None:
        socket = place.services.socket
        old = await socket.line(0)
        await socket.leave(old)
        new = await socket.line(1)
        assert await socket.press(old, "late", pressed("acknowledge"))
        assert await socket.press(new, "new", pressed("resolve"))
        await old.close()
        await socket.leave(new, "refresh_requested")
        await new.close()
        assert await socket.press(await socket.line(2), "newest", pressed("real"))
        assert [each.action for each in heard.answers] == ["acknowledge", "resolve", "real"]

    run(story)


def test_what_could_not_be_carried_out_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery_socket.LONGEST_WAIT_S", 0.2)

    async def story(place: Loopback, heard: Heard, slack: Slack) -> None:
        socket = place.services.socket
        line = await socket.line(0)
        heard.fails = True
        assert not await socket.press(line, "first", pressed("acknowledge"))
        heard.fails = False
        assert await socket.press(line, "again", pressed("acknowledge", "18.1"))

    run(story)


def test_a_connection_that_breaks_or_cannot_be_opened_is_opened_again() -> None:
    async def story(place: Loopback, heard: Heard, slack: Slack) -> None:
        socket = place.services.socket
        line = await socket.line(0)
        faults = [Fault(503), Fault(200, {}, "<html>"), Fault(how="drop")]
        faults += [Fault(200, {}, json.dumps({"ok": False, "error": f"no {APP_TOKEN}"}))]
        faults += [Fault(200, {}, '{"ok": true, "url": "ws://127.0.0.1:9/?ticket=1"}')]
        place.faults.extend(faults)
        line.transport.abort()
        assert await socket.press(await socket.line(1), "after", pressed("acknowledge"))
        assert socket.opened == 2

    reasons = [each["reason"] for each in run(story) if each["event"] == "slack.socket_lost"]
    assert len(reasons) == 6
    assert reasons[1] == "Slack: HTTP 503"


@pytest.mark.parametrize(("pause_s", "least", "most"), [(3600.0, 1, 1), (0.01, 3, 1000)])
def test_an_app_that_may_not_connect_is_said_to_be_once(
    monkeypatch: pytest.MonkeyPatch, pause_s: float, least: int, most: int
) -> None:
    monkeypatch.setattr(socket_mode, "REFUSED_PAUSE_S", pause_s)

    async def story(place: Loopback, heard: Heard, slack: Slack) -> None:
        while len(place.requests) < least:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(place.requests) <= most
        assert place.services.socket.opened == 0

    (said,) = run(story, token="xapp-wrong-token")
    assert (said["event"], said["reason"]) == ("slack.socket_refused", "Slack: invalid_auth")


def test_connections_that_do_not_last_are_opened_ever_more_slowly() -> None:
    async def story(place: Loopback, heard: Heard, slack: Slack) -> None:
        socket = place.services.socket
        for number in range(4):
            await socket.leave(await socket.line(number), "too_many_websockets")
        started = asyncio.get_running_loop().time()
        await socket.line(4)
        assert asyncio.get_running_loop().time() - started > 4 * socket_mode.FIRST_PAUSE_S

    run(story)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"app_token": "xoxb-1"}, "begins with xapp-"),
        ({"app_token": "xapp-1", "signing_secret": "s"}, "not both"),
    ],
)
def test_a_token_that_cannot_work_is_refused(changes: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SlackConfig("xoxb-1", "C1", **changes)  # type: ignore[arg-type]
