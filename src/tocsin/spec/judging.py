"""What of an Evaluator document says that Tocsin judges by itself: `run`.

No type is known here by name: `type` is looked up in the registry of evaluators and the other
fields are checked against the settings that it declares (`tocsin.spec.plugins`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from tocsin.domain.errors import Problem
from tocsin.domain.evaluation import renamed, versioned
from tocsin.domain.expressions import Apply, Constant, Expression, fields
from tocsin.domain.expressions import Field as CallField
from tocsin.indicators.language.parser import parse
from tocsin.intake.evaluators import EVALUATORS
from tocsin.spec.indicators import Condition
from tocsin.spec.plugins import PluginName, Plugins, PluginShape, Secrets, fit_settings
from tocsin.spec.services import Service
from tocsin.spec.shape import Duration, SnakeShape
from tocsin.spec.yaml import Located, Place
from tocsin.store.prices import Price, price_book

_PLACE: Place = ("spec", "run")
_DATED = re.compile(r"[-@]20\d{2}-?\d{2}-?\d{2}$")
Share = Annotated[float, Field(gt=0, le=1)]


def _of_the_call(text: str) -> str:
    if text and any(field.name in ("score", "label") for field in fields(parse(text))):
        raise ValueError("speaks of a score; which calls are judged must not depend on one")
    return text


Chosen = Annotated[Condition, AfterValidator(_of_the_call)]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Calls that are chosen with one probability. when: None for whatever is left."""

    when: Expression | None
    rate: float


@dataclass(frozen=True, slots=True)
class ConfiguredEvaluator:
    """A judge of Tocsin's own. version: of how it judges. series: the score that it writes.

    service: of the document, telemetry: as its calls name it. where: which calls may be judged.
    strata: the first one that holds for a call decides. after: how old a call must be. passes: the
    least score of a good answer. question: what people are asked as well. config: settings with
    secrets filled in, None without them (a plan).
    """

    name: str
    title: str
    service: str
    telemetry: str
    kind: str
    type: str
    version: str
    series: str
    strata: tuple[Stratum, ...]
    where: Expression | None
    after: timedelta
    give_up: timedelta
    daily_calls: int | None
    daily_usd: float | None
    concurrency: int
    passes: float
    question: str
    config: Any = None


class StratumShape(SnakeShape):
    """Calls that are judged more often or more rarely than the others."""

    when: Annotated[Chosen, Field(min_length=1)]
    rate: Share


class SampleShape(SnakeShape):
    """Which share of the calls is judged. The probability of each is recorded with its score."""

    rate: Annotated[Share, Field(description="of the calls of no stratum")] = 1.0
    strata: Annotated[
        tuple[StratumShape, ...], Field(description="the first one that holds for a call decides")
    ] = ()


class DailyBudgetShape(SnakeShape):
    """What judging may cost in a day (UTC). The sample is thinned so that it lasts all day."""

    calls: Annotated[int | None, Field(ge=1, description="requests, repeated ones as well")] = None
    usd: Annotated[float | None, Field(gt=0, description="US dollars")] = None


class RunShape(PluginShape):
    """How Tocsin judges by itself. The other fields are settings of the type."""

    plugins: ClassVar[Plugins] = EVALUATORS
    place: ClassVar[Place] = _PLACE

    type: Annotated[str, PluginName("evaluator", EVALUATORS)]
    where: Annotated[Chosen, Field(description="which calls may be judged; all by default")] = ""
    sample: SampleShape = SampleShape()
    budget: DailyBudgetShape = DailyBudgetShape()
    passes: Annotated[float, Field(gt=0, le=1, description="the least score of a good answer")] = (
        0.5
    )
    after: Annotated[
        Duration, Field(description="how long after its arrival a call is judged, so that what"
                        " belongs to its trace is there")
    ] = timedelta(minutes=2)  # fmt: skip
    give_up: Annotated[
        Duration, Field(description="after that an answer is given up and counts as unanswered")
    ] = timedelta(days=1)
    concurrency: Annotated[int, Field(ge=1, le=64, description="answers judged at once")] = 4

    @model_validator(mode="after")
    def _lasts(self) -> RunShape:
        if not timedelta(seconds=5) <= self.after <= timedelta(hours=6):
            raise ValueError("after is from 5s to 6h")
        if not timedelta(minutes=10) <= self.give_up <= timedelta(days=7):
            raise ValueError("give_up is from 10m to 7d")
        return self

    @property
    def version(self) -> str:
        """Eight letters that stand for how it judges: type, settings, and the code's edition."""
        kind = EVALUATORS[self.type]
        usual = {
            item.name: item.default
            for item in dataclasses.fields(kind.Config)
            if item.default is not dataclasses.MISSING
        }
        judging = {k: v for k, v in (usual | self.settings).items() if k not in kind.carriage}
        told = json.dumps([self.type, kind.edition, judging], sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()[:8]

    def series(self, name: str) -> str:
        """The score that the evaluator `name` writes."""
        return versioned(name, self.version)

    def build(
        self, name: str, title: str, kind: str, question: str, service: Service, located: Located,
        secrets: Secrets | None, prices: Iterable[Price],
    ) -> tuple[ConfiguredEvaluator | None, list[Problem]]:  # fmt: skip
        """The evaluator with its secrets filled in if there is a way to; and what is wrong."""
        type_ = EVALUATORS[self.type]
        config, problems = fit_settings(type_.Config, self.settings, located, secrets, _PLACE)
        if type_.asks and self.budget.calls is None and self.budget.usd is None:
            message = "judging that asks somebody else needs a limit"
            problems.append(located.problem(_PLACE, message, "add budget: {calls: 500, usd: 5}"))
        if config is not None and hasattr(type_, "priced"):
            config = type_.priced(config, _lookup(prices))
            unpriced = getattr(config, "input_usd_per_mtok", 0.0) is None
            if self.budget.usd is not None and unpriced:
                message = f"nobody knows the price of {config.model}, so money cannot be counted"
                fix = "give input_usd_per_mtok and output_usd_per_mtok, or limit calls only"
                problems.append(located.problem((*_PLACE, "budget", "usd"), message, fix))
        if problems:
            return None, problems
        strata = [Stratum(parse(one.when), one.rate) for one in self.sample.strata]
        asked = question or str(self.settings.get("rubric", ""))
        return ConfiguredEvaluator(
            name=name, title=title or name, service=service.name, telemetry=service.service_name,
            kind=kind, type=self.type, version=self.version, series=self.series(name),
            strata=(*strata, Stratum(None, self.sample.rate)),
            where=parse(self.where) if self.where else None, after=self.after,
            give_up=self.give_up, daily_calls=self.budget.calls, daily_usd=self.budget.usd,
            concurrency=self.concurrency, passes=self.passes, question=asked, config=config,
        ), []  # fmt: skip


def by_version(value: Any, names: Mapping[str, str]) -> Any:
    """A monitor, or any part of one, with every score of `names` under the name of its version."""
    if isinstance(value, CallField | Apply | Constant):
        found = renamed(value, names)
        return value if found == value else found
    if isinstance(value, str):
        prefix, _, name = value.partition(":")
        return f"score:{names[name]}" if prefix == "score" and name in names else value
    if isinstance(value, tuple):
        parts = tuple(by_version(part, names) for part in value)
        return parts if any(a is not b for a, b in zip(parts, value, strict=True)) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        changed = {k: new for k, v in held.items() if (new := by_version(v, names)) is not v}
        return dataclasses.replace(value, **changed) if changed else value
    return value


def _lookup(prices: Iterable[Price]) -> Callable[[str, str], tuple[float, float] | None]:
    """Finds what a million tokens of a model cost: in, out. The latest price counts."""

    def find(provider: str, model: str) -> tuple[float, float] | None:
        book = price_book(prices)
        name = model.lower()
        for key in ((provider, name), (provider, _DATED.sub("", name)), ("", name)):
            if book.get(key):
                base = book[key][-1].base
                return base.input * 1e6, base.output * 1e6
        return None

    return find
