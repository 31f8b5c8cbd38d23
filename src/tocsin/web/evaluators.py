"""Evaluators on the web: how they are doing, and the page on which people label.

/evaluators                       every judge of Tocsin's own: state, spending, agreement
/evaluators/{name}/label          one answer after the other, good or bad, by mouse or key
/api/v1/evaluators                the same for programs
/api/v1/evaluators/{name}/queue   what is worth labelling
/api/v1/evaluators/{name}/labels  a label
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as PageError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.assess.quality import QualityStanding
from tocsin.engine.evaluating import EvaluatorRunner
from tocsin.engine.evaluators import EvaluatorStatus, status_of
from tocsin.engine.house import House
from tocsin.engine.labelling import MOST, Labelling, Offer
from tocsin.web.actions import Actions, actor
from tocsin.web.render import Renderer, address
from tocsin.web.tone import Tone

_TONES: Mapping[str, Tone] = {
    "judging": Tone.OK, "waiting": Tone.WARN, "failing": Tone.BAD, "unknown": Tone.UNKNOWN,
}  # fmt: skip
_LONGEST_NOTE = 500
_DONE = {"good": "Labelled good.", "bad": "Labelled bad."}
Limit = Annotated[int, Query(ge=1, le=MOST)]


class MakeLabel(BaseModel):
    """What a person says of one call of the queue."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    span_id: str
    good: bool
    actor: Annotated[str, Field(min_length=1, max_length=80)]
    note: Annotated[str, Field(max_length=_LONGEST_NOTE)] = ""


class EvaluatorDesk:
    """API and pages. runner: None in a process that judges nothing."""

    def __init__(self, house: House, labelling: Labelling, runner: EvaluatorRunner | None) -> None:
        self._house = house
        self._labelling = labelling
        self._runner = runner

    def statuses(self) -> Sequence[EvaluatorStatus]:
        """How every evaluator is doing, by name."""
        return self._runner.statuses() if self._runner is not None else kept(self._house)

    # --- the API ---

    def routes(self) -> APIRouter:
        """The routes, to be mounted under /api/v1."""
        router = APIRouter(tags=["evaluators"])

        @router.get("/evaluators", summary="Judges that Tocsin runs, and how they are doing")
        def evaluators() -> dict[str, Any]:
            items = resources(self._house, self.statuses())
            return {"total": len(items), "items": items}

        @router.get("/evaluators/{name}/queue", summary="Answers that are worth a label")
        def queue(
            name: str,
            limit: Limit = 20,
            actor: Annotated[
                str, Query(description="Who labels: some of what another labelled is in it.")
            ] = "",
        ) -> dict[str, Any]:
            found, offers = self._labelling.queue(name, limit, actor)
            people = self._labelling.agreement(name)
            return {
                "people": asdict(people) if people is not None else None,
                "judged": found.judged, "labelled": found.labelled, "offered": found.offered,
                "items": [_offer(one) for one in offers],
            }  # fmt: skip

        @router.post("/evaluators/{name}/labels", summary="Label an answer", status_code=201)
        async def label(name: str, body: MakeLabel) -> dict[str, Any]:
            await self._labelling.label(
                name, body.span_id, body.good, f"api:{body.actor}", body.note
            )
            return {"span_id": body.span_id, "label": "good" if body.good else "bad"}

        return router

    # --- the pages ---

    def pages(self, renderer: Renderer, actions: Actions) -> list[BaseRoute]:
        """The pages."""

        def overview(request: Request) -> Response:
            return renderer.page(
                request, "evaluators.html", title="Evaluators", live=True,
                evaluators=self.statuses(), qualities=qualities(self._house), tones=_TONES,
            )  # fmt: skip

        def labelling(request: Request) -> Response:
            name, query = request.path_params["name"], request.query_params
            skip = _whole(query.get("skip", "0"))
            one = self._labelling.evaluator(name)
            who = query.get("name", "")
            found, offers = self._labelling.queue(name, skip + 1, who)
            return renderer.page(
                request, "label.html", title=f"Label: {one.title}", one=one, queue=found,
                offer=offers[skip] if skip < len(offers) else None, skip=skip,
                quality=qualities(self._house).get(name), name=who,
                people=self._labelling.agreement(name),
                done=_DONE.get(query.get("done", ""), ""),
            )  # fmt: skip

        async def label(request: Request) -> Response:
            form = await actions.form(request)
            name, said = request.path_params["name"], form.get("label", "")
            if said not in _DONE:
                raise PageError(400, "choose good or bad")
            note = form.get("note", "").strip()[:_LONGEST_NOTE]
            await self._labelling.label(
                name, form.get("span_id", ""), said == "good", actor(form), note
            )
            following = address(
                f"/evaluators/{name}/label", done=said, name=form.get("name", ""),
                skip=str(_whole(form.get("skip", "0"))),
            )  # fmt: skip
            return RedirectResponse(following, 303)

        return [
            Route("/evaluators", overview, methods=["GET"]),
            Route("/evaluators/{name}/label", labelling, methods=["GET"]),
            Route("/evaluators/{name}/label", label, methods=["POST"]),
        ]


def kept(house: House) -> list[EvaluatorStatus]:
    """How every evaluator was doing when a process last judged with it, by name."""
    now, evaluators = house.clock.now(), house.desired.evaluators
    return [status_of(house.state, one, now) for _, one in sorted(evaluators.items())]


def qualities(house: House) -> dict[str, QualityStanding]:
    """What is promised of the scores of evaluators, by their names."""
    return {one.monitor.removeprefix("quality/"): one for one in house.qualities()}


def resources(house: House, statuses: Sequence[EvaluatorStatus]) -> list[dict[str, Any]]:
    """Evaluators with what is promised of their scores, as the API has them."""
    quality = qualities(house)
    return [
        {**asdict(one), "quality": asdict(quality[one.name]) if one.name in quality else None}
        for one in statuses
    ]


def _whole(text: str) -> int:
    return min(int(text), MOST - 1) if text.isdecimal() and len(text) < 5 else 0


def _offer(one: Offer) -> dict[str, Any]:
    verdict, answer = one.verdict, one.answer
    return {
        **asdict(verdict), "input": answer.input, "output": answer.output,
        "context": [passage.text for passage in answer.context],
    }  # fmt: skip
