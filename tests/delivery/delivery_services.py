"""Strict stand-ins for services: what their documentation refuses, they refuse.

Each keeps its state as the real one would and records the requests it accepted. A class is one
service; `Services` is all of them behind one server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from delivery_service import Record, Service, is_text, parsed
from delivery_socket import SlackSocket
from delivery_trackers import Jira, Linear, ServiceNow
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.delivery.http import basic
from tocsin.domain.secret import Secret

PAGERDUTY_TOKEN = "u+averysecretrestkey"
GENIE_KEY = "b1c9fd2a-averysecret-genie-key"
GENIE_READER = "averysecret-token-that-reads"
SPLUNK_KEY = "5ec4e7aa-averysecret-endpoint-key"
TEAMS_SIGNATURE = "averysecret-workflow-signature"
GRAFANA_TOKEN = "glsa_averysecret_grafana_token"
DATADOG_KEY = "averysecret0datadog0api0key"
DATADOG_APP_KEY = "averysecret0datadog0app0key"
ALERTMANAGER_TOKEN = "averysecret-alertmanager-token"
STATUSPAGE_KEY = "averysecret-statuspage-key"


@dataclass
class Opsgenie(Service):
    """Alert API v2 of Opsgenie and the integration events of Jira Service Management."""

    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[BaseRoute]:
        base = "/opsgenie/v2/alerts"
        return [
            Route(base, self.create, methods=["POST"]),
            Route(f"{base}/{{alias}}", self.show, methods=["GET"]),
            Route(f"{base}/{{alias}}/{{verb}}", self.change, methods=["POST"]),
            Route("/jsm-api/{cloud}/v1/alerts", self.find, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"GenieKey {GENIE_READER}":
            return JSONResponse({"message": "Key format is not valid!", "took": 0.0}, 422)
        assert request.query_params["identifierType"] == "alias"
        alert = self.alerts.get(request.path_params["alias"])
        if alert is None:
            return JSONResponse({"message": "Alert with alias does not exist"}, 404)
        made = {"acknowledgedBy": alert.get("by"), "closedBy": alert.get("by")}
        is_open = alert["status"] != "closed"
        shown = {
            "id": "9b25-1704", "alias": alert["alias"], "status": "open" if is_open else "closed",
            "acknowledged": alert["status"] == "acknowledged", "owner": alert.get("by", ""),
            "report": {name: who for name, who in made.items() if who},
        }  # fmt: skip
        return JSONResponse({"data": shown, "took": 0.1, "requestId": "r1"})

    async def find(self, request: Request) -> Response:
        login = basic("bot@example.org", Secret(GENIE_READER))
        if request.headers.get("authorization") != login or request.path_params["cloud"] != "c1":
            return JSONResponse({"code": 401, "message": "Unauthorized"}, 401)
        query = request.query_params
        assert (query["size"], query["sort"], query["order"]) == ("1", "createdAt", "desc")
        found = [one for name, one in self.alerts.items() if query["query"] == f'alias: "{name}"']
        values = [
            {
                "id": "e0ca", "alias": one["alias"], "owner": one.get("by", ""), "seen": True,
                "status": {"acknowledged": "acked"}.get(one["status"], one["status"]),
                "acknowledged": one["status"] == "acknowledged", "count": one["count"],
            }
            for one in found
        ]  # fmt: skip
        return JSONResponse({"values": values, "links": {}, "count": len(values)})

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


@dataclass
class Teams(Service):
    """A workflow "When a Teams webhook request is received" that posts the card."""

    cards: list[dict[str, Any]] = field(default_factory=list)

    def routes(self) -> list[BaseRoute]:
        return [
            Route(
                "/teams/workflows/{id}/triggers/manual/paths/invoke", self.invoke, methods=["POST"]
            )
        ]

    async def invoke(self, request: Request) -> Response:
        body = await request.body()
        message = parsed(body)
        if request.query_params.get("sig") != TEAMS_SIGNATURE:
            return JSONResponse({"error": {"code": "DirectApiInvalidAuthorizationScheme"}}, 401)
        attachments = message.get("attachments")
        if message.get("type") != "message" or not isinstance(attachments, list):
            return JSONResponse({"error": {"code": "TriggerInputSchemaMismatch"}}, 400)
        if len(body) > 28_000:
            return JSONResponse({"error": {"code": "RequestEntityTooLarge"}}, 413)
        for attachment in attachments:
            card = attachment["content"]
            texts = [block for block in card["body"] if block["type"] != "Image"]
            kinds = {block["type"] for block in texts}
            if attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
                return JSONResponse({"error": {"code": "contentType"}}, 400)
            if card["type"] != "AdaptiveCard" or not kinds <= {"TextBlock", "RichTextBlock"}:
                return JSONResponse({"error": {"code": "card"}}, 400)
            if any(not run["text"] for block in texts for run in block["inlines"]):
                return JSONResponse({"error": {"code": "an empty text run"}}, 400)
            if len(card["actions"]) > 6:
                return JSONResponse({"error": {"code": "actions"}}, 400)
            self.cards.append(card)
        self.accept(request, body)
        return Response(status_code=202)


@dataclass
class Grafana(Service):
    """The annotations resource of Grafana's HTTP API."""

    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/grafana/api/annotations", self.find, methods=["GET"]),
            Route("/grafana/api/annotations", self.create, methods=["POST"]),
            Route("/grafana/api/annotations/{id:int}", self.patch, methods=["PATCH"]),
        ]

    def _refused(self, request: Request, annotation: Mapping[str, Any]) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {GRAFANA_TOKEN}":
            return JSONResponse({"message": "Invalid API key"}, 401)
        times = [annotation[name] for name in ("time", "timeEnd") if name in annotation]
        if any(not isinstance(ms, int) or ms < 10**12 for ms in times):
            return JSONResponse({"message": "bad request data: milliseconds"}, 400)
        if not annotation.get("text"):
            return JSONResponse({"message": "text field should not be empty"}, 400)
        if any(not is_text(tag, 100) for tag in annotation.get("tags", [])):
            return JSONResponse({"message": "tag is too long"}, 400)
        return None

    async def create(self, request: Request) -> Response:
        body = await request.body()
        refused = self._refused(request, parsed(body))
        if refused:
            return refused
        number = len(self.annotations) + 1
        self.annotations[number] = parsed(body)
        self.accept(request, body)
        return JSONResponse({"message": "Annotation added", "id": number})

    async def patch(self, request: Request) -> Response:
        body = await request.body()
        refused = self._refused(request, parsed(body))
        if refused:
            return refused
        number = request.path_params["id"]
        if number not in self.annotations:
            return JSONResponse({"message": "Annotation not found"}, 404)
        self.annotations[number] |= parsed(body)
        self.accept(request, body)
        return JSONResponse({"message": "Annotation patched"})

    async def find(self, request: Request) -> Response:
        refused = self._refused(request, {"text": "-"})
        wanted = set(request.query_params.getlist("tags"))
        found = [
            {"id": number, **each}
            for number, each in self.annotations.items()
            if wanted <= set(each["tags"])
        ]
        return refused or JSONResponse(found[: int(request.query_params.get("limit", 100))])


@dataclass
class Datadog(Service):
    """The events resource of Datadog's API v1."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/datadog/api/v1/events", self.create, methods=["POST"]),
            Route("/datadog/api/v1/events", self.find, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        body = await request.body()
        event = parsed(body)
        if request.headers.get("dd-api-key") != DATADOG_KEY:
            return JSONResponse({"errors": ["Forbidden"]}, 403)
        kinds = {"error", "warning", "info", "success", "user_update", "recommendation", "snapshot"}
        age = self.now().timestamp() - event.get("date_happened", 0)
        if (
            not event.get("title")
            or not event.get("text")
            or len(event["text"]) > 4_000
            or len(event.get("aggregation_key", "")) > 100
            or event.get("alert_type") not in kinds
            or event.get("priority") not in {"normal", "low"}
            or age > 18 * 3600
            or any(not is_text(tag, 200) for tag in event.get("tags", []))
        ):
            return JSONResponse({"errors": ["Bad Request"]}, 400)
        self.events.append(event)
        self.accept(request, body)
        return JSONResponse({"status": "ok", "event": {**event, "id": len(self.events)}}, 202)

    async def find(self, request: Request) -> Response:
        keys = request.headers.get("dd-api-key"), request.headers.get("dd-application-key")
        if keys != (DATADOG_KEY, DATADOG_APP_KEY):
            return JSONResponse({"errors": ["Forbidden"]}, 403)
        start, end = (int(request.query_params[name]) for name in ("start", "end"))
        wanted = set(request.query_params.get("tags", "").split(","))
        found = [
            {**event, "id": number}
            for number, event in enumerate(self.events, 1)
            if wanted <= set(event["tags"]) and start <= event["date_happened"] <= end
        ]
        return JSONResponse({"events": found})


@dataclass
class Alertmanager(Service):
    """POST /api/v2/alerts, as openapi.yaml and Alertmanager's own validation have it."""

    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[BaseRoute]:
        return [Route("/alertmanager/api/v2/alerts", self.create, methods=["POST"])]

    async def create(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("authorization") != f"Bearer {ALERTMANAGER_TOKEN}":
            return Response("Unauthorized", 401)
        alerts = json.loads(body)
        for alert in alerts:
            names = [*alert["labels"], *alert["annotations"]]
            if not alert["labels"] or any(
                not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", n) for n in names
            ):
                return JSONResponse("bad label name", 400)
            if alert["startsAt"] > alert["endsAt"]:
                return JSONResponse("start time must be before end time", 400)
        for alert in alerts:
            self.alerts[json.dumps(alert["labels"], sort_keys=True)] = alert
        self.accept(request, body)
        return Response(status_code=200)

    def states(self) -> list[str]:
        now = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return ["active" if a["endsAt"] > now else "resolved" for a in self.alerts.values()]


@dataclass
class Statuspage(Service):
    """Incidents of Atlassian Statuspage."""

    incidents: list[dict[str, Any]] = field(default_factory=list)

    def routes(self) -> list[BaseRoute]:
        base = "/statuspage/v1/pages/{page}/incidents"
        return [
            Route(base, self.create, methods=["POST"]),
            Route(base, self.find, methods=["GET"]),
            Route(f"{base}/{{id}}", self.patch, methods=["PATCH"]),
            Route(f"{base}/{{id}}", self.show, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"OAuth {STATUSPAGE_KEY}":
            return JSONResponse({"error": "Could not authenticate"}, 401)
        found = [each for each in self.incidents if each["id"] == request.path_params["id"]]
        return JSONResponse(found[0]) if found else JSONResponse({"error": "Not found"}, 404)

    def _refused(self, request: Request, incident: Mapping[str, Any], *, is_new: bool) -> Any:
        if request.headers.get("authorization") != f"OAuth {STATUSPAGE_KEY}":
            return JSONResponse({"error": "Could not authenticate"}, 401)
        if request.path_params["page"] != "p4g3":
            return JSONResponse({"error": "Not found"}, 404)
        states = {"investigating", "identified", "monitoring", "resolved"}
        if incident.get("status") not in states or not is_text(incident.get("body"), 25_000):
            return JSONResponse({"error": ["status", "body"]}, 422)
        if is_new and not incident.get("name"):
            return JSONResponse({"error": ["Name can't be blank"]}, 422)
        return None

    async def create(self, request: Request) -> Response:
        body = await request.body()
        incident = parsed(body).get("incident", {})
        refused: Response | None = self._refused(request, incident, is_new=True)
        if refused:
            return refused
        self.incidents.append({**incident, "id": f"i{len(self.incidents)}", "updates": 1})
        self.accept(request, body)
        return JSONResponse(self.incidents[-1], 201)

    async def patch(self, request: Request) -> Response:
        body = await request.body()
        incident = parsed(body).get("incident", {})
        refused: Response | None = self._refused(request, incident, is_new=False)
        if refused:
            return refused
        for known in self.incidents:
            if known["id"] == request.path_params["id"]:
                known |= {**incident, "updates": known["updates"] + 1}
                self.accept(request, body)
                return JSONResponse(known)
        return JSONResponse({"error": "Not found"}, 404)

    async def find(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"OAuth {STATUSPAGE_KEY}":
            return JSONResponse({"error": "Could not authenticate"}, 401)
        return JSONResponse(self.incidents[::-1])


@dataclass
class PagerDutyIncidents(Service):
    """GET /incidents of PagerDuty's REST API."""

    incidents: list[dict[str, Any]] = field(default_factory=list)

    def routes(self) -> list[BaseRoute]:
        return [Route("/pagerduty-api/incidents", self.find, methods=["GET"])]

    async def find(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Token token={PAGERDUTY_TOKEN}":
            return JSONResponse({"error": {"message": "Account Not Found", "code": 2006}}, 401)
        if request.headers.get("accept") != "application/vnd.pagerduty+json;version=2":
            return JSONResponse({"error": {"message": "version", "code": 2100}}, 400)
        key = request.query_params["incident_key"]
        found = [each for each in self.incidents if each["incident_key"] == key]
        assert request.query_params["sort_by"] == "created_at:desc"
        return JSONResponse({"incidents": found[::-1][:1], "limit": 1, "offset": 0, "more": False})


@dataclass
class SlackFiles(Service):
    """The three steps of a file in Slack, in a channel that the bot is in (C0AIOPS)."""

    asked: dict[str, Mapping[str, str]] = field(default_factory=dict)
    bytes: dict[str, bytes] = field(default_factory=dict)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/slack/api/files.getUploadURLExternal", self.ask, methods=["POST"]),
            Route("/slack/api/files.completeUploadExternal", self.complete, methods=["POST"]),
            Route("/upload/v1/{file}", self.put, methods=["POST"]),
        ]

    def _error(self, request: Request) -> str:
        token = request.headers.get("authorization", "")
        return "" if token.startswith("Bearer xoxb-") else "invalid_auth"

    async def ask(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        error = self._error(request)
        if not error and not (form.get("filename") and int(form.get("length", "0")) > 0):
            error = "missing_argument"
        if not error and len(form.get("alt_txt", "")) > 1_000:
            error = "alt_txt_too_large"
        if error:
            return JSONResponse({"ok": False, "error": error})
        name = f"F{len(self.asked)}"
        self.asked[name] = form
        url = str(request.url.replace(path=f"/upload/v1/{name}"))
        return JSONResponse({"ok": True, "upload_url": url, "file_id": name})

    async def put(self, request: Request) -> Response:
        body, name = await request.body(), request.path_params["file"]
        if "authorization" in request.headers:
            return Response("the bot's token does not belong here", 400)
        if name not in self.asked or len(body) != int(self.asked[name]["length"]):
            return Response("wrong length", 400)
        self.bytes[name] = body
        return Response(f"OK - {len(body)}")

    async def complete(self, request: Request) -> Response:
        said = parsed(await request.body())
        error = self._error(request)
        if not error and any(each["id"] not in self.bytes for each in said.get("files", [{}])):
            error = "file_not_found"
        if not error and said.get("channel_id") != "C0AIOPS":
            error = "channel_not_found"
        if error:
            return JSONResponse({"ok": False, "error": error})
        self.shown.append(said)
        return JSONResponse({"ok": True, "files": said["files"]})


class Services:
    """Every service behind one server."""

    def __init__(self, record: Record, now: Callable[[], datetime]) -> None:
        self.opsgenie = Opsgenie(record, now)
        self.splunk = Splunk(record, now)
        self.jira = Jira(record, now)
        self.servicenow = ServiceNow(record, now)
        self.linear = Linear(record, now)
        self.teams = Teams(record, now)
        self.grafana = Grafana(record, now)
        self.datadog = Datadog(record, now)
        self.alertmanager = Alertmanager(record, now)
        self.statuspage = Statuspage(record, now)
        self.socket = SlackSocket(record, now)
        self.files = SlackFiles(record, now)
        self.pagerduty = PagerDutyIncidents(record, now)

    def routes(self) -> list[BaseRoute]:
        found = [vars(self)[name].routes() for name in vars(self)]
        return [route for routes in found for route in routes]
