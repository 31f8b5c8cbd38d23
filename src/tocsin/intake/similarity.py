"""Vectors as calls carry them, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tocsin.domain.evaluation import Answer, Passage, Vector
from tocsin.intake.evaluator import CannotJudge


def cosine(one: Vector, other: Vector) -> float:
    """From -1 to 1. Raises CannotJudge for vectors of different models or without length."""
    if len(one) != len(other):
        raise CannotJudge(
            f"vectors of {len(one)} and {len(other)} dimensions: they are of different models"
        )
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not 0.0 < length < np.inf:
        raise CannotJudge("a vector without length says nothing")
    return float(a @ b) / length


def best_match(vector: Vector, passages: Iterable[Passage]) -> float:
    """The cosine of the passage that is most alike. Raises CannotJudge without one."""
    found = [cosine(vector, one.vector) for one in passages if one.vector is not None]
    if not found:
        raise CannotJudge("none of the retrieved documents came with a vector")
    return max(found)


def vector_of(answer: Answer, name: str) -> Vector:
    """The vector of the call's `input` or `output`. Raises CannotJudge without one."""
    found = answer.vectors.get(name)
    if found is None:
        raise CannotJudge(f"no vector of the {name} came with the telemetry")
    return found
