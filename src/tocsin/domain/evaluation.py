"""What a judge is given and what it says: the nouns that stores, evaluators and the engine share.

Scores that a judge of Tocsin's own writes carry names that say what they are:

    faithful@3f2a9c1b               the verdict of one version of the judge on one call
    faithful@3f2a9c1b.propensity    the probability with which that call was chosen to be judged
    faithful.human                  what a person says of the call
    faithful.human.propensity       the probability with which it was offered to people, given that
                                    it was judged, times that of being judged
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tocsin.domain.expressions import Apply, Constant, Expression, Field

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A document that was retrieved for an answer. score: as the retriever told it."""

    text: str
    score: float | None = None
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A call to be judged. Texts are as they are stored, redacted; "" when there is none.

    context: what was retrieved in the same trace. metadata: of the call, by the names that rubrics
    use. vectors: of its texts, those of `input` and `output` under these names.
    """

    trace_id: str
    span_id: str
    project: str
    service: str
    at: datetime
    input: str = ""
    output: str = ""
    context: tuple[Passage, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    vectors: Mapping[str, Vector] = field(default_factory=dict)


def versioned(name: str, version: str) -> str:
    """The score of one version of an evaluator."""
    return f"{name}@{version}"


def propensity_of(series: str) -> str:
    """The score that says with which probability a call was chosen."""
    return f"{series}.propensity"


def human_of(name: str) -> str:
    """The score by which people label what an evaluator judges."""
    return f"{name}.human"


def renamed(expression: Expression, names: Mapping[str, str]) -> Expression:
    """The expression with scores and labels of `names` under the names they stand for.

    So that an objective may speak of `score('faithful')` and means the version that judges now.
    """
    if isinstance(expression, Field) and expression.name in ("score", "label"):
        return Field(expression.name, expression.type, names.get(expression.key, expression.key))
    if isinstance(expression, Apply):
        return Apply(
            expression.op, tuple(renamed(arg, names) for arg in expression.args), expression.type
        )
    return expression


def chance(name: str) -> Expression:
    """One over the probability that the score `name` tells; unknown without it."""
    return Apply("/", (Constant(1.0, "number"), Field("score", "number", name)), "number")
