"""The Evaluator document: a judge, the people who check it, and the quality that is promised."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from tocsin.assess.calibration import Calibration
from tocsin.assess.monitor import Monitor, Severity
from tocsin.assess.quality import QualityConfig
from tocsin.domain.errors import Problem
from tocsin.domain.evaluation import chance, human_of, propensity_of
from tocsin.domain.expressions import Apply, Condition, Constant, Expression, negated
from tocsin.domain.expressions import Field as Field_
from tocsin.domain.series import Ratio, SeriesId
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.parser import parse
from tocsin.spec.indicators import CallKind
from tocsin.spec.indicators import Condition as Written
from tocsin.spec.judging import RunShape
from tocsin.spec.services import Service
from tocsin.spec.shape import Duration, Shape, Text
from tocsin.spec.yaml import Located

_USUAL = QualityConfig()


def _check_number(text: str) -> str:
    if text:
        try:
            parse(text, "number")
        except ExpressionError as error:
            raise ValueError(str(error)) from None
    return text


class HumanLabelsShape(Shape):
    """How many answers people must label for the judge to be believed."""

    per: Duration = timedelta(days=7)
    min: Annotated[int, Field(ge=1)] = _USUAL.min_labels


class CalibrationShape(Shape):
    """What a labelled set from elsewhere says of the judge."""

    good: Annotated[int, Field(ge=1, description="good answers of the set")]
    passed: Annotated[int, Field(ge=0, description="how many of them the judge passes")]
    bad: Annotated[int, Field(ge=1, description="bad answers of the set")]
    caught: Annotated[int, Field(ge=0, description="how many of them the judge fails")]

    @model_validator(mode="after")
    def _adds_up(self) -> CalibrationShape:
        if self.passed > self.good or self.caught > self.bad:
            raise ValueError("passed are of the good ones, caught are of the bad ones")
        if self.passed / self.good + self.caught / self.bad <= 1.0:
            raise ValueError("this judge is no better than chance: its verdicts say nothing")
        return self


class EvaluatorShape(Shape):
    """A judge's scores, put right by people's labels, and held to a target.

    Both are conditions on a call in the language of indicators. With `run` Tocsin judges by itself
    and both are its own by default. Without it others send the scores; then put the judge's model,
    prompt and rubric into the name of its score: a new judge is a new score, and begins without
    labels.
    """

    service: Text
    description: str = ""
    run: Annotated[RunShape | None, Field(description="how Tocsin judges by itself")] = None
    judge: Annotated[Written, Field(description="the judge says it is good")] = ""
    human: Annotated[Written, Field(description="a person says it is good")] = ""
    weight: Annotated[
        str, AfterValidator(_check_number),
        Field(description="one over the probability with which the call was chosen to be judged"),
    ] = ""  # fmt: skip
    kind: CallKind = "llm"
    target: Annotated[
        float | None,
        Field(gt=0, lt=1, description="share of good answers; without it `run` only scores"),
    ] = None
    window: Duration = timedelta(days=7)
    human_labels: HumanLabelsShape = HumanLabelsShape()
    calibration: Annotated[
        CalibrationShape | None,
        Field(description="instead of people's labels on live answers (Rogan and Gladen)"),
    ] = None
    settle: Annotated[
        Duration, Field(description="younger answers are left out: labels come late")
    ] = timedelta(0)
    severity: Severity = "ticket"
    signal: str = "quality"

    @model_validator(mode="after")
    def _can_be_judged(self) -> EvaluatorShape:
        missing = [name for name in ("judge", "human", "target") if not getattr(self, name)]
        if self.run is None and missing:
            raise ValueError(f"needs {' and '.join(missing)}, or `run` with which Tocsin judges")
        if self.target is not None:
            self._config(())
        return self

    def examine(self, located: Located) -> tuple[list[Problem], list[Problem]]:
        """As `PluginShape.examine`, of what judges."""
        return self.run.examine(located) if self.run is not None else ([], [])

    def build(
        self, name: str, title: str, service: Service, labels: dict[str, str]
    ) -> Monitor | None:
        """The monitor that it makes; None for one without a target."""
        if self.target is None:
            return None
        judge, weight, parts = self._counted(name)

        def series(part: str) -> SeriesId:
            return SeriesId(service.name, f"{name}/{part}")

        return Monitor(
            name=f"quality/{name}",
            title=f"{service.display_name}: {title or name}",
            service=service.name,
            signal=self.signal,
            severity=self.severity,
            series=series("judge"),
            ratio=self._ratio(negated(judge), weight),
            method=self._config(tuple((series(part), ratio) for part, ratio in parts)),
            labels={**service.labels, **labels, "evaluator": name},
        )

    def _ratio(
        self, bad: Expression, by: Expression | None = None, of: Expression | None = None
    ) -> Ratio:
        text = f"did not meet {self.judge}" if self.judge else "did not pass the judge"
        return Ratio("condition", kind=self.kind, condition=Condition(bad, of, text), weight=by)

    def _counted(self, name: str) -> tuple[Expression, Expression, list[tuple[str, Ratio]]]:
        """What the judge passes, what a judged call weighs, and what is counted beside."""
        own = self.run.series(name) if self.run else ""
        judge = parse(self.judge) if self.judge else _reaches(own, self.run)
        human = parse(self.human) if self.human else _reaches(human_of(name))
        weight = parse(self.weight, "number") if self.weight else Constant(1.0, "number")
        failed = negated(judge)
        if self.run is not None and not self.weight:
            weight = chance(propensity_of(own))
        parts = [
            ("judged", self._ratio(failed)),
            ("squares", self._ratio(failed, _square(weight))),
            ("passed", self._ratio(negated(human), of=judge)),
            ("failed", self._ratio(negated(human), of=failed)),
        ]
        if self.run is not None:
            told = _known(Field_("score", "number", propensity_of(own)))
            missing = negated(_known(Field_("score", "number", own)))
            parts.append(("chosen", self._ratio(missing, weight, told)))
            if not self.human:
                labelled = chance(propensity_of(human_of(name)))
                for side, of in (("passed", judge), ("failed", failed)):
                    bad = negated(human)
                    parts.append((f"{side}_weight", self._ratio(bad, labelled, of)))
                    parts.append((f"{side}_squares", self._ratio(bad, _square(labelled), of)))
        return judge, weight, parts

    def _config(self, parts: tuple[tuple[SeriesId, Ratio], ...]) -> QualityConfig:
        minute = timedelta(minutes=1)
        return QualityConfig(
            target=self.target or 0.5,
            window_minutes=self.window // minute,
            labels_minutes=self.human_labels.per // minute,
            min_labels=self.human_labels.min,
            settle_minutes=self.settle // minute,
            calibration=Calibration(
                (self.calibration.passed, self.calibration.good),
                (self.calibration.caught, self.calibration.bad),
            )
            if self.calibration
            else None,
            parts=parts,
        )


def _reaches(score: str, run: RunShape | None = None) -> Expression:
    least = run.passes if run is not None else 0.5
    return Apply(">=", (Field_("score", "number", score), Constant(least, "number")), "truth")


def _known(field: Field_) -> Expression:
    return Apply("known", (field,), "truth")


def _square(weight: Expression) -> Expression:
    return Apply("*", (weight, weight), "number")
