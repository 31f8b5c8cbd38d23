"""The Evaluator document: a judge, the people who check it, and the quality that is promised."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from tocsin.assess.calibration import Calibration
from tocsin.assess.monitor import Monitor, Severity
from tocsin.assess.quality import QualityConfig
from tocsin.domain.expressions import Apply, Condition, Constant, Expression, negated
from tocsin.domain.series import Ratio, SeriesId
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.parser import parse
from tocsin.spec.indicators import CallKind
from tocsin.spec.indicators import Condition as Written
from tocsin.spec.services import Service
from tocsin.spec.shape import Duration, Shape, Text

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

    Both are conditions on a call in the language of indicators. Put the judge's model, prompt and
    rubric into the name of its score: a new judge is a new score, and begins without labels.
    """

    service: Text
    description: str = ""
    judge: Annotated[Written, Field(min_length=1, description="the judge says it is good")]
    human: Annotated[Written, Field(min_length=1, description="a person says it is good")]
    weight: Annotated[
        str, AfterValidator(_check_number),
        Field(description="one over the probability with which the call was chosen to be judged"),
    ] = ""  # fmt: skip
    kind: CallKind = "llm"
    target: Annotated[float, Field(gt=0, lt=1, description="share of good answers")]
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
        self._config(())
        return self

    def build(self, name: str, title: str, service: Service, labels: dict[str, str]) -> Monitor:
        """The monitor that it makes."""
        weight = parse(self.weight, "number") if self.weight else Constant(1.0, "number")
        judge, human = parse(self.judge), parse(self.human)

        def series(part: str) -> SeriesId:
            return SeriesId(service.name, f"{name}/{part}")

        def ratio(
            bad: Expression, by: Expression | None = None, of: Expression | None = None
        ) -> Ratio:
            condition = Condition(bad, of, f"did not meet {self.judge}")
            return Ratio("condition", kind=self.kind, condition=condition, weight=by)

        failed, squared = negated(judge), Apply("*", (weight, weight), "number")
        parts = (
            (series("judged"), ratio(failed)),
            (series("squares"), ratio(failed, squared)),
            (series("passed"), ratio(negated(human), of=judge)),
            (series("failed"), ratio(negated(human), of=failed)),
        )
        return Monitor(
            name=f"quality/{name}",
            title=f"{service.display_name}: {title or name}",
            service=service.name,
            signal=self.signal,
            severity=self.severity,
            series=series("judge"),
            ratio=ratio(failed, weight),
            method=self._config(parts),
            labels={**service.labels, **labels, "evaluator": name},
        )

    def _config(self, parts: tuple[tuple[SeriesId, Ratio], ...]) -> QualityConfig:
        minute = timedelta(minutes=1)
        return QualityConfig(
            target=self.target,
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
