"""The Gate document: which candidate is held against which baseline, by what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from tocsin.assess.gates.gate import Gate, Metric
from tocsin.domain.expressions import Expression, Type, fields
from tocsin.domain.expressions import Field as CallField
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.parser import parse
from tocsin.indicators.language.vocabulary import FIELDS
from tocsin.spec.indicators import CallKind, Condition
from tocsin.spec.shape import Duration, Name, Shape

ON_DEMAND = (
    "a Gate without a service is judged by `tocsin gate check` on a file of calls, and not by the"
    " server"
)
CANDIDATE, BASELINE = "${candidate}", "${baseline}"
_HOUR = timedelta(hours=1)


def _of(*types: Type) -> Callable[[str], str]:
    """A check that a text is an expression of one of these types."""

    def check(text: str) -> str:
        if text:
            try:
                found = parse(text, None)
            except ExpressionError as error:
                raise ValueError(f"{error}{_own_columns(text)}") from None
            if found.type not in types:
                raise ValueError(f"{text!r} is a {found.type} where a {' or a '.join(types)} goes")
        return text

    return check


def _own_columns(text: str) -> str:
    """How to name what only a file has, where that may be meant."""
    name = re.match(r"[A-Za-z_][A-Za-z0-9_]*", text.strip())
    if name is None or name[0] in FIELDS:
        return ""
    return f"; an attribute, or a column of a file, is attributes['{name[0]}'], a score score(...)"


Numeric = Annotated[str, AfterValidator(_of("number", "duration"))]
Label = Annotated[str, AfterValidator(_of("text"))]


def _read_margin(value: Any) -> Any:
    """A number, or per cent as text: 10%."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*%\s*", value)
        if found is None:
            raise ValueError(
                f"must be a number such as 0.01, or per cent such as 10%, not {value!r}"
            )
        return float(found[1]) / 100
    return value


Margin = Annotated[
    float,
    BeforeValidator(_read_margin),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "%$"}]}),
]


class GateMetricShape(Shape):
    """One thing that must not get worse: a rate of calls, or the mean of a value."""

    name: Name
    rate: Annotated[
        Condition, Field(description="condition of the calls that count: `failed`, `elapsed >= 2s`")
    ] = ""
    mean: Annotated[
        Numeric, Field(description="value whose mean is compared: `cost_usd`, `score('relevance')`")
    ] = ""
    scale: Annotated[
        Literal["linear", "log"],
        Field(description="log: compare by factors, as befits times and money"),
    ] = "linear"
    margin: Annotated[
        Margin, Field(description="how much worse is acceptable: in its unit, of log as a share")
    ]
    direction: Literal["lower_is_better", "higher_is_better"] = "lower_is_better"
    critical: Annotated[bool, Field(description="any proven worsening fails")] = False
    weight: Annotated[float, Field(gt=0, description="share of the alpha of failing")] = 1.0

    @model_validator(mode="after")
    def _is_one_thing(self) -> GateMetricShape:
        if bool(self.rate) == bool(self.mean):
            raise ValueError("give either rate: CONDITION or mean: VALUE")
        if self.rate and self.scale == "log":
            raise ValueError("a rate has no log scale")
        return self

    @property
    def value(self) -> Expression:
        """What is known of a call: a truth value of a rate, else a number or a duration."""
        return parse(self.rate or self.mean, None)

    def build(self) -> Metric:
        """The metric."""
        return Metric(
            self.name,
            self.margin,
            is_rate=bool(self.rate),
            log=self.scale == "log",
            bad="higher" if self.direction == "lower_is_better" else "lower",
            critical=self.critical,
            weight=self.weight,
        )


class ArmsShape(Shape):
    """Which calls belong to which arm."""

    by: Annotated[
        Label,
        Field(
            min_length=1,
            description="what tells them apart: `prompt_version`, `release`,"
            " `model`, `attributes['arm']`",
        ),
    ]
    baseline: Annotated[str, Field(description="its value; by default told when it is run")] = (
        BASELINE
    )
    candidate: str = CANDIDATE
    split: Annotated[
        float | None, Field(gt=0, lt=1, description="the candidate's intended share of traffic")
    ] = None


class BurnInShape(Shape):
    """What has to be there before anything is said."""

    requests: Annotated[int, Field(ge=1)] = 200
    minutes: Annotated[int, Field(ge=1, description="in which both arms ran")] = 20


class GateHealthShape(Shape):
    """A health score that has to be held for a while before a candidate passes."""

    score: Annotated[Name, Field(description="a HealthScore with a service")]
    min: Annotated[float, Field(gt=0, le=100, description="points; up to 1 as a share of 1")]
    lasting: Annotated[
        Duration, Field(alias="for", description="how long it must not have been lower")
    ] = timedelta(minutes=30)
    bound: Annotated[
        Literal["lower", "point"],
        Field(description="what must not be lower: the end of its 95 % interval, or the score"),
    ] = "lower"
    min_coverage: Annotated[
        float, Field(ge=0, le=1, description="share of its weight that must have been measured")
    ] = 0.9

    @property
    def least(self) -> float:
        """In points of 100."""
        return self.min * 100 if self.min <= 1 else self.min


class GateShape(Shape):
    """May a candidate take over from the baseline that runs beside it?"""

    description: str = ""
    service: str = ""
    arms: ArmsShape
    kind: Annotated[CallKind, Field(description="kind of the calls that are compared")] = "llm"
    unit: Annotated[
        Label, Field(description="what is independent: `session_id`, `user_id`; else each call")
    ] = ""
    unit_window: Annotated[
        Duration, Field(description="a unit counts once, by this long from its first call")
    ] = timedelta(minutes=30)
    settle: Annotated[
        Duration | None,
        Field(
            description="how long a minute is waited for: by default 1h where scores are compared,"
            " which come late"
        ),
    ] = None
    alpha: Annotated[
        float, Field(gt=0, lt=0.5, description="of passing what is worse by its margin")
    ] = 0.05
    fail_alpha: Annotated[float, Field(gt=0, lt=0.5, description="of failing what is equal")] = 0.01
    burn_in: BurnInShape = BurnInShape()
    max_duration: Duration = timedelta(hours=24)
    metrics: Annotated[tuple[GateMetricShape, ...], Field(min_length=1)]
    health: Annotated[
        GateHealthShape | None, Field(description="what else has to hold for a candidate to pass")
    ] = None

    @model_validator(mode="after")
    def _names_metrics_once(self) -> GateShape:
        names = [metric.name for metric in self.metrics]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two metrics are named {twice[0]!r}")
        return self

    def build(self) -> Gate:
        """The rules of the comparison."""
        return Gate(
            metrics=tuple(metric.build() for metric in self.metrics),
            alpha=self.alpha,
            fail_alpha=self.fail_alpha,
            least_units=self.burn_in.requests,
            least_minutes=self.burn_in.minutes,
            max_minutes=max(1, round(self.max_duration.total_seconds() / 60)),
            split=self.arms.split,
        )

    def said(self, value: str) -> str:
        """The value of an arm that people write as such, or as `prompt_version=v8`."""
        return value.removeprefix(f"{self.arms.by}=")

    @property
    def arm(self) -> Expression:
        """The text that tells the arms apart."""
        return parse(self.arms.by, None)

    @property
    def independent(self) -> Expression | None:
        """The text that names a unit; None when every call is one."""
        return parse(self.unit, None) if self.unit else None

    @property
    def window_minutes(self) -> int:
        """For how many minutes from its first call a unit is followed."""
        return max(1, round(self.unit_window.total_seconds() / 60))

    @property
    def waits(self) -> timedelta:
        """How long after its end a minute is compared, beside what telemetry takes anyway."""
        if self.settle is not None:
            return self.settle
        judged = any(field.name in ("score", "label") for field in self._fields())
        return _HOUR if judged else timedelta(0)

    @property
    def scores(self) -> frozenset[str]:
        """Names of the scores that are compared."""
        return frozenset(f.key for f in self._fields() if f.name in ("score", "label"))

    def _fields(self) -> Iterator[CallField]:
        return fields(*(metric.value for metric in self.metrics))
