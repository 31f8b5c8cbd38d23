"""The doors: HTTP routes by which telemetry comes in. Plain Starlette, no model per request.

    POST /v1/traces  /v1/logs  /v1/metrics        OTLP/HTTP, protobuf or JSON, gzip or deflate
    POST /v1                                      OTLP traces as Arize's exporter posts them
    POST /opentelemetry.proto.collector.…/Export  the body of an OTLP/gRPC call, framed or not
    POST /v1/pandas_arrow  /v1/log                Arize: tables of spans and predictions, one record
    POST /v2/spans/annotate                       Arize: annotations
    GET  /v2/projects  /v2/spaces                 Arize: the id of a name
    POST /v1/flight/do_put                        Arize: the Arrow stream of a Flight DoPut
    POST /v1/span_annotations                     Phoenix: annotations
    POST /v1/projects/{project}/spans             Phoenix: spans
    POST /api/v1/calls  /scores  /changes         Tocsin: JSON object, array, or JSON lines
    POST /api/v1/billing                          FOCUS: lines of a bill, as JSON
    POST /api/v1/restore/{calls,scores,changes}   Tocsin: rows of its own exports
    GET  /api/v1/batches/{name}                   Tocsin: is a file's batch here already

A request is answered when what it holds is on disk. The header `x-project-name` names the project
and wins over what the body says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.domain.batches import HEADER, read_name
from tocsin.domain.errors import IntakeError
from tocsin.intake import arize, phoenix, replies, rest
from tocsin.intake.deposit import store_parsed, store_spans
from tocsin.intake.intake import MAX_PROJECT, RESTORED, Intake, project_named
from tocsin.intake.json_requests import read_json, to_protobuf
from tocsin.intake.records import SpanRecord, to_request

_log = structlog.get_logger(__name__)
_JSON_TYPE, _GRPC_TYPE = "application/json", "application/grpc"
_OTLP_TYPES = {"", "application/x-protobuf", "application/protobuf", _JSON_TYPE, _GRPC_TYPE}
_GRPC = "/opentelemetry.proto.collector.{package}.v1.{service}/Export"

Handler = Callable[[Request], Awaitable[Response]]
Refusal = Callable[[IntakeError, Request], Response]


def routes(intake: Intake) -> list[Route]:
    """Every intake route of one process."""
    doors: dict[str, Handler] = {
        "/v1/pandas_arrow": _arrow(intake),
        "/v1/flight/do_put": _arrow(intake),
        "/v1/log": _arize_log(intake),
        "/v2/spans/annotate": _arize_annotations(intake),
        "/v1/span_annotations": _phoenix_annotations(intake),
        "/v1/projects/{project}/spans": _phoenix_spans(intake),
        "/api/v1/calls": _calls(intake),
        "/api/v1/scores": _rows(intake, "scores"),
        "/api/v1/changes": _rows(intake, "changes"),
        "/api/v1/billing": _rows(intake, "billing"),
        **{f"/api/v1/restore/{kind}": _restore(intake, kind) for kind in RESTORED},
    }
    otlp = {"/v1/traces": "traces", "/v1": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics"}
    for signal, package, service in (
        ("traces", "trace", "TraceService"),
        ("logs", "logs", "LogsService"),
        ("metrics", "metrics", "MetricsService"),
    ):
        otlp[_GRPC.format(package=package, service=service)] = signal
    return [
        *(_route(intake, path, _otlp(intake, signal), _refused) for path, signal in otlp.items()),
        *(_route(intake, path, door, _problem) for path, door in doors.items()),
        _batches(intake),
        _route(intake, "/v2/projects", _arize_names("projects", "Project"), _problem, "GET"),
        _route(intake, "/v2/spaces", _arize_names("spaces", "Space"), _problem, "GET"),
    ]


def _route(
    intake: Intake, path: str, door: Handler, refuse: Refusal, method: str = "POST"
) -> Route:
    """A door behind authentication, at which no error passes unanswered, unlogged, uncounted."""

    async def handle(request: Request) -> Response:
        try:
            intake.authenticate(request)
            with intake.admission.request() as request.state.ticket:
                return await door(request)
        except IntakeError as error:
            refusal = error
        except Exception:  # noqa: BLE001 (HTTP boundary: answered, logged and counted)
            _log.exception("intake_failed", path=request.url.path)
            refusal = IntakeError(500, "the request failed; the server's log says why")
        intake.refused(refusal)
        return refuse(refusal, request)

    return Route(path, handle, methods=[method])


def _refused(error: IntakeError, request: Request) -> Response:
    return replies.refused(error, as_json=_media_type(request) == _JSON_TYPE)


def _problem(error: IntakeError, _: Request) -> Response:
    return replies.problem(error)


def _otlp(intake: Intake, signal: str) -> Handler:
    async def export(request: Request) -> Response:
        kind = _media_type(request)
        if kind not in _OTLP_TYPES:
            raise IntakeError(
                415,
                f"Content-Type {kind!r} is not OTLP; send application/x-protobuf or"
                " application/json",
            )
        body = await intake.body(request)
        if kind == _JSON_TYPE:
            body = await intake.aside(len(body), to_protobuf, signal, body)
        elif kind == _GRPC_TYPE:
            body = _unframed(body)
        receipt = await intake.otlp(signal, body, project=_project(request), batch=_batch(request))
        return replies.exported(
            signal,
            as_json=kind == _JSON_TYPE,
            rejected=receipt.rejected,
            reason=receipt.reason,
        )

    return export


def _arrow(intake: Intake) -> Handler:
    async def take(request: Request) -> Response:
        body = await intake.body(request)
        parsed = await intake.aside(len(body), arize.read_table, body, intake.now_ns)
        await store_parsed(intake, parsed, body, _project(request))
        return replies.answer({"realTimeIngestionUri": "/", "recordsUpdated": parsed.rows})

    return take


def _arize_log(intake: Intake) -> Handler:
    async def take(request: Request) -> Response:
        body = await _json_body(intake, request)
        parsed = await intake.aside(
            len(body), lambda: arize.read_log(read_json(body), intake.now_ns)
        )
        await store_parsed(intake, parsed, body, _project(request))
        return replies.answer({})

    return take


def _arize_annotations(intake: Intake) -> Handler:
    async def take(request: Request) -> Response:
        body = await _json_body(intake, request)
        found = await intake.aside(len(body), lambda: arize.read_annotations(read_json(body)))
        receipt = await intake.rows("scores", found.scores, body, rejected=found.rejected)
        return replies.answer({"accepted": receipt.accepted})

    return take


def _arize_names(member: str, kind: str) -> Handler:
    """The one project or space that has the name which is asked for; every name is one."""

    async def find(request: Request) -> Response:
        name = request.query_params.get("name", "")[:MAX_PROJECT]
        found = [{"id": arize.id_of(kind, name), "name": name}] if name else []
        return replies.answer({member: found, "pagination": {"has_more": False}})

    return find


def _phoenix_annotations(intake: Intake) -> Handler:
    async def take(request: Request) -> Response:
        body = await _json_body(intake, request)
        found = await intake.aside(len(body), lambda: phoenix.judgements(read_json(body)))
        await intake.rows("scores", found.scores, body, rejected=found.rejected)
        return replies.answer({"data": [{"id": row["call_id"]} for row in found.scores]})

    return take


def _phoenix_spans(intake: Intake) -> Handler:
    async def take(request: Request) -> Response:
        project = _project(request) or str(request.path_params["project"])[:MAX_PROJECT]
        body = await _json_body(intake, request)
        records = await intake.aside(
            len(body), lambda: phoenix.span_records(read_json(body), project)
        )
        await store_spans(intake, records, body, project)
        return replies.answer({"total_received": len(records), "total_queued": len(records)})

    return take


def _calls(intake: Intake) -> Handler:
    async def take(request: Request) -> Response:
        body, lines = await _json_body(intake, request), _is_lines(request)
        taken, spans = await intake.aside(len(body), _calls_request, body, _project(request), lines)
        receipt = await intake.otlp("traces", spans, rejected=taken.rejected, batch=_batch(request))
        return replies.taken(receipt, taken.rejected)

    return take


def _calls_request(body: bytes, project: str, lines: bool) -> tuple[rest.Taken[SpanRecord], bytes]:
    items = rest.read_rows(body, lines=lines)
    taken = rest.take(items, lambda where, row: rest.call(where, row, project))
    return taken, to_request(taken.made)


def _rows(intake: Intake, kind: str) -> Handler:
    make = rest.MAKERS[kind]

    async def take(request: Request) -> Response:
        body, lines = await _json_body(intake, request), _is_lines(request)
        now_ns = intake.now_ns
        taken = await intake.aside(
            len(body),
            lambda: rest.take(
                rest.read_rows(body, lines=lines), lambda where, row: make(where, row, now_ns)
            ),
        )
        receipt = await intake.rows(
            kind, taken.made, body, rejected=taken.rejected, batch=_batch(request)
        )
        return replies.taken(receipt, taken.rejected)

    return take


def _restore(intake: Intake, kind: str) -> Handler:
    async def take(request: Request) -> Response:
        body = await _json_body(intake, request)
        taken = await intake.aside(
            len(body),
            lambda: rest.take(rest.read_rows(body, lines=True), lambda _, row: dict(row)),
        )
        receipt = await intake.restore(kind, taken.made, body, batch=_batch(request))
        return replies.taken(receipt, taken.rejected)

    return take


def _batches(intake: Intake) -> Route:
    """Which batches of a file are here already; see `tocsin.domain.batches`."""

    async def known(request: Request) -> Response:
        try:
            intake.authenticate(request)
        except IntakeError as error:
            return _problem(error, request)
        name = read_name(request.path_params["name"])
        found = name is not None and intake.has_batch(name)
        return replies.answer({"known": found}, 200 if found else 404)

    return Route("/api/v1/batches/{name}", known, methods=["GET"])


async def _json_body(intake: Intake, request: Request) -> bytes:
    kind = _media_type(request)
    if kind and kind != "text/plain" and "json" not in kind:
        raise IntakeError(415, f"Content-Type {kind!r} is not JSON; send application/json")
    return await intake.body(request)


def _unframed(body: bytes) -> bytes:
    """The message of a gRPC frame; a body without a frame is the message."""
    if len(body) >= 5 and body[0] == 0 and int.from_bytes(body[1:5], "big") == len(body) - 5:
        return body[5:]
    return body


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _project(request: Request) -> str:
    return project_named(request.headers)


def _is_lines(request: Request) -> bool:
    kind = _media_type(request)
    return "ndjson" in kind or "jsonl" in kind


def _batch(request: Request) -> bytes:
    """The name of the file's piece that a request is, b"" when it is none."""
    text = request.headers.get(HEADER, "")
    name = read_name(text) if text else b""
    if name is None:
        raise IntakeError(400, f"{HEADER} {text[:60]!r} is not the name of a batch")
    return name
