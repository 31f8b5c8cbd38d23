"""What a link in a message leads to: one button, without login (`delivery.answer_links`).

GET shows what would be said and changes nothing; POST, with the form token of that page, says it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.delivery.answer_links import PATH, Link
from tocsin.delivery.answers import RESPONSES, VERDICTS
from tocsin.engine.answers import Answers
from tocsin.net.proof import NotAuthentic
from tocsin.web.actions import LONGEST_NAME, Form
from tocsin.web.render import Renderer

WORDS = {**RESPONSES, **VERDICTS}


class AnswerPages:
    """The page behind every link."""

    def __init__(
        self,
        answers: Answers,
        renderer: Renderer,
        form: Callable[[Request], Awaitable[Form]],
    ) -> None:
        self._answers = answers
        self._renderer = renderer
        self._form = form

    def routes(self) -> list[Route]:
        """Its one address."""
        return [
            Route(f"{PATH}{{token}}", self.show, methods=["GET"]),
            Route(f"{PATH}{{token}}", self.say, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """What would be said."""
        return await self._page(request, await self._link(request))

    async def say(self, request: Request) -> Response:
        """Say it."""
        form, link = await self._form(request), await self._link(request)
        name = " ".join(form.get("name", "").split())[:LONGEST_NAME]
        counted = await run_in_threadpool(self._answers.follow, link, name)
        return await self._page(request, link, counted=counted)

    async def _link(self, request: Request) -> Link:
        try:
            return await run_in_threadpool(self._answers.linked, request.path_params["token"])
        except NotAuthentic as error:
            raise HTTPException(403, str(error)) from None

    async def _page(self, request: Request, link: Link, *, counted: bool | None = None) -> Response:
        incident = await run_in_threadpool(self._answers.incident, link)
        if incident is None:
            raise HTTPException(404)
        return self._renderer.page(
            request, "answer.html", title=WORDS[link.said], bare=True,
            incident=incident, words=WORDS[link.said], counted=counted,
        )  # fmt: skip
