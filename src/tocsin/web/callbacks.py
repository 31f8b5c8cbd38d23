"""Where the services of receivers send what people did there: POST /callbacks/<receiver>.

Open without login, because each request is proven by its own signature or token. 401 is for what is
not authentic, whatever is wrong with it; everything authentic is 200, understood or not, because a
service that meets errors stops sending.
"""

from __future__ import annotations

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.domain.errors import IntakeError
from tocsin.engine.answers import Answers
from tocsin.intake.admission import Admission
from tocsin.intake.bodies import BodyLimits, read_body
from tocsin.net.proof import NotAuthentic
from tocsin.web.guard import problem, refusal

log = structlog.get_logger(__name__)

PATH = "/callbacks/"
# Anybody may call here, so that a body has little time.
LIMITS = BodyLimits(wire_bytes=1_000_000, silence_s=5.0, whole_s=20.0)


class Callbacks:
    """The handler of all receivers' requests."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._admission = Admission(16 << 20)

    def routes(self) -> list[Route]:
        """Its one address."""
        return [Route(f"{PATH}{{receiver}}", self.take, methods=["POST"])]

    async def take(self, request: Request) -> Response:
        """Verify, carry out, answer."""
        receiver = request.path_params["receiver"]
        if not self._answers.listens_to(receiver):
            return problem(404, "no receiver of this name listens to requests")
        headers = dict(request.headers.items())
        try:
            with self._admission.request() as ticket:
                body = await read_body(request, LIMITS, ticket)
                await run_in_threadpool(self._answers.take, receiver, headers, body)
        except IntakeError as error:
            return refusal(error)
        except NotAuthentic as error:
            log.warning("callback_refused", receiver=receiver, reason=str(error))
            return problem(401, str(error))
        return Response()
