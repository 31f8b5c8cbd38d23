"""The Indicator document: a ratio of calls that a team names, as conditions on a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from tocsin.domain.calls import KINDS
from tocsin.indicators.catalogue import NAMES, Indicator, indicator_from
from tocsin.indicators.custom import written
from tocsin.indicators.language.faults import ExpressionError
from tocsin.indicators.language.parser import parse
from tocsin.spec.explain import suggest
from tocsin.spec.shape import Shape

CallKind = Literal[
    "llm", "embedding", "retriever", "tool", "agent", "chain",
    "reranker", "guardrail", "evaluator", "prompt", "other",
]  # fmt: skip
assert get_args(CallKind) == KINDS  # noqa: S101 (one list, written where a type checker sees it)


def _check(text: str) -> str:
    if text:
        try:
            parse(text)
        except ExpressionError as error:
            raise ValueError(str(error)) from None
    return text


Condition = Annotated[str, AfterValidator(_check)]


class IndicatorShape(Shape):
    """A share of calls under a name, for objectives, detectors and monitors to use.

    `good`, `bad` and `total` are conditions on one call in the language of indicators: fields,
    attributes, dimensions and scores of the call, compared and put together. A call for which the
    condition is unknown (no price, no score yet) does not count.
    """

    description: str = ""
    good: Annotated[Condition, Field(description="holds for a good call")] = ""
    bad: Annotated[Condition, Field(description="holds for a bad call; instead of `good`")] = ""
    total: Annotated[
        Condition, Field(description="which calls count; all of the kind by default")
    ] = ""
    kind: Annotated[CallKind, Field(description="kind of the calls that count")] = "llm"
    signal: Annotated[
        str, Field(description="what routing calls it; by default from what it speaks of")
    ] = ""

    @model_validator(mode="after")
    def _has_one_side(self) -> IndicatorShape:
        if bool(self.good) == bool(self.bad):
            raise ValueError("give either good or bad: a condition such as `latency < 2s`")
        return self

    def build(self, name: str, title: str) -> Indicator:
        """The same, as monitors count it."""
        return written(
            good=self.good, bad=self.bad, total=self.total, name=name, title=title,
            signal=self.signal, kind=self.kind,
        )  # fmt: skip


Named = Callable[[Mapping[str, object]], Indicator]


def resolver(own: Mapping[str, Indicator]) -> Named:
    """Finds the indicator that {use: NAME, under: LIMIT} names: a built-in one, or one of `own`.

    What it returns raises ValueError or IndicatorError for a name that nobody knows.
    """

    def named(mapping: Mapping[str, object]) -> Indicator:
        name = str(mapping.get("use", ""))
        if name in NAMES:
            return indicator_from(mapping)
        if name not in own:
            hint = suggest(name, (*NAMES, *own))
            raise ValueError(f"there is no indicator {name!r} ({hint})")
        if "under" in mapping:
            raise ValueError(f"{name} has no limit; remove `under`")
        return own[name]

    return named
