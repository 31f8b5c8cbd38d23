"""The API by which pipelines define objectives and health scores, in the dictionaries of Arize.

POST /slos               slo_definition       -> an SLO in force within a minute
POST /composite-scores   health_score_config  -> a HealthScore, kept and not yet computed
GET, DELETE .../{id}     one of them; `Accept: application/yaml` gives the text to put into Git
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Depends, Header, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tocsin.domain.errors import SpecError
from tocsin.engine.definitions import Defined
from tocsin.engine.documents import InForce

LARGEST = 256 << 10
YAML = "application/yaml"
_LONGEST_ACTOR = 80


class Definer(Protocol):
    """What this API asks of the engine; see `tocsin.engine.definitions.Definitions`."""

    def define_slo(self, definition: Any, actor: str) -> Defined:
        """Put an objective in force."""
        ...

    def define_health_score(self, config: Any, actor: str) -> Defined:
        """Keep a health score."""
        ...

    def listed(self, kind: str) -> list[InForce]:
        """Every document of a kind in force."""
        ...

    def one(self, kind: str, name: str) -> InForce:
        """One document; NoSuchDocument when it is not in force."""
        ...

    def withdraw(self, kind: str, name: str, actor: str) -> None:
        """Take a document out of force; Conflict when it comes from a file."""
        ...


@dataclass(frozen=True, slots=True)
class DefinitionResource:
    """A document in force. origin: `git` when it was applied from files, else `api`."""

    id: str
    kind: str
    name: str
    service: str
    origin: Literal["git", "api"]
    created: datetime | None
    created_by: str
    updated: datetime | None
    updated_by: str
    document: Mapping[str, Any]

    @classmethod
    def of(cls, found: InForce) -> DefinitionResource:
        """From the engine's."""
        made, metadata = found.made, found.data["metadata"]
        return cls(
            id=found.key[2],
            kind=found.key[1],
            name=str(metadata.get("displayName") or found.key[2]),
            service=str(found.data["spec"].get("service", "")),
            origin="api" if made else "git",
            created=made.created_at if made else None,
            created_by=made.created_by if made else "",
            updated=made.updated_at if made else None,
            updated_by=made.updated_by if made else "",
            document=found.data,
        )


@dataclass(frozen=True, slots=True)
class DefinedResource:
    """What became of a definition.

    evaluated: whether it is judged from when it is adopted, within a minute. also: documents that
    were made along with it.
    """

    id: str
    status: Literal["created", "updated", "unchanged"]
    evaluated: bool
    warnings: tuple[str, ...]
    also: tuple[str, ...]
    kind: str
    name: str
    service: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DefinitionList:
    """Every document of a kind in force."""

    total: int
    items: list[DefinitionResource]


def _actor(x_tocsin_actor: Annotated[str, Header(description="Who does it.")] = "") -> str:
    """Who is to stand in the ledger: the header X-Tocsin-Actor, else only that it was the API."""
    name = " ".join(x_tocsin_actor.split())[:_LONGEST_ACTOR]
    return f"api:{name}" if name and name.isprintable() else "api"


async def _definition(request: Request) -> Mapping[str, Any]:
    """The JSON object of the body, read no further than it may be long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, f"a definition is at most {LARGEST} bytes")
    try:
        found = json.loads(bytes(body), parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return found


def _not_finite(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")


Actor = Annotated[str, Depends(_actor)]
Definition = Annotated[Mapping[str, Any], Depends(_definition)]
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {
    "type": "object"}}}}}  # fmt: skip


def routes(definer: Definer) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["definitions"])

    @router.post("/slos", summary="Define an objective", status_code=201, openapi_extra=_BODY)
    def define_slo(definition: Definition, actor: Actor, response: Response) -> DefinedResource:
        return _told(definer.define_slo(definition, actor), response)

    @router.post(
        "/composite-scores", summary="Keep a health score", status_code=201, openapi_extra=_BODY
    )
    def define_score(config: Definition, actor: Actor, response: Response) -> DefinedResource:
        return _told(definer.define_health_score(config, actor), response)

    _add_documents(router, definer, "/slos", "SLO")
    _add_documents(router, definer, "/composite-scores", "HealthScore")
    return router


async def unfit(_: Request, error: Exception) -> Response:
    """422 with every field that is wrong, where it is and what could be written instead."""
    assert isinstance(error, SpecError)  # noqa: S101 (registered for this type only)
    faults = [
        {"where": problem.path or problem.file, "what": problem.message, "fix": problem.fix}
        for problem in error.problems
    ]
    told = (
        f"{fault['where']}: {fault['what']}" + (f" ({fault['fix']})" if fault["fix"] else "")
        for fault in faults
    )
    answer = {"type": "about:blank", "title": "Unprocessable Content", "status": 422}
    return JSONResponse(
        {**answer, "detail": "; ".join(told), "errors": faults},
        422,
        media_type="application/problem+json",
    )


# --------------------------------------------------------------------------------------------


def _add_documents(router: APIRouter, definer: Definer, path: str, kind: str) -> None:
    """List, show and withdraw documents of a kind."""
    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {YAML: {"schema": {"type": "string"}}}}
    }

    @router.get(
        path, summary=f"Every {kind} in force", response_model=DefinitionList, responses=text
    )
    def listed(request: Request) -> Any:
        found = definer.listed(kind)
        if _wants_yaml(request):
            made = "".join(document.text for document in found if document.made is not None)
            return Response(made, media_type=YAML)
        return DefinitionList(len(found), [DefinitionResource.of(one) for one in found])

    @router.get(
        path + "/{name}",
        summary=f"One {kind} in force",
        response_model=DefinitionResource,
        responses=text,
    )
    def one(name: str, request: Request) -> Any:
        found = definer.one(kind, name)
        if _wants_yaml(request):
            return Response(found.text, media_type=YAML)
        return DefinitionResource.of(found)

    @router.delete(path + "/{name}", summary=f"Withdraw a {kind} made here", status_code=204)
    def withdraw(name: str, actor: Actor) -> None:
        definer.withdraw(kind, name, actor)


def _told(defined: Defined, response: Response) -> DefinedResource:
    response.status_code = 201 if defined.what == "created" else 200
    shown = DefinitionResource.of(defined.document)
    return DefinedResource(
        id=shown.id,
        status=defined.what,
        evaluated=defined.is_evaluated,
        warnings=defined.warnings,
        also=defined.also,
        kind=shown.kind,
        name=shown.name,
        service=shown.service,
        document=shown.document,
    )


def _wants_yaml(request: Request) -> bool:
    return "yaml" in request.headers.get("accept", "")
