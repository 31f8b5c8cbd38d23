"""Slack's Socket Mode: what people press comes over a connection that we open, not to an address.

https://docs.slack.dev/apis/events-api/using-socket-mode/: `apps.connections.open` with an app-level
token (xapp-…, scope connections:write) gives an address that is good once; on it come envelopes,
each to be acknowledged by its id within three seconds. Slack ends every connection after some
hours and says so with a `disconnect` first: the next one is opened before the old one is left, so
that nobody presses a button into the gap.

An envelope is acknowledged when what it says has been carried out. What fails is not: Slack then
shows a warning beside the button, and the person presses it again.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tocsin.delivery.answers import Hear
from tocsin.delivery.http import USER_AGENT, json_object, request
from tocsin.domain.clock import monotonic_s
from tocsin.domain.secret import Secret, scrub

_log = structlog.get_logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
STEP_S = 0.1  # between a connection that leaves and the next one
# How long the old connection is read while the next one is already open.
OVERLAP_S = 15.0
STEADY_S = 60.0  # a connection that lasted so long was a good one
REFUSED_PAUSE_S = 3600.0
OPEN_S = 10.0
LARGEST_ENVELOPE = 1_000_000
# Slack pings, and so do we: a connection that a firewall dropped is noticed within a minute.
PING_S = 20.0


# Answers of apps.connections.open, and of a `disconnect`, that trying again soon does not change.
_UNWANTED = frozenset(
    {
        "access_denied", "account_inactive", "app_access_denied", "enterprise_is_restricted",
        "forbidden_team", "invalid_auth", "is_bot", "link_disabled", "missing_scope",
        "no_permission", "not_allowed_token_type", "not_authed", "org_login_required",
        "team_access_not_granted", "token_expired", "token_revoked",
    }
)  # fmt: skip
_FIX = "buttons do not work until the app has Socket Mode on and app_token is one of its own tokens"


class NoSocket(Exception):
    """A connection could not be opened; the text holds no secret."""


class Refused(NoSocket):
    """Slack does not want this app, or not this token."""


async def hold(api_url: str, app_token: Secret, hear: Hear, http: httpx.AsyncClient) -> None:
    """Keep a connection until cancelled, and `hear` what comes (the JSON of a payload).

    hear: raises when it could not be carried out. A connection that does not last is opened again
    ever more slowly, one that Slack refuses the app (`Refused`) hourly; why is said once, until it
    is another reason or there was a connection.
    """
    held: set[asyncio.Task[None]] = set()
    tries = _Tries()
    try:
        while True:
            line, opened = _Line(hear), monotonic_s()
            task = asyncio.create_task(line.run(api_url, app_token, http))
            held.add(task)
            leaving = asyncio.create_task(line.leaving.wait())
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            error = task.exception() if task.done() and not task.cancelled() else None
            await asyncio.sleep(tries.pause_s(line, monotonic_s() - opened, error))
            held = {each for each in held if not each.done()}
    finally:
        for each in held:
            each.cancel()
        await asyncio.gather(*held, return_exceptions=True)


class _Tries:
    """How long to wait before the next connection, and what is said of the last one."""

    def __init__(self) -> None:
        self._short = 0  # connections in a row that did not last
        self._said = ""

    def pause_s(self, line: _Line, lasted_s: float, error: BaseException | None) -> float:
        """After a connection that lasted so long and ended so."""
        refused = isinstance(error, Refused) or line.why_left in _UNWANTED
        if line.was_greeted and not refused:
            self._said = ""
        if line.was_greeted and lasted_s >= STEADY_S:
            self._short = 0
        self._tell(error, line, refused)
        if refused:
            return REFUSED_PAUSE_S
        self._short += 1
        if line.was_greeted and line.leaving.is_set() and self._short <= 1:
            return STEP_S
        return min(FIRST_PAUSE_S * (1 << min(self._short - 1, 10)), LONGEST_PAUSE_S)

    def _tell(self, error: BaseException | None, line: _Line, refused: bool) -> None:
        reason = str(error) or type(error).__name__ if error is not None else line.why_left
        if reason == self._said or not (error or refused):
            return
        self._said = reason
        if refused:
            _log.error("slack.socket_refused", reason=reason, fix=_FIX)
        else:
            _log.warning("slack.socket_lost", reason=reason)


class _Line:
    """One connection. leaving: set when Slack wants to end it, why_left: its reason; was_greeted:
    it was open."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self.leaving = asyncio.Event()
        self.was_greeted = False
        self.why_left = ""

    async def run(self, api_url: str, app_token: Secret, http: httpx.AsyncClient) -> None:
        """Open, read to the end. Raises NoSocket."""
        address = await _address(api_url, app_token, http)
        try:
            async with connect(
                address,
                open_timeout=OPEN_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=1,
                max_size=LARGEST_ENVELOPE,
                user_agent_header=USER_AGENT,
            ) as socket:
                await self._read(socket)
        except (OSError, TimeoutError, WebSocketException) as error:
            # Its text may quote the address, and that holds a ticket.
            raise NoSocket(f"the connection broke ({type(error).__name__})") from None

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            was_leaving = self.leaving.is_set()
            await self._take(socket, text)
            if self.leaving.is_set() and not was_leaving:
                asyncio.get_running_loop().call_later(OVERLAP_S, _end, socket)

    async def _take(self, socket: ClientConnection, text: str | bytes) -> None:
        try:
            said: Any = json.loads(text)
            kind = said["type"]
        except (ValueError, LookupError, TypeError):
            _log.warning("slack.socket_unreadable")
            return
        if kind == "hello":
            self.was_greeted = True
        elif kind == "disconnect":
            self.why_left = str(said.get("reason", ""))[:50]
            _log.info("slack.socket_leaves", reason=self.why_left)
            self.leaving.set()
        elif "envelope_id" in said:
            if kind == "interactive":
                try:
                    await self._hear(json.dumps(said.get("payload")).encode())
                except Exception as error:  # noqa: BLE001 (the next press may work)
                    _log.error("slack.press_failed", kind=type(error).__name__)
                    return
            await socket.send(json.dumps({"envelope_id": said["envelope_id"]}))


# --- private -----------------------------------------------------------------------------------


def _end(socket: ClientConnection) -> None:
    socket.transport.close()


async def _address(api_url: str, app_token: Secret, http: httpx.AsyncClient) -> str:
    response = await request(
        http,
        "POST",
        f"{api_url.rstrip('/')}/apps.connections.open",
        headers={"Authorization": f"Bearer {app_token.reveal()}"},
    )
    if not isinstance(response, httpx.Response):
        raise NoSocket(response.reason)
    answer = json_object(response) or {}
    address = str(answer.get("url", ""))
    if answer.get("ok") is not True or not address:
        error = scrub(str(answer.get("error", f"HTTP {response.status_code}"))[:100], [app_token])
        raise (Refused if error in _UNWANTED else NoSocket)(f"Slack: {error}")
    if not address.startswith("wss://") and not api_url.startswith("http://"):
        raise NoSocket("Slack gave an address that is not wss://")
    return address
