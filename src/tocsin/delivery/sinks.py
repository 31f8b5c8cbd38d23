"""Stand-ins for PagerDuty, Slack and webhook receivers that hold their callers to the contract.

The demo mounts `Sinks.app` and shows what arrived; the tests of the channels talk to the same. A
request that the real service would refuse is refused with the real service's error; nothing is
recorded then. Addresses (`{name}` is optional and names the receiver):

    /pagerduty/{name}/v2/enqueue, v2/change/enqueue       /webhook/{name}
    /slack/{name}/services/T/B/x, actions/T/1/x
    /slack/{name}/api/chat.postMessage, chat.update, conversations.history, conversations.replies
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tocsin.delivery import sink_contracts as contracts

# receiver, time, headers, body
Record = Callable[[str, datetime, Mapping[str, str], str], None]


@dataclass(slots=True)
class Posted:
    """A message in a Slack channel of the sink."""

    ts: str
    thread_ts: str
    body: Mapping[str, Any]


@dataclass(slots=True)
class Sinks:
    """The state behind the endpoints.

    record: called with every request that was accepted. now: the clock that timestamps are checked
    against, which may be an accelerated one. webhook_secrets: `whsec_…` by receiver name; a
    receiver without one has its headers checked, but not its signature. alerts: PagerDuty alerts
    by (routing key, dedup key). channels: Slack messages by channel id. responded: how often each
    response_url was used.
    """

    record: Record
    now: Callable[[], datetime]
    webhook_secrets: Mapping[str, str] = field(default_factory=dict)
    alerts: dict[tuple[str, str], str] = field(default_factory=dict)
    channels: dict[str, list[Posted]] = field(default_factory=dict)
    webhook_ids: set[str] = field(default_factory=set)
    responded: Counter[str] = field(default_factory=Counter)

    @property
    def app(self) -> Starlette:
        """The endpoints as an ASGI application, to be mounted anywhere."""
        routes = []
        for name in ("", "/{name}"):
            api = f"/slack{name}/api"
            routes += [
                Route(f"/pagerduty{name}/v2/enqueue", self._enqueue, methods=["POST"]),
                Route(f"/pagerduty{name}/v2/change/enqueue", self._change, methods=["POST"]),
                Route(f"/slack{name}/services/{{path:path}}", self._incoming, methods=["POST"]),
                Route(f"/slack{name}/actions/{{path:path}}", self._respond, methods=["POST"]),
                Route(f"{api}/chat.postMessage", self._post_message, methods=["POST"]),
                Route(f"{api}/chat.update", self._update, methods=["POST"]),
                Route(f"{api}/conversations.history", self._history),
                Route(f"{api}/conversations.replies", self._replies),
                Route(f"/webhook{name}", self._webhook, methods=["POST"]),
            ]
        return Starlette(routes=routes)

    # --- PagerDuty ---

    async def _enqueue(self, request: Request) -> Response:
        body = await request.body()
        if len(body) > contracts.PAGERDUTY_LARGEST:
            return PlainTextResponse("Request Entity Too Large", 413)
        event, problems = contracts.pagerduty(body)
        if event is None or problems:
            answer = {"status": "invalid event", "message": "Event object is invalid"}
            return JSONResponse({**answer, "errors": problems}, 400)
        key = (event["routing_key"], str(event.get("dedup_key") or f"sink-{len(self.alerts)}"))
        action, current = event["event_action"], self.alerts.get(key, "")
        if action == "trigger":
            is_open = current in {"triggered", "acknowledged"}
            self.alerts[key] = current if is_open else "triggered"
        elif current in {"triggered", "acknowledged"}:
            self.alerts[key] = "acknowledged" if action == "acknowledge" else "resolved"
        self._keep(request, "pagerduty", body, hide=event["routing_key"])
        answer = {"status": "success", "message": "Event processed", "dedup_key": key[1]}
        return JSONResponse(answer, 202)

    async def _change(self, request: Request) -> Response:
        body = await request.body()
        if len(body) > contracts.PAGERDUTY_LARGEST:
            return PlainTextResponse("Request Entity Too Large", 413)
        event, problems = contracts.pagerduty_change(body)
        if event is None or problems:
            answer = {"status": "invalid event", "message": "Event object is invalid"}
            return JSONResponse({**answer, "errors": problems}, 400)
        self._keep(request, "pagerduty", body, hide=event["routing_key"])
        return JSONResponse({"status": "success", "message": "Change event processed"}, 202)

    # --- Slack ---

    async def _incoming(self, request: Request) -> Response:
        body = await request.body()
        message = contracts.json_object(body)
        if message is None or contracts.slack_message(message):
            return PlainTextResponse("invalid_payload", 400)
        self._keep(request, "slack", body)
        return PlainTextResponse("ok")

    async def _respond(self, request: Request) -> Response:
        """A response_url: five times, for one person or for all."""
        body = await request.body()
        said = contracts.json_object(body)
        if said is None or contracts.slack_response(said):
            return PlainTextResponse("invalid_payload", 400)
        self.responded[request.url.path] += 1
        if self.responded[request.url.path] > contracts.MOST_RESPONSES:
            return PlainTextResponse("used_url", 404)
        self._keep(request, "slack", body)
        return PlainTextResponse("ok")

    async def _post_message(self, request: Request) -> Response:
        body = await request.body()
        message = contracts.json_object(body)
        error = contracts.slack_call(request.headers, message)
        if message is None or error:
            return _not_ok(error)
        channel = _channel_id(message["channel"])
        posted = self.channels.setdefault(channel, [])
        thread_ts = str(message.get("thread_ts", ""))
        if thread_ts and self._find(channel, thread_ts) is None:
            return _not_ok("thread_not_found")
        ts = f"{int(self.now().timestamp())}.{len(posted) + 1:06d}"
        posted.append(Posted(ts, thread_ts, message))
        self._keep(request, "slack", body)
        return JSONResponse({"ok": True, "channel": channel, "ts": ts, "message": message})

    async def _update(self, request: Request) -> Response:
        body = await request.body()
        message = contracts.json_object(body)
        error = contracts.slack_call(request.headers, message)
        if message is None or error:
            return _not_ok(error)
        found = self._find(message["channel"], str(message.get("ts", "")))
        if found is None:
            return _not_ok("message_not_found")
        found.body = {**found.body, **message}
        self._keep(request, "slack", body)
        return JSONResponse({"ok": True, "channel": message["channel"], "ts": found.ts})

    async def _history(self, request: Request) -> Response:
        channel = request.query_params.get("channel", "")
        roots = [each for each in self.channels.get(channel, ()) if not each.thread_ts]
        return self._messages(request, roots)

    async def _replies(self, request: Request) -> Response:
        channel = request.query_params.get("channel", "")
        root = request.query_params.get("ts", "")
        posted = self.channels.get(channel, ())
        return self._messages(request, [p for p in posted if root in (p.ts, p.thread_ts)])

    def _messages(self, request: Request, posted: Sequence[Posted]) -> Response:
        error = contracts.slack_token(request.headers)
        if error:
            return _not_ok(error)
        if request.query_params.get("channel", "") not in self.channels:
            return _not_ok("channel_not_found")
        shows_metadata = request.query_params.get("include_all_metadata") == "true"
        messages = [
            {"ts": p.ts, **({"metadata": p.body["metadata"]} if "metadata" in p.body else {})}
            if shows_metadata
            else {"ts": p.ts}
            for p in reversed(posted)
        ]
        return JSONResponse({"ok": True, "messages": messages, "has_more": False})

    def _find(self, channel: str, ts: str) -> Posted | None:
        return next((p for p in self.channels.get(channel, ()) if p.ts == ts), None)

    # --- Standard Webhooks ---

    async def _webhook(self, request: Request) -> Response:
        body = await request.body()
        name = request.path_params.get("name", "webhook")
        problem = contracts.webhook(
            request.headers, body, self.now(), self.webhook_secrets.get(name)
        )
        if problem:
            return JSONResponse({"error": problem}, 400)
        webhook_id = request.headers["webhook-id"]
        if webhook_id not in self.webhook_ids:  # a retry of what was accepted is accepted, once
            self.webhook_ids.add(webhook_id)
            self._keep(request, "webhook", body)
        return Response(status_code=204)

    # --- private ---

    def _keep(self, request: Request, kind: str, body: bytes, hide: str = "") -> None:
        headers = {
            name: value for name, value in request.headers.items() if name != "authorization"
        }
        text = body.decode(errors="replace")
        if hide:
            text = text.replace(json.dumps(hide), json.dumps("•••"))
        self.record(request.path_params.get("name", kind), self.now(), headers, text)


def _not_ok(error: str) -> Response:
    return JSONResponse({"ok": False, "error": error or "invalid_json"})


def _channel_id(channel: str) -> str:
    """Slack answers with the id of a channel that was named."""
    if channel[:1] in {"C", "G", "D"} and channel.isalnum() and channel.isupper():
        return channel
    return "C" + "".join(char for char in channel.upper() if char.isalnum())
