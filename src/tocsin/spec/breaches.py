"""The BreachMonitor document: a limit that must not be exceeded for minutes on end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from tocsin.assess.detectors import SustainedBreachConfig
from tocsin.assess.monitor import Severity
from tocsin.indicators.catalogue import Indicator
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.limits import PRESETS, limit_of
from tocsin.spec.detectors import UseShape
from tocsin.spec.explain import suggest
from tocsin.spec.shape import Duration, OneOrMany, Shape

_DEFAULTS = SustainedBreachConfig()


Rule = tuple[str, Indicator, SustainedBreachConfig]


def _check_limit(text: str) -> str:
    if text:
        try:
            limit_of(text)
        except ExpressionError as error:
            raise ValueError(str(error)) from None
    return text


def _check_preset(name: str) -> str:
    if name and name not in PRESETS:
        raise ValueError(f"there is no preset {name!r} ({suggest(name, PRESETS)})")
    return name


class BreachMonitorShape(Shape):
    """A limit on a quantile or a share of calls, and for how long it must be exceeded.

    `p95(latency) > 2s` with `window: 1m` and `for: 5m` is "p95 above 2 s for 5 consecutive
    minutes". A preset is one limit or several under a name, each judged by itself.
    """

    service: Annotated[str, Field(description="one service")] = ""
    services: Annotated[OneOrMany, Field(description='several services, or "*" for every one')] = ()
    when: Annotated[
        str,
        AfterValidator(_check_limit),
        Field(description="p95(NUMBER) > LIMIT or share(CONDITION) > PERCENT, in the language of"
              " indicators"),
    ] = ""  # fmt: skip
    indicator: Annotated[
        UseShape | None, Field(description="instead of `when`: an indicator by name, with `over`")
    ] = None
    over: Annotated[
        float | None, Field(ge=0, lt=1, description="the share of bad calls to exceed")
    ] = None
    preset: Annotated[
        str, AfterValidator(_check_preset),
        WithJsonSchema({"type": "string", "enum": sorted(PRESETS)}),
    ] = ""  # fmt: skip
    window: Annotated[Duration | None, Field(description="what a share is taken over; 5m")] = None
    lasting: Annotated[
        Duration | None, Field(alias="for", description="consecutive minutes; 1m")
    ] = None
    min_events: Annotated[int, Field(ge=1)] = _DEFAULTS.min_events
    evidence: Annotated[float, Field(ge=0, lt=1)] = _DEFAULTS.evidence
    severity: Severity = "ticket"
    signal: str = ""
    title: str = ""
    labels: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_one_thing(self) -> BreachMonitorShape:
        if bool(self.service) == bool(self.services):
            raise ValueError('give either service: NAME, services: [NAME, ...] or services: "*"')
        if sum((bool(self.when), self.indicator is not None, bool(self.preset))) != 1:
            raise ValueError("give one of when, indicator (with over) and preset")
        if (self.over is None) != (self.indicator is None):
            raise ValueError("over goes with indicator: {indicator: {use: feedback}, over: 0.1}")
        self._config(0.5, 5, 1)
        return self

    def rules(
        self, own: Indicator | None
    ) -> Iterator[tuple[str, Indicator, SustainedBreachConfig]]:
        """(name within the document, what is counted, how it is judged) of every limit.

        own: what `indicator` names.
        """
        if own is not None and self.over is not None:
            yield "", own, self._config(self.over, 5, 1)
        elif self.when:
            limit = limit_of(self.when)
            yield "", limit.indicator, self._config(limit.over, 5, 1)
        elif self.preset:
            preset = PRESETS[self.preset]
            for name, limit in preset.limits.items():
                config = self._config(limit.over, preset.window_minutes, preset.for_minutes)
                yield name if len(preset.limits) > 1 else "", limit.indicator, config

    def _config(self, over: float, window: int, lasting: int) -> SustainedBreachConfig:
        return SustainedBreachConfig(
            over=over,
            window_minutes=_minutes(self.window, window),
            for_minutes=_minutes(self.lasting, lasting),
            min_events=self.min_events,
            evidence=self.evidence,
        )


def _minutes(given: timedelta | None, otherwise: int) -> int:
    if given is None:
        return otherwise
    if given % timedelta(minutes=1):
        raise ValueError("window and for are whole minutes")
    return given // timedelta(minutes=1)
