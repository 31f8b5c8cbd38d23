"""A strict stand-in for Slack's Socket Mode: one-time addresses, envelopes, acknowledgements."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from delivery_service import Service
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from websockets.asyncio.server import ServerConnection, serve

APP_TOKEN = "xapp-1-A1-averysecretapptoken"
MOST_CONNECTIONS = 10
LONGEST_WAIT_S = 3.0


@dataclass
class SlackSocket(Service):
    """broken: what was done that Slack does not allow; it stays empty."""

    url: str = ""
    tickets: set[str] = field(default_factory=set)
    lines: list[ServerConnection] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    opened: int = 0
    _pending: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def routes(self) -> list[BaseRoute]:
        return [Route("/slack/api/apps.connections.open", self.connect, methods=["POST"])]

    async def connect(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {APP_TOKEN}":
            return JSONResponse({"ok": False, "error": "invalid_auth"})
        if b"token" in await request.body():
            return JSONResponse({"ok": False, "error": "missing_args"})
        self.opened += 1
        ticket = f"ticket-{self.opened}"
        self.tickets.add(ticket)
        return JSONResponse({"ok": True, "url": f"{self.url}/link/?ticket={ticket}&app_id=A1"})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[SlackSocket]:
        async with serve(self._hold, "127.0.0.1", 0) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def line(self, number: int) -> ServerConnection:
        """The connection of this number, when it is there."""
        async with asyncio.timeout(20):
            while len(self.lines) <= number:
                self._came.clear()
                await self._came.wait()
        return self.lines[number]

    async def press(
        self, line: ServerConnection, name: str, payload: Any, kind: str = "interactive"
    ) -> bool:
        """Send an envelope; whether it was acknowledged in time."""
        self._pending[name] = asyncio.get_running_loop().create_future()
        envelope = {
            "payload": payload,
            "envelope_id": name,
            "type": kind,
            "accepts_response_payload": False,
        }
        await line.send(json.dumps(envelope))
        try:
            await asyncio.wait_for(self._pending[name], LONGEST_WAIT_S)
        except TimeoutError:
            return False
        return True

    async def leave(self, line: ServerConnection, reason: str = "warning") -> None:
        """Say that the connection will end."""
        said = {"type": "disconnect", "reason": reason, "debug_info": {"host": "wss-1"}}
        await line.send(json.dumps(said))

    async def _hold(self, line: ServerConnection) -> None:
        assert line.request is not None
        ticket = parse_qs(urlsplit(line.request.path).query).get("ticket", [""])[0]
        if ticket not in self.tickets:
            self.broken.append("an address was used twice, or made up")
            return
        self.tickets.remove(ticket)
        hello = {
            "type": "hello",
            "connection_info": {"app_id": "A1"},
            "num_connections": 1 + sum(each.state.name == "OPEN" for each in self.lines),
            "debug_info": {"host": "wss-1", "approximate_connection_time": 18_060},
        }
        if hello["num_connections"] > MOST_CONNECTIONS:  # type: ignore[operator]
            self.broken.append("more than ten connections")
        await line.send(json.dumps(hello))
        self.lines.append(line)
        self._came.set()
        async for text in line:
            said = json.loads(text)
            waiting = self._pending.get(said.get("envelope_id"))
            if waiting is None or waiting.done():
                self.broken.append(f"this acknowledges nothing: {text!r}")
                continue
            self.acknowledged.append(said["envelope_id"])
            waiting.set_result(None)
