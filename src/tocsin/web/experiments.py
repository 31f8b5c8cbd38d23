"""The page of experiments: every gate of a service, and how its candidates stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.assess.gates.gate import GateResult, MetricResult
from tocsin.domain.clock import from_minute
from tocsin.engine.experiments import Experiments, Trial
from tocsin.spec.gates import GateMetricShape, GateShape
from tocsin.web.actions import Actions
from tocsin.web.render import Renderer
from tocsin.web.tone import Tone

_TONES = {
    "pass": Tone.OK, "fail": Tone.BAD, "invalid": Tone.WARN, "inconclusive": Tone.WARN,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MetricView:
    """One metric of a trial. what: as it is written. limit: the margin, on the side that is worse.

    is_share: differences are shares of calls; is_factor: shares of the baseline.
    """

    result: MetricResult
    what: str
    limit: float
    is_share: bool
    is_factor: bool
    tone: Tone


@dataclass(frozen=True, slots=True)
class TrialView:
    """A candidate against its baseline. word: its verdict, or that it goes on."""

    candidate: str
    baseline: str
    word: str
    tone: Tone
    result: GateResult
    read_up_to: datetime | None
    decided: datetime | None
    metrics: tuple[MetricView, ...]


@dataclass(frozen=True, slots=True)
class GateView:
    """A gate with its trials, those that go on first."""

    name: str
    title: str
    service: str
    by: str
    baseline: str
    trials: tuple[TrialView, ...]


class ExperimentPages:
    """GET only."""

    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments

    def routes(self, renderer: Renderer, _: Actions) -> list[Route]:
        """The page."""

        def page(request: Request) -> Response:
            return renderer.page(
                request, "experiments.html", title="Experiments", live=True, gates=self.views()
            )

        return [Route("/experiments", page, methods=["GET"])]

    def views(self) -> list[GateView]:
        """Every gate of a service."""
        found = []
        for document, shape in self._experiments.gates():
            trials = [trial_view(shape, one) for one in self._experiments.trials(document.name)]
            trials.sort(key=lambda one: (one.decided is not None, one.candidate))
            title = document.metadata.display_name or document.name
            base = "" if shape.arms.baseline.startswith("$") else shape.arms.baseline
            found.append(
                GateView(document.name, title, shape.service, shape.arms.by, base, tuple(trials))
            )
        return found


def trial_view(shape: GateShape, trial: Trial) -> TrialView:
    """A trial as it is shown."""
    written = {metric.name: metric for metric in shape.metrics}
    is_open = trial.decided is None and trial.result.verdict != "invalid"
    return TrialView(
        candidate=trial.candidate,
        baseline=trial.baseline,
        word="goes on" if is_open else trial.result.verdict,
        tone=Tone.UNKNOWN if is_open else _TONES.get(trial.result.verdict, Tone.UNKNOWN),
        result=trial.result,
        read_up_to=None if trial.looked is None else from_minute(trial.looked + 1),
        decided=trial.decided,
        metrics=tuple(_metric(written[m.name], m) for m in trial.result.metrics),
    )


def _metric(shape: GateMetricShape, result: MetricResult) -> MetricView:
    tone = {"pass": Tone.OK, "fail": Tone.BAD}.get(result.standing, Tone.UNKNOWN)
    worse = 1 if shape.direction == "lower_is_better" else -1
    is_log = shape.scale == "log"
    return MetricView(
        result, shape.rate or shape.mean, worse * result.margin, bool(shape.rate), is_log, tone
    )
