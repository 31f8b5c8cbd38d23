"""Strict stand-ins for Jira, ServiceNow and Linear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from delivery_service import Service, is_text, parsed
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.delivery.http import basic
from tocsin.domain.secret import Secret

JIRA_TOKEN = "ATATT3averysecrettoken"
SNOW_PASSWORD = "averysecretsnowpassword"
LINEAR_KEY = "lin_api_averysecretkey"
LINEAR_TEAM = "9cfb482a-81e3-4154-b5b9-2c805e70a02d"
STATUSES = {
    "11": ("To Do", "new"),
    "21": ("In Progress", "indeterminate"),
    "31": ("Done", "done"),
    "41": ("Won't do", "done"),
}


def is_document(value: Any) -> bool:
    """Whether it is text in Atlassian's document format, as Jira takes it."""
    if not isinstance(value, dict) or (value.get("type"), value.get("version")) != ("doc", 1):
        return False
    texts = [node["text"] for part in value["content"] for node in part.get("content", [])]
    return all(texts) and sum(map(len, texts)) <= 32_767


@dataclass
class Jira(Service):
    """Issues, comments, transitions and search of Jira Cloud's REST API v3."""

    issues: dict[str, dict[str, Any]] = field(default_factory=dict)
    searches: int = 0

    def routes(self) -> list[BaseRoute]:
        base = "/jira/rest/api/3"
        issue = f"{base}/issue/{{key}}"
        return [
            Route(f"{base}/issue", self.create, methods=["POST"]),
            Route(f"{base}/search/jql", self.search, methods=["POST"]),
            Route(issue, self.show, methods=["GET"]),
            Route(f"{issue}/attachments", self.attach, methods=["POST"]),
            Route(f"{issue}/comment", self.comment, methods=["POST"]),
            Route(f"{issue}/comment", self.comments, methods=["GET"]),
            Route(f"{issue}/transitions", self.transitions, methods=["GET"]),
            Route(f"{issue}/transitions", self.move, methods=["POST"]),
        ]

    def _refused(self, request: Request, *, needs_issue: bool = True) -> Response | None:
        login = basic("bot@example.org", Secret(JIRA_TOKEN))
        if request.headers.get("authorization") != login:
            return JSONResponse({"errorMessages": ["Client must be authenticated"]}, 401)
        if needs_issue and request.path_params["key"] not in self.issues:
            return JSONResponse({"errorMessages": ["Issue does not exist"]}, 404)
        return None

    async def create(self, request: Request) -> Response:
        body = await request.body()
        refused = self._refused(request, needs_issue=False)
        fields = parsed(body).get("fields", {})
        errors = {}
        if fields.get("project") != {"key": "OPS"}:
            errors["project"] = "valid project is required"
        if fields.get("issuetype") != {"name": "Task"}:
            errors["issuetype"] = "Specify a valid issue type"
        summary = fields.get("summary")
        if not is_text(summary, 255) or not summary or "\n" in summary:
            errors["summary"] = "Summary must be less than 255 characters, without newlines"
        if not is_document(fields.get("description")):
            errors["description"] = "Operation value must be an Atlassian Document"
        if any(" " in label for label in fields.get("labels", [])):
            errors["labels"] = "The label can't contain spaces."
        if refused or errors:
            return refused or JSONResponse({"errorMessages": [], "errors": errors}, 400)
        key = f"OPS-{len(self.issues) + 1}"
        self.issues[key] = {"fields": fields, "status": "11", "comments": [], "assignee": None}
        self.accept(request, body)
        return JSONResponse({"id": "1", "key": key, "self": "…"}, 201)

    async def search(self, request: Request) -> Response:
        self.searches += 1
        query = parsed(await request.body())
        found = re.fullmatch(r'project = "(\w+)" AND labels = "([\w-]+)"', query.get("jql", ""))
        if not found or not query.get("fields"):
            return JSONResponse({"errorMessages": ["jql"]}, 400)
        label = found[2]
        issues = [
            {"id": "1", "key": key}
            for key, issue in self.issues.items()
            if label in issue["fields"]["labels"]
        ]
        refused = self._refused(request, needs_issue=False)
        return refused or JSONResponse({"issues": issues, "isLast": True})

    async def show(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused:
            return refused
        issue = self.issues[request.path_params["key"]]
        name, category = STATUSES[issue["status"]]
        status = {"name": name, "statusCategory": {"key": category}}
        who = {"displayName": issue["assignee"]} if issue["assignee"] else None
        return JSONResponse({"fields": {"status": status, "assignee": who}})

    async def attach(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused:
            return refused
        if request.headers.get("x-atlassian-token") != "no-check":
            return Response("XSRF check failed", 403)
        async with request.form() as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                return JSONResponse({"errorMessages": ["a part named file is needed"]}, 400)
            content = await file.read()
        issue = self.issues[request.path_params["key"]]
        issue.setdefault("attachments", []).append((file.filename, file.content_type, content))
        return JSONResponse([{"id": "10000", "filename": file.filename, "size": len(content)}])

    async def comment(self, request: Request) -> Response:
        body = await request.body()
        refused = self._refused(request)
        if refused:
            return refused
        if not is_document(parsed(body).get("body")):
            return JSONResponse({"errors": {"comment": "not a document"}}, 400)
        self.issues[request.path_params["key"]]["comments"].append(parsed(body))
        self.accept(request, body)
        return JSONResponse({"id": "10"}, 201)

    async def comments(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused:
            return refused
        found = self.issues[request.path_params["key"]]["comments"]
        shown = [
            each if request.query_params.get("expand") == "properties" else {"body": each["body"]}
            for each in found
        ]
        return JSONResponse({"comments": shown[::-1]})

    async def transitions(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused:
            return refused
        current = self.issues[request.path_params["key"]]["status"]
        return JSONResponse(
            {
                "transitions": [
                    {"id": number, "to": {"name": name, "statusCategory": {"key": category}}}
                    for number, (name, category) in STATUSES.items()
                    if number != current
                ]
            }
        )

    async def move(self, request: Request) -> Response:
        body = await request.body()
        refused = self._refused(request)
        if refused:
            return refused
        wanted = parsed(body).get("transition", {}).get("id")
        if wanted not in STATUSES:
            return JSONResponse({"errorMessages": ["It is not a valid transition"]}, 400)
        self.issues[request.path_params["key"]]["status"] = wanted
        self.accept(request, body)
        return Response(status_code=204)


@dataclass
class ServiceNow(Service):
    """The incident table through the Table API."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    hibernates: bool = False

    def routes(self) -> list[BaseRoute]:
        base = "/snow/api/now/table/incident"
        return [
            Route(base, self.create, methods=["POST"]),
            Route(base, self.find, methods=["GET"]),
            Route(f"{base}/{{id}}", self.change, methods=["PATCH"]),
            Route(f"{base}/{{id}}", self.show, methods=["GET"]),
        ]

    def _refused(self, request: Request) -> Response | None:
        if self.hibernates:
            return HTMLResponse("<html>Your instance is hibernating</html>")
        if request.headers.get("authorization") != basic("tocsin", Secret(SNOW_PASSWORD)):
            return JSONResponse({"error": {"message": "User Not Authenticated"}}, 401)
        if "id" in request.path_params and request.path_params["id"] not in self.records:
            return JSONResponse({"error": {"message": "No Record found"}}, 404)
        return None

    async def create(self, request: Request) -> Response:
        body = await request.body()
        record = parsed(body)
        refused = self._refused(request)
        if refused:
            return refused
        if not is_text(record.get("short_description"), 160) or not all(
            isinstance(value, str) for value in record.values()
        ):
            return JSONResponse({"error": {"message": "short_description"}}, 400)
        number = f"INC{len(self.records) + 1:07d}"
        sys_id = f"{len(self.records) + 1:032x}"
        self.records[sys_id] = {"state": "1", "number": number, "sys_id": sys_id, **record}
        self.accept(request, body)
        return JSONResponse({"result": self.records[sys_id]}, 201)

    async def change(self, request: Request) -> Response:
        body = await request.body()
        change = parsed(body)
        refused = self._refused(request)
        if refused:
            return refused
        if change.get("state") == "6" and not (change.get("close_code") and change["close_notes"]):
            answer = {"message": "Operation Failed", "detail": "close_code and close_notes"}
            return JSONResponse({"error": answer}, 403)
        record = self.records[request.path_params["id"]]
        record |= change
        self.accept(request, body)
        return JSONResponse({"result": record})

    async def find(self, request: Request) -> Response:
        query = dict(
            part.split("=", 1)
            for part in request.query_params.get("sysparm_query", "").split("^")
            if "=" in part
        )
        found = [
            record
            for record in self.records.values()
            if all(record.get(name) == value for name, value in query.items())
        ]
        limit = int(request.query_params.get("sysparm_limit", "10000"))
        return self._refused(request) or JSONResponse({"result": found[:limit]})

    async def show(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused:
            return refused
        record = self.records[request.path_params["id"]]
        shown = {
            name: {"value": record.get(name, ""), "display_value": record.get(name, "")}
            for name in request.query_params["sysparm_fields"].split(",")
        }
        return JSONResponse({"result": shown})


@dataclass
class Linear(Service):
    """The mutations and queries of Linear's GraphQL API that are used."""

    issues: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: Mapping[str, str] = field(
        default_factory=lambda: {"s1": "unstarted", "s2": "started", "s3": "completed"}
    )

    def routes(self) -> list[BaseRoute]:
        return [Route("/linear/graphql", self.answer, methods=["POST"])]

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        asked = parsed(body)
        if request.headers.get("authorization") != LINEAR_KEY:
            return self._error("AUTHENTICATION_ERROR", "not authenticated", 401)
        query, variables = asked.get("query", ""), asked.get("variables", {})
        found = re.match(r"(query|mutation)\(.*?\) \{ (\w+)\(", query)
        handler = getattr(self, f"_{found[2]}", None) if found else None
        if handler is None:
            return self._error("GRAPHQL_VALIDATION_FAILED", "no such field", 400)
        response: Response = handler(variables)
        if found and found[1] == "mutation" and b'"errors"' not in response.body:
            self.accept(request, body)
        return response

    def _error(self, code: str, text: str, status: int = 200) -> Response:
        error = {"message": text, "extensions": {"code": code}}
        return JSONResponse({"errors": [error]}, status)

    def _make(self, kind: str, made: dict[str, Any], there: dict[str, Any]) -> Response:
        if UUID(made["id"]).version != 4 or str(UUID(made["id"])) != made["id"]:
            return self._error("INVALID_INPUT", "id must be a UUID")
        if made["id"] in there:
            return self._error("INVALID_INPUT", "Entity already exists")
        there[made["id"]] = {"state": "s1", "assignee": None, **made}
        return JSONResponse({"data": {kind: {"success": True}}})

    def _issueCreate(self, variables: dict[str, Any]) -> Response:  # noqa: N802
        issue = variables["input"]
        if issue.get("teamId") != LINEAR_TEAM or not is_text(issue.get("title"), 255):
            return self._error("INVALID_INPUT", "teamId, title")
        if issue.get("priority") not in range(5):
            return self._error("INVALID_INPUT", "priority is 0 to 4")
        return self._make("issueCreate", issue, self.issues)

    def _commentCreate(self, variables: dict[str, Any]) -> Response:  # noqa: N802
        if variables["input"]["issueId"] not in self.issues:
            return self._error("INVALID_INPUT", "Entity not found: Issue")
        return self._make("commentCreate", variables["input"], self.comments)

    def _issueUpdate(self, variables: dict[str, Any]) -> Response:  # noqa: N802
        if variables["id"] not in self.issues or variables["input"]["stateId"] not in self.states:
            return self._error("INVALID_INPUT", "Entity not found")
        self.issues[variables["id"]]["state"] = variables["input"]["stateId"]
        return JSONResponse({"data": {"issueUpdate": {"success": True}}})

    def _issue(self, variables: dict[str, Any]) -> Response:
        issue = self.issues.get(variables["id"])
        if issue is None:
            return self._error("INVALID_INPUT", "Entity not found: Issue")
        nodes = [
            {"id": key, "type": kind, "position": number}
            for number, (key, kind) in enumerate(self.states.items())
        ]
        shown = {
            "id": issue["id"],
            "state": {"type": self.states[issue["state"]]},
            "assignee": {"displayName": issue["assignee"]} if issue["assignee"] else None,
            "team": {"states": {"nodes": nodes}},
        }
        return JSONResponse({"data": {"issue": shown}})

    def _comment(self, variables: dict[str, Any]) -> Response:
        if variables["id"] not in self.comments:
            return self._error("INVALID_INPUT", "Entity not found: Comment")
        return JSONResponse({"data": {"comment": {"id": variables["id"]}}})
