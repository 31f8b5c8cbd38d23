"""Gates through the API.

GET /gates                            every gate of a service, with its trials
GET /gates/{name}/verdict?candidate=  one trial: pass, fail, inconclusive, insufficient, invalid

Argo Rollouts' web metric reads the latter: successCondition `result.verdict == "pass"`,
failureCondition `result.verdict == "fail"`; whatever is neither leaves a rollout inconclusive.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from tocsin.domain.clock import from_minute
from tocsin.engine.experiments import Experiments, Trial

Arm = Annotated[str, Query(description="The value that tells the arm; by default the document's.")]


def routes(experiments: Experiments) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["gates"])

    @router.get("/gates", summary="Gates of services, and how their candidates stand")
    def gates() -> dict[str, Any]:
        items = [
            {
                "name": document.name,
                "service": shape.service,
                "by": shape.arms.by,
                "baseline": shape.arms.baseline,
                "trials": [resource(one) for one in experiments.trials(document.name)],
            }
            for document, shape in experiments.gates()
        ]
        return {"total": len(items), "items": items}

    @router.get("/gates/{name}/verdict", summary="May a candidate take over?")
    def verdict(name: str, candidate: Arm = "", baseline: Arm = "") -> dict[str, Any]:
        return resource(experiments.trial(name, candidate, baseline))

    return router


def resource(trial: Trial) -> dict[str, Any]:
    """A trial, with its verdict where pipelines look for it."""
    return {
        "gate": trial.gate,
        "service": trial.service,
        "candidate": trial.candidate,
        "baseline": trial.baseline,
        "read_up_to": None if trial.looked is None else from_minute(trial.looked + 1),
        "decided": trial.decided,
        **asdict(trial.result),
    }
