"""The Detector document: a kind of detector, its settings, and the services it watches.

No kind is known here by name: `use` is looked up in the registry of detectors, and `with` is
checked against the settings that the kind itself declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from tocsin.assess.detectors import DETECTORS
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.monitor import DetectorConfig, Severity
from tocsin.domain.errors import Problem
from tocsin.domain.series import Across, Metric, Taken
from tocsin.indicators.catalogue import (
    AVAILABILITY,
    NAMES,
    Indicator,
    IndicatorError,
    indicator_from,
)
from tocsin.indicators.custom import averaged, of_metric
from tocsin.indicators.language.faults import ExpressionError
from tocsin.spec.detector_presets import PRESETS, filled
from tocsin.spec.explain import suggest
from tocsin.spec.indicators import CallKind, Named
from tocsin.spec.segments import SegmentsShape
from tocsin.spec.shape import OneOrMany, Shape, Text, fit, model_of
from tocsin.spec.yaml import Located, Place

_NEEDS = {"share": "counts", "volume": "counts", "mean": "value", "sum": "value"}


def _check_kind(use: str) -> str:
    if use not in DETECTORS:
        raise ValueError(f"there is no detector {use!r} ({suggest(use, DETECTORS)})")
    return use


def _check_preset(name: str) -> str:
    if name and name not in PRESETS:
        raise ValueError(f"there is no preset {name!r} ({suggest(name, PRESETS)})")
    return name


class UseShape(Shape):
    """An indicator by name, with its limit if it has one: {use: latency, under: 2 s}."""

    use: Annotated[
        str, Field(description=f"{', '.join(sorted(NAMES))}, or the name of an Indicator document")
    ]
    under: str | float | None = None

    @model_validator(mode="after")
    def _fits_an_indicator(self) -> UseShape:
        try:
            if self.use in NAMES:
                indicator_from(self.asked)
        except IndicatorError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def asked(self) -> dict[str, object]:
        """The mapping that names the indicator."""
        return {"use": self.use} if self.under is None else {"use": self.use, "under": self.under}

    def build(
        self, named: Named, located: Located, place: Place
    ) -> tuple[Indicator | None, list[Problem]]:
        """The indicator, or that there is none."""
        try:
            return named(self.asked), []
        except (IndicatorError, ValueError) as error:
            return None, [located.problem((*place, "use"), str(error))]


class MetricShape(Shape):
    """One number a minute of a metric, from OTLP or from a page that a Source scrapes."""

    name: Annotated[Text, Field(description="such as `vllm:num_requests_waiting`")]
    take: Annotated[
        Taken,
        Field(
            description="of a level last, highest, lowest, mean; of a counter rate (per"
            " second); of a histogram p50, p95, p99"
        ),
    ] = "last"
    across: Annotated[Across, Field(description="how series, such as pods, are put together")] = (
        "sum"
    )
    labels: Annotated[
        dict[str, str], Field(description="that a series must have, of its own or its resource")
    ] = Field(default_factory=dict)

    def build(self) -> Indicator:
        """The same, as monitors read it."""
        labels = tuple(sorted(self.labels.items()))
        return of_metric(Metric(self.name, self.take, self.across, labels))


class DetectorShape(Shape):
    """Something unusual that somebody should be told about."""

    service: Annotated[str, Field(description="one service")] = ""
    services: Annotated[OneOrMany, Field(description='several services, or "*" for every one')] = ()
    preset: Annotated[
        str, AfterValidator(_check_preset),
        WithJsonSchema({"type": "string", "enum": sorted(PRESETS)}),
        Field(description="a detector under a name, of which everything can be changed"),
    ] = ""  # fmt: skip
    use: Annotated[
        str,
        AfterValidator(_check_kind),
        WithJsonSchema({"type": "string", "enum": sorted(DETECTORS)}),
        Field(description="the kind of detector, unless a preset names one"),
    ] = ""
    indicator: Annotated[
        UseShape | None, Field(description="what is counted; none for detectors of latency")
    ] = None
    value: Annotated[
        str,
        Field(
            description="of measure mean or sum: a number of a call, such as `output_tokens`,"
            " `cost_usd` or `score('faithfulness')`"
        ),
    ] = ""
    kind: Annotated[CallKind, Field(description="kind of the calls that have the value")] = "llm"
    model: Annotated[str, Field(description="only calls of this model have it")] = ""
    metric: Annotated[
        MetricShape | None,
        Field(description="a metric that the service reports, instead of its calls"),
    ] = None
    severity: Severity = "ticket"
    signal: Annotated[
        str, Field(description="what routing calls it; by default that of the indicator")
    ] = ""
    title: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    segments: Annotated[
        SegmentsShape | None,
        Field(description="compare every value of a dimension with the rest as well"),
    ] = None
    settings: Annotated[dict[str, Any], Field(description="settings of the detector")] = Field(
        default_factory=dict, alias="with"
    )

    @model_validator(mode="before")
    @classmethod
    def _begin_with_preset(cls, given: Any) -> Any:
        return filled(given) if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _watches_something(self) -> DetectorShape:
        if not self.use:
            raise ValueError("give use: the kind of detector, or a preset")
        if bool(self.service) == bool(self.services):
            raise ValueError('give either service: NAME, services: [NAME, ...] or services: "*"')
        kind = DETECTORS[self.use].config
        needs: str = kind.needs
        if issubclass(kind, GaugeConfig):
            needs = _NEEDS.get(self.measure(kind), "pace")
        if self.metric is not None:
            self._check_metric(kind)
            if self.segments is not None:
                raise ValueError("a metric has labels, not segments: name them under labels")
            return self
        self._check_value(needs)
        if needs == "counts" and self.indicator is None and self.unnamed() is None:
            raise ValueError(f"{self.use} judges counts: add indicator: {{use: availability}}")
        self._check_segments(kind)
        if needs == "pace" and self.indicator is not None:
            raise ValueError(f"{self.use} judges latency by itself: remove indicator")
        if needs == "samples" and self.indicator is not None:
            raise ValueError(f"{self.use} compares calls by their features: remove indicator")
        return self

    def _check_segments(self, kind: type[DetectorConfig]) -> None:
        if self.segments is None:
            return
        if not issubclass(kind, GaugeConfig):
            if self.indicator is None:
                raise ValueError("segments need an indicator to be counted by")
            return
        if self.segments.of_counts:
            extra = self.segments.of_counts[0]
            raise ValueError(
                f"each segment of a gauge is judged against its own past: remove {extra}; by and"
                " severity are all that counts"
            )

    def _check_metric(self, kind: type[DetectorConfig]) -> None:
        if not issubclass(kind, GaugeConfig) or kind.measured() == "volume":
            raise ValueError(f"{self.use} does not judge the values of a metric")
        if self.measure(kind) != "mean":
            raise ValueError("a metric has its own take: remove measure")
        if self.indicator is not None or self.value or self.model or self.kind != "llm":
            raise ValueError("a metric is not of calls: remove indicator, value, kind and model")

    def _check_value(self, needs: str) -> None:
        if needs != "value" and (self.value or self.model or self.kind != "llm"):
            raise ValueError("value, kind and model belong to with: {measure: mean} or sum")
        if needs != "value":
            return
        if self.indicator is not None:
            raise ValueError("a mean or a sum is of a value: remove indicator")
        if not self.value:
            raise ValueError("a mean or a sum is of a value: add value: cost_usd, for example")
        try:
            averaged(self.value)
        except (IndicatorError, ExpressionError) as error:
            raise ValueError(str(error)) from None

    def unnamed(self) -> Indicator | None:
        """The indicator that is meant where none is named: a volume is that of all LLM calls, and
        means and sums are of the value, and a metric is one by itself."""
        if self.metric is not None:
            return self.metric.build()
        if self.value:
            return averaged(self.value, self.kind, self.model)
        kind = DETECTORS[self.use].config
        is_volume = issubclass(kind, GaugeConfig) and self.measure(kind) == "volume"
        return AVAILABILITY if is_volume else None

    def measure(self, kind: type[GaugeConfig]) -> str:
        """What a detector of gauges measures, by its settings or by default."""
        default = "mean" if self.metric is not None else kind.measured()
        return str(self.settings.get("measure", default))

    def config(self, located: Located) -> tuple[DetectorConfig | None, list[Problem]]:
        """The typed settings, or what is wrong with them."""
        place: Place = ("spec", "with")
        settings = self.settings
        if self.metric is not None:  # each minute that has a value is one
            settings = {"measure": "mean", "min_calls": 1, **settings}
        return fit(DETECTORS[self.use].config, settings, located, place)


def settings_schemas() -> Mapping[str, Mapping[str, Any]]:
    """JSON Schema of the settings of every registered detector, by name."""
    return {name: model_of(DETECTORS[name].config).model_json_schema() for name in DETECTORS}
