"""Strict stand-ins for services: what their documentation refuses, they refuse.

Each keeps its state as the real one would and records the requests it accepted. A class is one
service; `Services` is all of them behind one server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

Record = Callable[[str, datetime, Mapping[str, str], str], None]

GENIE_KEY = "b1c9fd2a-averysecret-genie-key"
SPLUNK_KEY = "5ec4e7aa-averysecret-endpoint-key"


def is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest


@dataclass
class Service:
    """The clock and the notebook that all of them share."""

    record: Record
    now: Callable[[], datetime]

    def accept(self, request: Request, body: bytes) -> None:
        headers = {k: v for k, v in request.headers.items() if k != "authorization"}
        self.record(type(self).__name__.lower(), self.now(), headers, body.decode())


def parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass
class Opsgenie(Service):
    """Alert API v2 of Opsgenie and the integration events of Jira Service Management."""

    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[BaseRoute]:
        base = "/opsgenie/v2/alerts"
        return [
            Route(base, self.create, methods=["POST"]),
            Route(f"{base}/{{alias}}/{{verb}}", self.change, methods=["POST"]),
        ]

    def _refused(self, request: Request, problems: Mapping[str, str]) -> Response | None:
        if request.headers.get("authorization") != f"GenieKey {GENIE_KEY}":
            return JSONResponse({"message": "Could not authenticate"}, 401)
        if problems:
            return JSONResponse({"message": "Request body is not valid", "errors": problems}, 422)
        return None

    async def create(self, request: Request) -> Response:
        body = await request.body()
        alert = parsed(body)
        limits = {"message": 130, "alias": 512, "description": 15_000, "entity": 512, "source": 100}
        wrong = {k: f"over {n}" for k, n in limits.items() if not is_text(alert.get(k, ""), n)}
        details = alert.get("details", {})
        if not alert.get("message"):
            wrong["message"] = "is mandatory"
        if len(alert.get("tags", [])) > 20 or any(len(tag) > 50 for tag in alert.get("tags", [])):
            wrong["tags"] = "at most 20 of 50 characters"
        if any(not isinstance(value, str) for value in details.values()):
            wrong["details"] = "values are text"
        if sum(len(k) + len(v) for k, v in details.items()) > 8_000:
            wrong["details"] = "over 8000"
        if alert.get("priority", "P3") not in {"P1", "P2", "P3", "P4", "P5"}:
            wrong["priority"] = "P1 to P5"
        if any("type" not in responder for responder in alert.get("responders", [])):
            wrong["responders"] = "need a type"
        refused = self._refused(request, wrong)
        if refused:
            return refused
        found = self.alerts.get(alert["alias"])
        if found is not None and found["status"] != "closed":
            found["count"] += 1
        else:
            self.alerts[alert["alias"]] = {**alert, "status": "open", "count": 1, "notes": []}
        self.accept(request, body)
        return self._queued()

    async def change(self, request: Request) -> Response:
        body = await request.body()
        event, alias = parsed(body), request.path_params["alias"]
        verb = request.path_params["verb"]
        wrong: dict[str, str] = {}
        if request.query_params.get("identifierType") != "alias":
            wrong["identifier"] = "is an alert id"
        if not is_text(event.get("note", ""), 25_000) or (
            verb == "notes" and not event.get("note")
        ):
            wrong["note"] = "up to 25000"
        if verb not in {"notes", "acknowledge", "close"}:
            return JSONResponse({"message": "Not Found"}, 404)
        refused = self._refused(request, wrong)
        if refused:
            return refused
        if alias in self.alerts:  # carried out later: an unknown alias is not an error of this call
            alert = self.alerts[alias]
            alert["notes"].append(event.get("note", ""))
            ends = {"acknowledge": "acknowledged", "close": "closed"}
            if alert["status"] != "closed":
                alert["status"] = ends.get(verb, alert["status"])
        self.accept(request, body)
        return self._queued()

    def _queued(self) -> Response:
        answer = {"result": "Request will be processed", "took": 0.1, "requestId": "43a29c5c"}
        return JSONResponse(answer, 202)


@dataclass
class Splunk(Service):
    """The REST endpoint integration of Splunk On-Call."""

    incidents: dict[str, str] = field(default_factory=dict)

    def routes(self) -> list[BaseRoute]:
        return [Route("/splunk/alert/{key}/{route}", self.alert, methods=["POST"])]

    async def alert(self, request: Request) -> Response:
        body = await request.body()
        alert = parsed(body)
        if request.path_params["key"] != SPLUNK_KEY:
            return JSONResponse({"result": "failure", "message": "Invalid key"}, 403)
        kinds = {"CRITICAL", "WARNING", "INFO", "ACKNOWLEDGEMENT", "RECOVERY"}
        if alert.get("message_type") not in kinds:
            return JSONResponse({"result": "failure", "message": "message_type"}, 400)
        if not isinstance(alert.get("state_start_time", 0), int):
            return JSONResponse({"result": "failure", "message": "state_start_time"}, 400)
        if len(str(alert.get("state_message", "")).encode()) > 20_480:
            return JSONResponse({"result": "failure", "message": "state_message"}, 400)
        name = alert.get("entity_id") or f"unnamed-{len(self.incidents)}"
        self.incidents[name] = alert["message_type"]
        self.accept(request, body)
        return JSONResponse({"result": "success", "entity_id": name})


class Services:
    """Every service behind one server."""

    def __init__(self, record: Record, now: Callable[[], datetime]) -> None:
        self.opsgenie = Opsgenie(record, now)
        self.splunk = Splunk(record, now)

    def routes(self) -> list[BaseRoute]:
        found = [vars(self)[name].routes() for name in vars(self)]
        return [route for routes in found for route in routes]
