"""The Gate document: which candidate is held against which baseline, by what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from tocsin.assess.gates.gate import Gate, Metric
from tocsin.spec.shape import Duration, Name, Shape, Text

ON_DEMAND = (
    "a Gate is judged by `tocsin gate check` on a file of calls; the server keeps it and judges it"
    " in a later release"
)
CANDIDATE, BASELINE = "${candidate}", "${baseline}"
_CONDITION = re.compile(
    r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*(==?|!=|>=|<=|>|<)\s*('(?:[^']|'')*'|\"[^\"]*\"|[-+0-9.eE]+|true|false)\s*"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of one column: `duration_ms >= 2000`, `status = 'error'`."""

    column: str
    operator: str
    value: str | float | bool


def read_condition(text: str) -> Condition:
    """The condition that a text says; a column alone is `column = true`. ValueError if none."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", text.strip()):
        return Condition(text.strip(), "=", True)
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no comparison; write COLUMN OPERATOR VALUE, such as duration_ms >= 2000"
            " or status = 'error'"
        )
    column, operator, value = found.groups()
    operator = "=" if operator == "==" else operator
    if value[0] in "'\"":
        quoted = value[1:-1].replace("''", "'")
        if operator not in ("=", "!="):
            raise ValueError(f"{text!r} compares text by size; use = or !=")
        return Condition(column, operator, quoted)
    if value in ("true", "false"):
        return Condition(column, operator, value == "true")
    try:
        return Condition(column, operator, float(value))
    except ValueError:
        raise ValueError(f"{value!r} in {text!r} is no number") from None


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
        str, Field(description="condition of the calls that count: `status = 'error'`")
    ] = ""
    mean: Annotated[str, Field(description="column whose mean is compared")] = ""
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
            raise ValueError("give either rate: CONDITION or mean: COLUMN")
        if self.rate:
            read_condition(self.rate)
            if self.scale == "log":
                raise ValueError("a rate has no log scale")
        return self

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

    by: Annotated[Text, Field(description="column that tells them apart, such as prompt_version")]
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


class GateShape(Shape):
    """May a candidate take over from the baseline that runs beside it?"""

    description: str = ""
    service: str = ""
    arms: ArmsShape
    unit: Annotated[
        str, Field(description="column of what is independent, such as session_id; else each call")
    ] = ""
    alpha: Annotated[
        float, Field(gt=0, lt=0.5, description="of passing what is worse by its margin")
    ] = 0.05
    fail_alpha: Annotated[float, Field(gt=0, lt=0.5, description="of failing what is equal")] = 0.01
    burn_in: BurnInShape = BurnInShape()
    max_duration: Duration = timedelta(hours=24)
    metrics: Annotated[tuple[GateMetricShape, ...], Field(min_length=1)]

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

    def conditions(self) -> Mapping[str, Condition]:
        """The condition of every rate, by the name of its metric."""
        return {metric.name: read_condition(metric.rate) for metric in self.metrics if metric.rate}
